from dataclasses import replace

import numpy as np
import pytest

from forecast import AgentKind, ForecastError, Scene
from forecast.models.baselines.simple import ConstantVelocity
from forecast.planning import Futures
from tests.planning.any_futures import futures


@pytest.fixture
def scene() -> Scene:
    times = np.arange(3) * 0.5
    ways = [np.stack([speed * times, 0 * times + 4 * i], -1) for i, speed in enumerate((5, 1, 2))]
    kinds = [AgentKind.EGO, AgentKind.PEDESTRIAN, AgentKind.CYCLIST]
    return Scene.from_arrays(np.array(ways), kinds, 0.5, id="street")


def test_futures_are_those_of_everybody_but_the_ego(scene):
    made = Futures.of(ConstantVelocity().predict(scene, 2, horizon_s=3.0), scene)
    assert made.positions_m.shape == (1, 2, 6, 2)
    np.testing.assert_allclose(made.now_m, [[1, 4], [2, 8]])
    np.testing.assert_allclose(made.positions_m[0, 1, -1], [2 + 2 * 3, 8], atol=1e-5)
    assert made.disc.tolist() == [True, False]
    np.testing.assert_allclose(made.sizes_m, [[0.7, 0.7], [1.8, 0.6]])
    assert (made.samples, made.steps, made.reactive) == (1, 6, False)


def test_a_prediction_in_another_frame_is_moved_into_the_scenes(scene):
    made = ConstantVelocity().predict(scene, 2)
    shift = np.array([1000.0, -500.0])
    other = replace(made, origin_m=made.origin_m + shift, positions_m=made.positions_m - shift)
    expected, found = Futures.of(made, scene), Futures.of(other, scene)
    np.testing.assert_allclose(found.positions_m, expected.positions_m, atol=1e-3)
    assert found.positions_m.dtype == np.float32


def test_who_is_not_predicted_is_left_out(scene):
    prediction = ConstantVelocity().predict(scene, 2)
    made = Futures.of(replace(prediction, valid=np.array([True, False, True])), scene)
    assert made.disc.tolist() == [False]


def test_a_prediction_of_another_scene_is_refused(scene):
    prediction = ConstantVelocity().predict(scene, 2)
    with pytest.raises(ForecastError, match=r"prediction.at_us is 7; a time of scene street"):
        Futures.of(replace(prediction, at_us=7), scene)
    with pytest.raises(ForecastError, match=r"agents that the scene lacks is .'x'."):
        Futures.of(replace(prediction, agent_ids=np.array(["0", "x", "2"])), scene)


def test_headings_follow_the_motion():
    made = futures([[[[0, 0], [0, 1], [1, 1]]]], [[0, 0]], headings=[2.0])
    np.testing.assert_allclose(made.step_headings_rad()[0, 0], [2.0, np.pi / 2, 0.0], atol=1e-6)
    np.testing.assert_allclose(made.from_now_m()[0, 0, :2], [[0, 0], [0, 0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions_m": np.zeros((2, 3, 2))}, r"shape of positions_m is \[2, 3, 2\]; \[K, A, T"),
        ({"now_m": np.zeros((2, 2))}, r"shape of now_m is \[2, 2\]; \[1, 2\] is needed"),
        ({"now_m": np.full((1, 2), np.nan)}, "a value of now_m is not finite"),
        ({"weights": np.array([0.5])}, "sum of weights is 0.5; 1 is needed"),
        ({"dt_s": 0.0}, "dt_s is 0.0; a positive step"),
    ],
)
def test_futures_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ForecastError, match=message):
        replace(futures(np.zeros((1, 1, 3, 2)), np.zeros((1, 2))), **change)
