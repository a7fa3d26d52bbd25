"""Compares how pedestrians move in the city and in recorded traffic.

Every quantity is a sample of numbers over all pedestrians of some scenes. Two samples are compared
by their means, percentiles and Wasserstein distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import wasserstein_distance

from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.windows import WindowSpec, prediction_times
from forecast.geometry import backward_velocity, wrap_angle
from forecast.scene import AgentKind, LaneMap, Scene, Tracks
from forecast.simulator.export.dataset import VERSION, write_town

MOVING_MPS = 0.3
"""Pedestrians slower than this are standing."""
_SLOW_MPS = 0.9
"""Pedestrians slower than this walk slowly."""
_LATER_S = 3.0
_SHIFT_S = 6.0
_STRAIGHT_MPS2 = 0.02
_MOVER_M = 1.0

QUANTITIES = {
    "speed": "speed while walking, m/s",
    "acceleration": "acceleration while walking, m/s²",
    "turning": "turning while walking, rad/s",
    "neighbour": "distance to the nearest person, m",
    "standing": "time standing at a stretch, s",
    "crossing": "angle to the lane on the road, °",
    "slow": "speed 3 s after a slow one (0.3 to 0.9 m/s), m/s",
    "shifts": "way in 6 s of who stands (below 0.3 m/s), m",
    **{f"cv_{s}s": f"constant-velocity FDE at {s} s, movers, m" for s in range(1, 7)},
}
"""The measured quantities: name -> label in the table."""

SHARES = {
    "stands": "share of time standing",
    "straight": "share of steps without acceleration",
    "on_road": "share of walking on the road",
    "people": "people per keyframe",
}
"""Single numbers: name -> label in the table."""

MotionSamples = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class MotionStatistics:
    """Motion of the pedestrians of some scenes.

    Attributes:
        samples: One sample for each of `QUANTITIES`.
        shares: One number for each of `SHARES`.
    """

    samples: MotionSamples
    shares: dict[str, float]


def measure(scenes: Sequence[Scene]) -> MotionStatistics:
    """Measures the pedestrians of scenes. Scenes without a map do not count for road quantities."""
    rows = [_steps(scene) for scene in scenes]
    columns = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    parts = {name: columns.pop(name) for name in SHARES}
    shares = {name: float(part.mean()) if len(part) else np.nan for name, part in parts.items()}
    columns["slow"] = np.concatenate([_later_speeds(scene) for scene in scenes])
    columns["shifts"] = np.concatenate([_shifts(scene) for scene in scenes])
    for seconds in range(1, 7):
        columns[f"cv_{seconds}s"] = _constant_velocity_errors(scenes, float(seconds))
    return MotionStatistics({name: columns[name] for name in QUANTITIES}, shares)


def compare(
    dataroot: Path, version: str, *, scenes: int = 40, seed: int = 0, with_map: bool = True
) -> str:
    """Measures a nuScenes dataset and the city, and returns a comparison in Markdown.

    Args:
        dataroot: Folder of the dataset.
        version: Its version folder.
        scenes: Scenes of the city to simulate.
        seed: Seed of the city.
        with_map: Whether the dataset has maps.

    Raises:
        ForecastError: The dataset cannot be read.
    """
    source = NuScenesSource(dataroot, version, with_map=with_map)
    real = {name: source.read(name)[0] for name in source.scene_names()}
    with TemporaryDirectory() as folder:
        write_town(Path(folder) / "town", scenes=scenes, seed=seed)
        town = NuScenesSource(Path(folder) / "town", VERSION)
        city = measure([town.read(name)[0] for name in town.scene_names()])
    whole = measure(list(real.values()))
    lines = [table(whole, city), "", f"City: {scenes} scenes, seed {seed}; nuScenes: {version}."]
    lines.append(_against("all scenes", whole, city))
    if held_out := source.splits().get("mini_val"):
        lines.append(_against("mini_val", measure([real[name] for name in held_out]), city))
    return "\n".join(lines)


def _against(name: str, real: MotionStatistics, city: MotionStatistics) -> str:
    """Returns the constant-velocity errors of the city relative to the real ones, in per cent."""
    parts = []
    for horizon in ("cv_3s", "cv_6s"):
        a, b = real.samples[horizon].mean(), city.samples[horizon].mean()
        parts.append(f"{b:.2f} m for {a:.2f} m at {horizon[3]} s ({100 * (b / a - 1):+.0f} %)")
    return f"Constant-velocity FDE of movers, against {name}: {', '.join(parts)}."


def table(real: MotionStatistics, city: MotionStatistics) -> str:
    """Returns a Markdown table of both, side by side."""
    lines = [
        "| | nuScenes: mean, median, 95 %, 99 % | city | Wasserstein |",
        "|---|---|---|---|",
    ]
    for name, text in QUANTITIES.items():
        a, b = real.samples[name], city.samples[name]
        distance = f"{wasserstein_distance(a, b):.3f}" if len(a) and len(b) else "-"
        lines.append(f"| {text} | {_summary(a)} | {_summary(b)} | {distance} |")
    for name, text in SHARES.items():
        lines.append(f"| {text} | {real.shares[name]:.2f} | {city.shares[name]:.2f} | |")
    return "\n".join(lines)


def _summary(values: NDArray[Any]) -> str:
    if not len(values):
        return "-"
    numbers = [values.mean(), *np.percentile(values, [50, 95, 99])]
    return " ".join(f"{number:.2f}" for number in numbers)


def _steps(scene: Scene) -> MotionSamples:
    """Measures all quantities of one scene but the errors of constant velocity."""
    people, velocity, known = _people(scene)
    positions = people.positions_m.astype(np.float64)
    change, both = backward_velocity(velocity, known, scene.dt_s)
    speed = np.hypot(velocity[..., 0], velocity[..., 1])
    walking = known & (speed > MOVING_MPS)
    steady = both & walking
    steady[:, 1:] &= walking[:, :-1]
    acceleration = np.hypot(change[..., 0], change[..., 1])[steady]
    turn = np.diff(np.arctan2(velocity[..., 1], velocity[..., 0]), axis=1, prepend=0.0)
    on_road, angle = _on_road(positions[walking], velocity[walking], scene.lane_map)
    return {
        "speed": speed[walking],
        "acceleration": acceleration,
        "turning": np.abs(wrap_angle(turn[steady])) / scene.dt_s,
        "neighbour": _neighbours(positions, people.valid),
        "standing": _runs(known & ~walking) * scene.dt_s,
        "crossing": np.degrees(angle),
        "stands": ~walking[known],
        "straight": acceleration < _STRAIGHT_MPS2,
        "on_road": on_road,
        "people": people.valid.sum(axis=0),
    }


def _people(scene: Scene) -> tuple[Tracks, NDArray[np.float64], NDArray[np.bool_]]:
    """Returns the pedestrians, their velocities ``[A, T, 2]``, and which are known."""
    people = scene.tracks.select(scene.tracks.kinds == AgentKind.PEDESTRIAN)
    positions = people.positions_m.astype(np.float64)
    return people, *backward_velocity(positions, people.valid, scene.dt_s)


def _later_speeds(scene: Scene) -> NDArray[np.float64]:
    """Returns the speeds of those who were slow `_LATER_S` before ``[N]``."""
    _, velocity, known = _people(scene)
    speed, later = np.linalg.norm(velocity, axis=-1), round(_LATER_S / scene.dt_s)
    before, slow = speed[:, :-later], known[:, :-later] & known[:, later:]
    slow &= (before > MOVING_MPS) & (before < _SLOW_MPS)
    found: NDArray[np.float64] = speed[:, later:][slow]
    return found


def _shifts(scene: Scene) -> NDArray[np.float64]:
    """Returns how far those who stand are from there after `_SHIFT_S` ``[N]``."""
    people, velocity, known = _people(scene)
    speed, later = np.linalg.norm(velocity, axis=-1), round(_SHIFT_S / scene.dt_s)
    stands = (known & (speed < MOVING_MPS))[:, :-later] & people.valid[:, later:]
    places = people.positions_m.astype(np.float64)
    way: NDArray[np.float64] = np.linalg.norm(places[:, later:] - places[:, :-later], axis=-1)
    return way[stands]


def _neighbours(positions_m: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns the distance from each person to the nearest other person at each step ``[N]``."""
    found = [np.zeros(0)]
    for step in range(valid.shape[1]):
        here = positions_m[valid[:, step], step]
        if len(here) > 1:
            found.append(cKDTree(here).query(here, k=2)[0][:, 1])
    return np.concatenate(found)


