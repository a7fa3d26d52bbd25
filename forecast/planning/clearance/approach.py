"""Distance, contact and time to collision between one plan and the agents of one sample.

Most pairs of a step and an agent cannot change the result. Two bounds skip them: first with circles
around the bodies, then with the ego's box. Both are conservative, so skipping changes no result.

In all functions p is the plan, r the row of futures it meets, t the step and n the body.
"""

from __future__ import annotations

import math

from forecast.models.machine_code import Floats, compiled
from forecast.models.metrics.contact import (
    Motion,
    box_distance,
    box_entry,
    disc_entry,
    distance_to_box,
    length,
    outside_box,
    turned,
)
from forecast.planning.clearance.bodies import Agents, Plans

SLACK_M = 0.05
"""Added to every bound; an upper limit of float32 rounding errors for positions within 1 km."""

_MOST_PIECES = 32
"""Upper limit of the chords per step; see `_pieces`."""


@compiled
def nearest(
    plans: Plans,
    agents: Agents,
    p: int,
    sample: int,
    gap2: Floats,
    least: Floats,
    tolerance_m: float,
) -> tuple[float, float, int]:
    """First contact (in steps; infinite if none), smallest distance, and whose they are.

    That agent is the first one touched, or without contact the one that comes closest; -1 if there
    is none.

    During a step two bodies are at least as far apart as half way through it, less what both move
    in half a step. The nearest pair half way through a step bounds the smallest distance from
    above. Pairs whose lower bound exceeds that upper bound are skipped.

    Args:
        plans: The ego's plans.
        agents: The agents' bodies.
        p: Index of the plan.
        sample: Index of the sample.
        gap2: Squared distance of the centres half way through each step ``[T, N]``.
        least: The smallest over the steps ``[N]``.
        tolerance_m: See `ClearanceConfig`.
    """
    r, steps, begin = min(p, len(agents.x) - 1), len(gap2), sample * agents.number
    reach, longest = length(plans.half_x, plans.half_y) + SLACK_M, plans.half_step[p].max()
    closest, bound = _closest(plans, agents, p, begin, gap2, least)
    contact, distance, met = math.inf, math.inf, -1
    for i in range(agents.number):
        n = begin + (closest + i) % agents.number
        limit = bound + reach + agents.reach[n] + longest + agents.travelled[r, steps, n] / 2
        if least[n] > limit * limit:
            continue
        for t in range(steps):
            half_step = (agents.travelled[r, t + 1, n] - agents.travelled[r, t, n]) / 2
            limit = bound + reach + agents.reach[n] + plans.half_step[p, t] + half_step
            if t > contact or gap2[t, n] > limit * limit:
                continue
            apart, lowest = _half_way(plans, agents, p, r, t, n)
            bound = min(bound, max(apart, 0.0))
            if lowest > bound:
                continue
            found, entry = _during(plans, agents, p, r, t, n, tolerance_m)
            if t + entry < contact or found < distance:
                met = n - begin
            distance, contact = min(distance, found), min(contact, t + entry)
    return contact, distance, met


@compiled
def _closest(
    plans: Plans, agents: Agents, p: int, begin: int, gap2: Floats, least: Floats
) -> tuple[int, float]:
    """The agent of a sample closest half way through a step, and an upper bound of its distance."""
    r, closest, bound = min(p, len(agents.x) - 1), 0, math.inf
    for i in range(agents.number):
        if least[begin + i] < least[begin + closest]:
            closest = i
    for t in range(len(gap2)):
        if agents.number and gap2[t, begin + closest] == least[begin + closest]:
            bound = max(_half_way(plans, agents, p, r, t, begin + closest)[0], 0.0)
    return closest, bound


@compiled
def time_to_collision(
    plans: Plans, agents: Agents, p: int, sample: int, meeting: Floats, limit_steps: float
) -> float:
    """Smallest time to collision in steps, at most a limit.

    The time of one pair is the entry of a body into the ego's box at constant relative velocity;
    see `forecast.models.metrics.contact`, which the metrics share.

    Args:
        plans: The ego's plans.
        agents: The agents' bodies.
        p: Index of the plan.
        sample: Index of the sample.
        meeting: At least 0 if, for some step, circles around the bodies would meet if both kept
            the velocity of that step ``[N]``.
        limit_steps: The limit.
    """
    r, steps, smallest = min(p, len(agents.x) - 1), agents.step.shape[2], limit_steps
    for n in range(sample * agents.number, (sample + 1) * agents.number):
        if meeting[n] < 0:
            continue
        for t in range(steps):
            move = _course(plans, agents, p, r, t, n)
            if _earliest(move, length(plans.half_x, plans.half_y) + agents.reach[n]) < smallest:
                heading = plans.heading[p, t]
                seen = turned(move, math.cos(heading), math.sin(heading))
                angle = agents.heading[r, t, n] - heading
                smallest = min(smallest, _entry(plans, agents, n, seen, angle))
    return smallest


@compiled
def _course(plans: Plans, agents: Agents, p: int, r: int, t: int, n: int) -> Motion:
    """Offset of the body from the ego's centre, and its change during the step."""
    return (
        agents.x[r, t, n] - plans.x[p, t],
        agents.y[r, t, n] - plans.y[p, t],
        agents.step[0, r, t, n] - plans.step[0, p, t],
        agents.step[1, r, t, n] - plans.step[1, p, t],
    )


