"""Losses on imagined futures.

All work on displacement errors in metres; agents and steps without truth are masked out.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from forecast.errors import require
from forecast.models.metrics.distribution import sample_energy_score

_EPSILON_M = 1e-4
"""Smooths norms at zero."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms of the training loss.

    Attributes:
        best_of: Weight of the best sample's error beside the energy score; it makes the samples'
            regions too narrow.
        mode: Weight of the most probable future's error.
        vehicles: Weight of an agent that is not a pedestrian.
        traffic: Weight of a pedestrian who has a moving vehicle in range now; others have 1.
    """

    best_of: float = 0.0
    mode: float = 0.5
    vehicles: float = 0.1
    traffic: float = 1.0

    def __post_init__(self) -> None:
        """Checks the weights; raises `ForecastError`."""
        for name in ("best_of", "mode", "vehicles", "traffic"):
            require(getattr(self, name) >= 0, f"loss.{name}", getattr(self, name), "0 or more")


def norm(vector: Tensor) -> Tensor:
    """Euclidean norm over the last axis, differentiable at zero."""
    return (vector.square().sum(-1) + _EPSILON_M**2).sqrt()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the last axis of the entries where ``mask`` is true; 0 where there is none."""
    return (values * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def energy_score(samples: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Energy score of each agent's trajectory: strictly proper, so it trains place and spread.

    ``E|X - y| - 1/2 E|X - X'|`` (Gneiting and Raftery 2007), estimated without bias from the
    samples, for the position at every step and for the whole trajectory, averaged.

    Args:
        samples: ``[S, N, T, 2]`` with S >= 2.
        truth: ``[N, T, 2]``.
        mask: Steps with a truth ``[N, T]``.

    Returns:
        ``[N]`` in metres.
    """

    def length(difference: Tensor) -> Tensor:
        return 0.5 * (masked_mean(norm(difference), mask) + _trajectory_norm(difference, mask))

    return sample_energy_score(samples, truth, length)


def _trajectory_norm(difference: Tensor, mask: Tensor) -> Tensor:
    """Root mean square distance over a trajectory's known steps ``[..., N]``."""
    return (masked_mean(difference.square().sum(-1), mask) + _EPSILON_M**2).sqrt()


def displacement_loss(future: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Mean over all known steps plus error at the last known one ``[..., N]``.

    Args:
        future: ``[..., N, T, 2]``.
        truth: ``[N, T, 2]``.
        mask: ``[N, T]``.
    """
    distance = norm(future - truth)
    later = mask.flip(-1).cumsum(-1).flip(-1)  # known steps from here on
    last = mask & (later == 1)
    return masked_mean(distance, mask) + masked_mean(distance, last)


def rollout_loss(
    samples: Tensor,
    mode: Tensor,
    truth: Tensor,
    mask: Tensor,
    weight: Tensor,
    config: LossConfig,
) -> dict[str, Tensor]:
    """The training loss and its parts.

    Args:
        samples: Imagined futures ``[S, N, T, 2]``.
        mode: The most probable future ``[N, T, 2]``.
        truth: ``[N, T, 2]``.
        mask: Steps with a truth ``[N, T]``.
        weight: Weight of each agent ``[N]``.
        config: Weights of the terms.

    Returns:
        Scalars ``loss``, ``energy_score``, ``best_of``, ``mode``: means over the agents by their
        weights; and ``weight``, the sum of these.
    """
    share = weight * mask.any(-1)
    total = share.sum()
    share = share / total.clamp(min=1e-6)
    parts = {
        "energy_score": (energy_score(samples, truth, mask) * share).sum(),
        "best_of": (displacement_loss(samples, truth, mask).min(0).values * share).sum(),
        "mode": (displacement_loss(mode, truth, mask) * share).sum(),
    }
    loss = parts["energy_score"] + config.best_of * parts["best_of"] + config.mode * parts["mode"]
    return {"loss": loss, **parts, "weight": total}
