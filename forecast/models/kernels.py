"""Loops over edges as machine code, for imagining on the processor.

`forecast.models.edges`, `forecast.models.encoder` and `forecast.models.kinematics` say what is
computed, in passes over long vectors that gradients and any device can follow. Where neither is
asked for, the same is done here edge by edge, in one pass, with nothing written down in between.
What a node gets depends on its own edges alone, whatever else is computed beside it.

Numba compiles a loop when it is first called and keeps it for later processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

_ZERO: Any = np.float32(0)
_HALF: Any = np.float32(0.5)
_ONE: Any = np.float32(1)
_TANH_IS_ONE: Any = np.float32(7.90531110763549805)
_X, _Y, _AHEAD, _SPREAD = range(4)
"""Rows of places: where nodes are, what extends the range of a pair if it is the larger one of
both, and how far from there they may be."""
_FACING_X, _FACING_Y, _HAND, _VELOCITY_X, _VELOCITY_Y, _SEES_AHEAD, _REACH, _PRESENT = range(2, 10)
"""Rows of `forecast.models.encoder.Interaction.looks` after x and y."""


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Machine code that runs without the interpreter's lock; NaN stays NaN.

    Sums keep their order: the compiler makes a loop twice, over vectors and by element, and takes
    the second where arrays lie close together. Both must round alike.
    """
    free = {"contract", "nsz", "arcp", "afn"}
    return numba.njit(nogil=True, cache=True, fastmath=free, error_model="numpy")(function)


def arrays(*values: Tensor) -> list[NDArray[Any]]:
    """Tensors as arrays that kernels take, without a copy where they are contiguous."""
    return [value.detach().contiguous().numpy() for value in values]


@_compiled
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


@_compiled
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
        around[_X, 0, n], around[_Y, 0, n] = _HALF * (left + right), _HALF * (low + high)
        around[_AHEAD, 0, n] = ahead
        around[_SPREAD, 0, n] = spread + _HALF * math.hypot(right - left, high - low) + slack_m
    return around


@_compiled
def _within(
    source: Floats, target: Floats, t: int, s: int, one: int, other: int, radius: float
) -> bool:
    x = source[_X, t, one] - target[_X, s, other]
    y = source[_Y, t, one] - target[_Y, s, other]
    limit = radius + max(source[_AHEAD, t, one], target[_AHEAD, s, other])
    limit += source[_SPREAD, t, one] + target[_SPREAD, s, other]
    return x * x + y * y < limit * limit


@_compiled
def from_agents(
    table: Floats,
    source: Indices,
    target: Indices,
    radius: Floats,
    told: Floats,
    asked: Floats,
    weight: Floats,
    still_mps: float,
    longest_s: float,
) -> Floats:
    """Mean messages ``[R, H]`` from agents to agents; see `encoder.Interaction.from_agents`.

    Args:
        table: What is seen of M agents ``[10, M]``; the first R of them listen.
        source: Who tells, by edge ``[E]``.
        target: Who listens, by edge ``[E]``.
        radius: Range by edge, as far as its agents do not extend it ``[E]``.
        told: What each tells ``[M, H]``.
        asked: What each asks ``[R, H]``.
        weight: Of the features of an edge ``[10, H]``.
        still_mps: Speed at which two hardly approach each other.
        longest_s: The longest that they may be thought to do so.
    """
    still2, longest = np.float32(still_mps * still_mps), np.float32(longest_s)
    mean, heard = np.zeros_like(asked), np.ones(len(asked), np.float32)
    said = np.empty(asked.shape[1], np.float32)
    for e in range(len(source)):
        n, m = source[e], target[e]
        x, y = _seen_from(table, m, table[_X, n] - table[_X, m], table[_Y, n] - table[_Y, m])
        distance = math.sqrt(x * x + y * y)
        ahead = max(table[_SEES_AHEAD, n], table[_SEES_AHEAD, m])
        fade = _fade(distance, radius[e] + ahead) * table[_PRESENT, n]
        facing_x, facing_y = _seen_from(table, m, table[_FACING_X, n], table[_FACING_Y, n])
        _say(said, told, n, asked, m, weight, x, y, distance, facing_x, facing_y)
        u, v = _seen_from(
            table,
            m,
            table[_VELOCITY_X, n] - table[_VELOCITY_X, m],
            table[_VELOCITY_Y, n] - table[_VELOCITY_Y, m],
        )
        wait = -(x * u + y * v) / (u * u + v * v + still2)
        wait = min(max(wait, _ZERO), longest)
        nearest = math.hypot(x + u * wait, y + v * wait)
        bodies = table[_REACH, n] + table[_REACH, m]
        now, then = math.exp(min(bodies - distance, _ONE)), math.exp(min(bodies - nearest, _ONE))
        soon = _ONE / (_ONE + wait)
        for h in range(len(said)):
            said[h] += (
                u * weight[5, h]
                + v * weight[6, h]
                + now * weight[7, h]
                + then * weight[8, h]
                + soon * weight[9, h]
            )
        heard[m] += fade
        _hear(mean, m, said, fade)
    return mean / heard.reshape(-1, 1)


