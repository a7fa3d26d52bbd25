import numpy as np

from forecast.simulator.map.district import Layout, build_district
from forecast.simulator.map.traffic_lights import (
    ALL_RED_S,
    AMBER_S,
    TrafficLights,
    draw_traffic_lights,
    may_drive,
    may_walk,
)

LIGHTS = TrafficLights(
    lane_junctions=np.array([0, 0, -1]),
    lane_axes=np.array([0, 1, 0]),
    crossing_junctions=np.array([0, 0, -1]),
    crossing_axes=np.array([0, 1, 0]),
    green_s=np.array([10.0]),
    offsets_s=np.array([0.0]),
)
LANES = np.array([0, 1, 2])


def test_the_phases_of_a_cycle_by_hand():
    """10 s green, 3 s amber and 2 s all red for the first axis, then for the second."""
    expected = {
        1.0: ([True, False, True], [False, True, True]),
        5.0: ([True, False, True], [False, False, True]),  # too late to start to walk
        11.0: ([False, False, True], [False, False, True]),
        14.0: ([False, False, True], [False, False, True]),
        16.0: ([False, True, True], [True, False, True]),
        26.0: ([False, False, True], [False, False, True]),
        31.0: ([True, False, True], [False, True, True]),
    }
    for time_s, (drive, walk) in expected.items():
        assert may_drive(LIGHTS, LANES, time_s).tolist() == drive, time_s
        assert may_walk(LIGHTS, time_s).tolist() == walk, time_s


def test_pedestrians_and_crossing_vehicles_never_have_green_together():
    for time_s in np.arange(0.0, 60.0, 0.1):
        drive, walk = may_drive(LIGHTS, LANES, time_s), may_walk(LIGHTS, time_s)
        assert not (drive[:2] & walk[:2]).any()
        assert not drive[:2].all()


def test_without_lights_everybody_may_go():
    district = build_district(Layout("plain", (200.0,), (200.0,)))
    lights = draw_traffic_lights(district, 6, np.random.default_rng(0))
    assert may_walk(lights, 3.0).tolist() == [True] * 6
    assert may_drive(lights, np.array([0, 9, -1]), 3.0).all()


def test_a_cycle_repeats():
    period = 2 * (10.0 + AMBER_S + ALL_RED_S)
    for time_s in (0.05, 3.0, 12.0, 17.0):
        first = may_drive(LIGHTS, LANES, time_s)
        assert np.array_equal(first, may_drive(LIGHTS, LANES, time_s + period))
