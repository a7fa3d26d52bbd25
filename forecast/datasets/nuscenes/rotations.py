"""Headings from the rotations of the tables: quaternions (w, x, y, z)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.nuscenes.rows import as_array

Quaternion = tuple[float, float, float, float]

_UNKNOWN = (np.nan, np.nan, np.nan, np.nan)
_EXACT = 1e-3
_MENDABLE = 0.05
"""Rotations written with few digits are off by this much at most. Others are no rotations."""


def headings(rotations: Sequence[Quaternion | None]) -> NDArray[np.float32]:
    """Returns the yaw and the norm of rotations ``[N, 2]``; NaN where there is no rotation.

    The yaw does not depend on the norm.
    """
    values = as_array([rotation or _UNKNOWN for rotation in rotations], 4)
    w, x, y, z = values.T
    yaw = np.arctan2(2 * (w * z + x * y), w**2 + x**2 - y**2 - z**2)
    return np.stack([yaw, np.linalg.norm(values, axis=1)], axis=1).astype(np.float32)


def mended(norms: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns which rotations count as normalised ``[N]``: nearly, but not quite unit ones."""
    return (np.abs(norms - 1) > _EXACT) & ~broken(norms)


def broken(norms: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns which quaternions are no rotations ``[N]``."""
    return np.abs(norms - 1) > _MENDABLE


def refusal(path: Path, token: str, norm: float) -> str:
    """Returns the words for a quaternion that is no rotation."""
    return (
        f"{path}: record '{token}': rotation has norm {norm:.4g}; a unit quaternion (w, x, y, z) "
        "is needed: normalise it"
    )
