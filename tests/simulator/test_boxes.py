import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from forecast.simulator import boxes

BOX, SIZE = np.array([10.0, 5.0, np.pi / 2]), np.array([4.0, 2.0])


@pytest.mark.parametrize(
    ("point", "distance", "direction"),
    [
        ((10.0, 10.0), 3.0, (0.0, 1.0)),
        ((7.0, 5.0), 2.0, (-1.0, 0.0)),
        ((14.0, 11.0), 5.0, (0.6, 0.8)),
        ((10.7, 5.0), -0.3, (1.0, 0.0)),
    ],
)
def test_distance_and_direction_by_hand(point, distance, direction):
    assert boxes.distances(np.array(point), BOX, SIZE) == pytest.approx(distance)
    assert boxes.directions(np.array(point), BOX, SIZE) == pytest.approx(direction)


@given(
    st.tuples(*[st.floats(-20, 20)] * 2), st.floats(-4, 4), st.floats(0.5, 12), st.floats(0.5, 3)
)
def test_distance_agrees_with_shapely(point, heading, length, width):
    corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * [length / 2, width / 2]
    cos, sin = np.cos(heading), np.sin(heading)
    area = shapely.Polygon(corners @ np.array([[cos, sin], [-sin, cos]]) + [1.0, 2.0])
    found = boxes.distances(
        np.array(point), np.array([1.0, 2.0, heading]), np.array([length, width])
    )
    place = shapely.Point(point)
    expected = area.distance(place) or -area.exterior.distance(place)
    assert found == pytest.approx(expected, abs=1e-6)
