"""Straight lines at a smoothed velocity, alone and shared with people who walk together."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from forecast.errors import ForecastError, require
from forecast.models.baselines.past import Floats, Past, keep_going
from forecast.models.observed import mean_step
from forecast.scene import AgentKind, Prediction, Scene

_NEAR_M = (1.5, 2.0, 2.5, 3.0)
_ALIKE_MPS = (0.2, 0.3, 0.5, 0.8)
"""What `Companions.fit` tries."""


@dataclass(frozen=True)
class SmoothedVelocity:
    """Every agent goes on at the weighted mean of its past velocities.

    The defaults are what `fit` finds, rounded, for the pedestrians of nuScenes' mini_train.

    Attributes:
        kept: Weight of a step relative to the step after it, in [0, 1). 0 keeps the last step only.
        pace: Factor of the mean.
    """

    kept: float = 0.42
    pace: float = 0.97

    name: ClassVar[str] = "smoothed_velocity"

    def __post_init__(self) -> None:
        """Checks the parameters; raises `ForecastError`."""
        require(0 <= self.kept < 1, f"{self.name}: kept", self.kept, "a number in [0, 1)")
        require(0 < self.pace < np.inf, f"{self.name}: pace", self.pace, "a positive number")

    @classmethod
    def fit(
        cls, positions_m: NDArray[Any], valid: NDArray[np.bool_], *, history_steps: int
    ) -> SmoothedVelocity:
        """Least mean distance from the true futures.

        Args:
            positions_m: Windows ``[N, H + T, 2]``.
            valid: Which positions exist ``[N, H + T]``.
            history_steps: H.

        Raises:
            ForecastError: No window has a future.
        """
        windows = _Windows.of(cls.name, positions_m, valid, history_steps)

        def cost(parameters: Floats) -> float:
            kept, pace = parameters
            return windows.error_m(pace * mean_step(windows.past_m, windows.seen, kept))

        start = [cls.kept, cls.pace]
        best = minimize(cost, start, method="Nelder-Mead", bounds=[(0, 0.99), (0.1, 2)])
        return cls(*best.x.tolist())

    def step(self, positions_m: Floats, valid: NDArray[np.bool_]) -> Floats:
        """What agents with a past ``[A, H, 2]``, ``[A, H]`` go in a step ``[A, 2]``."""
        return self.pace * mean_step(positions_m, valid, self.kept)

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
        """One future for any ``samples``; see `Predictor.predict`."""
        past = Past.of(scene, at, horizon_s, samples, seed)
        return _straight(past, self.step(past.positions_m, past.valid), ego_plan)


@dataclass(frozen=True)
class Companions:
    """Pedestrians who walk together go on at the mean of their smoothed velocities.

    The defaults are what `fit` finds for the pedestrians of nuScenes' mini_train.

    Attributes:
        alone: The smoothing.
        near_m: Companions are at most this far from each other.
        alike_mps: The smoothed velocities of companions differ by at most this.
    """

    alone: SmoothedVelocity = field(default_factory=SmoothedVelocity)
    near_m: float = 3.0
    alike_mps: float = 0.3

    name: ClassVar[str] = "companions"

    @classmethod
    def fit(
        cls,
        positions_m: NDArray[Any],
        valid: NDArray[np.bool_],
        *,
        history_steps: int,
        dt_s: float,
        moment: NDArray[np.int64],
    ) -> Companions:
        """Fits the smoothing first, then tries distances and differences of velocities.

        Args:
            positions_m: Windows ``[N, H + T, 2]``.
            valid: Which positions exist ``[N, H + T]``.
            history_steps: H.
            dt_s: Step length.
            moment: Number of the moment that each window is of ``[N]``, in ascending order.

        Raises:
            ForecastError: No window has a future.
        """
        alone = SmoothedVelocity.fit(positions_m, valid, history_steps=history_steps)
        windows = _Windows.of(cls.name, positions_m, valid, history_steps)
        own, now = alone.step(windows.past_m, windows.seen), windows.past_m[:, -1]
        groups = np.split(np.arange(len(moment)), np.flatnonzero(np.diff(moment)) + 1)

        def cost(one: Companions) -> float:
            shared = [one.shared(now[group], own[group], dt_s) for group in groups]
            return windows.error_m(np.concatenate(shared))

        return min((cls(alone, *pair) for pair in product(_NEAR_M, _ALIKE_MPS)), key=cost)

    def shared(self, now_m: Floats, step_m: Floats, dt_s: float) -> Floats:
        """Mean step of each pedestrian and its companions ``[A, 2]``.

        Args:
            now_m: Positions ``[A, 2]``.
            step_m: What each goes in a step ``[A, 2]``.
            dt_s: Step length.
        """
        apart, differ = (
            np.linalg.norm(each[:, None] - each[None], axis=-1) for each in (now_m, step_m)
        )
        together = (apart <= self.near_m) & (differ <= self.alike_mps * dt_s)
        mean: Floats = together @ step_m / together.sum(axis=1, keepdims=True)
        return mean

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
        """One future for any ``samples``; see `Predictor.predict`."""
        past = Past.of(scene, at, horizon_s, samples, seed)
        step = self.alone.step(past.positions_m, past.valid)
        walks = past.scene.tracks.kinds[past.agents] == AgentKind.PEDESTRIAN
        step[walks] = self.shared(past.positions_m[walks, -1], step[walks], past.dt_s)
        return _straight(past, step, ego_plan)


def _straight(past: Past, step_m: Floats, ego_plan: NDArray[Any] | None) -> Prediction:
    futures = keep_going(past.positions_m[:, -1], step_m, past.steps)
    return past.prediction(futures[None], ego_plan)


@dataclass(frozen=True, eq=False)
class _Windows:
    """Windows to fit on.

    Attributes:
        past_m: ``[N, H, 2]``.
        seen: ``[N, H]``.
        future_m: ``[N, T, 2]``.
        known: ``[N, T]``.
    """

    past_m: Floats
    seen: NDArray[np.bool_]
    future_m: Floats
    known: NDArray[np.bool_]

    @classmethod
    def of(
        cls, name: str, positions_m: NDArray[Any], valid: NDArray[np.bool_], history_steps: int
    ) -> _Windows:
        """Splits windows at the last observed step; raises `ForecastError` if none has a future."""
        now = valid[:, history_steps - 1 : history_steps]
        known = valid[:, history_steps:] & now
        if not known.any():
            raise ForecastError(
                f"{name}: none of {len(valid)} windows has a future; give longer tracks"
            )
        past, future = np.split(positions_m.astype(np.float64), [history_steps], axis=1)
        return cls(past, valid[:, :history_steps], future, known)

    def error_m(self, step_m: Floats) -> float:
        """Mean distance of the true futures from straight lines at a step ``[N, 2]``."""
        lines = keep_going(self.past_m[:, -1], step_m, self.future_m.shape[1])
        return float(np.linalg.norm(lines - self.future_m, axis=-1)[self.known].mean())
