"""Ranks plans by risk, speed, comfort and use of the road, and states how certain the order is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.planning.clearance import Clearance, ClearanceConfig, clearance
from forecast.planning.ego import EgoState
from forecast.planning.futures import Futures
from forecast.planning.risk import Lead, paired_interval, tail_mean, weights_of
from forecast.planning.road import RoadUse, road_use
from forecast.scene import LaneMap
from forecast.scene.arguments import real_number
from forecast.scene.chances import effective_samples, probability_interval


@dataclass(frozen=True, eq=False)
class PlanMotion:
    """How each plan moves.

    Attributes:
        speeds_mps: Mean speed of each step ``[P, T]``.
        acceleration_mps2: Root mean square of the acceleration, sideways included ``[P]``.
        jerk_mps3: Root mean square of its change ``[P]``.
        dt_s: Step length.
    """

    speeds_mps: NDArray[np.float64]
    acceleration_mps2: NDArray[np.float64]
    jerk_mps3: NDArray[np.float64]
    dt_s: float

    @classmethod
    def of(cls, plans: NDArray[np.float64], ego: EgoState, dt_s: float) -> PlanMotion:
        """The motion of plans ``[P, T, 3]``.

        Velocities are backward differences; the first follow from the ego's speed and acceleration.
        """
        ahead = np.array([math.cos(ego.heading_rad), math.sin(ego.heading_rad)])
        start = np.broadcast_to(ego.pose[:2], (len(plans), 1, 2))
        velocity = np.diff(np.concatenate([start, plans[..., :2]], axis=1), axis=1) / dt_s
        now = np.tile(ego.speed_mps * ahead, (len(plans), 1, 1))
        acceleration = np.diff(velocity, axis=1, prepend=now) / dt_s
        # The first velocity is that of the middle of the first step, only half a step after now.
        acceleration[:, 0] *= 2
        first = np.tile(ego.acceleration_mps2 * ahead, (len(plans), 1, 1))
        jerk = np.diff(acceleration, axis=1, prepend=first) / dt_s
        felt, change = (np.square(values).sum(-1).mean(-1) for values in (acceleration, jerk))
        return cls(np.linalg.norm(velocity, axis=-1), np.sqrt(felt), np.sqrt(change), dt_s)

    @property
    def progress_m(self) -> NDArray[np.float64]:
        """Length of each plan's path ``[P]``."""
        return np.asarray(self.speeds_mps.sum(-1) * self.dt_s)


