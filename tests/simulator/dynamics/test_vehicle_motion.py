from dataclasses import replace

import numpy as np
import pytest

from forecast.simulator import simulate
from forecast.simulator.dynamics import pedestrian_motion, vehicle_motion
from forecast.simulator.map import layouts
from forecast.simulator.map.district import build_district
from tests.simulator.dynamics.test_pedestrian_motion import crowd_on


@pytest.fixture(scope="module")
def scenario_and_state():
    return simulate.draw_scenario(build_district(layouts.layout_of("boston-seaport", 1)), 1, 0)


def alone(scenario, initial, along_m, speed_mps):
    """The ego at a place on its route, everybody else gone, one person far away."""
    fleet, state = scenario.fleet, initial.vehicles
    active = np.arange(len(state.active)) == 0
    along = np.where(active, along_m, state.along_m)
    poses = state.poses.copy()
    poses[0] = vehicle_motion.routes.at(fleet.routes, along)[0]
    speeds = np.where(active, speed_mps, 0.0)
    still = np.zeros(len(along))
    return vehicle_motion.VehicleState(along, speeds, still, poses, active, still)


def someone_at(point, velocity=(0.0, 0.0)):
    state = pedestrian_motion.initial_state(crowd_on([[(0, 0), (60, 0)]]))
    return replace(
        state, positions_m=np.array([point], float), velocities_mps=np.array([velocity], float)
    )


def intent_at(crossing, distance, progress=0.0):
    return pedestrian_motion.CrossingIntent(
        np.array([crossing]), np.array([distance]), np.array([progress]),
        np.array([True]), np.array([False]), np.array([distance < 4.0]), np.array([True]),
    )  # fmt: skip


NOBODY = intent_at(-1, np.inf)


def drive(scenario, state, walker, intent, seconds, green=True):
    states = [state]
    lights = np.full(len(state.active), green)
    for _ in range(round(seconds / 0.1)):
        states.append(
            vehicle_motion.step_vehicles(
                scenario.fleet, states[-1], scenario.conflict_points, scenario.crossings,
                walker, intent, lights, 0.1,
            )
        )  # fmt: skip
    return states


def test_a_free_driver_reaches_the_desired_speed(scenario_and_state):
    scenario, initial = scenario_and_state
    state = alone(scenario, initial, 0.0, 3.0)
    fleet = replace(scenario.fleet, limits_mps=np.full_like(scenario.fleet.limits_mps, 50.0))
    states = drive(replace(scenario, fleet=fleet), state, someone_at((-1e3, 0)), NOBODY, 20)
    speeds = np.array([s.speeds_mps[0] for s in states])
    assert speeds[-1] == pytest.approx(fleet.speeds_mps[0], rel=0.02)
    assert np.diff(speeds).max() <= 0.15 + 1e-9
    assert states[-1].along_m[0] == pytest.approx(0.1 * (speeds[1:] + speeds[:-1]).sum() / 2)


def test_a_driver_stops_for_someone_standing_in_the_lane(scenario_and_state):
    scenario, initial = scenario_and_state
    spot = vehicle_motion.routes.at(
        scenario.fleet.routes, np.full(len(scenario.fleet.routes), 40.0)
    )[0]
    states = drive(
        scenario, alone(scenario, initial, 5.0, 8.0), someone_at(spot[:2]), NOBODY, 15
    )  # fmt: skip
    assert states[-1].speeds_mps[0] < 0.1
    front = states[-1].along_m[0] + scenario.fleet.sizes_m[0, 0] / 2
    assert 1.0 < 40.0 - front < 5.0


def test_a_follower_keeps_behind_a_stopped_leader(scenario_and_state):
    scenario, initial = scenario_and_state
    fleet = scenario.fleet
    one_route = replace(
        fleet,
        routes=np.repeat(fleet.routes[:1], len(fleet.routes), 0),
        limits_mps=np.repeat(fleet.limits_mps[:1], len(fleet.routes), 0),
    )
    state = alone(scenario, initial, 5.0, 8.0)
    along = state.along_m.copy()
    along[1], active = 45.0, np.arange(len(along)) < 2
    state = replace(
        state, along_m=along, active=active, poses=vehicle_motion.routes.at(one_route.routes, along)
    )
    scenario = replace(
        scenario,
        fleet=replace(one_route, speeds_mps=fleet.speeds_mps * [1, *[0] * (len(along) - 1)]),
    )
    last = drive(scenario, state, someone_at((-1e3, 0)), NOBODY, 20)[-1]
    lengths = fleet.sizes_m[:2, 0]
    gap = last.along_m[1] - last.along_m[0] - lengths.sum() / 2
    assert last.speeds_mps[0] < 0.2
    assert 1.0 < gap < 4.0


def first_crossing(scenario):
    """The first marked crossing on the ego's route far enough to stop at, and where it is."""
    conflicts = scenario.conflict_points
    ours = (
        (conflicts.vehicle == 0)
        & scenario.crossings.marked[conflicts.crossing]
        & (conflicts.along_m > 30.0)
    )
    nearest = np.where(ours, conflicts.along_m, np.inf).argmin()
    return int(conflicts.crossing[nearest]), float(conflicts.along_m[nearest])