@_compiled
def from_map(
    frames: Floats,
    poses: Floats,
    source: Indices,
    target: Indices,
    radius: Floats,
    told: Floats,
    asked: Floats,
    weight: Floats,
) -> Floats:
    """Mean messages ``[R, H]`` from the map; see `encoder.Interaction.from_map`.

    Args:
        frames: Frames of the agents ``[5, R]``.
        poses: Middle points and directions of the pieces ``[4, M]``.
        source: Which piece tells, by edge ``[E]``.
        target: Who listens, by edge ``[E]``.
        radius: Range by edge ``[E]``.
        told: What each piece tells who looks with the left hand, then with the right one
            ``[2 * M, H]``.
        asked: What each agent asks ``[R, H]``.
        weight: Of the features of an edge ``[5, H]``.
    """
    mean, heard = np.zeros_like(asked), np.ones(len(asked), np.float32)
    said = np.empty(asked.shape[1], np.float32)
    for e in range(len(source)):
        n, m = source[e], target[e]
        x, y = _seen_from(frames, m, poses[0, n] - frames[_X, m], poses[1, n] - frames[_Y, m])
        distance = math.sqrt(x * x + y * y)
        along, across = _seen_from(frames, m, poses[2, n], poses[3, n])
        teller = n + poses.shape[1] if frames[_HAND, m] < 0 else n
        _say(said, told, teller, asked, m, weight, x, y, distance, along, across)
        fade = _fade(distance, radius[e])
        heard[m] += fade
        _hear(mean, m, said, fade)
    return mean / heard.reshape(-1, 1)


@_compiled
def _seen_from(frames: Floats, m: int, x: float, y: float) -> tuple[float, float]:
    """A vector in the frame of an agent."""
    facing_x, facing_y = frames[_FACING_X, m], frames[_FACING_Y, m]
    return facing_x * x + facing_y * y, frames[_HAND, m] * (facing_x * y - facing_y * x)


@_compiled
def _fade(distance: float, radius: float) -> float:
    share = distance / radius
    left = max(_ONE - share * share, _ZERO)
    return left * left


@_compiled
def _say(
    said: Floats,
    told: Floats,
    n: int,
    asked: Floats,
    m: int,
    weight: Floats,
    x: float,
    y: float,
    distance: float,
    direction_x: float,
    direction_y: float,
) -> None:
    """What an edge says of the pose alone, by offset and direction, before its nonlinearity."""
    scale = _ONE / (_ONE + distance)
    along, across, far = x * scale, y * scale, math.log(_ONE + distance)
    for h in range(len(said)):  # all in one, which is what vectorises well
        said[h] = (
            told[n, h]
            + asked[m, h]
            + along * weight[0, h]
            + across * weight[1, h]
            + far * weight[2, h]
            + direction_x * weight[3, h]
            + direction_y * weight[4, h]
        )


@_compiled
def _hear(mean: Floats, m: int, said: Floats, fade: float) -> None:
    """Adds what an edge says to what its target hears."""
    for h in range(len(said)):
        mean[m, h] += fade * _silu(said[h])


