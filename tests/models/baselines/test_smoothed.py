import numpy as np
import pytest

from forecast.errors import ForecastError
from forecast.models.baselines import Companions, SmoothedVelocity
from forecast.scene import AgentKind, Scene
from tests.models.baselines.any_past import DT_S, line


def walkers(*velocities: tuple[float, float], apart_m: float = 1.0, kind=AgentKind.PEDESTRIAN):
    """Agents abreast for three steps, at constant velocities in m per step."""
    start = np.stack([np.zeros(len(velocities)), apart_m * np.arange(len(velocities))], -1)
    positions = start[:, None] + np.array(velocities)[:, None] * np.arange(3)[:, None]
    return Scene.from_arrays(positions, [kind] * len(velocities), DT_S)


def last_step(prediction) -> np.ndarray:
    return np.diff(prediction.positions_m[0], axis=1)[:, -1]


class TestSmoothedVelocity:
    def test_predicts_a_straight_line(self):
        prediction = SmoothedVelocity(0.5, 0.9).predict(line(0, 1, 3), 2, horizon_s=1.0)
        step = 0.9 * (2 + 0.5 * 1) / 1.5
        np.testing.assert_allclose(prediction.positions_m[0, 0], [[3 + step, 0], [3 + 2 * step, 0]])

    def test_the_fit_finds_what_made_the_windows(self):
        rng, truth = np.random.default_rng(0), SmoothedVelocity(0.6, 0.8)
        past = rng.normal(0, 1, (200, 5, 2)).cumsum(1)
        step = truth.step(past, np.ones((200, 5), bool))
        future = past[:, -1:] + step[:, None] * np.arange(1, 5)[:, None]
        windows = np.concatenate([past, future], 1)
        found = SmoothedVelocity.fit(windows, np.ones((200, 9), bool), history_steps=5)
        assert (found.kept, found.pace) == pytest.approx((0.6, 0.8), abs=1e-3)

    def test_refuses_windows_without_a_future(self):
        valid = np.array([[True, True, False]])
        with pytest.raises(
            ForecastError, match="smoothed_velocity: none of 1 windows has a future"
        ):
            SmoothedVelocity.fit(np.zeros((1, 3, 2)), valid, history_steps=2)

    @pytest.mark.parametrize("wrong", [{"kept": 1.0}, {"kept": -0.1}, {"pace": 0.0}])
    def test_refuses_wrong_parameters(self, wrong):
        with pytest.raises(ForecastError, match=f"smoothed_velocity: {next(iter(wrong))} is"):
            SmoothedVelocity(**wrong)


class TestCompanions:
    rule = Companions(SmoothedVelocity(0.0, 1.0), near_m=1.5, alike_mps=0.5)

    def test_share_their_velocity(self):
        made = self.rule.predict(walkers((0.5, 0), (0.7, 0)), 2, horizon_s=1.0)
        np.testing.assert_allclose(last_step(made), [[0.6, 0], [0.6, 0]], atol=1e-6)

    @pytest.mark.parametrize(
        "scene",
        [
            walkers((0.5, 0), (0.8, 0)),  # 0.6 m/s apart
            walkers((0.5, 0), (0.7, 0), apart_m=1.6),
            walkers((0.5, 0), (0.7, 0), kind=AgentKind.CYCLIST),
        ],
        ids=["another velocity", "far apart", "cyclists"],
    )
    def test_others_keep_their_own(self, scene):
        made = self.rule.predict(scene, 2, horizon_s=1.0)
        own = np.diff(scene.tracks.positions_m, axis=1)[:, -1]
        np.testing.assert_allclose(last_step(made), own, atol=1e-6)

    def test_the_fit_finds_who_belongs_together(self):
        # In each moment two people 1.2 m apart have noisy steps and one true velocity.
        rng, count = np.random.default_rng(1), 150
        velocity = np.repeat(rng.normal(0, 0.5, (count, 1, 2)), 2, axis=0)
        start = np.stack([np.zeros(2 * count), np.tile([0, 1.2], count)], -1)[:, None]
        windows = start + velocity * np.arange(9)[:, None]
        windows[:, :4] += rng.normal(0, 0.05, (2 * count, 4, 2))
        moment = np.repeat(np.arange(count), 2)
        valid = np.ones((2 * count, 9), bool)
        found = Companions.fit(windows, valid, history_steps=5, dt_s=DT_S, moment=moment)
        together = windows[:2, 4]
        step = found.alone.step(windows[:2, :5], valid[:2, :5])
        shared = found.shared(together, step, DT_S)
        np.testing.assert_allclose(shared[0], step.mean(0))
