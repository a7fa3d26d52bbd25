import numpy as np
import pytest

from forecast.errors import ForecastError
from forecast.models.baselines import (
    KMeansResiduals,
)
from forecast.scene import AgentKind, Scene
from tests.models.baselines.any_past import DT_S


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
        baseline = KMeansResiduals(centres, np.ones(1), DT_S)
        track = np.array([[[1.0, 0.0], [2.0, 0.0]]])
        for kind, sideways in ((AgentKind.PEDESTRIAN, [0.2, 0.6]), (AgentKind.VEHICLE, [0, 0])):
            prediction = baseline.predict(
                Scene.from_arrays(track, [kind], DT_S), 1, horizon_s=1.0, samples=9
            )
            expected = np.stack([[3.0, 4.0], sideways], -1)
            np.testing.assert_allclose(prediction.positions_m[0, 0], expected, atol=1e-6)

    def test_who_is_almost_still_keeps_the_worlds_axes(self):
        baseline = KMeansResiduals(np.array([[[1.0, 0.0]]]), np.ones(1), DT_S)
        step = np.array([[[0.0, 0.0], [0.0, 0.09]]])  # 0.18 m/s
        prediction = baseline.predict(
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
        baseline = KMeansResiduals(np.zeros((1, 2, 2)), np.ones(1), DT_S)
        past = Scene.from_arrays(np.zeros((1, 2, 2)), [AgentKind.PEDESTRIAN], dt_s)
        with pytest.raises(ForecastError, match="fit it for this horizon and step length"):
            baseline.predict(past, 1, horizon_s=horizon_s)
