import numpy as np
import pytest

from forecast import EgoState, ForecastError
from forecast.visualization.viewer.driven import drive_along


def test_straight_ahead_at_the_present_speed():
    poses = drive_along([[10, 2], [30, 2]], EgoState(0, 2, 0, 6.0), 6.0, 4, 0.5)
    expected = [[3, 2, 0], [6, 2, 0], [9, 2, 0], [12, 2, 0]]
    np.testing.assert_allclose(poses, expected, atol=1e-6)


def test_it_speeds_up_by_2_mps2():
    # 4 m/s and 2 m/s^2: after 1 s 4 + 1 = 5 m, after 2 s 8 + 4 = 12 m
    poses = drive_along([[50, 0]], EgoState(0, 0, 0, 4.0), 20.0, 2, 1.0)
    np.testing.assert_allclose(poses[:, 0], [5, 12], atol=0.01)


def test_it_slows_down_by_4_mps2_and_stands():
    # from 8 m/s to 0 in 2 s and 8 m
    poses = drive_along([[50, 0]], EgoState(0, 0, 0, 8.0), 0.0, 4, 1.0)
    np.testing.assert_allclose(poses[:, 0], [6, 8, 8, 8], atol=0.05)


def test_it_goes_on_straight_after_the_last_point():
    poses = drive_along([[0, 5]], EgoState(0, 0, np.pi / 2, 5.0), 5.0, 4, 1.0)
    np.testing.assert_allclose(poses[-1], [0, 20, np.pi / 2], atol=1e-6)


def test_it_slows_down_before_a_bend_so_that_the_car_can_drive_it():
    bend = [[20, 0], [25, 1], [28, 4], [29, 9], [29, 30]]
    poses = drive_along(bend, EgoState(0, 0, 0, 10.0), 10.0, 12, 0.5)
    steps = np.linalg.norm(np.diff(poses[:, :2], axis=0), axis=1) / 0.5
    turns = np.diff(poses[:, 2]) / 0.5
    assert np.abs(turns * steps).max() < 4.5
    assert steps.min() < 7 < steps[0]


def test_headings_go_on_from_that_of_the_ego_without_a_jump():
    poses = drive_along([[-20, 0.1]], EgoState(0, 0, 3.1, 5.0), 5.0, 4, 0.5)
    assert np.abs(poses[:, 2] - 3.1).max() < 0.2


def test_a_path_shorter_than_two_metres_is_refused():
    with pytest.raises(ForecastError, match="length of the drawn plan is below 2 m"):
        drive_along([[0.5, 0], [1, 0.2]], EgoState(0, 0, 0, 5.0), 5.0, 4, 0.5)
