import copy
import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from forecast.scene import AgentKind, Scene
from forecast.simulator import boxes, realism, simulate
from forecast.simulator.decisions import decisions
from forecast.simulator.dynamics import pedestrian_motion, vehicle_motion
from forecast.simulator.export.recording import record
from forecast.simulator.map import layouts, traffic_lights
from forecast.simulator.map.district import build_district

pytestmark = pytest.mark.slow

SCENES = 8


@pytest.fixture(scope="module")
def runs():
    """The scenario of each of a few scenes, and its state at every step."""
    result = []
    for scene in range(SCENES):
        location = layouts.LOCATIONS[scene % 4]
        scenario, state = simulate.draw_scenario(
            build_district(layouts.layout_of(location, 11)), 11, scene
        )
        result.append((scenario, simulate.simulate_frames(scenario, state)))
    return result


def arrays(state):
    return {
        f"{part}.{field.name}": getattr(getattr(state, part), field.name)
        for part in ("pedestrians", "vehicles")
        for field in dataclasses.fields(getattr(state, part))
    }


def test_a_kept_state_continues_as_before_and_is_not_modified(runs):
    scenario, states = runs[0]
    before = copy.deepcopy(arrays(states[3]))
    again = simulate.simulate_frames(scenario, states[3], 5)[-1]
    for name, value in arrays(again).items():
        assert np.array_equal(value, arrays(states[23])[name]), name
    for name, value in arrays(states[3]).items():
        assert np.array_equal(value, before[name]), name


def test_pedestrians_out_of_reach_of_the_ego_do_not_change_with_its_plan(runs):
    """Pedestrians that the ego cannot have influenced stay the same to the last bit."""
    unmoved = 0
    for scenario, states in runs[:3]:
        state, other = states[0], states[0]
        away = np.array([-500.0, -500.0, 0.0])
        anywhere = np.ones(len(scenario.crossings.marked), bool)
        far = np.hypot(*(state.pedestrians.positions_m - state.vehicles.poses[0, :2]).T) > 25.0
        for _ in range(10):
            intent = pedestrian_motion.crossing_intents(
                scenario.crowd, scenario.crossings, state.pedestrians, anywhere
            )
            # Pedestrians who are about to cross react to the ego over a longer distance.
            far &= ~pedestrian_motion._any_of_group(scenario.crowd, intent.close)
            state = simulate.step(scenario, state)
            other = simulate.step(scenario, other, ego_pose=away)
        assert np.array_equal(state.pedestrians.drift, other.pedestrians.drift)
        assert np.array_equal(
            state.pedestrians.positions_m[far], other.pedestrians.positions_m[far]
        )
        unmoved += int(far.sum())
    assert unmoved > 10


def test_the_ego_stops_with_plan_stop_and_goes_further_with_plan_hurry(runs):
    ends = {}
    for scenario, states in runs[:4]:
        for plan in simulate.EGO_PLANS:
            end = simulate.simulate_frames(simulate.with_ego_plan(scenario, plan), states[20], 13)[
                -1
            ]
            ends.setdefault(plan, []).append(float(end.vehicles.along_m[0]))
            if plan == "stop":
                assert end.vehicles.speeds_mps[0] < 0.3
    assert sum(ends["stop"]) < sum(ends["slow"]) < sum(ends["hurry"])


def test_pedestrians_rarely_overlap_each_other_or_vehicles(runs):
    total = touching = inside = 0
    for scenario, states in runs:
        fleet = scenario.fleet
        for state in states[:: simulate.FRAME_STEPS]:
            at, cars = state.pedestrians.positions_m, state.vehicles.poses[state.vehicles.active]
            apart = np.hypot(*(at[:, None] - at).transpose(2, 0, 1)) + 9 * np.eye(len(at))
            poses = np.concatenate([cars, fleet.parked_poses])
            sizes = np.concatenate([fleet.sizes_m[state.vehicles.active], fleet.parked_sizes_m])
            distance = boxes.distances(at[:, None], poses, sizes[:, :2])
            total += len(at)
            touching += int((apart.min(1) < 0.35).sum())
            inside += int((distance < 0).any(1).sum())
    assert touching / total < 0.005
    assert inside / total < 0.001