def test_a_yielding_driver_waits_before_the_crosswalk_and_another_does_not(scenario_and_state):
    scenario, initial = scenario_and_state
    crossing, along = first_crossing(scenario)
    state = alone(scenario, initial, along - 28.0, 7.0)
    waiting = intent_at(crossing, 1.0)
    polite = drive(scenario, state, someone_at((-1e3, 0)), waiting, 15)[-1]
    front = polite.along_m[0] + scenario.fleet.sizes_m[0, 0] / 2
    assert polite.speeds_mps[0] < 0.2
    assert 1.5 < along - front < 6.0
    conflicts = replace(
        scenario.conflict_points, yields=np.zeros_like(scenario.conflict_points.yields)
    )
    rude = drive(
        replace(scenario, conflict_points=conflicts), state, someone_at((-1e3, 0)), waiting, 15
    )[-1]
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
def test_a_gap_is_accepted_when_the_car_is_far_or_yields_or_has_red_or_has_passed(
    scenario_and_state, before_m, speed_mps, brakes, green, clear
):
    scenario, initial = scenario_and_state
    crossing, along = first_crossing(scenario)
    state = alone(scenario, initial, along - before_m, speed_mps)
    state = replace(state, accelerations_mps2=np.full(len(state.active), -1.0 * brakes))
    crowd = crowd_on([[(0, 0), (60, 0)]])
    found = vehicle_motion.crossing_gaps(
        scenario.fleet, state, scenario.conflict_points, crowd, scenario.crossings,
        intent_at(crossing, 0.5), np.zeros(1), np.full(len(state.active), green),
    )  # fmt: skip
    assert found.clear.tolist() == [clear]


def test_danger_is_measured_to_the_lane_of_a_car_that_cannot_stop(scenario_and_state):
    scenario, initial = scenario_and_state
    crossing, along = first_crossing(scenario)
    conflicts = scenario.conflict_points
    careless = replace(conflicts, yields=np.zeros_like(conflicts.yields))
    share = conflicts.share[(conflicts.vehicle == 0) & (conflicts.crossing == crossing)][0]
    width = np.hypot(*np.diff(scenario.crossings.lines_m[crossing], axis=0)[0])
    crowd = crowd_on([[(0, 0), (60, 0)]])
    for speed_mps, expected in ((9.0, share * width - 1.0 - 1.5), (1.0, np.inf)):
        state = alone(scenario, initial, along - 12.0, speed_mps)
        on_road = intent_at(crossing, -1.0, progress=1.0 / width)
        found = vehicle_motion.crossing_gaps(
            scenario.fleet, state, careless, crowd,
            scenario.crossings, on_road, np.zeros(1), np.ones(len(state.active), bool),
        )  # fmt: skip
        assert found.danger_m[0] == pytest.approx(expected)


def test_a_driver_stops_at_a_red_light_unless_it_is_too_late(scenario_and_state):
    scenario, initial = scenario_and_state
    line = scenario.fleet.connector_spans_m[0, 0, 0]
    nobody = someone_at((-1e3, 0))
    stopped = drive(
        scenario, alone(scenario, initial, line - 30.0, 7.0), nobody, NOBODY, 15, False
    )[-1]
    front = stopped.along_m[0] + scenario.fleet.sizes_m[0, 0] / 2
    assert stopped.speeds_mps[0] < 0.1
    assert 0.0 < line - front < 3.0
    late = drive(scenario, alone(scenario, initial, line - 5.0, 9.0), nobody, NOBODY, 5, False)[-1]
    assert late.along_m[0] > line + 5.0


def test_a_bus_halts_at_its_stop_and_goes_on(scenario_and_state):
    scenario, initial = scenario_and_state
    halts, waits = np.full((2, len(scenario.fleet.routes)), np.inf)
    halts[0], waits[0] = 60.0, 5.0
    scenario = replace(scenario, fleet=replace(scenario.fleet, halts_m=halts, halts_s=waits))
    states = drive(scenario, alone(scenario, initial, 20.0, 7.0), someone_at((-1e3, 0)), NOBODY, 30)
    along = np.array([s.along_m[0] for s in states])
    standing = np.array([s.speeds_mps[0] for s in states]) < 0.3
    assert 4.5 < 0.1 * standing.sum() < 9.0
    assert np.abs(along[standing] - 60.0).max() < 1.5
    assert along[-1] > 80.0


@pytest.mark.parametrize("green", [True, False])
def test_the_second_at_a_junction_waits_for_the_first_unless_that_one_has_red(
    scenario_and_state, green
):
    scenario, _ = scenario_and_state
    fleet = scenario.fleet
    lanes = np.argwhere(fleet.conflicts)[0]
    count = len(fleet.routes)
    connectors = np.full_like(fleet.connectors, -1)
    connectors[0, 0], connectors[1, 0] = lanes
    spans = np.full_like(fleet.connector_spans_m, np.inf)
    spans[:2, 0] = [50.0, 70.0]
    fleet = replace(fleet, connectors=connectors, connector_spans_m=spans)
    along = np.full(count, 0.0)
    along[0], along[1] = 30.0, 35.0
    state = vehicle_motion.VehicleState(
        along,
        np.full(count, 8.0),
        np.zeros(count),
        np.zeros((count, 3)),
        np.arange(count) < 2,
        np.zeros(count),
    )
    lights = np.where(np.arange(count) == 1, green, True)
    gaps = vehicle_motion._junctions(fleet, state, lights)
    assert np.isinf(gaps[1])
    expected = 50.0 - 30.0 - fleet.sizes_m[0, 0] / 2
    assert gaps[0] == pytest.approx(expected if green else np.inf)


def test_an_ego_plan_replaces_the_driver(scenario_and_state):
    scenario, initial = scenario_and_state
    pose = initial.vehicles.poses[0] + [0.3, 0.0, 0.0]
    moved = simulate.step(scenario, initial, ego_pose=pose)
    assert moved.vehicles.poses[0] == pytest.approx(pose)
    assert moved.vehicles.speeds_mps[0] == pytest.approx(3.0)
