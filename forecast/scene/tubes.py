"""`Tubes`: regions that contain each agent at each step with a stated probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError, require
from forecast.scene.arguments import index, real_number, whole_number
from forecast.scene.between_steps import between_steps

_FEWEST_CORNERS = 3


@dataclass(frozen=True, eq=False)
class Tubes:
    """One ellipse per agent, step and level: ``(x - centre)' shape^-1 (x - centre) <= scale^2``.

    The level holds for one agent and one step. The truth stays inside at all steps together less
    often than that.

    Attributes:
        centre_m: ``[A, T, 2]`` relative to the prediction's origin.
        shape_m2: Symmetric positive definite matrices ``[A, T, 2, 2]``.
        scale: Radii in units of the shape ``[A, T, Q]``, growing with the level.
        levels: Stated probabilities ``[Q]``, ascending.
        valid: Which agents have a tube ``[A]``; the rows of the others are undefined.
    """

    centre_m: NDArray[np.float64]
    shape_m2: NDArray[np.float64]
    scale: NDArray[np.float64]
    levels: tuple[float, ...]
    valid: NDArray[np.bool_]

    def __repr__(self) -> str:
        agents, steps = self.centre_m.shape[:2]
        levels = ", ".join(f"{level:g}" for level in self.levels)
        return f"Tubes({int(self.valid.sum())} of {agents} agents, {steps} steps, levels {levels})"

    def __post_init__(self) -> None:
        """Checks shapes, levels and matrices; raises `ForecastError`."""
        if self.centre_m.ndim != 3 or self.centre_m.shape[-1] != 2:
            found = list(self.centre_m.shape)
            raise ForecastError(f"tubes.centre_m has shape {found}; [A, T, 2] is needed")
        agents, steps = self.centre_m.shape[:2]
        expected = {
            "shape_m2": (agents, steps, 2, 2),
            "scale": (agents, steps, len(self.levels)),
            "valid": (agents,),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            right = value.shape == shape
            require(right, f"tubes.{name}'s shape", list(value.shape), f"{list(shape)}")
        self._check_values()

    def _check_values(self) -> None:
        levels = self.levels
        rising = all(0 < level < 1 for level in levels) and list(levels) == sorted(set(levels))
        require(rising, "tubes.levels", list(levels), "a rising list between 0 and 1")
        scale, shape = self.scale[self.valid], self.shape_m2[self.valid]
        require(bool((scale >= 0).all()), "tubes.scale", "negative or NaN", "0 or more")
        positive = (np.linalg.det(shape) > 0) & (np.trace(shape, axis1=-2, axis2=-1) > 0)
        require(bool(positive.all()), "tubes.shape_m2", "singular", "positive definite matrices")

    def contains(self, points_m: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether a point per agent and step lies in the tube of each level.

        Args:
            points_m: ``[A, T, 2]`` relative to the prediction's origin.

        Returns:
            ``[A, T, Q]``; False where the agent has no tube.
        """
        distance = mahalanobis(points_m - self.centre_m, self._shape())
        return (distance[..., None] <= self.scale) & self.valid[:, None, None]

    def area_m2(self) -> NDArray[np.float64]:
        """Area of each ellipse ``[A, T, Q]``; NaN where the agent has no tube."""
        area = np.pi * self.scale**2 * np.sqrt(np.linalg.det(self._shape()))[..., None]
        return np.where(self.valid[:, None, None], area, np.nan)

    def level_index(self, level: float) -> int:
        """Index of a level in `levels`; raises `ForecastError` if it is not among them."""
        level = real_number("level", level, "a level between 0 and 1")
        near = [i for i, known in enumerate(self.levels) if abs(known - level) < 1e-9]
        stated = ", ".join(f"{known:g}" for known in self.levels)
        require(bool(near), "level", level, f"one of {stated}")
        return near[0]

    def polygon(self, agent: int, step: int, level: float, points: int = 32) -> NDArray[np.float64]:
        """A polygon around one ellipse, for drawing and for planners.

        Its edges touch the ellipse from outside, so it contains the truth at least as often.

        Args:
            agent: Index of the agent; below 0 it is counted from the end.
            step: Index of the step; below 0 it is counted from the end.
            level: One of `levels`.
            points: Number of corners P.

        Returns:
            Corners ``[P, 2]``, counter-clockwise, relative to the prediction's origin.

        Raises:
            ForecastError: The agent or the level has no tube, or there are too few corners.
        """
        points = whole_number("points", points, least=_FEWEST_CORNERS)
        agent = index("agent", agent, len(self.valid))
        step = index("step", step, self.scale.shape[1])
        require(bool(self.valid[agent]), f"the tube of agent {agent}", "not given", "a pedestrian")
        radius = self.scale[agent, step, self.level_index(level)] / np.cos(np.pi / points)
        angle = 2 * np.pi * np.arange(points) / points
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        root = np.linalg.cholesky(self.shape_m2[agent, step])
        corners: NDArray[np.float64] = self.centre_m[agent, step] + radius * circle @ root.T
        return corners

    def select(self, agents: NDArray[Any] | Sequence[int]) -> Tubes:
        """The tubes of some agents only, by index or mask."""
        return Tubes(
            self.centre_m[agents],
            self.shape_m2[agents],
            self.scale[agents],
            self.levels,
            self.valid[agents],
        )

    def resampled(self, at: NDArray[np.float64], now_m: NDArray[Any]) -> Tubes:
        """The tubes between steps, interpolated; their level is exact at the steps only.

        Args:
            at: Times in steps ``[T']``, up to the number of steps T.
            now_m: Positions of the agents at step 0 ``[A, 2]``, where the tubes are points.
        """
        return Tubes(
            between_steps(self.centre_m, now_m, at, axis=1),
            between_steps(self.shape_m2, 0.0, at, axis=1),
            between_steps(self.scale, self.scale[:, 0], at, axis=1),
            self.levels,
            self.valid,
        )

    def _shape(self) -> NDArray[np.float64]:
        """The shapes, with a unit circle for agents without a tube."""
        return np.where(self.valid[:, None, None, None], self.shape_m2, np.eye(2))


def mahalanobis(offset_m: NDArray[Any], shape_m2: NDArray[Any]) -> NDArray[np.float64]:
    """Length ``[...]`` of offsets ``[..., 2]`` in units of positive definite ``[..., 2, 2]``."""
    x, y = offset_m[..., 0], offset_m[..., 1]
    xx, xy, yy = shape_m2[..., 0, 0], shape_m2[..., 0, 1], shape_m2[..., 1, 1]
    squared = (yy * x * x - 2 * xy * x * y + xx * y * y) / (xx * yy - xy * xy)
    return np.sqrt(np.maximum(squared, 0.0))
