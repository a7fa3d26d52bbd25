from dataclasses import replace

import numpy as np
import pytest

from forecast.planning import EgoState, road_use
from forecast.planning.road import FAR_M
from forecast.scene import LaneMap, Polygons, Polylines

EGO = EgoState(0.0, 0.0, 0.0, 5.0, length_m=4.0, width_m=2.0)
EAST, WEST = (np.array([[0.0, -1.75], [100.0, -1.75]]), np.array([[100.0, 1.75], [0.0, 1.75]]))
ISLAND = np.array([[40, -1], [60, -1], [60, 1], [40, 1]])


def rectangle(left: float, lower: float, right: float, upper: float) -> np.ndarray:
    return np.array([[left, lower], [right, lower], [right, upper], [left, upper]])


STREET = LaneMap(
    np.array(["east", "west"]),
    Polylines.of([EAST, WEST]),
    drivable_area=Polygons.of([[rectangle(0, -3.5, 100, 3.5), ISLAND]]),
)


def use(pose, lane_map=STREET):
    found = road_use(np.array([[pose]], float), lane_map, EGO)
    return found.offset_m[0, 0], found.turn_rad[0, 0], found.off_road[0, 0]


@pytest.mark.parametrize(
    ("pose", "offset_m", "turn_rad"),
    [
        ((20, -1.75, 0.0), 0.0, 0.0),
        ((20, -1.0, 0.2), 0.75, 0.2),
        ((20, 1.5, 0.0), 3.25, 0.0),  # in the other lane: its own one counts
        ((20, 1.5, np.pi), 0.25, 0.0),
        ((20, 9.0, 0.0), FAR_M, 0.0),
        ((130, -1.25, 0.0), 0.5, 0.0),  # a lane that ends goes on straight
    ],
)
def test_the_lane_in_the_direction_of_the_ego_counts(pose, offset_m, turn_rad):
    offset, turn, _ = use(pose)
    assert offset == pytest.approx(offset_m, abs=0.02)
    assert turn == pytest.approx(turn_rad, abs=1e-6)


def test_the_wrong_way_in_a_one_way_street():
    one_way = LaneMap(np.array(["east"]), Polylines.of([EAST]))
    offset, turn, _ = use((20, -1.75, np.pi), one_way)
    assert (offset, turn) == (pytest.approx(0, abs=1e-6), pytest.approx(np.pi))


@pytest.mark.parametrize(
    ("pose", "off"),
    [
        ((20, -2.4, 0.0), False),  # the wheels are 3.4 m from the middle, the kerb 3.5 m
        ((20, -2.6, 0.0), True),
        ((20, -1.75, np.pi / 2), True),  # across: its front is at 0.25 m, its rear at -3.75 m
        ((50, -1.75, 0.0), True),  # 0.25 m into the island, though in the middle of its lane ...
        ((50, -2.3, 0.0), False),
    ],
)
def test_a_corner_off_the_drivable_area_is_off_the_road(pose, off):
    # ... which the rule of `_ON_LANE_M` leaves out, so it is asked without lanes
    assert (
        use(pose, replace(STREET, lane_ids=STREET.lane_ids[:0], centerlines=Polylines()))[2] == off
    )


def test_a_lane_ends_at_the_edge_of_the_map_but_not_at_a_junction():
    """In 10 m the ego is 9 m from the next lane, or where nothing is known."""
    assert use((110, -1.75, 0.0)) == (pytest.approx(0), 0, False)
    turn = np.array([[100.0, -1.75], [100.0, -30.0]])
    lanes = Polylines.of([EAST, WEST, turn])
    junction = replace(STREET, lane_ids=np.array(["e", "w", "s"]), centerlines=lanes)
    junction = replace(junction, successors=np.array([[0, 2]]))
    assert use((110, -1.75, 0.0), junction)[::2] == (FAR_M, True)


def test_walkways_count_if_there_is_no_drivable_area():
    beside = LaneMap(walkways=Polygons.of([[rectangle(0, 3.5, 100, 6)]]))
    assert [use((20, y, 0.0), beside)[2] for y in (2.4, 2.6, -20)] == [False, True, False]


@pytest.mark.parametrize("lane_map", [None, LaneMap()])
def test_without_a_map_the_road_says_nothing(lane_map):
    assert use((20, 50, 1.0), lane_map) == (0, 0, False)
