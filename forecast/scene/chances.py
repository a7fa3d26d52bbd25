"""Probabilities of events in weighted samples, with intervals, and the times of events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from forecast.errors import ForecastError, require
from forecast.scene.arguments import parse_list, real_number

_ROUNDING_S = 1e-6
"""Tolerance of times."""

_NAMED = 5
"""Number of agents that a text names."""


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
    require_level(level)
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

    def __repr__(self) -> str:
        named = zip(self.agent_ids[:_NAMED], self.probability[:_NAMED], strict=True)
        first = ", ".join(f"{name} {share:.3g}" for name, share in named)
        more = ", …" if len(self.agent_ids) > _NAMED else ""
        return f"Chances({len(self.agent_ids)} agents: {first}{more})"

    def of(self, agent: str) -> tuple[float, float, float]:
        """Probability, lower and upper end of one agent; raises `ForecastError` if it has none."""
        row = agent_row(self.agent_ids, agent)
        return float(self.probability[row]), float(self.low[row]), float(self.high[row])


@dataclass(frozen=True, eq=False)
class FirstTimes:
    """When an event first happens to each agent in each sample.

    Attributes:
        agent_ids: Names ``[A]`` of the agents that are predicted.
        first_s: Seconds after the prediction time ``[K, A]``; infinite if it does not happen up to
            the last predicted step.
        weights: Probability of each sample ``[K]``.
        span_s: Times between which it is sought: 0 or the first step, and the last predicted step.
    """

    agent_ids: NDArray[np.str_]
    first_s: NDArray[np.float64]
    weights: NDArray[np.float64]
    span_s: tuple[float, float]

    def __repr__(self) -> str:
        samples, agents = self.first_s.shape
        return f"FirstTimes({agents} agents, {samples} samples, up to {self.span_s[1]:g} s)"

    def within(self, seconds: float, level: float = 0.95) -> Chances:
        """Probability that the event happens by ``seconds``, with intervals of that level.

        Raises:
            ForecastError: The time is outside ``span_s``, or the level is out of range.
        """
        require_within("within_s", seconds, self.span_s)
        probability = self.distribution([seconds])[0]
        low, high = probability_interval(probability, effective_samples(self.weights), level)
        return Chances(self.agent_ids, probability, low, high)

    def distribution(self, times_s: Iterable[Any]) -> NDArray[np.float64]:
        """Probability ``[N, A]`` that the event has happened by each of the times ``[N]``.

        Raises:
            ForecastError: The times are no list of numbers, or one is outside ``span_s``.
        """
        every = parse_list("times_s", times_s)
        times = [require_within("times_s", time_s, self.span_s) for time_s in every]
        by = np.array(times, np.float64)[:, None, None] + _ROUNDING_S
        share = np.einsum("k,nka->na", self.weights, self.first_s <= by)
        return np.minimum(share, 1)  # against rounding

    def quantile_s(self, share: float) -> NDArray[np.float64]:
        """Time ``[A]`` by which it has happened in this share of the weight; infinite if never."""
        needed = "a share above 0 and at most 1"
        require(0 < real_number("share", share, needed) <= 1, "share", share, needed)
        order = np.argsort(self.first_s, axis=0, kind="stable")
        sums = np.cumsum(self.weights.astype(np.float64)[order], axis=0)
        reached = sums >= share * sums[-1] - 1e-9  # files hold weights that sum to about 1
        first = np.take_along_axis(self.first_s, order, axis=0)
        return np.take_along_axis(first, reached.argmax(axis=0)[None], axis=0)[0]


def require_within(item: str, time_s: Any, span_s: tuple[float, float]) -> float:
    """A time that a prediction covers.

    Args:
        item: Its name in messages.
        time_s: Seconds after the prediction time.
        span_s: First and last time that it covers.

    Raises:
        ForecastError: It is no number, or outside ``span_s``.
    """
    first, last = span_s
    needed = f"a time from {first:g} s to {last:g} s"
    asked = real_number(item, time_s, needed)
    require(first - _ROUNDING_S <= asked <= last + _ROUNDING_S, item, time_s, needed)
    return asked


def require_level(level: Any) -> None:
    """Refuses a level that is not between 0 and 1, with a `ForecastError`."""
    needed = "a level between 0 and 1"
    require(0 < real_number("level", level, needed) < 1, "level", level, needed)


def agent_row(agent_ids: NDArray[np.str_], agent: str) -> int:
    """Row of an agent by name; raises `ForecastError` if it is not predicted."""
    rows = np.flatnonzero(agent_ids == agent) if isinstance(agent, str) else ()
    if len(rows) != 1:
        named = ", ".join(map(repr, agent_ids[:_NAMED].tolist()))
        raise ForecastError(
            f"agent {agent!r} is not predicted; the {len(agent_ids)} predicted ones are {named}"
            f"{', …' if len(agent_ids) > _NAMED else ''}"
        )
    return int(rows[0])
