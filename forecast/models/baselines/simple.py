"""Baselines without parameters: standing still and constant velocity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from forecast.models.baselines.past import Past
from forecast.scene import Prediction, Scene


@dataclass(frozen=True)
class Stationary:
    """Every agent stays where it is."""

    name: ClassVar[str] = "stationary"

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
        futures = np.repeat(past.positions_m[:, -1:], past.steps, axis=1)
        return past.prediction(futures[None], ego_plan)


@dataclass(frozen=True)
class ConstantVelocity:
    """Every agent keeps the velocity of its last step; without a previous step it stands still."""

    name: ClassVar[str] = "constant_velocity"

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
        return past.prediction(past.constant_velocity()[None], ego_plan)
