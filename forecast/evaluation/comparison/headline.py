"""The metrics that decide whether B may replace A: the headline errors and safety metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable

from forecast.evaluation.comparison.changes import (
    BETTER,
    LOST,
    NEW,
    OPEN,
    SAME,
    WHOLE,
    WORSE,
    Change,
)
from forecast.models.metrics.registry import BEST_OF, METRICS

_SAFETY = ("conflict_missed", "collision_rate_", "plan_regret_m")
"""Prefixes of the safety metrics.

Their intervals are often wide, as few pedestrians come near the ego. So B need not be shown to be
no worse in them, as in headline errors, but must not be shown to be worse.
"""


def is_safety(change: Change) -> bool:
    """Whether it is the change of a safety metric for everybody or for movers."""
    return change.where in WHOLE and change.metric.startswith(_SAFETY)


def headline_changes(changes: Iterable[Change]) -> dict[str, list[Change]]:
    """The changes of the headline errors, for everybody and for movers.

    Args:
        changes: All changes.

    Returns:
        Changes by the title of their metric, in the order of tables. Metrics that neither A nor B
        has are left out.
    """
    found = {(one.metric, one.where): one for one in changes}
    rows = {
        title: [found[metric, where] for where in WHOLE if (metric, where) in found]
        for metric, title in _titles({one.metric for one in found.values()}).items()
    }
    return {title: row for title, row in rows.items() if row}


def _titles(present: set[str]) -> dict[str, str]:
    """Names of the headline errors in tables, by metric; best-of-k of the largest k there is."""
    k = max((k for k in BEST_OF if f"min_fde_{k}_m" in present), default=min(BEST_OF))
    return {
        "top1_ade_m": "top-1 ADE",
        "top1_fde_m": "top-1 FDE",
        f"min_ade_{k}_m": f"minADE of {k}",
        f"min_fde_{k}_m": f"minFDE of {k}",
        "energy_score_m": "energy score",
        "coverage_90": "coverage of the 90 % regions",
        "tube_coverage_90": "coverage of the 90 % tubes",
    }


def judged(change: Change, margin: float) -> str:
    """What a headline error says: `WORSE`, `OPEN`, or `BETTER` if it is better or no worse.

    Args:
        change: The change.
        margin: Share of A's error by which B may be worse. The error of a coverage is how far it
            is from its level.
    """
    if change.verdict in (LOST, SAME, NEW):
        return WORSE if change.verdict == LOST else BETTER
    room = margin * abs(METRICS[change.metric].loss(change.before))
    if math.isnan(change.difference.low):
        return OPEN
    if change.difference.low > room:
        return WORSE
    return BETTER if change.difference.high < room else OPEN
