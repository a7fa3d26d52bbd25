from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast import ForecastError
from forecast.planning import CostConfig, EgoState, RoadUse, clearance, rank
from forecast.planning.ranking import PlanMotion, ranked
from forecast.scene import LaneMap, Polygons, Polylines
from tests.planning.any_futures import futures, scenes, straight, walking

EGO = EgoState(0.0, 0.0, 0.0, 5.0)
STEPS = 6


def crossing(share: float, samples: int = 20):
    """A share of the samples steps onto the road 10 m ahead; the others stay on the pavement."""
    positions = np.tile([10.0, 4.0], (samples, 1, STEPS, 1))
    positions[: round(share * samples), 0, :, 1] -= 1.5 * 0.5 * np.arange(1, STEPS + 1).clip(max=5)
    return futures(positions, [[10.0, 4.0]])


def test_probabilities_and_their_intervals():
    ranking = rank(straight([5.0, 0.0]), crossing(0.25), EGO)
    assert ranking.collision_probability == pytest.approx([0.25, 0])
    assert ranking.collision_low == pytest.approx([0.0866, 0], abs=1e-3)
    assert ranking.collision_high == pytest.approx([0.491, 0.168], abs=1e-3)


def test_weights_count():
    people = replace(crossing(0.5, samples=2), weights=np.array([0.1, 0.9]))
    assert rank(straight([5.0]), people, EGO).collision_probability == pytest.approx([0.1])


def test_a_likely_contact_makes_waiting_the_best_plan():
    plans = straight([5.0, 0.0])
    dangerous, harmless = (rank(plans, crossing(share), EGO) for share in (0.5, 0.0))
    assert (dangerous.best, dangerous.safest) == (1, 1)
    assert dangerous.best_lead.real
    assert dangerous.safest_lead.real
    assert (harmless.best, harmless.safest) == (0, 0)


def test_partners_are_whom_a_plan_touches_or_comes_closest_to():
    start = np.array([[20.0, 1.5], [40.0, 8.0]])
    stand = np.broadcast_to(start[:, None], (2, 6, 2))
    steps = np.arange(1, 7)[:, None]
    comes = np.stack([stand[0], start[1] - steps * [0.0, 1.5]])  # the second walks into the way
    people = futures([stand, stand, comes, comes], start, weights=[0.1, 0.2, 0.3, 0.4])
    ranking = rank(straight([15.0, 1.0]), people, EGO)
    first, second = ranking.partners(0)
    assert first.agent_id == "agent-1"
    assert first.collision_probability == pytest.approx(0.7)
    assert first.probability == pytest.approx(0.7)
    assert second == ("agent-0", 0.0, pytest.approx(0.3))
    assert ranking.partners(1) == [("agent-0", 0.0, pytest.approx(1.0))]
    assert rank(straight([5.0]), nobody(), EGO).partners(0) == []


def test_a_lead_by_one_sample_in_twenty_is_not_real():
    lead = rank(straight([5.0, 0.0]), crossing(0.05), EGO).lead(1, 0, risk_only=True)
    assert lead.difference > 5
    assert lead.low < 0 < lead.high
    assert not lead.real


def test_a_lead_is_measured_on_the_same_samples():
    """Both plans meet the same samples, so the difference is certain though each risk is not."""
    plans = straight([5.0, 5.0])
    plans[1, :, 1] -= 0.01
    ranking = rank(plans, crossing(0.5), EGO, cost=CostConfig(distance_ok_m=10))
    lead = ranking.lead(1, 0, risk_only=True)
    assert lead.real
    assert lead.difference < 0.1
    assert ranking.risk_samples.std(axis=1).min() > 10


def test_the_tail_looks_at_the_worst_samples():
    ranking = rank(straight([5.0]), crossing(0.1), EGO)
    assert ranking.ttc_tail_s[0] == 0
    assert ranking.ttc_mean_s[0] == pytest.approx(0.9 * 8, abs=0.01)
    assert ranking.distance_tail_m[0] == 0
    assert ranking.pet_tail_s[0] == 0


def test_without_agents_progress_and_comfort_decide():
    empty = futures(np.zeros((3, 0, STEPS, 2)), np.zeros((0, 2)))
    ranking = rank(straight([5.0, 4.0]), empty, EGO)
    assert ranking.order.tolist() == [0, 1]
    assert (ranking.risk == 0).all()
    assert np.isinf(ranking.distance_mean_m).all()
    assert ranking.cost[0] == pytest.approx(0, abs=1e-9)


