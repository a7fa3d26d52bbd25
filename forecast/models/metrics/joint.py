"""Errors of the best joint future: one sample is chosen for all agents of a scene together.

After Weng et al., "Joint Metrics Matter", ICCV 2023.
"""

from __future__ import annotations

from torch import Tensor

from forecast.models.metrics.displacement import ade, fde


def jade(samples_m: Tensor, truth_m: Tensor) -> Tensor:
    """Joint ADE: minimum over the samples of the agents' mean `ade`.

    Args:
        samples_m: Joint futures of one scene ``[K, N, T, 2]``.
        truth_m: ``[N, T, 2]``.

    Returns:
        Metres, a scalar; NaN without agents.
    """
    return ade(samples_m, truth_m).mean(-1).amin()


def jfde(samples_m: Tensor, truth_m: Tensor) -> Tensor:
    """Joint FDE: minimum over the samples of the agents' mean `fde`; see `jade`."""
    return fde(samples_m, truth_m).mean(-1).amin()
