from dataclasses import replace

import numpy as np
import pytest

from forecast.simulator import simulate
from forecast.simulator.dynamics import pedestrian_motion as people
from forecast.simulator.dynamics import vehicle_motion as traffic
from forecast.simulator.map import layouts as places
from forecast.simulator.map.district import build_district
from tests.simulator.dynamics.test_pedestrian_motion import crowd_on


@pytest.fixture(scope="module")
def setting_and_world():
    return simulate.set_scene(build_district(places.layout("boston-seaport", 1)), 1, 0)


def alone(setting, world, along_m, speed_mps):
    """The ego at a place on its route, everybody else gone, one person far away."""
    fleet, state = setting.fleet, world.traffic
    active = np.arange(len(state.active)) == 0
    along = np.where(active, along_m, state.along_m)
    poses = state.poses.copy()
    poses[0] = traffic.routes.at(fleet.routes, along)[0]
    speeds = np.where(active, speed_mps, 0.0)
    still = np.zeros(len(along))
    return traffic.TrafficState(along, speeds, still, poses, active, still)


def someone_at(point, velocity=(0.0, 0.0)):
    state = people.begin(crowd_on([[(0, 0), (60, 0)]]))
    return replace(
        state, positions_m=np.array([point], float), velocities_mps=np.array([velocity], float)
    )


def intent_at(crossing, distance, progress=0.0):
    return people.Intent(
        np.array([crossing]), np.array([distance]), np.array([progress]),
        np.array([True]), np.array([False]), np.array([distance < 4.0]), np.array([True]),
    )  # fmt: skip


NOBODY = intent_at(-1, np.inf)


def drive(setting, state, walker, intent, seconds, green=True):
    states = [state]
    lights = np.full(len(state.active), green)
    for _ in range(round(seconds / 0.1)):
        states.append(
            traffic.step(setting.fleet, states[-1], setting.encounters, setting.crossings,
                         walker, intent, lights, 0.1)
        )  # fmt: skip
    return states


def test_a_free_driver_reaches_the_desired_speed(setting_and_world):
    setting, world = setting_and_world
    state = alone(setting, world, 0.0, 3.0)
    fleet = replace(setting.fleet, limits_mps=np.full_like(setting.fleet.limits_mps, 50.0))
    states = drive(replace(setting, fleet=fleet), state, someone_at((-1e3, 0)), NOBODY, 20)
    speeds = np.array([s.speeds_mps[0] for s in states])
    assert speeds[-1] == pytest.approx(fleet.speeds_mps[0], rel=0.02)
    assert np.diff(speeds).max() <= 0.15 + 1e-9
    assert states[-1].along_m[0] == pytest.approx(0.1 * (speeds[1:] + speeds[:-1]).sum() / 2)


def test_a_driver_stops_for_someone_standing_in_the_lane(setting_and_world):
    setting, world = setting_and_world
    spot = traffic.routes.at(setting.fleet.routes, np.full(len(setting.fleet.routes), 40.0))[0]
    states = drive(
        setting, alone(setting, world, 5.0, 8.0), someone_at(spot[:2]), NOBODY, 15
    )  # fmt: skip
    assert states[-1].speeds_mps[0] < 0.1
    front = states[-1].along_m[0] + setting.fleet.sizes_m[0, 0] / 2
    assert 1.0 < 40.0 - front < 5.0


def test_a_follower_keeps_behind_a_stopped_leader(setting_and_world):
    setting, world = setting_and_world
    fleet = setting.fleet
    one_route = replace(
        fleet,
        routes=np.repeat(fleet.routes[:1], len(fleet.routes), 0),
        limits_mps=np.repeat(fleet.limits_mps[:1], len(fleet.routes), 0),
    )
    state = alone(setting, world, 5.0, 8.0)
    along = state.along_m.copy()
    along[1], active = 45.0, np.arange(len(along)) < 2
    state = replace(
        state, along_m=along, active=active, poses=traffic.routes.at(one_route.routes, along)
    )
    setting = replace(
        setting,
        fleet=replace(one_route, speeds_mps=fleet.speeds_mps * [1, *[0] * (len(along) - 1)]),
    )
    last = drive(setting, state, someone_at((-1e3, 0)), NOBODY, 20)[-1]
    lengths = fleet.sizes_m[:2, 0]
    gap = last.along_m[1] - last.along_m[0] - lengths.sum() / 2
    assert last.speeds_mps[0] < 0.2
    assert 1.0 < gap < 4.0


def first_crossing(setting):
    """The first marked crossing on the ego's route far enough to stop at, and where it is."""
    meet = setting.encounters
    ours = (meet.vehicle == 0) & setting.crossings.marked[meet.crossing] & (meet.along_m > 30.0)
    nearest = np.where(ours, meet.along_m, np.inf).argmin()
    return int(meet.crossing[nearest]), float(meet.along_m[nearest])


def test_a_courteous_driver_waits_before_the_crosswalk_and_a_rude_one_does_not(setting_and_world):
    setting, world = setting_and_world
    crossing, along = first_crossing(setting)
    state = alone(setting, world, along - 28.0, 7.0)
    waiting = intent_at(crossing, 1.0)
    polite = drive(setting, state, someone_at((-1e3, 0)), waiting, 15)[-1]
    front = polite.along_m[0] + setting.fleet.sizes_m[0, 0] / 2
    assert polite.speeds_mps[0] < 0.2
    assert 1.5 < along - front < 6.0
    meet = replace(setting.encounters, yields=np.zeros_like(setting.encounters.yields))
    rude = drive(replace(setting, encounters=meet), state, someone_at((-1e3, 0)), waiting, 15)[-1]
    assert rude.along_m[0] > along + 5.0


