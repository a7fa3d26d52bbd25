"""Rows of sensor, calibrated_sensor, sample_data and ego_pose of a simulated scene.

No sensor data are simulated, so the rows of sample_data name files that do not exist. At the rates
of nuScenes there are twelve sensors, and about 3,150 rows of each table for a scene. By default a
town has only the lidar's keyframes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.simulator.export.tokens import linked, token, tokens

TableRow = dict[str, Any]
"""One record of a table."""

KEYFRAME_S = 0.5


@dataclass(frozen=True)
class Sensor:
    """One sensor: its channel, modality, rate, file ending and image size."""

    channel: str
    modality: str
    rate_hz: float
    suffix: str
    height: int = 0
    width: int = 0


LIDAR_KEYFRAMES = (Sensor("LIDAR_TOP", "lidar", 1 / KEYFRAME_S, "pcd.bin"),)
"""The fewest sensors that the devkit needs."""

_CAMERAS = ("FRONT", "FRONT_LEFT", "FRONT_RIGHT", "BACK", "BACK_LEFT", "BACK_RIGHT")
_RADARS = ("FRONT", "FRONT_LEFT", "FRONT_RIGHT", "BACK_LEFT", "BACK_RIGHT")
FULL_RATE = (
    Sensor("LIDAR_TOP", "lidar", 20.0, "pcd.bin"),
    *(Sensor(f"CAM_{place}", "camera", 12.0, "jpg", 900, 1600) for place in _CAMERAS),
    *(Sensor(f"RADAR_{place}", "radar", 13.0, "pcd") for place in _RADARS),
)
"""The sensors of nuScenes at their rates."""


def sensor_rows(sensors: tuple[Sensor, ...]) -> list[TableRow]:
    """Returns the sensor table."""
    return [
        {"token": token("sensor", s.channel), "channel": s.channel, "modality": s.modality}
        for s in sensors
    ]


def calibrated_rows(sensors: tuple[Sensor, ...], root: str) -> list[TableRow]:
    """Returns the calibrated_sensor rows of a scene. ``root`` is part of the scene's tokens."""
    return [
        {
            "token": token("calibrated", root, s.channel),
            "sensor_token": token("sensor", s.channel),
            "translation": [0.94, 0.0, 1.84],
            "rotation": [0.5**0.5, 0.0, 0.0, -(0.5**0.5)],
            "camera_intrinsic": _INTRINSIC if s.modality == "camera" else [],
        }
        for s in sensors
    ]


_INTRINSIC = [[1266.4, 0.0, 816.3], [0.0, 1266.4, 491.5], [0.0, 0.0, 1.0]]


def recorded_rows(
    sensor: Sensor, root: str, name: str, samples: list[str], first_us: int, track: NDArray[Any]
) -> tuple[list[TableRow], list[TableRow]]:
    """Returns the sample_data and ego_pose rows of one sensor in one scene.

    Args:
        sensor: The sensor.
        root: Part of the scene's tokens.
        name: Name of the scene.
        samples: Tokens of its keyframes.
        first_us: Time of the first keyframe.
        track: Poses of the ego ``[S, 3]`` at equal steps over the whole scene.
    """
    keyframes = np.arange(len(samples)) * KEYFRAME_S
    times = np.arange(round(keyframes[-1] * sensor.rate_hz) + 1) / sensor.rate_hz
    nearest = np.round(keyframes * sensor.rate_hz).astype(np.int64)
    is_key = np.isin(np.arange(len(times)), nearest)
    owner = np.searchsorted(nearest, np.arange(len(times)))  # a sweep goes with the next keyframe
    stamps = (first_us + np.round(times * 1e6).astype(np.int64)).tolist()
    names = tokens(len(times), "data", root, sensor.channel)
    places = tokens(len(times), "pose", root, sensor.channel)
    calibrated = token("calibrated", root, sensor.channel)
    data = [
        {
            "token": own,
            "sample_token": samples[sample],
            "ego_pose_token": place,
            "calibrated_sensor_token": calibrated,
            "timestamp": stamp,
            "fileformat": sensor.suffix.split(".")[0],
            "is_key_frame": key,
            "height": sensor.height,
            "width": sensor.width,
            "filename": f"{'samples' if key else 'sweeps'}/{sensor.channel}/"
            f"{name}__{sensor.channel}__{stamp}.{sensor.suffix}",
            "prev": before,
            "next": after,
        }
        for (own, before, after), place, stamp, key, sample in zip(
            linked(names), places, stamps, is_key.tolist(), owner.tolist(), strict=True
        )
    ]
    poses = _poses(track, times / max(keyframes[-1], 1e-9))
    return data, [
        {"token": place, "timestamp": stamp, "rotation": turn, "translation": [*where, 0.0]}
        for place, stamp, where, turn in zip(
            places, stamps, poses[:, :2].tolist(), quaternions(poses[:, 2]), strict=True
        )
    ]


def quaternions(heading_rad: NDArray[Any]) -> list[list[float]]:
    """Returns rotations (w, x, y, z) about the vertical axis."""
    half, zero = heading_rad / 2, np.zeros_like(heading_rad)
    rows: list[list[float]] = np.stack([np.cos(half), zero, zero, np.sin(half)], -1).tolist()
    return rows


def _poses(track: NDArray[Any], share: NDArray[Any]) -> NDArray[np.float64]:
    """Interpolates a track ``[S, 3]`` at shares of its duration ``[P]``; exact at its own steps."""
    at = share * (len(track) - 1)
    low = np.minimum(np.floor(at + 1e-6).astype(np.int64), len(track) - 1)
    high = np.minimum(low + 1, len(track) - 1)
    rest = np.maximum(at - low, 0.0)
    rest = np.where(rest < 1e-6, 0.0, rest)[:, None]
    smooth = np.column_stack([track[:, :2], np.unwrap(track[:, 2])])
    poses: NDArray[np.float64] = smooth[low] * (1 - rest) + smooth[high] * rest
    return poses
