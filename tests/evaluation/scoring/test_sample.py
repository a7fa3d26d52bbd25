from dataclasses import replace

import numpy as np
import pytest

from forecast import AgentKind, ForecastError, Scene
from forecast.datasets.windows import WindowSpec, prediction_times, window_seed
from forecast.evaluation.scoring.sample import EvaluationSample
from forecast.evaluation.scoring.subject import Subject
from forecast.models.baselines import ConstantVelocity
from tests.scenes import street_scene

SPEC = WindowSpec(history_steps=3, horizon_steps=4)


def sample(at: int = 10, scene: Scene | None = None) -> EvaluationSample:
    scene = street_scene() if scene is None else scene
    return EvaluationSample.at(scene, at, SPEC, prediction_times(scene, SPEC).scored[:, at])


class Spy(ConstantVelocity):
    """Keeps its arguments; may change its predictions."""

    def __init__(self, **changes):
        self.changes = changes
        self.seen = []

    def predict(self, scene, at, **arguments):
        self.seen.append((scene, at, arguments))
        return replace(super().predict(scene, at, **arguments), **self.changes)


class TestPredict:
    def test_a_predictor_gets_only_the_last_history_steps(self):
        spy = Spy()
        sample(at=10).predict(Subject.of(spy), samples=7, seed=5)
        ((scene, at, arguments),) = spy.seen
        whole = street_scene()
        assert (scene.steps, at) == (3, 2)
        np.testing.assert_array_equal(scene.timestamps_us, whole.timestamps_us[8:11])
        np.testing.assert_array_equal(scene.tracks.positions_m, whole.tracks.positions_m[:, 8:11])
        assert arguments == {"horizon_s": 2.0, "samples": 7, "seed": window_seed(5, "street", 10)}

    def test_near_the_start_a_predictor_gets_the_steps_that_exist(self):
        spy = Spy()
        sample(at=1).predict(Subject.of(spy), samples=1, seed=0)
        assert (spy.seen[0][0].steps, spy.seen[0][1]) == (2, 1)

    def test_of_more_samples_than_asked_the_most_probable_are_scored(self):
        one = sample().predict(Subject.of(Spy()), samples=1, seed=0)
        paths = np.arange(5, dtype=np.float32)[:, None, None, None] + one.positions_m
        for weights, samples, expected in (
            ([0.1, 0.4, 0.2, 0.2, 0.1], 3, [1, 2, 3]),
            ([0.5, 0.0, 0.5, 0.0, 0.0], 2, [0, 2]),
            ([0.2] * 5, 5, [0, 1, 2, 3, 4]),
        ):
            spy = Spy(positions_m=paths, weights=np.array(weights))
            found = sample().predict(Subject.of(spy), samples=samples, seed=0)
            np.testing.assert_array_equal(found.positions_m, paths[expected])
            assert found.weights.sum() == pytest.approx(1)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"agent_ids": np.array(["1", "0", "2", "3", "4", "5"])},
                "predicts other agents than those present; return them all, in that order",
            ),
            (
                {"valid": np.array([True, False, True, True, True, True])},
                "agent '1' is not predicted; every scored pedestrian must be",
            ),
            (
                {"dt_s": 0.4},
                "predicts 4 steps of 0.4 s from 5000000 us; 4 of 0.5 s from 5000000 us were asked",
            ),
            (
                {"at_us": 7},
                "predicts 4 steps of 0.5 s from 7 us; 4 of 0.5 s from 5000000 us were asked",
            ),
            ({"origin_m": np.ones(2)}, "origin_m is [1. 1.]; the scene's [0. 0.] is needed"),
        ],
    )
    def test_refuses_a_prediction_that_does_not_fit(self, changes, message):
        with pytest.raises(ForecastError) as error:
            sample().predict(Subject.of(Spy(**changes)), samples=1, seed=0)
        assert str(error.value) == f"constant_velocity: street step 10: {message}"

    def test_accepts_that_an_unscored_agent_is_not_predicted(self):
        valid = np.array([True, True, True, True, False, True])
        assert sample().predict(Subject.of(Spy(valid=valid)), samples=1, seed=0).samples == 1


class TestEgo:
    def test_is_the_true_path_of_the_ego(self):
        poses, size = sample(at=10).ego
        tracks = street_scene().tracks
        ego = tracks.kinds.tolist().index(AgentKind.EGO)
        np.testing.assert_array_equal(poses[:, :2], tracks.positions_m[ego, 11:15])
        np.testing.assert_array_equal(poses[:, 2], tracks.headings_rad[ego, 11:15])
        assert size == pytest.approx(tuple(tracks.sizes_m[ego, :2]))

    def test_is_none_without_ego(self):
        walk = np.arange(8.0)[None, :, None] * [1.0, 0.0]
        scene = Scene.from_arrays(walk, [AgentKind.PEDESTRIAN], 0.5)
        assert sample(at=3, scene=scene).ego is None
