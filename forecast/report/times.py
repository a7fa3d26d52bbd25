"""The times that the report's tables show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shown_steps(times_s: NDArray[np.float64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The steps at whole seconds, and the last one.

    Args:
        times_s: Time of each predicted step ``[T]``.

    Returns:
        Indices of the steps, and their times as text, such as ``2 s``.
    """
    whole = np.abs(times_s - np.round(times_s)) < 1e-6
    whole[-1] = True
    steps = np.flatnonzero(whole)
    return steps, tuple(f"{time:g} s" for time in times_s[steps])
