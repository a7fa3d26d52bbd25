"""`EgoState`: position, speed and size of the ego vehicle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.scene import AgentKind, Scene
from forecast.scene.agents import TYPICAL_SIZE_M

_LENGTH_M, _WIDTH_M, _ = TYPICAL_SIZE_M[AgentKind.EGO]


@dataclass(frozen=True)
class EgoState:
    """The ego's state now, in the frame of the scene.

    Attributes:
        x_m: Centre of the body.
        y_m: Centre of the body.
        heading_rad: Heading.
        speed_mps: Speed along the heading.
        acceleration_mps2: Acceleration along the heading.
        length_m: Length of the body.
        width_m: Width of the body.
    """

    x_m: float
    y_m: float
    heading_rad: float
    speed_mps: float
    acceleration_mps2: float = 0.0
    length_m: float = _LENGTH_M
    width_m: float = _WIDTH_M

    def __post_init__(self) -> None:
        """Checks the numbers; raises `ForecastError`."""
        values = (self.x_m, self.y_m, self.heading_rad, self.acceleration_mps2)
        require(all(map(math.isfinite, values)), "ego state", values, "finite numbers")
        good = math.isfinite(self.speed_mps) and self.speed_mps >= 0
        require(good, "ego speed_mps", self.speed_mps, "a finite speed of at least 0")
        size = (self.length_m, self.width_m)
        require(min(size) > 0 and math.isfinite(sum(size)), "ego size", size, "a size above 0")

    @property
    def pose(self) -> NDArray[np.float64]:
        """``(x_m, y_m, heading_rad)``."""
        return np.array([self.x_m, self.y_m, self.heading_rad])

    @classmethod
    def of(cls, scene: Scene, at: int) -> EgoState:
        """The ego of a scene at step ``at``; its speed is that of its last step.

        Args:
            scene: The scene.
            at: Index of the step; below 0 it is counted from the end.

        Raises:
            ForecastError: There is no such step, or the scene has no agent of kind EGO that is
                observed then.
        """
        at, tracks = scene.step(at), scene.tracks
        egos = np.flatnonzero((tracks.kinds == AgentKind.EGO) & tracks.valid[:, at])
        require(len(egos) == 1, f"{scene.id}: number of egos at step {at}", len(egos), "exactly 1")
        seen = np.flatnonzero(tracks.valid[egos[0], : at + 1])[-2:]
        x, y = tracks.positions_m[egos[0], at]
        heading = float(tracks.headings_rad[egos[0], at])
        step = np.diff(tracks.positions_m[egos[0], seen], axis=0).sum(axis=0)
        forward = float(step @ [math.cos(heading), math.sin(heading)])
        elapsed_s = max(int(seen[-1] - seen[0]), 1) * scene.dt_s
        length, width, _ = map(float, tracks.sizes_m[egos[0]])
        speed = max(forward / elapsed_s, 0.0)
        return cls(float(x), float(y), heading, speed, 0.0, length, width)
