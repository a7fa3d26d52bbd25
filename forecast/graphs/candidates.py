"""The search for neighbour candidates: pairs that can come into range within some time.

Graphs of windows, streams, interactive worlds and plans use this search. At every observed or
imagined step, the model selects the candidates in range at that step (`forecast.models.neighbors`).
So the graph follows the imagined positions without a new search.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from forecast.graphs.config import GraphConfig
from forecast.graphs.pieces import MapPieces
from forecast.scene import AgentKind

_SLACK_M = 1e-3
"""Added to ranges against rounding. Pairs too far apart do no harm: the model checks distances
again."""


class Reach(NamedTuple):
    """How agents may move until a new search.

    Attributes:
        speed_mps: Highest speed ``[A]``.
        distance_m: Largest distance from the present position ``[A]``.
    """

    speed_mps: NDArray[np.float32]
    distance_m: NDArray[np.float32]


def reach(
    positions_m: NDArray[Any],
    valid: NDArray[np.bool_],
    kinds: NDArray[np.int8],
    dt_s: float,
    steps: int,
    config: GraphConfig,
    ego_plan: NDArray[np.float32] | None = None,
) -> Reach:
    """Bounds of the speeds and displacements of agents over some steps.

    Args:
        positions_m: History ``[A, H, 2]``; the last step is the current one.
        valid: Steps with a known position ``[A, H]``.
        kinds: `AgentKind` values ``[A]``.
        dt_s: Step length.
        steps: Steps ahead.
        config: How much faster than now agents may go.
        ego_plan: Poses ``[..., T, 3]`` that the ego may follow; they raise the bounds of the ego.
    """
    slack = np.where(kinds >= AgentKind.VEHICLE, config.vehicle_slack_mps, config.slack_mps)
    speed = _speed_since_last_seen(positions_m, valid, dt_s) + slack
    distance = speed * steps * dt_s
    if ego_plan is not None:
        is_ego = kinds == AgentKind.EGO
        fastest, farthest = _along(ego_plan[..., :2], positions_m[is_ego, -1][0], dt_s)
        speed[is_ego] = np.maximum(speed[is_ego], fastest)
        distance[is_ego] = np.maximum(distance[is_ego], farthest)
    return Reach(speed.astype(np.float32), distance.astype(np.float32))


def with_paths(
    within: Reach,
    kinds: NDArray[np.int8],
    paths_m: NDArray[np.float32],
    known: NDArray[np.bool_],
    dt_s: float,
) -> Reach:
    """Bounds that also hold for vehicles that follow given paths.

    Args:
        within: Bounds of the agents' motion.
        kinds: `AgentKind` values ``[A]``.
        paths_m: Positions from the current step on ``[A, 1 + T, 2]``.
        known: Steps with a position ``[A, 1 + T]``.
        dt_s: Step length.
    """
    drives = (kinds >= AgentKind.VEHICLE) & known[:, 0]
    away = np.linalg.norm(paths_m - paths_m[:, :1], axis=-1)
    steps = np.linalg.norm(np.diff(paths_m, axis=1), axis=-1) / dt_s
    farthest = np.where(drives[:, None] & known, away, 0).max(axis=1)
    both = drives[:, None] & known[:, 1:] & known[:, :-1]
    fastest = np.where(both, steps, 0).max(axis=1, initial=0)
    return Reach(
        np.maximum(within.speed_mps, fastest).astype(np.float32),
        np.maximum(within.distance_m, farthest).astype(np.float32),
    )


def _speed_since_last_seen(
    positions_m: NDArray[Any], valid: NDArray[np.bool_], dt_s: float
) -> NDArray[Any]:
    """Mean speed from the previous observed step to the current one ``[A]``; 0 if there is none."""
    # Steps back to the latest valid step before the current one.
    gone = 1 + valid[:, -2::-1].argmax(axis=1) if valid.shape[1] > 1 else np.ones(len(valid), int)
    before = (np.arange(len(valid)), valid.shape[1] - 1 - gone)
    way = np.linalg.norm(positions_m[:, -1] - positions_m[before], axis=-1)
    return np.where(valid[:, -1] & valid[before], way / (gone * dt_s), 0)


def _along(paths: NDArray[np.float32], start: NDArray[Any], dt_s: float) -> tuple[float, float]:
    """Highest speed on paths ``[..., T, 2]`` from a start ``[2]``, and largest distance from it."""
    away = paths - start
    steps = np.diff(np.concatenate([np.zeros_like(away[..., :1, :]), away], axis=-2), axis=-2)
    fastest, farthest = (float(np.linalg.norm(each, axis=-1).max()) for each in (steps, away))
    return fastest / dt_s, farthest


def agent_candidates(
    kinds: NDArray[np.int8],
    positions_m: NDArray[np.float32],
    within: Reach,
    config: GraphConfig,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Ordered pairs of agents that can come into range.

    Args:
        kinds: `AgentKind` values ``[A]``.
        positions_m: Positions of the agents ``[A, 2]``.
        within: Bounds of their motion.
        config: Ranges.

    Returns:
        Pairs (source, target) ``[2, C]``, sorted by target, and their ranges in m for vehicles at
        rest ``[C]``. The search itself uses the ranges at the highest speeds.
    """
    if len(kinds) < 2:
        return np.zeros((2, 0), np.int64), np.zeros(0, np.float32)
    drives, distance = kinds >= AgentKind.VEHICLE, within.distance_m
    ahead = config.vehicle_ahead_s * np.where(drives, within.speed_mps, 0)
    widest = max(config.agent_radius_m, config.vehicle_radius_m) + float(ahead.max())
    farthest = widest + 2 * float(distance.max()) + _SLACK_M
    one, other = cKDTree(positions_m).query_pairs(farthest, output_type="ndarray").T
    limit = np.where(
        drives[one] | drives[other], config.vehicle_radius_m, config.agent_radius_m
    ).astype(np.float32)
    largest = limit + np.maximum(ahead[one], ahead[other])
    apart = np.linalg.norm(positions_m[one] - positions_m[other], axis=-1)
    near = apart < largest + distance[one] + distance[other] + _SLACK_M
    both = np.concatenate([[one[near], other[near]], [other[near], one[near]]], axis=1)
    order = np.lexsort(both)  # by target
    return both[:, order].astype(np.int64), np.tile(limit[near], 2)[order]


def map_candidates(
    pieces: MapPieces,
    positions_m: NDArray[np.float32],
    within: Reach,
    config: GraphConfig,
) -> NDArray[np.int64]:
    """Pairs (piece, agent) that can come into range ``[2, C]``, sorted by agent.

    Args:
        pieces: The map.
        positions_m: Positions of the agents ``[A, 2]``.
        within: Bounds of their motion.
        config: Ranges.
    """
    if pieces.tree is None or not len(positions_m) or not config.map_radius_m:
        return np.zeros((2, 0), np.int64)
    limit = config.map_radius_m + within.distance_m + _SLACK_M
    found = pieces.tree.query_ball_point(positions_m, limit, return_sorted=True)
    agent = np.repeat(np.arange(len(found)), [len(near) for near in found])
    return np.stack([np.concatenate(found).astype(np.int64), agent])
