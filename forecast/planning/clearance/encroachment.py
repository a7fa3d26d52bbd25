"""Post-encroachment time: the time between one leaving a place and the other arriving there.

During a step the ego's box sweeps a rectangle: as long as the box plus the step, with the heading
half way through the step. An agent crosses it on a straight line, in a step of another time. The
ego covers each place of that line during a known interval; the gap between this interval and the
agent's time there is the encroachment (`forecast.models.metrics.contact.encroachment`, which the
metrics share).

Two approximations: agents are discs (boxes count as discs of half their width), and the rectangle
grows by the radius with square corners and keeps its heading. So an agent that passes a corner
within 0.4 radii counts as touched, and a touch by a few centimetres in a sharp turn may be missed.
"""

from __future__ import annotations

import math

from forecast.models.machine_code import Floats, compiled
from forecast.models.metrics.contact import (
    Motion,
    encroachment,
    first,
    length,
    turned,
    within_box,
)
from forecast.planning.clearance.approach import SLACK_M
from forecast.planning.clearance.bodies import Agents, Plans

_PLACES = 5
"""Places of a crossing at which the gap is evaluated; between kinks it is linear."""


@compiled
def smallest_gap(
    plans: Plans,
    agents: Agents,
    p: int,
    sample: int,
    gap2: Floats,
    least: Floats,
    lag_steps: int,
) -> float:
    """Smallest gap in steps; infinite if no agent's path meets the ego's.

    The path of an agent can touch the ego's circle only if, half way through a step, the centres
    are no farther apart than the radii plus what both travel from there. Others are skipped.

    Args:
        plans: The ego's plans.
        agents: The agents' bodies.
        p: Index of the plan.
        sample: Index of the sample.
        gap2: Squared distance of the centres half way through each step ``[T, N]``.
        least: The smallest over the steps ``[N]``.
        lag_steps: Steps of ego and agent farther apart in time than this are not compared.
    """
    r, steps, smallest = min(p, len(agents.x) - 1), len(gap2), math.inf
    reach, longest = length(plans.half_x, plans.half_y) + SLACK_M, plans.half_step[p].max()
    for n in range(sample * agents.number, (sample + 1) * agents.number):
        limit = reach + agents.radius[n] + longest + agents.travelled[r, steps, n]
        if least[n] > limit * limit:
            continue
        for t in range(steps):
            lags = lag_steps if smallest > lag_steps else math.ceil(smallest)
            begin, end = max(t - lags, 0), min(t + lags + 1, steps)
            travel = plans.half_step[p, t] + _travel(agents, r, t, n, begin, end)
            limit = reach + agents.radius[n] + travel
            if gap2[t, n] <= limit * limit:
                smallest = min(smallest, _gap(plans, agents, p, r, t, n, begin, end))
                if smallest <= 0:
                    return 0.0
    return smallest


@compiled
def _travel(agents: Agents, r: int, t: int, n: int, begin: int, end: int) -> float:
    """Path length of an agent from the middle of step t to ``begin`` or ``end``, the longer one."""
    middle = (agents.travelled[r, t, n] + agents.travelled[r, t + 1, n]) / 2
    return max(middle - agents.travelled[r, begin, n], agents.travelled[r, end, n] - middle)


@compiled
def _seen(
    plans: Plans, agents: Agents, p: int, r: int, t: int, n: int, begin: int, end: int
) -> Motion:
    """An agent's straight way between two steps, seen from the ego half way through step t."""
    x, y = agents.x[r, begin, n], agents.y[r, begin, n]
    dx, dy = agents.x[r, end, n] - x, agents.y[r, end, n] - y
    move = (x - plans.middle[0, p, t], y - plans.middle[1, p, t], dx, dy)
    return turned(move, plans.middle[2, p, t], plans.middle[3, p, t])


@compiled
def _is_off(
    agents: Agents, r: int, n: int, begin: int, end: int, seen: Motion, half_x: float, half_y: float
) -> bool:
    """Whether an agent's path between two steps stays off a box; ``seen`` is the straight way.

    A path of length l whose ends are c apart stays in an ellipse of half width sqrt(l^2 - c^2) / 2.
    """
    _, _, dx, dy = seen
    travelled = agents.travelled[r, end, n] - agents.travelled[r, begin, n]
    wide = math.sqrt(max(travelled * travelled - dx * dx - dy * dy, 0.0)) / 2 + SLACK_M
    return first(*within_box(seen, half_x + wide, half_y + wide)) > 1


@compiled
def _gap(
    plans: Plans, agents: Agents, p: int, r: int, t: int, n: int, begin: int, end: int
) -> float:
    """Smallest gap between the ego's step t and some steps of an agent; infinite if none meets."""
    cos, sin = plans.middle[2, p, t], plans.middle[3, p, t]
    step = cos * plans.step[0, p, t] + sin * plans.step[1, p, t]
    half_body = plans.half_x + agents.radius[n]
    half_x, half_y = half_body + abs(step) / 2, plans.half_y + agents.radius[n]
    smallest, way = math.inf, max(abs(step), 1e-6)
    whole = _seen(plans, agents, p, r, t, n, begin, end)
    if _is_off(agents, r, n, begin, end, whole, half_x, half_y):
        return smallest
    for at in range(begin, end):
        x, y, dx, dy = _seen(plans, agents, p, r, t, n, at, at + 1)
        start, stop = within_box((x, y, dx, dy), half_x, half_y)
        start, stop = max(start, 0.0), min(stop, 1.0)
        if start > stop:
            continue
        for place in range(_PLACES):
            share = start + (stop - start) * place / (_PLACES - 1)
            along = (x + share * dx) * (1.0 if step > 0 else -1.0 if step < 0 else 0.0)
            comes = min(max((along - half_body) / way + 0.5, 0.0), 1.0)
            leaves = min(max((along + half_body) / way + 0.5, 0.0), 1.0)
            smallest = min(smallest, encroachment(at - t + share, comes, leaves))
    return smallest
