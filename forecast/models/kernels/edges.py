"""Which pairs are within range; `forecast.models.edges` says what is computed."""

from __future__ import annotations

import math

import numpy as np

from forecast.models.machine_code import HALF, Floats, Indices, compiled

X, Y, AHEAD, SPREAD = range(4)
"""Rows of places: where nodes are, what extends the range of a pair if it is the larger one of
both, and how far from there they may be."""


@compiled
def pairs_in_range(
    source: Floats,
    target: Floats,
    one: Indices,
    other: Indices,
    radius: Floats,
    slack_m: float,
) -> tuple[Indices, Indices]:
    """Copies and pairs ``[E]`` that are within range, in order; see `edges.edges_in_range`.

    Args:
        source: Places ``[4, S or 1, N]``.
        target: Places ``[4, S, N']``.
        one: Source of each pair ``[P]``.
        other: Target of each pair ``[P]``.
        radius: Range of each pair ``[P]``.
        slack_m: More than rounding takes from a distance.
    """
    copies = target.shape[1]
    pairs = np.arange(len(radius))
    if copies > 1:  # first all copies at once
        around, about = _around(source, slack_m), _around(target, slack_m)
        close = np.zeros(len(radius), np.bool_)
        for p in pairs:
            close[p] = _within(around, about, 0, 0, one[p], other[p], radius[p])
        pairs = np.flatnonzero(close)
    copy = np.empty(copies * len(pairs), np.int64)
    pair = np.empty(copies * len(pairs), np.int64)
    found = 0
    for s in range(copies):
        t = min(s, source.shape[1] - 1)
        for p in pairs:
            if _within(source, target, t, s, one[p], other[p], radius[p]):
                copy[found], pair[found] = s, p
                found += 1
    return copy[:found].copy(), pair[:found].copy()


@compiled
def runs_in_range(
    source: Floats,
    target: Floats,
    begin: Indices,
    length: Indices,
    pair: Indices,
    run: Indices,
    node: Indices,
    line: Indices,
    first: Indices,
    one: Indices,
    radius: Floats,
) -> tuple[Indices, Indices, Floats]:
    """Source, target and range of the edges of rows that have a run of candidate pairs each.

    See `forecast.models.reactions`; in the order of the rows, three times ``[E]``.

    Args:
        source: Places ``[4, 1, M]``.
        target: Places of the rows ``[4, 1, R]``.
        begin: Where each run begins.
        length: Its length.
        pair: Candidate pairs, run after run.
        run: Which one belongs to each row ``[R]``.
        node: Nodes that stand for the pairs' sources, a line for each view of them.
        line: Which line holds for each row ``[R]``.
        first: Where in it the nodes of its pairs begin ``[R]``.
        one: Source of each pair ``[P]``.
        radius: Range of each pair ``[P]``.
    """
    most = 0
    for r in range(len(run)):
        most += length[run[r]]
    sources, targets = np.empty(most, np.int64), np.empty(most, np.int64)
    ranges, found = np.empty(most, np.float32), 0
    for r in range(len(run)):
        for c in range(begin[run[r]], begin[run[r]] + length[run[r]]):
            p = pair[c]
            n = node[line[r], first[r] + one[p]]
            if _within(source, target, 0, 0, n, r, radius[p]):
                sources[found], targets[found], ranges[found] = n, r, radius[p]
                found += 1
    return sources[:found].copy(), targets[:found].copy(), ranges[:found].copy()


@compiled
def _around(places: Floats, slack_m: float) -> Floats:
    """Circles around each node's places in all copies ``[4, 1, N]``."""
    around = np.empty((4, 1, places.shape[2]), np.float32)
    for n in range(places.shape[2]):
        left = right = places[X, 0, n]
        low = high = places[Y, 0, n]
        ahead, spread = places[AHEAD, 0, n], places[SPREAD, 0, n]
        for s in range(1, places.shape[1]):
            left, right = min(left, places[X, s, n]), max(right, places[X, s, n])
            low, high = min(low, places[Y, s, n]), max(high, places[Y, s, n])
            ahead = max(ahead, places[AHEAD, s, n])
            spread = max(spread, places[SPREAD, s, n])
        around[X, 0, n], around[Y, 0, n] = HALF * (left + right), HALF * (low + high)
        around[AHEAD, 0, n] = ahead
        around[SPREAD, 0, n] = spread + HALF * math.hypot(right - left, high - low) + slack_m
    return around


@compiled
def _within(
    source: Floats, target: Floats, t: int, s: int, one: int, other: int, radius: float
) -> bool:
    x = source[X, t, one] - target[X, s, other]
    y = source[Y, t, one] - target[Y, s, other]
    limit = radius + max(source[AHEAD, t, one], target[AHEAD, s, other])
    limit += source[SPREAD, t, one] + target[SPREAD, s, other]
    return x * x + y * y < limit * limit
