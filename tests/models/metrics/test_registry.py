import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from forecast.errors import ForecastError
from forecast.models import metrics
from forecast.models.metrics import METRICS, Scored, per_agent, spec
from forecast.models.metrics.registry import is_rate, unit_of
from forecast.scene import LaneMap, Polygons, Tubes

NAMES = [
    *("top1_ade_m", "top1_fde_m", "mean_ade_m", "mean_fde_m"),
    *("min_ade_5_m", "min_ade_10_m", "min_ade_20_m"),
    *("min_fde_5_m", "min_fde_10_m", "min_fde_20_m"),
    *("joint_ade_5_m", "joint_ade_10_m", "joint_ade_20_m", "joint_ade_m"),
    *("joint_fde_5_m", "joint_fde_10_m", "joint_fde_20_m", "joint_fde_m"),
    *("miss_rate_final_2m", "brier_min_fde_m"),
    *("kde_nll_nats", "energy_score_m"),
    *("coverage_50", "coverage_80", "coverage_90", "coverage_95"),
    *("tube_coverage_50", "tube_coverage_80", "tube_coverage_90", "tube_coverage_95"),
    "tube_area_90_m2",
    *("collision_rate_pedestrians", "collision_rate_ego", "on_road_share"),
    *("miss_rate_waymo_3s", "miss_rate_waymo_5s", "miss_rate_waymo_final"),
    *("conflict_missed", "conflict_false", "plan_regret_m"),
]


