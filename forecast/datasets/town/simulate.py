"""Steps a scene's people and vehicles together.

`Setting` is everything that stays, `World` everything that changes. States are never modified in
place, and luck belongs to agent and time step, so a `World` that is kept can be continued twice:
once as it went, and once with another plan of the ego.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.town import people, streams, traffic
from forecast.datasets.town.crowd import Crossings, Crowd, cast_crowd
from forecast.datasets.town.fleet import Fleet, cast_fleet
from forecast.datasets.town.streets import District

DT_S = 0.1
"""Length of a simulation step."""
FRAME_STEPS = 5
"""Simulation steps per keyframe: 2 Hz."""
FRAMES = 41
"""Keyframes of a scene: 20 s."""
_WARM_UP_STEPS = 40
"""Steps before the first keyframe, so that nobody is seen starting."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What stays the same during a scene: the place, who is there, where their ways meet.

    The conditions ("night", "rain" or nothing) are only told in the scene's description.
    """

    district: District
    conditions: str
    crowd: Crowd
    fleet: Fleet
    crossings: Crossings
    encounters: traffic.Encounters


@dataclass(frozen=True, eq=False)
class World:
    """What changes: the number of steps so far, people and vehicles."""

    index: int
    people: people.PeopleState
    traffic: traffic.TrafficState


def set_scene(district: District, seed: int, scene: int) -> tuple[Setting, World]:
    """Draws who is in a scene and lets them get going.

    Args:
        district: Where it is.
        seed: Seed of the dataset.
        scene: Number of the scene; the same two numbers give the same scene.
    """
    rng = np.random.default_rng([seed, scene])
    keys = streams.agent_keys(seed, scene, 256)
    fleet = cast_fleet(district, int(rng.integers(7, 13)), int(rng.integers(4, 9)), rng)
    crowd, crossings = cast_crowd(district, fleet, int(rng.integers(25, 46)), keys[:128], rng)
    meet = traffic.encounters(fleet, crossings, keys[128 : 128 + len(fleet.categories)])
    conditions = str(rng.choice(["", "night", "rain"], p=[0.7, 0.15, 0.15]))
    setting = Setting(district, conditions, crowd, fleet, crossings, meet)
    world = World(0, people.begin(crowd), traffic.begin(fleet))
    for _ in range(_WARM_UP_STEPS):
        world = step(setting, world)
    return setting, world


def step(setting: Setting, world: World, ego_pose: NDArray[Any] | None = None) -> World:
    """The world `DT_S` later.

    Args:
        setting: What stays the same.
        world: The world now; it is not modified.
        ego_pose: Where the ego is after the step (x_m, y_m, heading_rad), if it does not drive
            itself.
    """
    crowd, fleet, crossings = setting.crowd, setting.fleet, setting.crossings
    intent = people.intents(crowd, crossings, world.people)
    clear = traffic.clear_gaps(
        fleet, world.traffic, setting.encounters, crowd, crossings, intent, world.people.waited_s
    )
    cars, sizes = _obstacles(fleet, world.traffic)
    walkers = people.step(crowd, world.people, intent, clear, cars, sizes, world.index, DT_S)
    drivers = traffic.step(
        fleet,
        world.traffic,
        setting.encounters,
        crossings,
        world.people,
        intent,
        DT_S,
        ego_pose,
    )
    return World(world.index + 1, walkers, drivers)


def frames(setting: Setting, world: World, count: int) -> Iterator[World]:
    """The world at ``count`` keyframes, the first of them now."""
    for frame in range(count):
        if frame:
            for _ in range(FRAME_STEPS):
                world = step(setting, world)
        yield world


def _obstacles(
    fleet: Fleet, state: traffic.TrafficState
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Poses and sizes of all vehicles people see; a moving one claims the next half second."""
    reach = 0.5 * state.speeds_mps
    moving = state.poses.copy()
    moving[:, 0] += reach / 2 * np.cos(moving[:, 2])
    moving[:, 1] += reach / 2 * np.sin(moving[:, 2])
    sizes = fleet.sizes_m[:, :2].copy()
    sizes[:, 0] += reach
    here = state.active
    return (
        np.concatenate([moving[here], fleet.parked_poses]),
        np.concatenate([sizes[here], fleet.parked_sizes_m[:, :2]]),
    )
