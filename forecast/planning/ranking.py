"""Ranks plans by risk, progress and comfort, and states how certain the order is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.planning.clearance import Clearance, ClearanceConfig, clearance
from forecast.planning.ego import EgoState
from forecast.planning.futures import Futures
from forecast.planning.risk import Lead, paired_interval, tail_mean
from forecast.scene.chances import effective_samples, probability_interval


@dataclass(frozen=True)
class CostConfig:
    """Prices of a plan's properties, in any unit; a certain collision costs ``collision``.

    The risk of a sample is ``collision`` on contact, plus the prices of three surrogates: each
    grows linearly from 0 at its ``_ok`` value to its price at 0. The cost of a plan is its risk, a
    weighted sum of mean and tail, plus the prices of lost progress and comfort.

    Attributes:
        collision: Price of a contact.
        ttc: Price of a time to collision of 0.
        ttc_ok_s: A time to collision of this or more costs nothing.
        pet: Price of a post-encroachment time of 0.
        pet_ok_s: A post-encroachment time of this or more costs nothing; 1.5 s is a near miss.
        distance: Price of a distance of 0.
        distance_ok_m: A distance of this or more costs nothing.
        progress_per_m: Price of each metre less than the plan with the most progress.
        acceleration: Price of a mean square acceleration of 1 m^2/s^4.
        jerk: Price of a mean square jerk of 1 m^2/s^6.
        tail_share: The tail is the mean over this share of the worst samples (CVaR).
        tail_weight: Weight of the tail of the risk; the mean has the remaining weight.
        level: Coverage of all intervals.
    """

    collision: float = 100.0
    ttc: float = 5.0
    ttc_ok_s: float = 2.0
    pet: float = 5.0
    pet_ok_s: float = 1.5
    distance: float = 2.0
    distance_ok_m: float = 1.0
    progress_per_m: float = 0.1
    acceleration: float = 0.1
    jerk: float = 0.02
    tail_share: float = 0.1
    tail_weight: float = 0.5
    level: float = 0.95

    def __post_init__(self) -> None:
        """Checks prices and shares; raises `ForecastError`."""
        for name, value in vars(self).items():
            require(math.isfinite(value) and value >= 0, name, value, "a number of at least 0")
        for name in ("ttc_ok_s", "pet_ok_s", "distance_ok_m", "tail_share", "level"):
            require(getattr(self, name) > 0, name, getattr(self, name), "a number above 0")
        for name in ("tail_share", "tail_weight"):
            require(getattr(self, name) <= 1, name, getattr(self, name), "at most 1")
        require(self.level < 1, "level", self.level, "a level below 1")

    def risk(self, met: Clearance) -> NDArray[np.float64]:
        """Risk ``[P, K]`` of every plan in every sample."""
        return (
            self.collision * met.collided
            + self.ttc * np.clip(1 - met.ttc_s / self.ttc_ok_s, 0, 1)
            + self.pet * np.clip(1 - met.pet_s / self.pet_ok_s, 0, 1)
            + self.distance * np.clip(1 - met.distance_m / self.distance_ok_m, 0, 1)
        ).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Plans measured against imagined futures. Arrays are ``[P]`` unless said otherwise.

    Attributes:
        plans: The plans ``[P, T, 3]``.
        met: Contact and near misses between each plan and the agents of each sample ``[P, K]``.
        weights: Probability of each sample ``[K]``.
        collision_probability: Weight of the samples with contact.
        collision_low: Lower end of its Clopper-Pearson interval. The interval is too wide rather
            than too narrow, because the model's samples are spread more evenly than independent
            ones.
        collision_high: Upper end; above 0 even if no sample has contact.
        ttc_mean_s: Mean over the samples of the smallest time to collision.
        ttc_tail_s: Its mean over the worst ``tail_share`` of the samples (CVaR).
        pet_mean_s: Mean post-encroachment time.
        pet_tail_s: Its tail.
        distance_mean_m: Mean smallest distance; infinite if there is no agent.
        distance_tail_m: Its tail.
        progress_m: Length of the plan's path.
        acceleration_mps2: Root mean square of the acceleration, sideways included.
        jerk_mps3: Root mean square of its change.
        risk_samples: Risk in each sample ``[P, K]``.
        risk: Risk as `CostConfig` weighs mean and tail.
        cost: Risk plus what progress and comfort it gives up.
        config: The prices.
        reactive: Whether the plan was measured against agents that react to it. Such plans come
            first in both orders, because the reactions to the others are unknown.
    """

    plans: NDArray[np.float64]
    met: Clearance
    weights: NDArray[np.float64]
    collision_probability: NDArray[np.float64]
    collision_low: NDArray[np.float64]
    collision_high: NDArray[np.float64]
    ttc_mean_s: NDArray[np.float64]
    ttc_tail_s: NDArray[np.float64]
    pet_mean_s: NDArray[np.float64]
    pet_tail_s: NDArray[np.float64]
    distance_mean_m: NDArray[np.float64]
    distance_tail_m: NDArray[np.float64]
    progress_m: NDArray[np.float64]
    acceleration_mps2: NDArray[np.float64]
    jerk_mps3: NDArray[np.float64]
    risk_samples: NDArray[np.float64]
    risk: NDArray[np.float64]
    cost: NDArray[np.float64]
    config: CostConfig
    reactive: NDArray[np.bool_]

    def __repr__(self) -> str:
        plans, steps = self.plans.shape[:2]
        best = f"best {self.best} of cost {self.cost[self.best]:.3g}"
        counts = f"{steps} steps, {len(self.weights)} samples, {int(self.reactive.sum())} reactive"
        return f"Ranking({plans} plans, {counts}; {best})"

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Plans by cost, the best first; of equal ones the earlier first."""
        return np.lexsort((self.cost, ~self.reactive))

    @property
    def best(self) -> int:
        """The plan of the lowest cost."""
        return int(self.order[0])

    @cached_property
    def by_risk(self) -> NDArray[np.int64]:
        """Plans by risk only, the safest first; of equal ones the cheaper first."""
        return np.lexsort((self.cost, self.risk, ~self.reactive))

    @property
    def safest(self) -> int:
        """The plan of the lowest risk, and among equals of the lowest cost."""
        return int(self.by_risk[0])

    def lead(self, first: int, second: int, *, risk_only: bool = False) -> Lead:
        """Advantage of a plan over another in mean cost (or mean risk), with an interval.

        The interval is for two plans given in advance; it does not account for their having been
        picked among many.

        Args:
            first: The plan.
            second: The other.
            risk_only: Whether to leave out progress and comfort.
        """
        fixed = 0.0 if risk_only else self._price(second) - self._price(first)
        mean, low, high = paired_interval(
            self.risk_samples[first], self.risk_samples[second], self.weights, self.config.level
        )
        return Lead(first, second, mean + fixed, low + fixed, high + fixed, low + fixed > 0)

    def _price(self, plan: int) -> float:
        return float(self.cost[plan] - self.risk[plan])

    @property
    def best_lead(self) -> Lead | None:
        """The lead of the best plan over the second one in `order`; None for a single plan."""
        return self.lead(*map(int, self.order[:2])) if len(self.plans) > 1 else None

    @property
    def safest_lead(self) -> Lead | None:
        """The lead in risk of the safest plan over the second; None for a single plan."""
        pair = map(int, self.by_risk[:2])
        return self.lead(*pair, risk_only=True) if len(self.plans) > 1 else None


def rank(
    plans: NDArray[np.float64],
    futures: Futures,
    ego: EgoState,
    *,
    cost: CostConfig | None = None,
    limits: ClearanceConfig | None = None,
) -> Ranking:
    """Ranks plans against imagined futures.

    Args:
        plans: Poses ``[P, T, 3]`` of the ego's centre at the steps of the futures.
        futures: Shared by all plans, or separate ones for each plan with agents that react to it.
        ego: The ego now.
        cost: Prices; default `CostConfig`.
        limits: Limits of the measurements; default `ClearanceConfig`.

    Raises:
        ForecastError: The shapes of plans and futures do not fit each other.
    """
    poses = np.asarray(plans, np.float64)
    met = clearance(poses, futures, ego, limits)
    reactive = np.full(len(poses), futures.reactive)
    return ranked(poses, met, futures.weights, reactive, ego, futures.dt_s, cost)


def ranked(
    poses: NDArray[np.float64],
    met: Clearance,
    weights: NDArray[np.float64],
    reactive: NDArray[np.bool_],
    ego: EgoState,
    dt_s: float,
    cost: CostConfig | None = None,
) -> Ranking:
    """The ranking of plans ``[P, T, 3]`` by measurements ``[P, K]``.

    Args:
        poses: The plans.
        met: Contact and near misses between each plan and the agents of each sample.
        weights: Probability of each sample ``[K]``.
        reactive: Plans whose futures are reactive rollouts ``[P]``.
        ego: The ego now.
        dt_s: Step length.
        cost: Prices; default `CostConfig`.
    """
    cost = cost or CostConfig()
    risk_samples = cost.risk(met)
    tail = tail_mean(risk_samples, weights, cost.tail_share)
    risk = (1 - cost.tail_weight) * (risk_samples @ weights) + cost.tail_weight * tail
    progress, acceleration, jerk = comfort(poses, ego, dt_s)
    total = risk + cost.acceleration * acceleration**2 + cost.jerk * jerk**2
    total += cost.progress_per_m * (progress.max() - progress)
    probability = met.collided @ weights
    low, high = probability_interval(probability, effective_samples(weights), cost.level)
    ttc, pet, distance = (
        _mean_and_tail(values, weights, cost.tail_share)
        for values in (met.ttc_s, met.pet_s, met.distance_m)
    )
    return Ranking(
        plans=poses,
        met=met,
        weights=weights,
        collision_probability=probability,
        collision_low=low,
        collision_high=high,
        ttc_mean_s=ttc[0],
        ttc_tail_s=ttc[1],
        pet_mean_s=pet[0],
        pet_tail_s=pet[1],
        distance_mean_m=distance[0],
        distance_tail_m=distance[1],
        progress_m=progress,
        acceleration_mps2=acceleration,
        jerk_mps3=jerk,
        risk_samples=risk_samples,
        risk=risk,
        cost=total,
        config=cost,
        reactive=reactive,
    )


def _mean_and_tail(
    values: NDArray[np.float32], weights: NDArray[np.float64], share: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and lower tail ``[P]`` of values ``[P, K]``; rows are infinite as a whole or nowhere."""
    finite = np.where(np.isfinite(values), values, 0.0).astype(np.float64)
    empty = np.isinf(values).all(-1)
    mean, tail = finite @ weights, -tail_mean(-finite, weights, share)
    return np.where(empty, np.inf, mean), np.where(empty, np.inf, tail)


def comfort(
    plans: NDArray[np.float64], ego: EgoState, dt_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Path length in m, and root mean squares of acceleration and jerk ``[P]`` of plans.

    Velocities are backward differences; the first follow from the ego's speed and acceleration.
    """
    ahead = np.array([math.cos(ego.heading_rad), math.sin(ego.heading_rad)])
    start = np.broadcast_to(ego.pose[:2], (len(plans), 1, 2))
    velocity = np.diff(np.concatenate([start, plans[..., :2]], axis=1), axis=1) / dt_s
    progress = np.linalg.norm(velocity, axis=-1).sum(-1) * dt_s
    changes = np.diff(velocity, axis=1, prepend=np.tile(ego.speed_mps * ahead, (len(plans), 1, 1)))
    acceleration = changes / dt_s
    # The first velocity is that of the middle of the first step, only half a step after now.
    acceleration[:, 0] *= 2
    first = np.tile(ego.acceleration_mps2 * ahead, (len(plans), 1, 1))
    jerk = np.diff(acceleration, axis=1, prepend=first) / dt_s
    squares = (np.square(values).sum(-1).mean(-1) for values in (acceleration, jerk))
    return (progress, *(np.sqrt(square) for square in squares))