def test_reactive_people_change_the_order():
    """Frozen, she walks into the car; asked again for the plan that keeps on, she waits."""
    plans = straight([5.0, 4.0])
    frozen = crossing(1.0, samples=4)
    waiting = crossing(0.0, samples=4).positions_m
    reactive = replace(frozen, positions_m=np.stack([waiting, frozen.positions_m]))
    assert rank(plans, frozen, EGO).collision_probability.tolist() == [1, 1]
    ranking = rank(plans, reactive, EGO)
    assert ranking.collision_probability.tolist() == [0, 1]
    assert ranking.best == 0


def test_comfort_by_hand():
    ego = EgoState(0.0, 0.0, 0.0, 4.0, 2.0)
    times = np.arange(1, STEPS + 1) * 0.5
    plan = np.zeros((1, STEPS, 3))
    plan[0, :, 0] = 4 * times + times**2  # 2 m/s^2 throughout
    motion = PlanMotion.of(plan, ego, 0.5)
    assert motion.progress_m == pytest.approx(4 * 3 + 9)
    assert motion.speeds_mps[0] == pytest.approx(4.5 + np.arange(STEPS))
    assert motion.acceleration_mps2 == pytest.approx(2)
    assert motion.jerk_mps3 == pytest.approx(0, abs=1e-9)


def nobody():
    return futures(np.zeros((3, 0, STEPS, 2)), np.zeros((0, 2)))


def cruising(speeds, **prices):
    """Plans at constant speeds on an empty road, as if the ego had always driven so."""
    free = CostConfig(acceleration=0, jerk=0, **prices)
    return rank(straight(speeds), nobody(), EGO, cost=free)


def test_the_target_speed_is_the_best_one():
    """By hand: 3 s at 4 m/s less, or more, are 12 m at 0.1 each."""
    ranking = cruising([5.0, 9.0, 13.0])
    assert ranking.cost == pytest.approx([1.2, 0.0, 1.2])
    assert cruising([5.0, 9.0, 13.0], target_speed_mps=12).best == 2


def test_the_limit_holds_whatever_the_target():
    ranking = cruising([8.0, 8.3, 8.4, 12.0], target_speed_mps=12, speed_limit_mps=8.3)
    assert ranking.order.tolist() == [1, 0, 2, 3]
    # 3.7 m/s too fast: 11.1 m more than at the target, which is the limit, and 20 for each m/s
    assert ranking.cost[3] == pytest.approx(0.1 * 3.7 * 3 + 20 * 3.7)


ROAD = LaneMap(
    np.array(["east", "west"]),
    Polylines.of([np.array([[-50, 0], [150, 0]]), np.array([[150, 3.5], [-50, 3.5]])]),
    drivable_area=Polygons.of([[np.array([[-50, -4], [150, -4], [150, 5.5], [-50, 5.5]])]]),
)


def beside(offsets):
    """Plans at 9 m/s on parallels to the lane."""
    plans = straight(np.full(len(offsets), 9.0))
    plans[..., 1] = np.asarray(offsets)[:, None]
    return plans


def test_lanes_and_the_drivable_area_are_kept():
    ego, free = EgoState(0, 0, 0, 9.0), CostConfig(progress_per_m=0, acceleration=0, jerk=0)
    ranking = rank(beside([1.0, 0, 3.5, -4.5]), nobody(), ego, cost=free, lane_map=ROAD)
    assert ranking.best == 1
    # the square of the offset, which counts up to 4 m, and 50 off the road
    expected = [1, 0, 3.5**2, 16 + 50]
    assert ranking.cost == pytest.approx(expected, abs=1e-3)
    assert ranking.road.offset_m[:, 0] == pytest.approx([1.0, 0, 3.5, 4.0], abs=1e-3)
    without = rank(beside([1.0, 0, 3.5, -4.5]), nobody(), ego, cost=free)
    assert without.cost == pytest.approx([0, 0, 0, 0])


def test_leaving_the_lane_is_cheaper_than_a_contact():
    standing = walking([[20.0, 0.3]], [[0, 0]])
    ego = EgoState(0, 0, 0, 9.0)
    ranking = rank(beside([0, -2.0]), standing, ego, lane_map=ROAD)
    assert ranking.collision_probability.tolist() == [1, 0]
    assert ranking.best == 1