@dataclass(frozen=True)
class CostConfig:
    """Prices of a plan's properties, in any unit; a certain collision costs ``collision``.

    The risk of a sample is ``collision`` on contact, plus the prices of three surrogates: each
    grows linearly from 0 at its ``_ok`` value to its price at 0. The cost of a plan is its risk, a
    weighted sum of mean and tail, plus the prices of speed, comfort and use of the road.

    The prices of the road apply where the map says where the lanes, or the drivable area or
    walkways, are (`forecast.planning.road`). Without a map, the cost has no opinion on where to
    drive: offer only plans that keep the road.

    How the defaults were chosen: three quarters of the speeds above 2 m/s of the ego in 65 nuScenes
    scenes are below 9 m/s, and the limit is 50 km/h, that of cities in most countries. A contact in
    one of 20 samples costs 31. That is more than stopping (5), the oncoming lane (12), or half of
    the time off the road (25).
    To pass somebody, half a metre aside (0.25) is cheaper than 1.5 m/s less over 6 s (0.9), and
    that is cheaper than a distance of half a metre (1). `scripts/closed_loop` shows the result.

    Attributes:
        collision: Price of a contact.
        ttc: Price of a time to collision of 0.
        ttc_ok_s: A time to collision of this or more costs nothing.
        pet: Price of a post-encroachment time of 0.
        pet_ok_s: A post-encroachment time of this or more costs nothing; 1.5 s is a near miss.
        distance: Price of a distance of 0.
        distance_ok_m: A distance of this or more costs nothing.
        target_speed_mps: Speed to drive at where nothing is in the way; one above the limit counts
            as the limit.
        progress_per_m: Price of each metre less, or more, than at the target speed. Only what a
            plan has above the best one counts.
        speed_limit_mps: Speed limit.
        speeding: Price of a mean excess over the limit of 1 m/s.
        lane_offset: Price of a mean square distance of 1 m^2 from the centre line of the nearest
            lane in the ego's direction.
        against_lane: Price of driving against the direction of the lane all the time; half of it
            across. A mean of ``(1 - cos(angle)) / 2``.
        off_road: Price of being off the drivable area all the time; if the map has none, on a
            walkway.
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
    target_speed_mps: float = 9.0
    progress_per_m: float = 0.1
    speed_limit_mps: float = 13.9
    speeding: float = 20.0
    lane_offset: float = 1.0
    against_lane: float = 20.0
    off_road: float = 50.0
    acceleration: float = 0.1
    jerk: float = 0.02
    tail_share: float = 0.1
    tail_weight: float = 0.5
    level: float = 0.95

    def __post_init__(self) -> None:
        """Checks prices and shares; raises `ForecastError`."""
        for name, value in vars(self).items():
            need = "a number of at least 0"
            require(0 <= real_number(name, value, need) < math.inf, name, value, need)
        above_0 = ("ttc_ok_s", "pet_ok_s", "distance_ok_m", "tail_share", "level")
        for name in (*above_0, "target_speed_mps", "speed_limit_mps"):
            require(getattr(self, name) > 0, name, getattr(self, name), "a number above 0")
        for name in ("tail_share", "tail_weight"):
            require(getattr(self, name) <= 1, name, getattr(self, name), "at most 1")
        require(self.level < 1, "level", self.level, "a level below 1")

    def driving(self, motion: PlanMotion, road: RoadUse) -> NDArray[np.float64]:
        """What every plan costs beside its risk ``[P]``."""
        target = min(self.target_speed_mps, self.speed_limit_mps)
        off_m = np.abs(motion.speeds_mps - target).sum(-1) * motion.dt_s
        excess = np.maximum(motion.speeds_mps - self.speed_limit_mps, 0).mean(-1)
        against = (1 - np.cos(road.turn_rad)).mean(-1) / 2
        return np.asarray(
            self.progress_per_m * (off_m - off_m.min())
            + self.speeding * excess
            + self.lane_offset * np.square(road.offset_m).mean(-1)
            + self.against_lane * against
            + self.off_road * road.off_road.mean(-1)
            + self.acceleration * motion.acceleration_mps2**2
            + self.jerk * motion.jerk_mps3**2
        )

    def risk(self, met: Clearance) -> NDArray[np.float64]:
        """Risk ``[P, K]`` of every plan in every sample."""
        return (
            self.collision * met.collided
            + self.ttc * np.clip(1 - met.ttc_s / self.ttc_ok_s, 0, 1)
            + self.pet * np.clip(1 - met.pet_s / self.pet_ok_s, 0, 1)
            + self.distance * np.clip(1 - met.distance_m / self.distance_ok_m, 0, 1)
        ).astype(np.float64)

    def weighed(
        self, risk_samples: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Weighted sum ``[P]`` of mean and tail of risks ``[P, K]``, by weights ``[K]``."""
        tail = tail_mean(risk_samples, weights, self.tail_share)
        return (1 - self.tail_weight) * (risk_samples @ weights) + self.tail_weight * tail


class ConflictPartner(NamedTuple):
    """An agent that a plan touches first, or without contact comes closest to, in some samples.

    Attributes:
        agent_id: Its name.
        collision_probability: Weight of the samples in which the plan touches it first.
        probability: Weight of these, and of those without contact in which it comes closest.
    """

    agent_id: str
    collision_probability: float
    probability: float


