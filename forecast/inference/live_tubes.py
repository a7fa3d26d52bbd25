"""Tubes that adapt within a drive: what was predicted is checked against what was seen since.

A tube at level q should contain the truth in a share q of the cases. Where the truth is outside
more often, the tubes grow; where it is inside more often, they shrink. This is adaptive conformal
inference (Gibbs and Candès, NeurIPS 2021) on the logarithm of a factor of the radii. There is one
factor for each group of pedestrians of the calibration, since people who stand are missed for other
reasons (noise) than people who walk (speed).

Only the tubes adapt. Samples with an adapted spread or walking speed scored no better
(scripts/results/adaptation.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecast.models.calibration.conformal import GROUPS, groups_of
from forecast.models.observed import ObservedTracks
from forecast.scene import AgentKind, Prediction, Tubes
from forecast.scene.agents import FASTEST_MPS

_CHECKED_S = 3.0
"""A prediction is checked up to this long after it was made."""

_RATE = 0.06
"""Change of a factor's logarithm for a share of misses that is 1 too high."""

_MOST_LOG = 1.0
"""Largest and, negative, least logarithm of a factor."""

_SPACING = 0.9
"""Predictions that are checked are at least this many steps of the model apart."""

_ON_TIME = 1e-6
"""Tolerance of a time, in steps."""


@dataclass(frozen=True, eq=False)
class _Stated:
    """A prediction that is not yet checked to the end.

    Attributes:
        prediction: It, with the tubes as they were stated.
        tubes: The same tubes.
        now_m: Positions of its agents when it was made ``[A, 2]``.
        group: Indices into `GROUPS` ``[A]``.
        step: The next step of the model at which it is checked, from 1 on.
    """

    prediction: Prediction
    tubes: Tubes
    now_m: NDArray[np.float64]
    group: NDArray[np.int64]
    step: int


class LiveTubes:
    """The factors of the tubes' radii in one recording.

    Each kept prediction is checked once a step of the model, for 3 s. All people of one group at
    one check count together as one observation, because their errors have common causes. The work
    and the memory are bounded: a handful of predictions is kept.

    Args:
        step_s: The model's step.
    """

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._log = np.zeros(len(GROUPS))
        self._stated: list[_Stated] = []

    @property
    def factors(self) -> dict[str, float]:
        """What the radii are multiplied by, for each group; 1 until something was checked."""
        return dict(zip(GROUPS, np.exp(self._log).tolist(), strict=True))

    def adapted(self, prediction: Prediction, seen: ObservedTracks) -> Prediction:
        """The prediction with adapted tubes; the same object while all factors are 1.

        Args:
            prediction: A prediction with tubes.
            seen: The history of its agents.
        """
        tubes = prediction.tubes
        if tubes is None or not self._log.any():
            return prediction
        factor = np.exp(self._log)[groups_of(seen)]
        scaled = replace(tubes, scale=tubes.scale * factor[:, None, None])
        return replace(prediction, tubes=scaled)

    def remember(self, prediction: Prediction, seen: ObservedTracks) -> None:
        """Keeps a prediction, to be checked by later frames, unless one was just kept.

        Args:
            prediction: A prediction, with the tubes that were stated.
            seen: The history of its agents.
        """
        tubes = prediction.tubes
        kept_us = self._stated[-1].prediction.at_us if self._stated else None
        if tubes is None or (
            kept_us is not None and self._steps(kept_us, prediction.at_us) < _SPACING
        ):
            return
        now_m = seen.positions_m[:, -1]
        self._stated.append(_Stated(prediction, tubes, now_m, groups_of(seen), 1))

    def check(
        self,
        at_us: int,
        names: NDArray[np.str_],
        kinds: NDArray[np.int8],
        positions_m: NDArray[np.float64],
    ) -> None:
        """Checks what was predicted for the time of a new frame.

        Args:
            at_us: Its time, after that of all earlier frames.
            names: Names of its agents ``[N]``.
            kinds: Their `AgentKind` values ``[N]``.
            positions_m: Their positions ``[N, 2]``.
        """
        walks = kinds == AgentKind.PEDESTRIAN
        places = dict(zip(names[walks].tolist(), positions_m[walks], strict=True))
        kept = []
        for stated in self._stated:
            passed = self._steps(stated.prediction.at_us, at_us)
            if not 0 < passed * self._step_s <= self._until_s(stated.prediction) + _ON_TIME:
                continue
            if passed + _ON_TIME >= stated.step:
                self._learn(stated, passed * self._step_s, places)
                stated = replace(stated, step=int(passed + _ON_TIME) + 1)
            kept.append(stated)
        self._stated = kept

    def _steps(self, start_us: int, stop_us: int) -> float:
        """Time between two moments in steps of the model."""
        return (stop_us - start_us) / 1e6 / self._step_s

    @staticmethod
    def _until_s(prediction: Prediction) -> float:
        return min(_CHECKED_S, prediction.steps * prediction.dt_s)

    def _learn(
        self, stated: _Stated, passed_s: float, places: dict[str, NDArray[np.float64]]
    ) -> None:
        """Moves the factors by what was seen some time after a prediction."""
        truth_m = np.array(
            [places.get(name, (np.nan, np.nan)) for name in stated.prediction.agent_ids.tolist()]
        ).reshape(-1, 1, 2)
        moved_m = np.linalg.norm(truth_m[:, 0] - stated.now_m, axis=-1)
        # NaN compares as false. A farther agent is another one with the same name.
        known = stated.tubes.valid & (moved_m <= FASTEST_MPS[AgentKind.PEDESTRIAN] * passed_s)
        at = np.array([passed_s / stated.prediction.dt_s])
        tubes = stated.tubes.resampled(at, stated.now_m)
        outside = ~tubes.contains(truth_m)[:, 0]  # [A, Q]
        excess = (outside - (1 - np.array(tubes.levels))).mean(axis=1)  # [A]
        for group in range(len(GROUPS)):
            own = known & (stated.group == group)
            if own.any():
                self._log[group] += _RATE * excess[own].mean()
        self._log = np.clip(self._log, -_MOST_LOG, _MOST_LOG)
