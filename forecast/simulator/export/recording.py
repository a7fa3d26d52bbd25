"""What the ego's log of a simulated scene holds, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from forecast.simulator.dynamics import pedestrian_motion as people
from forecast.simulator.dynamics.social_forces import unit
from forecast.simulator.export import visibility as sight
from forecast.simulator.simulate import FRAME_STEPS, Setting, World

RANGE_M = 65.0
"""Agents farther from the ego than this are not annotated."""
_STROLLER = ("human.pedestrian.stroller", (0.95, 0.55, 1.05), 0.85)
"""Category, size, and how far it is ahead of who pushes it."""
_LOW_M = 1.2
"""Nothing hides behind things lower than this."""
_MEAN_GAP_STEPS = 2.0


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
        parked: ``[A]``.
        sits: ``[A]``.
        seen: Whether the agent is near the ego and has come into sight ``[A, T]``.
        visibility: nuScenes visibility bins ``[A, T]``, 0 where not seen.
        summary: What happens, in nuScenes' manner.
    """

    ego: NDArray[np.float64]
    ego_track: NDArray[np.float64]
    categories: NDArray[np.str_]
    sizes_m: NDArray[np.float64]
    poses: NDArray[np.float64]
    speeds_mps: NDArray[np.float64]
    parked: NDArray[np.bool_]
    sits: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    visibility: NDArray[np.int64]
    summary: str


@dataclass(frozen=True, eq=False)
class _Agents:
    """Rows of agents of one sort: see `Recording`."""

    categories: NDArray[np.str_]
    sizes_m: NDArray[np.float64]
    poses: NDArray[np.float64]
    speeds_mps: NDArray[np.float64]
    there: NDArray[np.bool_]


def record(setting: Setting, worlds: list[World], walls: Any = None) -> Recording:
    """What the ego's log holds of a scene.

    Args:
        setting: The scene.
        worlds: Every step of it, from the first keyframe on.
        walls: Prepared shapely geometry that hides what is behind it, or None.
    """
    keyframes = worlds[::FRAME_STEPS]
    track = np.stack([world.traffic.poses[0] for world in worlds])
    ego = track[::FRAME_STEPS]
    parts = [
        _walkers(setting, keyframes),
        _strollers(setting, keyframes),
        _drivers(setting, keyframes),
        _standing(setting, len(keyframes)),
    ]
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("categories", "sizes_m", "poses", "speeds_mps", "there")
    }
    there = columns.pop("there")
    apart = columns["poses"][..., :2] - ego[:, :2]
    there &= np.hypot(apart[..., 0], apart[..., 1]) <= RANGE_M
    share = _in_sight(
        ego, columns["poses"], columns["sizes_m"], there, columns["categories"], walls
    )
    # From the first glimpse on; whatever depends on later frames would leak the future.
    seen = there & np.logical_or.accumulate(share > 0, axis=1)
    people_count = len(setting.crowd.keys)
    parked = np.arange(len(seen)) >= len(seen) - len(parts[-1].categories)
    sits = np.zeros(len(seen), bool)
    sits[:people_count] = setting.crowd.sits
    speeds = np.stack([world.traffic.speeds_mps[0] for world in keyframes])
    return Recording(
        ego=ego,
        ego_track=track,
        parked=parked,
        sits=sits,
        seen=seen,
        visibility=np.where(seen, sight.visibility_bins(share), 0),
        summary=_summary(setting, keyframes, seen[:people_count], speeds, ego),
        **columns,
    )


