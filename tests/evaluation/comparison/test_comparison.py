import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from forecast import ForecastError
from forecast.cli import main
from forecast.evaluation.comparison.changes import (
    BETTER,
    LOST,
    NEW,
    OPEN,
    STATED,
    VERDICTS,
    WORSE,
    compare,
    metrics,
    paired,
)
from forecast.evaluation.comparison.comparison import Comparison, table
from forecast.evaluation.output.saved import read_evaluation
from forecast.evaluation.scoring.statistics import Estimate
from forecast.evaluation.verdict.acceptance import PASS, TOO_FEW


def test_a_regression_comes_first_and_fails(folders, capsys):
    assert main(["compare", str(folders / "good"), str(folders / "bad")]) == 1
    said = capsys.readouterr()
    assert said.err == (f"error: {folders}/bad: fails criteria that {folders}/good meets: reach\n")
    lines = said.out.splitlines()
    assert lines[0].startswith(f"B bad ({folders}/bad) less A off ({folders}/good): ")
    assert lines[2].startswith("lost (0)")
    assert lines[4].startswith("worse (")
    assert "all " in lines[5] or "movers " in lines[5]
    assert any("all" in line and "top1_fde_m" in line for line in lines)
    assert "  reach: pass -> fail (top1_fde_m at most 1; " in said.out


def test_a_metric_that_is_no_longer_there_breaks_what_it_had_met(folders):
    good = read_evaluation(folders / "good")
    same = Comparison.of(good, good)
    met, *others = same.before
    assert (met.criterion.id, met.verdict, same.broken) == ("reach", PASS, [])
    silent = replace(met, found=Estimate(np.nan, np.nan, np.nan, 0, 0), verdict=TOO_FEW)
    assert replace(same, after=(silent, *others)).broken == ["reach"]


def test_the_page_is_written_where_it_is_wanted_even_if_a_criterion_breaks(folders, tmp_path):
    words = [
        "compare",
        str(folders / "good"),
        str(folders / "bad"),
        "--out",
        str(tmp_path / "o"),
    ]
    assert main(words) == 1
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [
        "compare.html",
        "compare.json",
    ]


def test_an_evaluation_is_not_overwritten_by_a_page(folders, capsys):
    words = [
        "compare",
        str(folders / "good"),
        str(folders / "bad"),
        "--out",
        str(folders / "bad"),
    ]
    assert main(words) == 1
    assert "holds 'metrics.json', which is no part of a comparison" in capsys.readouterr().err
    assert (folders / "bad" / "metrics.json").is_file()


def test_an_improvement_passes(folders, capsys):
    assert main(["compare", str(folders / "bad"), str(folders / "good")]) == 0
    assert "\nworse (0)\n" in capsys.readouterr().out


def test_the_same_is_undecided(folders, capsys):
    assert main(["compare", str(folders / "good"), str(folders / "good")]) == 0
    said = capsys.readouterr().out
    assert "\nworse (0)\n" in said
    assert "\nbetter (0)\n" in said
    assert "2, 0 changed" in said


def made(each, **columns):
    """An evaluation with other values in some columns."""
    count = len(each.columns["at_us"])
    values = {name: np.broadcast_to(np.float64(v), count) for name, v in columns.items()}
    return replace(each, columns={**each.columns, **values})


def change_of(old, new, metric, where="all"):
    (found,) = (
        c for c in compare(old, new, paired(old, new)) if (c.where, c.metric) == (where, metric)
    )
    return found


def test_every_metric_of_the_rows_is_compared(folders):
    columns = read_evaluation(folders / "good").columns
    aims = metrics(columns)
    for name, aim in {
        "coverage_90": "0.9",
        "tube_coverage_50": "0.5",
        "tube_area_90_m2": "",
        "collision_rate_ego": "recorded",
        "on_road_share": "recorded",
        "flicker_top1_m": "less",
        "selected_min_fde_2_m": "less",
        "plan_regret_m": "less",
    }.items():
        assert aims[name] == aim
    assert not {"speed_mps", "recorded.on_road_share", "error_top1_1s_m"} & set(aims)


@pytest.mark.parametrize(
    ("before", "after", "verdict", "farther"),
    [(0.88, 0.70, WORSE, 0.18), (0.70, 0.88, BETTER, -0.18), (0.85, 0.95, OPEN, 0.0)],
)
def test_coverage_is_compared_by_how_far_it_is_from_its_level(
    folders, before, after, verdict, farther
):
    good = read_evaluation(folders / "good")
    found = change_of(made(good, coverage_90=before), made(good, coverage_90=after), "coverage_90")
    assert (found.before, found.after) == pytest.approx((before, after))
    assert found.difference.value == pytest.approx(farther)
    if verdict != OPEN:  # where both are as far off, rounding may decide between ends that are 0
        assert found.verdict == verdict


