import math

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from nuscenes.map_expansion import arcline_path_utils

from forecast.datasets.nuscenes.arclines import CHORD_ERROR_M, TURN_SIGN, discretize

SHAPES = ["LSL", "LSR", "RSL", "RSR", "LRL", "RLR"]


def points_of(pose, shape, radius, lengths):
    turns = [[TURN_SIGN[letter] for letter in shape]]
    points, owner = discretize(
        np.array([pose], float), np.array(turns), np.array([radius]), np.array([lengths], float)
    )
    assert (owner == 0).all()
    return points


def test_a_straight_piece_has_its_two_ends():
    points = points_of((1.0, 2.0, math.pi / 2), "LSL", 999.999, (0, 40, 0))
    np.testing.assert_allclose(points, [[1, 2], [1, 42]], atol=1e-12)


def test_a_quarter_turn_left_then_right():
    quarter = 10 * math.pi / 2
    points = points_of((0, 0, 0), "LSR", 10.0, (quarter, 5, quarter))
    centre, bend = np.array([0, 10]), len(points) // 2
    np.testing.assert_allclose(points[-1], [20, 25], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(points[: bend - 1] - centre, axis=1), 10, atol=1e-9)


def test_a_path_of_no_length_is_its_start():
    np.testing.assert_allclose(points_of((3, 4, 1), "RSR", 5.0, (0, 0, 0)), [[3, 4]])


def test_points_belong_to_their_paths():
    poses, turns = np.array([[0, 0, 0], [50, 0, 0.0]]), np.array([[0, 0, 0], [1.0, 0, 0]])
    points, owner = discretize(
        poses, turns, np.array([10.0, 10.0]), np.array([[1, 2, 3], [9, 0, 0.0]])
    )
    np.testing.assert_allclose(points[owner == 0], [[0, 0], [1, 0], [3, 0], [6, 0]])
    np.testing.assert_allclose(points[owner == 1][0], [50, 0])


@given(
    pose=st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(-math.pi, math.pi)),
    shape=st.sampled_from(SHAPES),
    radius=st.floats(3, 1000),
    lengths=st.tuples(*[st.just(0.0) | st.floats(0.1, 40)] * 3).filter(any),
)
def test_the_devkit_s_path_is_close_everywhere(pose, shape, radius, lengths):
    path = {"start_pose": pose, "shape": shape, "radius": radius, "segment_length": lengths}
    points = points_of(pose, shape, radius, lengths)
    oracle = np.array(arcline_path_utils.discretize(path, 0.25))[:, :2]
    np.testing.assert_allclose(points[[0, -1]], oracle[[0, -1]], atol=1e-6)
    gap = shapely.distance(shapely.points(oracle), shapely.LineString(points))
    assert gap.max() <= CHORD_ERROR_M + 1e-6
