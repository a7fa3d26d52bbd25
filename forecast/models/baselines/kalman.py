"""The Kalman baseline: constant velocity with fitted uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from forecast.errors import ForecastError
from forecast.models.baselines.past import Floats, Past
from forecast.scene import Prediction, Scene

_LEAST = np.array([1e-6, 1e-3, 1e-3])
"""Lower limits of the parameters in `Kalman.fit`. Recorded positions resolve about 1 mm;
with less noise the covariance is lost to rounding."""

_FIT_TRACKS = 4096
"""Number of evenly picked tracks; they suffice to fit three parameters."""


@dataclass(frozen=True)
class Kalman:
    """Constant-velocity Kalman filter with white-noise acceleration, x and y independent.

    The filter predicts through gaps. Futures are drawn from its joint predictive Gaussian over all
    steps; the mode is its mean. Model: Bar-Shalom, Li, Kirubarajan, *Estimation with Applications
    to Tracking and Navigation*, 2001, section 6.2.2. The defaults are what `fit` finds, rounded,
    for the pedestrians of nuScenes' mini_train.

    Attributes:
        acceleration_psd: Power spectral density of the acceleration noise in m^2/s^3.
        measurement_std_m: Standard deviation of an observed coordinate.
        speed_std_mps: Prior standard deviation of a velocity component.
    """

    acceleration_psd: float = 0.025
    measurement_std_m: float = 0.03
    speed_std_mps: float = 0.8

    name: ClassVar[str] = "kalman"

    def __post_init__(self) -> None:
        """Checks the noise parameters; raises `ForecastError`."""
        for field in ("acceleration_psd", "measurement_std_m", "speed_std_mps"):
            value = getattr(self, field)
            if not (np.isfinite(value) and value > 0):
                raise ForecastError(f"kalman: {field} is {value}; a positive number is needed")

    @classmethod
    def fit(cls, positions_m: NDArray[Any], valid: NDArray[np.bool_], dt_s: float) -> Kalman:
        """Maximum-likelihood noise parameters, by Nelder-Mead on their logarithms.

        Args:
            positions_m: Tracks ``[N, T, 2]``.
            valid: Which positions exist ``[N, T]``.
            dt_s: Step length.

        Raises:
            ForecastError: No track has two positions.
        """
        if not (valid.sum(axis=1) >= 2).any():
            raise ForecastError(
                f"kalman: none of {len(valid)} tracks has 2 positions; give longer tracks"
            )
        enough = slice(None, None, -(-len(valid) // _FIT_TRACKS))
        valid = valid[enough]
        observed = np.where(valid[..., None], positions_m[enough], 0.0).astype(np.float64)

        def noise(log_parameters: Floats) -> Kalman:
            return cls(*np.maximum(np.exp(log_parameters), _LEAST).tolist())

        def cost(log_parameters: Floats) -> float:
            return -Filter.run(noise(log_parameters), observed, valid, dt_s).log_likelihood

        start = np.log([cls.acceleration_psd, cls.measurement_std_m, cls.speed_std_mps])
        options = {
            "initial_simplex": start + np.vstack([np.zeros(3), np.eye(3)]),
            "xatol": 1e-2,
            "fatol": 1e-6 * abs(cost(start)),
        }
        best = minimize(cost, start, method="Nelder-Mead", options=options)
        return noise(best.x)

    def predict(
        self,
        scene: Scene,
        at: int,
        *,
        horizon_s: float = 6.0,
        samples: int = 20,
        seed: int = 0,
        ego_plan: NDArray[Any] | None = None,
    ) -> Prediction:
        """Equally weighted joint draws, with ``mode_m`` and ``spread_m``; see `Predictor`."""
        past = Past.of(scene, at, horizon_s, samples, seed)
        state = Filter.run(self, past.positions_m, past.valid, past.dt_s)
        mean, spread = state.forecast(past.steps)
        futures = state.draw(samples, past.steps, np.random.default_rng(seed))
        return past.prediction(futures, ego_plan, mode=mean, spread=spread)


@dataclass(frozen=True, eq=False)
class Filter:
    """The filtered state of all agents; x and y share one covariance.

    Attributes:
        mean: Position and velocity, each x and y ``[A, 2, 2]``.
        covariance: Of position and velocity ``[A, 2, 2]``.
        transition: One step of motion ``[2, 2]``.
        process: Its noise ``[2, 2]``.
        log_likelihood: Of all observations after each agent's first.
    """

    mean: Floats
    covariance: Floats
    transition: Floats
    process: Floats
    log_likelihood: float

    @classmethod
    def run(
        cls, noise: Kalman, positions_m: Floats, valid: NDArray[np.bool_], dt_s: float
    ) -> Filter:
        """Filters tracks ``[A, T, 2]`` step by step from each agent's first position on."""
        transition = np.array([[1.0, dt_s], [0.0, 1.0]])
        process = noise.acceleration_psd * np.array(
            [[dt_s**3 / 3, dt_s**2 / 2], [dt_s**2 / 2, dt_s]]
        )
        measured = noise.measurement_std_m**2
        mean = np.zeros((len(valid), 2, 2))
        covariance = np.broadcast_to(np.diag([measured, noise.speed_std_mps**2]), mean.shape)
        started = np.zeros(len(valid), bool)
        log_likelihood = 0.0
        for seen, position in zip(valid.T, positions_m.swapaxes(0, 1), strict=True):
            first, known = seen & ~started, seen & started
            mean = np.where(started[:, None, None], transition @ mean, mean)
            mean[first, 0] = position[first]
            moved = transition @ covariance @ transition.T + process
            covariance = np.where(started[:, None, None], moved, covariance)
            variance = covariance[:, 0, 0] + measured
            innovation = position - mean[:, 0]
            gain = np.where(known[:, None], covariance[:, :, 0] / variance[:, None], 0.0)
            mean = mean + gain[:, :, None] * innovation[:, None, :]
            covariance = covariance - gain[:, :, None] * covariance[:, None, 0, :]
            terms = np.log(2 * np.pi * variance) + (innovation**2).sum(-1) / (2 * variance)
            log_likelihood -= float(terms[known].sum())
            started |= seen
        return cls(mean, covariance, transition, process, log_likelihood)

    def forecast(self, steps: int) -> tuple[Floats, Floats]:
        """Predictive mean ``[A, T, 2]`` and standard deviation of a coordinate ``[A, T]``."""
        mean, covariance = self.mean, self.covariance
        means, variances = [], []
        for _ in range(steps):
            mean = self.transition @ mean
            covariance = self.transition @ covariance @ self.transition.T + self.process
            means.append(mean[:, 0])
            variances.append(covariance[:, 0, 0])
        return np.stack(means, axis=1), np.sqrt(np.stack(variances, axis=1))

    def draw(self, samples: int, steps: int, rng: np.random.Generator) -> Floats:
        """Joint draws of the futures ``[K, A, T, 2]``."""
        agents, spread = len(self.mean), np.linalg.cholesky(self.covariance)
        place, speed = self.mean[:, 0], self.mean[:, 1]
        jump_place, jump_speed = _correlated(spread, rng.standard_normal((samples, agents, 2, 2)))
        place, speed = place + jump_place, speed + jump_speed  # [K, A, 2]
        jumps = rng.standard_normal((steps, samples, agents, 2, 2))
        noise, dt_s = np.linalg.cholesky(self.process)[None], self.transition[0, 1]
        futures = np.empty((samples, agents, steps, 2))
        for step in range(steps):
            jump_place, jump_speed = _correlated(noise, jumps[step])
            place, speed = place + dt_s * speed + jump_place, speed + jump_speed
            futures[:, :, step] = place
        return futures


def _correlated(factor: Floats, numbers: Floats) -> tuple[Floats, Floats]:
    """Both rows of lower factors ``[A or 1, 2, 2]`` times numbers ``[K, A, 2, 2]``.

    Written out, because NumPy's matrix product is slow for this size.
    """
    place = np.multiply(factor[:, 0, :1], numbers[:, :, 0])
    along = np.multiply(factor[:, 1, :1], numbers[:, :, 0])
    return place, along + np.multiply(factor[:, 1, 1:], numbers[:, :, 1])
