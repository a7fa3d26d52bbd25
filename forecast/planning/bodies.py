"""Plans and people as flat tensors, and the pairs of them that are looked at closely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.planning.contact import Motion
from forecast.planning.ego import EgoState
from forecast.planning.futures import Futures


def bilinear(of_plans: Tensor, of_people: Tensor) -> Tensor:
    """Products ``[T, P, N]`` of features ``[T, P, D]`` with shared or per-plan ones.

    Args:
        of_plans: ``[T, P, D]``.
        of_people: ``[T, D, R, N]`` with R = 1 if all plans share them, else R = P.
    """
    if of_people.shape[2] == 1:
        return of_plans @ of_people[:, :, 0]
    first, *others = range(of_plans.shape[-1])
    total = of_plans[..., first, None] * of_people[:, first]
    for feature in others:  # a third of the time of einsum
        total.addcmul_(of_plans[..., feature, None], of_people[:, feature])
    return total


class Rows(NamedTuple):
    """Pairs of a step of a plan and a person of a sample.

    Attributes:
        step: Step ``[R]``.
        plan: Plan ``[R]``.
        body: Sample and agent ``k * A + a`` ``[R]``.
    """

    step: Tensor
    plan: Tensor
    body: Tensor

    @classmethod
    def over_plans(
        cls,
        near: Callable[..., Tensor],
        ego: Ego,
        people: People,
        values: int,
        asked: Tensor | None = None,
    ) -> Rows:
        """The pairs that a function finds, called with some plans at a time.

        Args:
            near: Of plans and people; gives a mask ``[T, P, K * A]``.
            ego: All plans.
            people: All people.
            values: About how many values a mask may hold, so that it stays in a core's cache.
            asked: Plans and samples to look at ``[P, K]``; default: all.
        """
        size = max(1, values // max(people.steps * people.count, 1))
        plans = torch.arange(ego.plans)
        if asked is not None:
            plans = plans[asked.any(-1)]
        parts = []
        for chunk in torch.split(plans, size):
            mask = near(ego.rows(chunk), people.rows(chunk))
            if asked is not None:
                mask &= asked[chunk].repeat_interleave(people.agents, -1)
            found = torch.from_numpy(np.flatnonzero(mask.numpy()))  # half of torch's time
            cell = found.div(people.count, rounding_mode="floor")
            step = cell.div(mask.shape[1], rounding_mode="floor")
            plan = chunk[cell - step * mask.shape[1]]
            parts.append((step, plan, found - cell * people.count))
        if not parts:
            return cls(*torch.zeros(3, 0, dtype=torch.int64))
        return cls(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def chosen(self, chosen: Tensor) -> Rows:
        """Some of the pairs."""
        return Rows(*(value[chosen] for value in self))

    def at_ego(self, ego: Ego) -> Tensor:
        """Index of the start of the step in flattened ``[T, P]``."""
        return self.step * ego.plans + self.plan

    def at_people(self, people: People) -> Tensor:
        """Index of the start of the step in flattened ``[T, R, K * A]``."""
        plans, bodies = people.x.shape[1:]
        plan = self.plan if plans > 1 else 0
        return (self.step * plans + plan) * bodies + self.body


@dataclass(frozen=True, eq=False)
class Ego:
    """Plans with the present pose in front, around the ego's present position.

    Attributes:
        x: ``[T + 1, P]``.
        y: ``[T + 1, P]``.
        heading: Without jumps ``[T + 1, P]``.
        half: Half length and half width of the body.
    """

    x: Tensor
    y: Tensor
    heading: Tensor
    half: tuple[float, float]

    @classmethod
    def of(cls, plans: NDArray[np.float64], ego: EgoState) -> Ego:
        """Plans ``[P, T, 3]`` of an ego."""
        now = np.broadcast_to(ego.pose, (len(plans), 1, 3))
        poses = np.concatenate([now, plans], axis=1)
        heading = np.unwrap(poses[..., 2], axis=1)
        poses -= [ego.x_m, ego.y_m, 0]
        flat = torch.from_numpy(np.float32(poses.transpose(2, 1, 0)))
        x, y, _ = flat.contiguous()
        turned = torch.from_numpy(np.float32(heading.T)).contiguous()
        return cls(x, y, turned, (ego.length_m / 2, ego.width_m / 2))

    def rows(self, plans: Tensor) -> Ego:
        """Some of the plans."""
        x, y, heading = (v[:, plans].contiguous() for v in (self.x, self.y, self.heading))
        return Ego(x, y, heading, self.half)

    @property
    def plans(self) -> int:
        """Number of plans P."""
        return self.x.shape[1]

    @cached_property
    def axes(self) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the heading ``[T + 1, P]``."""
        return self.heading.cos(), self.heading.sin()

    @cached_property
    def turns(self) -> Tensor:
        """How far the heading turns in each step ``[T, P]``, without sign."""
        return self.heading.diff(dim=0).abs()

    @property
    def reach(self) -> float:
        """Radius of the circle around the body."""
        return float(np.hypot(*self.half))

    @cached_property
    def half_step(self) -> Tensor:
        """Half the way of each step ``[T, P]``."""
        return torch.hypot(*self.way) / 2

    @cached_property
    def middle(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Position, cosine and sine half way through each step, each ``[T, P]``."""
        x, y, heading = ((v[1:] + v[:-1]) / 2 for v in (self.x, self.y, self.heading))
        return x, y, heading.cos(), heading.sin()

    @cached_property
    def way(self) -> tuple[Tensor, Tensor]:
        """How the position changes in each step, along x and y, each ``[T, P]``."""
        return self.x.diff(dim=0), self.y.diff(dim=0)

    def frames(self, rows: Rows, share: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Position, cosine and sine ``[R]`` a share of the step after its start."""
        now = rows.at_ego(self)
        if share in (0.0, 1.0):
            at = now + self.plans if share else now
            x, y, cos, sin = (v.flatten()[at] for v in (self.x, self.y, *self.axes))
        else:
            flat = (v.flatten() for v in (self.x, self.y, self.heading))
            x, y, heading = (torch.lerp(v[now], v[now + self.plans], share) for v in flat)
            cos, sin = heading.cos(), heading.sin()
        return x, y, cos, sin

    def middle_gap2(self, people: People) -> Tensor:
        """Squared distance of the centres half way through each step ``[T, P, K * A]``."""
        x, y, _, _ = self.middle
        far_x, far_y = people.middle
        one, other = torch.ones_like(x), torch.ones_like(far_x)
        return bilinear(
            torch.stack([-2 * x, -2 * y, x * x + y * y, one], -1),
            torch.stack([far_x, far_y, other, far_x * far_x + far_y * far_y], 1),
        )

    def courses(self, people: People, radius_m: float) -> list[tuple[Tensor, Tensor]]:
        """Features whose products are ``d x v``, ``d.v`` and ``r^2 v.v`` of gap d and drift v."""
        x, y, (u, v) = self.x[:-1], self.y[:-1], self.way
        p, q, (r, s) = people.x[:-1], people.y[:-1], people.way
        one, other, r2 = torch.ones_like(x), torch.ones_like(p), radius_m**2
        cross = [one, u, -v, -x, y, x * v - y * u], [p * s - q * r, q, p, s, r, other]
        along = [one, -u, -v, -x, -y, x * u + y * v], [p * r + q * s, p, q, r, s, other]
        speed2 = (
            [one * r2, -2 * r2 * u, -2 * r2 * v, r2 * (u * u + v * v)],
            [r * r + s * s, r, s, other],
        )
        pairs = (cross, along, speed2)
        return [(torch.stack(ours, -1), torch.stack(theirs, 1)) for ours, theirs in pairs]


@dataclass(frozen=True, eq=False)
class People:
    """Everybody of all samples around the ego's present position; all discs or all boxes.

    The axis R is 1 where all plans share the futures, else P.

    Attributes:
        x: ``[T + 1, R, K * A]``.
        y: ``[T + 1, R, K * A]``.
        heading: During each step ``[T, R, K * A]``; discs have none, it is 0.
        half: Half length and half width ``[A, 2]``.
        radius: Radius of a disc, half the width of a box ``[A]``.
        discs: Whether they are discs.
        samples: Number of samples K.
        agents: Number of agents A.
    """

    x: Tensor
    y: Tensor
    heading: Tensor
    half: Tensor
    radius: Tensor
    discs: bool
    samples: int
    agents: int

    @classmethod
    def of(cls, futures: Futures, ego: EgoState) -> People:
        """The people of futures that are all discs or all boxes."""
        positions = futures.from_now_m() - ego.pose[:2]
        shared = not futures.reactive
        discs = bool(futures.disc.all())
        still = np.zeros(futures.positions_m.shape[:-1], np.float32)
        headings = still if discs else futures.step_headings_rad()
        half = torch.from_numpy(np.float32(futures.sizes_m)) / 2
        samples, agents = futures.positions_m.shape[-4:-2]
        return cls(
            x=_time_first(positions[..., 0], shared),
            y=_time_first(positions[..., 1], shared),
            heading=_time_first(headings, shared),
            half=half,
            radius=half.mean(-1) if discs else half.amin(-1),
            discs=discs,
            samples=samples,
            agents=agents,
        )

    def rows(self, plans: Tensor) -> People:
        """Those that some of the plans meet."""
        if self.x.shape[1] == 1:
            return self
        parts = {name: getattr(self, name)[:, plans] for name in ("x", "y", "heading")}
        return replace(self, **{name: value.contiguous() for name, value in parts.items()})

    @property
    def steps(self) -> int:
        """Number of steps T."""
        return len(self.heading)

    @property
    def count(self) -> int:
        """Number of agents of all samples."""
        return self.samples * self.agents

    @property
    def corner(self) -> float:
        """Largest distance of a corner from its body's centre; discs have none."""
        return 0.0 if self.discs else float(torch.hypot(*self.half.T).max())

    @property
    def reach(self) -> float:
        """Radius of the circle around the largest body."""
        return float(self.radius.max()) if self.discs else self.corner

    @cached_property
    def middle(self) -> tuple[Tensor, Tensor]:
        """Positions half way through each step ``[T, R, K * A]``."""
        return (self.x[1:] + self.x[:-1]) / 2, (self.y[1:] + self.y[:-1]) / 2

    @cached_property
    def way(self) -> tuple[Tensor, Tensor]:
        """How the position changes in each step, along x and y, each ``[T, R, K * A]``."""
        return self.x.diff(dim=0), self.y.diff(dim=0)

    @cached_property
    def step_length(self) -> Tensor:
        """Length of each step ``[T, R, K * A]``."""
        return torch.hypot(*self.way)

    @cached_property
    def gone(self) -> Tensor:
        """Length of the way since now ``[T + 1, R, K * A]``."""
        return torch.cat([torch.zeros_like(self.x[:1]), self.step_length.cumsum(0)])

    @property
    def longest_half_step(self) -> Tensor:
        """Half the longest step of anybody of each sample ``[T, R, K]``."""
        return self.grouped(self.step_length).amax(-1) / 2

    def grouped(self, values: Tensor) -> Tensor:
        """``[..., K * A]`` as ``[..., K, A]``."""
        return values.view(*values.shape[:-1], self.samples, self.agents)

    def cells(self, rows: Rows) -> Tensor:
        """Index of the plan and sample of each pair in flattened ``[P, K]``."""
        return rows.plan * self.samples + rows.body // self.agents

    def nobody(self, ego: Ego) -> Tensor:
        """Infinity for each plan and sample ``[P * K]``, to take minima into."""
        return self.x.new_full((ego.plans * self.samples,), torch.inf)

    def positions(self, rows: Rows, share: float) -> tuple[Tensor, Tensor]:
        """Positions ``[R]`` a share of the step after its start."""
        now = rows.at_people(self)
        later = now + self.x[0].numel()
        if share in (0.0, 1.0):
            x, y = (v.flatten()[later if share else now] for v in (self.x, self.y))
        else:
            flat = (v.flatten() for v in (self.x, self.y))
            x, y = (torch.lerp(v[now], v[later], share) for v in flat)
        return x, y

    def seen_from(self, ego: Ego, rows: Rows, share: float) -> tuple[Tensor, Tensor]:
        """Positions ``[R]`` in the ego's frame, a share of the step after its start."""
        (x, y), (own_x, own_y, cos, sin) = self.positions(rows, share), ego.frames(rows, share)
        x, y = x - own_x, y - own_y
        return cos * x + sin * y, cos * y - sin * x

    def course(self, ego: Ego, rows: Rows) -> Motion:
        """From the ego's centre to the body's, and how that changes during the step ``[R]``."""
        theirs, own = rows.at_people(self), rows.at_ego(ego)
        x, y = (
            v.flatten()[theirs] - w.flatten()[own] for v, w in ((self.x, ego.x), (self.y, ego.y))
        )
        return Motion(x, y, *self._drift(ego, theirs, own))

    def around_middle(self, ego: Ego, rows: Rows) -> Motion:
        """The same half way through the step, seen from the ego's frame there ``[R]``."""
        theirs, own = rows.at_people(self), rows.at_ego(ego)
        own_x, own_y, cos, sin = (v.flatten()[own] for v in ego.middle)
        x, y = (v.flatten()[theirs] for v in self.middle)
        x, y, (dx, dy) = x - own_x, y - own_y, self._drift(ego, theirs, own)
        return Motion(
            cos * x + sin * y, cos * y - sin * x, cos * dx + sin * dy, cos * dy - sin * dx
        )

    def _drift(self, ego: Ego, theirs: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        x, y = (
            v.flatten()[theirs] - w.flatten()[own] for v, w in zip(self.way, ego.way, strict=True)
        )
        return x, y

    def turn(self, ego: Ego, rows: Rows, share: float) -> Tensor:
        """Headings of the bodies ``[R]`` relative to the ego's; discs need none and get 0."""
        if self.discs:
            return self.x.new_zeros(1).expand(len(rows.step))
        now = rows.at_ego(ego)
        heading = ego.heading.flatten()
        own = torch.lerp(heading[now], heading[now + ego.plans], share)
        return self.heading.flatten()[rows.at_people(self)] - own


def _time_first(values: NDArray[Any], shared: bool) -> Tensor:
    """``[K, A, T]`` or ``[P, K, A, T]`` as ``[T, R, K * A]``."""
    stacked = values[None] if shared else values
    flat = stacked.reshape(len(stacked), -1, stacked.shape[-1])
    return torch.from_numpy(np.float32(flat)).permute(2, 0, 1).contiguous()
