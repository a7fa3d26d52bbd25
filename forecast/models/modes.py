"""The mode set: a few futures of each agent with probabilities, in one forward pass.

Imagined futures are joint and equally likely, and many are needed to cover what is rare. The mode
set covers each agent's own futures with few curves instead. The velocity of a curve is a polynomial
of time, so that a set has values at any time. Its coefficients are offsets from the filtered
velocity, in the agent's frame and in units of its speed (as in EigenTrajectory, Bae et al., ICCV
2023, and TUTR, Shi et al., ICCV 2023). Sets of different sizes are learnt apart: the five best
curves are not among the best twenty.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from forecast.models import dynamics
from forecast.models.features import EGO_FEATURES, ego_features
from forecast.models.losses import displacement_loss
from forecast.models.message_passing import mlp
from forecast.models.types import TRAITS, Agents, State

MODE_COUNTS = (5, 10, 20)
"""Sizes of the mode sets."""
_COEFFICIENTS = 4
"""Coefficients of a curve's velocity along each axis."""
_REFERENCE_S = 6.0
"""Time over which the polynomials are orthogonal. After it, velocities stay what they are."""
_SLOW_MPS = 0.5
"""Added to the speed that offsets are multiples of, so that who stands may start."""
_GOLDEN_RAD = torch.pi * (3 - 5**0.5)
"""Multiples of the golden angle are spread evenly, however many there are."""
_SPREAD, _SLOWER = 0.8, -0.15
"""Where training starts: velocities in a disc of this radius around a slightly lower speed."""
_SHARED_M = 0.1
"""Modes whose errors differ by less than this share what is learnt from a truth."""
_PROBABILITIES = 0.3
"""Weight of the cross entropy of the probabilities, beside the best mode's error in metres."""


class ModeSets(nn.Module):
    """Decodes the mode sets of all sizes from the hidden state of each agent.

    Args:
        hidden: Width of the hidden state D.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        each = 2 * _COEFFICIENTS + 1
        width = 2 * hidden
        self.body = nn.Sequential(mlp(hidden + len(EGO_FEATURES) + TRAITS, width, width), nn.SiLU())
        self.curves = nn.Linear(width, sum(MODE_COUNTS) * each)
        self._start()

    def _start(self) -> None:
        with torch.no_grad():
            self.curves.weight.mul_(0.1)
            bias = self.curves.bias.zero_().view(sum(MODE_COUNTS), -1)
            bias[:, [0, _COEFFICIENTS]] = torch.cat([_disc(count) for count in MODE_COUNTS])

    def forward(self, agents: Agents, state: State, times_s: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The mode sets of N agents in S copies.

        Args:
            agents: Constants of the agents.
            state: The state after the history.
            times_s: Times of T steps from now on ``[N, T]``.

        Returns:
            For each of `MODE_COUNTS`, positions ``[M, S, N, T, 2]`` in metres and logits of the
            probabilities ``[M, S, N]``.
        """
        own = ego_features(agents, state, state.velocity_before)
        found = self.curves(self.body(torch.cat([state.hidden, own], -1)))
        found = found.unflatten(-1, (sum(MODE_COUNTS), -1)).movedim(-2, 0)  # [35, S, N, 9]
        offsets, logits = found[..., :-1].unflatten(-1, (2, _COEFFICIENTS)), found[..., -1]
        scale = state.smoothed.norm(dim=-1) + _SLOW_MPS
        local = (offsets @ _displacements(times_s).transpose(-1, -2)) * scale[..., None, None]
        motion, sizes = state.motion, list(MODE_COUNTS)
        facing, mirror = motion.facing[..., None, :], state.mirror[..., None]
        turned = dynamics.to_world(local.transpose(-1, -2), facing, mirror)
        straight = motion.position[..., None, :] + state.smoothed[..., None, :] * times_s[..., None]
        paths = torch.split(straight + turned, sizes)
        return list(zip(paths, torch.split(logits, sizes), strict=True))


def turned_evenly(paths: Tensor, position: Tensor, unknown: Tensor) -> Tensor:
    """The modes of agents with an unknown heading, each turned another way around the agent.

    Without a heading, the frame of an agent is arbitrary, and so would be the directions.

    Args:
        paths: ``[M, S, N, T, 2]`` in metres.
        position: Where the agents are ``[S, N, 2]``.
        unknown: Agents with an unknown heading ``[N]``.
    """
    angle = _GOLDEN_RAD * torch.arange(len(paths), device=paths.device, dtype=paths.dtype)
    turn = torch.stack([angle.cos(), angle.sin()], -1)[:, None, None, None]
    start = position[..., None, :]
    turned = start + dynamics.turned_by(paths - start, turn)
    return torch.where(unknown[:, None, None], turned, paths)


def _disc(count: int) -> Tensor:
    """Points spread over a disc (Vogel's spiral) ``[count, 2]``, densest in the middle."""
    place = torch.arange(count) + 0.5
    radius, angle = _SPREAD * (place / count).pow(0.75), place * _GOLDEN_RAD
    return torch.stack([radius * angle.cos() + _SLOWER, radius * angle.sin()], -1)


def _displacements(times: Tensor) -> Tensor:
    """Integrals of Legendre polynomials over time, in s ``[..., T] -> [..., T, _COEFFICIENTS]``.

    The polynomials are orthogonal from 0 to `_REFERENCE_S` and constant afterwards.
    """
    x = 2 * times.clamp(max=_REFERENCE_S) / _REFERENCE_S - 1
    legendre = [torch.ones_like(x), x]
    for k in range(1, _COEFFICIENTS):
        legendre.append(((2 * k + 1) * x * legendre[k] - k * legendre[k - 1]) / (k + 1))
    late = (times - _REFERENCE_S).clamp(min=0)  # all polynomials are 1 at the end
    half, found = 0.5 * _REFERENCE_S, [times]
    for k in range(1, _COEFFICIENTS):
        found.append(half * (legendre[k + 1] - legendre[k - 1]) / (2 * k + 1) + late)
    return torch.stack(found, -1)


def mode_loss(
    sets: list[tuple[Tensor, Tensor]],
    truth: Tensor,
    mask: Tensor,
    weight: Tensor,
    counts: Tensor,
) -> Tensor:
    """Error of the best mode, and cross entropy of the probabilities; mean over the sets.

    Args:
        sets: Positions ``[M, S, N, T, 2]`` in metres and logits ``[M, S, N]`` of each set.
        truth: ``[N, T, 2]`` in metres.
        mask: Steps with a truth ``[N, T]``.
        weight: Weight of each agent ``[N]``.
        counts: How much the window of each agent counts ``[N]``, as in `losses.rollout_loss`.
    """
    share = weight * mask.any(-1)
    share = counts * share / share.sum().clamp(min=1e-6)
    total: Any = 0.0
    for positions, logits in sets:
        errors = displacement_loss(positions, truth, mask)
        best = (-errors.detach() / _SHARED_M).softmax(0)
        chosen = (best * (errors - _PROBABILITIES * logits.log_softmax(0))).sum(0)
        total = total + (chosen.mean(0) * share).sum()
    return total / len(sets)
