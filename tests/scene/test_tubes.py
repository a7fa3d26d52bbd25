from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from forecast import ForecastError
from forecast.scene import Tubes
from forecast.scene.tubes import mahalanobis


@pytest.fixture
def tubes() -> Tubes:
    """Half-axes 4 and 2 along x and y at 50 %, twice that at 90 %; the second agent has none."""
    return Tubes(
        centre_m=np.array([[[10.0, 20.0]], [[np.nan, np.nan]]]),
        shape_m2=np.array([[np.diag([4.0, 1.0])], [np.full((2, 2), np.nan)]]),
        scale=np.array([[[2.0, 4.0]], [[np.nan, np.nan]]]),
        levels=(0.5, 0.9),
        valid=np.array([True, False]),
    )


def test_contains_by_hand(tubes):
    def inside(x: float, y: float) -> list[bool]:
        return tubes.contains(np.full((2, 1, 2), [x, y]))[0, 0].tolist()

    assert inside(13.99, 20) == [True, True]
    assert inside(14.01, 20) == inside(10, 22.01) == [False, True]
    assert inside(10, 24.01) == inside(18.01, 20) == [False, False]


def test_who_has_no_tube_is_in_none(tubes):
    assert not tubes.contains(np.zeros((2, 1, 2)))[1].any()
    np.testing.assert_allclose(tubes.area_m2(), [[[8 * np.pi, 32 * np.pi]], [[np.nan] * 2]])


def test_a_square_around_the_ellipse_by_hand(tubes):
    reach = np.sqrt(2)  # of a square's corners beyond the circle inside it
    expected = np.array([[4, 0], [0, 2], [-4, 0], [0, -2]]) * reach + [10, 20]
    np.testing.assert_allclose(tubes.polygon(0, 0, 0.5, points=4), expected, atol=1e-12)


@given(
    st.integers(3, 40),
    st.floats(0.1, 5),
    st.floats(0.1, 5),
    st.floats(-0.95, 0.95),
    st.floats(0.01, 9),
)
def test_the_polygon_encloses_the_ellipse_and_little_else(points, width, height, tilt, scale):
    cross = tilt * width * height
    shape = np.array([[width**2, cross], [cross, height**2]])
    made = Tubes(
        np.ones((1, 1, 2)), shape[None, None], np.full((1, 1, 1), scale), (0.5,), np.array([True])
    )
    polygon = shapely.Polygon(made.polygon(0, 0, 0.5, points))
    angle = np.linspace(0, 2 * np.pi, 50)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    ellipse = 1 + scale * circle @ np.linalg.cholesky(shape).T
    assert shapely.contains_xy(polygon.buffer(1e-6 * scale), ellipse).all()
    larger = points * np.tan(np.pi / points) / np.pi
    assert polygon.area == pytest.approx(made.area_m2()[0, 0, 0] * larger)
    assert polygon.exterior.is_ccw


@given(st.integers(0, 2**32 - 1))
def test_the_distance_is_that_of_the_inverse(seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(4, 2, 2))
    shape = root @ root.swapaxes(-1, -2) + 0.1 * np.eye(2)
    offset = rng.normal(size=(4, 2))
    expected = np.sqrt(np.einsum("ni,nij,nj->n", offset, np.linalg.inv(shape), offset))
    np.testing.assert_allclose(mahalanobis(offset, shape), expected)


def test_select_by_mask_and_index(tubes):
    assert tubes.select(tubes.valid).valid.tolist() == [True]
    assert tubes.select(np.array([1, 0])).valid.tolist() == [False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centre_m": np.zeros((2, 2))}, r"centre_m has shape \[2, 2\]; \[A, T, 2\] is needed"),
        ({"shape_m2": np.zeros((2, 1, 2))}, r"shape_m2's shape is \[2, 1, 2\]; \[2, 1, 2, 2\]"),
        ({"scale": np.zeros((2, 1, 3))}, r"scale's shape is \[2, 1, 3\]; \[2, 1, 2\] is needed"),
        ({"valid": np.ones(3, bool)}, r"valid's shape is \[3\]; \[2\] is needed"),
        ({"levels": (0.9, 0.5)}, r"levels is \[0.9, 0.5\]; a rising list between 0 and 1"),
        ({"levels": (0.5, 1.0)}, "a rising list between 0 and 1"),
        ({"scale": -np.ones((2, 1, 2))}, "scale is negative or NaN"),
        ({"valid": np.ones(2, bool)}, "scale is negative or NaN"),
        ({"shape_m2": np.ones((2, 1, 2, 2))}, "shape_m2 is singular; positive definite"),
    ],
)
def test_broken_tubes_are_refused(tubes, change, message):
    with pytest.raises(ForecastError, match=message):
        replace(tubes, **change)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 0.8), "level is 0.8; one of 0.5, 0.9 is needed"),
        ((1, 0, 0.5), "the tube of agent 1 is not given; a pedestrian is needed"),
        ((0, 0, 0.5, 2), "points is 2; at least 3 is needed"),
        ((0, 1, 0.5), "step is 1; 0 to 0, or -1 to -1 counted from the end, is needed"),
        ((2, 0, 0.5), "agent is 2; 0 to 1, or -2 to -1 counted from the end, is needed"),
        ((0, 0.0, 0.5), "step is 0.0; a whole number is needed"),
        ((0, 0, "0.5"), "level is '0.5'; a level between 0 and 1 is needed"),
    ],
)
def test_a_polygon_that_is_not_there(tubes, arguments, message):
    with pytest.raises(ForecastError, match=message):
        tubes.polygon(*arguments)
