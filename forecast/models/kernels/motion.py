"""How all move in one step; `forecast.models.kinematics` says what is computed."""

from __future__ import annotations

import math

import numpy as np

from forecast.models.kernels.arithmetic import length, tanh
from forecast.models.kernels.edges import SPREAD, X, Y, pairs_in_range
from forecast.models.machine_code import HALF, ONE, ZERO, Floats, Indices, Mask, compiled


@compiled
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
    away = np.zeros((len(one), 2), velocity.dtype)
    for _ in range(rounds):
        for e in range(len(one)):
            a, b = one[e], other[e]
            x, y = position[a, 0] - position[b, 0], position[a, 1] - position[b, 1]
            step_x = passing[a, 0] * dt_s[a] - passing[b, 0] * dt_s[b]
            step_y = passing[a, 1] * dt_s[a] - passing[b, 1] * dt_s[b]
            way2 = max(step_x * step_x + step_y * step_y, least)
            share = min(max(-(x * step_x + y * step_y) / way2, ZERO), ONE)
            near_x, near_y = x + share * step_x, y + share * step_y
            missing = min(length(x, y, least), gap) - length(near_x, near_y, least)
            missing = max(missing, ZERO)
            aside_x, aside_y = near_x - least * step_y, near_y + least * step_x  # also if head on
            yielding = HALF * missing / (max(share, first) * dt_s[a])
            yielding /= length(aside_x, aside_y, least)
            away[e, 0], away[e, 1] = aside_x * yielding, aside_y * yielding
        for e in range(len(one)):
            for axis in range(2):
                passing[one[e], axis] += away[e, axis]
                passing[other[e], axis] -= away[e, axis]
    return passing


@compiled
def give_way(
    position: Floats,
    wanted: Floats,
    dt_s: Floats,
    one: Indices,
    other: Indices,
    gap_m: float,
    slack_m: float,
    rounds: int,
    soonest: float,
    tiny: float,
) -> Floats:
    """`pass_by` of those who may meet within the step, in all copies of the world ``[S, N, 2]``.

    Args:
        position: ``[S, N, 2]``.
        wanted: Velocities they are up to ``[S, N, 2]``.
        dt_s: Step length ``[N]``.
        one: Of each pair of people ``[P]``.
        other: The other one ``[P]``.
        gap_m: Least distance of two centres.
        slack_m: More than rounding takes from a distance.
        rounds: How often all give way.
        soonest: Share of the step from which on giving way begins.
        tiny: Length below which nothing is divided by.
    """
    first, second, dt = meetings(position, wanted, dt_s, one, other, gap_m, slack_m)
    flat = position.reshape(-1, 2), wanted.reshape(-1, 2)
    passing = pass_by(flat[0], flat[1], dt, first, second, gap_m, rounds, soonest, tiny)
    return passing.reshape(wanted.shape)


@compiled
def meetings(
    position: Floats,
    wanted: Floats,
    dt_s: Floats,
    one: Indices,
    other: Indices,
    gap_m: float,
    slack_m: float,
) -> tuple[Indices, Indices, Floats]:
    """Who may meet whom within the step ``[E]``, and all step lengths ``[S * N]``: `give_way`'s."""
    copies, agents = position.shape[:2]
    places = np.zeros((4, copies, agents), position.dtype)
    dt = np.empty(copies * agents, position.dtype)
    for s in range(copies):
        for n in range(agents):
            u, v = wanted[s, n]
            places[X, s, n], places[Y, s, n] = position[s, n]
            places[SPREAD, s, n] = math.sqrt(u * u + v * v) * dt_s[n]
            dt[s * agents + n] = dt_s[n]
    gap = np.full(len(one), gap_m, position.dtype)
    copy, pair = pairs_in_range(places, places, one, other, gap, slack_m)
    return copy * agents + one[pair], copy * agents + other[pair], dt


