from dataclasses import replace

import numpy as np
import pytest
import shapely

from forecast import EgoState, LaneMap, Prediction, Scene
from forecast.scene import Polylines
from forecast.visualization.viewer.entry import ego_lane, ego_of, entries


def prediction(paths: np.ndarray) -> Prediction:
    samples, agents = paths.shape[:2]
    return Prediction(
        paths.astype(np.float32),
        np.full(samples, 1 / samples),
        np.array([f"agent {i}" for i in range(agents)]),
        np.ones(agents, bool),
        0,
        0.5,
        np.zeros(2),
    )


def test_without_a_map_the_lane_is_straight_ahead():
    # 5 m/s: 30 m in 6 s, and 10 m more; 3.5 m wide
    lane = ego_lane(None, EgoState(2.0, 1.0, 0.0, 5.0))
    assert lane.bounds == pytest.approx((2, -0.75, 42, 2.75), abs=0.6)
    assert lane.area == pytest.approx(40 * 3.5, rel=0.02)


def test_with_a_map_it_is_the_lane_of_the_ego_and_what_follows():
    lines = [np.array([[-40.0, 0.0], [10, 0]]), np.array([[10.0, 0], [10, 60]])]
    lane_map = LaneMap(np.array(["a", "b"]), Polylines.of(lines), np.array([[0, 1]]))
    lane = ego_lane(lane_map, EgoState(0.0, 0.2, 0.0, 5.0))
    assert lane.bounds[0] == pytest.approx(0, abs=0.6)
    assert lane.bounds[2] < 13 < lane.bounds[3]


def test_a_still_ego_has_a_lane_of_30_m_and_an_absent_one_has_none():
    assert ego_lane(None, EgoState(0, 0, 0, 0.0)).bounds[2] == pytest.approx(30, abs=0.6)
    people = Scene.from_arrays(np.zeros((1, 2, 2)), ["pedestrian"], 0.5)
    assert ego_of(people, 1) is None


def test_who_enters_and_when():
    # agent 0 crosses y = 0.75 at 2 steps in one of two samples, agent 1 never, agent 2 is a car
    into = np.array([[5, 3.0], [5, 1.75], [5, -0.25], [5, -1]])
    away = np.array([[5, 3.0], [5, 4], [5, 5], [5, 6]])
    inside = np.tile([8.0, 0.0], (4, 1))
    paths = np.stack([np.stack([into, away, inside]), np.stack([away, away, inside])])
    lane = ego_lane(None, EgoState(0.0, 0.0, 0.0, 5.0))
    found = entries(prediction(paths), np.array([True, True, False]), lane)
    assert set(found) == {"agent 0", "agent 1"}
    assert found["agent 0"]["probability"] == 0.5
    assert found["agent 0"]["by_step"] == [0, 0.5, 0.5, 0.5]
    assert found["agent 0"]["median_s"] == pytest.approx(1.0, abs=0.02)
    assert found["agent 1"]["median_s"] is None


def test_who_is_in_the_lane_already_has_entered_now():
    inside = np.tile([8.0, 0.0], (1, 1, 4, 1))
    lane = ego_lane(None, EgoState(0.0, 0.0, 0.0, 5.0))
    made = prediction(inside)
    assert entries(made, np.array([True]), lane)["agent 0"]["now"] is None
    known = replace(made, now_m=np.array([[8.0, 0.0]], np.float32))
    assert entries(known, np.array([True]), lane)["agent 0"]["now"] == 1
    outside = replace(made, now_m=np.array([[8.0, 9.0]], np.float32))
    assert entries(outside, np.array([True]), lane)["agent 0"]["now"] == 0


def test_an_ego_far_from_everybody_is_no_mistake_of_frames():
    """People 1 km west of the ego, in a scene whose origin is 1 km east of the world's."""
    paths = np.tile([-1000.0, 0.0], (1, 1, 4, 1))
    far = replace(prediction(paths), origin_m=np.array([1000.0, 0]))
    lane = ego_lane(None, EgoState(0.0, 0.0, 0.0, 5.0))
    assert entries(far, np.array([True]), lane)["agent 0"]["probability"] == 0


def test_an_area_that_cannot_be_asked_about_gives_no_entries():
    found = entries(prediction(np.zeros((1, 1, 4, 2))), np.array([True]), shapely.Polygon())
    assert found == {}


def test_nobody_on_foot_gives_no_entries():
    lane = ego_lane(None, EgoState(0.0, 0.0, 0.0, 5.0))
    assert entries(prediction(np.zeros((1, 1, 4, 2))), np.array([False]), lane) == {}
