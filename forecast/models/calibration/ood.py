"""Out-of-distribution (OOD) detection: compares a pedestrian's history with the calibration data.

The OOD score of a history is the Mahalanobis distance of five features from their mean on the
calibration windows, with their covariance there. Lee et al., NeurIPS 2018, do the same with the
activations of hidden layers. Features of the observation are used here, so that a high score can be
explained. The step length is not a feature, because a model refuses step lengths it was not trained
with.

A network that learnt from noisy positions does well on histories that shake, and constant velocity
does not. So the histories are counted as recorded, and again with the noise of training.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.models.observed import ObservedTracks

Floats = NDArray[np.float64]

QUANTILE = 0.995
"""Share of the calibration windows that count as in distribution."""

_NEIGHBOUR_M = 5.0
_LEAST_SPREAD = {
    "speed_mps": 0.1,
    "acceleration_mps2": 0.1,
    "highest_speed_mps": 0.1,
    "log_neighbours": 0.2,
    "seen_s": 0.5,
}
"""The features, and the smallest relevant difference in each."""

FEATURES = tuple(_LEAST_SPREAD)
"""Names of the features."""


def features(seen: ObservedTracks) -> Floats:
    """Features of each agent's history; unknown ones are 0.

    Returns:
        ``[A, D]``, in the order of `FEATURES`: present speed in m/s; size of the last change of
        velocity in m/s^2; highest speed in the history in m/s; ``log(1 + n)`` of the n other
        pedestrians within 5 m; time since the first observed step in s.
    """
    velocity = seen.velocities_mps()  # [A, H - 1, 2]
    speed = np.hypot(velocity[..., 0], velocity[..., 1])
    latest, before = _last(velocity, 1), _last(velocity, 2)
    columns = [
        _last(speed, 1),
        np.hypot(*(latest - before).T) / seen.dt_s,
        np.nanmax(speed, axis=1, initial=0.0),
        np.log1p(_neighbours(seen)),
        (seen.valid.shape[1] - 1 - seen.valid.argmax(axis=1)) * seen.dt_s,
    ]
    return np.nan_to_num(np.stack(columns, axis=-1))


def _last(values: Floats, back: int) -> Floats:
    """The ``back``-th value from the end along axis 1; NaN where the history is shorter."""
    if values.shape[1] < back:
        return np.full_like(values, np.nan, shape=(len(values), *values.shape[2:]))
    return values[:, -back]


def _neighbours(seen: ObservedTracks) -> Floats:
    """Number of other pedestrians near each agent ``[A]``."""
    here = seen.positions_m[:, -1]
    near = np.linalg.norm(here[:, None] - here, axis=-1) < _NEIGHBOUR_M
    np.fill_diagonal(near, False)
    return (near & seen.pedestrians).sum(axis=1).astype(np.float64)


@dataclass(frozen=True)
class OODModel:
    """A fitted OOD detector, as plain values for a weights file.

    Attributes:
        names: The features ``[D]``.
        mean: Their means ``[D]``.
        covariance: Their covariance ``[D][D]``, plus the smallest relevant spread.
        quantile: Share of the calibration histories, recorded and noisy, at or below the threshold.
        threshold: Highest score that counts as in distribution.
        windows: Number of calibration windows.
    """

    names: list[str]
    mean: list[float]
    covariance: list[list[float]]
    quantile: float
    threshold: float
    windows: int

    def __post_init__(self) -> None:
        """Checks that the features are those of this version; raises `ForecastError`."""
        require(self.names == list(FEATURES), "features", self.names, f"{list(FEATURES)}")
        sizes = [len(self.mean), *map(len, self.covariance)]
        right = sizes == [len(FEATURES)] * (len(FEATURES) + 1)
        require(right, "size of mean and covariance", sizes, f"{len(FEATURES)} each")
        values = np.array([self.mean, *self.covariance])
        good = np.isfinite(values).all() and (np.linalg.eigvalsh(self.covariance) > 0).all()
        require(bool(good), "mean or covariance", "none", "that of some windows")
        require(self.threshold >= 0, "threshold", self.threshold, "a score of at least 0")

    def score(self, found: Floats) -> Floats:
        """OOD scores ``[A]`` of features ``[A, D]``: standard deviations from the mean."""
        offset = found - np.array(self.mean)
        return np.sqrt(np.einsum("ad,de,ae->a", offset, self._precision, offset))

    @cached_property
    def _precision(self) -> Floats:
        """Inverse of the covariance.

        It is cached because the threads of the linear algebra library go on spinning after each
        inversion, which slows down what runs next.
        """
        return np.linalg.inv(np.array(self.covariance))

    def is_ood(self, found: Floats) -> NDArray[np.bool_]:
        """Whether the scores of features ``[A, D]`` exceed the threshold ``[A]``."""
        return self.score(found) > self.threshold


class HistoryFeatures(NamedTuple):
    """Features of the histories of N pedestrians, to fit an OOD detector on.

    Attributes:
        recorded: As recorded ``[N, D]``.
        noisy: The same histories with the noise of training ``[N, D]``.
    """

    recorded: Floats
    noisy: Floats

    @classmethod
    def joined(cls, parts: Iterable[HistoryFeatures]) -> HistoryFeatures:
        """Those of several windows together."""
        return cls(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def fit_ood(found: HistoryFeatures, quantile: float = QUANTILE) -> OODModel:
    """Fits mean, covariance and threshold to calibration windows.

    Args:
        found: Features of the calibration windows.
        quantile: Share of the histories, recorded and noisy, at or below the threshold.

    Raises:
        ForecastError: There are fewer than two windows.
    """
    count = len(found.recorded)
    require(count > 1, "calibration windows", count, "at least 2")
    every = np.concatenate(found)
    spread = np.cov(every, rowvar=False) + np.diag(np.square(list(_LEAST_SPREAD.values())))
    without_threshold = OODModel(
        names=list(FEATURES),
        mean=every.mean(axis=0).tolist(),
        covariance=spread.tolist(),
        quantile=quantile,
        threshold=float("inf"),
        windows=count,
    )
    threshold = float(np.quantile(without_threshold.score(every), quantile, method="higher"))
    return replace(without_threshold, threshold=threshold)