def partly(share, samples):
    """Plans at 0, 5 and 0 m/s of equal price, compared with the first ``samples [P]`` of 20."""
    plans, road = straight([0.0, 5.0, 0.0]), np.zeros((3, STEPS))
    people = crossing(share)
    people = replace(people, positions_m=people.positions_m[::-1])
    met, samples = clearance(plans, people, EGO), np.asarray(samples)
    met.forget(samples)
    free = CostConfig(progress_per_m=0, acceleration=0, jerk=0)
    driven = PlanMotion.of(plans, EGO, 0.5), RoadUse(road, road, road.astype(bool))
    of = people.agent_ids, people.weights
    return ranked(plans, met, *of, samples, np.zeros(3, bool), *driven, free)


def test_figures_rest_on_the_samples_that_each_plan_was_compared_with():
    """She steps onto the road in the last 5 of 20 samples: in none of the first 10."""
    whole, part = partly(0.25, [20, 20, 20]), partly(0.25, [20, 10, 4])
    assert whole.collision_probability == pytest.approx([0, 0.25, 0])
    assert part.collision_probability == pytest.approx([0, 0, 0])
    assert part.collision_high == pytest.approx([0.1684, 0.3085, 0.6024], abs=1e-4)
    assert part.samples.tolist() == [20, 10, 4]
    assert np.isnan(part.risk_samples).sum(1).tolist() == [0, 10, 16]
    assert "4 to 20 samples" in repr(part)
    assert np.isfinite(part.cost).all()


def test_plans_compared_with_more_samples_come_first():
    assert partly(0.25, [4, 20, 20]).order.tolist() == [2, 1, 0]
    assert partly(0.25, [4, 20, 20]).by_risk.tolist() == [2, 1, 0]
    assert partly(0.25, [10, 20, 10]).best == 1


def test_a_lead_is_that_of_the_samples_of_both_plans():
    """Five contacts in 20 are real; there is none in the 10 samples that plans 1 and 2 share."""
    ranking = partly(0.25, [20, 20, 10])
    lead = ranking.lead(0, 1, risk_only=True)
    assert (lead.first, lead.second, lead.real) == (0, 1, True)
    assert ranking.lead(2, 1, risk_only=True).difference < 2 < lead.difference


def test_a_single_plan_has_no_lead():
    ranking = rank(straight([5.0]), crossing(0.5), EGO)
    assert ranking.best_lead is None
    assert ranking.safest_lead is None


@settings(max_examples=20)
@given(scenes(), st.integers(0, 1000))
def test_the_order_of_plans_and_samples_changes_no_figure(scene, seed):
    plans, people, ego = scene
    rng = np.random.default_rng(seed)
    p, k = rng.permutation(len(plans)), rng.permutation(people.samples)
    before = rank(plans, people, ego)
    again = rank(plans[p], replace(people, positions_m=people.positions_m[k]), ego)
    for name in ("collision_probability", "risk", "cost", "ttc_tail_s", "pet_mean_s"):
        np.testing.assert_allclose(getattr(again, name), getattr(before, name)[p], atol=1e-3)


@settings(max_examples=20)
@given(scenes())
def test_more_people_are_never_less_risk(scene):
    plans, people, ego = scene
    some = np.arange(len(people.now_m)) < len(people.now_m) - 1
    fewer, all_of_them = (rank(plans, f, ego) for f in (people.select(some), people))
    assert (all_of_them.risk >= fewer.risk - 1e-6).all()
    assert (all_of_them.collision_probability >= fewer.collision_probability).all()


def test_figures_are_finite_where_there_is_somebody():
    ranking = rank(straight([5.0, 0.0]), walking([[10, 0]], [[0, 0]]), EGO)
    for name, value in vars(ranking).items():
        if isinstance(value, np.ndarray) and name != "agent_ids":
            assert np.isfinite(value).all(), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"collision": -1}, "collision is -1; a number of at least 0"),
        ({"ttc_ok_s": 0}, "ttc_ok_s is 0; a number above 0"),
        ({"tail_share": 1.5}, "tail_share is 1.5; at most 1"),
        ({"level": 1.0}, "level is 1.0; a level below 1"),
        ({"target_speed_mps": 0}, "target_speed_mps is 0; a number above 0"),
        ({"speed_limit_mps": -5}, "speed_limit_mps is -5; a number of at least 0"),
        ({"jerk": float("nan")}, "jerk is nan; a number of at least 0"),
    ],
)
def test_prices_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ForecastError, match=message):
        CostConfig(**change)
