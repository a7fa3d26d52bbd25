"""What the ego's log of a simulated scene holds, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.town import people
from forecast.datasets.town.simulate import Setting, World

RANGE_M = 60.0
"""Agents farther from the ego than this are not annotated."""


@dataclass(frozen=True, eq=False)
class Recording:
    """One scene as its keyframes.

    Attributes:
        ego: Poses of the ego ``[T, 3]`` (x_m, y_m, heading_rad).
        categories: nuScenes categories ``[A]``.
        sizes_m: Length, width, height ``[A, 3]``.
        poses: ``[A, T, 3]``.
        speeds_mps: ``[A, T]``.
        parked: ``[A]``.
        seen: Whether the agent is there and near the ego ``[A, T]``.
        summary: What happens, in nuScenes' manner.
    """

    ego: NDArray[np.float64]
    categories: NDArray[np.str_]
    sizes_m: NDArray[np.float64]
    poses: NDArray[np.float64]
    speeds_mps: NDArray[np.float64]
    parked: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    summary: str


def record(setting: Setting, worlds: list[World]) -> Recording:
    """What the ego's log holds of a scene.

    Args:
        setting: The scene.
        worlds: Its keyframes.
    """
    crowd, fleet, count = setting.crowd, setting.fleet, len(worlds)
    walked = np.stack([np.column_stack([w.people.positions_m, w.people.headings_rad])
                       for w in worlds], 1)  # fmt: skip
    paces = np.stack([np.hypot(*w.people.velocities_mps.T) for w in worlds], 1)
    driven = np.stack([w.traffic.poses for w in worlds], 1)
    speeds = np.stack([w.traffic.speeds_mps for w in worlds], 1)
    there = np.stack([w.traffic.active for w in worlds], 1)[1:]
    standing = np.repeat(fleet.parked_poses[:, None], count, axis=1)
    poses = np.concatenate([walked, driven[1:], standing])
    always = [np.ones((len(rows), count), bool) for rows in (walked, standing)]
    apart = poses[..., :2] - driven[0, :, :2]
    seen = np.concatenate([always[0], there, always[1]])
    seen &= np.hypot(apart[..., 0], apart[..., 1]) <= RANGE_M
    parked = np.full(len(standing), "vehicle.car")
    return Recording(
        ego=driven[0],
        categories=np.concatenate([crowd.categories, fleet.categories[1:], parked]),
        sizes_m=np.concatenate([crowd.sizes_m, fleet.sizes_m[1:], fleet.parked_sizes_m]),
        poses=poses,
        speeds_mps=np.concatenate([paces, speeds[1:], np.zeros((len(standing), count))]),
        parked=np.arange(len(poses)) >= len(poses) - len(standing),
        seen=seen,
        summary=_summary(setting, worlds, seen[: len(walked)], speeds[0], driven[0]),
    )


def _summary(
    setting: Setting,
    worlds: list[World],
    seen: NDArray[np.bool_],
    ego_speed_mps: NDArray[np.float64],
    ego: NDArray[np.float64],
) -> str:
    """What a person would note about the scene, most telling first."""
    crossing = [people.intents(setting.crowd, setting.crossings, w.people) for w in worlds]
    on_road = np.stack([i.distance_m < 0 for i in crossing], 1) & seen
    marked = np.stack([setting.crossings.marked[i.crossing] for i in crossing], 1)
    turned = float(np.unwrap(ego[:, 2])[-1] - ego[0, 2])
    kinds = set(setting.fleet.categories[1:].tolist())
    notes = {
        setting.conditions: bool(setting.conditions),
        "wait at crosswalk": bool((ego_speed_mps < 0.3).any()) and bool((on_road & marked).any()),
        "turn left": turned > 1.0,
        "turn right": turned < -1.0,
        "peds crossing crosswalk": bool((on_road & marked).any()),
        "jaywalker": bool((on_road & ~marked).any()),
        "many peds": float(seen.sum(0).mean()) > 20,
        "bus": "vehicle.bus.rigid" in kinds,
        "truck": "vehicle.truck" in kinds,
        "cyclist": "vehicle.bicycle" in kinds,
        "parked cars": len(setting.fleet.parked_poses) > 0,
    }
    return ", ".join(note for note, holds in notes.items() if holds).capitalize()
