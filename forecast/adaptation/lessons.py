"""A scene with the prediction times that may be learnt from, and graphs of its windows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Batch, HeteroData

from forecast.datasets.scene_file import SceneFile, encode
from forecast.datasets.windows import Window, WindowSpec, prediction_times, window
from forecast.graphs.augment import AugmentConfig
from forecast.graphs.config import GraphConfig
from forecast.graphs.seeded import recorded_graph, varied_graph
from forecast.inference.windows import observed
from forecast.models.calibration.ood import features
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.losses import LossConfig
from forecast.models.noise import window_noise
from forecast.models.types import Noise
from forecast.scene import Scene

_SCORED_SAMPLES = 8
"""Imagined futures of a window whose loss is measured, not learnt from."""

_PLACE_WINDOWS = 8
"""Windows of a scene that say what moves there."""


def scene_sha256(scene: Scene) -> str:
    """Hash of the content of a scene, in hex; does not depend on where it is stored."""
    return hashlib.sha256(encode(SceneFile(scene, "", {}))).hexdigest()


@dataclass(frozen=True, eq=False)
class Lesson:
    """A scene and its windows.

    Attributes:
        scene: The scene.
        spec: Lengths of the windows.
    """

    scene: Scene
    spec: WindowSpec

    @cached_property
    def scored(self) -> NDArray[np.bool_]:
        """Which pedestrians count at which prediction time ``[A, T]``."""
        return prediction_times(self.scene, self.spec).scored

    @cached_property
    def times(self) -> NDArray[np.int64]:
        """Prediction times with a pedestrian that counts."""
        return np.flatnonzero(self.scored.any(axis=0))

    def window(self, at: int) -> Window:
        """The window of a prediction time."""
        return window(self.scene, at, self.spec, self.scored[:, at])

    def spread(self, count: int) -> list[Window]:
        """At most so many windows, spread evenly over the scene."""
        chosen = np.unique(np.linspace(0, len(self.times) - 1, count).round().astype(int))
        return [self.window(int(at)) for at in self.times[chosen]] if len(self.times) else []

    def drawn(
        self, count: int, graph: GraphConfig, config: AugmentConfig, rng: np.random.Generator
    ) -> list[HeteroData]:
        """Graphs of random windows, varied for training."""
        chosen = rng.choice(self.times, count)
        seeds = rng.integers(2**63, size=count)
        return [
            varied_graph(self.window(int(at)), graph, config, int(seed))
            for at, seed in zip(chosen, seeds, strict=True)
        ]

    @cached_property
    def place(self) -> NDArray[np.float64]:
        """What moves here ``[2 D]``: mean and spread of the features of people's histories."""
        found = [features(observed(cut))[cut.scored] for cut in self.spread(_PLACE_WINDOWS)]
        every = np.concatenate(found)
        return np.concatenate([every.mean(axis=0), every.std(axis=0)])


def noise_of(model: PedestrianForecaster, batch: HeteroData, samples: int) -> Noise:
    """The noise of a batch's futures, from the seeds of its windows."""
    agent = batch["agent"]
    seeds, agents = batch.seed.tolist(), agent.ptr.diff().tolist()
    size = model.config.world_model
    return window_noise(size, seeds, agents, samples, agent.future.shape[1])


@torch.no_grad()
def loss_on(model: PedestrianForecaster, cuts: Sequence[Window], config: LossConfig) -> float:
    """The loss of a network in evaluation mode on windows as recorded; NaN if nobody is scored.

    The noise of a window depends on the window only, so that two networks have the same.

    Args:
        model: The network.
        cuts: The windows.
        config: Weights of the terms.
    """
    if not cuts:
        return float("nan")
    batch = Batch.from_data_list([recorded_graph(cut, model.config.graph) for cut in cuts])
    agent = batch["agent"]
    counted = agent.future_valid & agent.scored[:, None]
    noise = noise_of(model, batch, _SCORED_SAMPLES)
    parts, _ = model.loss(batch, noise, config, counted)
    return float(parts["loss"])
