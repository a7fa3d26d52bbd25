"""Limits the memory of functions of all pairs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

_VALUES_AT_ONCE = 400_000
"""Intermediate values held at a time: 3 MB in float64, which fits into a processor's cache."""


def map_rows(function: Callable[[Tensor], Tensor], rows: Tensor, values_per_row: int) -> Tensor:
    """Applies a function of independent rows to a few rows at a time.

    Args:
        function: Takes ``[r, ...]`` and returns ``[r, ...]``.
        rows: All rows ``[R, ...]``.
        values_per_row: Size of the function's largest intermediate result for one row.

    Returns:
        The function's values ``[R, ...]``.
    """
    size = max(1, _VALUES_AT_ONCE // max(1, values_per_row))
    first = function(rows[:size])
    values = first.new_empty(len(rows), *first.shape[1:])
    values[:size] = first
    for start in range(size, len(rows), size):
        values[start : start + size] = function(rows[start : start + size])
    return values
