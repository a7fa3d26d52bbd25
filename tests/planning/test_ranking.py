from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast import ForecastError
from forecast.planning import CostConfig, EgoState, rank
from forecast.planning.ranking import comfort
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
    progress, acceleration, jerk = comfort(plan, ego, 0.5)
    assert progress == pytest.approx(4 * 3 + 9)
    assert acceleration == pytest.approx(2)
    assert jerk == pytest.approx(0, abs=1e-9)


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
        if isinstance(value, np.ndarray):
            assert np.isfinite(value).all(), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"collision": -1}, "collision is -1; a number of at least 0"),
        ({"ttc_ok_s": 0}, "ttc_ok_s is 0; a number above 0"),
        ({"tail_share": 1.5}, "tail_share is 1.5; at most 1"),
        ({"level": 1.0}, "level is 1.0; a level below 1"),
        ({"jerk": float("nan")}, "jerk is nan; a number of at least 0"),
    ],
)
def test_prices_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ForecastError, match=message):
        CostConfig(**change)
