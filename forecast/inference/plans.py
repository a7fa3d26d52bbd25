"""Plans as copies of the world: what people do if the ego drives this one, and that one."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from forecast.datasets.windows import Window
from forecast.errors import require
from forecast.inference.windows import encode, observed
from forecast.models.familiarity import Familiarity
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.guard import at_constant_velocity, unfamiliar
from forecast.models.noise import keyed_noise
from forecast.models.state import Context, Plan
from forecast.planning import ClearanceConfig, CostConfig, EgoState, Futures, Ranking, clearance
from forecast.planning.ranking import ranked
from forecast.scene import AgentKind

_NODES = 8192
"""Agents of all copies that are imagined at once: about what the caches hold."""


class PlanWorlds:
    """One encoded window and the futures that plans meet in it.

    Args:
        model: The network.
        cut: The window; its horizon is that of the plans.
        plans: Poses ``[P, T, 3]`` in the window's frame.
        samples: Number of joint futures K.
        seed: Seed of the noise.
        familiarity: Who is imagined at all; others keep their velocity, as in `predict`.

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
        familiarity: Familiarity | None = None,
    ) -> None:
        is_ego = cut.kinds == AgentKind.EGO
        require(
            is_ego.sum() == 1, f"{cut.scene_id}: number of egos", int(is_ego.sum()), "exactly 1"
        )
        self.world, self.plans, self.samples = model.world, plans, samples
        self.encoded = encode(model, cut, plans.astype(np.float32))
        names, steps = cut.agent_ids.tolist(), plans.shape[1]
        noise = keyed_noise(model.config.world_model, names, samples, steps, seed).drawn()
        self.noise = noise.to(self.encoded.context.dt.device)
        self._is_ego = is_ego
        self._odd = unfamiliar(observed(cut), familiarity)
        self._weights = np.full(samples, 1 / samples)
        self._unaware = self._imagine_unaware()

    def rank(
        self,
        ego: EgoState,
        react: int,
        cost: CostConfig | None = None,
        limits: ClearanceConfig | None = None,
    ) -> Ranking:
        """Ranks the plans; see `Forecaster.rank_plans`.

        Args:
            ego: The ego now.
            react: How many plans people react to, at most P.
            cost: Prices.
            limits: Limits of what is measured.
        """
        dt_s, everything = self.encoded.cut.dt_s, np.arange(len(self.plans))
        if react == len(self.plans):
            met = clearance(self.plans, self.reacting(everything), ego, limits)
            aware = np.ones(len(self.plans), bool)
            return ranked(self.plans, met, self._weights, aware, ego, dt_s, cost)
        met = clearance(self.plans, self.unaware(), ego, limits)
        aware = np.zeros(len(self.plans), bool)
        first = ranked(self.plans, met, self._weights, aware, ego, dt_s, cost)
        if react == 0:
            return first
        chosen = np.sort(first.order[:react])
        again = clearance(self.plans[chosen], self.reacting(chosen), ego, limits)
        aware[chosen] = True
        met = met.replaced(chosen, again)
        return ranked(self.plans, met, self._weights, aware, ego, dt_s, cost)

    def unaware(self) -> Futures:
        """Futures of people who see the ego drive on as imagined, shared by all plans."""
        return self._futures(self._unaware)

    def reacting(self, chosen: NDArray[np.int64]) -> Futures:
        """Futures ``[P', K, A, T, 2]`` of people who see a plan unfold, for some of the plans.

        Only agents that the ego can reach, also through others, are imagined anew; for the rest
        every plan is the same.
        """
        reached = _reached(self.encoded.context, self._is_ego)
        shape = (len(chosen), *self._unaware.shape)
        futures = np.broadcast_to(self._unaware, shape).copy()
        futures[:, :, reached] = self._imagine_reacting(chosen, torch.from_numpy(reached))
        return self._futures(futures)

    def _futures(self, positions_m: NDArray[np.float32]) -> Futures:
        """Everybody's futures ``[..., K, A, T, 2]`` as those of all but the ego."""
        cut, others = self.encoded.cut, ~self._is_ego
        if self._odd is not None:
            positions_m = at_constant_velocity(positions_m, observed(cut), self._odd)
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

    def _imagine_unaware(self) -> NDArray[np.float32]:
        context, state = self.encoded.context, self.encoded.state
        with torch.inference_mode():
            positions = self.world.imagine(context, state, self.noise).position
        return np.asarray(positions.cpu().numpy())

    def _imagine_reacting(self, chosen: NDArray[np.int64], agents: Tensor) -> NDArray[np.float32]:
        """Futures ``[P', K, A', T, 2]`` of some agents, copies of the world side by side."""
        context = self.encoded.context.select(agents)
        state, noise = self.encoded.state.select(agents), self.noise.select(agents)
        follows = context.kind == AgentKind.EGO
        poses = torch.from_numpy(self.plans[chosen].astype(np.float32)).to(context.dt.device)
        at_once = max(1, _NODES // (len(follows) * self.samples))
        parts = []
        with torch.inference_mode():
            for part in torch.split(poses, at_once):
                copies = part.repeat_interleave(self.samples, 0)  # [S, T, 3]
                plan = Plan(copies.transpose(0, 1)[:, :, None], follows)
                repeated = noise.repeated(len(part))
                parts.append(self.world.imagine(context, state, repeated, plan).position)
        futures = torch.cat(parts).cpu().numpy()
        return futures.reshape(len(chosen), self.samples, *futures.shape[1:])


def _reached(context: Context, is_ego: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Agents that the ego can meet before the horizon, or who can meet one of those ``[A]``."""
    source, target = context.pairs.cpu().numpy()
    size = len(is_ego)
    links = coo_array((np.ones(len(source), bool), (source, target)), shape=(size, size))
    _, group = connected_components(links, directed=False)
    reached: NDArray[np.bool_] = group == group[is_ego]
    return reached
