"""One evaluation sample: a window, what a predictor may see of it, and what it must return."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.windows import Window, WindowSpec, window, window_seed
from forecast.errors import ForecastError
from forecast.evaluation.scoring.subject import Subject
from forecast.scene import AgentKind, Prediction, Scene


@dataclass(frozen=True, eq=False)
class EvaluationSample:
    """A window to predict and score.

    Attributes:
        scene: The whole scene; a predictor never gets it.
        window: The observed history and the true future.
        spec: The window's lengths.
    """

    scene: Scene
    window: Window
    spec: WindowSpec

    @classmethod
    def at(
        cls, scene: Scene, at: int, spec: WindowSpec, scored: NDArray[np.bool_]
    ) -> EvaluationSample:
        """The sample at step ``at``; ``scored [A]`` marks the scored agents of the scene."""
        return cls(scene, window(scene, at, spec, scored), spec)

    def one_per_pedestrian(self) -> list[EvaluationSample]:
        """The same window once per scored pedestrian, with only that pedestrian scored."""
        rows = np.flatnonzero(self.window.scored)
        masks = np.arange(len(self.window.scored)) == rows[:, None]
        return [replace(self, window=replace(self.window, scored=mask)) for mask in masks]

    @property
    def truth_m(self) -> NDArray[np.float32]:
        """True futures of the scored pedestrians ``[N, T, 2]``."""
        return self.window.future_m[self.window.scored]

    @property
    def headings_rad(self) -> NDArray[np.float32]:
        """True future headings of the scored pedestrians ``[N, T]``."""
        return self.window.headings_rad[self.window.scored, self.window.history_steps :]

    @property
    def ego(self) -> tuple[NDArray[np.float32], tuple[float, float]] | None:
        """The ego's true poses ``[T, 3]``, its length and width; None unless seen at every step."""
        egos = np.flatnonzero(self.window.kinds == AgentKind.EGO)
        if len(egos) == 0 or not self.window.future_valid[egos[0]].all():
            return None
        ego = egos[0]
        heading = self.window.headings_rad[ego, self.window.history_steps :, None]
        length, width = (float(size) for size in self.window.sizes_m[ego, :2])
        return np.concatenate([self.window.future_m[ego], heading], axis=-1), (length, width)

    def predict(self, subject: Subject, samples: int, seed: int) -> Prediction:
        """The prediction from the last history steps alone.

        Args:
            subject: The predictor under evaluation.
            samples: Number of futures.
            seed: The evaluation's seed; the window's own seed is derived from it.

        Raises:
            ForecastError: The prediction does not fit the window.
        """
        at = self.window.at
        # The cut scene holds no later step, so a predictor cannot read the future by mistake.
        past = self.scene.between(max(0, at + 1 - self.spec.history_steps), at + 1)
        prediction = subject.predictor.predict(
            past,
            past.steps - 1,
            samples=samples,
            horizon_s=self.spec.horizon_steps * past.dt_s,
            seed=window_seed(seed, past.id, at),
        )
        problem = self._misfit(prediction)
        if problem:
            raise ForecastError(f"{subject.name}: {past.id} step {at}: {problem}")
        return _likeliest(prediction, samples)

    def _misfit(self, prediction: Prediction) -> str:
        """Why a prediction cannot be scored, in words; "" if it can."""
        window, steps = self.window, self.spec.horizon_steps
        if not isinstance(prediction, Prediction):
            return f"predict returns a {type(prediction).__name__}; a Prediction is needed"
        if not np.array_equal(prediction.agent_ids, window.agent_ids):
            return "predicts other agents than those present; return them all, in that order"
        missing = window.agent_ids[window.scored & ~prediction.valid]
        if len(missing):
            return f"agent '{missing[0]}' is not predicted; every scored pedestrian must be"
        found = (prediction.steps, prediction.dt_s, prediction.at_us)
        if found != (steps, window.dt_s, window.at_us):
            return (
                f"predicts {found[0]} steps of {found[1]} s from {found[2]} us; "
                f"{steps} of {window.dt_s} s from {window.at_us} us were asked"
            )
        if not np.array_equal(prediction.origin_m, self.scene.origin_m):
            return f"origin_m is {prediction.origin_m}; the scene's {self.scene.origin_m} is needed"
        return ""


def _likeliest(prediction: Prediction, samples: int) -> Prediction:
    """A prediction with its most probable samples only, at most as many as were asked.

    Otherwise many improbable samples all around would make it easy to be near the truth.
    """
    if prediction.samples <= samples:
        return prediction
    best = np.sort(np.argsort(-prediction.weights, kind="stable")[:samples])
    kept = prediction.weights[best]
    return replace(prediction, positions_m=prediction.positions_m[best], weights=kept / kept.sum())
