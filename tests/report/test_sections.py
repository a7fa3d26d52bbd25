import json
from dataclasses import replace

import numpy as np
import pytest

from forecast.evaluation.output.numbers import UNDEFINED, number
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.modes import definitions
from forecast.evaluation.scoring.rows import WEIGHTED
from forecast.evaluation.scoring.slices import SLICINGS
from forecast.evaluation.scoring.statistics import Estimate
from forecast.evaluation.verdict.acceptance import (
    FAIL,
    NOT_DECIDED,
    PASS,
    Criterion,
    DecisionRule,
    Missing,
    Outcome,
)
from forecast.models.metrics.registry import TUBE_METRICS
from forecast.report.section import Facts, Figure, Folded, FoldedTables, Gallery, Table, Text
from forecast.report.sections import (
    calibration,
    collisions,
    cost,
    criticality,
    gallery,
    headline,
    horizon,
    key_figures,
    limitations,
    protocol,
    provenance,
    scores,
    slices,
    stability,
    triggering,
)


def of_kind(section, kind):
    return [block for block in section.blocks if isinstance(block, kind)]


def spread_over(result: EvaluationResult, scenes: int) -> EvaluationResult:
    """The same rows as if they came from more scenes."""
    names = np.array([f"scene-{row % scenes}" for row in range(len(result.rows))])
    rows = replace(result.rows, scene_ids=names)
    baselines = {name: replace(each, rows=rows) for name, each in result.baselines.items()}
    return replace(result, rows=rows, baselines=baselines)


def cells(table: Table) -> dict[str, list[str]]:
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


PARTS = ("Acceptance criteria", "Calibration", "Collisions", "Audit")


def best_guess(result: EvaluationResult) -> Text:
    """The sentence of the headline on the single best guess."""
    texts = of_kind(headline(result), Text)
    (found,) = (text for text in texts if text.text.startswith("Single best guess: "))
    return found


