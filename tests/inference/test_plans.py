import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from threading import get_ident

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from forecast import AgentKind, ForecastError, Scene, inference
from forecast.inference import Forecaster, windows
from forecast.inference.plans import PlanWorlds
from forecast.models import reactive, threads
from forecast.models.reactive import ReactionConfig
from forecast.planning import EgoState, Futures, candidates, halving, rank
from forecast.scene import LaneMap, Polylines
from tests.scenes import street_scene

AT, STEPS, SAMPLES = 2, 8, 3
EVERYBODY = ReactionConfig(math.inf, math.inf)


@pytest.fixture(scope="module")
def plans() -> np.ndarray:
    scene = street_scene()
    ego = EgoState.of(scene, AT)
    return candidates(ego, 12, scene.lane_map, horizon_s=STEPS * 0.5)


def worlds(
    forecaster: Forecaster,
    scene: Scene,
    plans: np.ndarray,
    reactions: ReactionConfig = EVERYBODY,
) -> PlanWorlds:
    cut = forecaster.window(scene, AT, plans.shape[1])
    options = {"seed": 1, "training": forecaster.training, "reactions": reactions}
    return PlanWorlds(forecaster.model, cut, plans, SAMPLES, **options)


def predicted(forecaster: Forecaster, scene: Scene, plan: np.ndarray | None = None) -> Futures:
    prediction = forecaster.predict(
        scene, AT, horizon_s=STEPS * 0.5, samples=SAMPLES, seed=1, ego_plan=plan
    )
    return Futures.of(prediction, scene)


def test_open_loop_futures_are_those_of_predict(forecaster, plans) -> None:
    scene = street_scene()
    shared, expected = worlds(forecaster, scene, plans).open_loop, predicted(forecaster, scene)
    np.testing.assert_allclose(shared.positions_m, expected.positions_m, atol=1e-5)
    np.testing.assert_array_equal(shared.now_m, expected.now_m)
    boxes = ~shared.disc  # the heading of a disc does not matter
    np.testing.assert_array_equal(shared.headings_rad[boxes], expected.headings_rad[boxes])
    np.testing.assert_array_equal(shared.sizes_m, expected.sizes_m)
    np.testing.assert_array_equal(shared.disc, expected.disc)


def test_people_react_to_each_plan_as_if_it_were_the_only_one(forecaster, plans) -> None:
    scene, chosen = street_scene(), np.array([1, 9, 11])
    futures = worlds(forecaster, scene, plans).reacting(chosen).positions_m
    for plan, met in zip(plans[chosen], futures, strict=True):
        expected = predicted(forecaster, scene, plan).positions_m
        np.testing.assert_allclose(met, expected, atol=1e-4)
    assert np.abs(futures[0] - futures[1]).max() > 1e-3


def test_threads_share_the_plans_and_change_nothing_else(forecaster, plans, monkeypatch) -> None:
    asked, chosen = worlds(forecaster, street_scene(), plans), np.arange(12)
    alone = asked.reacting(chosen).positions_m
    together, shares = on_threads(lambda: asked.reacting(chosen).positions_m, monkeypatch)
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert shares > 1


def test_threads_share_the_samples_and_change_nothing_else(forecaster, monkeypatch) -> None:
    def ask() -> NDArray[np.float32]:
        return forecaster.predict(street_scene(), 10, samples=40).positions_m

    alone = ask()
    together, shares = on_threads(ask, monkeypatch)
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert shares > 1


def on_threads(call: Callable[[], NDArray[np.float32]], patch) -> tuple[NDArray[np.float32], int]:
    """What a call gives that may share its work among 3 threads, and how many did some."""
    usual, seen, share_out = torch.get_num_threads(), set(), threads.side_by_side

    def watched(job: Callable[..., object], parts: Iterable[object]) -> list[object]:
        def noted(part: object) -> object:
            seen.add(get_ident())
            time.sleep(0.01)  # so that no thread is quick enough to do all
            return job(part)

        return share_out(noted, parts)

    for module in (windows, reactive):
        patch.setattr(module, "MOST_AT_ONCE", 8)
        patch.setattr(module, "side_by_side", watched)
    try:
        torch.set_num_threads(3)
        found = call()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(usual)
    return found, len(seen)


