from dataclasses import replace

import numpy as np
import pytest

from forecast.models.calibration.conformal import Calibration, CalibrationScores, fit_tubes
from forecast.models.calibration.fallback import with_fallback
from forecast.models.calibration.ood import FEATURES, OODModel
from forecast.models.observed import ObservedTracks
from forecast.scene import AgentKind, Prediction


@pytest.fixture
def seen() -> ObservedTracks:
    """A walker, one who runs at 8 m/s, and a car at 8 m/s; all are at the origin now."""
    positions = np.zeros((3, 2, 2))
    positions[:, 0, 0] = [-0.5, -4, -4]
    kinds = np.array([AgentKind.PEDESTRIAN] * 2 + [AgentKind.VEHICLE], np.int8)
    return ObservedTracks(positions, np.ones((3, 2), bool), kinds, dt_s=0.5)


@pytest.fixture
def prediction() -> Prediction:
    return Prediction(
        positions_m=np.random.default_rng(0).normal(size=(6, 3, 2, 2)).astype(np.float32),
        weights=np.full(6, 1 / 6),
        agent_ids=np.array(["walker", "runner", "car"]),
        valid=np.ones(3, bool),
        at_us=0,
        dt_s=0.5,
        origin_m=np.zeros(2),
        mode_m=np.zeros((3, 2, 2), np.float32),
    )


@pytest.fixture
def ood_model() -> OODModel:
    """Pedestrians at 1 m/s, give or take 3, are in distribution."""
    count = len(FEATURES)
    mean = [1.0] + [0.0] * (count - 1)
    spread = np.diag([1.0] + [1e6] * (count - 1)).tolist()
    return OODModel(list(FEATURES), mean, spread, 0.995, 3.0, 100)


@pytest.fixture
def calibration() -> Calibration:
    distance = np.linspace(0, 2, 101)[:, None].repeat(2, axis=1)
    group, scene = np.full(101, 2), np.full(101, "a")
    return fit_tubes(
        CalibrationScores(distance, distance, group, scene, np.zeros(101, bool)), [0.5, 1.0], 5
    )


def test_without_either_the_futures_stay(prediction, seen):
    same = with_fallback(prediction, seen, 6, None, None)
    assert same.tubes is None
    assert same.fallback is None
    np.testing.assert_array_equal(same.positions_m, prediction.positions_m)


def test_ood_pedestrians_keep_their_velocity(prediction, seen, ood_model):
    made = with_fallback(prediction, seen, 6, None, ood_model)
    assert made.fallback is not None
    assert made.fallback.tolist() == [False, True, False]  # cars are not checked
    np.testing.assert_array_equal(made.positions_m[:, 1], np.tile([[4, 0], [8, 0]], (6, 1, 1)))
    np.testing.assert_array_equal(made.most_probable()[1], [[4, 0], [8, 0]])
    np.testing.assert_array_equal(made.positions_m[:, [0, 2]], prediction.positions_m[:, [0, 2]])


def test_tubes_do_not_depend_on_how_many_samples_are_asked_for(prediction, seen, calibration):
    one, five = (with_fallback(prediction, seen, k, calibration, None) for k in (1, 5))
    assert (one.samples, five.samples) == (1, 5)
    assert one.weights.tolist() == [1.0]
    np.testing.assert_array_equal(one.positions_m, prediction.positions_m[:1])
    np.testing.assert_array_equal(one.tubes.scale, five.tubes.scale)
    np.testing.assert_array_equal(one.tubes.shape_m2, five.tubes.shape_m2)


def test_tubes_of_ood_pedestrians_are_around_constant_velocity(
    prediction, seen, calibration, ood_model
):
    made = with_fallback(prediction, seen, 6, calibration, ood_model)
    assert made.tubes.valid.tolist() == [True, True, False]
    np.testing.assert_allclose(made.region("runner", 1.0, 0.5).mean(axis=0), [8, 0], atol=1e-9)


def test_no_mode_stays_no_mode(prediction, seen, ood_model):
    made = with_fallback(replace(prediction, mode_m=None), seen, 6, None, ood_model)
    assert made.mode_m is None
