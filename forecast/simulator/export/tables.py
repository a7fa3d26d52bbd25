"""Turns recordings into the thirteen tables of nuScenes v1.0.

There are no sensor files. Rotations have yaw only.
"""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np

from forecast.simulator.export.recording import Recording
from forecast.simulator.export.sensors import (
    KEYFRAME_S,
    LIDAR_KEYFRAMES,
    Sensor,
    TableRow,
    calibrated_rows,
    quaternions,
    recorded_rows,
    sensor_rows,
)
from forecast.simulator.export.tokens import linked, token, tokens

CATEGORIES = (
    "human.pedestrian.adult",
    "human.pedestrian.child",
    "human.pedestrian.wheelchair",
    "human.pedestrian.stroller",
    "human.pedestrian.personal_mobility",
    "human.pedestrian.police_officer",
    "human.pedestrian.construction_worker",
    "vehicle.car",
    "vehicle.truck",
    "vehicle.bus.rigid",
    "vehicle.bicycle",
    "vehicle.motorcycle",
    "vehicle.construction",
    "movable_object.trafficcone",
    "movable_object.barrier",
)
ATTRIBUTES = (
    "vehicle.moving",
    "vehicle.stopped",
    "vehicle.parked",
    "cycle.with_rider",
    "pedestrian.standing",
    "pedestrian.moving",
    "pedestrian.sitting_lying_down",
)
_VISIBILITY = (("1", 0, 40), ("2", 40, 60), ("3", 60, 80), ("4", 80, 100))
_FIRST_US = 1_700_000_000_000_000
_FRAME_US = round(KEYFRAME_S * 1e6)
_SCENE_GAP_US = 60_000_000
_MOVING_MPS = 0.3


def fixed_tables(sensors: tuple[Sensor, ...] = LIDAR_KEYFRAMES) -> dict[str, list[TableRow]]:
    """Returns the tables that do not depend on the scenes."""
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
        "sensor": sensor_rows(sensors),
    }


def map_row(location: str, seed: int, scenes: list[int]) -> TableRow:
    """Returns the map table's row of a location and of the scenes there."""
    return {
        "category": "semantic_prior",
        "token": token("map", seed, location),
        "filename": f"maps/{token('mask', seed, location)}.png",
        "log_tokens": [_scene_token("log", seed, scene) for scene in scenes],
    }


def scene_name(scene: int) -> str:
    """Returns the name of the scene with a number."""
    return f"town-{scene + 1:04d}"


def scene_tables(
    recording: Recording,
    seed: int,
    scene: int,
    location: str,
    sensors: tuple[Sensor, ...] = LIDAR_KEYFRAMES,
) -> dict[str, list[TableRow]]:
    """Returns all rows of one scene, by table.

    Args:
        recording: The scene.
        seed: Seed of the dataset.
        scene: Number of the scene.
        location: Its location.
        sensors: The sensors of sample_data and ego_pose.
    """
    count = len(recording.ego)
    first_us = _FIRST_US + scene * _SCENE_GAP_US
    root, name = f"{seed}/{scene}", scene_name(scene)
    samples = tokens(count, "sample", root)
    own, log = _scene_token("scene", seed, scene), _scene_token("log", seed, scene)
    day = datetime.fromtimestamp(first_us / 1e6, timezone.utc).strftime("%Y-%m-%d")
    annotations, instances = _annotations(recording, seed, scene, samples)
    recorded = [
        recorded_rows(sensor, root, name, samples, first_us, recording.ego_track)
        for sensor in sensors
    ]
    return {
        "log": [{"token": log, "logfile": f"{day}-{name}", "vehicle": "town",
                 "date_captured": day, "location": location}],
        "scene": [{
            "token": own, "log_token": log, "nbr_samples": count, "name": name,
            "first_sample_token": samples[0], "last_sample_token": samples[-1],
            "description": recording.summary,
        }],
        "sample": [
            {"token": sample, "timestamp": first_us + i * _FRAME_US, "prev": prev, "next": after,
             "scene_token": own}
            for i, (sample, prev, after) in enumerate(linked(samples))
        ],
        "calibrated_sensor": calibrated_rows(sensors, root),
        "ego_pose": [row for _, poses in recorded for row in poses],
        "sample_data": [row for data, _ in recorded for row in data],
        "sample_annotation": annotations,
        "instance": instances,
    }  # fmt: skip


def instance_token(seed: int, scene: int, agent: int) -> str:
    """Returns the token of an agent of a recording."""
    return _scene_token("instance", seed, scene, agent)


def _scene_token(kind: str, seed: int, scene: int, *more: object) -> str:
    return token(kind, seed, scene, *more)


def _annotations(
    recording: Recording, seed: int, scene: int, samples: list[str]
) -> tuple[list[TableRow], list[TableRow]]:
    """Returns the annotations of every agent that is ever seen, and their instances.

    An agent that leaves the ego's range and comes back stays one instance. Its chain skips the gap.
    """
    annotations: list[TableRow] = []
    instances: list[TableRow] = []
    heights = np.broadcast_to(recording.sizes_m[:, 2:] / 2, recording.seen.shape)
    places = np.round(np.concatenate([recording.poses[..., :2], heights[..., None]], -1), 3)
    attributes = _attributes(recording)
    bins = recording.visibility.tolist()
    for agent in np.flatnonzero(recording.seen.any(axis=1)).tolist():
        steps = np.flatnonzero(recording.seen[agent])
        head = _scene_token("annotation", seed, scene, agent)[:24]
        names = [f"{head}{step:08x}" for step in steps.tolist()]
        instance = instance_token(seed, scene, agent)
        length, width, height = np.round(recording.sizes_m[agent], 3).tolist()
        instances.append({
            "token": instance,
            "category_token": token("category", recording.categories[agent]),
            "nbr_annotations": len(names),
            "first_annotation_token": names[0],
            "last_annotation_token": names[-1],
        })  # fmt: skip
        turns = quaternions(recording.poses[agent, steps, 2])
        annotations += [
            {
                "token": name,
                "sample_token": samples[step],
                "instance_token": instance,
                "visibility_token": str(bins[agent][step]),
                "attribute_tokens": attributes[agent][step],
                "translation": place,
                "size": [width, length, height],
                "rotation": turn,
                "prev": prev,
                "next": after,
                "num_lidar_pts": 1,  # evaluators would drop a box with 0 points
                "num_radar_pts": 0,
            }
            for (name, prev, after), step, place, turn in zip(
                linked(names), steps.tolist(), places[agent, steps].tolist(), turns, strict=True
            )
        ]
    return annotations, instances


def _attributes(recording: Recording) -> list[list[list[str]]]:
    """Returns the attribute tokens ``[A][T]``, one each; none for objects that cannot move."""
    tokens = [[token("attribute", name)] for name in ATTRIBUTES] + [[]]
    moving = recording.speeds_mps > _MOVING_MPS
    names = recording.categories
    person = np.char.startswith(names, "human.")[:, None]
    cycle = np.isin(names, ("vehicle.bicycle", "vehicle.motorcycle"))[:, None]
    thing = np.char.startswith(names, "movable_object.")[:, None]
    still = np.where(recording.sits[:, None], 6, 4)
    vehicle = np.where(recording.parked[:, None], 2, np.where(moving, 0, 1))
    which = np.where(person, np.where(moving, 5, still), np.where(cycle, 3, vehicle))
    which = np.where(thing, len(ATTRIBUTES), which)
    return [[tokens[i] for i in row] for row in which.tolist()]
