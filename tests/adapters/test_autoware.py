import json

import pytest

from forecast.adapters.autoware import predicted_objects
from tests.adapters.conftest import ORIGIN, STEPS


def test_the_message_has_autowares_fields(prediction, scene):
    message = predicted_objects(prediction, scene, paths=2)
    assert message["header"] == {
        "stamp": {"sec": 1_600_000_001, "nanosec": 0},
        "frame_id": "map",
    }
    pedestrian, car = message["objects"]
    assert set(pedestrian) == {
        "object_id",
        "existence_probability",
        "classification",
        "kinematics",
        "shape",
    }
    assert set(pedestrian["kinematics"]) == {
        "initial_pose_with_covariance",
        "initial_twist_with_covariance",
        "initial_acceleration_with_covariance",
        "predicted_paths",
    }
    assert [one["classification"][0]["label"] for one in (pedestrian, car)] == [7, 1]
    assert json.loads(json.dumps(message)) == message, "plain values"


def test_paths_are_timed_weighted_and_begin_now(prediction, scene):
    pedestrian, _ = predicted_objects(prediction, scene, paths=2)["objects"]
    paths = pedestrian["kinematics"]["predicted_paths"]
    assert [path["confidence"] for path in paths] == [0.5, 0.5]
    for path in paths:
        assert path["time_step"] == {"sec": 0, "nanosec": 500_000_000}
        assert len(path["path"]) == STEPS + 1
        assert path["path"][0] == pedestrian["kinematics"]["initial_pose_with_covariance"]["pose"]
    start = paths[0]["path"][0]
    assert start["position"] == {"x": ORIGIN[0] + 20, "y": ORIGIN[1] - 2, "z": 0.0}
    assert start["orientation"]["z"] == pytest.approx(2**-0.5, abs=1e-6)
    assert start["orientation"]["w"] == pytest.approx(2**-0.5, abs=1e-6)


def test_velocity_is_in_the_objects_own_frame(prediction, scene):
    pedestrian, _ = predicted_objects(prediction, scene, paths=2)["objects"]
    linear = pedestrian["kinematics"]["initial_twist_with_covariance"]["twist"]["linear"]
    assert (linear["x"], linear["y"]) == pytest.approx((1, 0), abs=1e-6)


def test_shapes_and_names(prediction, scene):
    pedestrian, car = predicted_objects(prediction, scene, paths=2)["objects"]
    assert pedestrian["shape"]["type"] == 1
    assert car["shape"]["type"] == 0
    assert car["shape"]["dimensions"] == pytest.approx({"x": 4.6, "y": 1.9, "z": 1.7})
    again, _ = predicted_objects(prediction, scene, paths=2)["objects"]
    assert pedestrian["object_id"] == again["object_id"] != car["object_id"]
    assert len(pedestrian["object_id"]["uuid"]) == 16
