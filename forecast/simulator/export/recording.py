"""The recording of a simulated scene from the ego: who is annotated, when, and how visible."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from forecast.simulator.dynamics import pedestrian_motion
from forecast.simulator.dynamics.social_forces import unit
from forecast.simulator.export import visibility
from forecast.simulator.simulate import FRAME_STEPS, Scenario, SimulationState

RANGE_M = 65.0
"""Agents farther from the ego than this are not annotated."""
_STROLLER = ("human.pedestrian.stroller", (0.95, 0.55, 1.05), 0.85)
"""Category, size, and distance ahead of the person who pushes it."""
_LOW_M = 1.2
"""Agents lower than this hide nothing."""
_MEAN_GAP_STEPS = 2.0
"""Mean length of a gap in a degraded track."""


@dataclass(frozen=True, eq=False)
class Recording:
    """One scene as its keyframes.

    Attributes:
        ego: Poses of the ego ``[T, 3]`` (x_m, y_m, heading_rad).
        ego_track: Poses of the ego at every step of the simulation ``[S, 3]``.
        categories: nuScenes categories ``[A]``.
        sizes_m: Length, width, height ``[A, 3]``.
        poses: ``[A, T, 3]``.
        speeds_mps: ``[A, T]``.
        parked: Whether each is a parked vehicle or a prop ``[A]``.
        sits: Whether each is a pedestrian who sits when not moving ``[A]``.
        present: Whether each exists and is near the ego ``[A, T]``.
        seen: Whether each is present, and has been visible at this keyframe or before ``[A, T]``.
        visibility: nuScenes visibility bins ``[A, T]``, 0 where not seen.
        summary: Description of the scene, in the style of nuScenes.
    """

    ego: NDArray[np.float64]
    ego_track: NDArray[np.float64]
    categories: NDArray[np.str_]
    sizes_m: NDArray[np.float64]
    poses: NDArray[np.float64]
    speeds_mps: NDArray[np.float64]
    parked: NDArray[np.bool_]
    sits: NDArray[np.bool_]
    present: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    visibility: NDArray[np.int64]
    summary: str


@dataclass(frozen=True, eq=False)
class _Agents:
    """Agents of one sort; see `Recording`. ``present`` says when they exist ``[A, T]``."""

    categories: NDArray[np.str_]
    sizes_m: NDArray[np.float64]
    poses: NDArray[np.float64]
    speeds_mps: NDArray[np.float64]
    present: NDArray[np.bool_]


def record(scenario: Scenario, states: list[SimulationState], walls: Any = None) -> Recording:
    """Records a scene from the ego.

    Args:
        scenario: What stays the same in the scene.
        states: Its state at every step, from the first keyframe on.
        walls: Prepared shapely geometry that hides agents behind it, or None.
    """
    keyframes = states[::FRAME_STEPS]
    track = np.stack([state.vehicles.poses[0] for state in states])
    ego = track[::FRAME_STEPS]
    parts = [
        _walkers(scenario, keyframes),
        _strollers(scenario, keyframes),
        _drivers(scenario, keyframes),
        _standing(scenario, len(keyframes)),
    ]
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("categories", "sizes_m", "poses", "speeds_mps", "present")
    }
    present = columns.pop("present")
    apart = columns["poses"][..., :2] - ego[:, :2]
    present &= np.hypot(apart[..., 0], apart[..., 1]) <= RANGE_M
    share = _visible_share(
        ego, columns["poses"], columns["sizes_m"], present, columns["categories"], walls
    )
    # An agent is annotated from the first keyframe on at which it is visible. A rule that depends
    # on later keyframes would leak the future.
    seen = present & np.logical_or.accumulate(share > 0, axis=1)
    people_count = len(scenario.crowd.keys)
    parked = np.arange(len(seen)) >= len(seen) - len(parts[-1].categories)
    sits = np.zeros(len(seen), bool)
    sits[:people_count] = scenario.crowd.sits
    speeds = np.stack([state.vehicles.speeds_mps[0] for state in keyframes])
    return Recording(
        ego=ego,
        ego_track=track,
        parked=parked,
        sits=sits,
        present=present,
        seen=seen,
        visibility=np.where(seen, visibility.visibility_bins(share), 0),
        summary=_summary(scenario, keyframes, seen[:people_count], speeds, ego),
        **columns,
    )


def degrade(recording: Recording, noise_m: float, gap_share: float, rng: Generator) -> Recording:
    """Degrades a recording to the quality of a tracker: noisy positions, and gaps of keyframes.

    Args:
        recording: The ground truth.
        noise_m: Standard deviation of the error of each coordinate.
        gap_share: Share of the keyframes that are missing. Gaps start three times as often where
            an agent has the lowest visibility.
        rng: Random generator.
    """
    poses = recording.poses.copy()
    poses[..., :2] += noise_m * rng.standard_normal(poses[..., :2].shape)
    begins = gap_share / _MEAN_GAP_STEPS / max(1 - gap_share, 1e-9)
    weight = np.where(recording.visibility <= 1, 3.0, 1.0)
    starts = rng.random(recording.seen.shape) < begins * weight
    goes_on = rng.random(recording.seen.shape) < 1 - 1 / _MEAN_GAP_STEPS
    missing = np.zeros_like(recording.seen)
    for step in range(missing.shape[1]):
        before = missing[:, step - 1] if step else np.zeros(len(missing), bool)
        missing[:, step] = starts[:, step] | (before & goes_on[:, step])
    return replace(recording, poses=poses, seen=recording.seen & ~missing)


def _walkers(scenario: Scenario, states: list[SimulationState]) -> _Agents:
    walkers = [state.pedestrians for state in states]
    poses = [np.column_stack([each.positions_m, each.headings_rad]) for each in walkers]
    speeds = [np.hypot(*each.velocities_mps.T) for each in walkers]
    crowd = scenario.crowd
    present = np.ones((len(crowd.keys), len(states)), bool)
    return _Agents(
        crowd.categories, crowd.sizes_m, np.stack(poses, 1), np.stack(speeds, 1), present
    )


def _strollers(scenario: Scenario, states: list[SimulationState]) -> _Agents:
    """Returns the strollers that pedestrians push."""
    walkers = _walkers(scenario, states)
    who = np.flatnonzero(scenario.crowd.pushes)
    poses = walkers.poses[who].copy()
    poses[..., :2] += _STROLLER[2] * unit(poses[..., 2])
    sizes = np.tile(_STROLLER[1], (len(who), 1))
    names = np.full(len(who), _STROLLER[0])
    return _Agents(names, sizes, poses, walkers.speeds_mps[who], walkers.present[who])


def _drivers(scenario: Scenario, states: list[SimulationState]) -> _Agents:
    fleet, vehicles = scenario.fleet, [state.vehicles for state in states]
    return _Agents(
        fleet.categories[1:],
        fleet.sizes_m[1:],
        np.stack([each.poses[1:] for each in vehicles], 1),
        np.stack([each.speeds_mps[1:] for each in vehicles], 1),
        np.stack([each.active[1:] for each in vehicles], 1),
    )


def _standing(scenario: Scenario, count: int) -> _Agents:
    """Returns parked vehicles, cones and barriers."""
    fleet = scenario.fleet
    poses = np.concatenate([fleet.parked_poses, fleet.prop_poses])
    return _Agents(
        np.concatenate([fleet.parked_categories, fleet.prop_categories]),
        np.concatenate([fleet.parked_sizes_m, fleet.prop_sizes_m]),
        np.repeat(poses[:, None], count, axis=1),
        np.zeros((len(poses), count)),
        np.ones((len(poses), count), bool),
    )


def _visible_share(
    ego: NDArray[Any],
    poses: NDArray[Any],
    sizes_m: NDArray[Any],
    present: NDArray[np.bool_],
    categories: NDArray[np.str_],
    walls: Any,
) -> NDArray[np.float64]:
    """Returns the visible share of each agent ``[A, T]``, 0 where it is not present."""
    agent, step = np.nonzero(present)
    hiding = np.char.startswith(categories, "vehicle.") & (sizes_m[:, 2] > _LOW_M)
    occluders = np.flatnonzero(hiding & present.any(axis=1))
    share = np.zeros(present.shape)
    share[agent, step] = visibility.visible_share(
        ego[step, :2],
        poses[agent, step],
        sizes_m[agent, :2],
        poses[occluders][:, step].transpose(1, 0, 2),
        sizes_m[occluders, :2],
        (agent[:, None] == occluders) | ~present[occluders][:, step].T,
        walls,
    )
    return share


def _summary(
    scenario: Scenario,
    states: list[SimulationState],
    seen: NDArray[np.bool_],
    ego_speed_mps: NDArray[np.float64],
    ego: NDArray[np.float64],
) -> str:
    """Returns a description of the scene, with the most important notes first."""
    marks = np.append(scenario.crossings.marked, False)  # the last one is for those without
    anywhere = np.ones(len(scenario.crossings.marked), bool)
    crossing = [
        pedestrian_motion.crossing_intents(
            scenario.crowd, scenario.crossings, state.pedestrians, anywhere
        )
        for state in states
    ]
    on_road = np.stack([each.distance_m < 0 for each in crossing], 1) & seen
    marked = np.stack([marks[each.crossing] for each in crossing], 1)
    turned = float(np.unwrap(ego[:, 2])[-1] - ego[0, 2])
    kinds = set(scenario.fleet.categories[1:].tolist())
    back = np.stack([state.pedestrians.direction < 0 for state in states], 1) & seen
    space = scenario.district.shared
    notes = {
        "shared space" if space is None else space.name.replace("-", " "): space is not None,
        scenario.conditions: bool(scenario.conditions),
        "wait at crosswalk": bool((ego_speed_mps < 0.3).any()) and bool((on_road & marked).any()),
        "turn left": turned > 1.0,
        "turn right": turned < -1.0,
        "peds crossing crosswalk": bool((on_road & marked).any()),
        "jaywalker": bool((on_road & ~marked).any()),
        "ped turning back": bool(back.any()),
        "construction": scenario.fleet.site is not None,
        "many peds": float(seen.sum(0).mean()) > 20,
        "bus": "vehicle.bus.rigid" in kinds,
        "truck": "vehicle.truck" in kinds,
        "cyclist": "vehicle.bicycle" in kinds,
        "parked cars": len(scenario.fleet.parked_poses) > 0,
    }
    return ", ".join(note for note, holds in notes.items() if holds).capitalize()