def test_agents_that_plans_do_not_come_near_are_replayed(forecaster, plans) -> None:
    scene, chosen = street_scene(), np.array([1, 4, 11])
    asked = worlds(forecaster, scene, plans, ReactionConfig(reach_m=0.0))
    shared, futures = asked.open_loop.positions_m, asked.reacting(chosen).positions_m
    way = np.linalg.norm(np.diff(plans[chosen, :, :2], axis=1, prepend=0), axis=-1)
    gap = np.linalg.norm(plans[chosen][:, None, None, :, :2] - shared, axis=-1)
    never = (gap > way[:, None, None] / 2 + 1e-3).all(-1)
    assert never.any()
    np.testing.assert_array_equal(futures[never], np.broadcast_to(shared, futures.shape)[never])


def test_imagining_few_agents_again_comes_close_to_imagining_all_again(forecaster, plans) -> None:
    scene, chosen = street_scene(), np.arange(len(plans))
    some = ReactionConfig(reach_m=12.0, after_s=2.0)
    usual, full = worlds(forecaster, scene, plans, some), worlds(forecaster, scene, plans)
    futures, exact = (w.reacting(chosen).positions_m for w in (usual, full))
    shared = np.broadcast_to(full.open_loop.positions_m, exact.shape)
    met = (futures != shared).any((-1, -2))
    assert 0 < met.sum() < met.size
    error, effect = (np.linalg.norm(x - exact, axis=-1)[met] for x in (futures, shared))
    assert error.mean() < 0.1 * effect.mean()


def test_plans_that_people_react_to_come_first(forecaster, plans) -> None:
    scene = street_scene()
    ranking = forecaster.rank_plans(scene, AT, plans, samples=SAMPLES, seed=1, react=4)
    frozen = forecaster.rank_plans(scene, AT, plans, samples=SAMPLES, seed=1, react=0)
    assert ranking.reactive.sum() == 4
    assert set(ranking.order[:4]) == set(frozen.order[:4]) == set(np.flatnonzero(ranking.reactive))
    assert set(ranking.by_risk[:4]) == set(ranking.order[:4])
    others = ~ranking.reactive
    np.testing.assert_array_equal(ranking.cost[others], frozen.cost[others])
    assert not frozen.reactive.any()


def test_the_two_ways_of_ranking_agree_with_plain_ranking(forecaster, plans) -> None:
    scene = street_scene()
    ego = EgoState.of(scene, AT)
    frozen = forecaster.rank_plans(scene, AT, plans, samples=SAMPLES, seed=1, react=0)
    expected = rank(plans, predicted(forecaster, scene), ego, lane_map=scene.lane_map)
    np.testing.assert_allclose(frozen.cost, expected.cost, rtol=1e-3)
    aware = forecaster.rank_plans(scene, AT, plans, samples=SAMPLES, seed=1, react=len(plans))
    assert aware.reactive.all()
    alone = rank(plans[2:3], predicted(forecaster, scene, plans[2]), ego)
    np.testing.assert_allclose(aware.met.distance_m[2], alone.met.distance_m[0], atol=1e-3)


def many(scene: Scene, count: int) -> NDArray[np.float64]:
    ego = EgoState.of(scene, AT)
    return candidates(ego, count, scene.lane_map, horizon_s=STEPS * 0.5)


def test_few_samples_for_all_plans_and_all_samples_for_the_last(forecaster) -> None:
    scene = street_scene()
    plans, options = many(scene, 100), {"samples": 20, "seed": 1}
    ranking = forecaster.rank_plans(scene, AT, plans, react=30, **options)
    frozen = forecaster.rank_plans(scene, AT, plans, react=0, **options)
    counted = {
        reacts: dict(zip(*np.unique(ranking.samples[which], return_counts=True), strict=True))
        for reacts, which in ((True, ranking.reactive), (False, ~ranking.reactive))
    }
    assert counted == {True: {4: 14, 20: 16}, False: {4: 50, 8: 20}}
    assert np.unique(frozen.samples, return_counts=True)[1].tolist() == [50, 25, 25]
    assert set(ranking.order[:16]) == set(
        np.flatnonzero(ranking.reactive & (ranking.samples == 20))
    )
    unknown = np.arange(20) >= ranking.samples[:, None]
    np.testing.assert_array_equal(np.isnan(ranking.risk_samples), unknown)


