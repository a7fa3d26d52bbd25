"""The gate: whether held-out scenes got worse by more than their noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecast.adaptation.config import AdaptConfig

_FEWEST = 2
"""Scenes below which a standard error says nothing."""


@dataclass(frozen=True)
class Change:
    """The mean loss of held-out scenes before and after a step.

    Attributes:
        scenes: Number of scenes.
        before: Mean loss before.
        after: Mean loss after.
        error: Standard error of the mean of the differences, over scenes.
    """

    scenes: int
    before: float
    after: float
    error: float

    @classmethod
    def of(cls, before: Sequence[float], after: Sequence[float]) -> Change | None:
        """The change of the losses of the same scenes; None for fewer than two scenes."""
        if len(before) < _FEWEST:
            return None
        one, other = np.array(before), np.array(after)
        error = (other - one).std(ddof=1) / np.sqrt(len(one))
        return cls(len(one), float(one.mean()), float(other.mean()), float(error))

    def worse(self, config: AdaptConfig, margin: float) -> bool:
        """Whether the step must be rolled back.

        Args:
            config: How large noise is, and the limit.
            margin: What is not worse by more than this share is kept, whatever its noise.
        """
        if not np.isfinite(self.after):
            return True
        rise = self.after - self.before
        beyond_noise = rise > max(config.noise * self.error, margin * self.before)
        return beyond_noise or rise > config.limit * self.before

    def sentence(self, what: str, since: str = "") -> str:
        """Says what got worse, and since when if not since the scene before."""
        return (
            f"loss on {self.scenes} held-out scenes of the {what} rose{since} from "
            f"{self.before:.4f} to {self.after:.4f}; its standard error is {self.error:.4f}"
        )
