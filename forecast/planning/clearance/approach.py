"""How near a plan comes to the people of a sample: distance, contact and time-to-collision.

Most pairs of a step and a person cannot matter. Bounds leave those out, first with circles around
the bodies, then with the ego's box; they are safe, so that leaving pairs out changes no result.
"""

from __future__ import annotations

import math

from forecast.machine_code import Floats, compiled
from forecast.planning.bodies import People, Plans
from forecast.planning.contact import (
    Motion,
    box_distance,
    box_entry,
    disc_entry,
    distance_to_box,
    length,
    turned,
)

SLACK_M = 0.05
"""Added to every bound: float32 arithmetic on positions within 1 km is this exact."""

_MOST_PIECES = 32


@compiled
def nearest(
    plans: Plans,
    people: People,
    p: int,
    sample: int,
    gap2: Floats,
    least: Floats,
    tolerance_m: float,
) -> tuple[float, float]:
    """First contact (in steps; infinite if none) and smallest distance.

    During a step two bodies are no nearer than at its middle, less what both move in half a step;
    and the nearest pair at such a middle bounds the smallest distance from above.

    Args:
        plans: The ego's plans.
        people: Everybody.
        p: The plan.
        sample: The sample.
        gap2: Squared distance of the centres half way through each step ``[T, N]``.
        least: The least over the steps ``[N]``.
        tolerance_m: See `ClearanceConfig`.
    """
    r, steps, begin = min(p, len(people.x) - 1), len(gap2), sample * people.agents
    reach, longest = length(plans.half_x, plans.half_y) + SLACK_M, plans.half_step[p].max()
    closest, bound = _closest(plans, people, p, begin, gap2, least)
    contact, distance = math.inf, math.inf
    for i in range(people.agents):
        n = begin + (closest + i) % people.agents
        limit = bound + reach + people.reach[n] + longest + people.gone[r, steps, n] / 2
        if least[n] > limit * limit:
            continue
        for t in range(steps):
            half_step = (people.gone[r, t + 1, n] - people.gone[r, t, n]) / 2
            limit = bound + reach + people.reach[n] + plans.half_step[p, t] + half_step
            if t > contact or gap2[t, n] > limit * limit:
                continue
            apart, lowest = _half_way(plans, people, p, r, t, n)
            bound = min(bound, max(apart, 0.0))
            if lowest > bound:
                continue
            found, entry = _during(plans, people, p, r, t, n, tolerance_m)
            distance, contact = min(distance, found), min(contact, t + entry)
    return contact, distance


@compiled
def _closest(
    plans: Plans, people: People, p: int, begin: int, gap2: Floats, least: Floats
) -> tuple[int, float]:
    """Who of a sample is closest half way through a step, and how close at most."""
    r, closest, bound = min(p, len(people.x) - 1), 0, math.inf
    for i in range(people.agents):
        if least[begin + i] < least[begin + closest]:
            closest = i
    for t in range(len(gap2)):
        if people.agents and gap2[t, begin + closest] == least[begin + closest]:
            bound = max(_half_way(plans, people, p, r, t, begin + closest)[0], 0.0)
    return closest, bound


@compiled
def time_to_collision(
    plans: Plans, people: People, p: int, sample: int, meeting: Floats, limit_steps: float
) -> float:
    """Smallest time-to-collision in steps, at most a limit.

    Args:
        plans: The ego's plans.
        people: Everybody.
        p: The plan.
        sample: The sample.
        meeting: At least 0 where circles around the bodies meet if both keep the velocity that
            they have in some step ``[N]``.
        limit_steps: The limit.
    """
    r, steps, smallest = min(p, len(people.x) - 1), people.way.shape[2], limit_steps
    for n in range(sample * people.agents, (sample + 1) * people.agents):
        if meeting[n] < 0:
            continue
        for t in range(steps):
            move = _course(plans, people, p, r, t, n)
            if _earliest(move, length(plans.half_x, plans.half_y) + people.reach[n]) < smallest:
                heading = plans.heading[p, t]
                seen = turned(move, math.cos(heading), math.sin(heading))
                angle = people.heading[r, t, n] - heading
                smallest = min(smallest, _entry(plans, people, n, seen, angle))
    return smallest


@compiled
def _course(plans: Plans, people: People, p: int, r: int, t: int, n: int) -> Motion:
    """From the ego's centre to the body's, and how that changes during the step."""
    return (
        people.x[r, t, n] - plans.x[p, t],
        people.y[r, t, n] - plans.y[p, t],
        people.way[0, r, t, n] - plans.way[0, p, t],
        people.way[1, r, t, n] - plans.way[1, p, t],
    )


