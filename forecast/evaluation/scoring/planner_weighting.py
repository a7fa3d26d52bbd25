"""Errors weighted by what they cost the ego's planner."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

WEIGHTED = "weighted_top1_fde_m"
"""The name of the weighted mean of `top1_fde_m`."""

NEGLIGIBLE = 0.01
"""A pedestrian who moves the best plan's cost by less than 1 cm for each metre is of no concern."""


def of_concern(weight: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows have a ``planner_weight`` ``[N]`` that is not negligible; NaN is."""
    return np.nan_to_num(weight) >= NEGLIGIBLE
