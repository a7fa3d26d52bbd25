import numpy as np
import pytest
import shapely

from forecast.simulator import routes
from forecast.simulator.map import surfaces as ground
from forecast.simulator.population import walking_routes as walks
from forecast.simulator.population.pedestrians import cast_crowd
from forecast.simulator.population.vehicles import cast_fleet
from forecast.simulator.random_numbers import agent_keys

NOTHING = np.zeros((0, 3)), np.zeros((0, 3))


def test_walks_stay_on_walkways_and_crosswalks_unless_someone_jaywalks(district):
    rng = np.random.default_rng(0)
    footing = [*ground.walkways(district), *ground.crosswalk_areas(district)]
    ways = shapely.union_all(footing).buffer(0.6)
    corridor = district.streets[0].line(0, district.streets[0].length_m, 0.0)
    places = walks.starts(district, corridor, rng)
    crossed = stray = 0
    for place in places[:40]:
        lines = list(district.crosswalks)
        walk = walks.draw_walk(district, place, NOTHING, lines, rng)
        route = shapely.LineString(routes.sample(np.array(walk.points_m))[:, :2])
        marked = all(name < len(district.crosswalks) for name, _ in walk.crossings)
        crossed += len(walk.crossings)
        if marked and not ways.covers(route):
            stray += 1  # those who walk along the parked cars
    assert crossed > 10
    assert stray <= 8


def test_a_work_site_is_not_left(district):
    site = walks.WorkSite(np.array([50.0, 60.0, 0.5]), 12.0, 2.2)
    points = np.array(walks.work(site, np.random.default_rng(1)).points_m)
    corners = site.points(np.array([-6, 6, 6, -6.0]), np.array([-1.1, -1.1, 1.1, 1.1]))
    area = shapely.Polygon(corners)
    assert shapely.contains_xy(area, points).all()


@pytest.fixture(scope="module")
def crowds(district):
    """Crowds of several scenes and the crossings in them."""
    result = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        fleet = cast_fleet(district, 10, 12, rng)
        result.append(cast_crowd(district, fleet, 40, agent_keys(0, seed, 40), rng))
    return result


def test_there_are_people_of_every_kind(crowds):
    kinds = {str(c).rsplit(".", 1)[-1] for crowd, _ in crowds for c in crowd.categories}
    assert {"adult", "child"} <= kinds
    assert len(kinds) >= 4
    assert sum(np.isinf(crowd.stands_s).sum() for crowd, _ in crowds) > 10
    assert any(crowd.sits.any() for crowd, _ in crowds)


def test_groups_share_what_a_group_shares(crowds):
    for crowd, _ in crowds:
        for name in ("routes", "begins_m", "stands_s", "obeys", "speeds_mps", "crossings"):
            values = getattr(crowd, name)
            assert np.array_equal(values, values[crowd.leaders]), name


def test_kerbs_lie_on_the_route_where_the_crossing_is(crowds):
    for crowd, crossings in crowds:
        person, nth = np.nonzero(crowd.crossings >= 0)
        line = crossings.lines_m[crowd.crossings[person, nth]]
        backwards = ~crowd.forward[person, nth]
        line[backwards] = line[backwards, ::-1]
        for end in (0, 1):
            at = routes.at(crowd.routes[person], crowd.kerbs_m[person, nth, end])[:, :2]
            assert np.hypot(*(at - line[:, end]).T).max() < 3.5
        assert (crowd.kerbs_m[person, nth, 1] > crowd.kerbs_m[person, nth, 0]).all()
