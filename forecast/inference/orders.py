"""What an agent of an imagined world can be told to do instead of what is imagined for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from forecast.models.kinematics import Motion, drive, moved_to, turn_towards


class Order(Protocol):
    """Moves one agent of S worlds; shapes ``[S, ...]``."""

    def moved(self, before: Motion, imagined: Motion, step: int, dt_s: Tensor) -> Motion:
        """Where the agent is after a step.

        Args:
            before: Where it was.
            imagined: Where it would be by itself.
            step: Index of the step since the world began.
            dt_s: Step length.
        """
        ...


@dataclass(frozen=True)
class Follow:
    """Takes given poses, then goes on by itself.

    Attributes:
        poses: x, y, heading ``[T, 3]``.
        start: Step at which the first is reached.
    """

    poses: Tensor
    start: int

    def moved(self, before: Motion, imagined: Motion, step: int, dt_s: Tensor) -> Motion:
        """See `Order`."""
        if step - self.start >= len(self.poses):
            return imagined
        x, y, heading = self.poses[step - self.start]
        facing = torch.stack([heading.cos(), heading.sin()]).expand_as(before.facing)
        return moved_to(before, torch.stack([x, y]).expand_as(facing), facing, dt_s)


@dataclass(frozen=True)
class Act:
    """Drives with an acceleration until it stands, and with a yaw rate.

    Attributes:
        acceleration_mps2: Along the heading.
        yaw_rate_radps: Counter-clockwise; a vehicle at rest does not turn.
    """

    acceleration_mps2: float
    yaw_rate_radps: float

    def moved(self, before: Motion, imagined: Motion, step: int, dt_s: Tensor) -> Motion:
        """See `Order`."""
        speed = before.velocity.norm(dim=-1)
        faster = torch.maximum(self.acceleration_mps2 * dt_s, -speed)
        turning = self.yaw_rate_radps - before.yaw_rate
        return drive(before, faster, turning, dt_s)


@dataclass(frozen=True)
class GoTo:
    """Walks straight to a place and stays there.

    Attributes:
        goal_m: The place ``[2]``.
        speed_mps: How fast; None: as fast as is imagined, so it still waits for others.
    """

    goal_m: Tensor
    speed_mps: float | None

    def moved(self, before: Motion, imagined: Motion, step: int, dt_s: Tensor) -> Motion:
        """See `Order`."""
        way = self.goal_m - before.position
        left = way.norm(dim=-1)
        pace = imagined.velocity.norm(dim=-1)
        pace = pace if self.speed_mps is None else torch.full_like(pace, self.speed_mps)
        velocity = way * (torch.minimum(pace, left / dt_s) / left.clamp(min=1e-6))[..., None]
        gone = velocity * dt_s
        facing = turn_towards(before.facing, gone)
        return Motion(before.position + gone, velocity, facing, torch.zeros_like(left))


@dataclass(frozen=True)
class Stay:
    """Does not move."""

    def moved(self, before: Motion, imagined: Motion, step: int, dt_s: Tensor) -> Motion:
        """See `Order`."""
        still = torch.zeros_like
        return Motion(
            before.position, still(before.velocity), before.facing, still(before.yaw_rate)
        )
