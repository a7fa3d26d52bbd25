import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast import ForecastError, LaneMap
from forecast.planning import EgoState, candidates, feasible
from forecast.scene import Polylines

egos = st.builds(
    EgoState,
    x_m=st.floats(-50, 50),
    y_m=st.floats(-50, 50),
    heading_rad=st.floats(-3, 3),
    speed_mps=st.floats(0, 20),
    acceleration_mps2=st.floats(-4, 3),
)
BEND_RAD = np.arange(0, 1.6, 0.1)
LEFT = np.array([20, 0]) + 30 * np.stack([np.sin(BEND_RAD), 1 - np.cos(BEND_RAD)], -1)
ROAD = LaneMap(
    lane_ids=np.array(["in", "straight", "left"]),
    centerlines=Polylines.of([np.array([[-20, 0], [20, 0]]), np.array([[20, 0], [120, 0]]), LEFT]),
    successors=np.array([[0, 1], [0, 2]]),
)


@pytest.mark.slow
@settings(max_examples=25)
@given(egos, st.booleans())
def test_every_plan_is_feasible(ego, on_road):
    plans = candidates(ego, n=300, lane_map=ROAD if on_road else None)
    assert plans.shape[1:] == (12, 3)
    assert np.isfinite(plans).all()
    assert feasible(plans, ego, 0.5).all()


@pytest.mark.parametrize("speed", [0.0, 3.0, 10.0, 20.0])
@pytest.mark.parametrize("lane_map", [None, ROAD])
def test_there_are_as_many_plans_as_asked_for_and_no_two_alike(speed, lane_map):
    plans = candidates(EgoState(0, 0, 0, speed), lane_map=lane_map)
    assert len(plans) == 1000
    assert len(np.unique(plans.round(2), axis=0)) >= 999, "a standing car keeps on as it brakes"


def test_plan_0_keeps_going_and_plan_1_brakes_fully():
    ego = EgoState(1.0, 2.0, 0.3, 10.0)
    plans = candidates(ego, n=50)
    times = np.arange(1, 13)[:, None] * 0.5
    ahead = np.array([np.cos(0.3), np.sin(0.3)])
    np.testing.assert_allclose(plans[0, :, :2], [1.0, 2.0] + 10 * times * ahead, atol=1e-2)
    np.testing.assert_allclose(plans[0, :, 2], 0.3, atol=1e-6)
    stop = np.linalg.norm(plans[1, -1, :2] - [1.0, 2.0])
    jerk, braking = 15.0, 8.0
    by_hand = 10**2 / (2 * braking) + 10 * braking / (2 * jerk)
    assert stop == pytest.approx(by_hand, abs=0.05)


def test_plans_follow_the_lanes_both_ways():
    plans = candidates(EgoState(0, 0.5, 0, 8.0), lane_map=ROAD)
    ends = plans[:, -1]
    far = ends[:, 0] > 35
    assert (np.abs(ends[far, 2]) < 0.05).any(), "straight on"
    assert (ends[:, 2] > 0.8).any(), "to the left"
    np.testing.assert_allclose(plans[0, :, 1], 0.5, atol=0.02)


def test_an_ego_that_leans_comes_back_to_its_lane():
    plans = candidates(EgoState(0, 0.5, 0.1, 8.0), lane_map=ROAD)
    start = plans[0, 0]
    assert start[2] == pytest.approx(0.1, abs=0.06)
    assert plans[0, -1, 1:] == pytest.approx([0.5, 0.0], abs=0.05)


def test_a_lane_that_is_far_or_runs_the_other_way_is_not_followed():
    for ego in (EgoState(0, 9, 0.2, 8.0), EgoState(0, 0, np.pi, 8.0)):
        np.testing.assert_array_equal(candidates(ego, lane_map=ROAD), candidates(ego))


def test_a_route_that_crosses_itself_is_followed_in_the_direction_of_the_ego():
    """The way back runs north 0.5 m ahead of the ego; its own part is 1 m aside."""
    loop = np.array([[-20, 0], [60, 0], [60, -60], [0.5, -60], [0.5, 60]])
    plans = candidates(EgoState(0, 1.0, 0, 5.0), lane_map=one_lane(loop))
    np.testing.assert_allclose(plans[0, :, 1:], [[1.0, 0.0]] * 12, atol=0.02)
    assert plans[:, -1, 1].min() > -4.5


@pytest.mark.parametrize("aside", [-1.9, 0.0, 1.9])
def test_a_plan_begins_where_the_ego_is_also_beside_a_bend(aside):
    """Its speed does not jump in the first tenth of a second, on either side of the line."""
    angle = np.linspace(0, np.pi / 2, 20)
    bend = 6 * np.stack([np.sin(angle), 1 - np.cos(angle)], -1)
    line = np.concatenate([[[-20, 0]], bend, [[6, 40]]])
    for turned in np.linspace(0.3, 1.2, 7):
        way = np.array([-np.sin(turned), np.cos(turned)])
        x, y = 6 * np.array([np.sin(turned), 1 - np.cos(turned)]) + aside * way
        ego = EgoState(x, y, turned, 1.5)
        plans = candidates(ego, 200, one_lane(line), dt_s=0.1)
        first = np.linalg.norm(plans[:, 0, :2] - ego.pose[:2], axis=-1) / 0.1
        assert np.abs(first - 1.5).max() < 0.1


def test_a_map_in_world_coordinates_is_refused():
    """Else there would be no lane near, and plans would follow arcs."""
    far = one_lane(np.array([[690e3, 5334e3], [690e3 + 100, 5334e3]]))
    with pytest.raises(ForecastError, match=r"candidates: the lane map lies .* world coordinates"):
        candidates(EgoState(0, 0, 0, 5.0), lane_map=far)


def one_lane(line):
    return LaneMap(lane_ids=np.array(["route"]), centerlines=Polylines.of([line]))


def test_the_same_question_has_the_same_answer():
    ego = EgoState(0, 0, 0, 7.0, 1.0)
    np.testing.assert_array_equal(candidates(ego, lane_map=ROAD), candidates(ego, lane_map=ROAD))


def test_other_steps():
    plans = candidates(EgoState(0, 0, 0, 7.0), n=20, horizon_s=3, dt_s=0.1)
    assert plans.shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": 1}, "n is 1; at least 2 is needed"),
        ({"horizon_s": 0.1}, "horizon_s is 0.1; at least one step of 0.5 s is needed"),
        ({"horizon_s": 2.3}, "horizon_s is 2.3; a multiple of the step of 0.5 s"),
        ({"dt_s": 0.0}, "dt_s is 0.0; a finite step above 0 is needed"),
    ],
)
def test_questions_without_an_answer_are_refused(given, message):
    with pytest.raises(ForecastError, match=message):
        candidates(EgoState(0, 0, 0, 5.0), **given)
