"""Steps a scene's people and vehicles together.

`Setting` is everything that stays, `World` everything that changes. States are never modified in
place, and luck belongs to agent and time step, so a `World` that is kept can be continued twice:
once as it went, and once with another plan of the ego.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.simulator import random_numbers as streams
from forecast.simulator.dynamics import pedestrian_motion as people
from forecast.simulator.dynamics import vehicle_motion as traffic
from forecast.simulator.map import traffic_lights as signals
from forecast.simulator.map.district import District
from forecast.simulator.population.pedestrians import Crossings, Crowd, cast_crowd
from forecast.simulator.population.vehicles import Fleet, cast_fleet

DT_S = 0.1
"""Length of a simulation step."""
FRAME_STEPS = 5
"""Simulation steps per keyframe: 2 Hz."""
FRAMES = 41
"""Keyframes of a scene: 20 s."""
_WARM_UP_STEPS = 40
"""Steps before the first keyframe, so that nobody is seen starting."""

EGO_PLANS = {"stop": 0.0, "slow": 0.4, "hurry": 1.35}
"""Other plans for the ego: factors of its desired speed. In a hurry it gives way to nobody."""


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
    signals: signals.Signals


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
    fleet = cast_fleet(district, int(rng.integers(10, 18)), int(rng.integers(14, 30)), rng)
    crowd, crossings = cast_crowd(district, fleet, int(rng.integers(18, 44)), keys[:128], rng)
    lights = signals.set_signals(district, len(crossings.marked), rng)
    meet = traffic.encounters(fleet, crossings, keys[128 : 128 + len(fleet.categories)])
    conditions = str(rng.choice(["", "night", "rain"], p=[0.7, 0.15, 0.15]))
    setting = Setting(district, conditions, crowd, fleet, crossings, meet, lights)
    world = World(0, people.begin(crowd), traffic.begin(fleet))
    return setting, next(islice(steps(setting, world), _WARM_UP_STEPS, None))


def step(setting: Setting, world: World, ego_pose: NDArray[Any] | None = None) -> World:
    """The world `DT_S` later.

    Args:
        setting: What stays the same.
        world: The world now; it is not modified.
        ego_pose: Where the ego is after the step (x_m, y_m, heading_rad), if it does not drive
            itself.
    """
    crowd, fleet, crossings, meet = (
        setting.crowd, setting.fleet, setting.crossings, setting.encounters,
    )  # fmt: skip
    walkers, drivers = world.people, world.traffic
    time_s = DT_S * world.index
    walk = signals.may_walk(setting.signals, time_s)
    green = signals.may_drive(setting.signals, traffic.next_lanes(fleet, drivers), time_s)
    intent = people.intents(crowd, crossings, walkers, walk)
    outlook = traffic.outlook(
        fleet, drivers, meet, crowd, crossings, intent, walkers.waited_s, green
    )
    cars, sizes = _obstacles(fleet, drivers)
    return World(
        world.index + 1,
        people.step(crowd, walkers, intent, outlook, cars, sizes, world.index, DT_S),
        traffic.step(fleet, drivers, meet, crossings, walkers, intent, green, DT_S, ego_pose),
    )


def steps(setting: Setting, world: World) -> Iterator[World]:
    """The world now and after every step from here, without end."""
    while True:
        yield world
        world = step(setting, world)


def run(setting: Setting, world: World, frames: int = FRAMES) -> list[World]:
    """The world at every step over some keyframes, the first of them now."""
    return list(islice(steps(setting, world), (frames - 1) * FRAME_STEPS + 1))


def with_ego_plan(setting: Setting, plan: str) -> Setting:
    """The same scene with an ego that drives otherwise from now on.

    Args:
        setting: The scene.
        plan: One of `EGO_PLANS`.
    """
    ego = np.arange(len(setting.fleet.categories)) == 0
    speeds = np.where(ego, EGO_PLANS[plan] * setting.fleet.speeds_mps, setting.fleet.speeds_mps)
    meet = setting.encounters
    yields = meet.yields & ((plan != "hurry") | (meet.vehicle != 0))
    return replace(
        setting,
        fleet=replace(setting.fleet, speeds_mps=speeds),
        encounters=replace(meet, yields=yields),
    )


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
