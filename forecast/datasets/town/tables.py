"""Turns recordings into the thirteen tables of nuScenes v1.0.

As small as the format allows: LIDAR_TOP keyframes only, no sensor files, yaw-only rotations.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.town.recording import Recording
from forecast.datasets.town.tokens import token

Row = dict[str, Any]

CATEGORIES = (
    "human.pedestrian.adult",
    "human.pedestrian.child",
    "vehicle.car",
    "vehicle.truck",
    "vehicle.bus.rigid",
    "vehicle.bicycle",
)
ATTRIBUTES = (
    "vehicle.moving",
    "vehicle.stopped",
    "vehicle.parked",
    "cycle.with_rider",
    "pedestrian.standing",
    "pedestrian.moving",
)
_VISIBILITY = (("1", 0, 40), ("2", 40, 60), ("3", 60, 80), ("4", 80, 100))
_SENSOR = token("sensor", "LIDAR_TOP")
_FIRST_US = 1_700_000_000_000_000
_FRAME_US = 500_000
_SCENE_GAP_US = 60_000_000
_MOVING_MPS = 0.3


def fixed_tables() -> dict[str, list[Row]]:
    """The tables that do not depend on the scenes."""
    return {
        "category": [
            {"token": token("category", name), "name": name, "description": "", "index": i + 1}
            for i, name in enumerate(CATEGORIES)
        ],
        "attribute": [
            {"token": token("attribute", name), "name": name, "description": ""}
            for name in ATTRIBUTES
        ],
        "visibility": [
            {
                "token": name,
                "level": f"v{low}-{high}",
                "description": f"visibility of whole object is between {low} and {high}%",
            }
            for name, low, high in _VISIBILITY
        ],
        "sensor": [{"token": _SENSOR, "channel": "LIDAR_TOP", "modality": "lidar"}],
    }


def map_row(location: str, seed: int, scenes: list[int]) -> Row:
    """The map table's row of a location and the scenes that happen there."""
    return {
        "category": "semantic_prior",
        "token": token("map", seed, location),
        "filename": f"maps/{token('mask', seed, location)}.png",
        "log_tokens": [_scene_token("log", seed, scene) for scene in scenes],
    }


def scene_name(scene: int) -> str:
    """Name of the scene with a number."""
    return f"town-{scene + 1:04d}"


def scene_tables(
    recording: Recording, seed: int, scene: int, location: str
) -> dict[str, list[Row]]:
    """All rows that one scene adds, by table.

    Args:
        recording: The scene.
        seed: Seed of the dataset.
        scene: Number of the scene.
        location: Where it is.
    """
    count = len(recording.ego)
    stamps = [_FIRST_US + scene * _SCENE_GAP_US + _FRAME_US * i for i in range(count)]
    samples = [_scene_token("sample", seed, scene, i) for i in range(count)]
    own = _scene_token("scene", seed, scene)
    day = datetime.fromtimestamp(stamps[0] / 1e6, timezone.utc).strftime("%Y-%m-%d")
    annotations, instances = _annotations(recording, seed, scene, samples)
    return {
        "log": [{
            "token": _scene_token("log", seed, scene), "logfile": f"{day}-{scene_name(scene)}",
            "vehicle": "town", "date_captured": day, "location": location,
        }],
        "scene": [{
            "token": own, "log_token": _scene_token("log", seed, scene), "nbr_samples": count,
            "first_sample_token": samples[0], "last_sample_token": samples[-1],
            "name": scene_name(scene), "description": recording.summary,
        }],
        "sample": [
            {"token": name, "timestamp": stamp, "prev": prev, "next": after, "scene_token": own}
            for (name, prev, after), stamp in zip(_chain(samples), stamps, strict=True)
        ],
        "calibrated_sensor": [{
            "token": _scene_token("calibrated", seed, scene), "sensor_token": _SENSOR,
            "translation": [0.94, 0.0, 1.84], "rotation": [0.5**0.5, 0.0, 0.0, -(0.5**0.5)],
            "camera_intrinsic": [],
        }],
        "ego_pose": [
            {"token": _scene_token("pose", seed, scene, i), "timestamp": stamps[i],
             "rotation": turn, "translation": [*where, 0.0]}
            for i, (where, turn) in enumerate(zip(
                recording.ego[:, :2].tolist(), _quaternions(recording.ego[:, 2]), strict=True))
        ],
        "sample_data": _sample_data(seed, scene, samples, stamps),
        "sample_annotation": annotations,
        "instance": instances,
    }  # fmt: skip


