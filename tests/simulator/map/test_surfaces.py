import shapely

from forecast.simulator.map import surfaces


def test_areas_are_valid_and_do_not_overlap(district):
    road = shapely.union_all(surfaces.drivable_area(district))
    walks = surfaces.walkways(district)
    for area in [*surfaces.drivable_area(district), *walks, *surfaces.crosswalk_areas(district)]:
        assert area.is_valid
        assert area.area > 1.0
    assert road.intersection(shapely.union_all(walks)).area < 1e-3
    for crosswalk in surfaces.crosswalk_areas(district):
        assert crosswalk.difference(road).area < 1e-3


def test_the_car_park_lies_behind_the_walkway(district):
    area, places = surfaces.car_park(district)
    walks = shapely.union_all(surfaces.walkways(district))
    road = shapely.union_all(surfaces.drivable_area(district))
    assert area.intersection(road).area < 1e-6
    assert area.intersection(walks).area < 0.5
    assert shapely.contains_xy(area, places[:, :2]).all()


def test_buildings_stand_clear_of_road_walkways_and_car_park(district):
    walls = surfaces.buildings(district)
    open_ground = [*surfaces.walkways(district), *surfaces.drivable_area(district)]
    assert walls.area > 1000.0
    assert walls.intersection(shapely.union_all(open_ground)).area < 1e-6
    assert walls.intersection(surfaces.car_park(district)[0]).area < 1e-6
