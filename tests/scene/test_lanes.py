from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forecast import ForecastError, LaneMap
from forecast.scene import Polygons, Polylines
from tests.any_scene import SQUARE, small_map

line = st.integers(0, 5).flatmap(
    lambda n: hnp.arrays(np.float32, (n, 2), elements=st.floats(-100, 100, width=32))
)


@given(st.lists(line))
def test_packed_polylines_come_back(rows):
    packed = Polylines.of(rows)
    assert len(packed) == len(rows)
    for ours, row in zip(packed, rows, strict=True):
        np.testing.assert_array_equal(ours, row)


@given(st.lists(st.lists(line, min_size=1, max_size=3)))
def test_packed_polygons_come_back(polygons):
    packed = Polygons.of(polygons)
    assert len(packed) == len(polygons)
    for ours, rings in zip(packed, polygons, strict=True):
        assert len(ours) == len(rings)
        for our_ring, ring in zip(ours, rings, strict=True):
            np.testing.assert_array_equal(our_ring, ring)


@pytest.mark.parametrize(
    "packed", [Polylines(), Polygons(), small_map().dividers, small_map().walkways]
)
def test_an_index_outside_is_an_error(packed):
    for index in (-1, len(packed)):
        with pytest.raises(IndexError):
            packed[index]


@pytest.mark.parametrize("offsets", [[0, 3], [1, 4], [0, 3, 2, 4]])
def test_offsets_that_do_not_cover_the_points_are_refused(offsets):
    with pytest.raises(ForecastError, match="polyline offsets do not cover 4 points"):
        Polylines(np.zeros((4, 2), np.float32), np.array(offsets))


def test_a_point_that_is_not_finite_is_refused():
    with pytest.raises(ForecastError, match="a map point is not finite; repair the map file"):
        Polylines.of([np.array([[0, 0], [np.nan, 1]])])


def test_an_empty_map_is_a_map():
    assert len(LaneMap()) == 0
    assert len(small_map()) == 2


def test_a_lane_of_one_point_is_refused():
    with pytest.raises(ForecastError, match=r"lane 'b' has 1 point\(s\); at least 2 are needed"):
        LaneMap(np.array(["a", "b"]), Polylines.of([SQUARE, SQUARE[:1]]))


def test_a_name_for_each_lane_is_needed():
    with pytest.raises(ForecastError, match="1 lane_ids for 2 centerlines; one each is needed"):
        LaneMap(np.array(["a"]), Polylines.of([SQUARE, SQUARE]))


@pytest.mark.parametrize("link", [[0, 2], [-1, 0]])
def test_a_link_to_no_lane_is_refused(link):
    with pytest.raises(ForecastError, match="successors name a lane that is not in the map"):
        replace(small_map(), successors=np.array([link]))


def test_without_other_words_no_crosswalk_has_lights():
    assert LaneMap(crosswalks=small_map().crosswalks).signalled.tolist() == [False]
    assert len(replace(small_map(), crosswalks=Polygons()).signalled) == 0


def test_lights_for_each_crosswalk_are_needed():
    with pytest.raises(ForecastError, match="signalled has 2 values for 1 crosswalks; one each is"):
        replace(small_map(), signalled=np.array([True, False]))
