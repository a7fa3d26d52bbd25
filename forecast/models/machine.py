"""A step of the world model as few calls: products of matrices and `forecast.models.kernels`.

What is computed is said by `forecast.models.world_model` in small operations on tensors. On
networks of this size the calls take as long as what is computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from forecast.models import kernels
from forecast.models.edges import SLACK_M
from forecast.models.encoder import LONGEST_WAIT_S, STILL_MPS
from forecast.models.kinematics import EAGERNESS, NO_WAY, ROUNDS, SOONEST, TINY, Motion
from forecast.models.state import Context, State

if TYPE_CHECKING:
    from forecast.models.encoder import Interaction
    from forecast.models.world_model import WorldModel


def take_in(
    world: WorldModel, context: Context, state: State, velocity_before: Tensor, present: Tensor
) -> Tensor:
    """The next hidden state ``[S, N, D]`` from the motion and the surroundings.

    Args:
        world: The world model.
        context: The world's constants.
        state: What is believed of S copies.
        velocity_before: Velocities a step before ``[S, N, 2]``.
        present: Agents that others notice ``[S, N]``.
    """
    shape, (width, messages) = state.seen.shape, (world.config.hidden, world.config.messages)
    before = state.hidden.flatten(0, 1)
    taken = before.new_empty(len(before), width + 2 * messages)
    described, from_agents, from_map = taken.tensor_split((width, width + messages), 1)
    table, features = _noticed(world, context, state, velocity_before, present)
    _mlp(world.describe, features, described)
    _hear(world.interaction, context, table, before + described, from_agents, from_map)
    return recur(world.recur, taken, before).view(*shape, width)


def recur(cell: nn.GRUCell, taken: Tensor, before: Tensor) -> Tensor:
    """The next states ``[N, D]`` of a gated recurrent unit from its input and the ones before."""
    gates = taken @ cell.weight_ih.t(), before @ cell.weight_hh.t()
    values = kernels.arrays(*gates, cell.bias_ih, cell.bias_hh, before)
    return torch.from_numpy(kernels.recur(*values))


def move(
    world: WorldModel, context: Context, state: State, intent: Tensor, noise: Tensor, gap_m: float
) -> Motion:
    """Where all are one step later, by state, intent and noise; see `WorldModel.move`.

    Args:
        world: The world model.
        context: The world's constants.
        state: What is believed of S copies.
        intent: ``[S, N, I]``.
        noise: ``[S, N, J]``.
        gap_m: Centres of two people do not come nearer than this.
    """
    known = torch.cat([state.hidden, intent, noise], -1)
    change = known.new_empty(*state.seen.shape, 2)
    _mlp(world.decide, known.flatten(0, 1), change.flatten(0, 1))
    motion, hand = state.motion, state.hand.expand(state.seen.shape)
    now = motion.position, motion.velocity, motion.facing, motion.yaw_rate
    values = kernels.arrays(*now, change, context.drives, context.dt, hand, *context.people_pairs)
    after = kernels.move(*values, gap_m, SLACK_M, ROUNDS, SOONEST, TINY, EAGERNESS, NO_WAY)
    return Motion(*map(torch.from_numpy, after))


def _noticed(
    world: WorldModel, context: Context, state: State, velocity_before: Tensor, present: Tensor
) -> tuple[Tensor, Tensor]:
    """What is seen of all agents ``[10, S, N]``, and what each knows of itself ``[S * N, F]``."""
    motion, hand = state.motion, state.hand.expand(state.seen.shape)
    position, velocity, facing, side, there = kernels.arrays(
        motion.position, motion.velocity, motion.facing, hand, present
    )
    drives, reach, traits = kernels.arrays(context.drives, context.reach_m, context.traits)
    ahead_s = world.interaction.ahead_s
    table = kernels.looks(position, velocity, facing, side, there, drives, reach, ahead_s)
    before, *past = kernels.arrays(velocity_before, motion.yaw_rate, state.steady, state.unseen_s)
    features = kernels.motion_features(velocity, before, facing, *past, side, traits)
    return torch.from_numpy(table), torch.from_numpy(features)


def _hear(
    interaction: Interaction,
    context: Context,
    table: Tensor,
    hidden: Tensor,
    from_agents: Tensor,
    from_map: Tensor,
) -> None:
    """Fills in what agents take from the agents and the map around them, each ``[S * N, H]``."""
    agents, pieces = interaction.agents, context.map
    told, asked = agents.source(hidden), agents.asks(hidden)
    values = kernels.arrays(table, *context.pairs, context.radius, told, *asked)
    heard = kernels.hear_agents(*values, SLACK_M, STILL_MPS, LONGEST_WAIT_S)
    _linear(agents.out, torch.from_numpy(heard), from_agents)
    if interaction.sees_no_map(context):
        from_map[:] = interaction.map.silence(len(hidden))
        return
    radius_m, asked = interaction.map_radius_m, interaction.map.asks(hidden)
    values = kernels.arrays(table, pieces.poses, *context.map_pairs)
    asks = kernels.arrays(pieces.told, *asked)
    heard = kernels.hear_map(*values, radius_m, *asks, SLACK_M)
    _linear(interaction.map.out, torch.from_numpy(heard), from_map)


def _mlp(layers: nn.Sequential, values: Tensor, out: Tensor) -> None:
    """Two layers ``[N, Di]`` to ``[N, Do]``; see `encoder.mlp`."""
    inner: Tensor = nn.functional.silu(layers[0](values), inplace=True)
    _linear(layers[2], inner, out)


def _linear(layer: Any, values: Tensor, out: Tensor) -> None:
    torch.addmm(layer.bias, values, layer.weight.t(), out=out)
