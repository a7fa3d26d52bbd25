"""Controls of single agents of an interactive world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from forecast.models import dynamics
from forecast.models.types import Motion


class AgentControl(Protocol):
    """Replaces the imagined motion of one agent in S copies of a world."""

    def moved(self, before: Motion, imagined: Motion, step: int, dt_s: Tensor) -> Motion:
        """The agent's motion after a step; shapes ``[S, ...]``.

        Args:
            before: Its motion before the step.
            imagined: Its imagined motion.
            step: Index of the step since the world began.
            dt_s: Step length, a scalar.
        """
        ...


@dataclass(frozen=True)
class Follow:
    """Follows given poses, then moves as imagined.

    Attributes:
        poses: x, y, heading ``[T, 3]``.
        start: Step at which the first pose is reached.
    """

    poses: Tensor
    start: int

    def moved(self, before: Motion, imagined: Motion, step: int, dt_s: Tensor) -> Motion:
        """See `AgentControl`."""
        if step - self.start >= len(self.poses):
            return imagined
        return dynamics.follow(before, self.poses[step - self.start], dt_s)


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
        """See `AgentControl`."""
        speed = before.velocity.norm(dim=-1)
        speed_change = torch.maximum(self.acceleration_mps2 * dt_s, -speed)
        yaw_rate_change = self.yaw_rate_radps - before.yaw_rate
        return dynamics.drive(before, speed_change, yaw_rate_change, dt_s)


@dataclass(frozen=True)
class GoTo:
    """Walks straight to a place and stays there.

    Attributes:
        goal_m: The place ``[2]``.
        speed_mps: Speed. None takes the imagined speed, so the agent still waits for others.
    """

    goal_m: Tensor
    speed_mps: float | None

    def moved(self, before: Motion, imagined: Motion, step: int, dt_s: Tensor) -> Motion:
        """See `AgentControl`."""
        way = self.goal_m - before.position
        left = way.norm(dim=-1)
        speed = imagined.velocity.norm(dim=-1)
        speed = speed if self.speed_mps is None else torch.full_like(speed, self.speed_mps)
        share = torch.minimum(speed, left / dt_s) / left.clamp(min=1e-6)
        return dynamics.walk(before, way * share[..., None], dt_s)


@dataclass(frozen=True)
class Stay:
    """Does not move."""

    def moved(self, before: Motion, imagined: Motion, step: int, dt_s: Tensor) -> Motion:
        """See `AgentControl`."""
        still = torch.zeros_like
        return before._replace(velocity=still(before.velocity), yaw_rate=still(before.yaw_rate))
