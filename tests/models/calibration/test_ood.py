import json
import math
from dataclasses import asdict, replace

import msgspec
import numpy as np
import pytest

from forecast import ForecastError
from forecast.models.calibration.ood import (
    FEATURES,
    HistoryFeatures,
    OODModel,
    features,
    fit_ood,
)
from forecast.models.observed import ObservedTracks
from forecast.scene import AgentKind


def seen_of(paths_m, valid=None, kinds=None, dt_s: float = 0.5) -> ObservedTracks:
    paths = np.asarray(paths_m, float)
    valid = np.ones(paths.shape[:2], bool) if valid is None else np.asarray(valid, bool)
    people = np.full(len(paths), AgentKind.PEDESTRIAN, np.int8)
    return ObservedTracks(paths, valid, people if kinds is None else np.array(kinds, np.int8), dt_s)


def crowd(rng, agents: int = 400) -> ObservedTracks:
    """People far from each other who walk or stand, with some noise."""
    start = 100.0 * np.arange(agents)[:, None, None] * np.ones(2)
    speed = np.where(rng.random(agents) < 0.3, 0.0, rng.normal(1.3, 0.2, agents))
    angle = rng.uniform(-np.pi, np.pi, agents)
    step = 0.5 * speed[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    path = start + step[:, None] * np.arange(5)[:, None]
    return seen_of(path + rng.normal(0, 0.02, path.shape))


class TestFeatures:
    def test_by_hand(self):
        corner = [[0, 0], [1, 0], [1, 1]]  # 2 m/s, then a right angle within 0.5 s
        stands = [[4, 1], [4, 1], [4, 1]]
        found = dict(zip(FEATURES, features(seen_of([corner, stands])).T, strict=True))
        np.testing.assert_allclose(found["speed_mps"], [2, 0])
        np.testing.assert_allclose(found["acceleration_mps2"], [2 * 2**0.5 / 0.5, 0])
        np.testing.assert_allclose(found["highest_speed_mps"], [2, 0])
        np.testing.assert_allclose(found["log_neighbours"], np.log([2, 2]))
        np.testing.assert_allclose(found["seen_s"], [1, 1])

    def test_what_is_not_known_is_0(self):
        paths = np.full((2, 3, 2), 7.0)
        found = features(seen_of(paths, valid=[[0, 0, 1], [0, 1, 1]]))
        assert np.isfinite(found).all()
        assert found[0].tolist() == [0, 0, 0, np.log(2), 0]
        assert found[1, FEATURES.index("seen_s")] == 0.5

    def test_a_history_of_one_step(self):
        assert features(seen_of(np.zeros((2, 1, 2)))).shape == (2, len(FEATURES))

    def test_no_agents_have_no_features(self):
        assert features(seen_of(np.zeros((0, 3, 2)))).shape == (0, len(FEATURES))

    def test_neighbours_are_pedestrians_within_5_m(self):
        paths = np.zeros((4, 2, 2))
        paths[:, :, 0] = np.array([0, 4.9, 9.95, 1])[:, None]
        kinds = [AgentKind.PEDESTRIAN] * 3 + [AgentKind.VEHICLE]
        count = np.expm1(features(seen_of(paths, kinds=kinds))[:, FEATURES.index("log_neighbours")])
        np.testing.assert_allclose(count, [1, 1, 0, 2])  # 0 and 1 m; 4.9 is 5.05 from 9.95

    def test_do_not_depend_on_the_frame(self):
        rng = np.random.default_rng(0)
        paths = rng.normal(size=(5, 4, 2))
        turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
        np.testing.assert_allclose(features(seen_of(paths)), features(seen_of(paths @ turn + 9)))


def as_recorded(found: np.ndarray) -> HistoryFeatures:
    """Features of histories of a network that learnt without noise."""
    return HistoryFeatures(found, found)


class TestOODModel:
    @pytest.fixture
    def ood_model(self) -> OODModel:
        return fit_ood(as_recorded(features(crowd(np.random.default_rng(0)))))

    def test_a_planted_outlier_is_ood_and_the_others_are_not(self, ood_model):
        others = crowd(np.random.default_rng(1), 50)
        paths = others.positions_m.copy()
        paths[7, -1] += [6.0, 0]  # jumps by 6 m within half a second
        paths[8, 1] += [0, 6.0]  # did so a while ago
        ood = ood_model.is_ood(features(seen_of(paths)))
        assert ood[[7, 8]].all()
        assert ood.sum() <= 4
        assert ood_model.score(features(seen_of(paths)))[7] > 3 * ood_model.threshold

    def test_the_threshold_leaves_the_stated_share(self):
        found = features(crowd(np.random.default_rng(0), 1000))
        ood_model = fit_ood(as_recorded(found), quantile=0.9)
        assert ood_model.is_ood(found).mean() == pytest.approx(0.1, abs=0.002)
        assert ood_model.windows == 1000

    def test_noise_of_training_is_in_distribution(self):
        """White noise of 0.1 m, on which the network learnt; without it, one in ten is OOD."""
        rng = np.random.default_rng(0)
        still, found = crowd(rng, 1000), features(crowd(rng, 1000))
        noisy = features(seen_of(still.positions_m + rng.normal(0, 0.1, still.positions_m.shape)))
        assert fit_ood(HistoryFeatures(found, noisy)).is_ood(noisy).mean() < 0.02
        assert fit_ood(as_recorded(found)).is_ood(noisy).mean() > 0.1

    def test_the_score_is_the_mahalanobis_distance(self, ood_model):
        found = features(crowd(np.random.default_rng(2), 10))
        offset = found - ood_model.mean
        inverse = np.linalg.inv(ood_model.covariance)
        expected = [np.sqrt(row @ inverse @ row) for row in offset]
        np.testing.assert_allclose(ood_model.score(found), expected)

    def test_a_small_difference_from_identical_pedestrians_is_in_distribution(self):
        paths = np.zeros((30, 3, 2)) + 100 * np.arange(30)[:, None, None]
        ood_model = fit_ood(as_recorded(features(seen_of(paths))))
        nearly = features(seen_of(paths[:1] + np.array([[0, 0], [0, 0], [0.01, 0]])))
        assert ood_model.score(nearly)[0] < 1

    def test_goes_through_json_unchanged(self, ood_model):
        text = json.dumps(asdict(ood_model))
        assert msgspec.convert(json.loads(text), OODModel) == ood_model

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"names": ["speed_mps"]}, r"features is \['speed_mps'\]; \['speed_mps', 'accel"),
            ({"mean": [math.nan] * 5}, "mean or covariance is none; that of some windows is"),
            ({"covariance": [[0.0] * 5] * 5}, "mean or covariance is none; that of some windows"),
            ({"threshold": math.nan}, "threshold is nan; a score of at least 0 is needed"),
            ({"mean": [0.0]}, r"size of mean and covariance is \[1, 5, .*; 5 each is needed"),
        ],
    )
    def test_features_of_another_version_are_refused(self, ood_model, change, message):
        with pytest.raises(ForecastError, match=message):
            replace(ood_model, **change)

    def test_one_window_is_refused(self):
        with pytest.raises(ForecastError, match="calibration windows is 1; at least 2 is needed"):
            fit_ood(as_recorded(np.zeros((1, len(FEATURES)))))