@pytest.mark.parametrize(
    ("before_m", "speed_mps", "brakes", "green", "clear"),
    [
        (150.0, 8.0, False, True, True),
        (45.0, 8.0, False, True, False),
        (45.0, 8.0, True, True, True),
        (45.0, 8.0, False, False, True),
        (12.0, 0.5, False, True, True),
        (-20.0, 8.0, False, True, True),
    ],
)
def test_a_gap_is_taken_when_the_car_is_far_or_gives_way_or_has_red_or_is_past(
    setting_and_world, before_m, speed_mps, brakes, green, clear
):
    setting, world = setting_and_world
    crossing, along = first_crossing(setting)
    state = alone(setting, world, along - before_m, speed_mps)
    state = replace(state, accelerations_mps2=np.full(len(state.active), -1.0 * brakes))
    crowd = crowd_on([[(0, 0), (60, 0)]])
    found = traffic.outlook(
        setting.fleet, state, setting.encounters, crowd, setting.crossings,
        intent_at(crossing, 0.5), np.zeros(1), np.full(len(state.active), green),
    )  # fmt: skip
    assert found.clear.tolist() == [clear]


def test_danger_is_measured_to_the_lane_of_a_car_that_cannot_stop(setting_and_world):
    setting, world = setting_and_world
    crossing, along = first_crossing(setting)
    meet = setting.encounters
    share = meet.share[(meet.vehicle == 0) & (meet.crossing == crossing)][0]
    width = np.hypot(*np.diff(setting.crossings.lines_m[crossing], axis=0)[0])
    crowd = crowd_on([[(0, 0), (60, 0)]])
    for speed_mps, expected in ((9.0, share * width - 1.0 - 1.5), (1.0, np.inf)):
        state = alone(setting, world, along - 12.0, speed_mps)
        on_road = intent_at(crossing, -1.0, progress=1.0 / width)
        found = traffic.outlook(
            setting.fleet, state, replace(meet, yields=np.zeros_like(meet.yields)), crowd,
            setting.crossings, on_road, np.zeros(1), np.ones(len(state.active), bool),
        )  # fmt: skip
        assert found.danger_m[0] == pytest.approx(expected)


def test_a_driver_stops_at_a_red_light_unless_it_is_too_late(setting_and_world):
    setting, world = setting_and_world
    line = setting.fleet.connector_spans_m[0, 0, 0]
    nobody = someone_at((-1e3, 0))
    stopped = drive(setting, alone(setting, world, line - 30.0, 7.0), nobody, NOBODY, 15, False)[-1]
    front = stopped.along_m[0] + setting.fleet.sizes_m[0, 0] / 2
    assert stopped.speeds_mps[0] < 0.1
    assert 0.0 < line - front < 3.0
    late = drive(setting, alone(setting, world, line - 5.0, 9.0), nobody, NOBODY, 5, False)[-1]
    assert late.along_m[0] > line + 5.0


def test_a_bus_halts_at_its_stop_and_goes_on(setting_and_world):
    setting, world = setting_and_world
    halts, waits = np.full((2, len(setting.fleet.routes)), np.inf)
    halts[0], waits[0] = 60.0, 5.0
    setting = replace(setting, fleet=replace(setting.fleet, halts_m=halts, halts_s=waits))
    states = drive(setting, alone(setting, world, 20.0, 7.0), someone_at((-1e3, 0)), NOBODY, 30)
    along = np.array([s.along_m[0] for s in states])
    standing = np.array([s.speeds_mps[0] for s in states]) < 0.3
    assert 4.5 < 0.1 * standing.sum() < 9.0
    assert np.abs(along[standing] - 60.0).max() < 1.5
    assert along[-1] > 80.0


@pytest.mark.parametrize("green", [True, False])
def test_the_second_at_a_junction_waits_for_the_first_unless_that_one_has_red(
    setting_and_world, green
):
    setting, _ = setting_and_world
    fleet = setting.fleet
    lanes = np.argwhere(fleet.conflicts)[0]
    count = len(fleet.routes)
    connectors = np.full_like(fleet.connectors, -1)
    connectors[0, 0], connectors[1, 0] = lanes
    spans = np.full_like(fleet.connector_spans_m, np.inf)
    spans[:2, 0] = [50.0, 70.0]
    fleet = replace(fleet, connectors=connectors, connector_spans_m=spans)
    along = np.full(count, 0.0)
    along[0], along[1] = 30.0, 35.0
    state = traffic.TrafficState(
        along,
        np.full(count, 8.0),
        np.zeros(count),
        np.zeros((count, 3)),
        np.arange(count) < 2,
        np.zeros(count),
    )
    lights = np.where(np.arange(count) == 1, green, True)
    gaps = traffic._junctions(fleet, state, lights)
    assert np.isinf(gaps[1])
    expected = 50.0 - 30.0 - fleet.sizes_m[0, 0] / 2
    assert gaps[0] == pytest.approx(expected if green else np.inf)


def test_an_ego_plan_replaces_the_driver(setting_and_world):
    setting, world = setting_and_world
    pose = world.traffic.poses[0] + [0.3, 0.0, 0.0]
    moved = simulate.step(setting, world, ego_pose=pose)
    assert moved.traffic.poses[0] == pytest.approx(pose)
    assert moved.traffic.speeds_mps[0] == pytest.approx(3.0)
