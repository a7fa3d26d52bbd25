"""Compares how people move near moving vehicles: in the city, in shared space and in recordings.

A quantity is a sample of numbers over people and times at which a moving vehicle is near. Distances
are those between middles, because not every recording has the sizes of its vehicles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import wasserstein_distance

from forecast.datasets.nuscenes import NuScenesSource
from forecast.geometry import backward_velocity
from forecast.scene import AgentKind, Scene
from forecast.simulator.export.dataset import VERSION, write_town
from forecast.simulator.realism import MOVING_MPS, MotionSamples

NEAR_M = 10.0
"""A vehicle is near within this distance."""
_DRIVING_MPS = 0.5
"""A vehicle slower than this stands."""
_CHANGE_S, _ASIDE_S = 1.0, 2.0
_COMPANION_M, _COMPANION_MPS = 2.0, 0.4
"""Two people walk together if their distance and the difference of their velocities are smaller."""

QUANTITIES = {
    "closest": "closest approach of a person, m",
    "speed_change": "speed change within 1 s, m/s",
    "aside": "sideways step within 2 s, m",
    "speed": "speed while walking, m/s",
    "vehicle_speed": "speed of the vehicle, m/s",
    "neighbour": "distance to the nearest person, m",
    "together": "people who walk together, oneself included",
}
"""The measured quantities: name -> label in the table. Reactions are the first three."""


def measure_near_vehicles(scenes: Sequence[Scene]) -> MotionSamples:
    """Measures the pedestrians of scenes near moving vehicles.

    Returns:
        One sample for each of `QUANTITIES`: `closest` for each person, the others for each person
        and time. `speed_change` and `aside` are those from that time on, of people who
        walk then; `aside` is the distance from the straight line of the last step.
    """
    rows = [_near_vehicles(scene) for scene in scenes]
    return {name: np.concatenate([row[name] for row in rows]) for name in QUANTITIES}


def _near_vehicles(scene: Scene) -> MotionSamples:
    tracks = scene.tracks
    people = tracks.select(tracks.kinds == AgentKind.PEDESTRIAN)
    cars = tracks.select(np.isin(tracks.kinds, (AgentKind.VEHICLE, AgentKind.EGO)))
    at, cars_at = people.positions_m.astype(np.float64), cars.positions_m.astype(np.float64)
    velocity, known = backward_velocity(at, people.valid, scene.dt_s)
    car_velocity, car_known = backward_velocity(cars_at, cars.valid, scene.dt_s)
    speed, car_speed = _length(velocity), _length(car_velocity)
    drives = car_known & (car_speed > _DRIVING_MPS)
    apart = _length(at[:, None] - cars_at)
    near = people.valid[:, None] & drives & (apart < NEAR_M)
    closest = np.where(near, apart, np.inf).min(axis=(1, 2))
    here = near.any(axis=1)
    walks = here & known & (speed > MOVING_MPS)
    neighbour, together = _others(at, velocity, people.valid & known, walks)
    return {
        "closest": closest[np.isfinite(closest)],
        "speed_change": _speed_change(speed, known, walks, round(_CHANGE_S / scene.dt_s)),
        "aside": _aside(at, velocity, people.valid, walks, round(_ASIDE_S / scene.dt_s)),
        "speed": speed[walks],
        "vehicle_speed": car_speed[near.any(axis=0)],
        "neighbour": neighbour,
        "together": together,
    }


def _length(vectors: NDArray[Any]) -> NDArray[np.float64]:
    length: NDArray[np.float64] = np.hypot(vectors[..., 0], vectors[..., 1])
    return length


def _speed_change(
    speed: NDArray[Any], known: NDArray[np.bool_], walks: NDArray[np.bool_], steps: int
) -> NDArray[np.float64]:
    """Returns how much speeds ``[A, T]`` change over some steps from each time in question."""
    change: NDArray[np.float64] = (speed[:, steps:] - speed[:, :-steps])[
        known[:, steps:] & walks[:, :-steps]
    ]
    return change


def _aside(
    at: NDArray[Any],
    velocity: NDArray[Any],
    valid: NDArray[np.bool_],
    walks: NDArray[np.bool_],
    steps: int,
) -> NDArray[np.float64]:
    """Returns distances of later positions from the line of motion at each time in question."""
    ends = valid[:, steps:] & walks[:, :-steps]
    moved = (at[:, steps:] - at[:, :-steps])[ends]
    course = velocity[:, :-steps][ends]
    cross = course[:, 0] * moved[:, 1] - course[:, 1] * moved[:, 0]
    aside: NDArray[np.float64] = np.abs(cross) / _length(course)
    return aside


def _others(
    at: NDArray[Any], velocity: NDArray[Any], valid: NDArray[np.bool_], walks: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the distance to the nearest person ``[N]``, and the number who walk together."""
    distances, numbers = [np.zeros(0)], [np.zeros(0)]
    for step in range(valid.shape[1]):
        who = np.flatnonzero(valid[:, step])
        me = np.isin(who, np.flatnonzero(walks[:, step]))
        if len(who) < 2 or not me.any():
            continue
        points, motion = at[who, step], velocity[who, step]
        distances.append(cKDTree(points).query(points[me], k=2)[0][:, 1])
        alike = _length(motion[me][:, None] - motion) < _COMPANION_MPS
        alike &= _length(points[me][:, None] - points) < _COMPANION_M
        numbers.append(alike.sum(axis=1).astype(np.float64))
    return np.concatenate(distances), np.concatenate(numbers)


def compare_near_vehicles(
    recorded: Sequence[Scene], name: str, *, scenes: int = 40, seed: int = 0
) -> str:
    """Returns a comparison of recorded people with both kinds of district in Markdown.

    Args:
        recorded: The recorded scenes.
        name: What they are called in the table.
        scenes: Scenes to simulate of each kind of district.
        seed: Seed of the city.
    """
    found = {name: measure_near_vehicles(recorded)}
    for district, label in (("street", "streets"), ("shared_space", "shared space")):
        found[label] = measure_near_vehicles(_simulated(district, scenes, seed))
    note = f"{scenes} scenes of each kind of district, seed {seed}; {len(recorded)} of {name}."
    return "\n".join([near_table(found), "", note])


def _simulated(district: str, scenes: int, seed: int) -> list[Scene]:
    with TemporaryDirectory() as folder:
        write_town(Path(folder) / "town", scenes=scenes, seed=seed, district=district)
        town = NuScenesSource(Path(folder) / "town", VERSION)
        return [town.read(scene)[0] for scene in town.scene_names()]


def near_table(found: Mapping[str, MotionSamples]) -> str:
    """Returns a Markdown table of several samples; the first one is what others are compared with.

    Args:
        found: What each is called, and the samples of `measure_near_vehicles`.
    """
    reference, *others = found
    columns = [f"{reference}: mean, 5 %, median, 95 %"]
    columns += [f"{name}, Wasserstein" for name in others]
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for quantity, text in QUANTITIES.items():
        real = found[reference][quantity]
        cells = [_summary(real)]
        for name in others:
            made = found[name][quantity]
            apart = wasserstein_distance(real, made) if len(real) and len(made) else np.nan
            cells.append(f"{_summary(made)}, {apart:.3f}")
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _summary(values: NDArray[Any]) -> str:
    if not len(values):
        return "-"
    numbers = [values.mean(), *np.percentile(values, [5, 50, 95])]
    return " ".join(f"{number:.2f}" for number in numbers)
