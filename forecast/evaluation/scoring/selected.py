"""Scores of a few futures selected from many, reported beside the raw samples' scores.

Raw samples often predict nearly the same future several times. Selected futures are cluster centres
of `OVERSAMPLING` times as many samples. They score better, but say less about the distribution, so
they have metric names of their own.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.models.metrics.displacement import min_ade, min_fde
from forecast.models.selection import cluster_centres
from forecast.scene import Prediction

OVERSAMPLING = 10
"""Samples per selected future."""


def definitions(samples: int) -> dict[str, str]:
    """What the metrics of `selected_scores` mean, by name."""
    chosen = f"selected, {samples} of {samples * OVERSAMPLING}: cluster centres of raw samples"
    return {
        f"selected_min_{name.lower()}_{samples}_m": f"lowest {name} of the futures {chosen}"
        for name in ("ADE", "FDE")
    }


def are_equal_draws(prediction: Prediction) -> bool:
    """Whether a prediction holds several equally weighted samples; only these are selected from."""
    weights = prediction.weights
    return len(weights) > 1 and bool(np.ptp(weights) < 1e-6)


def selected_scores(
    many: Prediction, agents: NDArray[np.bool_], truth_m: NDArray[np.float32], k: int
) -> dict[str, NDArray[np.float64]]:
    """Scores of k futures selected per agent.

    Args:
        many: A prediction of more than k equally weighted samples.
        agents: The scored agents, a mask ``[A]``.
        truth_m: Their true futures ``[N, T, 2]`` in the prediction's frame.
        k: Selected futures per agent.

    Returns:
        Values ``[N]`` by metric name.
    """
    truth = torch.as_tensor(truth_m, dtype=torch.float64)
    draws = torch.as_tensor(many.positions_m[:, agents])  # float32: half the time of clustering
    centres = cluster_centres(draws, k)[0].double()
    values = (min_ade(centres, truth, k), min_fde(centres, truth, k))
    return {name: value.numpy() for name, value in zip(definitions(k), values, strict=True)}


def undefined(agents: int, k: int) -> dict[str, NDArray[np.float64]]:
    """The same metrics with NaN, for predictions that cannot be selected from."""
    return {name: np.full(agents, np.nan) for name in definitions(k)}