class TestHeadline:
    def test_says_what_was_evaluated(self, kalman):
        (facts,) = of_kind(headline(kalman), Facts)
        movers = int(kalman.rows.movers.sum())
        assert dict(facts.facts) == {
            "Predictor": "kalman",
            "Data": "streets, val: 2 scenes",
            "Asked": "2 s ahead from 2 s of history",
            "Scored": f"{len(kalman.rows)} prediction times, {movers} of them movers",
        }

    def test_says_how_many_got_a_fallback(self, kalman):
        fallback = np.arange(len(kalman.rows)) < 3
        (facts,) = of_kind(headline(replace(kalman, fallback=fallback)), Facts)
        words = f"3 of {len(kalman.rows)} prediction times got constant velocity"
        assert dict(facts.facts)["Fallback"].startswith(words)

    def test_compares_the_predictor_with_the_baselines(self, kalman):
        values = dict(kalman.values) | {"modes_min_fde_10_m": np.ones(len(kalman.rows))}
        first, raw, modes = of_kind(headline(replace(kalman, values=values)), Text)[-3:]
        movers = kalman.rows.movers
        ours = kalman.values["top1_fde_m"][movers].mean()
        theirs = kalman.baselines["companions"].values["top1_fde_m"][movers].mean()
        change = f"{100 * abs(ours / theirs - 1):.1f} % {'less' if ours < theirs else 'more'}"
        assert first.text.startswith(
            f"Single best guess: {ours:.3f} m on movers, {change} than companions "
            f"({theirs:.3f} m); lower in "
        )
        assert first.tone == "open"  # two scenes say little
        assert "kmeans_10" in raw.text
        assert modes.text.startswith("Best of 10 modes: 1.000 m on movers")

    @pytest.mark.parametrize(
        ("factor", "words"),
        [
            (0.5, "50.0 % less than companions"),
            (2.0, "100.0 % more than companions"),
            (1.0, "the same as companions"),
        ],
    )
    def test_too_few_scenes_decide_nothing(self, kalman, factor, words):
        baseline = kalman.baselines["companions"]
        values = dict(kalman.values) | {"top1_fde_m": baseline.values["top1_fde_m"] * factor}
        verdict = best_guess(replace(kalman, values=values))
        assert verdict.tone == "open"
        assert words in verdict.text
        assert f"lower in {2 if factor < 1 else 0} of 2 scenes" in verdict.text
        assert verdict.text.endswith("too few scenes for an interval: 5 are needed.")

    def test_says_where_a_difference_may_be_chance(self, kalman):
        generator = np.random.default_rng(0)
        many = spread_over(kalman, 12)
        baseline = many.baselines["companions"]
        for shift, tone in ((-1.0, "good"), (1.0, "bad"), (0.0, "open")):
            noise = shift + generator.normal(0, 0.5, len(many.rows))
            values = {**many.values, "top1_fde_m": baseline.values["top1_fde_m"] + noise}
            verdict = best_guess(replace(many, values=values))
            assert verdict.tone == tone
            assert ("That may be chance." in verdict.text) == (tone == "open")
            assert " m (95%)" in verdict.text

    def test_the_verdict_comes_first_and_then_its_reasons(self, kalman):
        overall, *texts = of_kind(headline(kalman), Text)
        assert headline(kalman).blocks[0] == overall
        assert overall.overall
        assert overall.text.startswith("Not decided: acceptance criteria, calibration")
        assert overall.tone == "open"
        starts = [text.text.partition(":")[0] for text in texts]
        assert [each for each in starts if each in PARTS] == list(PARTS)
        data = headline(kalman).data["overall"]
        assert data["verdict"] == "Not decided"
        assert [part["name"] for part in data["parts"]] == [name.lower() for name in PARTS]

    def test_a_broken_guarantee_stands_in_the_verdict(self, kalman):
        first, *others = kalman.findings
        broken = replace(kalman, findings=(replace(first, held=False), *others))
        overall, *texts = of_kind(headline(broken), Text)
        assert overall.text == "Not acceptable: audit."
        (said,) = (text for text in texts if text.text.startswith("Audit: "))
        assert f"BROKEN (required): {first.guarantee.words}" in said.text
        assert said.tone == "bad"

    def test_a_baseline_is_not_compared_with_itself(self, kalman):
        constant = replace(kalman, predictor="companions")
        assert not any(
            "Single best guess" in text.text for text in of_kind(headline(constant), Text)
        )

    def test_says_so_without_baselines(self, kalman):
        *_, text = of_kind(headline(replace(kalman, baselines={})), Text)
        assert "None of the baselines could be evaluated" in text.text

    def test_flags_windows_that_are_not_the_protocols(self, kalman):
        (flag,) = (text for text in of_kind(headline(kalman), Text) if text.tone == "flag")
        assert flag.text.startswith("The windows are not those of nuscenes-ped-v1")
        setting = replace(kalman.setting, off_protocol=False)
        official = of_kind(headline(replace(kalman, setting=setting)), Text)
        assert "flag" not in {text.tone for text in official}

    def test_flags_scenes_that_were_learnt_from(self, kalman):
        flag = of_kind(headline(replace(kalman, scenes_learnt_from=("street-4",))), Text)[1]
        assert flag.tone == "flag"
        assert "kalman has learnt from 1 of the 2 scored scenes (street-4)" in flag.text


class TestProtocol:
    def test_counts_add_up(self, kalman):
        kinds, places, dropped = of_kind(protocol(kalman), Table)
        counts = cells(kinds) | cells(places)
        assert counts["all"] == [str(len(kalman.rows)), str(int(kalman.rows.movers.sum()))]
        scenes = [int(counts[scene][0]) for scene in kalman.setting.scenes]
        assert sum(scenes) == int(counts["pedestrian"][0]) == len(kalman.rows)
        assert cells(dropped) == {name: [str(n)] for name, n in kalman.dropped.items()}

    def test_what_preparing_dropped_or_mended_is_said(self, kalman):
        found = replace(kalman, prepared={"category_ignored": 7, "heading_from_motion": 2})
        *_, prepared = of_kind(protocol(found), Table)
        assert "when they were prepared" in prepared.caption
        assert cells(prepared) == {
            "category_ignored": ["dropped", "7"],
            "heading_from_motion": ["mended", "2"],
        }

    def test_many_scenes_are_folded(self, kalman):
        many = spread_over(kalman, 13)
        (folded,) = of_kind(protocol(many), Folded)
        assert len(folded.text.splitlines()) == 13
        count = int((many.rows.scene_ids == "scene-0").sum())
        assert folded.text.startswith(f"scene-0: {count} prediction times, ")


