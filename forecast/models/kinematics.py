"""How agents move in one step: people freely, vehicles as a unicycle.

A unicycle drives along its heading and turns only while it drives; it is the bicycle model with the
yaw rate, instead of the steering angle, as the control.

A hand says on which side of an agent its y axis points: 1 to the left, -1 to the right. Who sees
the world with the other hand sees it mirrored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from forecast.models.edges import Edges, Places, edges_in_range, in_machine_code


@dataclass(frozen=True)
class Motion:
    """Kinematic state of agents; any leading shape.

    Attributes:
        position: ``[..., 2]`` in metres.
        velocity: ``[..., 2]`` in m/s over the last step.
        facing: Unit vector ``[..., 2]``: the x axis of the agent's own frame.
        yaw_rate: ``[...]`` in rad/s over the last step.
    """

    position: Tensor
    velocity: Tensor
    facing: Tensor
    yaw_rate: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> Motion:
        """The same function of each of the four."""
        return Motion(
            change(self.position), change(self.velocity), change(self.facing), change(self.yaw_rate)
        )


def to_local(vector: Tensor, facing: Tensor, hand: Tensor) -> Tensor:
    """Expresses vectors ``[..., 2]`` in frames with x axis ``facing`` and a hand ``[...]``."""
    return torch.stack(seen_from(vector.unbind(-1), facing.unbind(-1), hand), -1)


def seen_from(
    vector: Sequence[Tensor], facing: Sequence[Tensor], hand: Tensor
) -> tuple[Tensor, Tensor]:
    """As `to_local`, of vectors ``(x, y)`` as two tensors ``[...]`` each."""
    (x, y), (facing_x, facing_y) = vector, facing
    along = torch.addcmul(facing_x * x, facing_y, y)
    across = torch.addcmul(facing_x * y, facing_y, x, value=-1)
    return along, hand * across


def to_world(vector: Tensor, facing: Tensor, hand: Tensor) -> Tensor:
    """Inverse of `to_local`."""
    along, across = vector.unbind(-1)
    return torch.stack(_turned(facing.unbind(-1), along, hand * across), -1)


def _turned(vector: Sequence[Tensor], cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors ``(x, y)`` turned counter-clockwise."""
    x, y = vector
    return torch.addcmul(x * cos, y, sin, value=-1), torch.addcmul(y * cos, x, sin)


def angle_between(facing: Tensor, other: Tensor) -> Tensor:
    """Signed angle from ``facing`` to ``other`` ``[..., 2]``, counter-clockwise ``[...]``."""
    (x, y), (u, v) = facing.unbind(-1), other.unbind(-1)
    cos, sin = _turned((u, v), x, -y)
    return torch.atan2(sin, cos)


def turn_towards(facing: Tensor, step_m: Tensor) -> Tensor:
    """Turns frames towards the direction of the last step, the more the longer the step.

    Smooth, causal and SE(2)-equivariant: an agent that stands keeps its frame whatever its noise,
    one that walks faces the way it goes.

    Args:
        facing: Unit vectors ``[..., 2]``.
        step_m: Displacements ``[..., 2]``.
    """
    turned = torch.add(facing, step_m, alpha=EAGERNESS)
    norm = turned.norm(dim=-1, keepdim=True)
    return torch.where(norm > NO_WAY, turned / norm.clamp(min=NO_WAY), facing)


EAGERNESS = 4.0
"""Weight of one metre walked against the old direction."""
NO_WAY = 1e-3
"""A shorter vector has no direction."""


def length(x: Tensor, y: Tensor) -> Tensor:
    """Length of vectors; its gradient is 0 at 0."""
    return torch.addcmul(x * x, y, y).clamp(min=TINY**2).sqrt()


def walk(motion: Motion, velocity: Tensor, dt_s: Tensor) -> Motion:
    """Moves free agents with their new velocity.

    Args:
        motion: State.
        velocity: Velocity ``[..., 2]`` in m/s in the world's frame.
        dt_s: Step length that broadcasts against ``yaw_rate``.
    """
    step = velocity * dt_s[..., None]
    facing = turn_towards(motion.facing, step)
    return Motion(motion.position + step, velocity, facing, torch.zeros_like(motion.yaw_rate))


