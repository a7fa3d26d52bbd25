"""The six metrics that sum up an evaluation, with names in plain words.

The headline errors of a comparison are others, see `forecast.evaluation.comparison.headline`: they
decide whether a predictor is worse, so those that only few prediction times have are not there.
"""

from __future__ import annotations

from dataclasses import dataclass

from forecast.models.metrics.criticality import CONFLICT_S
from forecast.models.metrics.registry import BEST_OF


@dataclass(frozen=True)
class Headline:
    """A metric that sums up an evaluation.

    Attributes:
        metric: The metric.
        title: Its name in plain words, with the unit.
        words: What it says, in one line.
        of_movers: Whether it is the mean over movers instead of all prediction times.
    """

    metric: str
    title: str
    words: str
    of_movers: bool = False


def headlines(samples: int) -> tuple[Headline, ...]:
    """The six headline metrics, the most important first.

    Args:
        samples: Number of futures that the predictors are asked for; best-of-k metrics exist for
            `BEST_OF`.
    """
    k = max((k for k in BEST_OF if k <= samples), default=min(BEST_OF))
    return (
        Headline("top1_ade_m", "Error of the best guess, m", "mean over time, everybody (ADE)"),
        Headline(
            "top1_fde_m", "Error of the best guess at the end, m", "movers (FDE)", of_movers=True
        ),
        Headline(
            f"min_fde_{k}_m",
            f"Nearest of {k} futures at the end, m",
            "movers (minFDE)",
            of_movers=True,
        ),
        Headline("energy_score_m", "Futures and their spread, m", "everybody (energy score)"),
        Headline("coverage_90", "Truth inside the 90 % region, share", "everybody; good is 0.9"),
        Headline(
            "conflict_missed",
            "Missed conflicts with the ego's path, share",
            f"people who really come within {CONFLICT_S:g} s of the ego",
        ),
    )
