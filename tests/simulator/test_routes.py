import numpy as np
import pytest

from forecast.simulator import routes


def test_straight_route_is_sampled_at_equal_spacing():
    route = routes.sample(np.array([[0.0, 0.0], [3.0, 4.0]]))
    assert len(route) == 11
    assert np.hypot(*np.diff(route[:, :2], axis=0).T) == pytest.approx(routes.SPACING_M)
    assert route[:, 2] == pytest.approx(np.arctan2(4, 3))


def test_smoothing_keeps_the_ends_and_rounds_the_corner():
    corner = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0]])
    route = routes.sample(corner, smoothing_m=3.0)
    assert route[0, :2] == pytest.approx([0, 0])
    assert route[-1, :2] == pytest.approx([10, 10])
    assert 0.3 < np.hypot(*(route[:, :2] - [10.0, 0.0]).T).min() < 1.0
    assert np.abs(np.diff(route[:, 2])).max() < 0.5  # a sharp corner: 1.57


def test_heading_has_no_jump_where_a_circle_passes_pi():
    angle = np.linspace(0, 4 * np.pi, 400)
    route = routes.sample(20 * np.stack([np.cos(angle), np.sin(angle)], -1))
    assert np.abs(np.diff(route[:, 2])).max() < 0.1


def test_packed_routes_are_interpolated_and_clamped():
    a = routes.sample(np.array([[0.0, 0.0], [5.0, 0.0]]))
    b = routes.sample(np.array([[0.0, 1.0], [0.0, 21.0]]))
    packed, lengths = routes.pack([a, b])
    assert lengths == pytest.approx([5.0, 20.0])
    assert routes.at(packed, np.array([1.3, 7.7]))[:, :2] == pytest.approx(
        np.array([[1.3, 0.0], [0.0, 8.7]])
    )
    assert routes.at(packed, np.array([9.0, -1.0]))[:, :2] == pytest.approx(
        np.array([[5.0, 0.0], [0.0, 1.0]])
    )
    assert routes.at(packed, np.array([[1.0, 2.0], [3.0, 4.0]])).shape == (2, 2, 3)
    assert routes.nearest(b, np.array([5.0, 11.2])) == pytest.approx(10.0)


def test_the_nearest_point_of_a_route_that_crosses_itself():
    route = routes.sample(
        np.array([[0.0, 0.0], [40.0, 0.0], [40.0, 20.0], [20.0, 20.0], [20.0, -20.0]])
    )
    crossing = np.array([20.0, 0.6])
    assert routes.nearest(route, crossing) == pytest.approx(99.5)
    assert routes.nearest(route, crossing, about_m=18.0, within_m=20.0) == pytest.approx(20.0)
