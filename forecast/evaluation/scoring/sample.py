"""One window to be predicted: what a predictor gets to see, and what it must give back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.windows import Window, WindowSpec, window, window_seed
from forecast.errors import ForecastError
from forecast.models.baselines import NamedPredictor
from forecast.scene import AgentKind, IncrementalPredictor, Prediction, Scene


@dataclass(frozen=True, eq=False)
class Case:
    """A window to be predicted and scored.

    Attributes:
        scene: The whole scene; never shown to a predictor.
        window: What was seen and what then happened.
        spec: The window's lengths.
    """

    scene: Scene
    window: Window
    spec: WindowSpec

    @classmethod
    def at(cls, scene: Scene, at: int, spec: WindowSpec, scored: NDArray[np.bool_]) -> Case:
        """The case at step ``at``; ``scored [A]`` says who of the scene's agents counts."""
        return cls(scene, window(scene, at, spec, scored), spec)

    def alone(self) -> list[Case]:
        """The same window once for each scored pedestrian, who is the only one to count."""
        rows = np.flatnonzero(self.window.scored)
        masks = np.arange(len(self.window.scored)) == rows[:, None]
        return [replace(self, window=replace(self.window, scored=mask)) for mask in masks]

    @property
    def truth_m(self) -> NDArray[np.float32]:
        """Futures of the scored pedestrians ``[N, T, 2]``."""
        return self.window.future_m[self.window.scored]

    @property
    def headings_rad(self) -> NDArray[np.float32]:
        """True headings of the scored pedestrians in the future ``[N, T]``."""
        return self.window.headings_rad[self.window.scored, self.window.history_steps :]

    @property
    def ego(self) -> tuple[NDArray[np.float32], tuple[float, float]] | None:
        """The ego's true poses ``[T, 3]``, length and width; None if it is not there throughout."""
        egos = np.flatnonzero(self.window.kinds == AgentKind.EGO)
        if len(egos) == 0 or not self.window.future_valid[egos[0]].all():
            return None
        ego = egos[0]
        heading = self.window.headings_rad[ego, self.window.history_steps :, None]
        length, width = (float(size) for size in self.window.sizes_m[ego, :2])
        return np.concatenate([self.window.future_m[ego], heading], axis=-1), (length, width)

    def predict(self, predictor: NamedPredictor, samples: int, seed: int) -> Prediction:
        """Asks a predictor, showing it the last history steps alone.

        Args:
            predictor: Any.
            samples: Futures asked for.
            seed: The evaluation's seed; the window's own is derived from it.

        Raises:
            ForecastError: The prediction does not fit the window.
        """
        return next(self.predict_rising(predictor, [samples], seed))

    def predict_rising(
        self, predictor: NamedPredictor, samples: Sequence[int], seed: int
    ) -> Iterator[Prediction]:
        """`predict` for rising numbers of samples, each when it is asked for.

        A predictor that can go on drawing (`IncrementalPredictor`) does; others start anew.
        """
        at = self.window.at
        past = self.scene.between(max(0, at + 1 - self.spec.history_steps), at + 1)
        options: dict[str, Any] = {
            "horizon_s": self.spec.horizon_steps * past.dt_s,
            "seed": window_seed(seed, past.id, at),
        }
        if isinstance(predictor, IncrementalPredictor):
            found = predictor.predict_rising(past, past.steps - 1, samples=samples, **options)
        else:
            found = (
                predictor.predict(past, past.steps - 1, samples=count, **options)
                for count in samples
            )
        for prediction in found:
            problem = self._misfit(prediction)
            if problem:
                raise ForecastError(f"{predictor.name}: {past.id} step {at}: {problem}")
            yield prediction

    def _misfit(self, prediction: Prediction) -> str:
        """What keeps a prediction from being scored, in words; "" if nothing does."""
        window, steps = self.window, self.spec.horizon_steps
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
