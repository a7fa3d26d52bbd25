import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from forecast.errors import ForecastError
from forecast.geometry import rotate
from forecast.models.baselines import (
    FLOORS,
    ConstantVelocity,
    Examples,
    Kalman,
    KMeansResiduals,
    Stationary,
)
from forecast.models.baselines.kalman import Filter
from forecast.scene import AgentKind, Predictor, Scene

DT_S = 0.5
HISTORY, HORIZON = 5, 4


def walks(count: int, seed: int = 0) -> np.ndarray:
    """Random walks with a drift: ``[N, HISTORY + HORIZON, 2]``."""
    rng = np.random.default_rng(seed)
    drift = rng.normal(0, 0.5, (count, 1, 2))
    return np.cumsum(drift + rng.normal(0, 0.1, (count, HISTORY + HORIZON, 2)), axis=1)


EXAMPLES = Examples(
    walks(60), np.ones((60, HISTORY + HORIZON), bool), history_steps=HISTORY, dt_s=DT_S
)
FITTED = [make(EXAMPLES, 6, 0) for make in FLOORS.values()]


def scene(seed: int = 0, steps: int = 9) -> Scene:
    """Two pedestrians (the second with gaps), a car, the ego, and one seen only at the end."""
    positions = np.concatenate([walks(3, seed), walks(2, seed + 1)])[:, :steps]
    positions[1, [0, 2]] = np.nan
    positions[4, :4] = np.nan
    kinds = [AgentKind.PEDESTRIAN] * 2 + [AgentKind.VEHICLE, AgentKind.EGO, AgentKind.PEDESTRIAN]
    return Scene.from_arrays(positions, kinds, DT_S, origin_m=(3.0, -2.0))


def line(*xs: float) -> Scene:
    """One pedestrian on the x axis; NaN where it was not seen."""
    positions = np.stack([np.array(xs), np.where(np.isnan(xs), np.nan, 0.0)], -1)
    return Scene.from_arrays(positions[None], [AgentKind.PEDESTRIAN], DT_S)


@pytest.mark.parametrize("floor", FITTED, ids=lambda floor: floor.name)
class TestEveryFloor:
    def test_predicts_the_agents_present_in_order(self, floor):
        past = scene()
        prediction = floor.predict(past, 4, horizon_s=2.0, samples=6)
        assert isinstance(floor, Predictor)
        assert prediction.agent_ids.tolist() == past.tracks.agent_ids[past.present(4)].tolist()
        assert prediction.steps == HORIZON
        assert prediction.at_us == past.timestamps_us[4]
        np.testing.assert_array_equal(prediction.origin_m, past.origin_m)
        assert prediction.valid.all()

    @settings(max_examples=15)
    @given(seed=st.integers(0, 1000), at=st.integers(0, 7))
    def test_never_looks_past_the_current_step(self, floor, seed, at):
        past, other = scene(seed), scene(seed)
        rng = np.random.default_rng(seed)
        other.tracks.positions_m[:, at + 1 :] += rng.normal(0, 5, (5, 8 - at, 2))
        other.tracks.valid[:, at + 1 :] = rng.random((5, 8 - at)) < 0.5
        a, b = (floor.predict(s, at, horizon_s=2.0, seed=seed) for s in (past, other))
        np.testing.assert_array_equal(a.positions_m, b.positions_m)
        np.testing.assert_array_equal(a.most_probable(), b.most_probable())

    def test_the_ego_follows_its_plan(self, floor):
        past = scene()
        plan = np.stack([np.arange(6.0), -np.arange(6.0), np.zeros(6)], -1)
        prediction = floor.predict(past, 4, horizon_s=2.0, ego_plan=plan)
        ego = past.tracks.kinds[past.present(4)] == AgentKind.EGO
        expected = np.broadcast_to(plan[:HORIZON, :2], prediction.positions_m[:, ego].shape)
        np.testing.assert_array_equal(prediction.positions_m[:, ego], expected)
        np.testing.assert_array_equal(prediction.most_probable()[ego], expected[0])
        free = floor.predict(past, 4, horizon_s=2.0)
        np.testing.assert_array_equal(prediction.positions_m[:, ~ego], free.positions_m[:, ~ego])

    @settings(max_examples=15)
    @given(angle=st.floats(-3.1, 3.1), x=st.floats(-50, 50))
    def test_turns_and_shifts_with_the_scene(self, floor, angle, x):
        past, shift = line(np.nan, 0.0, 0.4, 0.9, 1.5), np.array([x, 2.0])
        world = rotate(past.tracks.positions_m.astype(float), angle) + shift
        turned = Scene.from_arrays(world, past.tracks.kinds, DT_S, valid=past.tracks.valid)
        a = floor.predict(past, 4, horizon_s=2.0).most_probable()
        b = floor.predict(turned, 4, horizon_s=2.0).most_probable()
        np.testing.assert_allclose(rotate(a.astype(float), angle) + shift, b, atol=1e-4)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"at": 9}, "scene: at is 9; 0 to 8 is needed"),
            ({"samples": 0}, "samples is 0; at least 1 is needed"),
            *(
                (
                    {"horizon_s": value},
                    f"horizon_s is {value}; a finite time of at least 0.5 s is needed",
                )
                for value in (0.1, math.inf, math.nan)
            ),
            ({"ego_plan": np.zeros((2, 3))}, "ego_plan has shape [2, 3]; [4, 3] is needed"),
        ],
    )
    def test_refuses_wrong_arguments(self, floor, arguments, message):
        with pytest.raises(ForecastError) as error:
            floor.predict(scene(), **{"at": 4, "horizon_s": 2.0, **arguments})
        assert str(error.value) == message


