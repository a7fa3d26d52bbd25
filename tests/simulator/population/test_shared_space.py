import numpy as np
import pytest
import shapely

from forecast.datasets.nuscenes.categories import Categories
from forecast.scene import AgentKind
from forecast.simulator import boxes, random_numbers
from forecast.simulator.export.tables import CATEGORIES
from forecast.simulator.map import shared_space
from forecast.simulator.map.shared_space import build_shared_space
from forecast.simulator.population.shared_space import draw_shared_crowd, draw_shared_fleet


@pytest.fixture(scope="module", params=shared_space.LOCATIONS)
def drawn(request):
    space, rng = build_shared_space(request.param, 5).shared, np.random.default_rng(1)
    fleet = draw_shared_fleet(space, 7, rng)
    crowd, crossings = draw_shared_crowd(
        space, fleet, 40, random_numbers.agent_keys(5, 1, 128), rng
    )
    return space, fleet, crowd, crossings


def test_vehicles_are_slow_and_are_read_as_vehicles(drawn):
    _, fleet, _, _ = drawn
    assert 0.5 <= fleet.speeds_mps.min() <= fleet.speeds_mps.max() <= 4.0
    names = np.unique(np.concatenate([fleet.categories, fleet.parked_categories]))
    assert set(names.tolist()) <= set(CATEGORIES)
    assert {Categories().kind_of(str(name)) for name in names} == {int(AgentKind.VEHICLE)}


def test_routes_of_vehicles_keep_to_the_ground_and_begin_apart(drawn):
    space, fleet, _, _ = drawn
    ways = space.drivable_area.buffer(0.1)
    for route, length in zip(fleet.routes, fleet.lengths_m, strict=True):
        assert length > 90
        assert shapely.contains_xy(ways, route[:, :2]).all()
    at = (fleet.starts_m / 0.5).astype(int)
    poses = fleet.routes[np.arange(len(at)), at]
    gaps = boxes.distances(poses[:, None, :2], poses, fleet.sizes_m[:, :2]) + 99 * np.eye(len(at))
    assert gaps.min() > 1


def test_people_walk_around_blocks_in_rows_of_at_most_three_and_cross_nothing(drawn):
    space, _, crowd, crossings = drawn
    assert len(crowd.keys) == 40
    assert len(crossings.lines_m) == 0
    assert (crowd.crossings == -1).all()
    assert np.bincount(crowd.leaders).max() <= 3
    blocks = shapely.union_all(space.blocks)
    for route in crowd.routes:
        assert shapely.LineString(route[:, :2]).distance(blocks) > 0.1