def _runs(held: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns the lengths in steps of the runs of true in the rows of ``[A, T]``."""
    edges = np.diff(np.pad(held.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    start, end = np.argwhere(edges == 1), np.argwhere(edges == -1)
    lengths: NDArray[np.float64] = (end[:, 1] - start[:, 1]).astype(np.float64)
    return lengths


def _on_road(
    points_m: NDArray[Any], velocities_mps: NDArray[Any], lane_map: LaneMap | None
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Returns who of ``[N]`` walks on the road, and their angles to the nearest lane, 0 to pi/2."""
    if lane_map is None or not len(lane_map) or not len(points_m):
        return np.zeros(0, bool), np.zeros(0)
    road = shapely.union_all([shapely.Polygon(r[0], r[1:]) for r in lane_map.drivable_area])
    walks = shapely.union_all([shapely.Polygon(r[0], r[1:]) for r in lane_map.walkways])
    at = shapely.points(points_m)
    inside = shapely.contains(road, at) & ~shapely.contains(walks, at)
    middles, headings = _lane_segments(lane_map)
    nearest = cKDTree(middles).query(points_m[inside])[1]
    motion = np.arctan2(velocities_mps[inside, 1], velocities_mps[inside, 0])
    angle = np.abs(wrap_angle(motion - headings[nearest]))
    return inside, np.minimum(angle, np.pi - angle)


def _lane_segments(lane_map: LaneMap) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns middles ``[N, 2]`` and headings ``[N]`` of the segments of all centre lines."""
    step = np.concatenate([np.diff(line, axis=0) for line in lane_map.centerlines])
    middle = np.concatenate([(line[1:] + line[:-1]) / 2 for line in lane_map.centerlines])
    return middle.astype(np.float64), np.arctan2(step[:, 1], step[:, 0]).astype(np.float64)


def _constant_velocity_errors(scenes: Sequence[Scene], horizon_s: float) -> NDArray[np.float64]:
    """Returns final displacement errors of movers, by the protocol nuscenes-ped-v1 ``[N]``."""
    errors = [np.zeros(0)]
    for scene in scenes:
        spec = WindowSpec.of_protocol("nuscenes-ped-v1", scene.dt_s, 2.0, horizon_s)
        agent, at = np.nonzero(prediction_times(scene, spec).scored)
        positions = scene.tracks.positions_m.astype(np.float64)
        now, end = positions[agent, at], positions[agent, at + spec.horizon_steps]
        guess = now + spec.horizon_steps * (now - positions[agent, at - 1])
        moved = np.hypot(*(end - now).T) > _MOVER_M
        errors.append(np.hypot(*(guess - end)[moved].T))
    return np.concatenate(errors)
