"""Messages for those who learn: what `messages` computes in steps that have gradients."""

from __future__ import annotations

import math

import numpy as np

from forecast.models.kernels.arithmetic import sigmoid
from forecast.models.kernels.edges import X, Y
from forecast.models.kernels.messages import (
    FACING_X,
    FACING_Y,
    HAND,
    PRESENT,
    REACH,
    SEES_AHEAD,
    VELOCITY_X,
    encounter,
    hear,
    seen_from,
    sight,
    teller,
)
from forecast.models.machine_code import ONE, ZERO, Floats, Indices, compiled


@compiled
def encounters(
    table: Floats,
    source: Indices,
    target: Indices,
    radius: Floats,
    still_mps: float,
    longest_s: float,
) -> tuple[Floats, Floats]:
    """Features ``[E, 10]`` and weights ``[E]`` of edges; arguments as `messages.from_agents`."""
    features, fade = np.empty((len(source), 10), table.dtype), np.empty(len(source), table.dtype)
    for e in range(len(source)):
        n, m = source[e], target[e]
        fade[e], pose, closing = encounter(table, n, m, radius[e], still_mps, longest_s)
        for k in range(5):
            features[e, k], features[e, 5 + k] = pose[k], closing[k]
    return features, fade


@compiled
def sights(
    frames: Floats, poses: Floats, source: Indices, target: Indices, radius: Floats
) -> tuple[Floats, Floats, Indices]:
    """Features ``[E, 5]``, weights and tellers ``[E]``; arguments as `messages.from_map`."""
    features, fade = np.empty((len(source), 5), frames.dtype), np.empty(len(source), frames.dtype)
    tellers = np.empty_like(source)
    for e in range(len(source)):
        n, m = source[e], target[e]
        fade[e], pose = sight(frames, poses, n, m, radius[e])
        tellers[e] = teller(frames, poses, n, m)
        for k in range(5):
            features[e, k] = pose[k]
    return features, fade, tellers


@compiled
def gather(
    told: Floats,
    asked: Floats,
    weight: Floats,
    features: Floats,
    fade: Floats,
    source: Indices,
    target: Indices,
) -> tuple[Floats, Floats]:
    """Mean messages ``[R, H]``, and how many each mean is of ``[R]``; see `encoder.Messages`.

    Args:
        told: What sources tell ``[M, H]``.
        asked: What targets ask ``[R, H]``.
        weight: Of the features ``[F, H]``.
        features: Of the edges ``[E, F]``.
        fade: Weight of each ``[E]``.
        source: Who tells ``[E]``.
        target: Who listens ``[E]``.
    """
    mean, heard = np.zeros_like(asked), np.ones(len(asked), asked.dtype)
    said = np.empty(asked.shape[1], asked.dtype)
    for e in range(len(source)):
        _say(said, told, source[e], asked, target[e], weight, features, e)
        heard[target[e]] += fade[e]
        hear(mean, target[e], said, fade[e])
    return mean / heard.reshape(-1, 1), heard