@pytest.fixture
def scored():
    generator = torch.Generator().manual_seed(0)
    draws = 2 * torch.randn(24, 6, 6, 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(22, generator=generator, dtype=torch.float64)
    square = np.array([(-2, -2), (2, -2), (2, 2), (-2, 2)], float)
    return Scored(
        samples_m=draws[:22],
        weights=weights / weights.sum(),
        mode_m=draws[22],
        truth_m=draws[23],
        dt_s=1.0,
        ego=torch.tensor([[0, i, 0.1 * i] for i in range(6)], dtype=torch.float64),
        ego_size_m=(4.1, 1.75),
        lane_map=LaneMap(
            drivable_area=Polygons.of([[square]]),
            crosswalks=Polygons.of([[square + 1000]]),
            walkways=Polygons.of([[square - 1000]]),
        ),
        tubes=Tubes(
            centre_m=draws[0].numpy(),
            shape_m2=np.broadcast_to(np.diag([4.0, 2.0]), (6, 6, 2, 2)),
            scale=np.broadcast_to([1.0, 1.5, 2.0, 2.5], (6, 6, 4)),
            levels=(0.5, 0.8, 0.9, 0.95),
            valid=np.ones(6, bool),
        ),
        headings_rad=torch.rand(6, 6, generator=generator, dtype=torch.float64),
        speed_mps=3 * torch.rand(6, generator=generator, dtype=torch.float64),
    )


def _first(scored, samples):
    weights = scored.weights[:samples]
    return replace(scored, samples_m=scored.samples_m[:samples], weights=weights / weights.sum())


def test_names_and_their_order_are_stable():
    assert list(METRICS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_it_is(name):
    metric = spec(name)
    assert metric.unit in {"m", "m2", "nats", "1"}
    assert unit_of(name) == metric.unit
    assert is_rate(name) == (metric.unit == "1")
    assert "\n" not in metric.definition
    assert metric.lower_is_better == ("coverage" not in name)
    assert metric.lower_is_better or metric.target == int(name[-2:]) / 100


def test_values_are_those_of_the_functions(scored):
    x, y, w = scored.samples_m, scored.truth_m, scored.weights
    mean = metrics.sample_mean(x, w)
    level = metrics.credibility(x, y, w)
    expected = {
        "top1_ade_m": metrics.ade(scored.mode_m, y),
        "top1_fde_m": metrics.fde(scored.mode_m, y),
        "mean_ade_m": metrics.ade(mean, y),
        "mean_fde_m": metrics.fde(mean, y),
        **{f"min_ade_{k}_m": metrics.min_ade(x, y, k, w) for k in (5, 10, 20)},
        **{f"min_fde_{k}_m": metrics.min_fde(x, y, k, w) for k in (5, 10, 20)},
        **{f"joint_ade_{k}_m": metrics.jade(x, y, k, w).repeat(6) for k in (5, 10, 20)},
        **{f"joint_fde_{k}_m": metrics.jfde(x, y, k, w).repeat(6) for k in (5, 10, 20)},
        "joint_ade_m": metrics.jade(x, y).repeat(6),
        "joint_fde_m": metrics.jfde(x, y).repeat(6),
        "miss_rate_final_2m": metrics.miss_rate_final(x, y, 2.0),
        "brier_min_fde_m": metrics.brier_min_fde(x, y, w),
        "kde_nll_nats": metrics.kde_nll(x, y, w).mean(-1),
        "energy_score_m": metrics.energy_score(x, y, w),
        **{f"coverage_{q}": metrics.coverage(level, q / 100, w).mean(-1) for q in (50, 80, 90, 95)},
        **{
            f"tube_coverage_{q}": metrics.tube_coverage(scored.tubes, y, q / 100).mean(-1)
            for q in (50, 80, 90, 95)
        },
        "tube_area_90_m2": metrics.tube_areas(scored.tubes, y, 0.9).mean(-1),
        "collision_rate_pedestrians": metrics.pairwise_collision_rate(x, w, 0.2),
        "collision_rate_ego": metrics.ego_collision_rate(
            x, w, scored.ego, scored.ego_size_m, substeps=10
        ),
        "on_road_share": torch.as_tensor(
            metrics.on_road_share(x.numpy(), w.numpy(), scored.lane_map)
        ),
        **{
            f"miss_rate_waymo_{name}": metrics.miss_rate_waymo(
                x, y, scored.headings_rad, scored.speed_mps, step, float(step + 1)
            )
            for name, step in (("3s", 2), ("5s", 4), ("final", 5))
        },
        **_conflicts(scored),
        "plan_regret_m": metrics.plan_regret(x, w, y, scored.ego, scored.ego_size_m, 1.0),
    }
    values = per_agent(scored)
    assert list(values) == NAMES
    for name, value in values.items():
        assert value.shape == (6,)
        assert name.startswith("conflict") or value.isfinite().all(), name
        torch.testing.assert_close(
            value, expected[name], rtol=1e-6, atol=1e-9, equal_nan=True, msg=name
        )


def _conflicts(scored):
    x, y, ego = scored.samples_m, scored.truth_m, (scored.ego, scored.ego_size_m, 1.0)
    predicted, true = (metrics.post_encroachment_time(each, *ego) for each in (x, y[None]))
    return {
        "conflict_missed": metrics.conflict_missed(predicted, scored.weights, true[0]),
        "conflict_false": metrics.conflict_false(predicted, scored.weights, true[0]),
    }


def _missing(scored):
    values = per_agent(scored).items()
    return {name for name, value in values if value.isnan().all()} - {"conflict_false"}


def test_what_a_deterministic_predictor_cannot_have(scored):
    best_of = {name for name in NAMES if name.endswith(("_5_m", "_10_m", "_20_m"))}
    coverages = {name for name in NAMES if name.startswith("coverage")}
    assert _missing(_first(scored, 1)) == best_of | coverages | {"kde_nll_nats"}


def test_one_sample_scores_as_its_own_mode(scored):
    one = _first(scored, 1)
    values = per_agent(replace(one, mode_m=one.samples_m[0]))
    for name in ("mean_ade_m", "energy_score_m"):
        assert torch.allclose(values[name], values["top1_ade_m"])
    assert torch.allclose(values["brier_min_fde_m"], values["top1_fde_m"])
    assert values["joint_ade_m"].mean().item() == pytest.approx(values["top1_ade_m"].mean().item())


def test_too_few_samples_for_a_best_of_k(scored):
    kinds = ("min_ade", "min_fde", "joint_ade", "joint_fde")
    assert _missing(_first(scored, 12)) == {f"{kind}_20_m" for kind in kinds}


def test_no_ego_and_no_map(scored):
    bare = replace(scored, ego=None, ego_size_m=None, lane_map=None)
    assert _missing(bare) == {
        *("collision_rate_ego", "on_road_share", "conflict_missed", "plan_regret_m")
    }


def test_waymos_thresholds_need_headings_speeds_and_a_step_at_their_time(scored):
    waymo = {f"miss_rate_waymo_{name}" for name in ("3s", "5s", "final")}
    assert _missing(replace(scored, headings_rad=None)) == waymo
    assert _missing(replace(scored, speed_mps=None)) == waymo
    assert _missing(replace(scored, dt_s=0.8)) == {"miss_rate_waymo_3s", "miss_rate_waymo_5s"}


def test_no_tubes(scored):
    assert _missing(replace(scored, tubes=None)) == {n for n in NAMES if n.startswith("tube_")}


def test_a_step_without_density_leaves_the_others(scored):
    samples = scored.samples_m.clone()
    samples[:, 0, 0] = scored.truth_m[0, 0]
    partly = replace(scored, samples_m=samples)
    expected = metrics.kde_nll(samples, scored.truth_m, scored.weights)[0, 1:].mean()
    assert per_agent(partly, ["kde_nll_nats"])["kde_nll_nats"][0].item() == pytest.approx(
        expected.item()
    )
    assert math.isfinite(per_agent(partly, ["coverage_90"])["coverage_90"][0])


def test_no_scored_agents(scored):
    nobody = replace(
        scored,
        samples_m=scored.samples_m[:, :0],
        mode_m=scored.mode_m[:0],
        truth_m=scored.truth_m[:0],
        tubes=scored.tubes.select(np.arange(0)),
        headings_rad=scored.headings_rad[:0],
        speed_mps=scored.speed_mps[:0],
    )
    assert {value.shape for value in per_agent(nobody).values()} == {(0,)}


def test_float32_gives_float32(scored):
    single = replace(
        scored,
        samples_m=scored.samples_m.float(),
        weights=scored.weights.float(),
        mode_m=scored.mode_m.float(),
        truth_m=scored.truth_m.float(),
    )
    doubles = per_agent(scored)
    for name, value in per_agent(single).items():
        assert value.dtype == torch.float32, name
        assert torch.allclose(value.double(), doubles[name], atol=1e-4, equal_nan=True), name


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ForecastError, match="metric 'ade' is unknown; one of top1_ade_m, "):
        spec("ade")
