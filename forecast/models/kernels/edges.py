"""Which pairs are within range; `forecast.models.edges` says what is computed."""

from __future__ import annotations

import math

import numpy as np

from forecast.models.kernels.arithmetic import HALF, Floats, Indices, compiled

_X, _Y, _AHEAD, _SPREAD = range(4)
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
def _around(places: Floats, slack_m: float) -> Floats:
    """Circles around each node's places in all copies ``[4, 1, N]``."""
    around = np.empty((4, 1, places.shape[2]), np.float32)
    for n in range(places.shape[2]):
        left = right = places[_X, 0, n]
        low = high = places[_Y, 0, n]
        ahead, spread = places[_AHEAD, 0, n], places[_SPREAD, 0, n]
        for s in range(1, places.shape[1]):
            left, right = min(left, places[_X, s, n]), max(right, places[_X, s, n])
            low, high = min(low, places[_Y, s, n]), max(high, places[_Y, s, n])
            ahead = max(ahead, places[_AHEAD, s, n])
            spread = max(spread, places[_SPREAD, s, n])
        around[_X, 0, n], around[_Y, 0, n] = HALF * (left + right), HALF * (low + high)
        around[_AHEAD, 0, n] = ahead
        around[_SPREAD, 0, n] = spread + HALF * math.hypot(right - left, high - low) + slack_m
    return around


@compiled
def _within(
    source: Floats, target: Floats, t: int, s: int, one: int, other: int, radius: float
) -> bool:
    x = source[_X, t, one] - target[_X, s, other]
    y = source[_Y, t, one] - target[_Y, s, other]
    limit = radius + max(source[_AHEAD, t, one], target[_AHEAD, s, other])
    limit += source[_SPREAD, t, one] + target[_SPREAD, s, other]
    return x * x + y * y < limit * limit
