import time
from dataclasses import replace

import numpy as np
import pytest

from forecast import AgentKind, ForecastError, Scene
from forecast.datasets.store import prepare
from forecast.datasets.windows import WindowSpec, prediction_times
from forecast.evaluation import evaluate
from forecast.evaluation.scoring.modes import definitions
from forecast.evaluation.scoring.scores import CALIBRATION_LEVELS
from forecast.models.baselines import ConstantVelocity, Kalman, Stationary
from forecast.models.metrics.registry import METRICS, TUBE_METRICS
from tests.streets import StreetSource

SPEC = WindowSpec(history_steps=5, horizon_steps=4)
VAL = ["street-3", "street-4"]


class TwoWalkers(StreetSource):
    """One scene of 4 steps: who turns by 90 degrees after a step of 1 m, and who stands."""

    def scene_names(self):
        return ["corner"]

    def splits(self):
        return {"val": ["corner"]}

    def read(self, name):
        turns = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]
        stands = [[5.0, 5.0]] * 4
        kinds = [AgentKind.PEDESTRIAN] * 2
        return Scene.from_arrays([turns, stands], kinds, 0.5, id=name), {}


@pytest.fixture
def result(tmp_path):
    store = prepare(TwoWalkers(), tmp_path / "store")
    return evaluate(ConstantVelocity(), store, ["corner"], WindowSpec(2, 2), samples=20, seed=0)


class TestByHand:
    def test_rows(self, result):
        assert result.rows.agent_ids.tolist() == ["0", "1"]
        assert result.rows.at.tolist() == [1, 1]
        assert result.rows.at_us.tolist() == [500_000, 500_000]
        assert result.rows.movers.tolist() == [True, False]
        assert result.rows.categories.tolist() == ["pedestrian", "pedestrian"]
        assert result.dropped == {"history_too_short": 2, "future_incomplete": 4}

    def test_errors(self, result):
        steps = [2**0.5, 8**0.5]  # (2, 0) for (1, 1), then (3, 0) for (1, 2)
        np.testing.assert_allclose(result.errors_m["top1"], [steps, [0, 0]], rtol=1e-6)
        np.testing.assert_allclose(result.values["top1_ade_m"], [np.mean(steps), 0])
        np.testing.assert_allclose(result.values["top1_fde_m"], [steps[1], 0])
        assert result.values["miss_rate_final_2m"].tolist() == [1.0, 0.0]

    def test_means_count_the_values_behind_them(self, result):
        assert result.means()["top1_fde_m"] == pytest.approx((2**0.5, 2))
        assert result.means(result.rows.movers)["top1_fde_m"] == pytest.approx((8**0.5, 1))
        undefined = result.means()["min_ade_20_m"]
        assert np.isnan(undefined.value)
        assert undefined.n == 0


class Peeking(Stationary):
    """Gives back the future wherever it can get at it."""

    def predict(self, scene, at, **arguments):
        prediction = super().predict(scene, at, **arguments)
        future = scene.tracks.positions_m[scene.present(at), at + 1 :]
        prediction.positions_m[0, :, : future.shape[1]] = future
        return prediction


