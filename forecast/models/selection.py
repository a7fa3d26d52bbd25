"""Selects a few representative futures of many samples by k-means."""

from __future__ import annotations

import torch
from torch import Tensor

from forecast.errors import ForecastError

_CANDIDATES = 128
"""Number of samples that may become first centres, so that their cost stays linear in M."""


def cluster_centres(samples_m: Tensor, k: int, iterations: int = 10) -> tuple[Tensor, Tensor]:
    """Clusters each agent's sampled trajectories by k-means (Lloyd) over all steps at once.

    Each agent is clustered on its own, so the results are marginal representatives. Centre i of one
    agent does not belong to centre i of another, so the centres are no joint futures. They also
    distort the distribution, so scores of the raw samples should stand beside theirs.

    The first centres are chosen deterministically, as in greedy k-means++ (Arthur and
    Vassilvitskii, SODA 2007). Each is the one of the first 128 samples (or k, if more) that most
    lowers the summed squared distance of all samples to their nearest centre.

    Args:
        samples_m: Equally likely trajectories ``[M, N, T, 2]`` in metres.
        k: Number of representatives, 1 to M.
        iterations: Lloyd steps.

    Returns:
        Centres ``[k, N, T, 2]`` in metres, for each agent from the most to the least probable, and
        the share of the samples in their clusters ``[k, N]``. An empty cluster keeps its last
        centre and has weight 0; it occurs with fewer than k different samples.

    Raises:
        ForecastError: k is not between 1 and M.
    """
    samples, agents, steps, _ = samples_m.shape
    if not 1 <= k <= samples:
        raise ForecastError(
            f"k is {k} for {samples} samples; 1 to {samples} is needed: draw more samples"
        )
    offset = samples_m.mean(0)
    points = (samples_m - offset).permute(1, 0, 2, 3).reshape(agents, samples, steps * 2)
    centres = _greedy_centres(points, k)
    for _ in range(iterations):
        centres, _ = _lloyd(points, centres)
    _, weights = _lloyd(points, centres)
    order = torch.sort(weights, dim=1, descending=True, stable=True).indices  # [N, k]
    centres = centres.take_along_dim(order[..., None], 1).reshape(agents, k, steps, 2)
    return centres.transpose(0, 1) + offset, weights.take_along_dim(order, 1).T


def _squared_distance(points: Tensor, centres: Tensor) -> Tensor:
    """``[N, M, D], [N, k, D] -> [N, M, k]``, by ``|p - c|^2 = |p|^2 + |c|^2 - 2 p.c``.

    The mean of the points is near 0, so the differences lose little precision.
    """
    cross = points @ centres.transpose(1, 2)
    lengths = points.square().sum(-1)[..., None] + centres.square().sum(-1)[:, None]
    return (lengths - 2 * cross).clamp_min(0)


def _greedy_centres(points: Tensor, k: int) -> Tensor:
    """First centres ``[N, k, D]`` among the points ``[N, M, D]``."""
    candidates = points[:, : max(k, _CANDIDATES)]
    distance = _squared_distance(candidates, points)  # [N, C, M]
    nearest = torch.full_like(distance[:, :1], torch.inf)  # to the centres so far [N, 1, M]
    picks = []
    for _ in range(k):
        chosen = torch.minimum(nearest, distance).sum(2, keepdim=True).argmin(1, keepdim=True)
        picks.append(chosen)
        nearest = torch.minimum(nearest, distance.take_along_dim(chosen, 1))
    return candidates.take_along_dim(torch.cat(picks, 1), 1)


def _lloyd(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """One Lloyd step: the new centres ``[N, k, D]`` and the share of points of each ``[N, k]``."""
    owner = _squared_distance(points, centres).argmin(-1, keepdim=True)
    member = points.new_zeros(*points.shape[:2], centres.shape[1]).scatter_(2, owner, 1)
    count = member.sum(1)
    mean = member.transpose(1, 2) @ points / count.clamp_min(1)[..., None]
    return torch.where(count[..., None] > 0, mean, centres), count / points.shape[1]
