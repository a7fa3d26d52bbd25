"""Builds the tracks of a scene from the tables, on one time grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.nuscenes.categories import IGNORED
from forecast.datasets.nuscenes.tables import Keyframes, Tables
from forecast.datasets.time_grid import TimeGrid
from forecast.errors import ForecastError
from forecast.geometry import motion_headings
from forecast.scene import AgentKind, Tracks
from forecast.scene.agents import TYPICAL_SIZE_M, Decision
from forecast.scene.continuity import jumps
from forecast.scene.parsing import parse_names, parse_sizes, within_reach

DT_S = 0.5
"""Time between steps: nuScenes is annotated at 2 Hz. Faster keyframes are resampled."""

EGO_ID = "ego"
EGO_CATEGORY = "vehicle.ego"


def scene_origin(keyframes: Keyframes, scene: int) -> NDArray[np.float64]:
    """Returns the world position ``[2]`` of a scene's frame: the first ego position, rounded."""
    rows = keyframes.of(scene)
    first = rows.start + int(np.argmax(keyframes.has_ego[rows]))
    origin: NDArray[np.float64] = np.round(keyframes.ego_m[first])
    return origin


def time_grid(tables: Tables, scene: int) -> TimeGrid:
    """Returns the time grid of a scene's keyframes.

    Raises:
        ForecastError: They are too far apart, or their times are in another unit.
    """
    frames, boxes = tables.keyframes.of(scene), tables.annotations
    box_frames = boxes.keyframes[boxes.of(scene)] - frames.start
    observed = np.bincount(box_frames, minlength=frames.stop - frames.start)
    times_us = tables.keyframes.timestamps_us[frames]
    return TimeGrid.of(tables.scene_names[scene], times_us, DT_S, observed)


def build_tracks(
    tables: Tables,
    kinds: NDArray[np.int8],
    scene: int,
    grid: TimeGrid,
    origin_m: NDArray[np.float64],
) -> tuple[Tracks, dict[str, int]]:
    """Builds the tracks of a scene: the ego first, then its instances in the table's order.

    The size of an agent is that of its first annotation, so that sizes do not leak the future.

    Args:
        tables: The dataset.
        kinds: Kind of each instance of the dataset ``[I]``; those to leave out are `IGNORED`.
        scene: Row of the scene.
        grid: Its time grid.
        origin_m: World position ``[2]`` of its frame.

    Returns:
        The tracks, and counts of dropped and mended records by reason.

    Raises:
        ForecastError: There is no agent, or one is far from all others or has the ego's name.
    """
    name = tables.scene_names[scene]
    records, counts = _records(tables, kinds, scene, origin_m)
    ids = parse_names(name, [EGO_ID, *tables.instance_tokens[records.instances]])
    agent_kinds = np.append(np.int8(AgentKind.EGO), kinds[records.instances])
    jumped = None
    if grid.resampled:
        jumped = jumps(records.positions_m, records.valid, grid.times_us, agent_kinds)
    way = grid.resampling(records.valid, jumped)
    positions = within_reach(name, way.values(records.positions_m), ids, "positions of one place")
    headings = way.angles(records.headings_rad)
    if np.isnan(headings).any():
        moved, _ = motion_headings(positions, way.valid)
        headings = np.where(np.isnan(headings), moved, headings)
    sizes, typical = parse_sizes(name, records.sizes_m, agent_kinds)
    earlier = np.take_along_axis(records.visibility, way.first, axis=1)
    tracks = Tracks(
        agent_ids=ids,
        kinds=agent_kinds,
        categories=np.append(EGO_CATEGORY, tables.instance_categories[records.instances]),
        positions_m=positions,
        headings_rad=headings,
        sizes_m=sizes,
        valid=way.valid,
        visibility=np.where(way.valid, earlier, np.int8(0)),
        decisions=_decisions(tables, scene, records.instances, way.first),
    )
    seen = way.valid.any(axis=1)
    if not seen[0] or not seen[1:].any():
        who = "no agent" if seen[0] else "no pose of the ego"
        raise ForecastError(f"{name}: {who} at any step; at least one is needed: annotate them")
    counts |= {"agent_between_steps": int((~seen).sum()), "typical_size": int(typical[seen].sum())}
    return tracks if seen.all() else tracks.select(seen), counts


