"""Gradients of how all move in one step; `motion` has what they are the gradients of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from forecast.models.kernels.arithmetic import length, tanh
from forecast.models.kernels.motion import decided, meetings, pass_by
from forecast.models.machine_code import HALF, ONE, ZERO, Floats, Indices, Mask, compiled

Pair = tuple[float, float]


@compiled
def looks_back(
    position: Floats,
    velocity: Floats,
    facing: Floats,
    hand: Floats,
    present: Mask,
    drives: Mask,
    reach: Floats,
    back: Floats,
    ahead_s: float,
) -> tuple[Floats, Floats, Floats]:
    """Gradients of positions, velocities and facings, by that of `messages.looks`."""
    of_position, of_velocity = np.empty_like(position), np.empty_like(velocity)
    of_facing, (copies, agents) = np.empty_like(facing), hand.shape
    for s in range(copies):
        for n in range(agents):
            u, v = velocity[s, n]
            pace = math.sqrt(u * u + v * v)
            ahead = np.float32(ahead_s) * back[7, s, n] / pace if drives[n] and pace > 0 else ZERO
            of_position[s, n, 0], of_position[s, n, 1] = back[0, s, n], back[1, s, n]
            of_facing[s, n, 0], of_facing[s, n, 1] = back[2, s, n], back[3, s, n]
            of_velocity[s, n, 0] = back[5, s, n] + ahead * u
            of_velocity[s, n, 1] = back[6, s, n] + ahead * v
    return of_position, of_velocity, of_facing


@compiled
def motion_features_back(
    velocity: Floats,
    before: Floats,
    facing: Floats,
    yaw_rate: Floats,
    steady: Mask,
    unseen_s: Floats,
    hand: Floats,
    traits: Floats,
    gradient: Floats,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Gradients of the first four, by that of `motion.motion_features`."""
    of_velocity, of_before = np.empty_like(velocity), np.empty_like(before)
    of_facing, of_yaw_rate = np.empty_like(facing), np.empty_like(yaw_rate)
    copies, agents = hand.shape
    for s in range(copies):
        for n in range(agents):
            row, side, (x, y) = gradient[s * agents + n], hand[s, n], facing[s, n]
            u, v = velocity[s, n]
            du, dv = u - before[s, n, 0], v - before[s, n, 1]
            across, change_across = side * row[1], side * row[3]
            more_u, more_v = x * row[2] - y * change_across, y * row[2] + x * change_across
            pace = math.sqrt(u * u + v * v)
            faster = row[4] / pace if pace > ZERO else ZERO
            of_velocity[s, n, 0] = x * row[0] - y * across + more_u + faster * u
            of_velocity[s, n, 1] = y * row[0] + x * across + more_v + faster * v
            of_before[s, n, 0], of_before[s, n, 1] = -more_u, -more_v
            of_facing[s, n, 0] = u * row[0] + v * across + du * row[2] + dv * change_across
            of_facing[s, n, 1] = v * row[0] - u * across + dv * row[2] - du * change_across
            of_yaw_rate[s, n] = side * row[5]
    return of_velocity, of_before, of_facing, of_yaw_rate


@compiled
def pass_by_back(
    position: Floats,
    velocity: Floats,
    dt_s: Floats,
    one: Indices,
    other: Indices,
    gradient: Floats,
    gap_m: float,
    rounds: int,
    soonest: float,
    tiny: float,
) -> tuple[Floats, Floats]:
    """Gradients of positions and velocities ``[N, 2]``, by that of `motion.pass_by`."""
    of_position, of_velocity = np.zeros_like(position), gradient.copy()
    for last in range(rounds - 1, -1, -1):
        passing = pass_by(position, velocity, dt_s, one, other, gap_m, last, soonest, tiny)
        by = of_velocity.copy()
        for e in range(len(one)):
            a, b = one[e], other[e]
            x, y = position[a, 0] - position[b, 0], position[a, 1] - position[b, 1]
            step_x = passing[a, 0] * dt_s[a] - passing[b, 0] * dt_s[b]
            step_y = passing[a, 1] * dt_s[a] - passing[b, 1] * dt_s[b]
            given = by[a, 0] - by[b, 0], by[a, 1] - by[b, 1]
            offset, step = _aside_back(x, y, step_x, step_y, dt_s[a], given, gap_m, soonest, tiny)
            for axis in range(2):
                of_position[a, axis] += offset[axis]
                of_position[b, axis] -= offset[axis]
                of_velocity[a, axis] += dt_s[a] * step[axis]
                of_velocity[b, axis] -= dt_s[b] * step[axis]
    return of_position, of_velocity