@compiled
def _earliest(move: Motion, reach: float) -> float:
    """A time before which circles whose radii sum to less do not meet."""
    x, y, dx, dy = move
    outer = reach + SLACK_M
    speed2 = max(dx * dx + dy * dy, 1e-9)
    along, square = x * dx + y * dy, (x * dy - y * dx) ** 2
    root2 = outer * outer * speed2 - square
    return -(along + math.sqrt(root2)) / speed2 if root2 >= 0 else math.inf


@compiled
def _half_way(plans: Plans, people: People, p: int, r: int, t: int, n: int) -> tuple[float, float]:
    """Distance of the ego's box half way through a step, at most; and at least at any time of it.

    The first is to a disc within the body, the second to a circle around it.
    """
    _, _, dx, dy = _course(plans, people, p, r, t, n)
    x = people.middle[0, r, t, n] - plans.middle[0, p, t]
    y = people.middle[1, r, t, n] - plans.middle[1, p, t]
    x, y, dx, dy = turned((x, y, dx, dy), plans.middle[2, p, t], plans.middle[3, p, t])
    out_x, out_y = abs(x) - plans.half_x, abs(y) - plans.half_y
    apart = length(max(out_x, 0.0), max(out_y, 0.0)) - people.radius[n]
    least = length(max(out_x - abs(dx) / 2, 0.0), max(out_y - abs(dy) / 2, 0.0))
    turn = abs(plans.heading[p, t + 1] - plans.heading[p, t])
    corner = turn * length(plans.half_x, plans.half_y) / 2
    return apart, least - corner - people.reach[n] - SLACK_M


@compiled
def _during(
    plans: Plans, people: People, p: int, r: int, t: int, n: int, tolerance_m: float
) -> tuple[float, float]:
    """Smallest distance in a step, and the share of it at which they touch, infinite if never.

    A path ``q(s) = R(-h(s)) d(s)`` with linear heading ``h`` and gap ``d`` bends by at most ``|q''|
    <= dh^2 |d| + 2 |dh| |dd|``, so n chords per step leave it by at most ``|q''| / (8 n^2)``. A box
    keeps its turn during a chord, which moves its corners by ``|dh| / 2 n`` of their distance.
    """
    pieces = _pieces(plans, people, p, r, t, n, tolerance_m)
    closest, (x, y) = math.inf, _seen(plans, people, p, r, t, n, 0.0)
    for i in range(pieces):
        next_x, next_y = _seen(plans, people, p, r, t, n, (i + 1) / pieces)
        move = (x, y, next_x - x, next_y - y)
        angle = people.heading[r, t, n] - _heading(plans, p, t, (i + 0.5) / pieces)
        closest = min(closest, _distance(plans, people, n, move, angle))
        if closest <= 0:
            return 0.0, (i + min(_entry(plans, people, n, move, angle), 1.0)) / pieces
        x, y = next_x, next_y
    return closest, math.inf


@compiled
def _pieces(
    plans: Plans, people: People, p: int, r: int, t: int, n: int, tolerance_m: float
) -> int:
    """How many chords a step needs; see `_during`."""
    x, y, dx, dy = _course(plans, people, p, r, t, n)
    turn = abs(plans.heading[p, t + 1] - plans.heading[p, t])
    travelled = length(dx, dy)
    far = length(x, y) + travelled
    needed = math.sqrt(turn * (turn * far + 2 * travelled) / (8 * tolerance_m))
    if not people.disc[n]:
        needed = max(needed, turn * people.reach[n] / (2 * tolerance_m))
    return math.ceil(min(max(needed, 1.0), _MOST_PIECES))


@compiled
def _heading(plans: Plans, p: int, t: int, share: float) -> float:
    return plans.heading[p, t] + share * (plans.heading[p, t + 1] - plans.heading[p, t])


@compiled
def _seen(
    plans: Plans, people: People, p: int, r: int, t: int, n: int, share: float
) -> tuple[float, float]:
    """Where the body is in the ego's frame a share of the step after its start."""
    x, y, dx, dy = _course(plans, people, p, r, t, n)
    heading = _heading(plans, p, t, share)
    cos, sin = math.cos(heading), math.sin(heading)
    x, y = x + share * dx, y + share * dy
    return cos * x + sin * y, cos * y - sin * x


@compiled
def _distance(plans: Plans, people: People, n: int, move: Motion, angle: float) -> float:
    if people.disc[n]:
        return max(distance_to_box(move, plans.half_x, plans.half_y) - people.radius[n], 0.0)
    half = plans.half_x, plans.half_y, people.length[n], people.width[n]
    return box_distance(move, math.cos(angle), math.sin(angle), *half)


@compiled
def _entry(plans: Plans, people: People, n: int, move: Motion, angle: float) -> float:
    if people.disc[n]:
        return disc_entry(move, plans.half_x, plans.half_y, people.radius[n])
    half = plans.half_x, plans.half_y, people.length[n], people.width[n]
    return box_entry(move, math.cos(angle), math.sin(angle), *half)