def _decisions(
    tables: Tables, scene: int, instances: NDArray[np.int32], earlier: NDArray[np.int64]
) -> NDArray[np.int8] | None:
    """Returns what each agent had decided at the record before each step; None without a table.

    Raises:
        ForecastError: A row of the table has another number of decisions than keyframes.
    """
    if not tables.decisions:
        return None
    frames = tables.keyframes.of(scene)
    made = np.full((len(instances) + 1, frames.stop - frames.start), Decision.UNKNOWN, np.int8)
    for row, token in enumerate(tables.instance_tokens[instances].tolist(), start=1):
        found = tables.decisions.get(token)
        if found is not None and len(found) != made.shape[1]:
            raise ForecastError(
                f"decision.json: instance '{token}' has {len(found)} decisions; its scene has "
                f"{made.shape[1]} keyframes, and one decision for each is needed"
            )
        made[row] = Decision.UNKNOWN if found is None else found
    return np.take_along_axis(made, earlier, axis=1)


@dataclass(frozen=True, eq=False)
class _Records:
    """What the N keyframes of a scene say about A agents, the ego first.

    Attributes:
        instances: Row of each agent but the ego in the instance table ``[A - 1]``.
        sizes_m: Size of each agent in its first annotation ``[A, 3]``.
        valid: Whether the agent was observed ``[A, N]``.
        positions_m: Positions relative to the scene's origin ``[A, N, 2]``.
        headings_rad: Headings ``[A, N]``, NaN where there is no rotation.
        visibility: Visibility bin ``[A, N]``.
    """

    instances: NDArray[np.int32]
    sizes_m: NDArray[np.float32]
    valid: NDArray[np.bool_]
    positions_m: NDArray[np.float64]
    headings_rad: NDArray[np.float32]
    visibility: NDArray[np.int8]


def _records(
    tables: Tables, kinds: NDArray[np.int8], scene: int, origin_m: NDArray[np.float64]
) -> tuple[_Records, dict[str, int]]:
    """Returns the records of a scene, and the count of those of `IGNORED` categories."""
    keyframes, boxes = tables.keyframes, tables.annotations
    frames, rows = keyframes.of(scene), boxes.of(scene)
    ignored = kinds[boxes.instances[rows]] == IGNORED
    chosen: Any = rows
    if ignored.any():
        chosen = rows.start + np.flatnonzero(~ignored)
    instances, first, owner = np.unique(
        boxes.instances[chosen], return_index=True, return_inverse=True
    )
    has_ego = keyframes.has_ego[frames]
    ego = (0, has_ego)
    other = (owner + 1, boxes.keyframes[chosen] - frames.start)
    shape = (len(instances) + 1, len(has_ego))
    records = _Records(
        instances=instances,
        sizes_m=np.vstack([TYPICAL_SIZE_M[AgentKind.EGO], boxes.sizes_m[chosen][first]]),
        valid=np.zeros(shape, bool),
        positions_m=np.zeros((*shape, 2)),
        headings_rad=np.zeros(shape, np.float32),
        visibility=np.zeros(shape, np.int8),
    )
    records.valid[ego] = records.valid[other] = True
    records.positions_m[ego] = keyframes.ego_m[frames][has_ego] - origin_m
    records.headings_rad[ego] = keyframes.ego_headings_rad[frames][has_ego]
    records.positions_m[other] = boxes.positions_m[chosen] - origin_m
    records.headings_rad[other] = boxes.headings_rad[chosen]
    records.visibility[other] = boxes.visibility[chosen]
    return records, {"ignored_category": int(ignored.sum())}
