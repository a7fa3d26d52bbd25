"""`ObservedTracks`: the observed history of the agents of a scene, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.scene import AgentKind

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ObservedTracks:
    """The tracks of the agents present now, up to now.

    Attributes:
        positions_m: ``[A, H, 2]``; the last step is the current one.
        valid: ``[A, H]``; values at other steps are undefined.
        kinds: `AgentKind` values ``[A]``.
        dt_s: Step length.
    """

    positions_m: Floats
    valid: NDArray[np.bool_]
    kinds: NDArray[np.int8]
    dt_s: float

    def __post_init__(self) -> None:
        """Checks the shapes; raises `ForecastError`."""
        agents, steps = self.valid.shape
        shape = self.positions_m.shape
        require(shape == (agents, steps, 2), "positions_m's shape", list(shape), "[A, H, 2]")
        require(self.kinds.shape == (agents,), "kinds' shape", list(self.kinds.shape), "[A]")
        require(steps > 0, "history", steps, "at least the current step")

    @property
    def pedestrians(self) -> NDArray[np.bool_]:
        """Whether each agent is a pedestrian ``[A]``."""
        return self.kinds == AgentKind.PEDESTRIAN

    def select(self, agents: NDArray[np.bool_]) -> ObservedTracks:
        """Some of the agents, by mask ``[A]``."""
        return ObservedTracks(
            self.positions_m[agents], self.valid[agents], self.kinds[agents], self.dt_s
        )

    def velocities_mps(self) -> Floats:
        """Backward differences ``[A, H - 1, 2]``; NaN where one of the two steps is not known."""
        known = self.valid[:, 1:] & self.valid[:, :-1]
        return np.where(known[..., None], np.diff(self.positions_m, axis=1) / self.dt_s, np.nan)

    def velocity_mps(self) -> Floats:
        """Velocity now ``[A, 2]``; NaN for agents not observed one step before."""
        unknown = np.full((len(self.kinds), 1, 2), np.nan)
        latest: Floats = np.concatenate([unknown, self.velocities_mps()], axis=1)[:, -1]
        return latest

    def constant_velocity_m(self, steps: int) -> Floats:
        """Paths ``[A, T, 2]`` at the present velocity, or the mean velocity over a gap before now.

        An agent observed once stands still.
        """
        count = self.valid.shape[1]
        before = np.where(self.valid[:, :-1], np.arange(count - 1), -1).max(axis=1, initial=-1)
        known = (before >= 0) & self.valid[:, -1]
        way = self.positions_m[:, -1] - self.positions_m[np.arange(len(before)), before]
        step = np.where(known[:, None], way, 0.0) / (count - 1 - before)[:, None]
        return self.positions_m[:, -1:] + step[:, None] * np.arange(1.0, steps + 1)[:, None]
