"""A step of the world model with gradients, as few calls: what `machine` does for those who learn.

What is computed is said by `forecast.models.world_model` in small operations on tensors, each with
its gradient. Here the products of matrices are left to torch, and what lies between them is a loop
forwards and a loop backwards of `forecast.models.kernels`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from forecast.models import kernels
from forecast.models.edges import SLACK_M, Places, edges_in_range
from forecast.models.encoder import AHEAD, LONGEST_WAIT_S, STILL_MPS
from forecast.models.kinematics import EAGERNESS, NO_WAY, ROUNDS, SOONEST, TINY, Motion
from forecast.models.state import Context, State

if TYPE_CHECKING:
    from forecast.models.encoder import Interaction, Messages
    from forecast.models.world_model import WorldModel


class _Loop(torch.autograd.Function):
    """A loop, and the one that gives the gradients of its first values.

    The second takes what the first does, and the gradients of what that returns.
    """

    @staticmethod
    def forward(ctx: Any, loops: _Loops, constants: tuple[float, ...], *values: Tensor) -> Any:
        ctx.back, ctx.constants = loops[1], constants
        ctx.save_for_backward(*values)
        found = loops[0](*kernels.arrays(*values), *constants)
        if isinstance(found, tuple):
            return tuple(map(torch.from_numpy, found))
        return torch.from_numpy(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values = kernels.arrays(*ctx.saved_tensors, *gradients)
        found = ctx.back(*values, *ctx.constants)
        rest = [None] * (len(ctx.saved_tensors) - len(found))
        return None, None, *map(torch.from_numpy, found), *rest


class _Encounters(torch.autograd.Function):
    """Features and weights of edges between agents, by what is seen of them."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, source: Tensor, target: Tensor, radius: Tensor) -> Any:
        values = kernels.arrays(table, source, target, radius)
        features, fade = map(torch.from_numpy, kernels.encounters(*values, *_CLOSING))
        ctx.save_for_backward(table, source, target, radius, features)
        return features, fade

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        values = kernels.arrays(*ctx.saved_tensors, *gradients)
        return torch.from_numpy(kernels.encounters_back(*values, *_CLOSING)), None, None, None