class TestSimple:
    def test_stationary_stays(self):
        prediction = Stationary().predict(line(1.0, 2.0), 1, horizon_s=1.0)
        np.testing.assert_array_equal(prediction.positions_m[0, 0], [[2, 0], [2, 0]])

    def test_constant_velocity_repeats_the_last_step(self):
        prediction = ConstantVelocity().predict(line(0.0, 3.0, 5.0), 2, horizon_s=1.0, samples=7)
        assert prediction.samples == 1
        np.testing.assert_array_equal(prediction.positions_m[0, 0], [[7, 0], [9, 0]])

    @pytest.mark.parametrize("xs", [(5.0,), (3.0, np.nan, 5.0)], ids=["first step", "after a gap"])
    def test_constant_velocity_stands_without_a_previous_step(self, xs):
        prediction = ConstantVelocity().predict(line(*xs), len(xs) - 1, horizon_s=1.0)
        np.testing.assert_array_equal(prediction.positions_m[0, 0], [[5, 0], [5, 0]])


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


class TestKMeans:
    def fit(self, futures, k, **changes):
        """Windows of two observed steps along +y at 1 m/s, then ``futures [N, 2, 2]``."""
        history = np.broadcast_to([[0.0, -0.5], [0.0, 0.0]], (len(futures), 2, 2))
        windows = np.concatenate([history, futures], axis=1)
        valid = changes.pop("valid", np.ones(windows.shape[:2], bool))
        return KMeansResiduals.fit(windows, valid, history_steps=2, dt_s=DT_S, k=k, **changes)

    def test_centres_are_residuals_in_the_agents_frame(self):
        straight, left = [[0.0, 0.5], [0.0, 1.0]], [[-0.2, 0.5], [-0.6, 1.0]]
        fitted = self.fit(np.array([straight, straight, straight, left]), k=2)
        np.testing.assert_allclose(fitted.weights, [0.75, 0.25])
        expected = [np.zeros((2, 2)), [[0, 0.2], [0, 0.6]]]
        np.testing.assert_allclose(fitted.centres_m, expected, atol=1e-9)

    def test_turns_the_residuals_with_the_agent_and_leaves_others_alone(self):
        centres = np.array([[[0.0, 0.2], [0.0, 0.6]]])
        floor = KMeansResiduals(centres, np.ones(1), DT_S)
        track = np.array([[[1.0, 0.0], [2.0, 0.0]]])
        for kind, sideways in ((AgentKind.PEDESTRIAN, [0.2, 0.6]), (AgentKind.VEHICLE, [0, 0])):
            prediction = floor.predict(
                Scene.from_arrays(track, [kind], DT_S), 1, horizon_s=1.0, samples=9
            )
            expected = np.stack([[3.0, 4.0], sideways], -1)
            np.testing.assert_allclose(prediction.positions_m[0, 0], expected, atol=1e-6)

    def test_who_is_almost_still_keeps_the_worlds_axes(self):
        floor = KMeansResiduals(np.array([[[1.0, 0.0]]]), np.ones(1), DT_S)
        step = np.array([[[0.0, 0.0], [0.0, 0.09]]])  # 0.18 m/s
        prediction = floor.predict(
            Scene.from_arrays(step, [AgentKind.PEDESTRIAN], DT_S), 1, horizon_s=0.5
        )
        np.testing.assert_allclose(prediction.positions_m[0, 0, 0], [1.0, 0.18], atol=1e-6)

    def test_leaves_out_windows_with_a_missing_step(self):
        futures = np.zeros((4, 2, 2))
        futures[3] = 100.0
        valid = np.ones((4, 4), bool)
        valid[3, 2] = False
        assert np.abs(self.fit(futures, k=1, valid=valid).centres_m).max() < 2

    def test_refuses_fewer_windows_than_clusters(self):
        with pytest.raises(ForecastError, match="kmeans: 3 whole windows for k = 4"):
            self.fit(np.zeros((3, 2, 2)), k=4)

    @pytest.mark.parametrize("history_steps", [0, 1])
    def test_refuses_a_history_without_a_step(self, history_steps):
        windows = np.zeros((5, history_steps + 2, 2))
        valid = np.ones(windows.shape[:2], bool)
        with pytest.raises(ForecastError) as error:
            KMeansResiduals.fit(windows, valid, history_steps=history_steps, dt_s=DT_S, k=2)
        assert str(error.value) == (
            f"kmeans: history_steps is {history_steps}; at least 2 are needed, for a last step"
        )

    @pytest.mark.parametrize(("dt_s", "horizon_s"), [(DT_S, 1.5), (0.4, 0.4)])
    def test_refuses_another_horizon_or_step_length(self, dt_s, horizon_s):
        floor = KMeansResiduals(np.zeros((1, 2, 2)), np.ones(1), DT_S)
        past = Scene.from_arrays(np.zeros((1, 2, 2)), [AgentKind.PEDESTRIAN], dt_s)
        with pytest.raises(ForecastError, match="fit it for this horizon and step length"):
            floor.predict(past, 1, horizon_s=horizon_s)


class TestRegistry:
    def test_names(self):
        names = ["stationary", "constant_velocity", "kalman", "kmeans"]
        assert list(FLOORS) == names
        assert [floor.name for floor in FITTED] == [*names[:3], "kmeans_6"]

    def test_without_examples_kalman_has_defaults_and_kmeans_refuses(self):
        assert FLOORS["kalman"](None, 20, 0) == Kalman()
        with pytest.raises(ForecastError, match="kmeans: there are no tracks to fit it on"):
            FLOORS["kmeans"](None, 20, 0)
