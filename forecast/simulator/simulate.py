"""Advances the pedestrians and vehicles of a scene by one step.

`Scenario` holds everything that stays the same during a scene. `SimulationState` holds everything
that changes. A state is never modified in place, and random numbers depend on agent and time step
alone (see `random_numbers`). So a state that was kept can be continued twice: as it went, and with
another plan of the ego.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.simulator import random_numbers
from forecast.simulator.dynamics import pedestrian_motion, shared_space, vehicle_motion
from forecast.simulator.map import surfaces, traffic_lights
from forecast.simulator.map.district import District
from forecast.simulator.population.pedestrians import Crossings, Crowd, draw_crowd
from forecast.simulator.population.shared_space import draw_shared_crowd, draw_shared_fleet
from forecast.simulator.population.vehicles import Fleet, draw_fleet

DT_S = 0.1
"""Length of a simulation step."""
FRAME_STEPS = 5
"""Simulation steps per keyframe: 2 Hz."""
FRAMES = 41
"""Keyframes of a scene: 20 s."""
_WARM_UP_STEPS = 40
"""Steps before the first keyframe. They hide the start, when everybody is at a drawn place."""
_BOX_AHEAD_S, _SHARED_BOX_AHEAD_S = 0.5, 0.0
"""People keep off the way of a vehicle over this time. In shared space they negotiate instead."""

EGO_PLANS = {"stop": 0.0, "slow": 0.4, "hurry": 1.35}
"""Other plans for the ego: factors of its desired speed. With "hurry" it yields to nobody."""


@dataclass(frozen=True, eq=False)
class Scenario:
    """What stays the same during a scene.

    Attributes:
        district: The place.
        conditions: "night", "rain" or "". They appear in the scene's description alone.
        crowd: The pedestrians.
        fleet: The vehicles.
        crossings: Where pedestrians cross the road.
        conflict_points: Where routes of vehicles meet crossings.
        lights: The traffic lights.
        traits: How people and drivers negotiate in shared space; None on streets.
    """

    district: District
    conditions: str
    crowd: Crowd
    fleet: Fleet
    crossings: Crossings
    conflict_points: vehicle_motion.ConflictPoints
    lights: traffic_lights.TrafficLights
    traits: shared_space.Traits | None = None


@dataclass(frozen=True, eq=False)
class SimulationState:
    """What changes during a scene.

    Attributes:
        index: Number of steps so far.
        pedestrians: State of the pedestrians.
        vehicles: State of the vehicles; row 0 is the ego.
    """

    index: int
    pedestrians: pedestrian_motion.PedestrianState
    vehicles: vehicle_motion.VehicleState


def draw_scenario(district: District, seed: int, scene: int) -> tuple[Scenario, SimulationState]:
    """Draws who is in a scene, and simulates the warm-up steps before its first keyframe.

    Args:
        district: The place.
        seed: Seed of the dataset.
        scene: Number of the scene. The same two numbers give the same scene.

    Returns:
        The scenario and its state at the first keyframe.
    """
    # The order of the draws fixes every town: a new draw belongs at the end.
    rng = np.random.default_rng([seed, scene])
    keys = random_numbers.agent_keys(seed, scene, 256)
    if district.shared is None:
        fleet = draw_fleet(district, int(rng.integers(10, 18)), int(rng.integers(14, 30)), rng)
        crowd, crossings = draw_crowd(district, fleet, int(rng.integers(18, 44)), keys[:128], rng)
    else:
        space = district.shared
        fleet = draw_shared_fleet(space, int(rng.integers(4, 8)), rng)
        count = int(rng.integers(22, 42))
        crowd, crossings = draw_shared_crowd(space, fleet, count, keys[:128], rng)
    lights = traffic_lights.draw_traffic_lights(district, len(crossings.marked), rng)
    vehicle_keys = keys[128 : 128 + len(fleet.categories)]
    conflicts = vehicle_motion.find_conflict_points(fleet, crossings, vehicle_keys)
    conditions = str(rng.choice(["", "night", "rain"], p=[0.7, 0.15, 0.15]))
    traits = shared_space.draw_traits(crowd.keys, len(vehicle_keys)) if district.shared else None
    scenario = Scenario(district, conditions, crowd, fleet, crossings, conflicts, lights, traits)
    state = SimulationState(
        0, pedestrian_motion.initial_state(crowd), vehicle_motion.initial_state(fleet)
    )
    return scenario, next(islice(steps(scenario, state), _WARM_UP_STEPS, None))


def step(
    scenario: Scenario, state: SimulationState, ego_pose: NDArray[Any] | None = None
) -> SimulationState:
    """Returns the state `DT_S` later.

    Args:
        scenario: What stays the same.
        state: The state now. It is not modified.
        ego_pose: Pose of the ego after the step (x_m, y_m, heading_rad); None: the simulation
            drives the ego.
    """
    crowd, fleet, crossings = scenario.crowd, scenario.fleet, scenario.crossings
    conflicts, pedestrians, vehicles = scenario.conflict_points, state.pedestrians, state.vehicles
    if scenario.traits is not None:
        return _step_shared_space(scenario, scenario.traits, state, ego_pose)
    intent, gaps, green = gaps_in_traffic(scenario, state)
    cars, sizes = _vehicle_boxes(fleet, vehicles, _BOX_AHEAD_S)
    return SimulationState(
        state.index + 1,
        pedestrian_motion.step_pedestrians(
            crowd, pedestrians, intent, gaps, cars, sizes, state.index, DT_S
        ),
        vehicle_motion.step_vehicles(
            fleet, vehicles, conflicts, crossings, pedestrians, intent, green, DT_S, ego_pose
        ),
    )


def gaps_in_traffic(
    scenario: Scenario, state: SimulationState
) -> tuple[pedestrian_motion.CrossingIntent, pedestrian_motion.CrossingGaps, NDArray[np.bool_]]:
    """Returns the next crossings of all pedestrians, their gaps in traffic, and the lights.

    In shared space there are no crossings and no lights.

    Args:
        scenario: What stays the same.
        state: The state now.

    Returns:
        The intents, the gaps, and whether each vehicle may enter its next junction ``[V]``.
    """
    crowd, fleet, crossings = scenario.crowd, scenario.fleet, scenario.crossings
    pedestrians, vehicles, time_s = state.pedestrians, state.vehicles, DT_S * state.index
    if scenario.traits is not None:
        count = len(crowd.keys)
        gaps = pedestrian_motion.CrossingGaps(np.ones(count, bool), np.full(count, np.inf))
        anywhere = np.ones(len(fleet.categories), bool)
        return pedestrian_motion.no_crossings(count), gaps, anywhere
    walk = traffic_lights.may_walk(scenario.lights, time_s)
    lanes = vehicle_motion.next_lanes(fleet, vehicles)
    green = traffic_lights.may_drive(scenario.lights, lanes, time_s)
    intent = pedestrian_motion.crossing_intents(crowd, crossings, pedestrians, walk)
    conflicts, waited_s = scenario.conflict_points, pedestrians.waited_s
    gaps = vehicle_motion.crossing_gaps(
        fleet, vehicles, conflicts, crowd, crossings, intent, waited_s, green
    )
    return intent, gaps, green


def _step_shared_space(
    scenario: Scenario,
    traits: shared_space.Traits,
    state: SimulationState,
    ego_pose: NDArray[Any] | None,
) -> SimulationState:
    """Returns the state `DT_S` later in a place without kerbs, crossings and lights."""
    crowd, fleet = scenario.crowd, scenario.fleet
    pedestrians, vehicles = state.pedestrians, state.vehicles
    intent, gaps, _ = gaps_in_traffic(scenario, state)
    cars, sizes = _vehicle_boxes(fleet, vehicles, _SHARED_BOX_AHEAD_S)
    walls, wall_sizes = surfaces.walls(scenario.district)
    return SimulationState(
        state.index + 1,
        pedestrian_motion.step_pedestrians(
            crowd,
            pedestrians,
            intent,
            gaps,
            np.concatenate([cars, walls]),
            np.concatenate([sizes, wall_sizes]),
            state.index,
            DT_S,
            shared_space.negotiate(crowd, traits, pedestrians, fleet, vehicles),
        ),
        shared_space.step_drivers(traits, pedestrians, fleet, vehicles, DT_S, ego_pose),
    )


def steps(scenario: Scenario, state: SimulationState) -> Iterator[SimulationState]:
    """Yields the state now and after every step from here, without end."""
    while True:
        yield state
        state = step(scenario, state)


def simulate_frames(
    scenario: Scenario, state: SimulationState, frames: int = FRAMES
) -> list[SimulationState]:
    """Returns the state at every step over some keyframes. The first keyframe is now."""
    return list(islice(steps(scenario, state), (frames - 1) * FRAME_STEPS + 1))


def with_ego_plan(scenario: Scenario, plan: str) -> Scenario:
    """Returns the same scenario with another plan of the ego from now on.

    Args:
        scenario: The scenario.
        plan: One of `EGO_PLANS`.
    """
    fleet = scenario.fleet
    ego = np.arange(len(fleet.categories)) == 0
    own_speeds = fleet.speeds_mps
    speeds = np.where(ego, EGO_PLANS[plan] * own_speeds, own_speeds)
    conflicts = scenario.conflict_points
    yields = conflicts.yields & ((plan != "hurry") | (conflicts.vehicle != 0))
    courtesy = np.where(ego & (plan == "hurry"), 0.0, fleet.yield_probability)
    return replace(
        scenario,
        fleet=replace(fleet, speeds_mps=speeds, yield_probability=courtesy),
        conflict_points=replace(conflicts, yields=yields),
    )


def _vehicle_boxes(
    fleet: Fleet, state: vehicle_motion.VehicleState, ahead_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns poses and sizes of all vehicles as obstacles for pedestrians.

    The box of a moving vehicle also covers its way over a time ahead.
    """
    reach = ahead_s * state.speeds_mps
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