@compiled
def _earliest(move: Motion, reach: float) -> float:
    """A lower bound of the time at which circles meet whose radii sum to ``reach``."""
    x, y, dx, dy = move
    outer = reach + SLACK_M
    speed2 = max(dx * dx + dy * dy, 1e-9)
    along, square = x * dx + y * dy, (x * dy - y * dx) ** 2
    root2 = outer * outer * speed2 - square
    return -(along + math.sqrt(root2)) / speed2 if root2 >= 0 else math.inf


@compiled
def _half_way(plans: Plans, agents: Agents, p: int, r: int, t: int, n: int) -> tuple[float, float]:
    """Upper bound of the distance half way through a step, and lower bound during the whole step.

    The first is the distance of the ego's box from a disc inside the body, the second from a circle
    around it.
    """
    _, _, dx, dy = _course(plans, agents, p, r, t, n)
    x = agents.middle[0, r, t, n] - plans.middle[0, p, t]
    y = agents.middle[1, r, t, n] - plans.middle[1, p, t]
    x, y, dx, dy = turned((x, y, dx, dy), plans.middle[2, p, t], plans.middle[3, p, t])
    apart = outside_box(x, y, plans.half_x, plans.half_y) - agents.radius[n]
    least = outside_box(x, y, plans.half_x + abs(dx) / 2, plans.half_y + abs(dy) / 2)
    turn = abs(plans.heading[p, t + 1] - plans.heading[p, t])
    corner = turn * length(plans.half_x, plans.half_y) / 2
    return apart, least - corner - agents.reach[n] - SLACK_M


@compiled
def _during(
    plans: Plans, agents: Agents, p: int, r: int, t: int, n: int, tolerance_m: float
) -> tuple[float, float]:
    """Smallest distance in a step, and the share of the step at first contact, infinite if none.

    In the ego's frame the body follows ``q(s) = R(-h(s)) d(s)``, with heading h and offset d linear
    in the share s of the step. Its curvature is bounded: ``|q''| <= dh^2 |d| + 2 |dh| |dd|``.
    So n chords per step deviate from the path by at most ``|q''| / (8 n^2)``. During a chord the
    angle of a box is held constant, which displaces its corners by at most ``|dh| / (2 n)`` of
    their distance from its centre.
    """
    pieces = _pieces(plans, agents, p, r, t, n, tolerance_m)
    closest, (x, y) = math.inf, _seen(plans, agents, p, r, t, n, 0.0)
    for i in range(pieces):
        next_x, next_y = _seen(plans, agents, p, r, t, n, (i + 1) / pieces)
        move = (x, y, next_x - x, next_y - y)
        angle = agents.heading[r, t, n] - _heading(plans, p, t, (i + 0.5) / pieces)
        closest = min(closest, _distance(plans, agents, n, move, angle))
        if closest <= 0:
            return 0.0, (i + min(_entry(plans, agents, n, move, angle), 1.0)) / pieces
        x, y = next_x, next_y
    return closest, math.inf


@compiled
def _pieces(
    plans: Plans, agents: Agents, p: int, r: int, t: int, n: int, tolerance_m: float
) -> int:
    """Number of chords that a step needs; see `_during`."""
    x, y, dx, dy = _course(plans, agents, p, r, t, n)
    turn = abs(plans.heading[p, t + 1] - plans.heading[p, t])
    travelled = length(dx, dy)
    far = length(x, y) + travelled
    needed = math.sqrt(turn * (turn * far + 2 * travelled) / (8 * tolerance_m))
    if not agents.disc[n]:
        needed = max(needed, turn * agents.reach[n] / (2 * tolerance_m))
    return math.ceil(min(max(needed, 1.0), _MOST_PIECES))


@compiled
def _heading(plans: Plans, p: int, t: int, share: float) -> float:
    return plans.heading[p, t] + share * (plans.heading[p, t + 1] - plans.heading[p, t])


@compiled
def _seen(
    plans: Plans, agents: Agents, p: int, r: int, t: int, n: int, share: float
) -> tuple[float, float]:
    """Position of the body in the ego's frame after a share of the step."""
    x, y, dx, dy = _course(plans, agents, p, r, t, n)
    heading = _heading(plans, p, t, share)
    cos, sin = math.cos(heading), math.sin(heading)
    x, y = x + share * dx, y + share * dy
    return cos * x + sin * y, cos * y - sin * x


@compiled
def _distance(plans: Plans, agents: Agents, n: int, move: Motion, angle: float) -> float:
    if agents.disc[n]:
        return max(distance_to_box(move, plans.half_x, plans.half_y) - agents.radius[n], 0.0)
    half = plans.half_x, plans.half_y, agents.length[n], agents.width[n]
    return box_distance(move, math.cos(angle), math.sin(angle), *half)


@compiled
def _entry(plans: Plans, agents: Agents, n: int, move: Motion, angle: float) -> float:
    if agents.disc[n]:
        return disc_entry(move, plans.half_x, plans.half_y, agents.radius[n])
    half = plans.half_x, plans.half_y, agents.length[n], agents.width[n]
    return box_entry(move, math.cos(angle), math.sin(angle), *half)
