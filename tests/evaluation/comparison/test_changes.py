import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from forecast import ForecastError
from forecast.evaluation.comparison.changes import (
    BETTER,
    OPEN,
    STATED,
    VERDICTS,
    WORSE,
    compare,
    metrics,
    paired,
)
from forecast.evaluation.comparison.words import size
from forecast.evaluation.output.saved import read_evaluation
from tests.evaluation.comparison.test_comparison import made

pytestmark = pytest.mark.slow


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
        "modes_min_fde_20_m": "less",
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
    assert size(slower) == "+0.015 s, +150 %"
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