class TestScores:
    def test_every_metric_is_beside_every_baseline(self, kalman):
        everyone, movers, *_ = of_kind(scores(kalman), Table)
        optional = {*TUBE_METRICS, *definitions()}  # a baseline has neither tubes nor modes
        for table, subset in ((everyone, None), (movers, kalman.rows.movers)):
            assert table.header == ("metric", *kalman.table, "recorded")
            means = kalman.means(subset)
            assert list(cells(table)) == [name for name in means if name not in optional]
            assert cells(table)["top1_ade_m"][0] == f"{means['top1_ade_m'].value:.3f}"

    def test_marks_the_best_and_what_is_nearest_to_its_target(self, kalman):
        everyone = of_kind(scores(kalman), Table)[0]
        rows = {row[0].text: row[1:] for row in everyone.rows}
        for metric, target in (("top1_ade_m", 0.0), ("coverage_90", 0.9)):
            gaps = [abs(other.means()[metric].value - target) for other in kalman.table.values()]
            best = [cell.best for cell in rows[metric][:-1]]
            assert any(best)
            assert best == [gap == np.nanmin(gaps) for gap in gaps]

    def test_the_recorded_world_is_the_reference_where_less_is_not_better(self, kalman):
        movers = kalman.rows.movers
        for table, subset in zip(of_kind(scores(kalman), Table), (None, movers), strict=False):
            rows = {row[0].text: row[1:] for row in table.rows}
            world = kalman.ground_truth_means(subset)
            assert len(world) == 3
            for metric, cells in rows.items():
                expected = number(world[metric].value) if metric in world else ""
                assert cells[-1].text == expected
                rivals = sum(cell.text != UNDEFINED for cell in cells[:-1])
                assert not any(cell.best for cell in cells) or (rivals > 1 and metric not in world)

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

    def test_a_single_contestant_is_no_best(self, kalman):
        values = dict(kalman.values) | {"modes_min_fde_10_m": np.ones(len(kalman.rows))}
        found = scores(replace(kalman, values=values))
        rows = {row[0].text: row[1:] for row in of_kind(found, Table)[0].rows}
        lone = rows["modes_min_fde_10_m"]
        assert sum(cell.text != UNDEFINED for cell in lone[:-1]) == 1
        assert not any(cell.best for cell in lone)

    def test_names_the_baselines_that_are_left_out(self, kalman):
        section = scores(replace(kalman, left_out={"kmeans_10": "no tracks"}))
        assert [text.text for text in of_kind(section, Text)] == [
            "kmeans_10 is left out: no tracks"
        ]


class TestKeyFigures:
    def test_six_metrics_with_names_for_people_beside_every_baseline(self, kalman):
        (table,) = of_kind(key_figures(kalman), Table)
        assert table.header == ("", *kalman.table)
        assert [row[0].text for row in table.rows] == [
            "Error of the best guess, m",
            "Error of the best guess at the end, m",
            "Nearest of 10 futures at the end, m",
            "Futures and their spread, m",
            "Truth inside the 90 % region, share",
            "Missed conflicts with the ego's path, share",
        ]
        all_rows, movers = kalman.means(), kalman.means(kalman.rows.movers)
        found = [row[1].text for row in table.rows]
        assert found[0] == f"{all_rows['top1_ade_m'].value:.3f}"
        assert found[1] == f"{movers['top1_fde_m'].value:.3f}"
        assert found[2] == f"{movers['min_fde_10_m'].value:.3f}"
        assert found[4] == f"{all_rows['coverage_90'].value:.3f}"
        metrics = key_figures(kalman).data["metrics"]
        assert metrics["top1_fde_m"]["of"] == "movers"
        assert metrics["top1_fde_m"]["means"]["kalman"].value == movers["top1_fde_m"].value

    def test_constant_velocity_comes_before_stationary_in_every_table(self, kalman):
        names = list(kalman.table)
        assert names[:4] == ["kalman", "constant_velocity", "smoothed_velocity", "companions"]
        assert names[4:] == ["stationary", "kmeans_5", "kmeans_10"]
        for section in (key_figures, scores, collisions, criticality, stability):
            for table in of_kind(section(kalman), Table):
                found = [name.removeprefix("minus ") for name in table.header]
                if "stationary" in found:
                    assert found.index("constant_velocity") < found.index("stationary")


