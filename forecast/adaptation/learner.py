"""Small training steps of all weights on a new scene, with replay and a running mean.

Steps of the last layers alone forget as much and gain half (scripts/results/adaptation.md).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, HeteroData

from forecast.adaptation.config import AdaptConfig
from forecast.adaptation.lessons import Lesson, noise_of
from forecast.models.forecaster import PedestrianForecaster
from forecast.training.known_paths import known_paths

_BETAS = (0.9, 0.98)
_CLIP = 1.0
"""Largest norm of a gradient."""


class Learner:
    """The weights while they are learnt, and their running mean, which predicts.

    Args:
        model: The network with the weights that it came from; it is not changed.
        config: How it learns.
    """

    def __init__(self, model: PedestrianForecaster, config: AdaptConfig) -> None:
        self.config = config
        self.model = PedestrianForecaster(model.config).train()
        self.model.load_state_dict(model.state_dict())
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self._means = [value.data for value in self.average.parameters()]
        self._learnt = list(self.model.parameters())
        self._optimizer = torch.optim.Adam(self._learnt, config.lr, betas=_BETAS)

    def learn(
        self,
        newest: Lesson,
        remembered: Sequence[Lesson],
        old: Sequence[Lesson],
        seed: Sequence[int],
    ) -> None:
        """Learns from a scene for some steps.

        Args:
            newest: The scene.
            remembered: Earlier scenes of the stream; without any, more windows are of the old data.
            old: Scenes of the old data.
            seed: Seed of the windows, their changes and the noise.
        """
        rng = np.random.default_rng(seed)
        for _ in range(self.config.steps):
            self._step(Batch.from_data_list(self._windows(newest, remembered, old, rng)), rng)

    def _windows(
        self,
        newest: Lesson,
        remembered: Sequence[Lesson],
        old: Sequence[Lesson],
        rng: np.random.Generator,
    ) -> list[HeteroData]:
        """The graphs of a training step."""
        config = self.config
        some = [newest] * config.new
        for scenes, count in ((remembered or old, config.remembered), (old, config.old)):
            some += [scenes[i] for i in rng.integers(len(scenes), size=count)]
        graph = self.model.config.graph
        return [each.drawn(1, graph, config.augment, rng)[0] for each in some]

    def _step(self, batch: HeteroData, rng: np.random.Generator) -> None:
        config = self.config
        plan = known_paths(batch, config.plan_share, float(rng.random()))
        noise = noise_of(self.model, batch, config.samples)
        counted = batch["agent"].future_valid
        parts, _ = self.model.loss(batch, noise, config.loss, counted, plan)
        parts["loss"].backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._learnt, _CLIP)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._follow()

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the running mean towards the weights.

        It starts at the weights that the model came from. So the first scenes, whose steps are
        mostly noise, change little.
        """
        for mean, value in zip(self._means, self._learnt, strict=True):
            mean.lerp_(value, 1 - self.config.average)

    def state(self) -> dict[str, Any]:
        """A copy of everything that later steps depend on: tensors and plain values."""
        state: dict[str, Any] = copy.deepcopy(
            {
                "learnt": [value.detach() for value in self._learnt],
                "means": self._means,
                "optimizer": self._optimizer.state_dict(),
            }
        )
        return state

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes back to a `state`."""
        for name, values in (("learnt", self._learnt), ("means", self._means)):
            for value, known in zip(values, state[name], strict=True):
                value.copy_(known)
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))

    def weights(self) -> dict[str, Tensor]:
        """The weights that predict, by name."""
        return self.average.state_dict()
