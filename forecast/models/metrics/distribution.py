"""How well weighted samples describe the distribution of the truth.

Samples are ``[K, N, T, 2]``, truth is ``[N, T, 2]``, weights are ``[K]`` and sum to 1. Every agent
and step is scored separately (marginally). Densities are computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from forecast.models.metrics.chunks import map_rows
from forecast.models.metrics.displacement import NAN, displacement, sample_mean

LOG_DENSITY_FLOOR_NATS = -20.0
"""Log-densities are clipped here, as in Trajectron++ (Salzmann et al., ECCV 2020)."""

MIN_SPREAD_M = 1e-4
"""Samples with a smaller standard deviation in any direction have no density."""


def sample_energy_score(
    samples: Tensor,
    truth: Tensor,
    norm: Callable[[Tensor], Tensor],
    weights: Tensor | None = None,
) -> Tensor:
    """Energy score ``E|X - y| - 1/2 E|X - X'|``, estimated from samples; the one definition of it.

    The metric `energy_score` and the training loss differ only in the norm of a difference: of the
    positions at one step, or of whole trajectories. With a norm the score is strictly proper
    (Gneiting and Raftery, JASA 2007): its expectation is least for the true distribution.

    Args:
        samples: ``[K, ...]``.
        truth: ``[...]``.
        norm: Maps differences ``[M, ...]`` to their lengths ``[M, ...]``, with fewer axes.
        weights: Probabilities ``[K]`` of the whole distribution, then all pairs count. None: the
            samples are equally likely draws, which give the unbiased (fair) form (Ferro, QJRMS
            2014): ``E|X - X'|`` is the mean over the K(K-1) pairs of different samples, so that
            the expectation of the score does not depend on K.

    Returns:
        Scores in the shape of one length; for a single sample its distance from the truth.
    """
    error = norm(samples - truth)
    if len(samples) < 2:
        return error[0]
    first, second = torch.triu_indices(len(samples), len(samples), offset=1, device=samples.device)
    between = norm(samples[first] - samples[second])  # [K (K - 1) / 2, ...]
    if weights is None:
        return error.mean(0) - between.mean(0) / 2
    # Each unordered pair stands for two ordered ones; pairs of a sample with itself are 0.
    both = weights[first] * weights[second]
    return torch.tensordot(weights, error, 1) - torch.tensordot(both, between, 1)


def energy_score(samples_m: Tensor, truth_m: Tensor, weights: Tensor) -> Tensor:
    """`sample_energy_score` of the position at each step, averaged over the steps.

    Equally weighted samples are taken as draws, samples of unequal weights as the whole
    distribution. For a single sample the score is the `ade`.

    Returns:
        Metres ``[N]``.
    """
    given = None if _are_draws(weights) else weights.to(samples_m)

    def score(points: Tensor) -> Tensor:  # [R, K + 1, 2], the truth last, -> [R]
        samples, truth = points[:, :-1].transpose(0, 1).contiguous(), points[:, -1]
        return sample_energy_score(samples, truth, _length, given)

    return _per_step(score, torch.cat([samples_m, truth_m[None]])).mean(-1)


def _length(vectors: Tensor) -> Tensor:
    """Euclidean length over the last axis, of size 2; faster than `torch.linalg.vector_norm`."""
    x, y = vectors.unbind(-1)
    return (x.square() + y.square()).sqrt()


def spread(samples_m: Tensor, weights: Tensor) -> Tensor:
    """Sharpness: root mean square distance of the samples from their mean, at each step.

    Equally weighted samples are taken as draws and get the unbiased form, as in `energy_score`.
    If they are drawn from the distribution of the truth, the error of their mean is as large, root
    mean square over many predictions, but for a factor ``sqrt(1 + 1 / K)`` (Fortin et al., "Why
    Should Ensemble Spread Match the RMSE of the Ensemble Mean?", J. Hydrometeorology 2014).

    Returns:
        Metres ``[N, T]``; NaN for a single sample.
    """
    if len(samples_m) < 2:
        return torch.full_like(samples_m[0, ..., 0], NAN)
    weights = weights.to(samples_m)
    squares = displacement(samples_m, sample_mean(samples_m, weights)).square()
    unbiased = 1 - 1 / len(weights) if _are_draws(weights) else 1.0
    return (torch.einsum("k,knt->nt", weights, squares) / unbiased).sqrt()


def _are_draws(weights: Tensor) -> bool:
    """Whether the weights are equal, so that the samples are taken as independent draws."""
    return bool((weights - weights.mean()).abs().max() < 1e-6)


def kde_nll(samples_m: Tensor, truth_m: Tensor, weights: Tensor) -> Tensor:
    """Negative log-density of the truth under a Gaussian kernel density estimate of the samples.

    The estimate is that of ``scipy.stats.gaussian_kde``: the samples' weighted covariance scaled
    by Scott's factor ``n_eff^(-1/6)``, ``n_eff = 1 / sum(weights^2)``.

    Returns:
        Nats ``[N, T]``, at most 20 (`LOG_DENSITY_FLOOR_NATS`); NaN where the samples have no
        density: a single sample, or all on a point or line (`MIN_SPREAD_M`).
    """
    weights = weights.to(samples_m.device, torch.float64)

    def nll(points: Tensor) -> Tensor:  # [R, K + 1, 2], the truth last, -> [R]
        scaled = _scale(points, points[:, :-1], weights)
        gap = scaled.points[:, :-1] - scaled.points[:, -1:]
        exponent = weights.log() - gap.square().sum(-1) / 2
        log_density = torch.logsumexp(exponent, -1) - scaled.log_volume - math.log(2 * math.pi)
        return -log_density.clamp_min(LOG_DENSITY_FLOOR_NATS)

    return _per_step(nll, torch.cat([samples_m, truth_m[None]]).double()).to(samples_m.dtype)


def credibility(samples_m: Tensor, truth_m: Tensor, weights: Tensor) -> Tensor:
    """Smallest nominal level whose highest-density region contains the truth.

    The truth is added to the samples as one more point. Each of these K + 1 points gets the kernel
    density of the others there (one common bandwidth, Scott's factor). If the truth is exchangeable
    with the samples, as for a calibrated sampler, its rank r among the densities, counted from 0
    for the highest, is uniform on 0..K for any distribution and K, because all points are treated
    alike. The truth's slot of levels is then ``[r, r + 1] / (K + 1)``. Samples that are spread more
    evenly than independent ones, as this package's model draws them, are not exchangeable with the
    truth: regions of a calibrated model then hold a little more than their level.

    For unequal weights a sample counts by its weight, and the truth counts like one of
    ``n_eff = 1 / sum(weights^2)`` samples; uniformity is then approximate.

    Samples that coincide state that the truth is there. A truth elsewhere gets the outermost slot,
    as it does from samples a millimetre apart.

    Returns:
        The middle of the slot, ``(r + 1/2) / (K + 1)``, ``[N, T]``; NaN for fewer than 3 samples
        (3 points all have the same density), where samples and truth coincide, and where they lie
        on a line. `coverage` turns it into the share of truths inside a region.
    """
    if len(samples_m) < 3:
        return torch.full_like(truth_m[..., 0], NAN)
    weights = weights.to(samples_m.device, torch.float64)
    slot = _slot(weights)
    mass = torch.cat([weights * (1 - slot), slot[None]])

    def level(points: Tensor) -> Tensor:  # [R, K + 1, 2], the truth last, -> [R]
        density = _leave_one_out_density(points, mass)
        truth = density[:, -1:]
        above = (density > truth) + (density == truth) / 2
        found = torch.where(truth[:, 0].isnan(), NAN, (above * mass).sum(-1))
        return torch.where(_misses_the_point(points, weights), 1 - slot / 2, found)

    return _per_step(level, torch.cat([samples_m, truth_m[None]]).double()).to(samples_m.dtype)


def coverage(credibility: Tensor, level: float, weights: Tensor) -> Tensor:
    """Share of the truth's slot of levels that lies within ``level``.

    1 or 0, except where ``level`` cuts the slot; so the mean over calibrated predictions is
    ``level`` exactly at any K for independent samples, where the plain count of
    ``credibility <= level`` errs by up to half a slot (2.4 % at K = 20).

    Args:
        credibility: Result of `credibility`, any shape.
        level: Nominal level between 0 and 1.
        weights: The samples' weights ``[K]``.

    Returns:
        Shares between 0 and 1 in the shape of ``credibility``; NaN where that is NaN.
    """
    slot = _slot(weights.to(credibility))
    return ((level - credibility) / slot + 0.5).clamp(0, 1)


def _per_step(function: Callable[[Tensor], Tensor], points_m: Tensor) -> Tensor:
    """Applies a function ``[R, P, 2] -> [R]`` to the points ``[P, N, T, 2]`` of each step."""
    count, agents, steps, _ = points_m.shape
    rows = points_m.permute(1, 2, 0, 3).reshape(agents * steps, count, 2)
    return map_rows(function, rows, values_per_row=count * count).reshape(agents, steps)


def _slot(weights: Tensor) -> Tensor:
    """Mass of one point among ``n_eff`` samples and the truth."""
    return 1 / (1 / weights.square().sum() + 1)


def _misses_the_point(points: Tensor, weights: Tensor) -> Tensor:
    """Whether the samples of ``[R, K + 1, 2]`` coincide and the truth, the last, is elsewhere."""
    centre = torch.einsum("k,rkd->rd", weights, points[:, :-1])[:, None]
    squares = (points - centre).square().sum(-1)
    return (squares[:, :-1] @ weights < MIN_SPREAD_M**2) & (squares[:, -1] >= MIN_SPREAD_M**2)


def _leave_one_out_density(points: Tensor, mass: Tensor) -> Tensor:
    """Density ``[R, P]`` of each point by the kernels of the others, up to a common factor."""
    scaled = _scale(points, points, mass).points
    distance = torch.cdist(scaled, scaled, compute_mode="donot_use_mm_for_euclid_dist")
    kernel = distance.square_().div_(-2).exp_()
    kernel.diagonal(dim1=-2, dim2=-1).fill_(0)
    return kernel @ mass / (1 - mass)


class _Scaled(NamedTuple):
    """Points in units in which the kernel is a standard normal, and the log area of that unit."""

    points: Tensor  # [R, P, 2]
    log_volume: Tensor  # [R]


def _scale(points: Tensor, samples: Tensor, weights: Tensor) -> _Scaled:
    """Scales points ``[R, P, 2]`` by the Cholesky factor of the samples' kernel covariance."""
    centre = torch.einsum("k,rkd->rd", weights, samples)[:, None]
    x, y = (samples - centre).unbind(-1)
    squares = weights.square().sum()
    per_pair = weights * squares ** (2 / 6) / (1 - squares)  # Scott's factor squared, unbiased
    xx, xy, yy = ((per_pair * product).sum(-1, keepdim=True) for product in (x * x, x * y, y * y))
    least = (xx + yy) / 2 - torch.hypot((xx - yy) / 2, xy)
    flat = ~(least > squares ** (2 / 6) * MIN_SPREAD_M**2)
    across = xx.sqrt()
    shear = xy / across
    along = torch.where(flat, NAN, yy - shear.square()).sqrt()
    offset = points - centre
    first = offset[..., 0] / across
    second = (offset[..., 1] - shear * first) / along
    return _Scaled(torch.stack([first, second], -1), (across * along).log()[:, 0])
