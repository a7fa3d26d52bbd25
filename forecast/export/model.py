"""The network with its verbs run as exported programs; all else is as it was."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from forecast.export.formats import Run
from forecast.export.programs import MOVING, Tensors, context_tensors, state_of, state_tensors
from forecast.graphs import GraphConfig
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.kinematics import Motion, stack
from forecast.models.state import Context, EncodedMap, Frame, Noise, Plan, State
from forecast.models.world_model import WorldModel, WorldModelConfig


class ExportedModel(PedestrianForecaster):
    """A network that imagines with exported programs; on a processor and without gradients.

    Args:
        model: The network they were made of.
        run: The programs by name.
    """

    def __init__(self, model: PedestrianForecaster, run: Mapping[str, Run]) -> None:
        super().__init__(model.config)
        self._run = run
        self.world = _ExportedWorld(model.config.world_model, model.config.graph, run)
        self.load_state_dict(model.state_dict())

    def encode(self, points: Tensor, kind: Tensor, follows: Tensor) -> EncodedMap:
        """See `PedestrianForecaster.encode`."""
        told, poses = self._run["map"](points, kind, follows)
        return EncodedMap(told.flatten(0, 1), poses)


class _ExportedWorld(WorldModel):
    def __init__(
        self, config: WorldModelConfig, graph: GraphConfig, run: Mapping[str, Run]
    ) -> None:
        super().__init__(config, graph)
        self._run = run

    def observe(self, context: Context, state: State, frame: Frame) -> State:
        """See `WorldModel.observe`."""
        seen = frame.position, frame.heading, frame.valid
        after = self._run["observe"](*context_tensors(context), *state_tensors(state), *seen)
        return state_of(after, state.hand[:, 0])

    def imagine(
        self, context: Context, state: State, noise: Noise, plan: Plan | None = None
    ) -> Motion:
        """See `WorldModel.imagine`."""
        constant, future = context_tensors(context), (noise.intent, noise.hand)
        values = self._run["begin"](*state_tensors(state), *future)
        motions = []
        for step, small in enumerate(noise.steps):
            told = _told(plan, step, values[1])
            moved = self._run["imagine"](*constant, *values, *future, small, *told)
            values = *moved, *values[MOVING:]
            motions.append(Motion(*moved[1:]))
        return stack(motions)


def _told(plan: Plan | None, step: int, position: Tensor) -> Tensors:
    """The poses of a step ``[S, N, 3]``, and who follows them ``[N]``."""
    copies, agents, _ = position.shape
    if plan is None:
        nobody = torch.zeros(agents, dtype=torch.bool)
        return position.new_zeros(copies, agents, 3), nobody
    return plan.poses[step].expand(copies, agents, 3), plan.follows