class TestEvaluate:
    def test_a_peeking_predictor_sees_nothing(self, store):
        honest, peeking = (
            evaluate(predictor, store, VAL, SPEC, samples=1, seed=0)
            for predictor in (Stationary(), Peeking())
        )
        assert np.abs(honest.errors_m["top1"]).max() > 1
        np.testing.assert_array_equal(honest.errors_m["top1"], peeking.errors_m["top1"])

    def test_has_a_row_for_every_scored_pedestrian(self, store):
        result = evaluate(ConstantVelocity(), store, VAL, SPEC, samples=1, seed=0)
        scored = {name: prediction_times(store[name], SPEC).scored for name in VAL}
        expected = {
            (name, str(store[name].tracks.agent_ids[agent]), at)
            for name in VAL
            for agent, at in np.argwhere(scored[name])
        }
        rows = result.rows
        assert set(zip(rows.scene_ids, rows.agent_ids, rows.at, strict=True)) == expected
        assert len(rows) == len(expected)

    def test_has_every_metric_of_the_registry(self, store):
        result = evaluate(Kalman(), store, VAL, SPEC, samples=20, seed=0)
        assert {*METRICS} < {*result.values} == {*result.definitions}
        assert list(result.values) == list(result.definitions)
        missing = {name for name, mean in result.means().items() if mean.n < len(result.rows)}
        ahead = {"miss_rate_waymo_3s", "miss_rate_waymo_5s"}  # the horizon is 2 s
        partial = {"conflict_missed", "flicker_top1_m", "flicker_mean_m"}  # nobody is in conflict
        # A baseline has no calibrated tubes and no modes.
        assert missing == ahead | partial | {*TUBE_METRICS} | {*definitions()}
        assert result.coverage.shape == (len(result.rows), 4, len(CALIBRATION_LEVELS))

    def test_does_not_depend_on_the_order_or_sharding_of_scenes(self, store):
        both = evaluate(Kalman(), store, VAL[::-1], SPEC, samples=6, seed=3)
        for name in VAL:
            alone = evaluate(Kalman(), store, [name], SPEC, samples=6, seed=3)
            rows = both.rows.scene_ids == name
            for metric, values in alone.values.items():
                np.testing.assert_array_equal(both.values[metric][rows], values, err_msg=metric)

    def test_another_seed_gives_other_samples(self, store):
        one, two = (evaluate(Kalman(), store, VAL, SPEC, 6, seed) for seed in (0, 1))
        assert (one.values["min_fde_5_m"] != two.values["min_fde_5_m"]).all()

    def test_gives_the_sink_every_window(self, store):
        seen = []
        result = evaluate(
            ConstantVelocity(), store, VAL, SPEC, 1, 0, sink=lambda *pair: seen.append(pair)
        )
        windows = [(case.scene.id, case.window.at) for case, _ in seen]
        assert sorted({*windows}) == sorted(windows)
        assert sum(int(case.window.scored.sum()) for case, _ in seen) == len(result.rows)

    def test_the_setting_says_what_was_done(self, store):
        setting = evaluate(Kalman(), store, VAL, SPEC, 6, 3, split="val").setting
        assert (setting.protocol, setting.source) == ("nuscenes-ped-v1", "streets")
        assert (setting.split, setting.scenes) == ("val", tuple(VAL))
        assert (setting.history_s, setting.horizon_s, setting.dt_s) == (2.0, 2.0, 0.5)
        assert (setting.samples, setting.seed) == (6, 3)
        assert setting.fingerprint == store.fingerprint

    @pytest.mark.parametrize(
        ("spec", "samples", "message"),
        [
            (SPEC, 0, "samples is 0; at least 1 is needed"),
            (
                WindowSpec(5, 40),
                1,
                "{path}: split 'val': no pedestrian is seen for all of the 20 s that follow a "
                "prediction time; choose a shorter horizon or another split",
            ),
            (
                WindowSpec(40, 1, 40),
                1,
                "{path}: split 'val': no pedestrian is seen for enough consecutive steps; choose "
                "another split",
            ),
        ],
    )
    def test_says_why_there_is_nothing_to_score(self, store, spec, samples, message):
        with pytest.raises(ForecastError) as error:
            evaluate(Kalman(), store, VAL, spec, samples, 0, split="val")
        assert str(error.value) == message.format(path=store.path)


class Sluggish(Stationary):
    """Takes its time when it is asked for the first time, as who must compile first."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def predict(self, scene, at, **options):
        time.sleep(0.0 if self.asked else 0.3)
        self.asked += 1
        return super().predict(scene, at, **options)


def test_the_first_prediction_is_made_once_before_the_clock_runs(store):
    slow = Sluggish()
    one, other = (evaluate(each, store, VAL[:1], SPEC, 1, 0) for each in (slow, Stationary()))
    assert one.timing.seconds.max() < 0.3
    assert len(one.timing.seconds) == len(other.timing.seconds)
    assert slow.asked > len(one.timing.seconds)
    for name, values in other.values.items():
        np.testing.assert_array_equal(one.values[name], values, err_msg=name)


def test_table_starts_with_the_predictor_and_names_each_once(store):
    result = evaluate(ConstantVelocity(), store, VAL, SPEC, 1, 0)
    other = evaluate(Stationary(), store, VAL, SPEC, 1, 0)
    baselines = {"stationary": other, "constant_velocity": result}
    assert list(replace(result, baselines=baselines).table) == ["constant_velocity", "stationary"]


def test_a_fallback_is_kept_for_the_scored_pedestrians(store):
    class Unsure(Kalman):
        def predict(self, scene, at, **options):
            made = super().predict(scene, at, **options)
            return replace(made, fallback=made.agent_ids == "2")

    result = evaluate(Unsure(), store, VAL, SPEC, samples=4, seed=0)
    np.testing.assert_array_equal(result.fallback, result.rows.agent_ids == "2")
    assert 0 < result.fallback.sum() < len(result.rows)
    assert not evaluate(Kalman(), store, VAL, SPEC, samples=4, seed=0).fallback.any()
