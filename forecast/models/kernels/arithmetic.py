"""What all loops are made of: their arguments, and arithmetic that vectorises."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from forecast.models.machine_code import HALF, compiled, forget_older_code

_TANH_IS_ONE: Any = np.float32(7.90531110763549805)

forget_older_code(Path(__file__).parent)


def arrays(*values: Tensor) -> list[NDArray[Any]]:
    """Tensors as arrays that kernels take, without a copy where they are contiguous."""
    plain = (value.detach() if value.requires_grad else value for value in values)
    return [value.contiguous().numpy() for value in plain]


@compiled
def silu(x: float) -> float:
    """A value times its sigmoid."""
    return x * sigmoid(x)


@compiled
def sigmoid(x: float) -> float:
    """Between 0 and 1."""
    return HALF + HALF * tanh(HALF * x)


@compiled
def tanh(x: Any) -> Any:
    """A ratio of polynomials that is right to float32's rounding; coefficients as in Eigen."""
    x = min(max(x, -_TANH_IS_ONE), _TANH_IS_ONE)
    q = x * x
    above = np.float32(-2.76076847742355e-16)
    above = above * q + np.float32(2.00018790482477e-13)
    above = above * q + np.float32(-8.60467152213735e-11)
    above = above * q + np.float32(5.12229709037114e-08)
    above = above * q + np.float32(1.48572235717979e-05)
    above = above * q + np.float32(6.37261928875436e-04)
    above = above * q + np.float32(4.89352455891786e-03)
    below = np.float32(1.19825839466702e-06)
    below = below * q + np.float32(1.18534705686654e-04)
    below = below * q + np.float32(2.26843463243900e-03)
    below = below * q + np.float32(4.89352518554385e-03)
    return x * above / below


@compiled
def length(x: float, y: float, tiny: float) -> float:
    """Length of a vector, at least a tiny one."""
    return math.sqrt(max(x * x + y * y, tiny * tiny))
