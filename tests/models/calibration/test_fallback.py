from dataclasses import replace

import numpy as np
import pytest

from forecast.models.calibration.conformal import Calibration, CalibrationScores, fit_tubes
from forecast.models.calibration.fallback import Fallback, with_fallback
from forecast.models.calibration.ood import FEATURES, OODModel
from forecast.models.observed import ObservedTracks
from forecast.scene import AgentKind, Prediction
from forecast.scene.modes import ModeSet


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


NAMES = ["walker", "runner", "car"]


def test_without_tubes_ood_pedestrians_keep_their_velocity(prediction, seen, ood_model):
    made = with_fallback(prediction, seen, 6, None, Fallback.of(seen, None, ood_model, NAMES, 0))
    assert made.fallback is not None
    assert made.fallback.tolist() == [False, True, False]  # cars are not checked
    np.testing.assert_array_equal(made.positions_m[:, 1], np.tile([[4, 0], [8, 0]], (6, 1, 1)))
    np.testing.assert_array_equal(made.most_probable()[1], [[4, 0], [8, 0]])
    np.testing.assert_array_equal(made.positions_m[:, [0, 2]], prediction.positions_m[:, [0, 2]])


def test_samples_of_ood_pedestrians_lie_in_the_tubes_as_often_as_they_say(
    seen, calibration, ood_model
):
    many = np.zeros((1000, 3, 2, 2), np.float32)
    fallback = Fallback.of(seen, calibration, ood_model, NAMES, seed=3)
    samples = fallback.samples(many)
    np.testing.assert_array_equal(samples[:, [0, 2]], 0)
    from_straight = np.linalg.norm(samples[:, 1] - np.array([[4, 0], [8, 0]]), axis=-1)
    for level, radii in zip(
        calibration.levels, np.transpose(calibration.constant_velocity.scale), strict=True
    ):
        inside = (from_straight <= radii).mean(axis=0)
        np.testing.assert_allclose(inside, level, atol=2e-3)
    # More samples do not change the first ones; another seed does.
    np.testing.assert_array_equal(fallback.samples(many[:6]), samples[:6])
    other = Fallback.of(seen, calibration, ood_model, NAMES, seed=4).samples(many)
    assert (other[:, 1] != samples[:, 1]).any()


def test_modes_of_ood_pedestrians_are_equally_likely_samples(
    prediction, seen, calibration, ood_model
):
    paths = np.random.default_rng(1).normal(size=(3, 5, 2, 2)).astype(np.float32)
    shares = np.tile(np.array([0.4, 0.3, 0.1, 0.1, 0.1], np.float32), (3, 1))
    given = replace(prediction, mode_sets=(ModeSet(paths, shares),))
    fallback = Fallback.of(seen, calibration, ood_model, NAMES, 0)
    made = with_fallback(given, seen, 6, calibration, fallback).modes(5)
    np.testing.assert_array_equal(made.positions_m[[0, 2]], paths[[0, 2]])
    np.testing.assert_array_equal(made.probabilities[[0, 2]], shares[[0, 2]])
    np.testing.assert_allclose(made.probabilities[1], 0.2)
    straight = fallback.samples(paths.swapaxes(0, 1))[:, 1]
    np.testing.assert_array_equal(made.positions_m[1], straight)


def test_no_ood_pedestrian_is_faster_than_people_are(calibration, ood_model):
    """At 11.9 m/s, samples that spread ahead would be faster than 12 m/s."""
    positions = np.zeros((1, 2, 2))
    positions[0, 0, 0] = -5.95
    seen = ObservedTracks(positions, np.ones((1, 2), bool), np.zeros(1, np.int8), dt_s=0.5)
    fallback = Fallback.of(seen, calibration, ood_model, ["runner"], 0)
    samples = fallback.samples(np.zeros((200, 1, 2, 2), np.float32))[:, 0]
    paths = np.concatenate([np.zeros((200, 1, 2)), samples], axis=1)
    speeds = np.linalg.norm(np.diff(paths, axis=1), axis=-1) / 0.5
    assert speeds.max() <= 12 + 1e-4
    assert (speeds > 11.99).any()


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
    fallback = Fallback.of(seen, calibration, ood_model, NAMES, 0)
    made = with_fallback(prediction, seen, 6, calibration, fallback)
    assert made.tubes.valid.tolist() == [True, True, False]
    np.testing.assert_allclose(made.region("runner", 1.0, 0.5).mean(axis=0), [8, 0], atol=1e-9)


def test_no_mode_stays_no_mode(prediction, seen, ood_model):
    fallback = Fallback.of(seen, None, ood_model, NAMES, 0)
    made = with_fallback(replace(prediction, mode_m=None), seen, 6, None, fallback)
    assert made.mode_m is None
