"""Predictions from a file: Parquet rows or a submission to the nuScenes challenge.

Parquet columns: ``scene_id, agent_id, at_us, sample, weight, step, x_m, y_m``, as
``predictions.parquet`` of an evaluation has them: one row per agent, sample and step (from 1),
positions in the world's frame. ``sample = -1`` with weight 0 is a best guess outside the samples.
An optional ``dt_s`` must be the store's. Other columns are ignored.

JSON: a list of ``{"instance", "sample", "prediction": [K, T, 2], "probabilities": [K]}``, the form
of the nuScenes devkit's ``Prediction.serialize``.

If the weights of all agents of a window agree, sample k is one joint future of all of them.
Otherwise the agents are scored as predicted one by one, and the joint metrics are not defined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.scene import Prediction, Scene

SUFFIXES = (".parquet", ".json")
_WEIGHT_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class PredictionFileWindow:
    """The predictions of a file for one window.

    Attributes:
        agent_ids: Agents ``[N]``.
        positions_m: World positions ``[N, K, T, 2]``.
        weights: ``[N, K]``.
        mode_m: Best guesses outside the samples ``[N, T, 2]``, or None.
    """

    agent_ids: NDArray[np.str_]
    positions_m: NDArray[np.float64]
    weights: NDArray[np.float64]
    mode_m: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class PredictionFilePredictor:
    """Returns the predictions of a file; satisfies `Predictor` for the windows in it.

    Attributes:
        name: Its name in tables.
        windows: The file's predictions, by scene and time.
        agent: The agent whose sample weights apply, where they differ; "" for all agents.
    """

    name: str
    windows: Mapping[tuple[str, int], PredictionFileWindow]
    agent: str = ""

    @cached_property
    def is_marginal(self) -> bool:
        """Whether the agents of some window have sample weights of their own."""
        return not self.agent and any(
            np.ptp(window.weights, axis=0).max(initial=0.0) > _WEIGHT_TOLERANCE
            for window in self.windows.values()
        )

    def alone(self, agent: str) -> PredictionFilePredictor:
        """The same predictor with the sample weights of one agent."""
        return replace(self, agent=agent)

    def predict(
        self,
        scene: Scene,
        at: int,
        *,
        horizon_s: float = 6.0,
        samples: int = 20,
        seed: int = 0,
        ego_plan: NDArray[Any] | None = None,
    ) -> Prediction:
        """The file's prediction for this window, whatever the options; see `Predictor.predict`.

        Raises:
            ForecastError: The file has no such window.
        """
        at_us = int(scene.timestamps_us[at])
        stored = self.windows.get((scene.id, at_us))
        if stored is None:
            raise ForecastError(
                f"{self.name}: nothing is predicted in {scene.id} at {at_us} us; predict every "
                "scored pedestrian"
            )
        names = scene.tracks.agent_ids[scene.present(at)]
        place = {name: index for index, name in enumerate(stored.agent_ids.tolist())}
        rows = np.array([place.get(name, -1) for name in names.tolist()])
        known = rows >= 0
        futures = np.where(known[:, None, None, None], stored.positions_m[rows], 0.0)
        local = np.where(known[:, None, None, None], futures - scene.origin_m, 0.0)
        mode = None if stored.mode_m is None else stored.mode_m[rows] - scene.origin_m
        weights = stored.weights[place.get(self.agent, 0)]
        return Prediction(
            positions_m=local.swapaxes(0, 1).astype(np.float32),
            weights=weights / weights.sum(),
            agent_ids=names,
            valid=known,
            at_us=at_us,
            dt_s=scene.dt_s,
            origin_m=scene.origin_m,
            mode_m=None if mode is None else mode.astype(np.float32),
        )
