"""How agents move in one step, and collision avoidance.

People move freely. Vehicles move as a unicycle: it drives along its heading and turns only while it
drives. It is the bicycle model with the yaw rate, instead of the steering angle, as the control.

An agent's frame has a chirality: its y axis points to the left (mirror = 1) or to the right (-1).
A frame with mirror = -1 expresses the mirror image of the scene.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from forecast.models.types import Motion

BODY_GAP_M = 0.25
"""Collision avoidance keeps the centres of two people this far apart. Recorded people are rarely
nearer."""
TURN_WEIGHT = 4.0
"""Weight of one metre walked against the old facing, see `turn_towards`."""
NO_DIRECTION = 1e-3
"""A shorter vector has no direction."""
TINY = 1e-6
"""Keeps divisions and square roots finite."""
EARLIEST_SHARE = 0.3
"""Lower limit of the share of a step until the closest approach, so that speeds stay bounded."""
AVOIDANCE_ROUNDS = 2
"""Rounds of collision avoidance in a step: avoiding one agent may lead towards another."""


def length(x: Tensor, y: Tensor) -> Tensor:
    """Length of vectors; its gradient is 0 at 0."""
    return torch.addcmul(x * x, y, y).clamp(min=TINY**2).sqrt()


def distance_cutoff(distance: Tensor, radius: Tensor | float) -> Tensor:
    """Weight of a pair ``[E]``: 1 at distance 0, falling smoothly to 0 at the radius, 0 beyond."""
    return (1 - (distance / radius).square()).clamp(min=0).square()


def to_local(
    vector: Sequence[Tensor], facing: Sequence[Tensor], mirror: Tensor
) -> tuple[Tensor, Tensor]:
    """Expresses world vectors in agents' frames.

    Args:
        vector: x and y ``[...]`` each.
        facing: x and y of the frames' x axes ``[...]`` each.
        mirror: Chirality of the frames ``[...]``.

    Returns:
        Components along and across, ``[...]`` each.
    """
    (x, y), (facing_x, facing_y) = vector, facing
    along = torch.addcmul(facing_x * x, facing_y, y)
    across = torch.addcmul(facing_x * y, facing_y, x, value=-1)
    return along, mirror * across


def to_world(vector: Tensor, facing: Tensor, mirror: Tensor) -> Tensor:
    """Inverse of `to_local`, of vectors ``[..., 2]``."""
    along, across = vector.unbind(-1)
    return torch.stack(_rotate(facing.unbind(-1), along, mirror * across), -1)


def _rotate(vector: Sequence[Tensor], cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Rotates vectors ``(x, y)`` counter-clockwise."""
    x, y = vector
    return torch.addcmul(x * cos, y, sin, value=-1), torch.addcmul(y * cos, x, sin)


def turned_by(facing: Tensor, turn: Tensor) -> Tensor:
    """Vectors ``[..., 2]`` turned counter-clockwise by angles, given as cosine and sine."""
    return torch.stack(_rotate(facing.unbind(-1), *turn.unbind(-1)), -1)


def turn_between(facing: Tensor, other: Tensor) -> Tensor:
    """Signed angle by which an agent turned, counter-clockwise ``[...]`` in ``[-pi/2, pi/2]``.

    A larger angle a counts as pi - a. So a heading that flips between two frames is no turn, and
    the result is continuous there: whether a flip is to the left or right is decided by rounding.

    Args:
        facing: Unit vectors before ``[..., 2]``.
        other: Unit vectors after ``[..., 2]``.
    """
    (x, y), (u, v) = facing.unbind(-1), other.unbind(-1)
    cos, sin = _rotate((u, v), x, -y)
    return torch.atan2(sin, cos.abs())


def turn_towards(facing: Tensor, step_m: Tensor) -> Tensor:
    """Turns frames towards the direction of the last step; a longer step turns them farther.

    The result is smooth, causal and SE(2)-equivariant. A standing agent keeps its frame in spite of
    position noise, and a walking agent faces its direction of motion.

    Args:
        facing: Unit vectors ``[..., 2]``.
        step_m: Displacements ``[..., 2]``.

    Returns:
        Unit vectors ``[..., 2]``; the old ones where the direction is undefined.
    """
    turned = torch.add(facing, step_m, alpha=TURN_WEIGHT)
    norm = turned.norm(dim=-1, keepdim=True)
    return torch.where(norm > NO_DIRECTION, turned / norm.clamp(min=NO_DIRECTION), facing)


