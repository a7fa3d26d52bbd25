"""`ModeSet`: a few futures of each agent with probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.scene.between_steps import between_steps

_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class ModeSet:
    """M futures of each agent on its own, from the most to the least probable.

    Mode m of one agent does not belong to mode m of another; the samples of a prediction are joint
    futures.

    Attributes:
        positions_m: ``[A, M, T, 2]`` relative to the prediction's origin; undefined for agents that
            are not predicted.
        probabilities: ``[A, M]``, falling and summing to 1 for each agent. A mode stands for all
            futures that are nearer to it than to the others.
    """

    positions_m: NDArray[np.float32]
    probabilities: NDArray[np.float32]

    def __repr__(self) -> str:
        agents, modes, steps = self.positions_m.shape[:3]
        return f"ModeSet({modes} modes of {agents} agents, {steps} steps)"

    def __post_init__(self) -> None:
        """Checks shapes and values; raises `ForecastError`."""
        shape = self.positions_m.shape
        good = len(shape) == 4 and shape[-1] == 2 and shape[1] > 0
        require(good, "modes: positions_m's shape", list(shape), "[A, M, T, 2]")
        found = list(self.probabilities.shape)
        needed = list(shape[:2])
        require(found == needed, "modes: probabilities' shape", found, f"{needed}")
        off = float(np.abs(self.probabilities.sum(1) - 1).max(initial=0.0))
        right = off <= _TOLERANCE and bool((self.probabilities >= 0).all())
        require(right, "modes: probabilities", f"off by {off:.3g}", "0 or more with a sum of 1")
        falls = bool((np.diff(self.probabilities, axis=1) <= 0).all())
        require(falls, "modes: probabilities", "rising", "those of ModeSet.ranked")

    @classmethod
    def ranked(cls, positions_m: NDArray[Any], probabilities: NDArray[Any]) -> ModeSet:
        """A set of modes in any order.

        Args:
            positions_m: ``[A, M, T, 2]``.
            probabilities: ``[A, M]``.
        """
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return cls(
            np.take_along_axis(positions_m, order[:, :, None, None], 1).astype(np.float32),
            np.take_along_axis(probabilities, order, 1).astype(np.float32),
        )

    @property
    def count(self) -> int:
        """Number of modes M of each agent."""
        return int(self.positions_m.shape[1])

    def select(self, agents: NDArray[Any]) -> ModeSet:
        """The modes of some agents, by mask or index."""
        return ModeSet(self.positions_m[agents], self.probabilities[agents])

    def until(self, steps: int) -> ModeSet:
        """The first steps of the modes."""
        return ModeSet(self.positions_m[:, :, :steps], self.probabilities)

    def resampled(self, at: NDArray[np.float64], now_m: NDArray[Any]) -> ModeSet:
        """The modes at other times, interpolated between their steps.

        Args:
            at: The times in steps of this set ``[T']``.
            now_m: Positions of the agents at step 0 ``[A, 2]``.
        """
        paths = between_steps(self.positions_m.swapaxes(0, 1), now_m, at, axis=2)
        return ModeSet(paths.swapaxes(0, 1).astype(np.float32), self.probabilities)