def test_vehicles_do_not_drive_through_each_other(runs):
    total = hit = 0
    for scenario, states in runs:
        for state in states[:: simulate.FRAME_STEPS]:
            poses = state.vehicles.poses[state.vehicles.active]
            sizes = scenario.fleet.sizes_m[state.vehicles.active, :2]
            distance = boxes.distances(poses[:, None, :2], poses, sizes) + 99 * np.eye(len(poses))
            total += len(poses)
            hit += int((distance.min(1) < 0).sum())
    assert hit / total < 0.01


def test_people_use_crosswalks_and_drivers_stop_for_them(runs):
    crossed = stopped = 0
    for scenario, states in runs:
        over = states[-1].pedestrians.along_m[:, None] > scenario.crowd.kerbs_m[..., 1]
        began = states[0].pedestrians.along_m[:, None] > scenario.crowd.kerbs_m[..., 1]
        crossed += int((over & ~began).sum())
        stopped += int((np.array([w.vehicles.speeds_mps for w in states]) < 0.3).any(0).sum())
    assert crossed > 3 * SCENES
    assert stopped > SCENES


def test_no_vehicle_enters_a_junction_at_red(runs):
    scenario, states = runs[0]
    ran = 0
    for before, after in pairwise(states):
        time_s = simulate.DT_S * before.index
        lanes = vehicle_motion.next_lanes(scenario.fleet, before.vehicles)
        red = ~traffic_lights.may_drive(scenario.lights, lanes, time_s - traffic_lights.AMBER_S)
        red &= ~traffic_lights.may_drive(scenario.lights, lanes, time_s)
        begins = vehicle_motion._next_connector(scenario.fleet, before.vehicles)[1]
        half = scenario.fleet.sizes_m[:, 0] / 2
        enters = (before.vehicles.along_m + half < begins) & (
            after.vehicles.along_m + half > begins
        )
        ran += int((enters & red & (lanes >= 0)).sum())
    assert ran == 0


def test_pedestrians_are_as_hard_to_extrapolate_as_those_of_nuscenes(runs):
    scenes = []
    for scenario, states in runs:
        seen = record(scenario, states)
        walk = np.char.startswith(seen.categories, "human.")
        positions = seen.poses[walk, :, :2]
        scenes.append(
            Scene.from_arrays(positions, [AgentKind.PEDESTRIAN] * len(positions), 0.5,
                              valid=seen.seen[walk], origin_m=seen.ego[0, :2])
        )  # fmt: skip
    motion = realism.measure(scenes)
    # nuScenes v1.0-mini, all scenes; six scenes of the city scatter by some 10 %.
    assert motion.samples["cv_3s"].mean() == pytest.approx(0.656, rel=0.3)
    assert motion.samples["cv_6s"].mean() == pytest.approx(1.661, rel=0.3)
    assert motion.shares["stands"] == pytest.approx(0.26, abs=0.15)
    assert motion.shares["straight"] == pytest.approx(0.33, abs=0.12)
    assert np.percentile(motion.samples["acceleration"], 99) == pytest.approx(1.78, rel=0.35)


@pytest.mark.parametrize("plan", ["stop", "slow", "hurry"])
def test_people_do_not_know_what_the_ego_is_about_to_do(runs, plan) -> None:
    """From the same state, under any plan of the ego, everybody has decided the same."""
    for scenario, states in runs:
        other = simulate.with_ego_plan(scenario, plan)
        for state in states[::25]:
            made = decisions(scenario, state).made
            np.testing.assert_array_equal(decisions(other, state).made, made)
