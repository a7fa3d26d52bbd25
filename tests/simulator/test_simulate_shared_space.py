"""Scenes of shared space as a whole, as `test_simulate` has them for streets."""

import copy

import numpy as np
import pytest

from forecast.simulator import boxes, simulate
from forecast.simulator.map.places import build_place, location_of
from tests.simulator.test_simulate import arrays

SCENES, SEED = 3, 11


@pytest.fixture(scope="module")
def runs():
    """The scenario of a scene in each place, and its state at every step."""
    result = []
    for scene in range(SCENES):
        place, _ = build_place(location_of(scene, "shared_space"), SEED)
        scenario, state = simulate.draw_scenario(place, SEED, scene)
        result.append((scenario, simulate.simulate_frames(scenario, state)))
    return result


def test_a_kept_state_continues_as_before_and_is_not_modified(runs):
    scenario, states = runs[0]
    before = copy.deepcopy(arrays(states[3]))
    again = simulate.simulate_frames(scenario, states[3], 5)[-1]
    for name, value in arrays(again).items():
        assert np.array_equal(value, arrays(states[23])[name]), name
    for name, value in arrays(states[3]).items():
        assert np.array_equal(value, before[name]), name


def test_people_out_of_reach_of_the_ego_do_not_change_with_its_plan(runs):
    """They stay the same to the last bit, and all random numbers do."""
    unmoved = changed = 0
    for scenario, states in runs:
        state, other = states[0], states[0]
        away = np.array([-500.0, -500.0, 0.0])
        far = np.hypot(*(state.pedestrians.positions_m - state.vehicles.poses[0, :2]).T) > 35.0
        for _ in range(10):
            state = simulate.step(scenario, state)
            other = simulate.step(scenario, other, ego_pose=away)
        assert np.array_equal(state.pedestrians.drift, other.pedestrians.drift)
        at, moved = state.pedestrians.positions_m, other.pedestrians.positions_m
        assert np.array_equal(at[far], moved[far])
        changed += int((at != moved).any(1).sum())
        unmoved += int(far.sum())
    assert unmoved > 5
    assert changed > 0


def test_the_ego_stops_with_plan_stop_and_lets_nobody_go_first_with_plan_hurry(runs):
    ends = {}
    for scenario, states in runs:
        for plan in simulate.EGO_PLANS:
            other = simulate.with_ego_plan(scenario, plan)
            end = simulate.simulate_frames(other, states[20], 13)[-1]
            ends.setdefault(plan, []).append(float(end.vehicles.along_m[0]))
            courtesy = other.fleet.yield_probability
            assert (courtesy[0] == 0) == (plan == "hurry")
            assert np.array_equal(courtesy[1:], scenario.fleet.yield_probability[1:])
            if plan == "stop":
                assert end.vehicles.speeds_mps[0] < 0.3
    assert sum(ends["stop"]) < sum(ends["slow"]) < sum(ends["hurry"])


def test_nobody_is_driven_over_and_vehicles_move_on(runs):
    total = touching = inside = hit = 0
    for scenario, states in runs:
        fleet, walls = scenario.fleet, scenario.district.shared.walls
        for state in states[:: simulate.FRAME_STEPS]:
            at, here = state.pedestrians.positions_m, state.vehicles.active
            cars, sizes = state.vehicles.poses[here], fleet.sizes_m[here, :2]
            apart = np.hypot(*(at[:, None] - at).transpose(2, 0, 1)) + 9 * np.eye(len(at))
            poses = np.concatenate([cars, fleet.parked_poses, walls[0]])
            lengths = np.concatenate([sizes, fleet.parked_sizes_m[:, :2], walls[1]])
            total += len(at)
            touching += int((apart.min(1) < 0.35).sum())
            inside += int((boxes.distances(at[:, None], poses, lengths) < 0).any(1).sum())
            gaps = boxes.distances(cars[:, None, :2], cars, sizes) + 99 * np.eye(len(cars))
            hit += int((gaps < 0).sum())
        moved = states[-1].vehicles.along_m - states[0].vehicles.along_m
        assert moved.mean() > 10
    assert touching / total < 0.005
    assert inside / total < 0.003
    assert hit == 0