@compiled
def gather_back(
    told: Floats,
    asked: Floats,
    weight: Floats,
    features: Floats,
    fade: Floats,
    source: Indices,
    target: Indices,
    mean: Floats,
    heard: Floats,
    gradient: Floats,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Gradients of what is told, asked and said ``[E, H]``, and of the weights of edges ``[E]``.

    Args:
        told: As `gather`, as all up to ``target``.
        asked: As `gather`.
        weight: As `gather`.
        features: As `gather`.
        fade: As `gather`.
        source: As `gather`.
        target: As `gather`.
        mean: Mean messages ``[R, H]``.
        heard: How many each is the mean of ``[R]``.
        gradient: Of the mean messages ``[R, H]``.
    """
    of_told, of_asked, of_fade = np.zeros_like(told), np.zeros_like(asked), np.empty_like(fade)
    of_said, share = np.empty((len(fade), asked.shape[1]), asked.dtype), np.empty_like(gradient)
    usual, said = np.empty_like(heard), np.empty(asked.shape[1], asked.dtype)
    for m in range(len(mean)):
        for h in range(len(said)):
            share[m, h] = gradient[m, h] / heard[m]
            said[h] = share[m, h] * mean[m, h]
        usual[m] = _sum(said)
    for e in range(len(fade)):
        n, m, faded = source[e], target[e], fade[e]
        _say(said, told, n, asked, m, weight, features, e)
        of_fade[e] = _answer(of_said, e, said, share, m, faded) - usual[m]
        _add(of_told, n, of_said, e)
        _add(of_asked, m, of_said, e)
    return of_told, of_asked, of_said, of_fade


@compiled
def _say(
    said: Floats,
    told: Floats,
    n: int,
    asked: Floats,
    m: int,
    weight: Floats,
    about: Floats,
    e: int,
) -> None:
    for h in range(len(said)):
        said[h] = told[n, h] + asked[m, h]
    for k in range(len(weight)):
        for h in range(len(said)):
            said[h] += about[e, k] * weight[k, h]


@compiled
def _answer(of_said: Floats, e: int, said: Floats, share: Floats, m: int, faded: float) -> float:
    """Fills in the gradient of what an edge says; returns what its message has to do with it."""
    for h in range(len(said)):
        gate = sigmoid(said[h])
        slope = gate * (ONE + said[h] * (ONE - gate))
        of_said[e, h] = faded * share[m, h] * slope
        said[h] *= gate * share[m, h]
    return _sum(said)


@compiled
def _sum(values: Floats) -> float:
    total = ZERO * values[0]
    for h in range(len(values)):
        total += values[h]
    return total


@compiled
def _add(values: Floats, n: int, more: Floats, e: int) -> None:
    for h in range(more.shape[1]):
        values[n, h] += more[e, h]


@compiled
def encounters_back(
    table: Floats,
    source: Indices,
    target: Indices,
    radius: Floats,
    features: Floats,
    of_features: Floats,
    of_fade: Floats,
    still_mps: float,
    longest_s: float,
) -> Floats:
    """Gradient of what is seen of agents ``[10, M]``, by those of features and weights of edges."""
    back = np.zeros_like(table)
    for e in range(len(source)):
        n, m, by = source[e], target[e], of_features[e]
        x, y = seen_from(table, m, table[X, n] - table[X, m], table[Y, n] - table[Y, m])
        sees = n if table[SEES_AHEAD, n] > table[SEES_AHEAD, m] else m
        limit = radius[e] + table[SEES_AHEAD, sees]
        distance, faded = math.sqrt(x * x + y * y), of_fade[e] * table[PRESENT, n]
        nearer, wider = _fade_out_back(distance, limit, faded)
        back[SEES_AHEAD, sees] += wider
        bodies, about = table[REACH, n] + table[REACH, m], features[e]
        of_x, of_y, of_u, of_v = _meeting_back(x, y, bodies, about, by, still_mps, longest_s)
        if bodies - distance < ONE:
            nearer -= by[7] * about[7]
        offset_x, offset_y = _pose_back(x, y, distance, by, nearer)
        _difference_back(back, table, n, m, X, of_x + offset_x, of_y + offset_y)
        _difference_back(back, table, n, m, VELOCITY_X, of_u, of_v)
        facing_x, facing_y = table[FACING_X, n], table[FACING_Y, n]
        facing_x, facing_y = _seen_back(back, table, m, facing_x, facing_y, by[3], by[4])
        back[FACING_X, n] += facing_x
        back[FACING_Y, n] += facing_y
    return back


@compiled
def sights_back(
    frames: Floats,
    poses: Floats,
    source: Indices,
    target: Indices,
    radius: Floats,
    of_features: Floats,
    of_fade: Floats,
) -> Floats:
    """Gradient of the frames of agents ``[5, R]``, by those of features and weights of edges."""
    back = np.zeros_like(frames)
    for e in range(len(source)):
        n, m, by = source[e], target[e], of_features[e]
        offset_x, offset_y = poses[0, n] - frames[X, m], poses[1, n] - frames[Y, m]
        x, y = seen_from(frames, m, offset_x, offset_y)
        distance = math.sqrt(x * x + y * y)
        nearer, _ = _fade_out_back(distance, radius[e], of_fade[e])
        along, across = _pose_back(x, y, distance, by, nearer)
        offset_x, offset_y = _seen_back(back, frames, m, offset_x, offset_y, along, across)
        back[X, m] -= offset_x
        back[Y, m] -= offset_y
        _seen_back(back, frames, m, poses[2, n], poses[3, n], by[3], by[4])
    return back


@compiled
def _meeting_back(
    x: float,
    y: float,
    bodies: float,
    about: Floats,
    by: Floats,
    still_mps: float,
    longest_s: float,
) -> tuple[float, float, float, float]:
    """Gradients of an offset and of how it changes, by those of when and how near two pass."""
    u, v, then, soon = about[5], about[6], about[8], about[9]
    speed2 = u * u + v * v + np.float32(still_mps * still_mps)
    unbound = -(x * u + y * v) / speed2
    wait = min(max(unbound, ZERO), np.float32(longest_s))
    near_x, near_y = x + u * wait, y + v * wait
    nearest, of_x, of_y = math.hypot(near_x, near_y), ZERO, ZERO
    if nearest > ZERO and bodies - nearest < ONE:
        nearer = -by[8] * then / nearest
        of_x, of_y = nearer * near_x, nearer * near_y
    of_u, of_v = by[5] + of_x * wait, by[6] + of_y * wait
    if unbound == wait:
        of_approach = -(of_x * u + of_y * v - by[9] * soon * soon) / speed2
        of_speed2 = of_approach * unbound
        of_x, of_y = of_x + of_approach * u, of_y + of_approach * v
        of_u += of_approach * x + of_speed2 * (u + u)
        of_v += of_approach * y + of_speed2 * (v + v)
    return of_x, of_y, of_u, of_v


@compiled
def _fade_out_back(distance: float, radius: float, gradient: float) -> tuple[float, float]:
    """Gradients of the distance and of the radius."""
    share = distance / radius
    steep = -4 * gradient * max(ONE - share * share, ZERO) * share / radius
    return steep, -steep * share


@compiled
def _pose_back(
    x: float, y: float, distance: float, by: Floats, of_distance: float
) -> tuple[float, float]:
    """Gradients of an offset, by those of its features and of its length."""
    scale = ONE / (ONE + distance)
    of_distance += scale * by[2] - scale * scale * (x * by[0] + y * by[1])
    towards = of_distance / distance if distance > ZERO else ZERO
    return scale * by[0] + towards * x, scale * by[1] + towards * y


@compiled
def _difference_back(
    back: Floats, table: Floats, n: int, m: int, row: int, along: float, across: float
) -> None:
    """Adds the gradients of what ``n`` has more of than ``m``, as seen by ``m``."""
    x, y = table[row, n] - table[row, m], table[row + 1, n] - table[row + 1, m]
    of_x, of_y = _seen_back(back, table, m, x, y, along, across)
    back[row, n] += of_x
    back[row + 1, n] += of_y
    back[row, m] -= of_x
    back[row + 1, m] -= of_y


@compiled
def _seen_back(
    back: Floats, frames: Floats, m: int, x: float, y: float, along: float, across: float
) -> tuple[float, float]:
    """Gradient of a vector, by that of it as seen by ``m``, whose facing's is added."""
    facing_x, facing_y, across = frames[FACING_X, m], frames[FACING_Y, m], across * frames[HAND, m]
    back[FACING_X, m] += x * along + y * across
    back[FACING_Y, m] += y * along - x * across
    return facing_x * along - facing_y * across, facing_y * along + facing_x * across
