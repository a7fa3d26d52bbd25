"""Futures of a scene under each of several plans of the ego."""

from __future__ import annotations

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
from forecast.planning import ClearanceConfig, CostConfig, EgoState, Futures, Ranking, clearance
from forecast.planning.ranking import PlanMotion, ranked
from forecast.planning.road import RoadUse
from forecast.scene import AgentKind


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
        require(
            is_ego.sum() == 1, f"{cut.scene_id}: number of egos", int(is_ego.sum()), "exactly 1"
        )
        self.plans = plans
        self.encoded = encoded = encode(model, cut, plans.astype(np.float32))
        names, steps = cut.agent_ids.tolist(), plans.shape[1]
        noise = keyed_noise(model.config.world_model, names, samples, steps, seed).without_mode()
        noise = noise.to(encoded.context.agents.dt.device)
        self._is_ego = is_ego
        fitted = training.calibration, training.ood
        self._fallback = Fallback.of(observed(cut), *fitted, names, seed)
        self._weights = np.full(samples, 1 / samples)
        with torch.inference_mode():
            scene = model.world, encoded.context, encoded.state
            self._rollout = ReactiveRollout(*scene, noise, reactions)

    def rank(
        self,
        ego: EgoState,
        react: int,
        road: RoadUse,
        cost: CostConfig | None = None,
        limits: ClearanceConfig | None = None,
    ) -> Ranking:
        """Ranks the plans; see `Forecaster.rank_plans`.

        Args:
            ego: The ego now.
            react: Number of plans with reactions, at most P.
            road: How the plans use the road.
            cost: Weights of the cost.
            limits: Limits of the measured distances and times.
        """
        cut, everything = self.encoded.cut, np.arange(len(self.plans))
        motion = PlanMotion.of(self.plans, ego, cut.dt_s)
        reacts = np.full(len(self.plans), react == len(self.plans))
        futures = self.reacting(everything) if reacts.all() else self.open_loop()
        met = clearance(self.plans, futures, ego, limits)
        first = ranked(self.plans, met, self._weights, reacts, motion, road, cost)
        if react == 0 or reacts.all():
            return first
        chosen = np.sort(first.order[:react])
        again = clearance(self.plans[chosen], self.reacting(chosen), ego, limits)
        reacts = np.isin(everything, chosen)
        met = met.replaced(chosen, again)
        return ranked(self.plans, met, self._weights, reacts, motion, road, cost)

    def open_loop(self) -> Futures:
        """Futures ``[K, A, T, 2]`` in which the ego drives as imagined, the same for all plans."""
        return self._futures(_numpy(self._rollout.positions))

    def reacting(self, chosen: NDArray[np.int64]) -> Futures:
        """Futures ``[P', K, A, T, 2]`` in which people react to a plan, for some of the plans.

        Only people near the plan are imagined again (`forecast.models.reactive`). The others have
        the same futures for every plan.

        Args:
            chosen: Indices of P' plans.
        """
        plans = torch.from_numpy(self.plans[chosen].astype(np.float32))
        with torch.inference_mode():
            device = self._rollout.positions.device
            return self._futures(_numpy(self._rollout.to(plans.to(device))))

    def _futures(self, positions_m: NDArray[np.float32]) -> Futures:
        """Futures of all agents except the ego, from those of all agents ``[..., K, A, T, 2]``."""
        cut, others = self.encoded.cut, ~self._is_ego
        if self._fallback is not None:
            positions_m = self._fallback.samples(positions_m)
        now = cut.history_steps - 1
        return Futures(
            positions_m=positions_m[..., others, :, :],
            now_m=cut.positions_m[others, now],
            headings_rad=cut.headings_rad[others, now],
            sizes_m=cut.sizes_m[others, :2],
            disc=cut.kinds[others] == AgentKind.PEDESTRIAN,
            weights=self._weights,
            dt_s=cut.dt_s,
        )


def _numpy(values: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(values.cpu().numpy())
