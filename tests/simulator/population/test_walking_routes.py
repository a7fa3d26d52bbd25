import numpy as np
import shapely

from forecast.simulator import routes
from forecast.simulator.map import surfaces
from forecast.simulator.population import walking_routes

NOTHING = np.zeros((0, 3)), np.zeros((0, 3))


def test_walking_routes_stay_on_walkways_and_crosswalks_unless_someone_jaywalks(district):
    rng = np.random.default_rng(0)
    footing = [*surfaces.walkways(district), *surfaces.crosswalk_areas(district)]
    ways = shapely.union_all(footing).buffer(0.6)
    corridor = district.streets[0].line(0, district.streets[0].length_m, 0.0)
    places = walking_routes.start_places(district, corridor, rng)
    crossed = stray = 0
    for place in places[:40]:
        lines = list(district.crosswalks)
        walk = walking_routes.draw_walking_route(district, place, NOTHING, lines, rng)
        route = shapely.LineString(routes.sample(np.array(walk.points_m))[:, :2])
        marked = all(name < len(district.crosswalks) for name, _ in walk.crossings)
        crossed += len(walk.crossings)
        if marked and not ways.covers(route):
            stray += 1  # those who walk along the parked cars
    assert crossed > 10
    assert stray <= 8


def test_routes_of_workers_stay_in_the_work_site(district):
    site = walking_routes.WorkSite(np.array([50.0, 60.0, 0.5]), 12.0, 2.2)
    points = np.array(walking_routes.work_route(site, np.random.default_rng(1)).points_m)
    corners = site.points(np.array([-6, 6, 6, -6.0]), np.array([-1.1, -1.1, 1.1, 1.1]))
    area = shapely.Polygon(corners)
    assert shapely.contains_xy(area, points).all()
