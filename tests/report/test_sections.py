import json
from dataclasses import replace

import numpy as np
import pytest

from forecast.evaluation.numbers import UNDEFINED, number
from forecast.models.metrics.registry import TUBE_METRICS
from forecast.report.section import Facts, Figure, Folded, Gallery, Table, Text
from forecast.report.sections import (
    calibration,
    gallery,
    headline,
    horizon,
    protocol,
    provenance,
    scores,
)


def of_kind(section, kind):
    return [block for block in section.blocks if isinstance(block, kind)]


def cells(table: Table) -> dict[str, list[str]]:
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


class TestHeadline:
    def test_says_what_was_tested(self, kalman):
        (facts,) = of_kind(headline(kalman), Facts)
        movers = int(kalman.rows.movers.sum())
        assert dict(facts.facts) == {
            "Predictor": "kalman",
            "Data": "streets, val: 2 scenes",
            "Asked": "2 s ahead from 2 s of history",
            "Scored": f"{len(kalman.rows)} origins, {movers} of them movers",
        }

    def test_holds_the_predictor_to_the_floors(self, kalman):
        _, first, raw, chosen = of_kind(headline(kalman), Text)
        movers = kalman.rows.movers
        ours = kalman.values["top1_fde_m"][movers].mean()
        theirs = kalman.floors["constant_velocity"].values["top1_fde_m"][movers].mean()
        change = f"{100 * abs(ours / theirs - 1):.1f} % {'less' if ours < theirs else 'more'}"
        assert first.text.startswith(
            f"Single best guess: {ours:.3f} m on movers, {change} than constant_velocity "
            f"({theirs:.3f} m); lower in "
        )
        assert first.tone == ("good" if ours < theirs else "bad")
        assert "kmeans_10" in raw.text
        assert chosen.text.startswith("Best of 10 selected: ")

    @pytest.mark.parametrize(
        ("factor", "tone", "words"),
        [
            (0.5, "good", "50.0 % less than constant_velocity"),
            (2.0, "bad", "100.0 % more than constant_velocity"),
            (1.0, "bad", "the same as constant_velocity"),
        ],
    )
    def test_verdict_and_tone(self, kalman, factor, tone, words):
        floor = kalman.floors["constant_velocity"]
        values = dict(kalman.values) | {"top1_fde_m": floor.values["top1_fde_m"] * factor}
        verdict = of_kind(headline(replace(kalman, values=values)), Text)[1]
        assert verdict.tone == tone
        assert words in verdict.text
        assert f"lower in {2 if factor < 1 else 0} of 2 scenes" in verdict.text

    def test_a_floor_is_not_held_to_itself(self, constant):
        assert not any(
            "Single best guess" in text.text for text in of_kind(headline(constant), Text)
        )

    def test_says_so_where_there_is_no_floor(self, kalman):
        *_, text = of_kind(headline(replace(kalman, floors={})), Text)
        assert "None of the floors could be evaluated" in text.text

    def test_flags_windows_that_are_not_the_protocols(self, kalman):
        (flag,) = (text for text in of_kind(headline(kalman), Text) if text.tone == "flag")
        assert flag.text.startswith("The windows are not those of nuscenes-ped-v1")
        setting = replace(kalman.setting, off_protocol=False)
        official = of_kind(headline(replace(kalman, setting=setting)), Text)
        assert "flag" not in {text.tone for text in official}

    def test_flags_scenes_that_were_learnt_from(self, kalman):
        flag = of_kind(headline(replace(kalman, scenes_learnt_from=("street-4",))), Text)[0]
        assert flag.tone == "flag"
        assert "kalman has learnt from 1 of the 2 scored scenes (street-4)" in flag.text


class TestProtocol:
    def test_counts_add_up(self, kalman):
        origins, dropped = of_kind(protocol(kalman), Table)
        counts = cells(origins)
        assert counts["all"] == [str(len(kalman.rows)), str(int(kalman.rows.movers.sum()))]
        scenes = [int(counts[scene][0]) for scene in kalman.setting.scenes]
        assert sum(scenes) == int(counts["pedestrian"][0]) == len(kalman.rows)
        assert cells(dropped) == {name: [str(n)] for name, n in kalman.dropped.items()}


