"""Writes a dataset in nuScenes format: one scene of people who walk at 1 m/s beside the ego."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

VERSION = "v1.0-walks"
START_US = 1_600_000_000_000_000


def write_walks(
    root: Path, times_s: Sequence[float], *, seen: Mapping[str, Sequence[int]] | None = None
) -> None:
    """Writes the tables that are needed.

    Args:
        root: Folder of the dataset.
        times_s: Times of the keyframes.
        seen: Keyframes in which each pedestrian is annotated; default: one of them in all.
    """
    people = {"walker": range(len(times_s))} if seen is None else seen
    frames = [
        {
            "token": f"s{i}",
            "sample_token": f"s{i}",
            "ego_pose_token": f"s{i}",
            "scene_token": "scene",
            "timestamp": START_US + round(1e6 * time_s),
            "calibrated_sensor_token": "lidar",
            "is_key_frame": True,
            "translation": [3 * time_s, -6.0, 0.0],
            "rotation": [1, 0, 0, 0],
        }
        for i, time_s in enumerate(times_s)
    ]
    boxes = [
        {
            "token": f"{person}-{i}",
            "sample_token": f"s{i}",
            "instance_token": person,
            "translation": [times_s[i], 2.0 * row, 0.9],
            "size": [0.7, 0.7, 1.8],
            "rotation": [1, 0, 0, 0],
        }
        for row, (person, keyframes) in enumerate(people.items())
        for i in keyframes
    ]
    tables: dict[str, list[Any]] = {
        "scene": [{"token": "scene", "name": "walk"}],
        "sample": frames,
        "sample_data": frames,
        "ego_pose": frames,
        "sensor": [{"token": "lidar", "channel": "LIDAR_TOP"}],
        "calibrated_sensor": [{"token": "lidar", "sensor_token": "lidar"}],
        "category": [{"token": "ped", "name": "pedestrian"}],
        "instance": [{"token": person, "category_token": "ped"} for person in people],
        "sample_annotation": boxes,
    }
    folder = root / VERSION
    folder.mkdir(parents=True)
    for name, rows in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))