class TestHorizon:
    def test_table_holds_the_error_at_each_second(self, kalman):
        table, _, nearest = of_kind(horizon(kalman), Table)
        best = kalman.errors_m["best"].mean(0, dtype=float)
        assert cells(nearest)["kalman"] == [f"{best[1]:.3f}", f"{best[3]:.3f}"]
        assert table.header == ("all prediction times", "1 s", "2 s")
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
        table, _ = of_kind(calibration(kalman), Table)
        level, step = 8, 3  # 90 %, 2 s
        assert table.header == ("stated", "1 s", "2 s")
        stating = ["kalman", "kmeans_5", "kmeans_10"]
        assert list(cells(table))[:6] == [f"{q} {name}" for q in ("50%", "80%") for name in stating]
        for name in stating:
            covered = np.nanmean(kalman.table[name].coverage[:, step, level])
            assert cells(table)[f"90% {name}"][1] == f"{covered:.3f}"
            assert calibration(kalman).data[name]["all"]["coverage"]["90"][step] == pytest.approx(
                covered
            )

    def test_spread_stands_beside_the_error_of_the_mean(self, kalman):
        table = cells(of_kind(calibration(kalman), Table)[1])
        spread, error = kalman.spread_m[:, 3], kalman.errors_m["mean"][:, 3]
        for name, values in (("spread", spread), ("error of the mean", error)):
            rms = float(np.sqrt(np.square(values, dtype=float).mean()))
            assert table[f"kalman, {name}"][1] == f"{rms:.3f}"
        figure = of_kind(calibration(kalman), Figure)[1]
        assert ">error of kalman's mean<" in figure.svg
        assert ">kmeans_10<" in figure.svg

    def test_a_predictor_without_spread_gets_a_sentence_instead_of_figures(self, constant):
        section = calibration(constant)
        for table in of_kind(section, Table):
            assert not any("constant_velocity" in name for name in cells(table))
        (text,) = of_kind(section, Text)
        assert "constant_velocity gives no spread of futures" in text.text
        for figure in of_kind(section, Figure):
            assert ">kalman<" in figure.svg
            assert "constant_velocity" not in figure.svg

    def test_without_anybody_who_states_one_there_is_no_figure(self, constant):
        (text,) = calibration(replace(constant, baselines={})).blocks
        assert isinstance(text, Text)


class TestGallery:
    def test_shows_every_picture_with_where_to_find_it(self, kalman):
        typical, worst = of_kind(gallery(kalman), Gallery)
        assert len(typical.figures) + len(worst.figures) == len(kalman.pictures)
        first = next(picture for picture in kalman.pictures if picture.why == "worst")
        caption = worst.figures[0].caption
        assert caption.startswith(f"{kalman.values['top1_fde_m'].max():.2f} m off after 2 s: went ")
        assert f"{first.window.scene_id}, step {first.window.at}" in caption
        assert str(kalman.rows.agent_ids[first.row]) in caption

    def test_a_fallback_is_marked_under_its_picture(self, kalman):
        assert not any("FALLBACK" in picture.caption for picture in self.figures(kalman))
        first = kalman.pictures[0]
        fallback = np.arange(len(kalman.rows)) == first.row
        agents = np.arange(len(first.prediction.agent_ids)) == first.agent
        marked = replace(first, prediction=replace(first.prediction, fallback=agents))
        result = replace(kalman, fallback=fallback, pictures=(marked, *kalman.pictures[1:]))
        figure, other = self.figures(result)[:2]
        assert "FALLBACK: its past is out of distribution" in figure.caption
        assert "FALLBACK" not in other.caption
        assert "fallback" in dict(figure.key)
        assert "sample" not in dict(figure.key)
        assert "var(--fallback)" in figure.svg
        assert gallery(result).data["pictures"][0]["fallback"]

    def figures(self, result):
        return [each for block in of_kind(gallery(result), Gallery) for each in block.figures]


