"""Regions of agents as ellipses: the calibrated ones, or else those of the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f

from forecast.scene import Prediction

LEVELS = (0.5, 0.9)
"""Levels of the regions of samples."""

_LEAST_M2 = 1e-6
"""Added to variances, so that an agent on a plan has a region, too."""


@dataclass(frozen=True, eq=False)
class Regions:
    """Q ellipses of each agent and step.

    Attributes:
        calibrated: Whether they are `Prediction.tubes`; else they are computed from the samples.
        levels: The stated probabilities ``[Q]``.
        ellipses: Centre, and the lower triangle of the map from the unit circle to the edge
            ``[Q, A, T, 5]``; NaN where an agent has none.
    """

    calibrated: bool
    levels: tuple[float, ...]
    ellipses: NDArray[np.float64]


def regions_of(made: Prediction) -> Regions | None:
    """The regions of a prediction; None without tubes and with too few samples for others."""
    if made.tubes is not None:
        return _calibrated(made)
    return _of_samples(made)


def _calibrated(made: Prediction) -> Regions:
    tubes = made.tubes
    assert tubes is not None
    known = tubes.valid
    found = np.full((len(tubes.levels), *tubes.centre_m.shape[:2], 5), np.nan)
    found[:, known, :, :2] = tubes.centre_m[known]
    scale = np.moveaxis(tubes.scale[known], -1, 0)  # [Q, A', T]
    found[:, known, :, 2:] = _triangle(tubes.shape_m2[known]) * scale[..., None]
    return Regions(True, tuple(tubes.levels), found)


def _of_samples(made: Prediction) -> Regions | None:
    """Where one more sample would be with a stated probability, if samples were normal.

    This is the prediction region of a normal distribution whose mean and covariance are estimated
    from n samples, see Chew, "Confidence, prediction and tolerance regions", JASA 1966. It says
    what the predictor believes, not how often that is true.
    """
    count = 1 / float(made.weights @ made.weights)  # of equal samples that weigh as much
    if count < 4:
        return None
    paths = made.positions_m[:, made.valid].astype(np.float64)
    centre = np.einsum("k,katd->atd", made.weights, paths)
    off = paths - centre
    spread = np.einsum("k,kati,katj->atij", made.weights, off, off) / (1 - 1 / count)
    root = _triangle(spread + _LEAST_M2 * np.eye(2))
    found = np.full((len(LEVELS), *made.positions_m.shape[1:3], 5), np.nan)
    found[:, made.valid, :, :2] = centre
    for row, level in zip(found, LEVELS, strict=True):
        quantile = f.ppf(level, 2, count - 2)
        row[made.valid, :, 2:] = root * np.sqrt(
            2 * (count - 1) * (count + 1) / (count * (count - 2)) * quantile
        )
    return Regions(False, LEVELS, found)


def _triangle(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """The entries ``[..., 3]`` of the Cholesky factors of matrices ``[..., 2, 2]``."""
    root = np.linalg.cholesky(matrices)
    return np.stack([root[..., 0, 0], root[..., 1, 0], root[..., 1, 1]], -1)
