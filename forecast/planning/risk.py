"""Tails and paired differences of weighted samples of a loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from forecast.scene.chances import effective_samples


def weights_of(weights: NDArray[np.float64], samples: slice) -> NDArray[np.float64]:
    """Weights of some of the samples; their sum is 1 if that of all weights is."""
    part = weights[samples]
    return part if len(part) == len(weights) else part / part.sum()


def tail_mean(
    loss: NDArray[np.float64], weights: NDArray[np.float64], share: float
) -> NDArray[np.float64]:
    """Mean ``[...]`` of the worst ``share`` of the weight of losses ``[..., K]``.

    Source: conditional value at risk, Rockafellar and Uryasev, "Optimization of conditional
    value-at-risk", Journal of Risk 2000; the sample at the boundary counts in part.
    """
    order = np.argsort(-loss, axis=-1, kind="stable")
    sorted_loss = np.take_along_axis(loss, order, -1)
    reached = np.cumsum(np.take_along_axis(np.broadcast_to(weights, loss.shape), order, -1), -1)
    before = np.concatenate([np.zeros_like(reached[..., :1]), reached[..., :-1]], -1)
    taken = np.clip(share - before, 0, reached - before)
    return (taken * sorted_loss).sum(-1) / taken.sum(-1)


@dataclass(frozen=True)
class Lead:
    """Advantage of one plan over another.

    Attributes:
        first: The plan.
        second: The plan it is compared with.
        difference: Mean cost of the second less that of the first, on the same samples. A ranking
            weighs the worst samples, too (`CostConfig.tail_weight`), so it may be below 0.
        low: Lower end of the interval of the difference.
        high: Upper end.
        real: Whether the interval lies above 0, so that the order hardly depends on the samples.
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

    Both plans are measured against the same futures (common random numbers), so the variation that
    they share cancels. With fewer than two effective samples the interval is infinite.

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