def test_provenance_says_how_to_get_the_numbers_again(kalman, store):
    facts, environment = of_kind(provenance(kalman), Facts)
    known = dict(facts.facts) | dict(environment.facts)
    assert store.fingerprint in known["Store"]
    assert known["Command"] == kalman.command
    assert known["Tables (SHA-256)"] == kalman.environment.tables_sha256
    scenes, lock = of_kind(provenance(kalman), Folded)
    assert scenes.text == "street-3, street-4"
    assert "numpy==" in lock.text


def test_provenance_says_what_the_predictor_was_made_from(kalman):
    model = {
        "weights_sha256": "0a1b",
        "config_sha256": "2c3d",
        "config": {"graph": {"agent_radius_m": 9.5}},
        "learnt_from": {"stores/x": {"fingerprint": "f00", "scenes": ["one", "two"]}},
        "version": "0.0.9",
    }
    section = provenance(replace(kalman, model=model))
    *_, made = of_kind(section, Facts)
    assert dict(made.facts) == {
        "Weights (SHA-256)": "0a1b",
        "Configuration (SHA-256)": "2c3d",
        "Trained with forecast": "0.0.9",
        "Learnt from": "stores/x, f00: 2 scenes",
    }
    *_, config, scenes = of_kind(section, Folded)
    assert json.loads(config.text) == model["config"]
    assert (scenes.summary, scenes.text) == ("Scenes learnt from in stores/x", "one, two")
    unknown = of_kind(provenance(replace(kalman, model=model | {"learnt_from": {}})), Facts)[-1]
    assert dict(unknown.facts)["Learnt from"] == "not known"


class TestScoresWithIntervals:
    def test_differences_are_paired_row_by_row(self, kalman):
        many = spread_over(kalman, 12)
        *_, last = of_kind(scores(many), Table)
        baseline = many.baselines["kmeans_10"]
        assert last.header[-1] == "minus kmeans_10"
        assert "minus kalman" not in last.header
        movers = many.rows.movers
        paired = (many.values["top1_fde_m"] - baseline.values["top1_fde_m"])[movers]
        (cell,) = (row[-1] for row in last.rows if row[0].text == "top1_fde_m")
        assert cell.text == f"{paired.mean():+.3f}"
        low, high = (float(each) for each in cell.note.split(" to "))
        assert low < paired.mean() < high
        assert not {"coverage_90", "on_road_share"} & {*cells(last)}

    def test_intervals_are_the_small_print(self, kalman):
        table = of_kind(scores(spread_over(kalman, 12)), Table)[0]
        (row,) = (row for row in table.rows if row[0].text == "top1_fde_m")
        low, high = (float(each) for each in row[1].note.split(" to "))
        assert low < float(row[1].text) < high


def labelled(result: EvaluationResult, **labels: np.ndarray) -> EvaluationResult:
    """The same rows with other labels."""
    rows = replace(result.rows, labels={**result.rows.labels, **labels})
    return replace(result, rows=rows)


