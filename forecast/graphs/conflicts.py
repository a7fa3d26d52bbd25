"""Where the lanes ahead of each map piece meet crosswalks: the conflict points of vehicles.

A vehicle that turns does not come straight on. Which crosswalks it comes to, and on what way,
follows from the lanes after its own. Where lanes part, each has the same chance.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFLICTS = 4
"""Conflict points kept per piece K: the first ones."""
AHEAD_M, BEHIND_M = 45.0, 8.0
"""Distances from the start of a piece to its last and its first conflict point, along the lanes."""
_KERB_M = 0.5
"""A lane at most this far beyond the end of a crosswalk meets it."""
_MOST_LEVELS = 32
"""Pieces in a row on a way; short pieces in a circle end there."""


class _Crossed(NamedTuple):
    """Crosswalks on ways; R rows.

    Attributes:
        root: The piece that the way starts from ``[R]``.
        way: The crosswalk ``[R]``.
        along_m: Distance along the way from the start of the first piece ``[R]``.
        point_m: The conflict point ``[R, 2]``.
        chance: Chance of this way ``[R]``.
    """

    root: NDArray[np.int64]
    way: NDArray[np.int64]
    along_m: NDArray[np.float64]
    point_m: NDArray[np.float64]
    chance: NDArray[np.float64]

    def rows(self, chosen: NDArray[Any]) -> _Crossed:
        """Some of the rows, by index or mask."""
        columns: Any = (column[chosen] for column in self)
        return _Crossed(*columns)


def conflict_points(
    points_m: NDArray[np.float32],
    lane: NDArray[np.bool_],
    over: NDArray[np.bool_],
    follows: NDArray[np.int64],
) -> NDArray[np.float32]:
    """The first conflict points on the ways from each lane piece.

    Args:
        points_m: Map pieces ``[M, P, 2]``.
        lane: Which of them are of a lane ``[M]``.
        over: Which of them are ways over crosswalks ``[M]``.
        follows: Pairs of pieces ``[2, E]``; the second starts where the first ends.

    Returns:
        For each piece ``[M, K, 4]``: the distance along the lanes from the piece's start in metres,
        x and y, and the chance that a vehicle on the piece comes there; all 0 for none. In order of
        distance. Distances of crosswalks just passed are negative.
    """
    found = np.zeros((len(points_m), CONFLICTS, 4), np.float32)
    if not lane.any() or not over.any():
        return found
    links = follows[:, lane[follows].all(axis=0)]
    lengths = np.linalg.norm(np.diff(points_m, axis=1), axis=-1).sum(axis=1).astype(np.float64)
    ways = _on_ways(_on_pieces(points_m, lane, over), links, lengths, np.flatnonzero(lane))
    ways = _merged(ways)
    order = np.lexsort((ways.along_m, ways.root))
    root = ways.root[order]
    slot = np.arange(len(root)) - np.searchsorted(root, root)
    rows = np.column_stack([ways.along_m, ways.point_m, ways.chance])[order]
    kept = slot < CONFLICTS
    found[root[kept], slot[kept]] = rows[kept]
    return found


def _on_pieces(
    points_m: NDArray[np.float32], lane: NDArray[np.bool_], over: NDArray[np.bool_]
) -> _Crossed:
    """The crosswalks that each lane piece itself meets."""
    lanes, ways = np.flatnonzero(lane), np.flatnonzero(over)
    begin = points_m[lanes, :-1].astype(np.float64)  # [L, P - 1, 2]
    step = np.diff(points_m[lanes], axis=1).astype(np.float64)
    start, end = points_m[ways, 0].astype(np.float64), points_m[ways, -1].astype(np.float64)
    span = end - start
    width = np.maximum(np.linalg.norm(span, axis=-1), 1e-6)
    # begin + t * step = start + u * span, for each segment of a lane and each way [L, P - 1, W].
    step, begin = step[:, :, None], begin[:, :, None]
    across = _cross(step, span)
    with np.errstate(divide="ignore", invalid="ignore"):
        t, u = _cross(start - begin, span) / across, _cross(start - begin, step) / across
    out = _KERB_M / width
    meets = (t >= 0) & (t < 1) & (u > -out) & (u < 1 + out)
    row, segment, way = np.nonzero(meets)
    length = np.linalg.norm(step[:, :, 0], axis=-1)  # [L, P - 1]
    before = np.cumsum(length, axis=1) - length
    share = t[row, segment, way]
    along = before[row, segment] + share * length[row, segment]
    place = begin[row, segment, 0] + share[:, None] * step[row, segment, 0]
    return _Crossed(lanes[row], ways[way], along, place, np.ones(len(row)))


def _on_ways(
    met: _Crossed,
    links: NDArray[np.int64],
    lengths_m: NDArray[np.float64],
    lanes: NDArray[np.int64],
) -> _Crossed:
    """The crosswalks on all ways from each lane piece, and those just behind it."""
    order = np.argsort(met.root, kind="stable")
    met = met.rows(order)
    onward, back = links[:, np.argsort(links[0], kind="stable")], links[::-1]
    back = back[:, np.argsort(back[0], kind="stable")]
    branches = np.bincount(links[0], minlength=len(lengths_m))
    found = []
    root, piece, gone, chance = lanes, lanes, np.zeros(len(lanes)), np.ones(len(lanes))
    for _ in range(_MOST_LEVELS):
        found.append(_hits(met, root, piece, gone, chance))
        gone = gone + lengths_m[piece]
        near = gone < AHEAD_M
        row, link = _joined(onward[0], piece[near])
        root, gone, chance = root[near][row], gone[near][row], chance[near][row]
        chance = chance / branches[piece[near][row]]
        piece = onward[1, link]
        if not len(piece):
            break
    row, link = _joined(back[0], lanes)
    before = back[1, link]
    found.append(_hits(met, lanes[row], before, -lengths_m[before], np.ones(len(before))))
    columns: Any = (np.concatenate(column) for column in zip(*found, strict=True))
    every = _Crossed(*columns)
    kept = (every.along_m < AHEAD_M) & (every.along_m > -BEHIND_M)
    return every.rows(kept)


def _hits(
    met: _Crossed,
    root: NDArray[np.int64],
    piece: NDArray[np.int64],
    gone_m: NDArray[np.float64],
    chance: NDArray[np.float64],
) -> _Crossed:
    """The crosswalks on pieces of ways, which begin at some distance from the ways' starts."""
    row, at = _joined(met.root, piece)
    along = gone_m[row] + met.along_m[at]
    return _Crossed(root[row], met.way[at], along, met.point_m[at], chance[row])


def _merged(ways: _Crossed) -> _Crossed:
    """One row for each piece and crosswalk: the nearest, with the chance of any way there."""
    order = np.lexsort((ways.along_m, ways.way, ways.root))
    ways = ways.rows(order)
    pair = np.stack([ways.root, ways.way])
    first = np.flatnonzero(np.append(True, (np.diff(pair, axis=1) != 0).any(axis=0))[: len(order)])
    chance = np.add.reduceat(ways.chance, first) if len(first) else ways.chance
    nearest = ways.rows(first)
    return nearest._replace(chance=np.minimum(chance, 1.0))


def _joined(
    keys: NDArray[np.int64], wanted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of an index into ``wanted`` and one into ``keys`` (ascending) with equal values."""
    first, last = np.searchsorted(keys, wanted), np.searchsorted(keys, wanted, side="right")
    count = last - first
    row = np.repeat(np.arange(len(wanted)), count)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count) + first[row]


def _cross(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]
    return product
