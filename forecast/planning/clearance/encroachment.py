"""Post-encroachment time: how long after one has left a place does the other arrive there.

The ego's box sweeps a rectangle during a step: as long as the box and the way, turned by the
heading half way. A person's step crosses it on a straight line, at another time. For every place
of that line the ego covers it over a known interval of times; the gap to the person's time there
is the encroachment. People are discs (boxes count with half their width). The rectangle grows by
the radius with square corners and keeps its heading, so who passes a corner within 0.4 radii counts
as met, and who is met by a few centimetres in a sharp turn may be missed.
"""

from __future__ import annotations

import math

from forecast.machine_code import Floats, compiled
from forecast.planning.approach import SLACK_M
from forecast.planning.bodies import People, Plans
from forecast.planning.contact import Motion, first, length, turned, within_box

_PLACES = 5
"""Places of a crossing at which the gap is taken; it changes linearly but for its kinks."""


@compiled
def smallest_gap(
    plans: Plans,
    people: People,
    p: int,
    sample: int,
    gap2: Floats,
    least: Floats,
    lag_steps: int,
) -> float:
    """Smallest gap in steps; infinite where nobody's way meets the ego's.

    The way of a person can touch the ego's circle only if the centres are half way through a step
    no farther apart than both go from there.

    Args:
        plans: The ego's plans.
        people: Everybody.
        p: The plan.
        sample: The sample.
        gap2: Squared distance of the centres half way through each step ``[T, N]``.
        least: The least over the steps ``[N]``.
        lag_steps: Steps of the two that lie farther apart in time are not compared.
    """
    r, steps, smallest = min(p, len(people.x) - 1), len(gap2), math.inf
    reach, longest = length(plans.half_x, plans.half_y) + SLACK_M, plans.half_step[p].max()
    for n in range(sample * people.agents, (sample + 1) * people.agents):
        limit = reach + people.radius[n] + longest + people.gone[r, steps, n]
        if least[n] > limit * limit:
            continue
        for t in range(steps):
            lags = lag_steps if smallest > lag_steps else math.ceil(smallest)
            begin, end = max(t - lags, 0), min(t + lags + 1, steps)
            travel = plans.half_step[p, t] + _travel(people, r, t, n, begin, end)
            limit = reach + people.radius[n] + travel
            if gap2[t, n] <= limit * limit:
                smallest = min(smallest, _gap(plans, people, p, r, t, n, begin, end))
                if smallest <= 0:
                    return 0.0
    return smallest


@compiled
def _travel(people: People, r: int, t: int, n: int, begin: int, end: int) -> float:
    """How far a person goes from the middle of a step, to the begin or to the end of others."""
    middle = (people.gone[r, t, n] + people.gone[r, t + 1, n]) / 2
    return max(middle - people.gone[r, begin, n], people.gone[r, end, n] - middle)


@compiled
def _seen(
    plans: Plans, people: People, p: int, r: int, t: int, n: int, begin: int, end: int
) -> Motion:
    """A person's straight way from one step to another, seen from the ego half way through t."""
    x, y = people.x[r, begin, n], people.y[r, begin, n]
    way_x, way_y = people.x[r, end, n] - x, people.y[r, end, n] - y
    move = (x - plans.middle[0, p, t], y - plans.middle[1, p, t], way_x, way_y)
    return turned(move, plans.middle[2, p, t], plans.middle[3, p, t])


@compiled
def _is_off(
    people: People, r: int, n: int, begin: int, end: int, seen: Motion, half_x: float, half_y: float
) -> bool:
    """Whether a way between two steps stays off a box; ``seen`` is the straight one.

    A way of length l between ends c apart stays in an ellipse of half width sqrt(l^2 - c^2) / 2.
    """
    _, _, dx, dy = seen
    gone = people.gone[r, end, n] - people.gone[r, begin, n]
    wide = math.sqrt(max(gone * gone - dx * dx - dy * dy, 0.0)) / 2 + SLACK_M
    return first(*within_box(seen, half_x + wide, half_y + wide)) > 1


@compiled
def _gap(
    plans: Plans, people: People, p: int, r: int, t: int, n: int, begin: int, end: int
) -> float:
    """Smallest gap between the ego's step t and some steps of a person; infinite if none meets."""
    cos, sin = plans.middle[2, p, t], plans.middle[3, p, t]
    step = cos * plans.way[0, p, t] + sin * plans.way[1, p, t]
    half_body = plans.half_x + people.radius[n]
    half_x, half_y = half_body + abs(step) / 2, plans.half_y + people.radius[n]
    smallest, way = math.inf, max(abs(step), 1e-6)
    whole = _seen(plans, people, p, r, t, n, begin, end)
    if _is_off(people, r, n, begin, end, whole, half_x, half_y):
        return smallest
    for at in range(begin, end):
        x, y, dx, dy = _seen(plans, people, p, r, t, n, at, at + 1)
        start, stop = within_box((x, y, dx, dy), half_x, half_y)
        start, stop = max(start, 0.0), min(stop, 1.0)
        if start > stop:
            continue
        for place in range(_PLACES):
            share = start + (stop - start) * place / (_PLACES - 1)
            along = (x + share * dx) * (1.0 if step > 0 else -1.0 if step < 0 else 0.0)
            comes = min(max((along - half_body) / way + 0.5, 0.0), 1.0)
            leaves = min(max((along + half_body) / way + 0.5, 0.0), 1.0)
            time = at - t + share
            smallest = min(smallest, max(comes - time, time - leaves, 0.0))
    return smallest
