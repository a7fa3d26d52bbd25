"""Probabilities of events in weighted samples, with intervals, and the times of events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from forecast.errors import ForecastError, require


def effective_samples(weights: NDArray[np.float64]) -> float:
    """Effective number of weighted samples (Kish 1965): ``1 / sum(w^2)``."""
    return float(1 / np.square(weights).sum())


def probability_interval(
    probability: NDArray[np.float64], samples: float, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Clopper-Pearson interval of a probability that was observed as a share of samples.

    Its coverage is at least the level for any true probability. So no contact in 20 samples does
    not count as safe: at level 0.95 the upper end is 0.168. Weighted samples count as their
    effective number, which makes the guarantee approximate.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case
    of the binomial", Biometrika 1934.

    Args:
        probability: Shares of the weight, any shape.
        samples: Their number; it may have a fraction.
        level: Coverage.
    """
    require(0 < level < 1, "level", level, "a level between 0 and 1")
    tail = (1 - level) / 2
    hits = np.clip(probability, 0, 1) * samples
    misses = samples - hits
    tiny = 1e-9 * samples
    low = np.where(hits <= tiny, 0.0, betaincinv(np.maximum(hits, tiny), misses + 1, tail))
    high = np.where(misses <= tiny, 1.0, betaincinv(hits + 1, np.maximum(misses, tiny), 1 - tail))
    return low, high


@dataclass(frozen=True, eq=False)
class Chances:
    """A probability for each predicted agent.

    Attributes:
        agent_ids: Names ``[A]`` of the agents that are predicted.
        probability: Weight of the samples in which the event happens ``[A]``.
        low: Lower end of the Clopper-Pearson interval ``[A]``; it covers the sampling error only.
        high: Upper end ``[A]``. Errors of the predictor's calibration come in addition.
    """

    agent_ids: NDArray[np.str_]
    probability: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def of(self, agent: str) -> tuple[float, float, float]:
        """Probability, lower and upper end of one agent; raises `ForecastError` if it has none."""
        row = agent_row(self.agent_ids, agent)
        return float(self.probability[row]), float(self.low[row]), float(self.high[row])


@dataclass(frozen=True, eq=False)
class FirstTimes:
    """When an event first happens to each agent in each sample.

    Attributes:
        agent_ids: Names ``[A]`` of the agents that are predicted.
        first_s: Seconds after the prediction time ``[K, A]``; infinite if it never happens.
        weights: Probability of each sample ``[K]``.
    """

    agent_ids: NDArray[np.str_]
    first_s: NDArray[np.float64]
    weights: NDArray[np.float64]

    def within(self, seconds: float, level: float = 0.95) -> Chances:
        """Probability that the event happens by ``seconds``, with intervals of that level."""
        probability = self.distribution([seconds])[0]
        low, high = probability_interval(probability, effective_samples(self.weights), level)
        return Chances(self.agent_ids, probability, low, high)

    def distribution(self, times_s: ArrayLike) -> NDArray[np.float64]:
        """Probability ``[N, A]`` that the event has happened by each of the times ``[N]``."""
        times = np.asarray(times_s, np.float64)[:, None, None]
        return np.einsum("k,nka->na", self.weights, self.first_s <= times)

    def quantile_s(self, share: float) -> NDArray[np.float64]:
        """Time ``[A]`` by which it has happened in this share of the weight; infinite if never."""
        require(0 < share <= 1, "share", share, "a share above 0 and at most 1")
        order = np.argsort(self.first_s, axis=0, kind="stable")
        reached = np.cumsum(self.weights[order], axis=0) >= share - 1e-9
        first = np.take_along_axis(self.first_s, order, axis=0)
        return np.take_along_axis(first, reached.argmax(axis=0)[None], axis=0)[0]


def agent_row(agent_ids: NDArray[np.str_], agent: str) -> int:
    """Row of an agent by name; raises `ForecastError` if it is not predicted."""
    rows = np.flatnonzero(agent_ids == agent)
    if len(rows) != 1:
        raise ForecastError(
            f"agent '{agent}' is not predicted; the {len(agent_ids)} predicted ones are "
            f"{', '.join(agent_ids[:5].tolist())}{', …' if len(agent_ids) > 5 else ''}"
        )
    return int(rows[0])
