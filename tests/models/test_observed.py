import numpy as np
import pytest

from forecast import ForecastError
from forecast.models.observed import ObservedTracks, mean_step
from forecast.scene import AgentKind


@pytest.fixture
def seen() -> ObservedTracks:
    """Who walks, who was not seen one step before, who was not seen two steps before; a car."""
    x = np.array([[0, 1, 3], [0, 9, 3], [9, 1, 2], [0, 5, 10]], float)
    valid = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], bool)
    kinds = np.array([AgentKind.PEDESTRIAN] * 3 + [AgentKind.VEHICLE], np.int8)
    return ObservedTracks(np.stack([x, 0 * x], -1), valid, kinds, dt_s=0.5)


def test_velocities_are_backward_differences_of_what_is_known(seen):
    assert seen.velocities_mps()[0, :, 0].tolist() == [2, 4]
    np.testing.assert_array_equal(seen.velocity_mps()[:, 0], [4, np.nan, 2, 10])
    assert np.isnan(seen.velocities_mps()[2, 0]).all()


def test_constant_velocity_goes_on_also_over_a_gap(seen):
    path = seen.constant_velocity_m(2)
    step = (2 + 0.4 * 1) / 1.4  # 2 m in the last step, 1 m in the one before
    np.testing.assert_allclose(path[0], [[3 + step, 0], [3 + 2 * step, 0]])
    assert path[1].tolist() == [[4.5, 0], [6, 0]]  # 3 m in the two steps since it was last seen


class TestMeanStep:
    def test_weights_fall_with_age(self):
        positions = np.array([[[0, 0], [1, 0], [3, 0], [7, 0]]], float)
        mean = mean_step(positions, np.ones((1, 4), bool), 0.5)
        np.testing.assert_allclose(mean, [[(4 + 0.5 * 2 + 0.25 * 1) / 1.75, 0]])

    def test_steps_over_a_gap_are_equal_and_count_once(self):
        positions = np.array([[[0, 0], [1, 0], [9, 9], [7, 0], [9, 0]]], float)
        mean = mean_step(positions, np.array([[1, 1, 0, 1, 1]], bool), 0.5)
        np.testing.assert_allclose(mean, [[(2 + 0.5 * 3 + 0.125 * 1) / 1.625, 0]])

    def test_is_0_without_a_step(self):
        assert not mean_step(np.ones((1, 3, 2)), np.array([[0, 0, 1]], bool), 0.4).any()


def test_a_single_step_has_no_velocity(seen):
    now = ObservedTracks(seen.positions_m[:, -1:], seen.valid[:, -1:], seen.kinds, seen.dt_s)
    assert np.isnan(now.velocity_mps()).all()
    assert now.constant_velocity_m(1)[3].tolist() == [[10, 0]]


def test_select_and_people(seen):
    assert seen.pedestrians.tolist() == [True, True, True, False]
    assert seen.select(~seen.pedestrians).positions_m[0, -1].tolist() == [10, 0]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 3, 3), (2, 3), 2), r"positions_m's shape is \[2, 3, 3\]; \[A, H, 2\] is needed"),
        (((2, 3, 2), (2, 3), 3), r"kinds' shape is \[3\]; \[A\] is needed"),
        (((2, 0, 2), (2, 0), 2), "history is 0; at least the current step is needed"),
    ],
)
def test_broken_tracks_are_refused(shapes, message):
    positions, valid, kinds = shapes
    with pytest.raises(ForecastError, match=message):
        ObservedTracks(np.zeros(positions), np.zeros(valid, bool), np.zeros(kinds, np.int8), 0.5)