class _Sights(torch.autograd.Function):
    """Features, weights and tellers of edges from the map, by the frames of those who see."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, *others: Tensor) -> Any:
        ctx.save_for_backward(frames, *others)
        found = tuple(map(torch.from_numpy, kernels.sights(*kernels.arrays(frames, *others))))
        ctx.mark_non_differentiable(found[2])
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, features: Tensor, fade: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        values = kernels.arrays(*ctx.saved_tensors, features, fade)
        return torch.from_numpy(kernels.sights_back(*values)), None, None, None, None


class _Gather(torch.autograd.Function):
    """Mean messages from sources to targets."""

    @staticmethod
    def forward(ctx: Any, *values: Tensor) -> Tensor:
        mean, heard = map(torch.from_numpy, kernels.gather(*kernels.arrays(*values)))
        ctx.save_for_backward(*values, mean, heard)
        return mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values = kernels.arrays(*ctx.saved_tensors, gradient)
        told, asked, said, fade = map(torch.from_numpy, kernels.gather_back(*values))
        _, _, weight, features, *_ = ctx.saved_tensors
        of_features = said @ weight.t() if ctx.needs_input_grad[3] else None
        return told, asked, features.t() @ said, of_features, fade, None, None


class _Recur(torch.autograd.Function):
    """A gated recurrent unit; see `torch.nn.GRUCell`."""

    @staticmethod
    def forward(
        ctx: Any,
        taken: Tensor,
        before: Tensor,
        weight: Tensor,
        weight_before: Tensor,
        *bias: Tensor,
    ) -> Tensor:
        gates, old = taken @ weight.t(), before @ weight_before.t()
        after = kernels.recur(*kernels.arrays(gates, old, *bias, before))
        ctx.save_for_backward(taken, before, weight, weight_before, gates, old, bias[1])
        return torch.from_numpy(after)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        taken, before, weight, weight_before, gates, old, bias = ctx.saved_tensors
        found = kernels.recur_back(*kernels.arrays(gates, old, bias, before, gradient))
        of_gates, of_state = map(torch.from_numpy, found)
        of_taken, of_weight, of_bias = of_gates @ weight, of_gates.t() @ taken, of_gates.sum(0)
        new = slice(2 * before.shape[1], None)
        of_gates[:, new] *= gates[:, : before.shape[1]]
        of_state.addmm_(of_gates, weight_before)
        return of_taken, of_state, of_weight, of_gates.t() @ before, of_bias, of_gates.sum(0)


def take_in(
    world: WorldModel, context: Context, state: State, velocity_before: Tensor, present: Tensor
) -> Tensor:
    """As `machine.take_in`, with gradients."""
    motion, hand = state.motion, state.hand.expand(state.seen.shape)
    mine = motion.velocity, velocity_before, motion.facing, motion.yaw_rate
    rest = state.steady, state.unseen_s, hand, context.traits
    described = world.describe(looped(FEATURES, (), *mine, *rest))
    before = state.hidden.flatten(0, 1)
    seen = motion.position, motion.velocity, motion.facing
    noticed = hand, present, context.drives, context.reach_m
    table = looped(LOOKS, (world.interaction.ahead_s,), *seen, *noticed)
    around = _heard(world.interaction, context, table, before + described)
    taken, cell = torch.cat([described, *around], -1), world.recur
    weights = cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh
    after: Tensor = recur(taken, before, *weights)
    return after.view_as(state.hidden)


def move(
    world: WorldModel, context: Context, state: State, intent: Tensor, noise: Tensor, gap_m: float
) -> Motion:
    """As `machine.move`, with gradients."""
    change = world.decide(torch.cat([state.hidden, intent, noise], -1))
    motion, hand = state.motion, state.hand.expand(state.seen.shape)
    now = motion.position, motion.velocity, motion.facing, motion.yaw_rate
    rest = change, context.drives, context.dt, hand, *context.people_pairs
    constants = gap_m, SLACK_M, ROUNDS, SOONEST, TINY, EAGERNESS, NO_WAY
    return Motion(*looped(MOVE, constants, *now, *rest))


def gather(
    messages: Messages, told: Tensor, target: Tensor, edges: Sequence[Tensor], *seen: Tensor
) -> Tensor:
    """What targets take from sources ``[N, H]``; see `encoder.Messages`.

    Args:
        messages: The layers.
        told: What sources tell ``[M, H]``.
        target: What targets know ``[N, Dt]``.
        edges: From sources to targets, twice ``[E]``.
        seen: Features ``[E, De]`` and weights ``[E]``.
    """
    asked, weight = messages.asks(target)
    taken: Tensor = messages.out(gathered(told, asked, weight, *seen, *edges))
    return taken


def _heard(
    interaction: Interaction, context: Context, table: Tensor, hidden: Tensor
) -> tuple[Tensor, Tensor]:
    """What agents take from the agents and the map around them, each ``[S * N, H]``."""
    agents, pieces, flat = interaction.agents, context.map, table.flatten(1)
    places = Places(table[0], table[1], table[AHEAD])
    near = edges_in_range(places, places, context.pairs, context.radius)
    seen = encounters(flat, *near.parts)
    from_agents = gather(agents, agents.source(hidden), hidden, near.parts[:2], *seen)
    if interaction.sees_no_map(context):
        return from_agents, interaction.map.silence(len(hidden))
    near = interaction.map_edges(context, table)
    *seen, teller = sights(flat, pieces.poses, *near.parts)
    edges = teller, near.target.node
    return from_agents, gather(interaction.map, pieces.told, hidden, edges, *seen)


_Loops = tuple[Callable[..., Any], Callable[..., Any]]
FEATURES = kernels.motion_features, kernels.motion_features_back
LOOKS = kernels.looks, kernels.looks_back
MOVE = kernels.move, kernels.move_back
_CLOSING = STILL_MPS, LONGEST_WAIT_S

looped: Callable[..., Any] = _Loop.apply
encounters: Callable[..., Any] = _Encounters.apply
sights: Callable[..., Any] = _Sights.apply
gathered: Callable[..., Any] = _Gather.apply
recur: Callable[..., Any] = _Recur.apply