class TestScores:
    def test_every_metric_beside_every_floor(self, kalman):
        everyone, movers = of_kind(scores(kalman), Table)
        for table, subset in ((everyone, None), (movers, kalman.rows.movers)):
            assert table.header == ("metric", *kalman.table, "recorded")
            means = kalman.means(subset)
            assert list(cells(table)) == [name for name in means if name not in TUBE_METRICS]
            assert cells(table)["top1_ade_m"][0] == f"{means['top1_ade_m'].value:.3f}"

    def test_marks_the_best_and_what_is_nearest_to_its_target(self, kalman):
        everyone, _ = of_kind(scores(kalman), Table)
        rows = {row[0].text: row[1:] for row in everyone.rows}
        for metric, target in (("top1_ade_m", 0.0), ("coverage_90", 0.9)):
            gaps = [abs(other.means()[metric].value - target) for other in kalman.table.values()]
            best = [cell.best for cell in rows[metric][:-1]]
            assert best == [gap == np.nanmin(gaps) for gap in gaps]

    def test_the_recorded_world_is_the_reference_where_less_is_not_better(self, kalman):
        movers = kalman.rows.movers
        for table, subset in zip(of_kind(scores(kalman), Table), (None, movers), strict=True):
            rows = {row[0].text: row[1:] for row in table.rows}
            world = kalman.recorded_means(subset)
            assert len(world) == 3
            for metric, cells in rows.items():
                expected = number(world[metric].value) if metric in world else ""
                assert cells[-1].text == expected
                defined = any(cell.text != UNDEFINED for cell in cells[:-1])
                assert any(cell.best for cell in cells) == (defined and metric not in world)

    def test_shows_what_is_not_defined_and_where_fewer_values_count(self, kalman):
        rows = {row[0].text: row[1:] for row in of_kind(scores(kalman), Table)[0].rows}
        names = list(kalman.table)
        assert rows["min_ade_10_m"][names.index("stationary")].text == UNDEFINED
        values = dict(kalman.values)
        values["top1_ade_m"] = np.where(np.arange(len(kalman.rows)) < 3, 1.0, np.nan)
        table = of_kind(scores(replace(kalman, values=values)), Table)[0]
        notes = [cell.note for row in table.rows if row[0].text == "top1_ade_m" for cell in row[1:]]
        assert notes[0] == "n = 3"
        assert notes[1] == f"n = {len(kalman.rows)}"

    def test_names_the_floors_left_out(self, kalman):
        section = scores(replace(kalman, left_out={"kmeans_10": "no tracks"}))
        assert [text.text for text in of_kind(section, Text)] == [
            "kmeans_10 is left out: no tracks"
        ]


class TestHorizon:
    def test_table_holds_the_error_at_each_second(self, kalman):
        (table,) = of_kind(horizon(kalman), Table)
        assert table.header == ("all origins", "1 s", "2 s")
        errors = kalman.errors_m["top1"].mean(0, dtype=float)
        assert cells(table)["kalman"] == [f"{errors[1]:.3f}", f"{errors[3]:.3f}"]
        assert cells(table)["kalman"][1] == f"{kalman.means()['top1_fde_m'].value:.3f}"
        assert list(cells(table)) == list(kalman.table)

    def test_figures_show_all_but_the_stationary(self, kalman):
        for figure in of_kind(horizon(kalman), Figure):
            for name in kalman.table:
                assert (f">{name}<" in figure.svg) == (name != "stationary")


class TestCalibration:
    def test_table_holds_the_coverage_at_each_second(self, kalman):
        (table,) = of_kind(calibration(kalman), Table)
        level, step = 8, 3  # 90 %, 2 s
        assert table.header == ("stated", "1 s", "2 s")
        stating = ["kalman", "kmeans_5", "kmeans_10"]
        assert list(cells(table))[:6] == [f"{q} {name}" for q in ("50%", "80%") for name in stating]
        for name in stating:
            covered = np.nanmean(kalman.table[name].coverage[:, step, level])
            assert cells(table)[f"90% {name}"][1] == f"{covered:.3f}"

    def test_who_states_no_spread_is_told_so(self, constant):
        section = calibration(constant)
        (table,) = of_kind(section, Table)
        assert not any("constant_velocity" in name for name in cells(table))
        (text,) = of_kind(section, Text)
        assert "constant_velocity gives no spread of futures" in text.text
        (figure,) = of_kind(section, Figure)
        assert ">kalman<" in figure.svg
        assert ">constant_velocity<" not in figure.svg

    def test_without_anybody_who_states_one_there_is_no_figure(self, constant):
        (text,) = calibration(replace(constant, floors={})).blocks
        assert isinstance(text, Text)


class TestGallery:
    def test_shows_every_picture_with_where_to_find_it(self, kalman):
        typical, worst = of_kind(gallery(kalman), Gallery)
        assert len(typical.figures) + len(worst.figures) == len(kalman.pictures)
        first = next(picture for picture in kalman.pictures if picture.why == "worst")
        caption = worst.figures[0].caption
        assert caption.startswith(f"{kalman.values['top1_fde_m'].max():.2f} m off after 2 s.")
        assert f"{first.window.scene_id}, step {first.window.at}" in caption
        assert str(kalman.rows.agent_ids[first.row]) in caption


def test_provenance_says_how_to_get_the_numbers_again(kalman, store):
    (facts,) = of_kind(provenance(kalman), Facts)
    known = dict(facts.facts)
    assert store.fingerprint in known["Store"]
    assert known["Scenes"] == "street-3, street-4"
    assert known["Command"] == kalman.command
    assert of_kind(provenance(kalman), Folded) == []


def test_provenance_says_what_the_predictor_was_made_from(kalman):
    model = {
        "weights_sha256": "0a1b",
        "config": {"graph": {"agent_radius_m": 9.5}},
        "learnt_from": {"stores/x": {"fingerprint": "f00", "scenes": ["one", "two"]}},
        "version": "0.0.9",
    }
    section = provenance(replace(kalman, model=model))
    _, made = of_kind(section, Facts)
    assert dict(made.facts) == {
        "Weights (SHA-256)": "0a1b",
        "Trained with forecast": "0.0.9",
        "Learnt from": "stores/x, f00: 2 scenes",
    }
    config, scenes = of_kind(section, Folded)
    assert json.loads(config.text) == model["config"]
    assert (scenes.summary, scenes.text) == ("Scenes learnt from in stores/x", "one, two")
    unknown = of_kind(provenance(replace(kalman, model=model | {"learnt_from": {}})), Facts)[1]
    assert dict(unknown.facts)["Learnt from"] == "not known"
