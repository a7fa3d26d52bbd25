"""Which baseline each main metric of the predictor is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from forecast.evaluation.result import EvaluationResult


@dataclass(frozen=True)
class BaselineMatch:
    """A metric of the predictor and the metric of a baseline to compare it with.

    Attributes:
        title: What is compared.
        metric: The predictor's metric.
        baseline: The baseline's name.
        baseline_metric: The baseline's metric; another one where the baseline gives no modes.
    """

    title: str
    metric: str
    baseline: str
    baseline_metric: str


def matches(samples: int) -> tuple[BaselineMatch, ...]:
    """The comparisons with baselines, the most important first.

    Args:
        samples: Number of futures that the predictors are asked for. Modes are compared if there is
            a set of as many.
    """
    k, kmeans = samples, f"kmeans_{samples}"
    return (
        BaselineMatch("Single best guess", "top1_fde_m", "companions", "top1_fde_m"),
        BaselineMatch(f"Best of {k} raw samples", f"min_fde_{k}_m", kmeans, f"min_fde_{k}_m"),
        BaselineMatch(f"Best of {k} modes", f"modes_min_fde_{k}_m", kmeans, f"min_fde_{k}_m"),
        BaselineMatch("Spread (energy score)", "energy_score_m", "kalman", "energy_score_m"),
    )


def possible(result: EvaluationResult, wanted: Iterable[BaselineMatch]) -> list[BaselineMatch]:
    """The comparisons whose baseline and metrics exist, without the predictor itself."""
    return [
        match
        for match in wanted
        if match.baseline in result.baselines
        and match.baseline != result.predictor
        and np.isfinite(result.values.get(match.metric, np.nan)).any()
        and match.baseline_metric in result.values
    ]
