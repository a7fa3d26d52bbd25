"""How often calibrated tubes contain the truth, and how large they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.models.metrics.displacement import NAN
from forecast.scene import Tubes


def tube_coverage(tubes: Tubes | None, truth_m: Tensor, level: float) -> Tensor:
    """Whether the truth lies in the tube of a level, 1 or 0.

    Args:
        tubes: Of the N scored agents, or None.
        truth_m: Ground truth ``[N, T, 2]``.
        level: One of the tubes' levels.

    Returns:
        ``[N, T]``; NaN without a tube of that level.
    """
    return _of_level(tubes, truth_m, level, lambda each: each.contains(truth_m.cpu().numpy()))


def tube_areas(tubes: Tubes | None, truth_m: Tensor, level: float) -> Tensor:
    """Area of the tube of a level.

    Args:
        tubes: Of the N scored agents, or None.
        truth_m: Ground truth ``[N, T, 2]``; only its shape and type are used.
        level: One of the tubes' levels.

    Returns:
        Square metres ``[N, T]``; NaN without a tube of that level.
    """
    return _of_level(tubes, truth_m, level, Tubes.area_m2)


def _of_level(
    tubes: Tubes | None, truth_m: Tensor, level: float, values: Callable[[Tubes], NDArray[Any]]
) -> Tensor:
    """One level's column of values ``[N, T, Q]``, in the type of the truth."""
    if tubes is None or level not in tubes.levels:
        return torch.full_like(truth_m[..., 0], NAN)
    column = torch.as_tensor(values(tubes)[..., tubes.level_index(level)]).to(truth_m)
    has_tube = torch.as_tensor(tubes.valid, device=truth_m.device)
    return torch.where(has_tube[:, None], column, NAN)