class TestSlices:
    def test_a_table_holds_the_slices_with_enough_rows_and_no_dashes(self, kalman):
        tables = of_kind(slices(kalman), Table)
        assert len(tables) > 5
        for table in tables:
            for row in table.rows:
                assert int(row[1].text) >= 30
                assert row[2].text != UNDEFINED

    def test_other_slices_are_counted_in_the_caption(self, kalman):
        count = len(kalman.rows)
        light = np.full(count, "day", "<U5")
        light[:12] = "night"
        (table,) = (
            table
            for table in of_kind(slices(labelled(kalman, light=light)), Table)
            if table.header[0] == "Light"
        )
        assert [row[0].text for row in table.rows] == ["day"]
        assert table.caption.endswith("Too few to score: night 12.")
        (category,) = (t for t in of_kind(slices(kalman), Table) if t.header[0] == "Category")
        assert "Nobody: adult, child, wheelchair, " in category.caption

    def test_every_row_of_a_slicing_is_counted(self, kalman):
        for name, data in slices(kalman).data.items():
            if name in SLICINGS:
                assert sum(each["n"] for each in data.values()) == len(kalman.rows)
                assert list(data)[: len(SLICINGS[name].labels)] == list(SLICINGS[name].labels)

    def test_slicings_without_anything_to_score_are_folded_away(self, kalman):
        (folded,) = of_kind(slices(kalman), Folded)
        shown = {table.header[0] for table in of_kind(slices(kalman), Table)}
        titles = [line.partition(":")[0] for line in folded.text.splitlines()]
        assert shown | set(titles) == {slicing.title for slicing in SLICINGS.values()}
        assert folded.summary == f"{len(titles)} slicings without anything to score"
        unknown = f"Visibility: nobody. Unknown: {len(kalman.rows)} (no visibility annotated)."
        assert unknown in folded.text

    def test_holds_the_means_of_the_slice(self, kalman):
        tables = {table.header[0]: table for table in of_kind(slices(kalman), Table)}
        table = tables["Change of motion"]
        theirs = kalman.baselines["constant_velocity"].values["top1_fde_m"]
        for row in table.rows:
            inside = kalman.rows.labels["change"] == row[0].text
            column = table.header.index("top1_fde_m")
            assert row[column].text == f"{kalman.values['top1_fde_m'][inside].mean():.3f}"
            less = (kalman.values["top1_fde_m"] - theirs)[inside].mean()
            assert row[-2].text == f"{less:+.3f}"

    def test_weak_labels_are_marked(self, kalman):
        light = np.where(kalman.rows.movers, "night", "day")
        section = slices(labelled(kalman, light=light))
        (light,) = (table for table in of_kind(section, Table) if table.header[0] == "Light")
        assert "Weak labels" in light.caption
        assert [row[0].text for row in light.rows] == ["night", "day"]

    def test_asked_slicings_come_in_full_with_their_combinations(self, kalman):
        light = np.where(np.arange(len(kalman.rows)) < 12, "night", "day")
        asked = replace(labelled(kalman, light=light), slices=("change", "light"))
        first, second, both = of_kind(slices(asked), Table)
        assert [row[0].text for row in second.rows] == ["night", "day"]
        night = second.rows[0]
        error = asked.values["top1_fde_m"]
        assert (night[1].text, night[2].text) == (f"{error[:12].max():.2f}", "12")
        change = asked.rows.labels["change"]
        assert sum(int(row[2].text) for row in both.rows) == len(change)
        for row in both.rows:
            label = row[0].text.removeprefix("change: ").partition(", light: ")
            inside = (change == label[0]) & (light == label[2])
            assert row[1].text == f"{error[inside].max():.2f}"
        assert f"Nobody is in {10 - len(both.rows)} of 10 combinations." in both.caption
        (folded,) = of_kind(slices(asked), FoldedTables)
        titles = [table.header[0] for table in folded.tables]
        assert not {"Light", "Change of motion"} & set(titles)
        assert folded.summary == f"{len(titles)} other slicings"
        assert set(slices(asked).data["combinations"]) == {row[0].text for row in both.rows}
        assert first.header[0] == "Change of motion"

    def test_an_asked_slicing_that_is_unknown_everywhere_is_a_sentence(self, kalman):
        section = slices(replace(kalman, slices=("light",)))
        _, found = of_kind(section, Text)
        count = len(kalman.rows)
        assert f"Unknown: {count} (no description of the scene). Nobody: night, day." in found.text

    def test_a_fallback_has_a_table_of_its_own(self, kalman):
        assert not any(t.header[0] == "Fallback" for t in of_kind(slices(kalman), Table))
        fallback = np.arange(len(kalman.rows)) < 40
        tables = of_kind(slices(replace(kalman, fallback=fallback)), Table)
        (table,) = (table for table in tables if table.header[0] == "Fallback")
        others = len(fallback) - 40
        assert [(row[0].text, row[2].text) for row in table.rows] == [
            ("fallback", "40"),
            ("own futures", str(others)),
        ]


