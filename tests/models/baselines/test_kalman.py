import numpy as np
import pytest
from scipy.stats import multivariate_normal

from forecast.errors import ForecastError
from forecast.models.baselines import (
    Kalman,
)
from forecast.models.baselines.kalman import Filter
from forecast.scene import Scene
from tests.models.baselines.any_past import DT_S, HISTORY, HORIZON, line, scene


def stacked_model(noise: Kalman, times: np.ndarray) -> np.ndarray:
    """Covariance of one coordinate at ``times`` under the filter's model, without the filter.

    The position is the first observation plus its error, plus a prior velocity, plus twice
    integrated white noise, whose covariance is q (s^2 t / 2 - s^3 / 6) for s <= t.
    """
    early, late = np.minimum.outer(times, times), np.maximum.outer(times, times)
    return (
        noise.measurement_std_m**2
        + noise.speed_std_mps**2 * np.outer(times, times)
        + noise.acceleration_psd * (early**2 * late / 2 - early**3 / 6)
    )


class TestKalman:
    NOISE = Kalman(acceleration_psd=0.3, measurement_std_m=0.1, speed_std_mps=0.8)

    def test_equals_conditioning_the_joint_gaussian_through_a_gap(self):
        xs = np.array([1.0, 1.4, np.nan, 2.5])
        prediction = self.NOISE.predict(line(*xs), 3, horizon_s=2.0, samples=1)
        seen = np.array([0.5, 1.5])
        future = 1.5 + DT_S * np.arange(1, 5)
        joint = stacked_model(self.NOISE, np.concatenate([seen, future]))
        observed = joint[:2, :2] + np.eye(2) * self.NOISE.measurement_std_m**2
        gain = joint[2:, :2] @ np.linalg.inv(observed)
        mean = 1.0 + gain @ [0.4, 1.5]
        covariance = joint[2:, 2:] - gain @ joint[:2, 2:]
        np.testing.assert_allclose(prediction.mode_m[0, :, 0], mean, atol=1e-5)
        np.testing.assert_allclose(prediction.spread_m[0], np.sqrt(np.diag(covariance)), rtol=1e-5)

    def test_draws_follow_the_joint_predictive_gaussian(self):
        past = line(0.0, 0.5, 1.1)
        prediction = self.NOISE.predict(past, 2, horizon_s=1.5, samples=40_000, seed=3)
        seen, future = np.array([0.5, 1.0]), 1.0 + DT_S * np.arange(1, 4)
        joint = stacked_model(self.NOISE, np.concatenate([seen, future]))
        observed = joint[:2, :2] + np.eye(2) * self.NOISE.measurement_std_m**2
        covariance = joint[2:, 2:] - joint[2:, :2] @ np.linalg.inv(observed) @ joint[:2, 2:]
        draws = prediction.positions_m[:, 0, :, 0]
        np.testing.assert_allclose(draws.mean(0), prediction.mode_m[0, :, 0], atol=0.02)
        np.testing.assert_allclose(np.cov(draws.T), covariance, rtol=0.05, atol=0.01)

    def test_likelihood_is_that_of_the_joint_gaussian(self):
        track = np.array([[[1.0, 0.0], [1.4, 0.2], [0.0, 0.0], [2.5, -0.1]]])
        valid = np.array([[True, True, False, True]])
        times = np.array([0.5, 1.5])
        covariance = stacked_model(self.NOISE, times)
        covariance += np.eye(2) * self.NOISE.measurement_std_m**2
        expected = sum(
            multivariate_normal(np.full(2, track[0, 0, axis]), covariance).logpdf(
                track[0, [1, 3], axis]
            )
            for axis in range(2)
        )
        state = Filter.run(self.NOISE, track, valid, DT_S)
        assert state.log_likelihood == pytest.approx(expected, abs=1e-9)

    def test_perfectly_straight_tracks_leave_a_usable_filter(self):
        # Simulated people can walk without any noise: likelihood grows without end as it vanishes.
        along = np.arange(HISTORY + HORIZON) * DT_S
        tracks = along[None, :, None] * np.random.default_rng(0).normal(0, 1, (50, 1, 2))
        fitted = Kalman.fit(tracks, np.ones(tracks.shape[:2], bool), DT_S)
        world = Scene.from_arrays(tracks[:5], [0] * 5, DT_S)
        prediction = fitted.predict(world, HISTORY - 1, horizon_s=HORIZON * DT_S, samples=5)
        np.testing.assert_allclose(prediction.mode_m, tracks[:5, HISTORY:], atol=0.02)

    def test_fit_recovers_the_noise_of_simulated_tracks(self):
        rng = np.random.default_rng(0)
        times = DT_S * np.arange(1, 17)
        first = np.zeros((400, 1, 2))
        covariance = stacked_model(self.NOISE, times) + np.eye(16) * self.NOISE.measurement_std_m**2
        rest = rng.multivariate_normal(np.zeros(16), covariance, (400, 2)).swapaxes(1, 2)
        tracks = np.concatenate([first, rest], axis=1)
        fitted = Kalman.fit(tracks, np.ones(tracks.shape[:2], bool), DT_S)
        assert fitted.acceleration_psd == pytest.approx(0.3, rel=0.1)
        assert fitted.measurement_std_m == pytest.approx(0.1, rel=0.1)
        assert fitted.speed_std_mps == pytest.approx(0.8, rel=0.1)

    def test_same_seed_same_bits(self):
        a, b, c = (
            self.NOISE.predict(scene(), 4, horizon_s=2.0, samples=5, seed=seed).positions_m
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)

    def test_refuses_a_noise_that_is_not_positive(self):
        with pytest.raises(ForecastError, match=r"acceleration_psd is 0.0; a positive number"):
            Kalman(acceleration_psd=0.0)

    def test_refuses_tracks_of_one_position(self):
        with pytest.raises(ForecastError, match="none of 3 tracks has 2 positions"):
            Kalman.fit(np.zeros((3, 4, 2)), np.eye(3, 4, dtype=bool), DT_S)
