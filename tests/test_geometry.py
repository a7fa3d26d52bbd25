import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forecast import geometry

angles = st.floats(-50, 50)
points = hnp.arrays(np.float64, (4, 2), elements=st.floats(-1e3, 1e3))


@pytest.mark.parametrize(
    ("angle", "wrapped"),
    [
        (0.0, 0.0),
        (np.pi, -np.pi),
        (-np.pi, -np.pi),
        (3.5 * np.pi, -0.5 * np.pi),
        (-4.0, 2.28318531),
    ],
)
def test_wrap_angle(angle, wrapped):
    assert geometry.wrap_angle(angle) == pytest.approx(wrapped)


@given(angles)
def test_a_wrapped_angle_is_the_same_direction(angle):
    wrapped = geometry.wrap_angle(angle)
    assert -np.pi <= wrapped < np.pi
    assert np.cos(wrapped) == pytest.approx(np.cos(angle), abs=1e-9)
    assert np.sin(wrapped) == pytest.approx(np.sin(angle), abs=1e-9)


def test_distances_of_each_from_each():
    found = geometry.distances(np.array([[0.0, 0.0], [3.0, 0.0]]), np.array([[0.0, 4.0]] * 3))
    np.testing.assert_array_equal(found, [[4.0] * 3, [5.0] * 3])


@given(points, points)
def test_distances_are_norms_to_the_bit(a, b):
    a, b = a.astype(np.float32), b.astype(np.float32)
    expected = np.linalg.norm(a[:, None] - b[None], axis=-1)
    found = geometry.distances(a, b)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_rotate_turns_counter_clockwise():
    turned = geometry.rotate(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([np.pi / 2, np.pi]))
    np.testing.assert_allclose(turned, [[0, 1], [0, -2]], atol=1e-12)


def test_to_frame_puts_what_is_ahead_on_x_and_what_is_left_on_y():
    facing_up = (np.array([10.0, 5.0]), np.array(np.pi / 2))
    ahead_and_left = geometry.to_frame(np.array([[10.0, 8.0], [9.0, 5.0]]), *facing_up)
    np.testing.assert_allclose(ahead_and_left, [[3, 0], [0, 1]], atol=1e-12)


@given(points, hnp.arrays(np.float64, 2, elements=st.floats(-1e3, 1e3)), angles)
def test_from_frame_undoes_to_frame_and_distances_stay(xy, origin, heading):
    local = geometry.to_frame(xy, origin, np.array(heading))
    np.testing.assert_allclose(geometry.from_frame(local, origin, np.array(heading)), xy, atol=1e-8)
    np.testing.assert_allclose(
        np.linalg.norm(local - local[0], axis=-1), np.linalg.norm(xy - xy[0], axis=-1), atol=1e-8
    )


def test_a_tensor_gives_the_same_tensor():
    xy, origin, heading = np.array([[3.0, 4.0]]), np.array([1.0, -1.0]), np.array(0.7)
    ours = geometry.to_frame(*map(torch.from_numpy, (xy, origin, heading)))
    assert isinstance(ours, torch.Tensor)
    np.testing.assert_allclose(ours.numpy(), geometry.to_frame(xy, origin, heading))


def test_backward_velocity_by_hand():
    positions = np.array([[[0, 0], [1, 2], [9, 9], [4, 4], [4, 5]]], np.float32)
    valid = np.array([[True, True, False, True, True]])
    velocity, known = geometry.backward_velocity(positions, valid, dt_s=0.5)
    assert known.tolist() == [[False, True, False, False, True]]
    assert velocity.tolist() == [[[0, 0], [2, 4], [0, 0], [0, 0], [0, 2]]]


@given(
    hnp.arrays(np.float64, (2, 6, 2), elements=st.floats(-100, 100)),
    hnp.arrays(np.bool_, (2, 6)),
    st.integers(0, 5),
)
def test_velocity_and_heading_never_look_ahead(positions, valid, at):
    moved, seen = positions.copy(), valid.copy()
    moved[:, at + 1 :] += 17.0
    seen[:, at + 1 :] ^= True
    for function in (lambda p, v: geometry.backward_velocity(p, v, 0.5)[0], _headings):
        before, after = function(positions, valid), function(moved, seen)
        np.testing.assert_array_equal(before[:, : at + 1], after[:, : at + 1])


def _headings(positions, valid):
    return geometry.motion_headings(positions, valid)[0]


def test_motion_headings_hold_through_standing_and_gaps():
    track = [[0, 0], [0.01, 0], [0.01, 1], [0.02, 1], [5, 5], [-1, 1], [-2, 1]]
    valid = np.array([[True, True, True, True, False, True, True]])
    headings, known = geometry.motion_headings(np.array([track]), valid)
    up, left = np.arctan2(1, 0.01), np.pi
    np.testing.assert_allclose(headings, [[0, 0, up, up, up, left, left]], rtol=1e-6)
    assert headings.dtype == np.float32
    assert known.tolist() == [[False, False, True, True, True, True, True]]


def test_resample_polyline_keeps_equal_distances_along_a_corner():
    corner = np.array([[0, 0], [3, 0], [3, 1]])
    np.testing.assert_allclose(
        geometry.resample_polyline(corner, 5), [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]]
    )


@given(points, st.integers(2, 30))
def test_resampling_keeps_the_ends_and_never_lengthens(line, count):
    sampled = geometry.resample_polyline(line, count)
    assert sampled.shape == (count, 2)
    np.testing.assert_allclose(sampled[[0, -1]], line[[0, -1]])
    assert geometry.polyline_length(sampled) <= geometry.polyline_length(line) * (1 + 1e-9) + 1e-9


def test_polyline_length():
    assert geometry.polyline_length(np.array([[0, 0], [3, 4], [3, 5]])) == pytest.approx(6.0)


def test_an_agent_that_waits_faces_where_it_first_goes_if_that_was_observed() -> None:
    positions = np.array([[[0, 0], [0, 0], [0, 1], [1, 1]]], float)
    valid = np.ones((1, 4), bool)
    north = np.pi / 2
    np.testing.assert_allclose(
        geometry.motion_headings(positions, valid)[0], [[0, 0, north, 0]], atol=1e-6
    )
    np.testing.assert_allclose(
        geometry.motion_headings(positions, valid, observed=3)[0],
        [[north, north, north, 0]],
        atol=1e-6,
    )
    np.testing.assert_allclose(
        geometry.motion_headings(positions, valid, observed=2)[0], [[0, 0, north, 0]], atol=1e-6
    )


def test_step_headings_hold_the_last_real_one():
    path = np.array([[0, 0], [0, 0.01], [0, 1], [0, 1.01], [-1, 1.01]])
    found = geometry.step_headings(np.stack([path, -path]), np.array([0.3, 0.4]))
    half = np.pi / 2
    np.testing.assert_allclose(found[0], [0.3, half, half, np.pi], atol=1e-6)
    np.testing.assert_allclose(found[1], [0.4, -half, -half, 0.0], atol=1e-6)


def test_steps_on_a_grid_are_movements_whatever_the_frame():
    """Trackers round to 0.1 m, so many people move by exactly 0.4 m in a step."""
    steps = np.array([[0.4, 0], [0, -0.4], [0.3, 0.2]], np.float32)
    positions = np.stack([np.zeros_like(steps), steps], axis=1) + np.float32([110.3, -50.7])
    valid = np.ones((3, 2), bool)
    for angle in np.linspace(-3, 3, 50):
        turned = geometry.rotate(positions, np.asarray(angle)).astype(np.float32)
        assert geometry.motion_headings(turned, valid)[1][:, 1].tolist() == [True, True, False]
