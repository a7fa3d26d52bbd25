"""`ObservedTracks`: the observed history of the agents of a scene, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.scene import AgentKind

Floats = NDArray[np.float64]

_KEPT = 0.4
"""Weight of a past step relative to the step after it, in constant velocity.

Of the last step alone, noise of the tracker makes much: with 0.1 m of it in every position of
teaser_val, the FDE at 6 s is 2.9 m by the last step and 2.2 m by this mean.
"""


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
        """Paths ``[A, T, 2]`` at the `mean_step` of the history.

        An agent observed once stands still.
        """
        step = mean_step(self.positions_m, self.valid, _KEPT)
        return self.positions_m[:, -1:] + step[:, None] * np.arange(1.0, steps + 1)[:, None]


def mean_step(positions_m: Floats, valid: NDArray[np.bool_], kept: float) -> Floats:
    """Weighted mean of past steps ``[A, 2]``; 0 for agents without any.

    Between two observations with a gap between them, all steps are equal and count once.

    Args:
        positions_m: ``[A, H, 2]``.
        valid: ``[A, H]``.
        kept: Weight of a step relative to the step after it.
    """
    count = valid.shape[1]
    seen = np.maximum.accumulate(np.where(valid, np.arange(count), -1), axis=1)
    before = seen[:, :-1]  # [A, H - 1], the latest observation before each step; -1 without one
    weights = (valid[:, 1:] & (before >= 0)) * kept ** np.arange(count - 2.0, -1, -1)
    way = positions_m[:, 1:] - np.take_along_axis(positions_m, before[..., None], axis=1)
    steps = way / (np.arange(1, count) - before)[..., None]
    total = weights.sum(axis=1, keepdims=True)
    known = np.where((weights > 0)[..., None], steps, 0.0)
    mean: Floats = (weights[..., None] * known).sum(axis=1) / np.where(total > 0, total, 1)
    return mean
