"""A tiny dataset in nuScenes format, and the means to break it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

VERSION = "v1.0-tiny"
LOCATION = "boston-seaport"
START_US = 1_532_000_000_000_000
STEP_US = 500_000
FRAMES = 5


@dataclass(frozen=True)
class Dataset:
    """A dataset on disk whose files a test may edit."""

    root: Path

    def path(self, table: str) -> Path:
        if table == "map":
            return self.root / "maps" / "expansion" / f"{LOCATION}.json"
        return self.root / VERSION / f"{table}.json"

    def edit(self, table: str, change: Callable[[Any], None]) -> Path:
        """Lets ``change`` work on the parsed file in place, and writes it back."""
        path = self.path(table)
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return path


@pytest.fixture
def tiny(tmp_path: Path) -> Dataset:
    """Two scenes of 5 keyframes at ego (1000 + 2 i, 500).

    scene-0061: 'ped' walks 0.5 m a frame beside the ego, 'car' is seen in frames 1 to 3 only.
    scene-0103: 'walker' turns on the spot, 'cone' stands.
    """
    dataset = Dataset(tmp_path / "nuscenes")
    for table, rows in {**_scene_tables(), **_annotation_tables()}.items():
        dataset.path(table).parent.mkdir(parents=True, exist_ok=True)
        dataset.path(table).write_text(json.dumps(rows, indent=0))
    dataset.path("map").parent.mkdir(parents=True)
    dataset.path("map").write_text(json.dumps(_city_map()))
    return dataset


def _chain(tokens: list[str], i: int) -> dict[str, str]:
    return {
        "token": tokens[i],
        "prev": tokens[i - 1] if i else "",
        "next": tokens[i + 1] if i + 1 < len(tokens) else "",
    }


def _scene_tables() -> dict[str, list[dict[str, Any]]]:
    samples, sweeps, poses = [], [], []
    for scene, start_us in (("a", START_US), ("b", START_US + 60_000_000)):
        tokens = [f"sample-{scene}{i}" for i in range(FRAMES)]
        for i in range(FRAMES):
            at_us = start_us + i * STEP_US
            samples.append(
                {**_chain(tokens, i), "timestamp": at_us, "scene_token": f"scene-{scene}"}
            )
            for sensor, key in (("lidar", True), ("lidar", False), ("camera", True)):
                pose = f"pose-{scene}{i}-{sensor}-{key}"
                sweeps.append(
                    {
                        "token": f"data-{pose}",
                        "sample_token": tokens[i],
                        "ego_pose_token": pose,
                        "calibrated_sensor_token": f"calibrated-{sensor}",
                        "is_key_frame": key,
                    }
                )
                here = (sensor, key) == ("lidar", True)
                x = 1000.25 + 2 * i if here else -1.0  # any other pose would be seen at once
                poses.append(
                    {"token": pose, "translation": [x, 500.0, 0], "rotation": [1, 0, 0, 0]}
                )
    return {
        "scene": [
            {"token": "scene-a", "name": "scene-0061", "log_token": "log", "description": "Rain"},
            {"token": "scene-b", "name": "scene-0103", "log_token": "log", "description": "Night"},
        ],
        "log": [{"token": "log", "location": LOCATION, "vehicle": "n015"}],
        "sample": samples[::-1],  # the order of a table means nothing
        "sample_data": sweeps,
        "ego_pose": poses,
        "sensor": [
            {"token": "lidar", "channel": "LIDAR_TOP"},
            {"token": "camera", "channel": "CAM_FRONT"},
        ],
        "calibrated_sensor": [
            {"token": "calibrated-lidar", "sensor_token": "lidar"},
            {"token": "calibrated-camera", "sensor_token": "camera"},
        ],
    }


def _annotation_tables() -> dict[str, list[dict[str, Any]]]:
    categories = {
        "ped": "human.pedestrian.adult",
        "car": "vehicle.car",
        "walker": "human.pedestrian.child",
        "cone": "movable_object.trafficcone",
    }
    frames = {"ped": range(5), "car": range(1, 4), "walker": range(5), "cone": range(5)}
    annotations = []
    for row, (instance, seen) in enumerate(frames.items()):
        tokens = [f"{instance}-{i}" for i in seen]
        for k, i in enumerate(seen):
            annotations.append(
                {
                    **_chain(tokens, k),
                    "sample_token": f"sample-{'a' if row < 2 else 'b'}{i}",
                    "instance_token": instance,
                    "visibility_token": str(row),
                    "translation": [1000.0 + 0.5 * i, 505.0 + row, 1.0],
                    "size": [0.6 + 0.1 * k, 0.8, 1.7],
                    "rotation": [0.5**0.5, 0, 0, 0.5**0.5],  # a quarter turn left
                }
            )
    return {
        "category": [
            {"token": f"category-{c}", "name": c} for c in dict.fromkeys(categories.values())
        ],
        "instance": [
            {"token": token, "category_token": f"category-{c}"} for token, c in categories.items()
        ],
        "sample_annotation": annotations,
        "visibility": [
            {"token": "1", "level": "v0-40"},
            {"token": "2", "level": "v40-60"},
            {"token": "3", "level": "v60-80"},
            {"token": "4", "level": "v80-100"},
        ],
    }


def _city_map() -> dict[str, Any]:
    """A straight lane into a left turn, a lane far off, and an area far larger than a scene."""
    rings = {
        "ground": [(-9000, -9000), (9000, -9000), (9000, 9000), (-9000, 9000)],
        "hole": [(1000, 510), (1004, 510), (1004, 514), (1000, 514)],
        "crossing": [(1002, 496), (1005, 496), (1005, 504), (1002, 504)],
        "pavement": [(990, 506), (1020, 506), (1020, 509), (990, 509)],
        "edge": [(0, 505), (9000, 505)],
    }
    nodes = [
        {"token": f"{name}-{i}", "x": float(x), "y": float(y)}
        for name, ring in rings.items()
        for i, (x, y) in enumerate(ring)
    ]
    tokens = {name: [f"{name}-{i}" for i in range(len(ring))] for name, ring in rings.items()}
    holes = {"ground": [{"node_tokens": tokens["hole"]}, {"node_tokens": []}]}

    def arc(pose: list[float], shape: str, lengths: list[float]) -> dict[str, Any]:
        return {"start_pose": pose, "shape": shape, "radius": 10.0, "segment_length": lengths}

    return {
        "version": "1.3",
        "node": nodes,
        "polygon": [
            {"token": name, "exterior_node_tokens": tokens[name], "holes": holes.get(name, [])}
            for name in ("ground", "crossing", "pavement")
        ],
        "line": [
            {"token": "edge", "node_tokens": tokens["edge"]},
            {"token": "nothing", "node_tokens": []},
        ],
        "lane": [
            {"token": "straight", "polygon_token": "pavement"},
            {"token": "far", "polygon_token": "ground"},
        ],
        "lane_connector": [
            {"token": "turn", "polygon_token": "crossing"},
            {"token": "pathless", "polygon_token": "crossing"},
        ],
        "arcline_path_3": {
            "straight": [
                arc([980.0, 500.0, 0.0], "LSL", [0.0, 15.0, 0.0]),
                arc([995.0, 500.0, 0.0], "RSL", [0.0, 15.0, 0.0]),
            ],
            "turn": [arc([1010.0, 500.0, 0.0], "LSR", [15.707963267948966, 0.0, 0.0])],
            "far": [arc([5000.0, 5000.0, 0.0], "LSL", [0.0, 30.0, 0.0])],
        },
        "connectivity": {
            "straight": {"incoming": [], "outgoing": ["turn", "demolished"]},
            "turn": {"incoming": ["straight"], "outgoing": ["far"]},
            "far": {"incoming": ["turn"], "outgoing": ["demolished"]},
        },
        "drivable_area": [{"token": "area", "polygon_tokens": ["ground"]}],
        "ped_crossing": [{"token": "p", "polygon_token": "crossing"}],
        "walkway": [{"token": "w", "polygon_token": "pavement"}],
        "road_divider": [{"token": "r", "line_token": "edge"}],
        "lane_divider": [{"token": "l", "line_token": "nothing"}],
    }
