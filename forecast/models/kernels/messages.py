"""What edges say and nodes hear; `forecast.models.encoder` says what is computed.

What a node gets depends on its own edges alone, whatever else is computed beside it.
"""

from __future__ import annotations

import math

import numpy as np

from forecast.models.kernels.arithmetic import silu
from forecast.models.kernels.edges import AHEAD, X, Y, pairs_in_range
from forecast.models.machine_code import ONE, ZERO, Floats, Indices, Mask, compiled

FACING_X, FACING_Y, HAND, VELOCITY_X, VELOCITY_Y, SEES_AHEAD, REACH, PRESENT = range(2, 10)
"""Rows of what is seen of agents, after X and Y."""

Features = tuple[float, float, float, float, float]


@compiled
def looks(
    position: Floats,
    velocity: Floats,
    facing: Floats,
    hand: Floats,
    present: Mask,
    drives: Mask,
    reach: Floats,
    ahead_s: float,
) -> Floats:
    """What is seen of agents ``[10, S, N]``; see `encoder.Interaction.looks`.

    Args:
        position: ``[S, N, 2]``.
        velocity: ``[S, N, 2]``.
        facing: ``[S, N, 2]``.
        hand: ``[S, N]``.
        present: ``[S, N]``.
        drives: Who moves like a vehicle ``[N]``.
        reach: Radius of each agent's disc ``[N]``.
        ahead_s: For how long ahead those see and are seen.
    """
    copies, agents = hand.shape
    table = np.empty((PRESENT + 1, copies, agents), position.dtype)
    for s in range(copies):
        for n in range(agents):
            u, v = velocity[s, n]
            table[X, s, n], table[Y, s, n] = position[s, n]
            table[FACING_X, s, n], table[FACING_Y, s, n] = facing[s, n]
            table[HAND, s, n] = hand[s, n]
            table[VELOCITY_X, s, n], table[VELOCITY_Y, s, n] = u, v
            ahead = np.float32(ahead_s) if drives[n] else ZERO
            table[SEES_AHEAD, s, n] = math.sqrt(u * u + v * v) * ahead
            table[REACH, s, n] = reach[n]
            table[PRESENT, s, n] = ONE if present[s, n] else ZERO
    return table


@compiled
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
    mean, heard = np.zeros_like(asked), np.ones(len(asked), np.float32)
    said = np.empty(asked.shape[1], np.float32)
    for e in range(len(source)):
        n, m = source[e], target[e]
        fade, pose, closing = encounter(table, n, m, radius[e], still_mps, longest_s)
        _say(said, told, n, asked, m, weight, pose)
        _say_on(said, weight, closing)
        heard[m] += fade
        hear(mean, m, said, fade)
    return mean / heard.reshape(-1, 1)


@compiled
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
        fade, pose = sight(frames, poses, n, m, radius[e])
        _say(said, told, teller(frames, poses, n, m), asked, m, weight, pose)
        heard[m] += fade
        hear(mean, m, said, fade)
    return mean / heard.reshape(-1, 1)


@compiled
def hear_agents(
    table: Floats,
    one: Indices,
    other: Indices,
    radius: Floats,
    told: Floats,
    asked: Floats,
    weight: Floats,
    slack_m: float,
    still_mps: float,
    longest_s: float,
) -> Floats:
    """`from_agents` of those in range, in all copies of the world ``[S * N, H]``.

    Args:
        table: What is seen of all agents ``[10, S, N]``; see `looks`.
        one: Source of each candidate pair ``[P]``.
        other: Target of each, in order ``[P]``.
        radius: Range of each ``[P]``.
        told: What each agent tells ``[S * N, H]``.
        asked: What each asks ``[S * N, H]``.
        weight: As `from_agents`.
        slack_m: As `edges.pairs_in_range`.
        still_mps: As `from_agents`.
        longest_s: As `from_agents`.
    """
    places, agents = _places(table, True), table.shape[2]
    copy, pair = pairs_in_range(places, places, one, other, radius, slack_m)
    source, target = copy * agents + one[pair], copy * agents + other[pair]
    flat = table.reshape(len(table), -1)
    edges = source, target, radius[pair]
    return from_agents(flat, *edges, told, asked, weight, still_mps, longest_s)


@compiled
def hear_map(
    table: Floats,
    poses: Floats,
    piece: Indices,
    agent: Indices,
    radius_m: float,
    told: Floats,
    asked: Floats,
    weight: Floats,
    slack_m: float,
) -> Floats:
    """`from_map` of the pieces in range, in all copies of the world ``[S * N, H]``.

    Args:
        table: What is seen of all agents ``[10, S, N]``; see `looks`.
        poses: As `from_map`.
        piece: Piece of each candidate pair ``[P]``.
        agent: Agent of each, in order ``[P]``.
        radius_m: How far agents see.
        told: As `from_map`.
        asked: What each agent asks ``[S * N, H]``.
        weight: As `from_map`.
        slack_m: As `edges.pairs_in_range`.
    """
    middles = np.zeros((4, 1, poses.shape[1]), np.float32)
    for n in range(poses.shape[1]):
        middles[X, 0, n], middles[Y, 0, n] = poses[0, n], poses[1, n]
    radius = np.full(len(piece), np.float32(radius_m), np.float32)
    copy, pair = pairs_in_range(middles, _places(table, False), piece, agent, radius, slack_m)
    target, flat = copy * table.shape[2] + agent[pair], table.reshape(len(table), -1)
    return from_map(flat, poses, piece[pair], target, radius[pair], told, asked, weight)