def step_on(
    motion: Motion,
    change: Tensor,
    passing: Tensor,
    drives: Tensor,
    dt_s: Tensor,
    hand: Tensor,
    some_drive: bool = True,
) -> Motion:
    """The motions ``[S, N, ...]`` after a step: some `drive`, the others `walk`.

    Args:
        motion: The motions before.
        change: What those who drive change: speed in m/s and yaw rate in rad/s ``[S, N, 2]``.
        passing: New velocities of those who walk ``[S, N, 2]``.
        drives: Who drives ``[N]``.
        dt_s: Step length ``[N]``.
        hand: With which hand each copy is seen ``[S, 1 or N]``.
        some_drive: Whether anybody does at all.
    """
    if in_machine_code(passing):
        from forecast.models import kernels

        mine = motion.position, motion.velocity, motion.facing, motion.yaw_rate
        new = change, passing, drives, dt_s, hand.expand(motion.yaw_rate.shape)
        moved = kernels.step_on(*kernels.arrays(*mine, *new), EAGERNESS, NO_WAY)
        return Motion(*map(torch.from_numpy, moved))
    walked = walk(motion, passing, dt_s)
    if not some_drive:
        return walked
    faster, turning = change.unbind(-1)
    driven = drive(motion, faster, hand * turning, dt_s)
    return choose(drives.expand_as(motion.yaw_rate), driven, walked)


def give_way(position: Tensor, wanted: Tensor, dt_s: Tensor, pairs: Tensor, gap_m: float) -> Tensor:
    """`pass_by` of those who may meet within the step, in all copies of the world.

    Args:
        position: ``[S, N, 2]``.
        wanted: What velocities they are up to ``[S, N, 2]``.
        dt_s: Step length ``[N]``.
        pairs: People who may meet at all, each pair once ``[2, E]``.
        gap_m: Least distance of two centres.

    Returns:
        ``[S, N, 2]``.
    """
    steps = wanted.detach().norm(dim=-1) * dt_s
    x, y = position.detach().unbind(-1)
    places = Places(x, y, spread=steps)
    edges = edges_in_range(places, places, pairs, steps.new_full(pairs.shape[1:], gap_m))
    flat = position.flatten(0, 1), wanted.flatten(0, 1), dt_s.expand_as(steps).flatten()
    meeting = edges.source.node, edges.target.node
    return pass_by(*flat, meeting, gap_m).view_as(wanted)


def give_way_near(
    position: Tensor, wanted: Tensor, dt_s: Tensor, walks: Tensor, near: Edges, gap_m: float
) -> Tensor:
    """`pass_by` of R rows, who meet each other and the others behind them in the lists of nodes.

    Args:
        position: Of all nodes ``[N, 2]``.
        wanted: What velocities they are up to ``[N, 2]``.
        dt_s: Step length ``[N]``.
        walks: Who is a pedestrian ``[N]``.
        near: Whom the rows are near.
        gap_m: Least distance of two centres.

    Returns:
        ``[R, 2]``.
    """
    one, other, rows = near.source.node, near.target.node, near.target.nodes
    if in_machine_code(wanted):
        from forecast.models import kernels

        values = kernels.arrays(position, wanted, dt_s, walks, one, other)
        found = kernels.give_way_near(*values, gap_m, ROUNDS, SOONEST, TINY, rows)
        return torch.from_numpy(found)
    gap = position.index_select(0, one) - position.index_select(0, other)
    steps = wanted.norm(dim=-1) * dt_s
    reach = steps.index_select(0, one) + steps.index_select(0, other) + gap_m
    meet = (gap.square().sum(-1) < reach * reach) & walks[one] & walks[other]
    meet &= (one >= rows) | (one < other)  # rows meet each other once
    (meeting,) = meet.nonzero(as_tuple=True)
    return pass_by(position, wanted, dt_s, (one[meeting], other[meeting]), gap_m)[:rows]