@pytest.mark.parametrize("metric", ["collision_rate_pedestrians", "on_road_share"])
def test_behaviour_is_compared_by_how_far_it_is_from_the_recorded_world(folders, metric):
    good = read_evaluation(folders / "good")
    world = {f"recorded.{metric}": 0.10}
    old, new = made(good, **world, **{metric: 0.12}), made(good, **world, **{metric: 0.05})
    found = change_of(old, new, metric)
    assert found.difference.value == pytest.approx(0.05 - 0.02)  # fewer is not better
    assert found.verdict == WORSE
    unknown = [
        replace(each, columns={n: c for n, c in each.columns.items() if "recorded." not in n})
        for each in (old, new)
    ]
    assert change_of(*unknown, metric).verdict == STATED


def test_tubes_that_are_only_larger_are_stated(folders):
    good = read_evaluation(folders / "good")
    old, new = made(good, tube_area_90_m2=2.0), made(good, tube_area_90_m2=3.0)
    found = change_of(old, new, "tube_area_90_m2")
    assert (found.verdict, found.difference.value) == (STATED, pytest.approx(1.0))


def test_a_metric_that_b_lost_is_named(folders):
    good = read_evaluation(folders / "good")
    old, new = made(good, energy_score_m=0.5), made(good, energy_score_m=np.nan)
    found = Comparison.of(old, new)
    assert [c.metric for c in found.of_verdict(LOST)] == ["energy_score_m"] * 2
    assert found.changes[0].verdict == LOST
    assert "energy_score_m                0.500 ->        –" in table(found)  # noqa: RUF001
    assert {c.metric for c in compare(new, old, paired(new, old)) if c.verdict == NEW} == {
        "energy_score_m"
    }


def test_a_column_that_b_lacks_is_lost_and_breaks_its_criterion(folders):
    good = read_evaluation(folders / "good")
    rest = {name: c for name, c in good.columns.items() if name != "top1_fde_m"}
    found = Comparison.of(good, replace(good, columns=rest))
    assert {c.metric for c in found.of_verdict(LOST)} == {"top1_fde_m"}
    assert found.broken == ["reach"]


