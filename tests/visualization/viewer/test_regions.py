from dataclasses import replace

import numpy as np
import pytest

from forecast.models.baselines import Kalman
from forecast.scene import Prediction
from forecast.visualization.viewer.regions import LEVELS, regions_of
from tests.scenes import street_scene
from tests.visualization.film.films import Calibrated


def drawn(positions_m: np.ndarray, weights: np.ndarray | None = None) -> Prediction:
    samples, agents = positions_m.shape[:2]
    return Prediction(
        positions_m=positions_m.astype(np.float32),
        weights=np.full(samples, 1 / samples) if weights is None else weights,
        agent_ids=np.array([str(agent) for agent in range(agents)]),
        valid=np.ones(agents, bool),
        at_us=0,
        dt_s=0.5,
        origin_m=np.zeros(2),
    )


def inside(ellipses: np.ndarray, points_m: np.ndarray) -> np.ndarray:
    """Which points ``[..., 2]`` are in ellipses ``[..., 5]``."""
    x, y = np.moveaxis(points_m - ellipses[..., :2], -1, 0)
    a, b, c = np.moveaxis(ellipses[..., 2:], -1, 0)
    along = x / a
    return along**2 + ((y - b * along) / c) ** 2 <= 1


def test_one_more_sample_is_inside_as_often_as_the_level_says():
    rng = np.random.default_rng(0)
    turn = np.array([[2.0, 0.0], [1.5, 0.3]])
    points = rng.normal(size=(21, 4000, 1, 2)) @ turn.T + [5.0, -3.0]
    regions = regions_of(drawn(points[:20]))
    assert regions is not None
    assert not regions.calibrated
    assert regions.levels == LEVELS
    for level, ellipses in zip(LEVELS, regions.ellipses, strict=True):
        share = inside(ellipses, points[20].astype(np.float32)).mean()
        assert share == pytest.approx(level, abs=0.02)  # 2.5 standard errors


def test_samples_of_no_weight_do_not_count():
    points = np.random.default_rng(1).normal(size=(12, 3, 2, 2))
    weights = np.repeat([0.1, 0.0], [10, 2])
    some, all_of_them = regions_of(drawn(points, weights)), regions_of(drawn(points[:10]))
    np.testing.assert_allclose(some.ellipses, all_of_them.ellipses, atol=1e-6)


def test_three_samples_have_no_region():
    assert regions_of(drawn(np.zeros((3, 1, 2, 2)))) is None


def test_agents_that_are_not_predicted_have_none():
    made = replace(drawn(np.zeros((5, 2, 3, 2))), valid=np.array([True, False]))
    regions = regions_of(made)
    assert np.isfinite(regions.ellipses[:, 0]).all()
    assert np.isnan(regions.ellipses[:, 1]).all()


def test_calibrated_regions_come_first():
    options = {"horizon_s": 3.0, "samples": 5, "seed": 0}
    regions = regions_of(Calibrated().predict(street_scene(), 8, **options))
    assert regions.calibrated
    assert regions.levels == (0.9,)
    known = np.isfinite(regions.ellipses[0]).all(axis=(1, 2))
    np.testing.assert_allclose(regions.ellipses[0, known, :, 2], [np.arange(1.0, 7)] * known.sum())
    assert not regions_of(Kalman().predict(street_scene(), 8, **options)).calibrated
