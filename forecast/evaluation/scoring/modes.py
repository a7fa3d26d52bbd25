"""Scores of mode sets, reported beside those of the samples.

Samples say how likely futures are, and often repeat nearly the same one. Modes cover an agent's
futures with few. So the best of them is nearer to the truth, and their scores have names of their
own.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.models.metrics.displacement import displacement, min_ade, min_fde
from forecast.models.modes import MODE_COUNTS
from forecast.scene import Prediction

_MOST, _LEAST = max(MODE_COUNTS), 1e-6
_LOG_LOSS = f"modes_nll_{_MOST}_nats"


def definitions() -> dict[str, str]:
    """What the metrics of `mode_scores` mean, by name."""
    errors = {
        _name(error, count): f"lowest {error.upper()} of the {count} modes of each pedestrian"
        for count in MODE_COUNTS
        for error in ("ade", "fde")
    }
    nearest = f"-log of the probability of the mode nearest to the truth, of {_MOST} modes"
    return {**errors, _LOG_LOSS: f"{nearest}; {math.log(_MOST):.2f} for equal probabilities"}


def mode_scores(
    prediction: Prediction, agents: NDArray[np.bool_], truth_m: NDArray[np.float32]
) -> dict[str, NDArray[np.float64]]:
    """Scores of the mode sets of a prediction; NaN for sizes that it does not have.

    Args:
        prediction: The prediction.
        agents: The scored agents, a mask ``[A]``.
        truth_m: Their true futures ``[N, T, 2]`` in the prediction's frame.

    Returns:
        Values ``[N]`` by metric name.
    """
    values = {name: np.full(len(truth_m), np.nan) for name in definitions()}
    truth = torch.as_tensor(truth_m, dtype=torch.float64)
    for modes in prediction.mode_sets:
        if modes.count not in MODE_COUNTS:
            continue
        paths = torch.as_tensor(modes.positions_m[agents], dtype=torch.float64).swapaxes(0, 1)
        for error, best in (("ade", min_ade), ("fde", min_fde)):
            values[_name(error, modes.count)] = best(paths, truth, modes.count).numpy()
        if modes.count == _MOST:
            nearest = displacement(paths, truth).mean(-1).argmin(0).numpy()
            chosen = modes.probabilities[agents, :][np.arange(len(nearest)), nearest]
            values[_LOG_LOSS] = -np.log(np.maximum(chosen.astype(np.float64), _LEAST))
    return values


def _name(error: str, count: int) -> str:
    return f"modes_min_{error}_{count}_m"