class TestTriggering:
    def outcome(self, name: str, verdict: str) -> Outcome:
        criterion = Criterion(name, f"when {name}", "top1_fde_m", at_most=1.0, euro_ncap=["CPFA"])
        return Outcome(criterion, Estimate(0.5, 0.4, 0.6, 120, 12), verdict)

    def test_failures_come_first(self, kalman):
        outcomes = tuple(
            self.outcome(name, verdict)
            for name, verdict in (("a", PASS), ("b", NOT_DECIDED), ("c", FAIL))
        )
        section = triggering(replace(kalman, outcomes=outcomes, acceptance="ours.yaml"))
        (table,) = of_kind(section, Table)
        assert [row[0].text for row in table.rows] == ["when c", "when a", "when b"]
        assert cells(table)["when c"] == [
            *("fail", "", "0.500", "top1_fde_m at most 1", "120", "12", "CPFA")
        ]
        assert of_kind(section, Text) == []
        overall, *texts = of_kind(headline(replace(kalman, outcomes=outcomes)), Text)
        (criteria,) = (text for text in texts if text.text.startswith("Acceptance criteria: "))
        assert criteria.text.startswith("Acceptance criteria: 1 passed, 1 failed, 1 could not")
        assert (criteria.tone, overall.tone) == ("bad", "bad")

    def test_the_caption_is_the_rule_that_decides(self, kalman):
        lenient = replace(kalman, minimum_rows=7, minimum_scenes=1)
        (table,) = of_kind(triggering(lenient), Table)
        assert DecisionRule(7, 1).words in table.caption
        assert "fewer than 7 prediction times or 5 scenes, which an interval needs" in table.caption

    def test_what_an_undecided_criterion_needs_is_said(self, kalman):
        criterion = Criterion("a", "when a", "top1_fde_m", at_most=1.0)
        found = Estimate(0.5, np.nan, np.nan, 60, 2)
        outcome = Outcome(criterion, found, NOT_DECIDED, Missing(8, 40, "minimum"))
        section = triggering(replace(kalman, outcomes=(outcome,)))
        (row,) = of_kind(section, Table)[0].rows
        assert (row[2].text, row[2].note) == (
            "8 more scenes with 40 prediction times",
            "the minimum",
        )
        high = replace(outcome, found=Estimate(1.5, np.nan, np.nan, 60, 2))
        (row,) = of_kind(triggering(replace(kalman, outcomes=(high,))), Table)[0].rows
        assert row[2].note == "the minimum; at this mean it fails then"
        missing = section.data["criteria"][0]["missing"]
        assert missing == {"scenes": 8, "rows": 40, "why": "minimum", "horizon_s": None}

    def test_a_limit_for_another_horizon_is_said(self, kalman):
        criterion = Criterion("a", "when a", "top1_fde_m", at_most=1.0, horizon_s=3.0)
        found, missing = Estimate(1.5, 1.4, 1.6, 60, 12), Missing(0, 0, "horizon", 3.0)
        outcome = Outcome(criterion, found, NOT_DECIDED, missing)
        section = triggering(replace(kalman, outcomes=(outcome,)))
        (row,) = of_kind(section, Table)[0].rows
        assert (row[2].text, row[2].note) == ("predictions of 3 s", "the limit is for that horizon")
        assert section.data["criteria"][0]["horizon_s"] == 3

    def test_says_where_the_criteria_are_not_the_teams(self, kalman):
        (text,) = of_kind(triggering(kalman), Text)
        assert "the package's example" in text.text


