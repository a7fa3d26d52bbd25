import numpy as np
import pytest
import shapely

from forecast import geometry
from forecast.simulator import routes
from forecast.simulator.map import surfaces
from forecast.simulator.map.district import Layout, build_district


def crossroads(**changes):
    return build_district(Layout("crossroads", (200.0,), (200.0,), **changes))


def test_crossroads_has_every_movement():
    district = crossroads()
    assert len(district.streets) == 4
    assert sum(lane.connector for lane in district.lanes) == 12
    assert len(district.crosswalks) == 4
    turns = [
        geometry.wrap_angle(lane.path[0].curvature_per_m * lane.length_m)
        for lane in district.lanes
        if lane.connector
    ]
    assert sorted(np.round(np.degrees(turns)).tolist()) == [-90] * 4 + [0] * 4 + [90] * 4


def test_leaving_a_street_out_makes_a_t_junction():
    district = crossroads(closed=frozenset({((0, 0), (0, 1))}))
    assert len(district.streets) == 3
    assert sum(lane.connector for lane in district.lanes) == 6


@pytest.mark.parametrize(("left_hand_traffic", "sign"), [(False, -1), (True, 1)])
def test_traffic_keeps_to_its_side(left_hand_traffic, sign):
    for lane in crossroads(left_hand_traffic=left_hand_traffic).lanes:
        if not lane.connector:
            pose = lane.poses(1.0)[0]
            to_middle = geometry.to_frame(np.array([200.0, 200.0]), pose[:2], pose[2])
            assert to_middle[1] == pytest.approx(-sign * 1.75)


def test_a_moved_node_bends_its_streets_in_two_arcs():
    layout = Layout("bent", (200.0, 300.0), (200.0,), moved_m=(((1, 0), (0.0, 8.0)),))
    district = build_district(layout)
    street = next(s for s in district.streets if s.nodes == ((0, 0), (1, 0)))
    assert [np.sign(piece.curvature_per_m) for piece in street.path] == [0, 1, -1, 0]
    ends = street.poses(np.array([0.0, street.length_m]))
    assert ends == pytest.approx(np.array([[200.0, 200.0, 0.0], [300.0, 208.0, 0.0]]))
    middle = street.at(np.array([street.length_m / 2]), 2.0)[0]
    assert np.hypot(*(middle - [250.0, 204.0])) == pytest.approx(2.0)


def test_a_one_way_street_has_one_lane():
    way = ((0, 0), (0, 1))
    district = crossroads(one_way=frozenset({way}))
    lanes = {lane.name for lane in district.lanes}
    assert "lane (0, 0) (0, 1)" in lanes
    assert "lane (0, 1) (0, 0)" not in lanes
    assert sum(lane.connector for lane in district.lanes) == 9


def test_signals_know_junction_and_axis():
    district = crossroads(signalled=((0, 0),))
    for lane, (junction, axis) in zip(district.lanes, district.lane_signals, strict=True):
        assert junction == (0 if lane.connector else -1)
        if lane.connector:
            assert abs(np.sin(lane.path[0].start[2])) == pytest.approx(axis)
    for line, (junction, axis) in zip(district.crosswalks, district.crosswalk_signals, strict=True):
        crossed = np.abs(line[1] - line[0]).argmax()
        assert (junction, axis) == (0, 1 - crossed)


def test_opposite_straight_movements_do_not_conflict_and_crossing_ones_do():
    district = crossroads()
    through = [
        i
        for i, lane in enumerate(district.lanes)
        if lane.connector and lane.path[0].curvature_per_m == 0
    ]
    heading = {i: district.lanes[i].path[0].start[2] for i in through}
    for i in through:
        for j in through:
            crossing = abs(np.sin(heading[i] - heading[j])) > 0.5
            assert district.conflicts[i, j] == crossing


def test_lanes_continue_without_a_jump(district):
    for lane in district.lanes:
        for i in lane.successors:
            gap = district.lanes[i].poses(1.0)[0] - lane.poses(1.0)[-1]
            assert np.abs(gap[:2]).max() < 1e-6
            assert abs(geometry.wrap_angle(gap[2])) < 1e-6
        assert lane.successors or not lane.connector


def test_lanes_are_on_the_road(district):
    road = shapely.union_all(surfaces.drivable_area(district)).buffer(1e-6)
    for lane in district.lanes:
        assert road.covers(shapely.LineString(lane.poses(1.0)[:, :2]))


def test_people_can_walk_from_anywhere_to_anywhere_on_walkways_and_crosswalks(district):
    areas = [*surfaces.walkways(district), *surfaces.crosswalk_areas(district)]
    footing = shapely.union_all(areas).buffer(1e-3)
    neighbours: dict[int, set[int]] = {}
    for edge in district.walk_edges:
        if geometry.polyline_length(edge.points_m) > 0:
            assert footing.covers(shapely.LineString(routes.sample(edge.points_m)[:, :2]))
        a, b = edge.nodes
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    reached, frontier = {0}, [0]
    while frontier:
        new = neighbours[frontier.pop()] - reached
        reached |= new
        frontier += new
    assert reached == set(neighbours)


def test_walk_edges_meet_at_their_nodes(district):
    places: dict[int, np.ndarray] = {}
    for edge in district.walk_edges:
        for node, point in zip(edge.nodes, (edge.points_m[0], edge.points_m[-1]), strict=True):
            assert places.setdefault(node, point) == pytest.approx(point)
