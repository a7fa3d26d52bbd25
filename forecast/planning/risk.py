"""Weighted samples of a loss: tails, intervals, paired differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtrit


def effective_samples(weights: NDArray[np.float64]) -> float:
    """How many equally weighted samples say as much (Kish 1965): ``1 / sum(w^2)``."""
    return float(1 / np.square(weights).sum())


def probability_interval(
    probability: NDArray[np.float64], samples: float, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Clopper-Pearson interval of a probability seen as a share of samples.

    Its coverage is at least the level whatever the truth, so that no contact in 20 samples does
    not pass for safety: at level 0.95 its upper end is 0.168. Weighted samples count as their
    effective number, which makes the guarantee approximate.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case
    of the binomial", Biometrika 1934.

    Args:
        probability: Shares of the weight, any shape.
        samples: Their number, need not be whole.
        level: Coverage.
    """
    tail = (1 - level) / 2
    hits = np.clip(probability, 0, 1) * samples
    misses = samples - hits
    tiny = 1e-9 * samples
    low = np.where(hits <= tiny, 0.0, betaincinv(np.maximum(hits, tiny), misses + 1, tail))
    high = np.where(misses <= tiny, 1.0, betaincinv(hits + 1, np.maximum(misses, tiny), 1 - tail))
    return low, high


def tail_mean(
    loss: NDArray[np.float64], weights: NDArray[np.float64], share: float
) -> NDArray[np.float64]:
    """Mean ``[...]`` of the worst ``share`` of the weight of losses ``[..., K]``.

    Source: conditional value at risk, Rockafellar and Uryasev, "Optimization of conditional
    value-at-risk", Journal of Risk 2000; the sample on the edge counts in part.
    """
    order = np.argsort(-loss, axis=-1, kind="stable")
    sorted_loss = np.take_along_axis(loss, order, -1)
    reached = np.cumsum(np.take_along_axis(np.broadcast_to(weights, loss.shape), order, -1), -1)
    before = np.concatenate([np.zeros_like(reached[..., :1]), reached[..., :-1]], -1)
    taken = np.clip(share - before, 0, reached - before)
    return (taken * sorted_loss).sum(-1) / taken.sum(-1)


@dataclass(frozen=True)
class Lead:
    """By how much one plan is ahead of another.

    Attributes:
        first: The plan.
        second: The one it is compared with.
        difference: Cost of the second less that of the first, on the same samples.
        low: Lower end of the interval of the difference.
        high: Upper end.
        real: Whether the interval lies above 0: other samples would hardly turn the two around.
    """

    first: int
    second: int
    difference: float
    low: float
    high: float
    real: bool


def paired_interval(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    weights: NDArray[np.float64],
    level: float,
) -> tuple[float, float, float]:
    """Mean of the paired difference ``second - first`` of samples ``[K]``, and its t interval.

    Both plans meet the same imagined people with the same noise (common random numbers), so what
    the samples share cancels. Fewer than two effective samples leave the interval open.

    Source: Law, "Simulation Modeling and Analysis", chapter on comparing alternative systems.
    """
    difference = second - first
    mean = float(weights @ difference)
    count = effective_samples(weights)
    if count < 1.5:
        return mean, -np.inf, np.inf
    variance = float(weights @ np.square(difference - mean)) * count / (count - 1)
    half = float(stdtrit(count - 1, (1 + level) / 2)) * np.sqrt(variance / count)
    return mean, mean - half, mean + half