@compiled
def give_way_near(
    position: Floats,
    wanted: Floats,
    dt_s: Floats,
    walks: Mask,
    source: Indices,
    target: Indices,
    gap_m: float,
    rounds: int,
    soonest: float,
    tiny: float,
    rows: int,
) -> Floats:
    """`pass_by` of the rows ``[R, 2]``, who meet each other and those replayed behind them.

    Args:
        position: Of all ``[N, 2]``.
        wanted: Velocities they are up to ``[N, 2]``.
        dt_s: Step length ``[N]``.
        walks: Who is a pedestrian ``[N]``.
        source: Whom a row is near ``[E]``.
        target: Which row ``[E]``.
        gap_m: Least distance of two centres.
        rounds: How often all give way.
        soonest: Share of the step from which on giving way begins.
        tiny: Length below which nothing is divided by.
        rows: R.
    """
    steps = np.empty(len(position), np.float32)
    for n in range(len(position)):
        u, v = wanted[n]
        steps[n] = math.sqrt(u * u + v * v) * dt_s[n]
    one, other, found = np.empty_like(source), np.empty_like(source), 0
    for e in range(len(source)):
        a, b = source[e], target[e]
        if walks[a] and walks[b] and (a >= rows or a < b):  # rows meet each other once
            x, y = position[a, 0] - position[b, 0], position[a, 1] - position[b, 1]
            reach = steps[a] + steps[b] + np.float32(gap_m)
            if x * x + y * y < reach * reach:
                one[found], other[found] = a, b
                found += 1
    one, other = one[:found], other[:found]
    return pass_by(position, wanted, dt_s, one, other, gap_m, rounds, soonest, tiny)[:rows]


@compiled
def motion_features(
    velocity: Floats,
    before: Floats,
    facing: Floats,
    yaw_rate: Floats,
    steady: Mask,
    unseen_s: Floats,
    hand: Floats,
    traits: Floats,
) -> Floats:
    """What an agent knows of itself ``[S * N, 8 + TRAITS]``; see `world_model.motion_features`.

    Args:
        velocity: ``[S, N, 2]``.
        before: The velocity a step before ``[S, N, 2]``.
        facing: ``[S, N, 2]``.
        yaw_rate: ``[S, N]``.
        steady: ``[S, N]``.
        unseen_s: ``[S, N]``.
        hand: ``[S, N]``.
        traits: ``[TRAITS, N]``.
    """
    copies, agents = hand.shape
    features = np.empty((copies * agents, 8 + len(traits)), velocity.dtype)
    for s in range(copies):
        for n in range(agents):
            row, side, (x, y) = features[s * agents + n], hand[s, n], facing[s, n]
            u, v = velocity[s, n]
            du, dv = u - before[s, n, 0], v - before[s, n, 1]
            row[0], row[1] = x * u + y * v, side * (x * v - y * u)
            row[2], row[3] = x * du + y * dv, side * (x * dv - y * du)
            row[4], row[5] = math.sqrt(u * u + v * v), side * yaw_rate[s, n]
            row[6], row[7] = ONE if steady[s, n] else ZERO, unseen_s[s, n]
            for k in range(len(traits)):
                row[8 + k] = traits[k, n]
    return features


