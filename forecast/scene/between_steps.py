"""Predicted values at times between the predicted steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ON_STEP = 1e-6
"""A time this close to a step, in steps, is the step."""


def steps_and_shares(at: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The last steps up to some times, and the shares of the ways from there to the next ones.

    Args:
        at: Times in steps ``[T']``.

    Returns:
        Steps and shares ``[T']``; the share is 0 on a step.
    """
    before = np.floor(at + _ON_STEP).astype(np.int64)
    return before, np.where(at - before < _ON_STEP, 0.0, at - before)


def between_steps(
    values: NDArray[Any], now: ArrayLike, at: NDArray[np.float64], axis: int
) -> NDArray[Any]:
    """Linear interpolation between steps; at a step, its value.

    Args:
        values: Values at steps 1 to T along an axis.
        now: Value at step 0, which broadcasts against one entry of that axis.
        at: Times in steps, from 0 to T ``[T']``.
        axis: The axis.

    Returns:
        The values with T' entries along the axis, of the same type.
    """
    steps = np.moveaxis(values, axis, 0)
    start = np.broadcast_to(np.asarray(now, values.dtype), steps.shape[1:])
    path = np.concatenate([start[None], steps])
    before, share = steps_and_shares(at)
    after = np.minimum(before + 1, len(steps))
    share = share.reshape(-1, *[1] * (path.ndim - 1))
    found = path[before] + share * (path[after] - path[before])
    return np.moveaxis(found, 0, axis).astype(values.dtype)
