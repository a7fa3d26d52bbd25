"""Adds calibrated tubes to a prediction, and a fallback for pedestrians out of distribution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forecast.models.calibration.conformal import Calibration
from forecast.models.calibration.ood import OODModel, features
from forecast.models.observed import ObservedTracks
from forecast.scene import Prediction


def with_fallback(
    prediction: Prediction,
    seen: ObservedTracks,
    samples: int,
    calibration: Calibration | None,
    ood_model: OODModel | None,
) -> Prediction:
    """Replaces the futures of OOD pedestrians by constant velocity and adds tubes.

    All samples of a replaced pedestrian are equal. Their uncertainty is in the tube only, and its
    coverage is not guaranteed.

    Args:
        prediction: Equally likely samples, at least as many as the tubes need.
        seen: The observed history of its agents.
        samples: Number of samples to return, at most the number given.
        calibration: Fitted tubes; None to add none.
        ood_model: Fitted OOD detector; None for no fallback.

    Returns:
        The prediction with its first ``samples`` samples, and with `Prediction.tubes` and
        `Prediction.fallback` where they are fitted.

    Raises:
        ForecastError: There are too few samples for the tubes, or steps beyond the last calibrated
            time.
    """
    ood = ood_mask(seen, ood_model)
    drawn = prediction.positions_m
    futures, mode = drawn[:samples], prediction.mode_m
    if ood is not None and ood.any():
        futures = at_constant_velocity(futures, seen, ood)
        mode = None if mode is None else at_constant_velocity(mode, seen, ood)
    return replace(
        prediction,
        positions_m=futures,
        weights=np.full(samples, 1 / samples),
        mode_m=mode,
        tubes=None if calibration is None else calibration.tubes(drawn, seen, ood),
        fallback=ood,
    )


def ood_mask(seen: ObservedTracks, ood_model: OODModel | None) -> NDArray[np.bool_] | None:
    """Pedestrians with a history that is out of distribution.

    Args:
        seen: The observed history of the agents.
        ood_model: Fitted OOD detector or None.

    Returns:
        OOD mask ``[A]``; None without a detector.
    """
    if ood_model is None:
        return None
    ood: NDArray[np.bool_] = seen.pedestrians & ood_model.is_ood(features(seen))
    return ood


def at_constant_velocity(
    paths_m: NDArray[np.float32], seen: ObservedTracks, replaced: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Paths in which some agents keep their present velocity.

    Args:
        paths_m: Predicted paths ``[..., A, T, 2]``.
        seen: The observed history of the agents.
        replaced: The agents that keep their velocity ``[A]``.

    Returns:
        Paths ``[..., A, T, 2]`` in metres.
    """
    straight = seen.constant_velocity_m(paths_m.shape[-2]).astype(np.float32)
    return np.where(replaced[:, None, None], straight, paths_m)
