"""Which columns of a row of scores are the best, and where there is no best."""

from __future__ import annotations

import math
from collections.abc import Mapping

from forecast.evaluation.scoring.ground_truth import GROUND_TRUTH_METRICS
from forecast.evaluation.scoring.statistics import Estimate
from forecast.models.metrics.registry import METRICS

TRIVIAL = "stationary"
"""The predictor that predicts nothing: everybody stays."""

RULE = (
    "The best of each row is bold: the lowest, for coverage the nearest to its level. None is bold "
    f"where only one predictor has a value, or where {TRIVIAL} is as good as the best: what "
    "predicting nothing reaches is no merit. Of missed and false conflicts, each is bold only for "
    "a predictor that is best in both."
)
"""The rule of `best_columns` as text."""

Columns = Mapping[str, Mapping[str, Estimate]]
"""Estimates of metrics, by predictor and metric."""


def best_columns(metric: str, columns: Columns) -> set[str]:
    """The predictors to mark as best in a metric; see `RULE`.

    Args:
        metric: The metric.
        columns: The means of every predictor of the table.

    Returns:
        Names of predictors; empty where there is no best.
    """
    known = METRICS.get(metric)
    counterpart = known.counterpart if known else ""
    if counterpart:
        return _lowest(metric, columns) & _lowest(counterpart, columns)
    return _lowest(metric, columns)


def _lowest(metric: str, columns: Columns) -> set[str]:
    """The predictors nearest to a metric's ideal, by what `best_columns` says."""
    if metric in GROUND_TRUTH_METRICS:
        return set()
    target = METRICS[metric].target if metric in METRICS else None
    gaps = {name: abs(column[metric].value - (target or 0.0)) for name, column in columns.items()}
    gaps = {name: gap for name, gap in gaps.items() if not math.isnan(gap)}
    best = {name for name, gap in gaps.items() if gap == min(gaps.values())}
    return best if len(gaps) > 1 and TRIVIAL not in best else set()