def step(
    motion: Motion, change: Tensor, velocity: Tensor, drives: Tensor, dt_s: Tensor, mirror: Tensor
) -> Motion:
    """The motions ``[S, N, ...]`` after a step: vehicles `drive`, all others `walk`.

    Args:
        motion: The motions before.
        change: Changes of a vehicle's speed in m/s and yaw rate in rad/s ``[S, N, 2]``.
        velocity: New velocities of agents that walk ``[S, N, 2]``.
        drives: Which agents drive ``[N]``.
        dt_s: Step length ``[N]``.
        mirror: Chirality ``[S, N]``.
    """
    speed_change, yaw_rate_change = change.unbind(-1)
    driven = drive(motion, speed_change, mirror * yaw_rate_change, dt_s)
    return choose(drives.expand_as(motion.yaw_rate), driven, walk(motion, velocity, dt_s))


def walk(motion: Motion, velocity: Tensor, dt_s: Tensor) -> Motion:
    """Moves agents freely with a new velocity.

    Args:
        motion: The motions before.
        velocity: Velocity ``[..., 2]`` in m/s in the world's frame.
        dt_s: Step length that broadcasts against ``yaw_rate``.
    """
    step_m = velocity * dt_s[..., None]
    facing = turn_towards(motion.facing, step_m)
    return Motion(motion.position + step_m, velocity, facing, torch.zeros_like(motion.yaw_rate))


def drive(motion: Motion, speed_change: Tensor, yaw_rate_change: Tensor, dt_s: Tensor) -> Motion:
    """Moves vehicles as a unicycle with constant speed and yaw rate plus changes of both.

    Args:
        motion: The motions before.
        speed_change: In m/s ``[...]``.
        yaw_rate_change: In rad/s ``[...]``.
        dt_s: Step length that broadcasts against ``yaw_rate``.
    """
    # The velocity is that of the chord of the last step, so it lags behind the facing by half of
    # the turn. Its part across the chord is not driven: it is noise, or the heading is wrong.
    lag = 0.5 * dt_s * motion.yaw_rate * motion.velocity.norm(dim=-1).tanh()
    chord = _rotate(motion.facing.unbind(-1), lag.cos(), -lag.sin())
    speed = (motion.velocity * torch.stack(chord, -1)).sum(-1) + speed_change
    yaw_rate = motion.yaw_rate + yaw_rate_change
    half = 0.5 * dt_s * yaw_rate * speed.abs().tanh()  # a vehicle at rest does not turn
    cos, sin = half.cos(), half.sin()
    middle = _rotate(motion.facing.unbind(-1), cos, sin)
    facing = torch.stack(_rotate(middle, cos, sin), -1)
    velocity = speed[..., None] * torch.stack(middle, -1)
    position = torch.addcmul(motion.position, velocity, dt_s[..., None])
    return Motion(position, velocity, facing, yaw_rate)


