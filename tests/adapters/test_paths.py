from dataclasses import replace

import numpy as np
import pytest

from forecast import ForecastError
from forecast.adapters.paths import Paths
from forecast.scene import ModeSet
from tests.adapters.conftest import DT_S, ORIGIN, STEPS


def test_paths_begin_now_and_leave_out_the_ego(prediction, scene):
    found = Paths.of(prediction, scene, 2)
    assert found.agent_ids.tolist() == ["ped", "car"]
    assert found.poses.shape == (2, 2, STEPS + 1, 3)
    np.testing.assert_allclose(found.poses[:, 0, 0, :2], [ORIGIN + np.array([20, -2])] * 2)
    np.testing.assert_allclose(found.weights, [[0.5, 1], [0.5, 0]])
    ends = sorted((found.poses[:, 0, -1, :2] - ORIGIN)[:, 1].tolist())
    assert ends == pytest.approx([-2, 4], abs=1e-3)


def test_paths_are_the_modes_where_there_is_a_set_of_that_size(prediction, scene):
    rng = np.random.default_rng(0)
    paths = rng.normal(0, 5, (3, 5, STEPS, 2))
    modes = ModeSet.ranked(paths, rng.dirichlet(np.ones(5), 3))
    uneven = np.array([0.3, *[0.1] * 7])
    found = Paths.of(replace(prediction, mode_sets=(modes,), weights=uneven), scene, 5)
    expected = modes.positions_m[1:].swapaxes(0, 1) + ORIGIN
    np.testing.assert_allclose(found.poses[:, :, 1:, :2], expected, atol=1e-6)
    np.testing.assert_allclose(found.weights, modes.probabilities[1:].T)
    clustered = Paths.of(replace(prediction, mode_sets=(modes,)), scene, 2)
    np.testing.assert_allclose(clustered.weights, [[0.5, 1], [0.5, 0]])


def test_paths_of_no_weight_are_left_out(prediction, scene):
    poses, weights = Paths.of(prediction, scene, 2).of_agent(1)
    assert (len(poses), weights.tolist()) == (1, [1.0])


def test_headings_follow_the_motion_or_stay(prediction, scene):
    found = Paths.of(prediction, scene, 2)
    np.testing.assert_allclose(found.poses[:, 0, :, 2], np.pi / 2, atol=1e-6)
    np.testing.assert_allclose(found.poses[:, 1, :, 2], 0.5, atol=1e-6)
    np.testing.assert_allclose(found.velocity_mps, [[0, 1], [0, 0]], atol=1e-6)
    assert found.dt_s == DT_S


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"at_us": 7}, "prediction.at_us is 7; a time of scene adapters is needed"),
        ({"weights": np.array([0.3, *[0.1] * 7])}, "weights is uneven; a prediction of equally"),
        ({"agent_ids": np.array(["ego", "x", "car"])}, r"agents that the scene lacks is \['x'\]"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(prediction, scene, change, message):
    with pytest.raises(ForecastError, match=message):
        Paths.of(replace(prediction, **change), scene, 2)


def test_a_prediction_of_another_frame_gives_the_same_paths(prediction, scene):
    """A file without an origin is read in a frame around the mean of its positions."""
    off = np.array([100.0, 50.0])
    moved = replace(
        prediction,
        origin_m=prediction.origin_m + off,
        positions_m=(prediction.positions_m - off).astype(np.float32),
    )
    one, other = (Paths.of(each, scene, 2) for each in (prediction, moved))
    np.testing.assert_allclose(other.poses, one.poses, atol=1e-3)