@pytest.mark.parametrize("react", [0, 30])
def test_figures_are_those_of_as_many_samples(forecaster, react) -> None:
    """Random numbers depend on names, so 4 samples are the first 4 of 20."""
    scene = street_scene()
    plans = many(scene, 100)
    ranking = forecaster.rank_plans(scene, AT, plans, samples=20, seed=1, react=react)
    for count in np.unique(ranking.samples[ranking.reactive == bool(react)]).tolist():
        chosen = (ranking.samples == count) & (ranking.reactive == bool(react))
        asked = PlanWorlds(
            forecaster.model,
            forecaster.window(scene, AT, STEPS),
            plans[chosen],
            count,
            1,
            forecaster.training,
        )
        futures = asked.reacting(np.arange(chosen.sum())) if react else asked.open_loop
        alone = rank(plans[chosen], futures, EgoState.of(scene, AT))
        np.testing.assert_allclose(ranking.risk[chosen], alone.risk, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(ranking.collision_high[chosen], alone.collision_high)


def test_the_best_plan_is_that_of_all_samples_for_all_plans(forecaster, monkeypatch) -> None:
    scene = street_scene()
    plans, options = many(scene, 100), {"samples": 20, "seed": 1}
    for react in (0, 30):
        few = forecaster.rank_plans(scene, AT, plans, react=react, **options)
        with monkeypatch.context() as patch:
            patch.setattr(halving, "FEWEST_SAMPLES", 20)
            full = forecaster.rank_plans(scene, AT, plans, react=react, **options)
        assert (full.samples == 20).all()
        assert few.best == full.best
        assert few.cost[few.best] == pytest.approx(full.cost[full.best], abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"speed_mps": 3.6 * 14},
            r"ego speed_mps is 50.4, .* m/s off; a velocity that the ego can",
        ),
        ({"heading_rad": 3.0}, "ego heading_rad is 3.0; a heading in radians near"),
    ],
)
def test_a_state_that_the_ego_cannot_have_is_refused(forecaster, plans, change, message) -> None:
    scene = street_scene()
    known = EgoState.of(scene, AT)
    forecaster.rank_plans(scene, AT, plans[:3], samples=2, react=0, ego=known)
    wrong = replace(known, **change)
    with pytest.raises(ForecastError, match=message):
        forecaster.rank_plans(scene, AT, plans[:3], samples=2, react=0, ego=wrong)


def test_what_is_no_price_or_map_is_refused(forecaster, plans) -> None:
    with pytest.raises(ForecastError, match="cost is dict; a value of type CostConfig is needed"):
        forecaster.rank_plans(street_scene(), AT, plans[:3], cost={"ttc": 1})
    with pytest.raises(ForecastError, match="lane_map is str; a LaneMap"):
        forecaster.stream("map.geojson")


@pytest.mark.parametrize("name", ["ego", "limits", "route"])
def test_arguments_of_other_types_are_refused(forecaster, plans, name) -> None:
    with pytest.raises(ForecastError, match=f"{name} is int; a value of type "):
        forecaster.rank_plans(street_scene(), AT, plans[:3], **{name: 3})


def test_people_react_to_the_ego_where_it_is_stated_to_be(forecaster) -> None:
    """As in a scene whose ego has been 2 m ahead of its track all the time."""
    scene = street_scene()
    ego = EgoState.of(scene, AT)
    rows = scene.tracks.kinds == AgentKind.EGO
    positions = scene.tracks.positions_m.copy()
    positions[rows] += np.float32([2 * math.cos(ego.heading_rad), 2 * math.sin(ego.heading_rad)])
    ahead = replace(scene, tracks=replace(scene.tracks, positions_m=positions))
    stated = EgoState.of(ahead, AT)
    plans = candidates(stated, 12, scene.lane_map)
    found = forecaster.rank_plans(scene, AT, plans, samples=4, ego=stated)
    expected = forecaster.rank_plans(ahead, AT, plans, samples=4, ego=stated)
    np.testing.assert_allclose(found.risk, expected.risk, atol=1e-3)
    there = forecaster.rank_plans(scene, AT, candidates(ego, 12, scene.lane_map), samples=4)
    assert np.abs(found.distance_mean_m - there.distance_mean_m).max() > 1e-3


