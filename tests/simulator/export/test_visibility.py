import numpy as np
import pytest
import shapely

from forecast.simulator.export import visibility

EYE = np.zeros((1, 2))
PERSON = np.array([[20.0, 0.0, 0.0]]), np.array([[0.7, 0.7]])


def share(occluders, sizes, walls=None, itself=False):
    poses = np.array(occluders, float).reshape(1, -1, 3)
    absent = np.full(poses.shape[:2], itself)
    return visibility.visible_share(
        EYE, *PERSON, poses, np.array(sizes, float).reshape(-1, 2), absent, walls
    )[0]


def test_only_a_car_in_between_blocks_the_view():
    assert share([], []) == 1.0
    assert share([[10, 0, np.pi / 2]], [[4.6, 1.9]]) == 0.0
    assert share([[30, 0, 0]], [[4.6, 1.9]]) == 1.0
    assert share([[10, 5, 0]], [[4.6, 1.9]]) == 1.0


def test_a_car_that_hides_one_side_hides_about_half():
    """The car's flank lies on the line of sight to the middle of the person."""
    assert share([[10, 1.0, 0]], [[4.0, 2.0]]) == pytest.approx(0.5, abs=0.1)


def test_a_box_does_not_hide_itself():
    assert share([[20, 0, 0]], [[0.7, 0.7]], itself=True) == 1.0


def test_a_wall_hides_a_box():
    wall = shapely.box(9, -1, 10, 1)
    shapely.prepare(wall)
    assert share([], [], wall) == 0.0


def test_visibility_bins_by_hand():
    found = visibility.visibility_bins(np.array([0.0, 0.39, 0.4, 0.6, 0.79, 0.8, 1.0]))
    assert found.tolist() == [1, 1, 2, 3, 3, 4, 4]
