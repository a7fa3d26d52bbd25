"""Which columns of a row of scores are the best, and where there is no best."""

from __future__ import annotations

import math
from collections.abc import Mapping

from forecast.evaluation.scoring.ground_truth import GROUND_TRUTH_METRICS
from forecast.evaluation.scoring.statistics import Estimate
from forecast.models.metrics.registry import METRICS, MetricSpec

TRIVIAL = "stationary"
"""The predictor that predicts nothing: everybody stays."""

RULE = (
    "The best of each row is bold: the lowest, for coverage the nearest to its level, for your own "
    "metrics what they say. None is bold where only one predictor has a value, or where "
    f"{TRIVIAL} is as good as the best: what predicting nothing reaches is no merit. Of missed and "
    "false conflicts, each is bold only for a predictor that is best in both."
)
"""The rule of `best_columns` as text."""

Columns = Mapping[str, Mapping[str, Estimate]]
"""Estimates of metrics, by predictor and metric."""


Specs = Mapping[str, MetricSpec]
"""What the metrics are, by name; for a name that is not there, lower is better."""


def best_columns(metric: str, columns: Columns, specs: Specs = METRICS) -> set[str]:
    """The predictors to mark as best in a metric; see `RULE`.

    Args:
        metric: The metric.
        columns: The means of every predictor of the table.
        specs: See `EvaluationResult.specs`.

    Returns:
        Names of predictors; empty where there is no best.
    """
    known = specs.get(metric)
    counterpart = known.counterpart if known else ""
    if counterpart:
        return _nearest(metric, columns, specs) & _nearest(counterpart, columns, specs)
    return _nearest(metric, columns, specs)


def _nearest(metric: str, columns: Columns, specs: Specs) -> set[str]:
    """The predictors nearest to a metric's ideal, by what `best_columns` says."""
    if metric in GROUND_TRUTH_METRICS:
        return set()
    values = {name: column[metric].value for name, column in columns.items()}
    known = {name: value for name, value in values.items() if not math.isnan(value)}
    losses = {n: specs[metric].loss(v) if metric in specs else v for n, v in known.items()}
    best = {name for name, loss in losses.items() if loss == min(losses.values())}
    return best if len(losses) > 1 and TRIVIAL not in best else set()