def _scene_token(kind: str, seed: int, scene: int, *more: object) -> str:
    return token(kind, seed, scene, *more)


def _chain(tokens: list[str]) -> Iterator[tuple[str, str, str]]:
    """Each token with the one before and the one after it, "" at the ends."""
    return zip(tokens, ["", *tokens[:-1]], [*tokens[1:], ""], strict=True)


def _quaternions(heading_rad: NDArray[Any]) -> list[list[float]]:
    """Rotations (w, x, y, z) about the vertical axis."""
    half, zero = heading_rad / 2, np.zeros_like(heading_rad)
    rows: list[list[float]] = np.stack([np.cos(half), zero, zero, np.sin(half)], -1).tolist()
    return rows


def _sample_data(seed: int, scene: int, samples: list[str], stamps: list[int]) -> list[Row]:
    names = [_scene_token("data", seed, scene, i) for i in range(len(samples))]
    return [
        {
            "token": name,
            "sample_token": samples[i],
            "ego_pose_token": _scene_token("pose", seed, scene, i),
            "calibrated_sensor_token": _scene_token("calibrated", seed, scene),
            "timestamp": stamps[i],
            "fileformat": "pcd",
            "is_key_frame": True,
            "height": 0,
            "width": 0,
            "filename": f"samples/LIDAR_TOP/{scene_name(scene)}__LIDAR_TOP__{stamps[i]}.pcd.bin",
            "prev": prev,
            "next": after,
        }
        for i, (name, prev, after) in enumerate(_chain(names))
    ]


def _annotations(
    recording: Recording, seed: int, scene: int, samples: list[str]
) -> tuple[list[Row], list[Row]]:
    """The annotations of every agent that is ever seen, and the instances they belong to.

    An agent that leaves the ego's range and comes back stays one instance; its chain skips the gap.
    """
    annotations: list[Row] = []
    instances: list[Row] = []
    heights = np.broadcast_to(recording.sizes_m[:, 2:] / 2, recording.seen.shape)
    places = np.round(np.concatenate([recording.poses[..., :2], heights[..., None]], -1), 3)
    attributes = _attributes(recording)
    for agent in np.flatnonzero(recording.seen.any(axis=1)).tolist():
        steps = np.flatnonzero(recording.seen[agent])
        names = [_scene_token("annotation", seed, scene, agent, step) for step in steps]
        instance = _scene_token("instance", seed, scene, agent)
        length, width, height = np.round(recording.sizes_m[agent], 3).tolist()
        instances.append({
            "token": instance,
            "category_token": token("category", recording.categories[agent]),
            "nbr_annotations": len(names),
            "first_annotation_token": names[0],
            "last_annotation_token": names[-1],
        })  # fmt: skip
        turns = _quaternions(recording.poses[agent, steps, 2])
        annotations += [
            {
                "token": name,
                "sample_token": samples[step],
                "instance_token": instance,
                "visibility_token": "",
                "attribute_tokens": [attributes[agent][step]],
                "translation": place,
                "size": [width, length, height],
                "rotation": turn,
                "prev": prev,
                "next": after,
                "num_lidar_pts": 1,  # there is no sensor; 0 would make evaluators drop the box
                "num_radar_pts": 0,
            }
            for (name, prev, after), step, place, turn in zip(
                _chain(names), steps.tolist(), places[agent, steps].tolist(), turns, strict=True
            )
        ]
    return annotations, instances


def _attributes(recording: Recording) -> list[list[str]]:
    """Attribute tokens ``[A][T]``."""
    tokens = np.array([token("attribute", name) for name in ATTRIBUTES])
    moving = recording.speeds_mps > _MOVING_MPS
    person = np.char.startswith(recording.categories, "human.")[:, None]
    cycle = (recording.categories == "vehicle.bicycle")[:, None]
    vehicle = np.where(recording.parked[:, None], 2, np.where(moving, 0, 1))
    which = np.where(person, np.where(moving, 5, 4), np.where(cycle, 3, vehicle))
    rows: list[list[str]] = tokens[which].tolist()
    return rows
