"""Predictions from a file: Parquet rows or a submission to the nuScenes challenge.

Parquet columns: ``scene_id, agent_id, at_us, sample, weight, step, x_m, y_m``, as
``predictions.parquet`` of an evaluation has them: one row per agent, sample and step (from 1),
positions in the world's frame. ``sample = -1`` with weight 0 is a best guess outside the samples.
An optional ``dt_s`` must be the store's. Other columns are ignored.

JSON: a list of ``{"instance", "sample", "prediction": [K, T, 2], "probabilities": [K]}``, the form
of the nuScenes devkit's ``Prediction.serialize``; or a dict with this list under ``predictions`` or
``results``.

If the weights of all agents of a window agree, sample k is one joint future of all of them.
Otherwise the agents are scored as predicted one by one, and the joint metrics are not defined. The
agents of a window may also have different numbers of samples; then each is scored with its own.

Predictions in scenes that are not scored are skipped. Weights of an agent that sum to within 2 % of
1, such as rounded ones, are divided by their sum. `PredictionFilePredictor.counts` counts both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
        weights: ``[N, K]``, summing to 1 for each agent.
        mode_m: Best guesses outside the samples ``[N, T, 2]``, or None.
        samples: Number of samples of each agent ``[N]``; None: all have K. The further ones of an
            agent with fewer repeat its last sample with weight 0.
    """

    agent_ids: NDArray[np.str_]
    positions_m: NDArray[np.float64]
    weights: NDArray[np.float64]
    mode_m: NDArray[np.float64] | None
    samples: NDArray[np.int64] | None = None

    @property
    def is_marginal(self) -> bool:
        """Whether its agents have sample weights, or numbers of samples, of their own."""
        uneven = self.samples is not None and np.ptp(self.samples) > 0
        return bool(uneven or np.ptp(self.weights, axis=0).max(initial=0.0) > _WEIGHT_TOLERANCE)


@dataclass(frozen=True, eq=False)
class PredictionFilePredictor:
    """Returns the predictions of a file; satisfies `Predictor` for the windows in it.

    Attributes:
        name: Its name in tables.
        windows: The file's predictions, by scene and time.
        agent: The agent whose samples and weights apply, where they differ; "" for all agents.
        counts: Numbers of predictions, each of one agent at one time: ``read`` in scored scenes;
            ``skipped`` in others; of those read, ``renormalised``, whose weights did not sum to 1,
            and ``padded``, with fewer samples than another of their window. Empty if unknown.
        sha256: Hash of the file; "" if unknown.
    """

    name: str
    windows: Mapping[tuple[str, int], PredictionFileWindow]
    agent: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    sha256: str = ""

    @cached_property
    def is_marginal(self) -> bool:
        """Whether the agents of some window have samples or weights of their own."""
        return not self.agent and any(window.is_marginal for window in self.windows.values())

    def alone(self, agent: str) -> PredictionFilePredictor:
        """The same predictor with the samples and weights of one agent."""
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
            skipped = self.counts.get("skipped", 0)
            other = f" (its {skipped} predictions in other scenes do not count)" if skipped else ""
            raise ForecastError(
                f"{self.name}: nothing is predicted in {scene.id} at {at_us} us; predict every "
                f"scored pedestrian{other}"
            )
        names = scene.tracks.agent_ids[scene.present(at)]
        place = {name: index for index, name in enumerate(stored.agent_ids.tolist())}
        rows = np.array([place.get(name, -1) for name in names.tolist()])
        known = rows >= 0
        futures = np.where(known[:, None, None, None], stored.positions_m[rows], 0.0)
        local = np.where(known[:, None, None, None], futures - scene.origin_m, 0.0)
        mode = None if stored.mode_m is None else stored.mode_m[rows] - scene.origin_m
        own = place.get(self.agent, 0)
        # The samples that only fill up would change metrics that count samples.
        count = stored.samples[own] if self.agent and stored.samples is not None else None
        return Prediction(
            positions_m=local.swapaxes(0, 1)[:count].astype(np.float32),
            weights=stored.weights[own, :count],
            agent_ids=names,
            valid=known,
            at_us=at_us,
            dt_s=scene.dt_s,
            origin_m=scene.origin_m,
            mode_m=None if mode is None else mode.astype(np.float32),
            scene_id=scene.id,
            now_m=scene.tracks.positions_m[scene.present(at), at],
        )
