"""Displacement errors of single forecasts, of the best of several, and of the best joint future.

Samples are ``[K, N, T, 2]`` joint futures of N agents, truth is ``[N, T, 2]``, weights are ``[K]``
and sum to 1. Every function returns one value per agent ``[N]``, but for `jade` and `jfde`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from forecast import geometry

NAN = float("nan")


def displacement(forecast_m: Tensor, truth_m: Tensor) -> Tensor:
    """Euclidean distance between forecast and truth at each step.

    Args:
        forecast_m: Positions ``[..., N, T, 2]``.
        truth_m: Positions ``[N, T, 2]``.

    Returns:
        Metres ``[..., N, T]``.
    """
    return torch.linalg.vector_norm(forecast_m - truth_m, dim=-1)


def ade(forecast_m: Tensor, truth_m: Tensor) -> Tensor:
    """Average displacement error over the steps, in metres ``[..., N]``."""
    return displacement(forecast_m, truth_m).mean(-1)


def fde(forecast_m: Tensor, truth_m: Tensor) -> Tensor:
    """Displacement error at the final step, in metres ``[..., N]``."""
    return displacement(forecast_m[..., -1, :], truth_m[..., -1, :])


def sample_mean(samples_m: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of the samples ``[N, T, 2]``."""
    return torch.einsum("k,kntd->ntd", weights.to(samples_m), samples_m)


def min_ade(samples_m: Tensor, truth_m: Tensor, k: int, weights: Tensor | None = None) -> Tensor:
    """Lowest `ade` among the k most probable samples, chosen anew for each agent.

    Args:
        samples_m: ``[K, N, T, 2]``.
        truth_m: ``[N, T, 2]``.
        k: Number of samples that count: those of highest weight, ties in the order of the
            samples, so the first k of equally weighted draws.
        weights: ``[K]``; None for equal ones.

    Returns:
        Metres ``[N]``; NaN if there are fewer than k samples.
    """
    return best_of(ade(samples_m, truth_m), k, weights)


def min_fde(samples_m: Tensor, truth_m: Tensor, k: int, weights: Tensor | None = None) -> Tensor:
    """Lowest `fde` among the k most probable samples; see `min_ade`.

    It is minimised on its own: the sample with the lowest FDE need not have the lowest ADE.
    """
    return best_of(fde(samples_m, truth_m), k, weights)


def best_of(error: Tensor, k: int, weights: Tensor | None) -> Tensor:
    """Minimum ``[...]`` of errors ``[K, ...]`` over the k samples of highest weight.

    NaN if there are fewer than k; of equal weights, the first count.
    """
    if len(error) < k:
        return torch.full_like(error[0], NAN)
    if weights is None:
        return error[:k].amin(0)
    order = torch.sort(weights, descending=True, stable=True).indices
    return error[order[:k]].amin(0)


def miss_rate_final(samples_m: Tensor, truth_m: Tensor, threshold_m: float = 2.0) -> Tensor:
    """Whether every sample ends more than ``threshold_m`` from the truth: 1 or 0 ``[N]``.

    The MissRateTopK of the nuScenes challenge uses the largest displacement over all steps
    instead; the Argoverse and Waymo definitions use the final one, as here.
    """
    return (fde(samples_m, truth_m).amin(0) > threshold_m).to(samples_m.dtype)


def miss_rate_waymo(
    samples_m: Tensor,
    truth_m: Tensor,
    headings_rad: Tensor,
    speed_mps: Tensor,
    step: int,
    time_s: float,
) -> Tensor:
    """Whether no sample is near the truth at one step, by Waymo's scaled thresholds: 1 or 0.

    A sample is near if it is off by no more than the lateral and the longitudinal threshold, in
    the frame of the truth at that step. At 3, 5 and 8 s they are 1, 1.8, 3 m and twice that; these
    lie on a line, which gives those of other times. Slower than 1.4 m/s at prediction time they
    are halved, faster than 11 m/s they hold in full, linearly between. Waymo Open Dataset, motion
    metrics: Ettinger et al., ICCV 2021, section 4 and its supplement.

    Args:
        samples_m: ``[K, N, T, 2]``.
        truth_m: ``[N, T, 2]``.
        headings_rad: True headings ``[N, T]``.
        speed_mps: True speeds at prediction time ``[N]``.
        step: Index of the step.
        time_s: Its time after the prediction time, more than 0.5 s.

    Returns:
        ``[N]``.
    """
    scale = 0.5 + 0.5 * ((speed_mps - 1.4) / (11 - 1.4)).clamp(0, 1)
    lateral = (0.4 * time_s - 0.2) * scale
    off = geometry.rotate(samples_m[:, :, step] - truth_m[:, step], -headings_rad[:, step]).abs()
    near = (off[..., 0] <= 2 * lateral) & (off[..., 1] <= lateral)  # [K, N]
    return (~near.any(0)).to(samples_m)


def brier_min_fde(samples_m: Tensor, truth_m: Tensor, weights: Tensor) -> Tensor:
    """Lowest `fde` over all samples plus ``(1 - p)^2``, p the weight of that sample ``[N]``.

    The ranking metric of Argoverse 2 (Wilson et al., NeurIPS Datasets and Benchmarks 2021).
    """
    best = fde(samples_m, truth_m).min(0)
    return best.values + (1 - weights.to(samples_m)[best.indices]) ** 2


def jade(
    samples_m: Tensor, truth_m: Tensor, k: int | None = None, weights: Tensor | None = None
) -> Tensor:
    """Joint ADE: minimum over the samples of the agents' mean `ade`.

    One sample is chosen for all agents of a scene together: Weng et al., "Joint Metrics Matter",
    ICCV 2023.

    Args:
        samples_m: Joint futures of one scene ``[K, N, T, 2]``.
        truth_m: ``[N, T, 2]``.
        k: Number of samples that count, the most probable ones as in `min_ade`; None for all.
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
