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
    return torch.stack(
        [
            facing[..., 0] * vector[..., 0] + facing[..., 1] * vector[..., 1],
            hand * (facing[..., 0] * vector[..., 1] - facing[..., 1] * vector[..., 0]),
        ],
        -1,
    )


def to_world(vector: Tensor, facing: Tensor, hand: Tensor) -> Tensor:
    """Inverse of `to_local`."""
    along, across = vector[..., 0], hand * vector[..., 1]
    return torch.stack(
        [
            facing[..., 0] * along - facing[..., 1] * across,
            facing[..., 1] * along + facing[..., 0] * across,
        ],
        -1,
    )


def angle_between(facing: Tensor, other: Tensor) -> Tensor:
    """Signed angle from ``facing`` to ``other`` ``[..., 2]``, counter-clockwise ``[...]``."""
    cross = facing[..., 0] * other[..., 1] - facing[..., 1] * other[..., 0]
    return torch.atan2(cross, (facing * other).sum(-1))


def turn_towards(facing: Tensor, step_m: Tensor, eagerness: float = 4.0) -> Tensor:
    """Turns frames towards the direction of the last step, the more the longer the step.

    Smooth, causal and SE(2)-equivariant: an agent that stands keeps its frame whatever its noise,
    one that walks faces the way it goes.

    Args:
        facing: Unit vectors ``[..., 2]``.
        step_m: Displacements ``[..., 2]``.
        eagerness: Weight of one metre walked against the old direction.
    """
    turned = facing + eagerness * step_m
    norm = turned.norm(dim=-1, keepdim=True)
    return torch.where(norm > 1e-3, turned / norm.clamp(min=1e-3), facing)


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


def pass_by(
    position: Tensor, velocity: Tensor, dt_s: Tensor, edges: Tensor, gap_m: float
) -> Tensor:
    """Velocities with which people pass one another instead of walking through each other.

    Two who would come nearer than the gap within the step, or nearer than they are if that is less,
    give way by half of what is missing each, to the side on which they would pass anyway.

    Args:
        position: ``[N, 2]``.
        velocity: What they are up to ``[N, 2]``.
        dt_s: Step length ``[N]``.
        edges: Who may meet (other, oneself) in both orders ``[2, E]``.
        gap_m: Least distance of two centres.

    Returns:
        ``[N, 2]``.
    """
    other, own = edges
    offset = position[own] - position[other]
    closing = (velocity[own] - velocity[other]) * dt_s[own, None]
    share = -(offset * closing).sum(-1) / closing.square().sum(-1).clamp(min=_TINY)
    share = share.clamp(0, 1)[:, None]
    nearest = offset + share * closing
    aside = nearest + _TINY * torch.stack([-closing[:, 1], closing[:, 0]], -1)  # if head on
    distance = nearest.norm(dim=-1, keepdim=True)
    missing = (offset.norm(dim=-1, keepdim=True).clamp(max=gap_m) - distance).clamp(min=0)
    yielding = 0.5 * missing / share.clamp(min=_SOONEST) / dt_s[own, None]
    away = yielding * aside / aside.norm(dim=-1, keepdim=True).clamp(min=_TINY)
    return velocity.index_add(0, own, away)


_TINY = 1e-6
_SOONEST = 0.3
"""Who meets earlier in a step than this share of it gives way as if at this share."""


def drive(motion: Motion, change: Tensor, dt_s: Tensor) -> Motion:
    """Moves vehicles as a unicycle with constant speed and yaw rate plus changes of both.

    Args:
        motion: State.
        change: Change of speed in m/s and of yaw rate in rad/s ``[..., 2]``.
        dt_s: Step length that broadcasts against ``yaw_rate``.
    """
    forward = (motion.velocity * motion.facing).sum(-1) >= 0
    pace = motion.velocity.norm(dim=-1)  # of the chord; its direction lags behind the heading
    speed = torch.where(forward, pace, -pace) + change[..., 0]
    yaw_rate = motion.yaw_rate + change[..., 1]
    half = 0.5 * yaw_rate * dt_s * torch.tanh(speed.abs())  # a vehicle at rest does not turn
    middle = _turned(motion.facing, half)
    facing = _turned(middle, half)
    velocity = speed[..., None] * middle
    return Motion(motion.position + velocity * dt_s[..., None], velocity, facing, yaw_rate)


def _turned(facing: Tensor, angle: Tensor) -> Tensor:
    """Unit vectors ``[..., 2]`` turned counter-clockwise by ``angle [...]``."""
    return to_world(torch.stack([angle.cos(), angle.sin()], -1), facing, torch.ones_like(angle))


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
