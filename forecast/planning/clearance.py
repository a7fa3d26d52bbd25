"""How close plans come to imagined people: contact, distance, TTC and PET of many plans at once.

Between two steps the centres and headings of all bodies are interpolated linearly. Most of the
pairs of a step and a person cannot matter. Squared distances of centres are bilinear in what
belongs to the plan and what belongs to the person, so one matrix product bounds all pairs of many
plans; the exact geometry (`forecast.planning.contact`) then sees only those that the bounds leave.
The bounds are safe: leaving pairs out changes no result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.errors import require
from forecast.planning.bodies import Ego, People, Rows, bilinear
from forecast.planning.contact import (
    Motion,
    box_distance,
    box_entry,
    disc_entry,
    distance_to_box,
)
from forecast.planning.ego import EgoState
from forecast.planning.encroachment import smallest_gaps
from forecast.planning.futures import Futures

_SLACK_M = 0.05
"""Added to every bound: float32 products of positions within 1 km are this exact."""

_SLACK_STEPS = 1e-3
"""The same for bounds in time."""


@dataclass(frozen=True)
class ClearanceConfig:
    """Limits of what is measured.

    Attributes:
        ttc_limit_s: A longer time-to-collision is reported as this.
        pet_limit_s: A longer post-encroachment time is reported as this.
        tolerance_m: Between steps, the path of a body seen from the turning ego is replaced by
            chords that leave it by no more than this.
        values_per_chunk: Size of intermediate tensors; about what a core's cache holds.
    """

    ttc_limit_s: float = 8.0
    pet_limit_s: float = 3.0
    tolerance_m: float = 0.05
    values_per_chunk: int = 500_000

    def __post_init__(self) -> None:
        """Checks the limits; raises `ForecastError`."""
        for name in ("ttc_limit_s", "pet_limit_s", "tolerance_m", "values_per_chunk"):
            require(getattr(self, name) > 0, name, getattr(self, name), "a number above 0")


@dataclass(frozen=True, eq=False)
class Clearance:
    """What happens between each plan and the people of each sample, all ``[P, K]``.

    Attributes:
        contact_s: Time from now of the first contact; infinite where there is none.
        distance_m: Smallest distance of the bodies over the horizon, 0 on contact; infinite where
            there is nobody.
        ttc_s: Smallest time-to-collision over the horizon: at the start of each step, the time
            until contact if ego and person kept the velocity of that step and their headings
            (Hayward 1972). 0 on contact, at most the limit.
        pet_s: Post-encroachment time: smallest time between the ego leaving a place and a person
            arriving there, or the reverse (Allen et al. 1978). 0 on contact, at most the limit.
    """

    contact_s: NDArray[np.float32]
    distance_m: NDArray[np.float32]
    ttc_s: NDArray[np.float32]
    pet_s: NDArray[np.float32]

    @property
    def collided(self) -> NDArray[np.bool_]:
        """Whether the bodies touch within the horizon ``[P, K]``."""
        return np.isfinite(self.contact_s)

    def replaced(self, plans: NDArray[np.int64], others: Clearance) -> Clearance:
        """The same with other values ``[len(plans), K]`` for some plans."""
        old = (self.contact_s, self.distance_m, self.ttc_s, self.pet_s)
        new = (others.contact_s, others.distance_m, others.ttc_s, others.pet_s)
        arrays = [values.copy() for values in old]
        for values, instead in zip(arrays, new, strict=True):
            values[plans] = instead
        return Clearance(*arrays)


def clearance(
    plans: NDArray[np.float64],
    futures: Futures,
    ego: EgoState,
    config: ClearanceConfig | None = None,
) -> Clearance:
    """Measures every plan against every sample of the futures.

    Args:
        plans: Poses ``[P, T, 3]`` (x_m, y_m, heading_rad) of the ego's centre, at the steps of the
            futures.
        futures: Shared by all plans or given for each.
        ego: The ego now; its motion to the first step counts.
        config: Limits; default `ClearanceConfig`.

    Raises:
        ForecastError: The shapes of plans and futures do not fit each other.
    """
    config = config or ClearanceConfig()
    poses = np.asarray(plans, np.float64)
    check_plans(poses, futures)
    results = [
        _against(poses, futures.select(chosen), ego, config)
        for chosen in (futures.disc, ~futures.disc)
        if chosen.any()
    ]
    worst = torch.full((4, len(poses), futures.samples), torch.inf)
    for result in results:
        worst = torch.minimum(worst, result)
    contact, distance, ttc, pet = worst
    touched = contact.isfinite()
    ttc = torch.where(touched, 0.0, ttc * futures.dt_s).clamp_max(config.ttc_limit_s)
    pet = torch.where(touched, 0.0, pet * futures.dt_s).clamp_max(config.pet_limit_s)
    arrays = (value.numpy() for value in (contact * futures.dt_s, distance, ttc, pet))
    return Clearance(*arrays)


def check_plans(plans: NDArray[np.float64], futures: Futures) -> None:
    """Raises `ForecastError` unless plans are ``[P, T, 3]``, finite, and fit the futures."""
    good = plans.ndim == 3 and plans.shape[1:] == (futures.steps, 3) and len(plans) > 0
    require(good, "shape of plans", list(plans.shape), f"[P, {futures.steps}, 3]")
    require(bool(np.isfinite(plans).all()), "a pose of plans", "not finite", "a finite number")
    given = len(futures.positions_m)
    fits = not futures.reactive or given == len(plans)
    require(fits, "number of plans the futures are for", given, str(len(plans)))


def _against(
    plans: NDArray[np.float64], futures: Futures, ego: EgoState, config: ClearanceConfig
) -> Tensor:
    """Contact, distance, TTC and PET ``[4, P, K]`` against discs alone or boxes alone; in steps."""
    vehicle = Ego.of(plans, ego)
    people = People.of(futures, ego)
    values = config.values_per_chunk
    contact, distance = _nearest(vehicle, people, config.tolerance_m, values)
    ttc_limit, lags = config.ttc_limit_s / futures.dt_s, config.pet_limit_s / futures.dt_s
    touched = contact.isfinite()
    ttc = _time_to_collision(vehicle, people, ttc_limit, touched, values)
    pet = smallest_gaps(vehicle, people, math.ceil(lags), touched, values)
    return torch.stack([contact, distance, ttc, pet])


def _nearest(ego: Ego, people: People, tolerance_m: float, values: int) -> tuple[Tensor, Tensor]:
    """First contact (in steps) and smallest distance ``[P, K]``."""
    rows = _near(ego, people, values)
    cells = people.cells(rows)
    contact, distance = people.nobody(ego), people.nobody(ego)
    for chosen, start, length, move, turn in _chords(ego, people, rows, tolerance_m):
        part = rows.chosen(chosen)
        apart = _distance(ego, people, part, move, turn)
        distance.scatter_reduce_(0, cells[chosen], apart, "amin")
        hit = (apart <= 0).nonzero().squeeze(-1)
        entry = _entry(ego, people, part.chosen(hit), move.rows(hit), turn[hit]).clamp_max(1)
        time = part.step[hit] + start + length * entry
        contact.scatter_reduce_(0, cells[chosen][hit], time, "amin")
    shape = (ego.plans, people.samples)
    return contact.view(shape), distance.view(shape)


def _near(ego: Ego, people: People, values: int) -> Rows:
    """The pairs that can be a contact or the smallest distance of their plan and sample.

    During a step two bodies are no nearer than at its middle, less what both move in half a step;
    and the nearest pair at such a middle bounds the smallest distance from above. First with
    circles around the bodies, then with the ego's box, along and across. What follows a sure
    contact is left out.
    """
    rows = Rows.over_plans(_near_by_circles, ego, people, values)
    move = people.around_middle(ego, rows)
    radius = people.radius[rows.body % people.agents]
    out_x, out_y = move.x.abs() - ego.half[0], move.y.abs() - ego.half[1]
    apart = torch.hypot(out_x.relu(), out_y.relu()) - radius
    cells = people.cells(rows)
    best = people.nobody(ego).scatter_reduce_(0, cells, apart.clamp_min(0), "amin")
    touching = torch.where(apart <= 0, rows.step, torch.inf)
    surely = people.nobody(ego).scatter_reduce_(0, cells, touching, "amin")
    least_x, least_y = out_x - move.dx.abs() / 2, out_y - move.dy.abs() / 2
    turned = ego.turns.flatten()[rows.at_ego(ego)] * ego.reach / 2
    least = torch.hypot(least_x.relu(), least_y.relu()) - turned - people.reach - _SLACK_M
    return rows.chosen(
        ((least <= best[cells]) & (rows.step <= surely[cells])).nonzero().squeeze(-1)
    )


def _near_by_circles(ego: Ego, people: People) -> Tensor:
    """What circles around the bodies leave ``[T, P, K * A]``; see `_near`."""
    gap2 = people.grouped(ego.middle_gap2(people))
    nearest = gap2.amin(-1)  # [T, P, K]
    above = nearest.amin(0).clamp_min(0).sqrt() - min(ego.half)  # [P, K]
    outer = ego.reach + people.reach + _SLACK_M
    travel = ego.half_step[..., None] + people.longest_half_step
    limit = above.clamp_min(0) + outer + travel  # [T, P, K]
    hit = nearest <= (min(ego.half) - _SLACK_M) ** 2  # somebody's centre is within the ego's body
    limit[hit.cumsum(0) > hit] = 0
    return (gap2 <= limit.square()[..., None]).flatten(-2)


def _chords(
    ego: Ego, people: People, rows: Rows, tolerance_m: float
) -> Iterator[tuple[Tensor, float, float, Motion, Tensor]]:
    """Straight pieces of the paths of people seen from the ego.

    A path ``q(s) = R(-h(s)) d(s)`` with linear heading ``h`` and gap ``d`` bends by at most ``|q''|
    <= dh^2 |d| + 2 |dh| |dd|``, so n chords per step leave it by at most ``|q''| / (8 n^2)``. A box
    keeps its turn during a chord, which moves its corners by ``|dh| / 2 n`` of their distance.

    Yields:
        Which rows, start and length of the piece in steps, the motion, and the turn of the bodies.
    """
    turn = ego.turns.flatten()[rows.at_ego(ego)]
    course = people.course(ego, rows)
    travelled = torch.hypot(course.dx, course.dy)
    far = torch.hypot(course.x, course.y) + travelled
    bend = (turn * (turn * far + 2 * travelled) / (8 * tolerance_m)).sqrt()
    needed = torch.maximum(bend, turn * people.corner / (2 * tolerance_m)).clamp(1, 32)
    doublings = needed.log2().ceil().to(torch.int64)
    for power in sorted(set(doublings.tolist())):
        chosen = (doublings == power).nonzero().squeeze(-1)
        part, pieces = rows.chosen(chosen), 2**power
        ends = [people.seen_from(ego, part, i / pieces) for i in range(pieces + 1)]
        for i in range(pieces):
            (x, y), (next_x, next_y) = ends[i], ends[i + 1]
            move = Motion(x, y, next_x - x, next_y - y)
            turned = people.turn(ego, part, (i + 0.5) / pieces)
            yield chosen, i / pieces, 1 / pieces, move, turned


def _distance(ego: Ego, people: People, rows: Rows, move: Motion, turn: Tensor) -> Tensor:
    body = rows.body % people.agents
    if people.discs:
        return (distance_to_box(move, *ego.half) - people.radius[body]).clamp_min(0)
    return box_distance(move, turn, ego.half, (people.half[body, 0], people.half[body, 1]))


def _entry(ego: Ego, people: People, rows: Rows, move: Motion, turn: Tensor) -> Tensor:
    body = rows.body % people.agents
    if people.discs:
        return disc_entry(move, *ego.half, people.radius[body])
    return box_entry(move, turn, ego.half, (people.half[body, 0], people.half[body, 1]))


def _time_to_collision(
    ego: Ego, people: People, limit_steps: float, known: Tensor, values: int
) -> Tensor:
    """Smallest time-to-collision ``[P, K]`` in steps; infinite where no courses meet."""
    rows = Rows.over_plans(_on_course, ego, people, values, ~known)
    move = people.course(ego, rows)
    kept = _soonest(ego, people, people.cells(rows), move, limit_steps)
    rows = rows.chosen(kept)
    move = move.rows(kept).turned(ego.heading.flatten()[rows.at_ego(ego)])
    times = _entry(ego, people, rows, move, people.turn(ego, rows, 0.0))
    smallest = people.nobody(ego).scatter_reduce_(0, people.cells(rows), times, "amin")
    return smallest.view(ego.plans, people.samples)


def _on_course(ego: Ego, people: People) -> Tensor:
    """Where circles around the bodies meet if both keep their velocity ``[T, P, K * A]``.

    With gap d and relative velocity v, circles of radii that sum to r meet, now or later, exactly
    where ``(d x v)^2 + max(d.v, 0)^2 <= r^2 v^2``.
    """
    outer = ego.reach + people.reach + _SLACK_M
    cross, along, speed2 = (bilinear(*pair) for pair in ego.courses(people, outer))
    return speed2.addcmul_(cross, cross, value=-1).addcmul_(along.relu_(), along, value=-1) >= 0


def _soonest(ego: Ego, people: People, cells: Tensor, move: Motion, limit_steps: float) -> Tensor:
    """The pairs that meet before the limit and may be the first of their plan and sample.

    Outer circles meet no later than the bodies, circles within the bodies no earlier.
    """
    speed2 = (move.dx.square() + move.dy.square()).clamp_min(1e-9)
    square = (move.x * move.dy - move.y * move.dx).square()
    along = move.x * move.dx + move.y * move.dy
    outer = ego.reach + people.reach + _SLACK_M
    earliest = -(along + (outer**2 * speed2 - square).clamp_min(0).sqrt()) / speed2
    root2 = (min(ego.half) + float(people.radius.min())) ** 2 * speed2 - square
    surely = (root2 >= 0) & (along < 0)
    latest = torch.where(surely, -(along + root2.clamp_min(0).sqrt()) / speed2, limit_steps)
    best = people.nobody(ego).scatter_reduce_(0, cells, latest.clamp_min(0), "amin")
    return (earliest <= best[cells] + _SLACK_STEPS).nonzero().squeeze(-1)
