from dataclasses import replace

import numpy as np
import pytest

from forecast.errors import ForecastError
from forecast.models.metrics import on_road, on_road_share
from forecast.scene import LaneMap, Polygons


def _box(x0, y0, x1, y1):
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)


@pytest.fixture
def lane_map():
    """A 20 m road with an island, a crosswalk over it and a walkway that overlaps its edge."""
    return LaneMap(
        drivable_area=Polygons.of([[_box(0, 0, 10, 10), _box(2, 2, 4, 4)], [_box(10, 0, 20, 10)]]),
        crosswalks=Polygons.of([[_box(6, -1, 8, 11)]]),
        walkways=Polygons.of([[_box(0, 9, 20, 12)]]),
    )


PLACES = {
    "road": ((1, 1), True),
    "second polygon": ((15, 5), True),
    "where two polygons meet": ((10, 5), True),
    "island": ((3, 3), False),
    "crosswalk": ((7, 5), False),
    "walkway on the road's edge": ((15, 9.5), False),
    "outside": ((-3, 5), False),
}


@pytest.mark.parametrize("place", PLACES)
def test_places(place, lane_map):
    point, expected = PLACES[place]
    assert bool(on_road(np.array(point), lane_map)) == expected


def test_share_counts_steps_and_weighs_samples(lane_map):
    road, island, crosswalk = (1, 1), (3, 3), (7, 5)
    samples = np.array([[[road, road], [road, island]], [[crosswalk, road], [island, island]]])
    share = on_road_share(samples, np.array([0.8, 0.2]), lane_map)
    assert share.tolist() == pytest.approx([0.8 * 1 + 0.2 * 0.5, 0.8 * 0.5])


@pytest.mark.parametrize("missing", ["crosswalks", "walkways", "drivable_area"])
def test_a_missing_layer_gives_nan(lane_map, missing):
    bare = replace(lane_map, **{missing: Polygons.of([])})
    samples = np.ones((1, 3, 4, 2))
    assert np.isnan(on_road_share(samples, np.ones(1), bare)).all()
    assert (on_road_share(samples, np.ones(1), lane_map) == 1).all()


@pytest.mark.parametrize("lane_map", [None, LaneMap()], ids=["no map", "empty map"])
def test_no_map_gives_nan(lane_map):
    share = on_road_share(np.zeros((2, 3, 4, 2)), np.array([0.5, 0.5]), lane_map)
    assert share.shape == (3,)
    assert np.isnan(share).all()


def _crossings(x, y, ring):
    """Even-odd rule, one edge after the other."""
    inside = False
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if (y0 > y) != (y1 > y) and x < (x1 - x0) * (y - y0) / (y1 - y0) + x0:
            inside = not inside
    return inside


def test_agrees_with_the_even_odd_rule(lane_map):
    points = np.random.default_rng(0).uniform(-2, 22, (300, 2))

    def within(polygons, x, y):
        return any(sum(_crossings(x, y, ring) for ring in rings) % 2 for rings in polygons)

    expected = [
        within(lane_map.drivable_area, x, y)
        and not within(lane_map.crosswalks, x, y)
        and not within(lane_map.walkways, x, y)
        for x, y in points
    ]
    assert 0.2 < np.mean(expected) < 0.7
    assert on_road(points, lane_map).tolist() == expected


def test_a_polygon_that_crosses_itself_is_repaired():
    bow_tie = np.array([(0, 0), (4, 4), (4, 0), (0, 4)], float)
    lane_map = LaneMap(drivable_area=Polygons.of([[bow_tie]]))
    points = np.array([(0.5, 2), (3.5, 2), (2, 0.5), (2, 3.5)])
    assert on_road(points, lane_map).tolist() == [True, True, False, False]


def test_a_ring_needs_three_points():
    short = LaneMap(drivable_area=Polygons.of([[_box(0, 0, 1, 1)], [np.zeros((2, 2))]]))
    with pytest.raises(ForecastError, match=r"drivable_area: polygon 1 .* 2 point.*at least 3"):
        on_road(np.zeros(2), short)
