"""Errors of the best joint future: one sample is chosen for all agents of a scene together.

After Weng et al., "Joint Metrics Matter", ICCV 2023.
"""

from __future__ import annotations

from torch import Tensor

from forecast.models.metrics.displacement import ade, best_of, fde


def jade(
    samples_m: Tensor, truth_m: Tensor, k: int | None = None, weights: Tensor | None = None
) -> Tensor:
    """Joint ADE: minimum over the samples of the agents' mean `ade`.

    Args:
        samples_m: Joint futures of one scene ``[K, N, T, 2]``.
        truth_m: ``[N, T, 2]``.
        k: How many samples count, the most probable ones as in `min_ade`; None for all.
        weights: ``[K]``; None for equal ones.

    Returns:
        Metres, a scalar; NaN without agents and if there are fewer than k samples.
    """
    return best_of(ade(samples_m, truth_m).mean(-1), k or len(samples_m), weights)


def jfde(
    samples_m: Tensor, truth_m: Tensor, k: int | None = None, weights: Tensor | None = None
) -> Tensor:
    """Joint FDE: minimum over the samples of the agents' mean `fde`; see `jade`."""
    return best_of(fde(samples_m, truth_m).mean(-1), k or len(samples_m), weights)
