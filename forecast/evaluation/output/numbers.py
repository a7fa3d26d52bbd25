"""Numbers as text, for the console and the report."""

from __future__ import annotations

import math

from forecast.evaluation.scoring.statistics import MIN_SCENES, Estimate

UNDEFINED = "–"  # noqa: RUF001
"""Text of a metric that is not defined."""

NO_INTERVAL = f"too few scenes for an interval: {MIN_SCENES} are needed"
"""Text of an interval that is not given."""


def number(value: float) -> str:
    """Three decimals, `UNDEFINED` for NaN."""
    return UNDEFINED if math.isnan(value) else f"{value:.3f}"


def interval(found: Estimate, signed: bool = False) -> str:
    """The ends of an interval, ``0.612 to 0.749``; "" without an interval."""
    if math.isnan(found.low):
        return ""
    sign = "+" if signed else ""
    return f"{found.low:{sign}.3f} to {found.high:{sign}.3f}"


def signed(value: float) -> str:
    """Three decimals with a sign, `UNDEFINED` for NaN."""
    return UNDEFINED if math.isnan(value) else f"{value:+.3f}"


def difference(value: float, other: float) -> str:
    """How much less or more a value is than another: ``3.8 % less``."""
    if value == other:
        return "the same"
    if other == 0:
        return f"{abs(value - other):.3f} more"
    percent = 100 * abs(value - other) / abs(other)
    return f"{percent:.1f} % {'less' if value < other else 'more'}"


def counted(count: int, noun: str) -> str:
    """A count with its noun: ``1 scene``, ``2 scenes``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
