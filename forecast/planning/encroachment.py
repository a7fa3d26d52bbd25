"""Post-encroachment time: how long after one has left a place does the other arrive there.

The ego's box sweeps a rectangle during a step: as long as the box and the way, turned by the
heading half way. A person's step crosses it on a straight line, at another time. For every place
of that line the ego covers it over a known interval of times; the gap to the person's time there
is the encroachment. People are discs (boxes count with half their width). The rectangle grows by
the radius with square corners and keeps its heading, so who passes a corner within 0.4 radii counts
as met, and who is met by a few centimetres in a sharp turn may be missed.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from forecast.planning.bodies import Ego, People, Rows, bilinear
from forecast.planning.contact import Motion, within_box

_SLACK_M = 0.05
_PLACES = 5
"""Places of a crossing at which the gap is taken; it changes linearly but for its kinks."""


def smallest_gaps(ego: Ego, people: People, lag_steps: int, known: Tensor, values: int) -> Tensor:
    """Smallest gap ``[P, K]`` in steps; infinite where nobody's way meets the ego's.

    Args:
        ego: The plans.
        people: Their futures.
        lag_steps: Steps of the two that lie farther apart in time are not compared.
        known: Plans and samples that need no answer ``[P, K]``.
        values: Size of intermediate tensors.
    """
    in_range = partial(_in_range, lag_steps=lag_steps)
    rows = Rows.over_plans(in_range, ego, people, values, ~known)
    rows = rows.chosen(_crosses(ego, people, rows, lag_steps))
    rows, gap = _gaps(ego, people, rows, lag_steps)
    smallest = people.nobody(ego).scatter_reduce_(0, people.cells(rows), gap, "amin")
    return smallest.view(ego.plans, people.samples)


def _span(steps: int, lag_steps: int) -> tuple[Tensor, Tensor]:
    """First and last step ``[T]`` of the times within the lag of each step."""
    step = torch.arange(steps)
    return (step - lag_steps).clamp_min(0), (step + lag_steps + 1).clamp_max(steps)


def _in_range(ego: Ego, people: People, lag_steps: int) -> Tensor:
    """Whether the way of a person can touch the ego's circle at all ``[T, P, K * A]``.

    It can if the centres are half way through the step no farther apart than both go from there:
    ``|d| <= a + b`` with a of the plan and b of the person, which, squared, is bilinear.
    """
    first, last = _span(people.steps, lag_steps)
    gone = people.gone
    middle = (gone[1:] + gone[:-1]) / 2
    travel = torch.maximum(middle - gone[first], gone[last] - middle)
    (x, y, _, _), (p, q) = ego.middle, people.middle
    a = ego.half_step + ego.reach + _SLACK_M
    b = travel + people.radius.repeat(people.samples)
    ours = [-2 * x, -2 * y, -2 * a, x * x + y * y - a * a, torch.ones_like(x)]
    theirs = [p, q, b, torch.ones_like(p), p * p + q * q - b * b]
    return bilinear(torch.stack(ours, -1), torch.stack(theirs, 1)) <= 0


def _crosses(ego: Ego, people: People, rows: Rows, lag_steps: int) -> Tensor:
    """Which rows have a way that, taken as straight but wide, crosses the swept rectangle."""
    first, last = _span(people.steps, lag_steps)
    frame = _Frame(ego, people, rows)
    ends = torch.stack([first[rows.step], last[rows.step]])
    (x, stop_x), (y, stop_y) = frame.seen(ends)
    move = Motion(x, y, stop_x - x, stop_y - y)
    wide = _bend(people, lag_steps).flatten()[rows.at_people(people)] + _SLACK_M
    start, stop = within_box(move, frame.half_x + wide, frame.half_y + wide)
    return (start.clamp_min(0) <= stop.clamp_max(1)).nonzero().squeeze(-1)


def _bend(people: People, lag_steps: int) -> Tensor:
    """How far ways can leave the straight line between the ends of their spans ``[T, R, K * A]``.

    A way of length l between ends c apart stays in an ellipse of half width sqrt(l^2 - c^2) / 2.
    """
    first, last = _span(people.steps, lag_steps)
    length = people.gone[last] - people.gone[first]
    apart2 = (people.x[last] - people.x[first]).square()
    apart2 += (people.y[last] - people.y[first]).square()
    return (length.square() - apart2).clamp_min(0).sqrt() / 2


class _Frame:
    """The ego half way through a step, its length along x; the swept rectangle around it."""

    def __init__(self, ego: Ego, people: People, rows: Rows) -> None:
        at = rows.at_ego(ego)
        self._x, self._y, self._cos, self._sin = (value.flatten()[at] for value in ego.middle)
        self._people, self._rows = people, rows
        radius = people.radius[rows.body % people.agents]
        step_x, step_y = (value.flatten()[at] for value in ego.way)
        self.step = self._cos * step_x + self._sin * step_y
        self.half_body = ego.half[0] + radius
        self.half_x = self.half_body + self.step.abs() / 2
        self.half_y = ego.half[1] + radius

    def seen(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Where the rows' people are at steps ``[N, R]``."""
        at = self._rows._replace(step=steps).at_people(self._people)
        x = self._people.x.flatten()[at] - self._x
        y = self._people.y.flatten()[at] - self._y
        return self._cos * x + self._sin * y, self._cos * y - self._sin * x


def _gaps(ego: Ego, people: People, rows: Rows, lag_steps: int) -> tuple[Rows, Tensor]:
    """The rows with steps of the person, up to a lag, that cross; the smallest gap of each."""
    frame = _Frame(ego, people, rows)
    lags = torch.arange(-lag_steps, lag_steps + 2)[:, None]
    steps = rows.step + lags  # [lags, R]
    x, y = frame.seen(steps.clamp(0, people.steps))
    move = Motion(x[:-1], y[:-1], x.diff(dim=0), y.diff(dim=0))
    start, stop = within_box(move, frame.half_x, frame.half_y)
    start, stop = start.clamp_min(0), stop.clamp_max(1)
    real = (steps[:-1] >= 0) & (steps[:-1] < people.steps)
    lag, row = ((start <= stop) & real).nonzero(as_tuple=True)
    share = torch.lerp(start[lag, row], stop[lag, row], torch.linspace(0, 1, _PLACES)[:, None])
    step = frame.step[row]
    along = (move.x[lag, row] + share * move.dx[lag, row]) * step.sign()
    way, half_body = step.abs().clamp_min(1e-6), frame.half_body[row]
    comes = ((along - half_body) / way + 0.5).clamp(0, 1)
    leaves = ((along + half_body) / way + 0.5).clamp(0, 1)
    time = lags[lag, 0] + share
    return rows.chosen(row), torch.maximum(comes - time, time - leaves).clamp_min(0).amin(0)
