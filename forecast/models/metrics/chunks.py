"""Bounds the memory of functions that look at all pairs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_VALUES_AT_ONCE = 4_000_000
"""Intermediate values held at a time: 32 MB in float64."""


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
    return torch.cat([function(part) for part in torch.split(rows, size)])
