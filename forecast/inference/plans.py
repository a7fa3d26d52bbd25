"""Futures of a scene under each of several plans of the ego."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.datasets.windows import Window
from forecast.errors import require
from forecast.inference.weights import Training
from forecast.inference.windows import encode, observed
from forecast.models.calibration.fallback import Fallback
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.noise import keyed_noise
from forecast.models.reactive import ReactionConfig, ReactiveRollout
from forecast.planning import (
    Clearance,
    ClearanceConfig,
    CostConfig,
    EgoState,
    Futures,
    Ranking,
    clearance,
)
from forecast.planning.ego import ONE_EGO
from forecast.planning.halving import FEWEST_PLANS, cheapest, measure_in_rounds
from forecast.planning.ranking import PlanMotion, ranked
from forecast.planning.risk import weights_of
from forecast.planning.road import RoadUse
from forecast.scene import AgentKind

_FACTOR, _REACT_FACTOR = 2, 4
"""From round to round, so many times fewer plans get so many times more samples. Reactive rollouts
have a fixed cost per round, so they have fewer rounds."""
_FEWEST_REACTING = 16
"""Of the plans with reactions, at least so many are compared to the end. They are fewer than
`FEWEST_PLANS`, because reactions cost more."""


class PlanWorlds:
    """One observed window, and its futures under each plan.

    Args:
        model: The network.
        cut: The window; its horizon is that of the plans.
        plans: Poses ``[P, T, 3]`` in the window's frame.
        samples: Number of joint futures K.
        seed: Seed of the noise.
        training: Training data and settings of the weights; OOD pedestrians get the fallback of
            `Forecaster.predict`.
        reactions: Selects the agents that are imagined again for each plan.

    Raises:
        ForecastError: The window has no agent of kind EGO.
    """

    def __init__(
        self,
        model: PedestrianForecaster,
        cut: Window,
        plans: NDArray[np.float64],
        samples: int,
        seed: int,
        training: Training,
        reactions: ReactionConfig | None = None,
    ) -> None:
        is_ego = cut.kinds == AgentKind.EGO
        require(is_ego.sum() == 1, f"{cut.scene_id}: number of egos", int(is_ego.sum()), ONE_EGO)
        self.plans = plans
        self.encoded = encoded = encode(model, cut, plans.astype(np.float32))
        names, steps = cut.agent_ids.tolist(), plans.shape[1]
        noise = keyed_noise(model.config.world_model, names, samples, steps, seed).without_mode()
        noise = noise.to(encoded.context.agents.dt.device)
        self._others, self._noise, self._reactions = ~is_ego, noise, reactions
        fitted = training.calibration, training.ood
        self._fallback = Fallback.of(observed(cut), *fitted, names, seed)
        self._world = model.world

    def rank(
        self,
        ego: EgoState,
        react: int,
        road: RoadUse,
        cost: CostConfig | None = None,
        limits: ClearanceConfig | None = None,
    ) -> Ranking:
        """Ranks the plans by sequential halving; see `Forecaster.rank_plans`.

        Args:
            ego: The ego now.
            react: Number of plans with reactions, at most P.
            road: How the plans use the road.
            cost: Weights of the cost.
            limits: Limits of the measured distances and times.
        """
        cost, futures = cost or CostConfig(), self.open_loop
        motion = PlanMotion.of(self.plans, ego, futures.dt_s)
        price, met = cost.driving(motion, road), Clearance.unknown(len(self.plans), futures.samples)

        def judge(plans: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            known = slice(int(np.isfinite(met.ttc_s[plans[0]]).sum()))
            weights = weights_of(futures.weights, known)
            risk = cost.weighed(cost.risk(met.part(plans, known)), weights)
            return risk, risk + price[plans]

        def alone(plans: NDArray[np.int64], samples: slice) -> Clearance:
            return clearance(self.plans[plans], futures.part(samples), ego, limits)

        def reacting(plans: NDArray[np.int64], samples: slice) -> Clearance:
            return clearance(self.plans[plans], self.reacting(plans, samples), ego, limits)

        everything = np.arange(len(self.plans))
        kept = max(react, FEWEST_PLANS)
        samples = measure_in_rounds(met, everything, kept, _FACTOR, alone, judge)
        reacts = np.zeros(len(everything), bool)
        if react:
            whole = np.flatnonzero(samples == samples.max())
            chosen = cheapest(whole, react, *judge(whole))
            # A plan goes on by the reactions in the samples so far, and by the open-loop futures in
            # the others. They are control variates: what they have in common with the reactions
            # that are still unknown is no longer uncertain.
            again = measure_in_rounds(met, chosen, _FEWEST_REACTING, _REACT_FACTOR, reacting, judge)
            reacts[chosen], samples[chosen] = True, again[chosen]
        met.forget(samples)
        of = futures.agent_ids, futures.weights
        return ranked(self.plans, met, *of, samples, reacts, motion, road, cost)

    @cached_property
    def _rollout(self) -> ReactiveRollout:
        with torch.inference_mode():
            scene = self._world, self.encoded.context, self.encoded.state
            return ReactiveRollout(*scene, self._noise, self._reactions)

    @cached_property
    def open_loop(self) -> Futures:
        """Futures ``[K, A, T, 2]`` in which the ego drives as imagined, the same for all plans."""
        cut, others, positions = self.encoded.cut, self._others, _numpy(self._rollout.positions)
        if self._fallback is not None:
            positions = self._fallback.samples(positions)
        now, samples = cut.history_steps - 1, len(positions)
        return Futures(
            positions_m=positions[:, others],
            agent_ids=cut.agent_ids[others],
            now_m=cut.positions_m[others, now],
            headings_rad=cut.headings_rad[others, now],
            sizes_m=cut.sizes_m[others, :2],
            disc=cut.kinds[others] == AgentKind.PEDESTRIAN,
            weights=np.full(samples, 1 / samples),
            dt_s=cut.dt_s,
        )

    def reacting(self, chosen: NDArray[np.int64], samples: slice = slice(None)) -> Futures:
        """Futures ``[P', K', A, T, 2]`` in which people react to a plan, for some of the plans.

        Only people near the plan, or near the ego as imagined, are imagined again
        (`forecast.models.reactive`). The others have the same futures for every plan, and so have
        those of the fallback.

        Args:
            chosen: Indices of P' plans.
            samples: Which samples.
        """
        plans = torch.from_numpy(self.plans[chosen].astype(np.float32))
        with torch.inference_mode():
            rollout = self._rollout.samples(samples)
            positions = _numpy(rollout.to(plans.to(rollout.noise.mirror.device)))
        shared = self.open_loop.part(samples)
        positions = positions[..., self._others, :, :]
        if self._fallback is not None:
            ood = self._fallback.ood[self._others]
            positions[..., ood, :, :] = shared.positions_m[:, ood]
        return replace(shared, positions_m=positions)


def _numpy(values: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(values.cpu().numpy())
