"""Which floor a metric of the predictor is held to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from forecast.evaluation.result import EvaluationResult


@dataclass(frozen=True)
class Match:
    """A metric of the predictor beside one of a floor.

    Attributes:
        title: What is compared.
        metric: The predictor's metric.
        floor: The floor's name.
        floor_metric: The floor's metric; another one where the floor needs no selection.
    """

    title: str
    metric: str
    floor: str
    floor_metric: str


def matches(samples: int) -> tuple[Match, ...]:
    """What the predictor is held to, the most telling first.

    Args:
        samples: Futures asked of the predictors.
    """
    k, kmeans = samples, f"kmeans_{samples}"
    return (
        Match("Single best guess", "top1_fde_m", "constant_velocity", "top1_fde_m"),
        Match(f"Best of {k} raw samples", f"min_fde_{k}_m", kmeans, f"min_fde_{k}_m"),
        Match(f"Best of {k} selected", f"selected_min_fde_{k}_m", kmeans, f"min_fde_{k}_m"),
        Match("Spread (energy score)", "energy_score_m", "kalman", "energy_score_m"),
    )


def possible(result: EvaluationResult, wanted: Iterable[Match]) -> list[Match]:
    """Those whose floor was evaluated and is not the predictor itself, and whose metrics exist."""
    return [
        match
        for match in wanted
        if match.floor in result.floors
        and match.floor != result.predictor
        and match.metric in result.values
        and match.floor_metric in result.values
    ]
