"""The baselines by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.models.baselines.kalman import Kalman
from forecast.models.baselines.kmeans import KMeansResiduals
from forecast.models.baselines.simple import ConstantVelocity, Stationary
from forecast.models.baselines.smoothed import Companions, SmoothedVelocity
from forecast.scene import Predictor


class NamedPredictor(Predictor, Protocol):
    """A predictor with a name for tables."""

    @property
    def name(self) -> str:
        """Short name, unique within a table."""
        ...


@dataclass(frozen=True, eq=False)
class Examples:
    """Pedestrian windows that a baseline may be fitted on.

    Attributes:
        positions_m: ``[N, H + T, 2]``.
        valid: ``[N, H + T]``.
        history_steps: Observed steps H.
        dt_s: Step length.
        moment: Number of the moment that each window is of ``[N]``, in ascending order.
    """

    positions_m: NDArray[Any]
    valid: NDArray[np.bool_]
    history_steps: int
    dt_s: float
    moment: NDArray[np.int64]


def _kalman(examples: Examples | None, samples: int, seed: int) -> NamedPredictor:
    if examples is None:
        return Kalman()
    return Kalman.fit(examples.positions_m, examples.valid, examples.dt_s)


def _kmeans(examples: Examples | None, samples: int, seed: int) -> NamedPredictor:
    if examples is None:
        raise ForecastError("kmeans: there are no tracks to fit it on; give a train split")
    return KMeansResiduals.fit(
        examples.positions_m,
        examples.valid,
        history_steps=examples.history_steps,
        dt_s=examples.dt_s,
        k=samples,
        seed=seed,
    )


def _smoothed(examples: Examples | None, samples: int, seed: int) -> NamedPredictor:
    if examples is None:
        return SmoothedVelocity()
    steps = examples.history_steps
    return SmoothedVelocity.fit(examples.positions_m, examples.valid, history_steps=steps)


def _companions(examples: Examples | None, samples: int, seed: int) -> NamedPredictor:
    return Companions() if examples is None else Companions.fit(**vars(examples))


BASELINES: dict[str, Callable[[Examples | None, int, int], NamedPredictor]] = {
    "constant_velocity": lambda examples, samples, seed: ConstantVelocity(),
    "smoothed_velocity": _smoothed,
    "companions": _companions,
    "kalman": _kalman,
    "kmeans": _kmeans,
    "stationary": lambda examples, samples, seed: Stationary(),
}
"""Builds each baseline from examples (or None), number of futures and seed.

Tables list them in this order: the one that says most comes first.
"""
