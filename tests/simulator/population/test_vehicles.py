import numpy as np
import pytest
import shapely

from forecast.simulator import boxes
from forecast.simulator.map import surfaces
from forecast.simulator.population.vehicles import draw_fleet, draw_vehicles


@pytest.fixture(scope="module")
def fleets(district):
    return [draw_fleet(district, 14, 20, np.random.default_rng(seed)) for seed in range(14)]


@pytest.fixture(scope="module")
def drives(district):
    return [d for s in range(8) for d in draw_vehicles(district, 14, np.random.default_rng(s))]


def test_buses_halt_at_a_bus_stop(district, drives):
    stops = np.array([
        district.lanes[lane].poses(0.5)[round(along / 0.5), :2]
        for lane, along, _ in surfaces.bus_stops(district)
    ])  # fmt: skip
    buses = [d for d in drives if "bus" in d.category and np.isfinite(d.halt_m)]
    assert buses
    for bus in buses:
        at = bus.route[round(bus.halt_m / 0.5), :2]
        assert np.hypot(*(stops - at).T).min() < 3.0
        assert 6.0 <= bus.halt_s <= 14.0


def test_some_park_at_the_kerb_and_some_pull_out(district, drives):
    layout = district.layout
    parking = [d for d in drives if d.parking_place is not None]
    assert any(np.isinf(d.halt_s) for d in parking)
    assert any(np.isfinite(d.halt_s) for d in parking)
    for drive in parking:
        offsets = []
        for street in district.streets:
            line = shapely.LineString(street.line(0, street.length_m, 0.0))
            offsets.append(line.distance(shapely.Point(drive.parking_place[:2])))
        expected = layout.lane_width_m + layout.parking_width_m / 2
        assert min(offsets) == pytest.approx(expected, abs=0.6)


def test_routes_stay_on_the_road(district, drives):
    road = shapely.union_all(surfaces.drivable_area(district)).buffer(0.1)
    for drive in drives:
        assert road.covers(shapely.LineString(drive.route[:, :2]))


def test_parked_vehicles_do_not_overlap(fleets):
    for fleet in fleets:
        poses, sizes = fleet.parked_poses, fleet.parked_sizes_m[:, :2]
        gaps = boxes.distances(poses[:, None, :2], poses, sizes) + 99 * np.eye(len(poses))
        assert gaps.min(initial=99.0) > 0.3


def test_a_work_site_has_cones_barriers_and_a_digger_and_keeps_off_the_lanes(district, fleets):
    sites = [fleet for fleet in fleets if fleet.site is not None]
    assert sites
    assert len(sites) < len(fleets)
    lanes = shapely.union_all([shapely.LineString(lane.poses(1.0)[:, :2])
                               for lane in district.lanes])  # fmt: skip
    for fleet in sites:
        assert set(fleet.prop_categories.tolist()) == {
            "movable_object.trafficcone", "movable_object.barrier",
        }  # fmt: skip
        assert "vehicle.construction" in fleet.parked_categories
        apart = shapely.distance(lanes, shapely.points(fleet.prop_poses[:, :2]))
        assert apart.min() > 1.2