@compiled
def step_on(
    position: Floats,
    velocity: Floats,
    facing: Floats,
    yaw_rate: Floats,
    change: Floats,
    passing: Floats,
    drives: Mask,
    dt_s: Floats,
    hand: Floats,
    eagerness: float,
    shortest: float,
) -> tuple[Floats, Floats, Floats, Floats]:
    """The motion after a step: `kinematics.walk`, and `kinematics.drive` for those who drive.

    Args:
        position: ``[S, N, 2]``.
        velocity: ``[S, N, 2]``.
        facing: ``[S, N, 2]``.
        yaw_rate: ``[S, N]``.
        change: Of speed and yaw rate, of those who drive ``[S, N, 2]``.
        passing: New velocities of those who walk ``[S, N, 2]``.
        drives: Who drives ``[N]``.
        dt_s: Step length ``[N]``.
        hand: ``[S, N]``.
        eagerness: How fast walkers turn; see `kinematics.turn_towards`.
        shortest: Length below which a direction is none.
    """
    to, at, faces = np.empty_like(velocity), np.empty_like(position), np.empty_like(facing)
    turns = np.zeros_like(yaw_rate)
    for s in range(len(hand)):
        for n in range(len(dt_s)):
            dt, (x, y), (u, v) = dt_s[n], facing[s, n], velocity[s, n]
            if drives[n]:
                pace = math.sqrt(u * u + v * v)
                speed = change[s, n, 0] + (-pace if u * x + v * y < ZERO else pace)
                turns[s, n] = yaw_rate[s, n] + hand[s, n] * change[s, n, 1]
                half = HALF * dt * turns[s, n] * tanh(abs(speed))
                cos, sin = math.cos(half), math.sin(half)
                middle_x, middle_y = x * cos - y * sin, y * cos + x * sin
                u, v = speed * middle_x, speed * middle_y
                x, y = middle_x * cos - middle_y * sin, middle_y * cos + middle_x * sin
            else:
                u, v = passing[s, n]
                turned_x = x + np.float32(eagerness) * (u * dt)
                turned_y = y + np.float32(eagerness) * (v * dt)
                norm = math.sqrt(turned_x * turned_x + turned_y * turned_y)
                if norm > np.float32(shortest):
                    x, y = turned_x / norm, turned_y / norm
            at[s, n, 0], at[s, n, 1] = position[s, n, 0] + u * dt, position[s, n, 1] + v * dt
            to[s, n, 0], to[s, n, 1] = u, v
            faces[s, n, 0], faces[s, n, 1] = x, y
    return at, to, faces, turns


@compiled
def move(
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
    gap_m: float,
    slack_m: float,
    rounds: int,
    soonest: float,
    tiny: float,
    eagerness: float,
    shortest: float,
) -> tuple[Floats, Floats, Floats, Floats]:
    """`step_on` of people who `give_way`, by what all decide.

    Args:
        position: ``[S, N, 2]``.
        velocity: ``[S, N, 2]``.
        facing: ``[S, N, 2]``.
        yaw_rate: ``[S, N]``.
        change: What each decides, per second ``[S, N, 2]``.
        drives: Who drives ``[N]``.
        dt_s: Step length ``[N]``.
        hand: ``[S, N]``.
        one: Of each pair of people ``[P]``.
        other: The other one ``[P]``.
        gap_m: As `give_way`.
        slack_m: As `give_way`.
        rounds: As `give_way`.
        soonest: As `give_way`.
        tiny: As `give_way`.
        eagerness: As `step_on`.
        shortest: As `step_on`.
    """
    new, wanted = decided(velocity, facing, change, dt_s, hand)
    passing = give_way(position, wanted, dt_s, one, other, gap_m, slack_m, rounds, soonest, tiny)
    now = position, velocity, facing, yaw_rate
    return step_on(*now, new, passing, drives, dt_s, hand, eagerness, shortest)


@compiled
def decided(
    velocity: Floats, facing: Floats, change: Floats, dt_s: Floats, hand: Floats
) -> tuple[Floats, Floats]:
    """What all change in a step, and the velocities they are up to; see `WorldModel.decides`."""
    new, wanted = np.empty_like(change), np.empty_like(velocity)
    for s in range(len(hand)):
        for n in range(len(dt_s)):
            x, y = facing[s, n]
            along, across = change[s, n, 0] * dt_s[n], change[s, n, 1] * dt_s[n]
            aside = hand[s, n] * across
            new[s, n, 0], new[s, n, 1] = along, across
            wanted[s, n, 0] = velocity[s, n, 0] + (along * x - aside * y)
            wanted[s, n, 1] = velocity[s, n, 1] + (along * y + aside * x)
    return new, wanted
