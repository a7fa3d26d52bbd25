"""Corrects verdicts for the number of changes.

Of hundreds of 95 % intervals, many exclude 0 by chance alone. The method is that of Benjamini and
Hochberg, "Controlling the False Discovery Rate", Journal of the Royal Statistical Society B 1995.
It is for tests that are independent or go up and down together, as those of overlapping slices do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from scipy import stats

from forecast.evaluation.comparison.changes import BETTER, OPEN, WORSE, Change, rank
from forecast.evaluation.comparison.headline import headline_changes, is_safety
from forecast.evaluation.scoring.statistics import p_value

RATE = 0.05
"""Largest expected share of chance among the changes that are called worse or better."""

CORRECTED = (
    "Except for headline errors, worse and better are corrected for the number of changes "
    f"(Benjamini-Hochberg): at most {100 * RATE:g} % of them are expected to be by chance"
)
"""What `corrected` does, for the console and the page."""


def corrected(changes: Sequence[Change]) -> list[Change]:
    """The changes, sorted by `rank`; those that chance may explain become undecided.

    Headline errors are left as they are: they are few, and chosen before the comparison. Safety
    metrics can make B worse too, so they are corrected among themselves: among all others, only
    very large changes of them would be decided.

    Args:
        changes: All changes of a comparison.
    """
    fixed = {_key(one) for row in headline_changes(changes).values() for one in row}
    tested = [one for one in changes if _key(one) not in fixed and _is_test(one)]
    families = ([one for one in tested if is_safety(one) is safety] for safety in (True, False))
    chance = {_key(one) for family in families for one in _by_chance(family)}
    return sorted((replace(one, by_chance=_key(one) in chance) for one in changes), key=rank)


def _key(change: Change) -> tuple[str, str]:
    return change.where, change.metric


def _is_test(change: Change) -> bool:
    judged = change.verdict in (WORSE, OPEN, BETTER)
    return judged and not math.isnan(change.difference.low)


def _by_chance(family: Sequence[Change]) -> list[Change]:
    """Those of some tests that chance may explain."""
    if not family:
        return []
    adjusted = stats.false_discovery_control([p_value(one.difference) for one in family])
    return [one for one, p in zip(family, adjusted, strict=True) if p > RATE]