def test_rows_that_b_no_longer_scores_are_counted(folders):
    good = read_evaluation(folders / "good")
    count = len(good.columns["at_us"])
    some = np.where(np.arange(count) < count // 2, 0.4, np.nan)
    partly = replace(good, columns={**good.columns, "energy_score_m": some})
    found = Comparison.of(made(good, energy_score_m=0.5), partly)
    lines = [line for line in table(found).splitlines() if "energy_score_m" in line]
    (line,) = (line for line in lines if " all " in line)
    assert line.endswith(f"n = {count // 2} of A's {count}")


def test_the_largest_undecided_changes_are_listed(folders):
    good = read_evaluation(folders / "good")
    count = len(good.columns["at_us"])
    noise = np.random.default_rng(0).normal(0, 1, count) * np.where(np.arange(count) % 2, 1, -1)
    shaky = good.columns["top1_fde_m"] + noise - noise.mean()
    found = Comparison.of(good, replace(good, columns={**good.columns, "top1_fde_m": shaky}))
    (change,) = (c for c in found.largest_open if (c.where, c.metric) == ("all", "top1_fde_m"))
    assert change.difference.low < 0 < change.difference.high
    ends = f"({change.difference.low:+.3f} to {change.difference.high:+.3f}), n = {count}"
    assert any("top1_fde_m" in line and ends in line for line in table(found).splitlines())


def test_what_has_no_rows_is_stated_with_its_difference(folders):
    good = read_evaluation(folders / "good")
    old, new = (
        replace(good, summary={**good.summary, "latency_p95_s": s, "coverage_90_final": c})
        for s, c in ((0.010, 0.8), (0.025, 0.95))
    )
    slower, nearer = (change_of(old, new, n) for n in ("latency_p95_s", "coverage_90_final"))
    assert {slower.verdict, nearer.verdict} == {STATED}
    assert slower.difference.value == pytest.approx(0.015)
    assert nearer.difference.value == pytest.approx(0.05 - 0.10)
    assert set(good.summary) >= {"latency_median_s", "peak_memory_mb", "tube_coverage_90_final"}


def test_errors_that_cost_the_plan_are_compared_where_enough_do(folders):
    good = read_evaluation(folders / "good")
    count = len(good.columns["at_us"])
    weight = np.where(np.arange(count) < 40, 1.0, 0.0)
    off = good.columns["top1_fde_m"] + np.where(weight > 0, 0.5, 0.0)
    old = replace(good, columns={**good.columns, "planner_weight": weight})
    new = replace(old, columns={**old.columns, "top1_fde_m": off})
    assert change_of(old, new, "weighted_top1_fde_m").difference.value == pytest.approx(0.5)
    few = replace(old, columns={**old.columns, "planner_weight": np.where(weight > 0, 1e-4, 0)})
    assert "weighted_top1_fde_m" not in {c.metric for c in compare(few, new, paired(few, new))}


def test_a_guarantee_that_b_breaks_is_named(folders, capsys):
    good = read_evaluation(folders / "good")
    (held, *_) = (name for name, kept in good.guarantees.items() if kept)
    leaky = replace(good, guarantees={**good.guarantees, held: False})
    assert Comparison.of(good, leaky).lost_guarantees == [held]
    assert Comparison.of(leaky, good).lost_guarantees == []


def test_slices_of_few_rows_are_named(folders):
    good = read_evaluation(folders / "good")
    labels = np.full(len(good.columns["at_us"]), "day", "<U5")
    labels[:3] = "night"
    dark = replace(good, columns={**good.columns, "slice.light": labels})
    found = Comparison.of(dark, dark)
    assert found.small["light: night"] == 3
    assert not any(change.where == "light: night" for change in found.changes)
    assert "fewer than 30 origins: " in table(found)


def test_changes_are_paired_means(folders):
    old, new = (read_evaluation(folders / name) for name in ("good", "bad"))
    changes = compare(old, new, paired(old, new))
    (found,) = (c for c in changes if (c.where, c.metric) == ("all", "top1_fde_m"))
    means = [each.columns["top1_fde_m"].mean() for each in (old, new)]
    assert (found.before, found.after) == pytest.approx(tuple(means))
    assert found.difference.value == pytest.approx(means[1] - means[0])
    assert found.verdict == WORSE
    back = compare(new, old, paired(new, old))
    (found,) = (c for c in back if (c.where, c.metric) == ("all", "top1_fde_m"))
    assert found.verdict == BETTER
    assert any(change.where.startswith("speed: ") for change in changes)
    verdicts = [change.verdict for change in changes]
    assert verdicts == sorted(verdicts, key=VERDICTS.index)


def test_the_order_of_rows_does_not_matter(folders, tmp_path):
    shutil.copytree(folders / "bad", tmp_path / "shuffled")
    rows = pq.read_table(tmp_path / "shuffled" / "rows.parquet")
    order = np.random.default_rng(0).permutation(len(rows))
    pq.write_table(rows.take(order), tmp_path / "shuffled" / "rows.parquet")
    old = read_evaluation(folders / "good")
    one, two = (
        compare(old, each, paired(old, each))
        for each in map(read_evaluation, (folders / "bad", tmp_path / "shuffled"))
    )
    assert [(c.where, c.metric) for c in one] == [(c.where, c.metric) for c in two]
    assert one[0].difference == pytest.approx(two[0].difference)


class TestRefuses:
    def changed(self, folders, tmp_path, change):
        shutil.copytree(folders / "bad", tmp_path / "other")
        path = tmp_path / "other" / "report.json"
        document = json.loads(path.read_text())
        change(document["sections"]["protocol"]["data"]["setting"])
        path.write_text(json.dumps(document))
        return read_evaluation(tmp_path / "other")

    @pytest.mark.parametrize("name", ["fingerprint", "horizon_s", "history_s"])
    def test_other_settings(self, folders, tmp_path, name):
        other = self.changed(folders, tmp_path, lambda setting: setting.update({name: 9}))
        with pytest.raises(ForecastError, match=f"{name} is 9, that of"):
            paired(read_evaluation(folders / "good"), other)

    def test_other_windows(self, folders):
        old, new = (read_evaluation(folders / name) for name in ("good", "bad"))
        fewer = replace(new, columns={name: c[1:] for name, c in new.columns.items()})
        with pytest.raises(ForecastError, match="scored on other windows than"):
            paired(old, fewer)

    def test_what_is_no_evaluation(self, folders, tmp_path, capsys):
        assert main(["compare", str(folders / "good"), str(tmp_path)]) == 1
        assert "not a whole evaluation (FileNotFoundError)" in capsys.readouterr().err
