"""Builds the tracks of a scene from the tables, on one time grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.nuscenes.tables import Keyframes, Tables
from forecast.errors import ForecastError
from forecast.scene import AgentKind, Tracks
from forecast.scene.agents import TYPICAL_SIZE_M

DT_S = 0.5
"""Time between keyframes: nuScenes is annotated at 2 Hz."""

EGO_ID = "ego"
EGO_CATEGORY = "vehicle.ego"

_KIND_OF_PREFIX = {
    "human.pedestrian.": AgentKind.PEDESTRIAN,
    "vehicle.bicycle": AgentKind.CYCLIST,
    "vehicle.motorcycle": AgentKind.CYCLIST,
    "vehicle.": AgentKind.VEHICLE,
    "movable_object.": AgentKind.STATIC,
    "static_object.": AgentKind.STATIC,
    "animal": AgentKind.STATIC,  # they move, but too few are annotated to forecast them
}


def kind_of(category: str) -> AgentKind:
    """Returns the agent kind of a nuScenes category. Animals are static: they are not forecast.

    Raises:
        ForecastError: The category is not in nuScenes.
    """
    for prefix, kind in _KIND_OF_PREFIX.items():
        if category.startswith(prefix):
            return kind
    raise ForecastError(
        f"category '{category}' is unknown; it must start with one of "
        f"{', '.join(_KIND_OF_PREFIX)}: rename it in category.json"
    )


def kinds_of(categories: NDArray[np.str_]) -> NDArray[np.int8]:
    """Returns the `AgentKind` values of category names ``[I]``; see `kind_of`."""
    names, rows = np.unique(categories, return_inverse=True)
    return np.array([kind_of(str(name)) for name in names], np.int8)[rows]


@dataclass(frozen=True, eq=False)
class TimeGrid:
    """The keyframes of a scene on a grid of `DT_S`.

    Attributes:
        steps: Grid step of each keyframe ``[N]``.
        timestamps_us: Time of each step ``[T]``, interpolated where there is no keyframe.
        frame_ids: Sample token of each step ``[T]``, "" where there is no keyframe.
    """

    steps: NDArray[np.int64]
    timestamps_us: NDArray[np.int64]
    frame_ids: NDArray[np.str_]


def time_grid(keyframes: Keyframes, scene: int) -> TimeGrid:
    """Assigns a scene's keyframes to grid steps by their timestamps.

    Each keyframe is ``max(1, round(dt / DT_S))`` steps after the previous one. So jitter and slow
    drift of the real 2 Hz keyframes have no effect, and a missing keyframe leaves a gap.
    """
    times = keyframes.timestamps_us[keyframes.of(scene)]
    strides = np.maximum(np.round(np.diff(times) / (DT_S * 1e6)).astype(np.int64), 1)
    steps = np.append(0, np.cumsum(strides))
    length = int(steps[-1]) + 1
    between = np.interp(np.arange(length), steps, times - times[0])
    frame_ids = np.full(length, "", keyframes.tokens.dtype)
    frame_ids[steps] = keyframes.tokens[keyframes.of(scene)]
    return TimeGrid(steps, times[0] + np.round(between).astype(np.int64), frame_ids)


def scene_origin(keyframes: Keyframes, scene: int) -> NDArray[np.float64]:
    """Returns the world position ``[2]`` of a scene's frame: the first ego position, rounded."""
    rows = keyframes.of(scene)
    first = rows.start + int(np.argmax(keyframes.has_ego[rows]))
    origin: NDArray[np.float64] = np.round(keyframes.ego_m[first])
    return origin


def build_tracks(
    tables: Tables,
    kinds: NDArray[np.int8],
    scene: int,
    grid: TimeGrid,
    origin_m: NDArray[np.float64],
) -> Tracks:
    """Builds the tracks of a scene: the ego first, then its instances in the table's order.

    The size of an agent is that of its first annotation, so that sizes do not leak the future.

    Args:
        tables: The dataset.
        kinds: Kind of each instance of the dataset ``[I]``.
        scene: Row of the scene.
        grid: Its time grid.
        origin_m: World position ``[2]`` of its frame.
    """
    keyframes, boxes = tables.keyframes, tables.annotations
    frames, rows = keyframes.of(scene), boxes.of(scene)
    instances, first, owner = np.unique(
        boxes.instances[rows], return_index=True, return_inverse=True
    )
    has_ego = keyframes.has_ego[frames]
    ego = (0, grid.steps[has_ego])
    other = (owner + 1, grid.steps[boxes.keyframes[rows] - frames.start])
    shape = (len(instances) + 1, len(grid.timestamps_us))

    valid = np.zeros(shape, bool)
    positions = np.zeros((*shape, 2), np.float32)
    headings = np.zeros(shape, np.float32)
    visibility = np.zeros(shape, np.int8)
    valid[ego] = valid[other] = True
    positions[ego] = keyframes.ego_m[frames][has_ego] - origin_m
    headings[ego] = keyframes.ego_headings_rad[frames][has_ego]
    positions[other] = boxes.positions_m[rows] - origin_m
    headings[other] = boxes.headings_rad[rows]
    visibility[other] = boxes.visibility[rows]
    sizes = np.vstack([TYPICAL_SIZE_M[AgentKind.EGO], boxes.sizes_m[rows][first]])
    return Tracks(
        agent_ids=np.append(EGO_ID, tables.instance_tokens[instances]),
        kinds=np.append(np.int8(AgentKind.EGO), kinds[instances]),
        categories=np.append(EGO_CATEGORY, tables.instance_categories[instances]),
        positions_m=positions,
        headings_rad=headings,
        sizes_m=sizes.astype(np.float32),
        valid=valid,
        visibility=visibility,
    )