@compiled
def _places(table: Floats, ahead: bool) -> Floats:
    """Where agents are ``[4, S, N]``, as `edges.pairs_in_range` takes it.

    Element by element: a row assigned at once makes the compiler write text about wrong shapes.
    """
    places = np.zeros((4, table.shape[1], table.shape[2]), np.float32)
    for s in range(table.shape[1]):
        for n in range(table.shape[2]):
            places[X, s, n], places[Y, s, n] = table[X, s, n], table[Y, s, n]
            if ahead:
                places[AHEAD, s, n] = table[SEES_AHEAD, s, n]
    return places


@compiled
def seen_from(frames: Floats, m: int, x: float, y: float) -> tuple[float, float]:
    """A vector in the frame of an agent."""
    facing_x, facing_y = frames[FACING_X, m], frames[FACING_Y, m]
    return facing_x * x + facing_y * y, frames[HAND, m] * (facing_x * y - facing_y * x)


@compiled
def encounter(
    table: Floats, n: int, m: int, radius: float, still_mps: float, longest_s: float
) -> tuple[float, Features, Features]:
    """Weight and features of the edge from agent ``n`` to agent ``m``, five and five."""
    still2, longest = np.float32(still_mps * still_mps), np.float32(longest_s)
    x, y = seen_from(table, m, table[X, n] - table[X, m], table[Y, n] - table[Y, m])
    distance = math.sqrt(x * x + y * y)
    ahead = max(table[SEES_AHEAD, n], table[SEES_AHEAD, m])
    fade = _fade_out(distance, radius + ahead) * table[PRESENT, n]
    facing_x, facing_y = seen_from(table, m, table[FACING_X, n], table[FACING_Y, n])
    u, v = seen_from(
        table,
        m,
        table[VELOCITY_X, n] - table[VELOCITY_X, m],
        table[VELOCITY_Y, n] - table[VELOCITY_Y, m],
    )
    wait = -(x * u + y * v) / (u * u + v * v + still2)
    wait = min(max(wait, ZERO), longest)
    nearest = math.hypot(x + u * wait, y + v * wait)
    bodies = table[REACH, n] + table[REACH, m]
    now, then = math.exp(min(bodies - distance, ONE)), math.exp(min(bodies - nearest, ONE))
    return fade, _pose(x, y, distance, facing_x, facing_y), (u, v, now, then, ONE / (ONE + wait))


@compiled
def sight(frames: Floats, poses: Floats, n: int, m: int, radius: float) -> tuple[float, Features]:
    """Weight and features of the edge from piece ``n`` to agent ``m``."""
    x, y = seen_from(frames, m, poses[0, n] - frames[X, m], poses[1, n] - frames[Y, m])
    distance = math.sqrt(x * x + y * y)
    along, across = seen_from(frames, m, poses[2, n], poses[3, n])
    return _fade_out(distance, radius), _pose(x, y, distance, along, across)


@compiled
def teller(frames: Floats, poses: Floats, n: int, m: int) -> int:
    """The row in which piece ``n`` tells agent ``m``, by its hand."""
    return n + poses.shape[1] if frames[HAND, m] < 0 else n


@compiled
def _pose(x: float, y: float, distance: float, direction_x: float, direction_y: float) -> Features:
    """Features of a relative pose; see `encoder`."""
    scale = ONE / (ONE + distance)
    return x * scale, y * scale, math.log(ONE + distance), direction_x, direction_y


@compiled
def _fade_out(distance: float, radius: float) -> float:
    share = distance / radius
    left = max(ONE - share * share, ZERO)
    return left * left


@compiled
def _say(
    said: Floats, told: Floats, n: int, asked: Floats, m: int, weight: Floats, pose: Features
) -> None:
    """What an edge says of the pose alone, before its nonlinearity."""
    x, y, far, direction_x, direction_y = pose
    for h in range(len(said)):  # all in one, which is what vectorises well
        said[h] = (
            told[n, h]
            + asked[m, h]
            + x * weight[0, h]
            + y * weight[1, h]
            + far * weight[2, h]
            + direction_x * weight[3, h]
            + direction_y * weight[4, h]
        )


@compiled
def _say_on(said: Floats, weight: Floats, closing: Features) -> None:
    """What it says besides of how both move."""
    u, v, now, then, soon = closing
    for h in range(len(said)):
        said[h] += (
            u * weight[5, h]
            + v * weight[6, h]
            + now * weight[7, h]
            + then * weight[8, h]
            + soon * weight[9, h]
        )


@compiled
def hear(mean: Floats, m: int, said: Floats, fade: float) -> None:
    """Adds what an edge says to what its target hears."""
    for h in range(len(said)):
        mean[m, h] += fade * silu(said[h])