class TestCriticality:
    def test_weighted_error_counts_the_pedestrians_that_matter_to_the_planner(self, kalman):
        quantities = dict(kalman.rows.quantities)
        weight = np.full(len(kalman.rows), 1e-4)
        weight[:30] = np.arange(1, 31)
        quantities["planner_weight"] = weight
        rows = replace(kalman.rows, quantities=quantities)
        table = of_kind(criticality(replace(kalman, rows=rows)), Table)[1]
        error = np.average(kalman.values["top1_fde_m"][:30], weights=weight[:30])
        assert cells(table)[WEIGHTED][0] == f"{error:.3f}"
        assert {row[0].text: row[0].note for row in table.rows}[WEIGHTED].endswith(
            "; 30 prediction times"
        )

    def test_weighted_error_of_few_is_not_given(self, kalman):
        weight = np.where(np.arange(len(kalman.rows)) < 29, 1.0, 1e-4)
        quantities = {**kalman.rows.quantities, "planner_weight": weight}
        few = replace(kalman, rows=replace(kalman.rows, quantities=quantities))
        (row,) = (r for r in of_kind(criticality(few), Table)[1].rows if r[0].text == WEIGHTED)
        assert row[1].text == UNDEFINED
        assert row[0].note.endswith(
            "29 prediction times that matter to the planner, too few: 30 are needed"
        )

    def test_counts_every_prediction_time_once(self, kalman):
        counts = cells(of_kind(criticality(kalman), Table)[0])
        for column in zip(*counts.values(), strict=True):
            assert sum(map(int, column)) == len(kalman.rows)
        collide = kalman.rows.quantities["time_to_collision_s"]
        assert counts["0 to 1 s"][0] == str(int((collide < 1).sum()))
        assert counts["never"][0] == str(int(np.isinf(collide).sum()))

    def test_without_ego_says_so(self, kalman):
        nobody = np.full(len(kalman.rows), np.nan)
        quantities = {**kalman.rows.quantities, "encroachment_s": nobody}
        section = criticality(replace(kalman, rows=replace(kalman.rows, quantities=quantities)))
        assert [text.text for text in section.blocks] == ["There is no ego in these data."]


class TestCollisions:
    def test_rates_stand_beside_those_of_the_recorded_world(self, kalman):
        many = spread_over(kalman, 12)
        many = replace(many, ground_truth={name: v * 0 for name, v in many.ground_truth.items()})
        many = replace(many, baselines={name: kalman.baselines[name] for name in ("kmeans_5",)})
        (table,) = of_kind(collisions(many), Table)
        movers = many.rows.movers
        mean = many.values["collision_rate_pedestrians"][movers].mean()
        (row,) = (r for r in table.rows if r[0].text == "collision_rate_pedestrians, movers")
        assert (row[1].text, row[-1].text) == (f"{mean:.3f}", "0.000")
        assert row[1].note.startswith(f"{mean:+.3f} (")
        found = collisions(many).data["excess"]["kalman"]["movers"]["collision_rate_pedestrians"]
        assert found.value == pytest.approx(mean)
        assert found.low <= found.value <= found.high

    def test_what_is_not_known_is_not_given(self, kalman):
        values = {**kalman.values, "on_road_share": np.full(len(kalman.rows), np.nan)}
        table = cells(of_kind(collisions(replace(kalman, values=values)), Table)[0])
        assert table["on_road_share, all"][0] == UNDEFINED


def test_stability_of_every_predictor(kalman):
    (table,) = of_kind(stability(kalman), Table)
    assert table.header == ("", *kalman.table)
    mean = np.nanmean(kalman.values["flicker_top1_m"])
    assert cells(table)["flicker_top1_m"][0] == f"{mean:.3f}"


def test_cost_is_what_was_measured(kalman):
    section = cost(kalman)
    (table,), (facts,) = of_kind(section, Table), of_kind(section, Facts)
    median = 1000 * np.median(kalman.timing.seconds)
    assert cells(table)["kalman"][0] == f"{median:.1f}"
    assert float(facts.facts[0][1].removesuffix(" MB")) > 50
    assert "cores" in dict(facts.facts)["Machine"]
    assert int(dict(facts.facts)["Threads of a prediction"]) >= 1


def test_limitations_speak_of_these_data(kalman):
    words = " ".join(text.text for text in of_kind(limitations(kalman), Text))
    assert "open-loop" in words
    assert "Few scenes were scored (2)" in words
    assert "Few scenes" not in " ".join(limitations(spread_over(kalman, 12)).data["points"])
