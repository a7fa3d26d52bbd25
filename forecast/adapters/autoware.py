"""Autoware: a dict with the fields of ``autoware_perception_msgs/msg/PredictedObjects``.

``rosidl_runtime_py.set_message_fields(PredictedObjects(), predicted_objects(...))`` turns it into a
message. This module does not import ROS.
"""

from __future__ import annotations

import math
import uuid
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.adapters.paths import Paths
from forecast.scene import AgentKind, Prediction, Scene

_LABEL = {
    AgentKind.VEHICLE: 1,  # ObjectClassification.CAR
    AgentKind.CYCLIST: 6,  # BICYCLE
    AgentKind.PEDESTRIAN: 7,  # PEDESTRIAN
}
_UNKNOWN = 0
_BOUNDING_BOX, _CYLINDER = 0, 1


def predicted_objects(
    prediction: Prediction, scene: Scene, *, paths: int = 5, frame_id: str = "map"
) -> dict[str, Any]:
    """The predicted agents except the ego, as Autoware's planners read them.

    Each path starts at the present pose. Paths are marginal, because the message has no field that
    connects the paths of different objects in one joint future. Heights above ground are 0.

    Args:
        prediction: As for `forecast.adapters.paths.Paths.of`.
        scene: The scene of the prediction. Its world frame must be ``frame_id``.
        paths: Highest number of paths per object; their confidences sum to 1.
        frame_id: Frame of the header.

    Returns:
        The message's fields ``header`` and ``objects``.

    Raises:
        ForecastError: See `forecast.adapters.paths.Paths.of`.
    """
    found = Paths.of(prediction, scene, paths)
    return {
        "header": {"stamp": _duration(found.at_us), "frame_id": frame_id},
        "objects": [_object(found, agent) for agent in range(len(found.agent_ids))],
    }


def _object(found: Paths, agent: int) -> dict[str, Any]:
    kind = AgentKind(found.kinds[agent])
    heading = float(found.poses[0, agent, 0, 2])
    along, across = _turned(found.velocity_mps[agent], -heading)
    step = _duration(round(found.dt_s * 1e6))
    predicted = [
        {"path": [_pose(*pose) for pose in path], "time_step": step, "confidence": float(weight)}
        for path, weight in zip(*found.of_agent(agent), strict=True)
    ]
    return {
        "object_id": {"uuid": list(uuid.uuid5(uuid.NAMESPACE_OID, found.agent_ids[agent]).bytes)},
        "existence_probability": 1.0,
        "classification": [{"label": _LABEL.get(kind, _UNKNOWN), "probability": 1.0}],
        "kinematics": {
            "initial_pose_with_covariance": _uncertain("pose", _pose(*found.poses[0, agent, 0])),
            "initial_twist_with_covariance": _uncertain("twist", _rates(along, across)),
            "initial_acceleration_with_covariance": _uncertain("accel", _rates(0.0, 0.0)),
            "predicted_paths": predicted,
        },
        "shape": _shape(kind, *map(float, found.sizes_m[agent])),
    }


def _turned(vector: NDArray[np.float64], angle_rad: float) -> tuple[float, float]:
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    x, y = map(float, vector)
    return cos * x - sin * y, sin * x + cos * y


def _duration(time_us: int) -> dict[str, int]:
    seconds, micros = divmod(time_us, 1_000_000)
    return {"sec": seconds, "nanosec": micros * 1000}


def _pose(x_m: float, y_m: float, heading_rad: float) -> dict[str, Any]:
    half = heading_rad / 2
    return {
        "position": {"x": float(x_m), "y": float(y_m), "z": 0.0},
        "orientation": {"x": 0.0, "y": 0.0, "z": math.sin(half), "w": math.cos(half)},
    }


def _rates(along: float, across: float) -> dict[str, Any]:
    """A twist or an acceleration, in the object's own frame."""
    return {
        "linear": {"x": along, "y": across, "z": 0.0},
        "angular": {"x": 0.0, "y": 0.0, "z": 0.0},
    }


def _uncertain(name: str, value: dict[str, Any]) -> dict[str, Any]:
    """ROS's ``…WithCovariance``; zeros stand for an unknown covariance."""
    return {name: value, "covariance": [0.0] * 36}


def _shape(kind: AgentKind, length_m: float, width_m: float, height_m: float) -> dict[str, Any]:
    """A cylinder for pedestrians, as in Autoware's own perception, and a box for others."""
    if kind == AgentKind.PEDESTRIAN:
        length_m = width_m = (length_m + width_m) / 2
    return {
        "type": _CYLINDER if kind == AgentKind.PEDESTRIAN else _BOUNDING_BOX,
        "footprint": {"points": []},
        "dimensions": {"x": length_m, "y": width_m, "z": height_m},
    }