@_compiled
def recur(
    from_input: Floats, from_before: Floats, bias: Floats, bias_before: Floats, before: Floats
) -> Floats:
    """The next state ``[N, D]`` of a gated recurrent unit; see `torch.nn.GRUCell`.

    Args:
        from_input: Its input times the weights of reset, update and new gate ``[N, 3 * D]``.
        from_before: Its state times theirs.
        bias: Of the first ``[3 * D]``.
        bias_before: Of the second.
        before: Its state ``[N, D]``.
    """
    after, width = np.empty_like(before), before.shape[1]
    for n in range(len(before)):
        for d in range(width):
            u, v = d + width, d + 2 * width
            reset = _sigmoid(from_input[n, d] + from_before[n, d] + bias[d] + bias_before[d])
            keep = _sigmoid(from_input[n, u] + from_before[n, u] + bias[u] + bias_before[u])
            new = from_input[n, v] + bias[v] + reset * (from_before[n, v] + bias_before[v])
            new = _tanh(new)
            after[n, d] = new + keep * (before[n, d] - new)
    return after


@_compiled
def _silu(x: float) -> float:
    return x * _sigmoid(x)


@_compiled
def _sigmoid(x: float) -> float:
    return _HALF + _HALF * _tanh(_HALF * x)


@_compiled
def _tanh(x: Any) -> Any:
    """A ratio of polynomials that is right to float32's rounding; coefficients as in Eigen."""
    x = min(max(x, -_TANH_IS_ONE), _TANH_IS_ONE)
    q = x * x
    above = np.float32(-2.76076847742355e-16)
    above = above * q + np.float32(2.00018790482477e-13)
    above = above * q + np.float32(-8.60467152213735e-11)
    above = above * q + np.float32(5.12229709037114e-08)
    above = above * q + np.float32(1.48572235717979e-05)
    above = above * q + np.float32(6.37261928875436e-04)
    above = above * q + np.float32(4.89352455891786e-03)
    below = np.float32(1.19825839466702e-06)
    below = below * q + np.float32(1.18534705686654e-04)
    below = below * q + np.float32(2.26843463243900e-03)
    below = below * q + np.float32(4.89352518554385e-03)
    return x * above / below


@_compiled
def pass_by(
    position: Floats,
    velocity: Floats,
    dt_s: Floats,
    one: Indices,
    other: Indices,
    gap_m: float,
    rounds: int,
    soonest: float,
    tiny: float,
) -> Floats:
    """Velocities ``[N, 2]`` of people who pass one another; see `kinematics.pass_by`."""
    least, gap, first = np.float32(tiny), np.float32(gap_m), np.float32(soonest)
    passing = velocity.copy()
    away = np.zeros((len(one), 2), np.float32)
    for _ in range(rounds):
        for e in range(len(one)):
            a, b = one[e], other[e]
            x, y = position[a, 0] - position[b, 0], position[a, 1] - position[b, 1]
            step_x = passing[a, 0] * dt_s[a] - passing[b, 0] * dt_s[b]
            step_y = passing[a, 1] * dt_s[a] - passing[b, 1] * dt_s[b]
            way2 = max(step_x * step_x + step_y * step_y, least)
            share = min(max(-(x * step_x + y * step_y) / way2, _ZERO), _ONE)
            near_x, near_y = x + share * step_x, y + share * step_y
            missing = min(_length(x, y, least), gap) - _length(near_x, near_y, least)
            missing = max(missing, _ZERO)
            aside_x, aside_y = near_x - least * step_y, near_y + least * step_x  # also if head on
            yielding = _HALF * missing / (max(share, first) * dt_s[a])
            yielding /= _length(aside_x, aside_y, least)
            away[e, 0], away[e, 1] = aside_x * yielding, aside_y * yielding
        for e in range(len(one)):
            for axis in range(2):
                passing[one[e], axis] += away[e, axis]
                passing[other[e], axis] -= away[e, axis]
    return passing


@_compiled
def _length(x: float, y: float, tiny: float) -> float:
    return math.sqrt(max(x * x + y * y, tiny * tiny))