def degrade(recording: Recording, noise_m: float, gap_share: float, rng: Generator) -> Recording:
    """The recording as a tracker would have it: noisy positions, and gaps of a few keyframes.

    Args:
        recording: The truth.
        noise_m: Standard deviation of the error of each coordinate.
        gap_share: Share of the keyframes that are missing; what is hardly in sight is missed
            three times as often as the rest.
        rng: Source of the draws.
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


def _walkers(setting: Setting, worlds: list[World]) -> _Agents:
    states = [world.people for world in worlds]
    poses = [np.column_stack([state.positions_m, state.headings_rad]) for state in states]
    speeds = [np.hypot(*state.velocities_mps.T) for state in states]
    crowd = setting.crowd
    there = np.ones((len(crowd.keys), len(worlds)), bool)
    return _Agents(crowd.categories, crowd.sizes_m, np.stack(poses, 1), np.stack(speeds, 1), there)


def _strollers(setting: Setting, worlds: list[World]) -> _Agents:
    """What some people push in front of them."""
    walkers = _walkers(setting, worlds)
    who = np.flatnonzero(setting.crowd.pushes)
    poses = walkers.poses[who].copy()
    poses[..., :2] += _STROLLER[2] * unit(poses[..., 2])
    sizes = np.tile(_STROLLER[1], (len(who), 1))
    names = np.full(len(who), _STROLLER[0])
    return _Agents(names, sizes, poses, walkers.speeds_mps[who], walkers.there[who])


def _drivers(setting: Setting, worlds: list[World]) -> _Agents:
    fleet, states = setting.fleet, [world.traffic for world in worlds]
    return _Agents(
        fleet.categories[1:],
        fleet.sizes_m[1:],
        np.stack([state.poses[1:] for state in states], 1),
        np.stack([state.speeds_mps[1:] for state in states], 1),
        np.stack([state.active[1:] for state in states], 1),
    )


def _standing(setting: Setting, count: int) -> _Agents:
    """Parked vehicles, cones and barriers."""
    fleet = setting.fleet
    poses = np.concatenate([fleet.parked_poses, fleet.prop_poses])
    return _Agents(
        np.concatenate([fleet.parked_categories, fleet.prop_categories]),
        np.concatenate([fleet.parked_sizes_m, fleet.prop_sizes_m]),
        np.repeat(poses[:, None], count, axis=1),
        np.zeros((len(poses), count)),
        np.ones((len(poses), count), bool),
    )


def _in_sight(
    ego: NDArray[Any],
    poses: NDArray[Any],
    sizes_m: NDArray[Any],
    there: NDArray[np.bool_],
    categories: NDArray[np.str_],
    walls: Any,
) -> NDArray[np.float64]:
    """Share of each agent in the ego's sight ``[A, T]``, 0 where it is not there."""
    agent, step = np.nonzero(there)
    tall = np.char.startswith(categories, "vehicle.") & (sizes_m[:, 2] > _LOW_M)
    hides = np.flatnonzero(tall & there.any(axis=1))
    share = np.zeros(there.shape)
    share[agent, step] = sight.visible_share(
        ego[step, :2],
        poses[agent, step],
        sizes_m[agent, :2],
        poses[hides][:, step].transpose(1, 0, 2),
        sizes_m[hides, :2],
        (agent[:, None] == hides) | ~there[hides][:, step].T,
        walls,
    )
    return share


def _summary(
    setting: Setting,
    worlds: list[World],
    seen: NDArray[np.bool_],
    ego_speed_mps: NDArray[np.float64],
    ego: NDArray[np.float64],
) -> str:
    """What a person would note about the scene, most telling first."""
    anywhere = np.ones(len(setting.crossings.marked), bool)
    crossing = [
        people.intents(setting.crowd, setting.crossings, w.people, anywhere) for w in worlds
    ]
    on_road = np.stack([i.distance_m < 0 for i in crossing], 1) & seen
    marked = np.stack([setting.crossings.marked[i.crossing] for i in crossing], 1)
    turned = float(np.unwrap(ego[:, 2])[-1] - ego[0, 2])
    kinds = set(setting.fleet.categories[1:].tolist())
    back = np.stack([world.people.sense < 0 for world in worlds], 1) & seen
    notes = {
        setting.conditions: bool(setting.conditions),
        "wait at crosswalk": bool((ego_speed_mps < 0.3).any()) and bool((on_road & marked).any()),
        "turn left": turned > 1.0,
        "turn right": turned < -1.0,
        "peds crossing crosswalk": bool((on_road & marked).any()),
        "jaywalker": bool((on_road & ~marked).any()),
        "ped turning back": bool(back.any()),
        "construction": setting.fleet.site is not None,
        "many peds": float(seen.sum(0).mean()) > 20,
        "bus": "vehicle.bus.rigid" in kinds,
        "truck": "vehicle.truck" in kinds,
        "cyclist": "vehicle.bicycle" in kinds,
        "parked cars": len(setting.fleet.parked_poses) > 0,
    }
    return ", ".join(note for note, holds in notes.items() if holds).capitalize()
