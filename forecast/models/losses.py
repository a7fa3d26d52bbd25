"""Losses on imagined futures.

All are computed from displacement errors in metres. Agents and steps without truth are masked out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from forecast.errors import require
from forecast.models.metrics.distribution import sample_energy_score
from forecast.models.world_model import decision_class

_EPSILON_M = 1e-4
"""Smooths norms at zero."""
_UNMOVED_M = 0.05
"""A plan does not move somebody whom it moves by less than this."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms of the training loss.

    Attributes:
        best_of: Weight of the best sample's error beside the energy score. Above 0 it makes the
            regions of the samples too narrow.
        mode: Weight of the most probable future's error.
        modes: Weight of the loss of the mode sets (`forecast.models.modes.mode_loss`).
        vehicles: Weight of an agent that is not a pedestrian.
        effect: Weight of the squared error of the effect of the ego's plan, in a batch with windows
            under two plans.
        placebo: Weight of the squared change of those whom the plan does not move.
        decision: Weight of the cross entropy of what pedestrians have decided, where it is known.
        traffic: Weight of a pedestrian with a moving vehicle in range now; other pedestrians have
            weight 1.
    """

    best_of: float = 0.0
    mode: float = 0.5
    modes: float = 0.3
    vehicles: float = 0.1
    traffic: float = 1.0
    effect: float = 0.0
    placebo: float = 0.0
    decision: float = 0.0

    def __post_init__(self) -> None:
        """Checks the weights; raises `ForecastError`."""
        for name in (
            "best_of",
            "mode",
            "modes",
            "vehicles",
            "traffic",
            "effect",
            "placebo",
            "decision",
        ):
            require(getattr(self, name) >= 0, f"loss.{name}", getattr(self, name), "0 or more")


def norm(vector: Tensor) -> Tensor:
    """Euclidean norm over the last axis, ``[..., D] -> [...]``, differentiable at zero."""
    return (vector.square().sum(-1) + _EPSILON_M**2).sqrt()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the last axis of the entries with a true mask; 0 without such entries.

    Args:
        values: ``[..., T]``.
        mask: Broadcasts against ``values``.
    """
    return (values * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def energy_score(samples: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Energy score of each agent's trajectory, a strictly proper score of location and spread.

    ``E|X - y| - 1/2 E|X - X'|`` (Gneiting and Raftery 2007), estimated without bias from the
    samples. It is the mean of two scores: that of the position at each step, averaged over steps,
    and that of the whole trajectory.

    Args:
        samples: ``[S, N, T, 2]`` in metres, with S >= 2.
        truth: ``[N, T, 2]`` in metres.
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
    """Mean error over all known steps, plus the error at the last known step.

    Args:
        future: ``[..., N, T, 2]`` in metres.
        truth: ``[N, T, 2]`` in metres.
        mask: Steps with a truth ``[N, T]``.

    Returns:
        ``[..., N]`` in metres.
    """
    distance = norm(future - truth)
    later = mask.flip(-1).cumsum(-1).flip(-1)  # known steps from here on
    last = mask & (later == 1)
    return masked_mean(distance, mask) + masked_mean(distance, last)


def rollout_loss(
    groups: Sequence[Tensor],
    mode: Tensor,
    truth: Tensor,
    mask: Tensor,
    weight: Tensor,
    counts: Tensor,
    config: LossConfig,
) -> dict[str, Tensor]:
    """The training loss and its parts.

    Args:
        groups: Imagined futures ``[S, N, T, 2]`` in metres, in groups with a score of their own.
        mode: The most probable future ``[N, T, 2]``.
        truth: ``[N, T, 2]``.
        mask: Steps with a truth ``[N, T]``.
        weight: Weight of each agent ``[N]``.
        counts: How much the window of each agent counts ``[N]``, 1 in the mean over draws. So the
            sum of the weights does not contain it.
        config: Weights of the terms.

    Returns:
        Scalars ``loss``, ``energy_score``, ``best_of``, ``mode``: weighted means over the agents;
        and ``weight``, the sum of the weights.
    """
    share = weight * mask.any(-1)
    total = share.sum()
    share = counts * share / total.clamp(min=1e-6)
    scores = torch.stack([energy_score(samples, truth, mask) for samples in groups])
    errors = displacement_loss(torch.cat(list(groups)), truth, mask)
    parts = {
        "energy_score": (scores.mean(0) * share).sum(),
        "best_of": (errors.min(0).values * share).sum(),
        "mode": (displacement_loss(mode, truth, mask) * share).sum(),
    }
    loss = parts["energy_score"] + config.best_of * parts["best_of"] + config.mode * parts["mode"]
    return {"loss": loss, **parts, "weight": total}


def effect_error(one: Tensor, other: Tensor, truth: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
    """Squared error of the effect of a plan on each agent: of the mean over the futures.

    The futures of both plans have the same random numbers. The error of the mean over few samples
    is larger than that of the mean over all, by the variance of the mean. Two halves of the samples
    have independent deviations, so the product of their errors is unbiased; it can be negative.

    Args:
        one: Futures under one plan ``[S, N, T, 2]`` in metres.
        other: The same under the other plan.
        truth: What happened under both plans ``[N, T, 2]``.
        mask: Steps that are known under both ``[N, T]``.

    Returns:
        Mean over the known steps ``[N]`` in square metres.
    """
    error = (other - one) - (truth[1] - truth[0])
    half = len(error) // 2
    first, second = error[:half].mean(0), error[half:].mean(0)
    return masked_mean((first * second).sum(-1), mask)


def placebo_error(one: Tensor, other: Tensor, truth: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
    """Mean squared change, in each future, of agents that the plan does not move; 0 for others.

    Args:
        one: Futures under one plan ``[S, N, T, 2]`` in metres.
        other: The same under the other plan.
        truth: What happened under both plans ``[N, T, 2]``.
        mask: Steps that are known under both ``[N, T]``.

    Returns:
        Mean over the known steps and the futures ``[N]`` in square metres.
    """
    effect = ((truth[1] - truth[0]).square().sum(-1) * mask).amax(-1)
    change = masked_mean((other - one).square().sum(-1), mask).mean(0)
    return change * (effect < _UNMOVED_M**2)


def decision_loss(chances: Tensor, decision: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy of what pedestrians have decided; 0 where nothing is known.

    Args:
        chances: Probabilities that each goes, is free or waits ``[..., 3]``.
        decision: `Decision` values ``[...]``.
        weight: Weight of each; broadcasts against ``decision``.
    """
    classes = decision_class(decision)
    known = classes >= 0
    chosen = chances.gather(-1, classes.clamp(min=0)[..., None])[..., 0].clamp(min=1e-4)
    return -(chosen.log() * known * weight).sum() / known.sum().clamp(min=1)
