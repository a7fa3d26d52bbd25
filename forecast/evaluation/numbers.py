"""Numbers as the console and the report write them."""

from __future__ import annotations

import math

UNDEFINED = "–"  # noqa: RUF001
"""Stands where a metric is not defined."""


def number(value: float) -> str:
    """Three decimals, `UNDEFINED` for NaN."""
    return UNDEFINED if math.isnan(value) else f"{value:.3f}"


def difference(value: float, other: float) -> str:
    """How much less or more a value is than another, in words: ``3.8 % less``."""
    if value == other:
        return "the same"
    if other == 0:
        return f"{abs(value - other):.3f} more"
    percent = 100 * abs(value - other) / abs(other)
    return f"{percent:.1f} % {'less' if value < other else 'more'}"