def test_the_ego_of_the_scene_is_that_of_its_state(forecaster) -> None:
    """Also one that has stood for longer than the model looks back, without recorded headings."""
    times = np.arange(14) * 0.5
    west = np.stack([-8 * np.minimum(times, 2.0), 0 * times], -1)
    walk = np.stack([-20 - times, 3 - 0.5 * times], -1)
    scene = Scene.from_arrays([west, walk], ["ego", "pedestrian"], 0.5)
    ego = EgoState.of(scene, -1)
    assert abs(ego.heading_rad) == pytest.approx(math.pi)
    plans = candidates(ego, 20)
    found, stated = (
        forecaster.rank_plans(scene, -1, plans, samples=4, **given) for given in ({}, {"ego": ego})
    )
    np.testing.assert_array_equal(found.risk, stated.risk)
    np.testing.assert_array_equal(found.met.distance_m, stated.met.distance_m)


def test_an_ego_that_stands_may_be_given_its_heading(forecaster) -> None:
    stand = np.zeros((5, 2))
    walk = np.stack([np.linspace(-8, -6, 5), np.full(5, 2.0)], -1)
    scene = Scene.from_arrays([stand, walk], ["ego", "pedestrian"], 0.5)
    with pytest.raises(ForecastError, match=r"heading of the ego is unknown; a heading \(give"):
        EgoState.of(scene, -1)
    ego = EgoState(0.0, 0.0, math.pi, 0.0)
    plans = candidates(ego, 20)
    assert plans[..., 0].max() < 0.1
    ranking = forecaster.rank_plans(scene, -1, plans, samples=4, ego=ego)
    assert ranking.partners(ranking.best)[0].agent_id == "1"


def test_a_route_counts_instead_of_the_map_of_the_scene(forecaster, plans) -> None:
    scene = street_scene()
    line = np.array([[-50.0, 30.0], [150.0, 30.0]])
    route = LaneMap(np.array(["aside"]), Polylines.of([line]))
    ranking = forecaster.rank_plans(scene, AT, plans, react=0, route=route)
    assert (ranking.road.offset_m == 4).all()
    usual = forecaster.rank_plans(scene, AT, plans, react=0)
    assert usual.road.offset_m.min() < 1


def test_a_route_in_another_frame_is_refused(forecaster, plans) -> None:
    line = np.array([[690e3, 5334e3], [690e3 + 100, 5334e3]])
    route = LaneMap(np.array(["world"]), Polylines.of([line]))
    with pytest.raises(ForecastError, match=r"route: the lane map lies .* relative to origin_m"):
        forecaster.rank_plans(street_scene(), AT, plans, react=0, route=route)


def test_a_keyword_that_rank_plans_does_not_take_is_an_error(forecaster, plans) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'rute'"):
        forecaster.rank_plans(street_scene(), AT, plans, rute=None)


def blocked_lane() -> tuple[Scene, NDArray[np.float64]]:
    """Two people stand in the ego's lane; a plan that drives through them, every 0.1 s for 6 s."""
    positions = np.zeros((3, 5, 2))
    positions[0, :, 0] = 2.5 * np.arange(5) - 10
    positions[1:] = [[[12.0, 0.0]], [[13.0, 0.5]]]
    kinds = [AgentKind.EGO, AgentKind.PEDESTRIAN, AgentKind.PEDESTRIAN]
    origin_m = np.array([690_000.0, 5_334_000.0])
    options = {"origin_m": origin_m, "headings_rad": np.zeros((3, 5))}
    scene = Scene.from_arrays(positions + origin_m, kinds, 0.5, **options)
    return scene, np.stack([0.5 * np.arange(1, 61), np.zeros(60), np.zeros(60)], -1)


def test_a_plan_through_people_collides_at_any_step_of_the_plan() -> None:
    scene, fine = blocked_lane()
    town = inference.load("town")

    def high(plan: NDArray[np.float64], **options: float) -> list[float]:
        plans = np.stack([plan, plan + np.array([0, 0.1, 0])])
        ranking = town.rank_plans(scene, 4, plans, samples=20, react=2, **options)
        assert ranking.plans.shape == (2, 12, 3)
        return ranking.collision_high.tolist()

    expected = high(fine[4::5])
    assert expected[0] > 0.9
    for every, step_s in ((1, 0.1), (2, 0.2), (10, 1.0)):
        plan = fine[every - 1 :: every]
        np.testing.assert_allclose(high(plan, plan_dt_s=step_s), expected, atol=1e-6)