@dataclass(frozen=True, eq=False)
class Ranking:
    """Plans measured against imagined futures. Arrays are ``[P]`` unless said otherwise.

    Attributes:
        plans: The plans ``[P, T, 3]``.
        met: Contact and near misses between each plan and the agents of each sample ``[P, K]``. A
            plan was compared with the first ``samples`` of the K; the others are NaN.
        agent_ids: Names of the agents ``[A]``.
        weights: Probability of each sample ``[K]``.
        samples: Number of samples that the figures of each plan rest on.
        collision_probability: Point estimate: weight of the samples with contact.
        collision_low: Lower end of its Clopper-Pearson interval. The interval is too wide rather
            than too narrow, because the model's samples are spread more evenly than independent
            ones.
        collision_high: Upper end: the largest probability that samples like these do not rule out.
            It is no estimate, and above 0 even if no sample has contact: at level 0.95, 0.168 for
            20 samples, 0.036 for 100, 0.018 for 200. Only more samples lower it.
        ttc_mean_s: Mean over the samples of the smallest time to collision.
        ttc_tail_s: Its mean over the worst ``tail_share`` of the samples (CVaR).
        pet_mean_s: Mean post-encroachment time.
        pet_tail_s: Its tail.
        distance_mean_m: Mean smallest distance; infinite if there is no agent.
        distance_tail_m: Its tail.
        progress_m: Length of the plan's path.
        speeds_mps: Mean speed of each step ``[P, T]``.
        acceleration_mps2: Root mean square of the acceleration, sideways included.
        jerk_mps3: Root mean square of its change.
        road: Offset from the lane, direction against it, and leaving the road ``[P, T]``.
        risk_samples: Risk in each sample ``[P, K]``; NaN as in ``met``.
        risk: Risk as `CostConfig` weighs mean and tail.
        cost: Risk plus the prices of speed, comfort and use of the road.
        config: The prices.
        reactive: Whether the plan was measured against agents that react to it. Such plans come
            first in both orders, because the reactions to the others are unknown. Of these and of
            the others, plans with more samples come first (`forecast.planning.halving`).
    """

    plans: NDArray[np.float64]
    met: Clearance
    agent_ids: NDArray[np.str_]
    weights: NDArray[np.float64]
    samples: NDArray[np.int64]
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
    speeds_mps: NDArray[np.float64]
    acceleration_mps2: NDArray[np.float64]
    jerk_mps3: NDArray[np.float64]
    road: RoadUse
    risk_samples: NDArray[np.float64]
    risk: NDArray[np.float64]
    cost: NDArray[np.float64]
    config: CostConfig
    reactive: NDArray[np.bool_]

    def __repr__(self) -> str:
        plans, steps = self.plans.shape[:2]
        best = f"best {self.best} of cost {self.cost[self.best]:.3g}"
        fewest, most = self.samples.min(), self.samples.max()
        samples = f"{most}" if fewest == most else f"{fewest} to {most}"
        counts = f"{steps} steps, {samples} samples, {int(self.reactive.sum())} reactive"
        return f"Ranking({plans} plans, {counts}; {best})"

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Plans by cost, the best first; of equal ones the earlier first."""
        return np.lexsort((self.cost, -self.samples, ~self.reactive))

    @property
    def best(self) -> int:
        """The plan of the lowest cost, of those that were compared to the end."""
        return int(self.order[0])

    @cached_property
    def by_risk(self) -> NDArray[np.int64]:
        """Plans by risk only, the safest first; of equal ones the cheaper first."""
        return np.lexsort((self.cost, self.risk, -self.samples, ~self.reactive))

    @property
    def safest(self) -> int:
        """The plan of the lowest risk, of those that were compared to the end."""
        return int(self.by_risk[0])

    def partners(self, plan: int) -> list[ConflictPartner]:
        """Whom a plan touches or comes closest to, the likeliest contact first.

        Args:
            plan: The plan.
        """
        known = slice(int(self.samples[plan]))
        weights, met = weights_of(self.weights, known), self.met.agent[plan, known]
        touched = weights * self.met.collided[plan, known]
        found = [
            ConflictPartner(
                str(self.agent_ids[agent]),
                float(touched[met == agent].sum()),
                float(weights[met == agent].sum()),
            )
            for agent in np.unique(met[met >= 0])
        ]
        return sorted(found, key=lambda each: (-each.collision_probability, -each.probability))

    def lead(self, first: int, second: int, *, risk_only: bool = False) -> Lead:
        """Advantage of a plan over another in mean cost (or mean risk), with an interval.

        Only samples with which both were compared count. The interval is for two plans given in
        advance; it does not account for their having been picked among many.

        Args:
            first: The plan.
            second: The other.
            risk_only: Whether to leave out all but the risk.
        """
        fixed = 0.0 if risk_only else self._price(second) - self._price(first)
        both = int(self.samples[[first, second]].min())
        weights = weights_of(self.weights, slice(both))
        one, other = self.risk_samples[[first, second], :both]
        mean, low, high = paired_interval(one, other, weights, self.config.level)
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
    lane_map: LaneMap | None = None,
) -> Ranking:
    """Ranks plans against imagined futures.

    Args:
        plans: Poses ``[P, T, 3]`` of the ego's centre at the steps of the futures.
        futures: Shared by all plans, or separate ones for each plan with agents that react to it.
        ego: The ego now.
        cost: Prices; default `CostConfig`.
        limits: Limits of the measurements; default `ClearanceConfig`.
        lane_map: The map in the frame of the plans; without it, the road costs nothing.

    Raises:
        ForecastError: The shapes of plans and futures do not fit each other.
    """
    poses = np.asarray(plans, np.float64)
    met = clearance(poses, futures, ego, limits)
    reactive = np.full(len(poses), futures.reactive)
    of = futures.agent_ids, futures.weights
    samples = np.full(len(poses), futures.samples)
    driven = PlanMotion.of(poses, ego, futures.dt_s), road_use(poses, lane_map, ego)
    return ranked(poses, met, *of, samples, reactive, *driven, cost)


def ranked(
    poses: NDArray[np.float64],
    met: Clearance,
    agent_ids: NDArray[np.str_],
    weights: NDArray[np.float64],
    samples: NDArray[np.int64],
    reactive: NDArray[np.bool_],
    motion: PlanMotion,
    road: RoadUse,
    cost: CostConfig | None = None,
) -> Ranking:
    """The ranking of plans ``[P, T, 3]`` by measurements ``[P, K]``.

    Args:
        poses: The plans.
        met: Contact and near misses between each plan and the agents of each sample.
        agent_ids: Names of the agents ``[A]``.
        weights: Probability of each sample ``[K]``.
        samples: Number of samples of each plan that count, the first ones ``[P]``.
        reactive: Plans whose futures are reactive rollouts ``[P]``.
        motion: How the plans move.
        road: How they use the road.
        cost: Prices; default `CostConfig`.
    """
    cost = cost or CostConfig()
    figures: dict[str, NDArray[np.float64]] = {}
    for count in np.unique(samples).tolist():
        plans, part = samples == count, weights_of(weights, slice(count))
        for name, values in _figures(met.part(plans, slice(count)), part, cost).items():
            figures.setdefault(name, np.empty(len(poses)))[plans] = values
    return Ranking(
        plans=poses,
        met=met,
        agent_ids=agent_ids,
        weights=weights,
        samples=samples,
        progress_m=motion.progress_m,
        speeds_mps=motion.speeds_mps,
        acceleration_mps2=motion.acceleration_mps2,
        jerk_mps3=motion.jerk_mps3,
        road=road,
        risk_samples=cost.risk(met),
        cost=figures["risk"] + cost.driving(motion, road),
        config=cost,
        reactive=reactive,
        **figures,
    )


def _figures(
    met: Clearance, weights: NDArray[np.float64], cost: CostConfig
) -> dict[str, NDArray[np.float64]]:
    """Figures of a `Ranking` ``[P]`` that follow from measurements ``[P, K]``."""
    probability = met.collided @ weights
    low, high = probability_interval(probability, effective_samples(weights), cost.level)
    figures = {
        "risk": cost.weighed(cost.risk(met), weights),
        "collision_probability": probability,
        "collision_low": low,
        "collision_high": high,
    }
    for name, values in (("ttc", met.ttc_s), ("pet", met.pet_s), ("distance", met.distance_m)):
        unit = "m" if name == "distance" else "s"
        mean, tail = _mean_and_tail(values, weights, cost.tail_share)
        figures |= {f"{name}_mean_{unit}": mean, f"{name}_tail_{unit}": tail}
    return figures


def _mean_and_tail(
    values: NDArray[np.float32], weights: NDArray[np.float64], share: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and lower tail ``[P]`` of values ``[P, K]``; rows are infinite as a whole or nowhere."""
    finite = np.where(np.isfinite(values), values, 0.0).astype(np.float64)
    empty = np.isinf(values).all(-1)
    mean, tail = finite @ weights, -tail_mean(-finite, weights, share)
    return np.where(empty, np.inf, mean), np.where(empty, np.inf, tail)