def pass_by(
    position: Tensor, velocity: Tensor, dt_s: Tensor, pairs: tuple[Tensor, Tensor], gap_m: float
) -> Tensor:
    """Velocities with which people pass one another instead of walking through each other.

    Two who would come nearer than the gap within the step, or nearer than they are if that is less,
    give way by half of what is missing each, to the side on which they would pass anyway. All do so
    twice, since giving way to one may lead into another.

    Args:
        position: ``[N, 2]``.
        velocity: What they are up to ``[N, 2]``.
        dt_s: Step length ``[N]``.
        pairs: Who may meet: one and the other, each pair once ``[E]``.
        gap_m: Least distance of two centres.

    Returns:
        ``[N, 2]``.
    """
    one, other = pairs
    x, y = (position.index_select(0, one) - position.index_select(0, other)).unbind(-1)
    for _ in range(ROUNDS):
        step = velocity * dt_s[:, None]
        step_x, step_y = (step.index_select(0, one) - step.index_select(0, other)).unbind(-1)
        approach = torch.addcmul(x * step_x, y, step_y)
        way2 = torch.addcmul(step_x * step_x, step_y, step_y).clamp(min=TINY)
        share = (-approach / way2).clamp(0, 1)
        near_x, near_y = torch.addcmul(x, share, step_x), torch.addcmul(y, share, step_y)
        missing = (length(x, y).clamp(max=gap_m) - length(near_x, near_y)).clamp(min=0)
        aside = near_x - TINY * step_y, near_y + TINY * step_x  # also if head on
        yielding = 0.5 * missing / (share.clamp(min=SOONEST) * dt_s.index_select(0, one))
        away = torch.stack(aside, -1) * (yielding / length(*aside))[:, None]
        velocity = velocity.index_add(0, one, away).index_add(0, other, away, alpha=-1)
    return velocity


TINY = 1e-6
SOONEST = 0.3
"""Who meets earlier in a step than this share of it gives way as if at this share."""
ROUNDS = 2
"""How often all give way in a step."""


def drive(motion: Motion, faster: Tensor, turning: Tensor, dt_s: Tensor) -> Motion:
    """Moves vehicles as a unicycle with constant speed and yaw rate plus changes of both.

    Args:
        motion: State.
        faster: Change of speed in m/s ``[...]``.
        turning: Change of yaw rate in rad/s ``[...]``.
        dt_s: Step length that broadcasts against ``yaw_rate``.
    """
    forward = (motion.velocity * motion.facing).sum(-1)
    pace = motion.velocity.norm(dim=-1)  # of the chord; its direction lags behind the heading
    speed = torch.where(forward < 0, -pace, pace) + faster
    yaw_rate = motion.yaw_rate + turning
    half = 0.5 * dt_s * yaw_rate * speed.abs().tanh()  # a vehicle at rest does not turn
    cos, sin = half.cos(), half.sin()
    middle = _turned(motion.facing.unbind(-1), cos, sin)
    facing = torch.stack(_turned(middle, cos, sin), -1)
    velocity = speed[..., None] * torch.stack(middle, -1)
    position = torch.addcmul(motion.position, velocity, dt_s[..., None])
    return Motion(position, velocity, facing, yaw_rate)


def choose(use_first: Tensor, first: Motion, second: Motion) -> Motion:
    """Takes ``first`` where ``use_first [...]`` is true and ``second`` elsewhere."""
    mask = use_first[..., None]
    return Motion(
        torch.where(mask, first.position, second.position),
        torch.where(mask, first.velocity, second.velocity),
        torch.where(mask, first.facing, second.facing),
        torch.where(use_first, first.yaw_rate, second.yaw_rate),
    )


def moved_to(motion: Motion, position: Tensor, facing: Tensor, elapsed_s: Tensor) -> Motion:
    """The state after an agent was seen (or put) at a pose ``elapsed_s`` after ``motion``."""
    return Motion(
        position,
        (position - motion.position) / elapsed_s[..., None],
        facing,
        angle_between(motion.facing, facing) / elapsed_s,
    )


def stack(motions: Sequence[Motion]) -> Motion:
    """Joins the states ``[S, N, ...]`` of T steps to ``[S, N, T, ...]``."""
    return Motion(
        torch.stack([motion.position for motion in motions], 2),
        torch.stack([motion.velocity for motion in motions], 2),
        torch.stack([motion.facing for motion in motions], 2),
        torch.stack([motion.yaw_rate for motion in motions], 2),
    )