@compiled
def _aside_back(
    x: float,
    y: float,
    step_x: float,
    step_y: float,
    dt_s: float,
    given: Pair,
    gap_m: float,
    soonest: float,
    tiny: float,
) -> tuple[Pair, Pair]:
    """Gradients of an offset and a step, by that of the velocity with which one gives way."""
    least, gap, first = np.float32(tiny), np.float32(gap_m), np.float32(soonest)
    speed2 = step_x * step_x + step_y * step_y
    way2: Any = max(speed2, least)
    unbound = -(x * step_x + y * step_y) / way2
    share = min(max(unbound, ZERO), ONE)
    near_x, near_y = x + share * step_x, y + share * step_y
    now, near = length(x, y, least), length(near_x, near_y, least)
    missing = min(now, gap) - near
    if missing <= ZERO:
        return (ZERO * x, ZERO * y), (ZERO * x, ZERO * y)
    aside_x, aside_y = near_x - least * step_y, near_y + least * step_x
    aside, late = length(aside_x, aside_y, least), max(first, share)
    per_missing = HALF / (late * dt_s * aside)
    of_yielding = given[0] * aside_x + given[1] * aside_y
    of_missing, shorter = of_yielding * per_missing, -of_yielding * per_missing * missing
    turned = shorter / (aside * aside) if aside > least else ZERO
    of_aside_x = given[0] * per_missing * missing + turned * aside_x
    of_aside_y = given[1] * per_missing * missing + turned * aside_y
    nearer = of_missing / near if near > least else ZERO
    of_near_x, of_near_y = of_aside_x - nearer * near_x, of_aside_y - nearer * near_y
    farther = of_missing / now if least < now < gap else ZERO
    of_share = of_near_x * step_x + of_near_y * step_y
    if share > first:
        of_share += shorter / late
    of_approach = -of_share / way2 if unbound == share else ZERO
    twice = 2 * of_approach * unbound if speed2 > least else ZERO
    offset = (
        of_near_x + farther * x + of_approach * step_x,
        of_near_y + farther * y + of_approach * step_y,
    )
    step = (
        least * of_aside_y + share * of_near_x + of_approach * x + twice * step_x,
        -least * of_aside_x + share * of_near_y + of_approach * y + twice * step_y,
    )
    return offset, step


