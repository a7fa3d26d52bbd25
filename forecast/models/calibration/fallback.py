"""Adds calibrated tubes to a prediction, and a fallback for pedestrians out of distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecast.models.calibration.conformal import Calibration
from forecast.models.calibration.ood import OODModel, features
from forecast.models.noise import even_pairs
from forecast.models.observed import ObservedTracks
from forecast.scene import AgentKind, Prediction
from forecast.scene.agents import FASTEST_MPS
from forecast.scene.modes import ModeSet


@dataclass(frozen=True, eq=False)
class Fallback:
    """The fallback of pedestrians with a history that is out of distribution.

    The mode keeps the present velocity. Samples spread around it as the calibrated tubes say: the
    share of samples in a tube is its level. A sample keeps its direction and its quantile over all
    steps. Without calibrated tubes all samples are equal.

    Attributes:
        ood: The pedestrians ``[A]``.
        seen: The observed history of the agents.
        calibration: Fitted tubes or None.
        names: Names of the agents ``[A]``.
        seed: Seed of the directions and quantiles.
    """

    ood: NDArray[np.bool_]
    seen: ObservedTracks
    calibration: Calibration | None
    names: Sequence[str]
    seed: int

    @classmethod
    def of(
        cls,
        seen: ObservedTracks,
        calibration: Calibration | None,
        ood_model: OODModel | None,
        names: Sequence[str],
        seed: int,
    ) -> Fallback | None:
        """The fallback of a scene; None without a fitted OOD detector.

        Args:
            seen: The observed history of the agents.
            calibration: Fitted tubes or None.
            ood_model: Fitted OOD detector or None.
            names: Names of the agents ``[A]``.
            seed: Seed of the samples.
        """
        if ood_model is None:
            return None
        ood = seen.pedestrians & ood_model.is_ood(features(seen))
        return cls(ood, seen, calibration, names, seed)

    def mode(self, path_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """Paths ``[A, T, 2]``, those of the fallback's pedestrians at constant velocity."""
        straight = self.seen.constant_velocity_m(path_m.shape[-2])
        return np.where(self.ood[:, None, None], straight, path_m).astype(np.float32)

    def samples(self, paths_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples ``[..., K, A, T, 2]``, those of the fallback's pedestrians around the mode."""
        if not self.ood.any():
            return paths_m
        replaced = np.flatnonzero(self.ood)
        samples, _, steps, _ = paths_m.shape[-4:]
        straight = self.seen.constant_velocity_m(steps)[replaced]
        spread = straight + self._offsets(replaced, samples, steps)
        made = paths_m.copy()
        made[..., replaced, :, :] = self._slowed(spread, self.seen.positions_m[replaced, -1])
        return made

    def modes(self, modes: ModeSet) -> ModeSet:
        """A mode set in which the fallback's pedestrians have equally likely modes around the mode.

        They are `samples` of a fixed seed, so that they do not change from seed to seed.
        """
        if not self.ood.any():
            return modes
        even = np.where(self.ood[:, None], 1 / modes.count, modes.probabilities)
        paths = replace(self, seed=0).samples(modes.positions_m.swapaxes(0, 1)).swapaxes(0, 1)
        return ModeSet(paths, even.astype(np.float32))

    def _offsets(self, agents: NDArray[np.int64], samples: int, steps: int) -> NDArray[np.float64]:
        """Offsets from constant velocity ``[K, A', T, 2]`` in metres."""
        if self.calibration is None:
            return np.zeros((samples, len(agents), steps, 2))
        names = [self.names[agent] for agent in agents]
        quantile, turn = np.moveaxis(even_pairs(names, samples, self.seed)[..., 0, :], -1, 0)
        angle = 2 * np.pi * turn
        radius = self.calibration.fallback_radii_m(quantile, self.seen.dt_s, steps)  # [K, A', T]
        direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return radius[..., None] * direction[..., None, :]

    def _slowed(
        self, paths_m: NDArray[np.float64], now_m: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Paths ``[..., A', T, 2]`` from ``[A', 2]`` without a step faster than people are."""
        start = np.broadcast_to(now_m[:, None], (*paths_m.shape[:-2], 1, 2))
        step = np.diff(np.concatenate([start, paths_m], axis=-2), axis=-2)
        longest = FASTEST_MPS[AgentKind.PEDESTRIAN] * self.seen.dt_s
        length = np.linalg.norm(step, axis=-1, keepdims=True)
        slowed: NDArray[np.float64] = step * (longest / np.maximum(length, longest))
        return start + slowed.cumsum(axis=-2)


def with_fallback(
    prediction: Prediction,
    seen: ObservedTracks,
    samples: int,
    calibration: Calibration | None,
    fallback: Fallback | None,
) -> Prediction:
    """Adds tubes, and replaces the futures of OOD pedestrians.

    The coverage of the tubes of replaced pedestrians is not guaranteed.

    Args:
        prediction: Equally likely samples, at least as many as the tubes need.
        seen: The observed history of its agents.
        samples: Number of samples to return, at most the number given.
        calibration: Fitted tubes; None to add none.
        fallback: The fallback; None for none.

    Returns:
        The prediction with its first ``samples`` samples, and with `Prediction.tubes` and
        `Prediction.fallback` where they are fitted.

    Raises:
        ForecastError: There are too few samples for the tubes, or steps beyond the last calibrated
            time.
    """
    drawn, mode = prediction.positions_m, prediction.mode_m
    ood = None if fallback is None else fallback.ood
    tubes = None if calibration is None else calibration.tubes(drawn, seen, ood)
    futures, modes = drawn[:samples], prediction.mode_sets
    if fallback is not None:
        futures, mode = fallback.samples(futures), None if mode is None else fallback.mode(mode)
        modes = tuple(fallback.modes(each) for each in modes)
    return replace(
        prediction,
        positions_m=futures,
        weights=np.full(samples, 1 / samples),
        mode_m=mode,
        tubes=tubes,
        fallback=ood,
        mode_sets=modes,
    )
