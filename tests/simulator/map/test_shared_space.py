import numpy as np
import pytest
import shapely

from forecast.simulator.map import shared_space, surfaces
from forecast.simulator.map.shared_space import build_shared_space


@pytest.fixture(scope="module", params=shared_space.LOCATIONS)
def place(request):
    return build_shared_space(request.param, 5)


def test_a_place_has_ground_and_walkway_but_no_street_lane_or_crosswalk(place):
    assert not place.streets
    assert not place.lanes
    assert len(place.crosswalks) == 0
    (road,), walks = surfaces.drivable_area(place), surfaces.walkways(place)
    blocks = shapely.union_all(place.shared.blocks)
    assert road.is_valid
    assert road.area > 1000
    assert road.intersection(shapely.union_all([*walks, blocks])).area < 1e-6
    assert (np.array(road.bounds[:2]) > 0).all()
    assert (surfaces.extent_m(place) >= road.bounds[2:]).all()
    assert surfaces.dividers(place) == surfaces.crosswalk_areas(place) == []


def test_only_the_car_park_has_bays_and_the_others_have_walls():
    for name in shared_space.LOCATIONS:
        place = build_shared_space(name, 5)
        parks = surfaces.car_parks(place)
        bays, (walls, sizes) = place.shared.bays, surfaces.walls(place)
        assert bool(parks) == (len(bays) > 20) == (name == "shared-car-park")
        assert len(walls) == len(sizes) == (0 if parks else len(place.shared.blocks_m))
        assert (surfaces.buildings(place).area > 100) == (not parks)
        if parks:
            assert shapely.contains_xy(shapely.union_all(parks), bays[:, :2]).all()


def test_the_shortest_way_leads_around_blocks(place):
    space, blocks = place.shared, shapely.union_all(place.shared.blocks)
    rng = np.random.default_rng(0)
    for start, end in rng.integers(len(space.doors), size=(40, 2)).tolist():
        if start == end:
            continue
        way = space.shortest_way(start, end)
        assert way[0] == pytest.approx(space.doors[start])
        assert way[-1] == pytest.approx(space.doors[end])
        line = shapely.LineString(way)
        assert line.distance(blocks) > 0.75
        assert line.length < 2 * np.hypot(*(way[-1] - way[0])) + 80


def test_the_seed_sets_the_sizes_of_the_blocks():
    first, again, other = (build_shared_space("shared-campus", seed) for seed in (1, 1, 2))
    assert np.array_equal(first.shared.blocks_m, again.shared.blocks_m)
    assert not np.array_equal(first.shared.blocks_m, other.shared.blocks_m)