@compiled
def move_back(
    position: Floats,
    velocity: Floats,
    facing: Floats,
    yaw_rate: Floats,
    change: Floats,
    drives: Mask,
    dt_s: Floats,
    hand: Floats,
    one: Indices,
    other: Indices,
    by_position: Floats,
    by_velocity: Floats,
    by_facing: Floats,
    by_yaw_rate: Floats,
    gap_m: float,
    slack_m: float,
    rounds: int,
    soonest: float,
    tiny: float,
    eagerness: float,
    shortest: float,
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Gradients of the first five, by those of `motion.move`."""
    shape, flat = position.shape, (-1, 2)
    new, wanted = decided(velocity, facing, change, dt_s, hand)
    first, second, dt = meetings(position, wanted, dt_s, one, other, gap_m, slack_m)
    people = position.reshape(flat), wanted.reshape(flat), dt, first, second
    passing = pass_by(*people, gap_m, rounds, soonest, tiny).reshape(shape)
    now = velocity, facing, yaw_rate, new, passing, drives, dt_s, hand
    by = by_position, by_velocity, by_facing, by_yaw_rate
    stepped = _step_on_back(*now, *by, eagerness, shortest)
    of_passing, of_velocity, of_facing, of_yaw_rate, of_change = stepped
    given = of_passing.reshape(flat)
    of_position, of_wanted = pass_by_back(*people, given, gap_m, rounds, soonest, tiny)
    of_position = of_position.reshape(shape) + by_position
    of_wanted = of_wanted.reshape(shape)
    _decided_back(of_wanted, facing, new, dt_s, hand, of_facing, of_change)
    return of_position, of_velocity + of_wanted, of_facing, of_yaw_rate, of_change


@compiled
def _decided_back(
    of_wanted: Floats,
    facing: Floats,
    new: Floats,
    dt_s: Floats,
    hand: Floats,
    of_facing: Floats,
    of_change: Floats,
) -> None:
    """Adds to gradients what is due to wanted velocities; changes are then per second."""
    for s in range(len(hand)):
        for n in range(len(dt_s)):
            (x, y), (u, v) = _pair(facing, s, n), _pair(of_wanted, s, n)
            along, aside = new[s, n, 0], hand[s, n] * new[s, n, 1]
            of_change[s, n, 0] = dt_s[n] * (of_change[s, n, 0] + u * x + v * y)
            of_change[s, n, 1] = dt_s[n] * (of_change[s, n, 1] + hand[s, n] * (v * x - u * y))
            of_facing[s, n, 0] += u * along + v * aside
            of_facing[s, n, 1] += v * along - u * aside


@compiled
def _step_on_back(
    velocity: Floats,
    facing: Floats,
    yaw_rate: Floats,
    new: Floats,
    passing: Floats,
    drives: Mask,
    dt_s: Floats,
    hand: Floats,
    by_position: Floats,
    by_velocity: Floats,
    by_facing: Floats,
    by_yaw_rate: Floats,
    eagerness: float,
    shortest: float,
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Gradients of passing velocities, velocities, facings, yaw rates and changes."""
    of_passing, of_velocity = np.zeros_like(passing), np.zeros_like(velocity)
    of_facing, of_yaw_rate = np.empty_like(facing), np.zeros_like(yaw_rate)
    of_change = np.zeros_like(new)
    for s in range(len(hand)):
        for n in range(len(dt_s)):
            x, y = _pair(facing, s, n)
            by_u = by_velocity[s, n, 0] + dt_s[n] * by_position[s, n, 0]
            by_v = by_velocity[s, n, 1] + dt_s[n] * by_position[s, n, 1]
            by, out = (by_u, by_v), _pair(by_facing, s, n)
            if drives[n]:
                turning = yaw_rate[s, n] + hand[s, n] * new[s, n, 1]
                then = turning, new[s, n, 0], by_yaw_rate[s, n]
                mine = _pair(velocity, s, n), (x, y), dt_s[n]
                before, faces, faster, turned = _drive_back(*mine, *then, by, out)
                of_velocity[s, n, 0], of_velocity[s, n, 1] = before
                of_facing[s, n, 0], of_facing[s, n, 1] = faces
                of_change[s, n, 0], of_change[s, n, 1] = faster, hand[s, n] * turned
                of_yaw_rate[s, n] = turned
            else:
                to = _pair(passing, s, n)
                walked, faces = _walk_back(to, (x, y), dt_s[n], by, out, eagerness, shortest)
                of_passing[s, n, 0], of_passing[s, n, 1] = walked
                of_facing[s, n, 0], of_facing[s, n, 1] = faces
    return of_passing, of_velocity, of_facing, of_yaw_rate, of_change


@compiled
def _walk_back(
    passing: Pair, facing: Pair, dt_s: float, by: Pair, out: Pair, eagerness: float, shortest: float
) -> tuple[Pair, Pair]:
    """Gradients of a velocity and a facing, by those of it with its step and of the new facing."""
    eager: Any = np.float32(eagerness) * dt_s
    x, y = facing[0] + eager * passing[0], facing[1] + eager * passing[1]
    norm, (of_x, of_y) = math.sqrt(x * x + y * y), out
    if norm <= np.float32(shortest):
        return by, out
    radial = (of_x * x + of_y * y) / (norm * norm)
    of_x, of_y = (of_x - radial * x) / norm, (of_y - radial * y) / norm
    return (by[0] + eager * of_x, by[1] + eager * of_y), (of_x, of_y)


@compiled
def _drive_back(
    velocity: Pair,
    facing: Pair,
    dt_s: float,
    turning: float,
    faster: float,
    by_turning: float,
    by: Pair,
    out: Pair,
) -> tuple[Pair, Pair, float, float]:
    """Gradients of a velocity, a facing, the change of speed and the yaw rate."""
    (u, v), (x, y), (of_u, of_v), (of_out_x, of_out_y) = velocity, facing, by, out
    pace = math.sqrt(u * u + v * v)
    way = -ONE if u * x + v * y < ZERO else ONE
    speed = way * pace + faster
    moves = tanh(abs(speed))
    half = HALF * dt_s * turning * moves
    cos, sin = math.cos(half), math.sin(half)
    middle_x, middle_y = x * cos - y * sin, y * cos + x * sin
    out_x, out_y = middle_x * cos - middle_y * sin, middle_y * cos + middle_x * sin
    of_x = speed * of_u + of_out_x * cos + of_out_y * sin
    of_y = speed * of_v + of_out_y * cos - of_out_x * sin
    of_half = of_out_y * out_x - of_out_x * out_y + of_y * middle_x - of_x * middle_y
    stirring = HALF * dt_s * turning * of_half * (ONE - moves * moves)
    of_speed = of_u * middle_x + of_v * middle_y + (stirring if speed > ZERO else -stirring)
    along = way * of_speed / pace if pace > ZERO else ZERO * pace
    of_facing = of_x * cos + of_y * sin, of_y * cos - of_x * sin
    of_turning = by_turning + HALF * dt_s * moves * of_half
    return (along * u, along * v), of_facing, of_speed, of_turning


@compiled
def _pair(values: Floats, s: int, n: int) -> Pair:
    return values[s, n, 0], values[s, n, 1]
