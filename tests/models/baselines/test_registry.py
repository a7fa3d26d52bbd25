import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast.errors import ForecastError
from forecast.geometry import rotate
from forecast.models.baselines import (
    BASELINES,
    Companions,
    Examples,
    Kalman,
    SmoothedVelocity,
)
from forecast.scene import AgentKind, Predictor, Scene
from tests.models.baselines.any_past import DT_S, HISTORY, HORIZON, line, scene, walks

EXAMPLES = Examples(
    walks(60),
    np.ones((60, HISTORY + HORIZON), bool),
    history_steps=HISTORY,
    dt_s=DT_S,
    moment=np.arange(60) // 3,
)
DEFAULTS = {
    "kalman": Kalman(),
    "smoothed_velocity": SmoothedVelocity(),
    "companions": Companions(),
}
FITTED = [make(EXAMPLES, 6, 0) for make in BASELINES.values()]


@pytest.mark.parametrize("baseline", FITTED, ids=lambda baseline: baseline.name)
class TestEveryBaseline:
    def test_predicts_the_agents_present_in_order(self, baseline):
        past = scene()
        prediction = baseline.predict(past, 4, horizon_s=2.0, samples=6)
        assert isinstance(baseline, Predictor)
        assert prediction.agent_ids.tolist() == past.tracks.agent_ids[past.present(4)].tolist()
        assert prediction.steps == HORIZON
        assert prediction.at_us == past.timestamps_us[4]
        np.testing.assert_array_equal(prediction.origin_m, past.origin_m)
        assert prediction.valid.all()
        now = past.tracks.positions_m[past.present(4), 4]
        np.testing.assert_allclose(prediction.now_m, now, atol=1e-6)

    @settings(max_examples=15)
    @given(seed=st.integers(0, 1000), at=st.integers(0, 7))
    def test_never_looks_past_the_current_step(self, baseline, seed, at):
        past, other = scene(seed), scene(seed)
        rng = np.random.default_rng(seed)
        other.tracks.positions_m[:, at + 1 :] += rng.normal(0, 5, (5, 8 - at, 2))
        other.tracks.valid[:, at + 1 :] = rng.random((5, 8 - at)) < 0.5
        a, b = (baseline.predict(s, at, horizon_s=2.0, seed=seed) for s in (past, other))
        np.testing.assert_array_equal(a.positions_m, b.positions_m)
        np.testing.assert_array_equal(a.most_probable(), b.most_probable())

    def test_the_ego_follows_its_plan(self, baseline):
        past = scene()
        plan = np.stack([np.arange(6.0), -np.arange(6.0), np.zeros(6)], -1)
        prediction = baseline.predict(past, 4, horizon_s=2.0, ego_plan=plan)
        ego = past.tracks.kinds[past.present(4)] == AgentKind.EGO
        expected = np.broadcast_to(plan[:HORIZON, :2], prediction.positions_m[:, ego].shape)
        np.testing.assert_array_equal(prediction.positions_m[:, ego], expected)
        np.testing.assert_array_equal(prediction.most_probable()[ego], expected[0])
        free = baseline.predict(past, 4, horizon_s=2.0)
        np.testing.assert_array_equal(prediction.positions_m[:, ~ego], free.positions_m[:, ~ego])

    @settings(max_examples=15)
    @given(angle=st.floats(-3.1, 3.1), x=st.floats(-50, 50))
    def test_turns_and_shifts_with_the_scene(self, baseline, angle, x):
        past, shift = line(np.nan, 0.0, 0.4, 0.9, 1.5), np.array([x, 2.0])
        world = rotate(past.tracks.positions_m.astype(float), angle) + shift
        turned = Scene.from_arrays(world, past.tracks.kinds, DT_S, valid=past.tracks.valid)
        a = baseline.predict(past, 4, horizon_s=2.0).most_probable()
        b = baseline.predict(turned, 4, horizon_s=2.0).most_probable()
        np.testing.assert_allclose(rotate(a.astype(float), angle) + shift, b, atol=1e-4)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"at": 9}, "scene: at is 9; 0 to 8, or -9 to -1 counted from the end, is needed"),
            ({"samples": 2.5}, "samples is 2.5; a whole number of at least 1 is needed"),
            (
                {"horizon_s": 2.3},
                "horizon_s is 2.3; a multiple of the step of 0.5 s, such as 2 or 2.5 s, is needed",
            ),
            ({"samples": 0}, "samples is 0; at least 1 is needed"),
            *(
                (
                    {"horizon_s": value},
                    f"horizon_s is {value}; at least one step of 0.5 s is needed",
                )
                for value in (0.1, math.inf, math.nan)
            ),
            ({"ego_plan": np.zeros((2, 3))}, "ego_plan has shape [2, 3]; [4, 3] is needed"),
        ],
    )
    def test_refuses_wrong_arguments(self, baseline, arguments, message):
        with pytest.raises(ForecastError) as error:
            baseline.predict(scene(), **{"at": 4, "horizon_s": 2.0, **arguments})
        assert str(error.value) == message


class TestRegistry:
    def test_names(self):
        lines = ["constant_velocity", "smoothed_velocity", "companions"]
        assert list(BASELINES) == [*lines, "kalman", "kmeans", "stationary"]
        fitted = [*lines, "kalman", "kmeans_6", "stationary"]
        assert [baseline.name for baseline in FITTED] == fitted

    def test_without_examples_some_have_defaults_and_kmeans_refuses(self):
        for name, default in DEFAULTS.items():
            assert BASELINES[name](None, 20, 0) == default
        with pytest.raises(ForecastError, match="kmeans: there are no tracks to fit it on"):
            BASELINES["kmeans"](None, 20, 0)