def test_plans_that_cannot_be_driven_are_refused(forecaster) -> None:
    scene, fine = blocked_lane()
    right = fine[4::5]
    here = EgoState(0.0, 0.0, 0.0, 5.0)
    away = replace(here, x_m=690_000.0)
    for wrong, options, message in (
        (right + np.append(scene.origin_m, 0), {}, "plan 1, step 1: lies .* origin_m are needed"),
        (fine[:12], {}, "plan 1, step 1: from 4.2 m/s now to 1.0 m/s is an acceleration of 13.0"),
        (fine[:12], {"ego": here}, "from 5.0 m/s now to 1.0 m/s is an acceleration of 16.0"),
        (right, {"ego": away}, "ego: distance from the scene's ego is 690000.0 m"),
        (fine[4:49:5], {"plan_dt_s": 0.6}, "plans each hold 9 poses every 0.6 s, 5.4 s in all"),
        (fine, {}, r"30 s in all; the horizon is 6 s: give plan_dt_s \(0.1\?\)"),
    ):
        good = np.resize(right, wrong.shape)
        with pytest.raises(ForecastError, match=message):
            forecaster.rank_plans(scene, 4, np.stack([good, wrong]), samples=1, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plans": np.zeros((3, 8))}, r"shape of plans is \[3, 8\]"),
        ({"plans": np.full((3, 8, 3), np.nan)}, "plan 0, step 1: the pose is"),
        ({"samples": 0}, "samples is 0"),
        ({"react": -1}, "react is -1"),
    ],
)
def test_wrong_arguments(forecaster, plans, change, message) -> None:
    with pytest.raises(ForecastError, match=message):
        forecaster.rank_plans(street_scene(), AT, **{"plans": plans, **change})


def test_plans_need_an_ego(forecaster, plans) -> None:
    scene = street_scene()
    without = replace(scene, tracks=scene.tracks.select(scene.tracks.kinds != AgentKind.EGO))
    with pytest.raises(ForecastError, match="number of egos"):
        forecaster.rank_plans(without, AT, plans)


def test_a_given_ego_need_not_be_in_the_scene(forecaster, plans) -> None:
    """Here the ego has driven straight on, so the scene with it is the same as the one made."""
    scene = street_scene()
    tracks, ego = scene.tracks, EgoState.of(scene, AT)
    others = tracks.select(tracks.kinds != AgentKind.EGO)
    with_ego = ego.joined(scene, AT)
    assert with_ego.tracks.agent_ids[-1] == "ego"
    assert EgoState.of(with_ego, AT) == pytest.approx(ego, abs=1e-5)
    expected = forecaster.rank_plans(with_ego, AT, plans, samples=4, ego=ego)
    found = forecaster.rank_plans(replace(scene, tracks=others), AT, plans, samples=4, ego=ego)
    np.testing.assert_array_equal(found.order, expected.order)
    np.testing.assert_array_equal(found.cost, expected.cost)
    unseen = tracks.valid.copy()
    unseen[tracks.kinds == AgentKind.EGO, AT] = False  # it is in the scene, but not at that step
    scene = replace(scene, tracks=replace(tracks, valid=unseen))
    again = forecaster.rank_plans(scene, AT, plans, samples=4, ego=ego)
    np.testing.assert_array_equal(again.cost, expected.cost)


def test_in_a_scene_of_other_steps_the_time_between_poses_is_asked_for(forecaster) -> None:
    walk = np.stack([np.linspace(0, 2, 6), np.full(6, 4.0)], -1)
    drives = np.stack([np.linspace(-20, -4, 6), np.zeros(6)], -1)
    scene = Scene.from_arrays([walk, drives], ["pedestrian", "ego"], 0.4, id="fast")
    plans, training = candidates(EgoState.of(scene, -1), 12), forecaster.training
    model = Forecaster(forecaster.model, replace(training, dts_s=[0.5]), "half a second")
    with pytest.raises(ForecastError, match=r"plan_dt_s is None; the time .* 0\.4 s, is"):
        model.rank_plans(scene, -1, plans, samples=2)
    ranking = model.rank_plans(scene, -1, plans, samples=2, plan_dt_s=0.5)
    np.testing.assert_allclose(ranking.speeds_mps[0], 8.0, rtol=0.05)
