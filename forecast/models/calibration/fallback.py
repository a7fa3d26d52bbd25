"""Adds to a prediction what is known of its own reliability."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forecast.models.calibration import Calibration
from forecast.models.familiarity import Familiarity, features
from forecast.models.observed import Observed
from forecast.scene import Prediction


def guarded(
    prediction: Prediction,
    seen: Observed,
    samples: int,
    calibration: Calibration | None,
    familiarity: Familiarity | None,
) -> Prediction:
    """Replaces unfamiliar people's futures by constant velocity and adds tubes.

    All samples of a replaced person are the same: how uncertain they are is said by their tube, and
    nothing is promised of it.

    Args:
        prediction: Equally likely samples, at least as many as the tubes need.
        seen: The past of its agents.
        samples: Number of samples to return, at most those there are.
        calibration: Fitted tubes; None: none are added.
        familiarity: What is familiar; None: everybody is taken to be.
    """
    odd = unfamiliar(seen, familiarity)
    drawn = prediction.positions_m
    futures, mode = drawn[:samples], prediction.mode_m
    if odd is not None and odd.any():
        futures = at_constant_velocity(futures, seen, odd)
        mode = None if mode is None else at_constant_velocity(mode, seen, odd)
    return replace(
        prediction,
        positions_m=futures,
        weights=np.full(samples, 1 / samples),
        mode_m=mode,
        tubes=None if calibration is None else calibration.tubes(drawn, seen, odd),
        fallback=odd,
    )


def unfamiliar(seen: Observed, familiarity: Familiarity | None) -> NDArray[np.bool_] | None:
    """Whose past is unlike anything the model knows ``[A]``; None where that is not judged."""
    if familiarity is None:
        return None
    odd: NDArray[np.bool_] = seen.people & familiarity.is_odd(features(seen))
    return odd


def at_constant_velocity(
    paths_m: NDArray[np.float32], seen: Observed, whose: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Paths ``[..., A, T, 2]`` with those of some agents replaced by their present velocity."""
    straight = seen.constant_velocity_m(paths_m.shape[-2]).astype(np.float32)
    return np.where(whose[:, None, None], straight, paths_m)