def avoid_collisions(
    position: Tensor,
    velocity: Tensor,
    dt_s: Tensor,
    source: Tensor,
    target: Tensor,
    walking: Tensor,
    rows: int,
) -> Tensor:
    """Collision avoidance between pedestrians within one step.

    If the centres of two people would come nearer than `BODY_GAP_M` within the step (or nearer than
    they are now, if that is less), each moves aside by half of the missing distance. They pass on
    the side on which they would pass without avoidance. A pair that keeps its distance contributes
    nothing, so any superset of the pairs that may meet gives the same result.

    Args:
        position: ``[M, 2]``.
        velocity: Intended velocities ``[M, 2]``.
        dt_s: Step length of each edge ``[E]``.
        source: Row of the agent to avoid ``[E]``.
        target: Row of the avoiding agent ``[E]``; a pair of targets is listed in both directions.
        walking: Edges between two pedestrians ``[E]``; other edges have no effect.
        rows: Number of targets N, the first rows. The other rows are replayed agents: each of them
            moves aside for a target as a target would, and independently for every target.

    Returns:
        New velocities ``[M, 2]`` in m/s; those of rows that are no targets are unchanged.
    """
    x, y = (position.index_select(0, target) - position.index_select(0, source)).unbind(-1)
    gap = length(x, y).clamp(max=BODY_GAP_M)
    replayed = (source >= rows)[:, None]
    shift = torch.zeros_like(velocity.index_select(0, source))  # by which replayed ones move aside
    for _ in range(AVOIDANCE_ROUNDS):
        relative = velocity.index_select(0, target) - velocity.index_select(0, source) + shift
        step_x, step_y = (relative * dt_s[:, None]).unbind(-1)
        approach = torch.addcmul(x * step_x, y, step_y)
        way2 = torch.addcmul(step_x * step_x, step_y, step_y).clamp(min=TINY)
        share = (-approach / way2).clamp(0, 1)  # of the step until the closest approach
        near_x, near_y = torch.addcmul(x, share, step_x), torch.addcmul(y, share, step_y)
        missing = (gap - length(near_x, near_y)).clamp(min=0)
        # If the two meet head on, the offset at the closest approach has no direction. The small
        # sideways part then selects a side.
        aside = near_x - TINY * step_y, near_y + TINY * step_x
        speed = 0.5 * missing / (share.clamp(min=EARLIEST_SHARE) * dt_s)
        away = torch.stack(aside, -1) * (walking * speed / length(*aside))[:, None]
        velocity = velocity.index_add(0, target, away)
        shift = shift + away * replayed
    return velocity


def limit_speed(velocity: Tensor, fastest_mps: Tensor) -> Tensor:
    """Shortens velocities ``[..., 2]`` that are faster than a limit ``[...]``."""
    speed = length(*velocity.unbind(-1))
    share = fastest_mps / torch.maximum(speed, fastest_mps)
    return velocity * share[..., None]


def choose(use_first: Tensor, first: Motion, second: Motion) -> Motion:
    """Takes ``first`` where ``use_first [...]`` is true and ``second`` elsewhere."""

    def pick(one: Tensor, other: Tensor) -> Tensor:
        mask = use_first if one.ndim == use_first.ndim else use_first[..., None]
        return torch.where(mask, one, other)

    return tree_map(pick, first, second)


def moved_to(motion: Motion, position: Tensor, facing: Tensor, elapsed_s: Tensor) -> Motion:
    """The motion of agents that are at a new pose ``elapsed_s [...]`` seconds after ``motion``.

    Args:
        motion: The motion before.
        position: New positions ``[..., 2]`` in metres.
        facing: New facings, unit vectors ``[..., 2]``.
        elapsed_s: Time between the two ``[...]``.
    """
    return Motion(
        position,
        (position - motion.position) / elapsed_s[..., None],
        facing,
        turn_between(motion.facing, facing) / elapsed_s,
    )


def follow(before: Motion, pose: Tensor, dt_s: Tensor) -> Motion:
    """The motion of agents that step to given poses.

    Args:
        before: The motion before.
        pose: x in m, y in m, heading in rad ``[..., 3]``.
        dt_s: Step length that broadcasts against ``yaw_rate``.
    """
    facing = _unit_vector(pose[..., 2]).expand_as(before.facing)
    return moved_to(before, pose[..., :2].expand_as(facing), facing, dt_s)


def follow_all(before: Motion, poses: Tensor, dt_s: Tensor) -> Motion:
    """The motions of all steps of agents that step through given poses, as by `follow`.

    Args:
        before: The motion before the first step.
        poses: x in m, y in m, heading in rad ``[T, ..., 3]``.
        dt_s: Step length that broadcasts against ``yaw_rate``.

    Returns:
        ``[T, ...]`` each.
    """
    position, facing = poses[..., :2], _unit_vector(poses[..., 2])
    earlier = before._replace(
        position=torch.cat([before.position[None], position[:-1]]),
        facing=torch.cat([before.facing[None], facing[:-1]]),
    )
    return moved_to(earlier, position, facing, dt_s)


def _unit_vector(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], -1)
