"""Random traffic, and a small network whose weights are all random."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forecast import Forecaster, Scene
from forecast.inference import Training
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.models.world_model import WorldModelConfig
from forecast.scene import AgentKind, LaneMap, Polylines
from forecast.scene.lanes import Polygons

SMALL = ForecasterConfig(world_model=WorldModelConfig(hidden=16, messages=8, map=8))
STEP_S, STEPS, HISTORY = 0.5, 12, 5
_SPEEDS_MPS = {AgentKind.PEDESTRIAN: 1.3, AgentKind.CYCLIST: 4.0, AgentKind.VEHICLE: 8.0}

_PLACE = "boston-seaport"
_CATEGORIES = {
    AgentKind.PEDESTRIAN: "human.pedestrian.adult",
    AgentKind.CYCLIST: "vehicle.bicycle",
    AgentKind.VEHICLE: "vehicle.car",
}


def small_forecaster(seed: int = 0) -> Forecaster:
    """A network in which every weight counts: none is zero, as those of training are at first."""
    torch.manual_seed(seed)
    model = PedestrianForecaster(SMALL)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return Forecaster(model, Training(SMALL, HISTORY, STEPS, [STEP_S]), name="small")


def random_scene(seed: int, steps: int = STEPS, name: str = "") -> Scene:
    """People, cyclists, vehicles and an ego with gaps in their tracks, on a street or without map.

    Nobody turns by more than 0.3 rad in a step, and everybody is there at the last step.

    Args:
        seed: Of everything in it.
        steps: Number of steps.
        name: Its name; default: made of the seed.
    """
    rng = np.random.default_rng(seed)
    others = rng.integers(1, 9)
    drawn = rng.choice(list(_SPEEDS_MPS), others, p=(0.6, 0.15, 0.25)).tolist()
    kinds = [AgentKind.PEDESTRIAN, AgentKind.EGO, *map(AgentKind, drawn)]
    mean = np.array([_SPEEDS_MPS.get(kind, 6.0) for kind in kinds])
    speeds = mean * rng.uniform(0.3, 1.5, len(kinds)) * (rng.random(len(kinds)) > 0.1)
    turns = rng.normal(0, 0.05, (len(kinds), steps)).clip(-0.3, 0.3)
    headings = rng.uniform(-np.pi, np.pi, (len(kinds), 1)) + turns.cumsum(1)
    ways = np.stack([np.cos(headings), np.sin(headings)], -1) * (STEP_S * speeds)[:, None, None]
    positions = rng.uniform(-15, 15, (len(kinds), 1, 2)) + ways.cumsum(1)
    valid = rng.random((len(kinds), steps)) > 0.1
    valid[:, -1], valid[:2] = True, True
    return Scene.from_arrays(
        positions,
        kinds,
        STEP_S,
        valid=valid,
        headings_rad=headings,
        lane_map=street_map(rng) if rng.random() < 0.7 else None,
        id=name or f"traffic-{seed}",
    )


def street_map(rng: np.random.Generator) -> LaneMap:
    """A straight street in a random direction with two lanes, a crossing and a pavement."""
    angle = rng.uniform(-np.pi, np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])

    def area(left: float, low: float, right: float, high: float) -> Polygons:
        corners = np.array([[left, low], [right, low], [right, high], [left, high]])
        return Polygons.of([[corners @ turn]])

    lines = [np.array([[-40.0, -2.0], [0.0, -2.0], [40.0, -2.0]]), np.array([[40.0, 2], [-40, 2]])]
    return LaneMap(
        np.array(["there", "back"]),
        Polylines.of([line @ turn for line in lines]),
        crosswalks=area(3, -4, 6, 4),
        walkways=area(-40, 4, 40, 7),
        drivable_area=area(-40, -4, 40, 4),
    )


def write_tracks(path: Path, scenes: list[Scene], splits: list[str]) -> None:
    """Scenes as a table of tracks.

    Args:
        path: The CSV file.
        scenes: The scenes.
        splits: The split of each.
    """
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        names = "scene split agent_id kind t_s x_m y_m heading_rad length_m width_m height_m"
        rows.writerow(names.split())
        for scene, split in zip(scenes, splits, strict=True):
            tracks, start_us = scene.tracks, scene.timestamps_us[0]
            for agent, step in np.argwhere(tracks.valid):
                row = [scene.id, split, tracks.agent_ids[agent]]
                row += [AgentKind(tracks.kinds[agent]).name.lower()]
                row += [(scene.timestamps_us[step] - start_us) / 1e6]
                row += tracks.positions_m[agent, step].tolist()
                row += [tracks.headings_rad[agent, step], *tracks.sizes_m[agent].tolist()]
                rows.writerow(row)


def write_nuscenes(root: Path, scenes: list[Scene], version: str = "v1.0-traffic") -> None:
    """Scenes as tables in nuScenes' format, and a map expansion of a street.

    Args:
        root: Folder of the dataset.
        scenes: The scenes; each has an ego at every step.
        version: Name of the folder of tables.
    """
    tables = _fixed_tables()
    for scene in scenes:
        for name, rows in _tables(scene).items():
            tables[name] = tables.get(name, []) + rows
    for name, rows in tables.items():
        path = root / version / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))
    path = root / "maps" / "expansion" / f"{_PLACE}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_expansion()))


def _fixed_tables() -> dict[str, list[dict[str, Any]]]:
    return {
        "log": [{"token": "log", "location": _PLACE}],
        "sensor": [{"token": "lidar", "channel": "LIDAR_TOP", "modality": "lidar"}],
        "calibrated_sensor": [{"token": "top", "sensor_token": "lidar"}],
        "category": [{"token": name, "name": name} for name in _CATEGORIES.values()],
        "visibility": [{"token": "4", "level": "v80-100"}],
    }


def _tables(scene: Scene) -> dict[str, list[dict[str, Any]]]:
    """The rows of one scene."""
    tracks, token = scene.tracks, scene.id
    (ego,) = np.flatnonzero(tracks.kinds == AgentKind.EGO)
    world = tracks.positions_m + scene.origin_m

    def turn(agent: int, step: int) -> list[float]:
        half = float(tracks.headings_rad[agent, step]) / 2
        return [np.cos(half), 0.0, 0.0, np.sin(half)]

    frames, boxes = [], []
    for step, at_us in enumerate(scene.timestamps_us.tolist()):
        name = f"{token}-{step}"
        pose = {"translation": [*world[ego, step].tolist(), 0.0], "rotation": turn(ego, step)}
        keys = {"sample_token": name, "ego_pose_token": name, "calibrated_sensor_token": "top"}
        frame = {"token": name, "scene_token": token, "timestamp": at_us, "is_key_frame": True}
        frames.append({**frame, **keys, **pose})
        for agent in np.flatnonzero(tracks.valid[:, step]).tolist():
            length, width, height = tracks.sizes_m[agent].tolist()
            if agent != ego:
                box = {"token": f"{name}-{agent}", "instance_token": f"{token}-{agent}"}
                where = {"translation": [*world[agent, step].tolist(), 1.0]}
                shape = {"size": [width, length, height], "rotation": turn(agent, step)}
                seen = {"sample_token": name, "visibility_token": "4"}
                boxes.append({**box, **where, **shape, **seen})
    agents = [
        {"token": f"{token}-{agent}", "category_token": _CATEGORIES[AgentKind(kind)]}
        for agent, kind in enumerate(tracks.kinds.tolist())
        if agent != ego
    ]
    scenes = [{"token": token, "name": token, "log_token": "log", "description": "<b>made</b>"}]
    made = {"scene": scenes, "sample": frames, "sample_data": frames, "ego_pose": frames}
    return {**made, "instance": agents, "sample_annotation": boxes}


def _expansion() -> dict[str, Any]:
    """A map expansion: one lane on a square that is also a crossing and a pavement."""
    corners = {"a": (-40.0, -4.0), "b": (40.0, -4.0), "c": (40.0, 4.0), "d": (-40.0, 4.0)}
    start = {"start_pose": [-40.0, 0.0, 0.0], "shape": "LSL", "radius": 10.0}
    return {
        "version": "1.3",
        "node": [{"token": token, "x": x, "y": y} for token, (x, y) in corners.items()],
        "polygon": [{"token": "ground", "exterior_node_tokens": list(corners), "holes": []}],
        "line": [{"token": "edge", "node_tokens": ["a", "b"]}],
        "lane": [{"token": "lane", "polygon_token": "ground"}],
        "lane_connector": [],
        "arcline_path_3": {"lane": [{**start, "segment_length": [0.0, 80.0, 0.0]}]},
        "connectivity": {"lane": {"incoming": [], "outgoing": ["lane"]}},
        "drivable_area": [{"token": "area", "polygon_tokens": ["ground"]}],
        "ped_crossing": [{"token": "crossing", "polygon_token": "ground"}],
        "walkway": [{"token": "walkway", "polygon_token": "ground"}],
        "road_divider": [{"token": "divider", "line_token": "edge"}],
        "lane_divider": [],
    }
