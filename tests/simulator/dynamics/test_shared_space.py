import dataclasses

import numpy as np
import pytest

from forecast.simulator import routes
from forecast.simulator.dynamics import pedestrian_motion, shared_space
from forecast.simulator.dynamics.shared_space import Traits, negotiate, step_drivers
from forecast.simulator.dynamics.vehicle_motion import VehicleState
from forecast.simulator.population.vehicles import Fleet
from tests.simulator.dynamics.test_pedestrian_motion import crowd_on

CART_M = (2.5, 1.25, 1.8)


def carts(*speeds):
    """Carts that drive east along y = 0, each 30 m behind the one before."""
    count = len(speeds)
    line = routes.sample(np.array([[-100.0, 0.0], [100.0, 0.0]]))
    packed, lengths = routes.pack([line] * count)
    none = np.full(count, np.inf)
    empty = np.zeros((0, 3))
    fleet = Fleet(
        categories=np.full(count, "vehicle.car"),
        sizes_m=np.tile(CART_M, (count, 1)),
        routes=packed,
        limits_mps=np.full(packed.shape[:2], 9.0),
        lengths_m=lengths,
        starts_m=100.0 - 30.0 * np.arange(count),
        halts_m=none,
        halts_s=np.zeros(count),
        speeds_mps=np.array(speeds, float),
        headways_s=np.ones(count),
        yield_probability=np.full(count, 0.5),
        connectors=np.full((count, 1), -1),
        connector_spans_m=np.full((count, 1, 2), np.inf),
        conflicts=np.zeros((0, 0), bool),
        parked_categories=np.zeros(0, "<U40"),
        parked_poses=empty,
        parked_sizes_m=empty,
        site=None,
        prop_categories=np.zeros(0, "<U40"),
        prop_poses=empty,
        prop_sizes_m=empty,
    )
    poses = routes.at(fleet.routes, fleet.starts_m)
    still = np.zeros(count)
    moving = np.array(speeds, float)
    state = VehicleState(fleet.starts_m, moving, still, poses, np.ones(count, bool), still)
    return fleet, state


def people(*rows):
    """People at positions with velocities (x, y, vx, vy), and average traits."""
    at = np.array(rows, float)
    ends = at[:, :2] + 30 * np.where(at[:, 2:].any(1, keepdims=True), at[:, 2:], [1.0, 0.0])
    crowd = crowd_on(np.stack([at[:, :2], ends], 1).tolist())
    state = pedestrian_motion.initial_state(crowd)
    velocities = at[:, 2:]
    state = dataclasses.replace(state, velocities_mps=velocities, course_mps=velocities)
    count = len(at)
    traits = Traits(
        comfort_m=np.full(count, 1.0),
        front_s=np.full(count, 5.0),
        behind_s=np.full(count, 3.0),
        bold_s=np.full(count, 0.5),
        side=np.ones(count),
        favour=np.full((count, 3), 0.4),
    )
    return crowd, traits, state


def reaction(person, speed=2.0, halted_s=0.0, idle_s=0.0):
    crowd, traits, state = people(person)
    fleet, vehicles = carts(speed)
    vehicles = dataclasses.replace(vehicles, halted_s=np.full(1, halted_s))
    state = dataclasses.replace(state, idle_s=np.full(1, idle_s))
    found = negotiate(crowd, traits, state, fleet, vehicles)
    return float(found.pace[0]), found.aside_mps[0]


def test_who_walks_towards_a_vehicle_steps_to_the_nearer_side():
    for side in (0.4, -0.4):
        pace, aside = reaction((10, side, -1.3, 0))
        assert pace == 1
        assert aside[1] * side > 0.1
    # half a cart, a body and the comfort is 1.925 m: nothing to do beyond
    assert not reaction((10, 2.0, -1.3, 0))[1].any()
    assert not reaction((10, 0.4, -1.3, 0), speed=-2.0)[1].any()


def test_a_vehicle_from_behind_is_noticed_later_than_one_in_view():
    # the front meets them in (x - 1.55 m) / (2 - 1 m/s)
    assert not reaction((5.0, 0.4, 1.0, 0))[1].any()
    assert reaction((4.0, 0.4, 1.0, 0))[1][1] > 0.1
    # and in (x - 1.55 m) / (2 + 1 m/s)
    assert reaction((12.0, 0.4, -1.0, 0))[1][1] > 0.1


def test_who_comes_first_to_the_crossing_goes_and_who_comes_late_yields():
    # the way begins at 1.325 m from the middle: 3 m take 1.3 s to it and 3.3 s over it
    assert reaction((12, -3, 0, 1.3))[0] == 1  # the cart comes after 5.2 s
    assert reaction((9, -3, 0, 1.3))[0] == pytest.approx(shared_space._HURRY)  # after 3.7 s
    pace, aside = reaction((5, -3, 0, 1.3))  # after 1.7 s; the rear is past after 3.3 s
    assert pace == pytest.approx((1.675 / 1.3) / (6.55 / 2 + 0.2))
    assert not aside.any()
    assert reaction((3.0, -3, 0, 1.3))[1][0] < 0  # walks on behind the cart
    assert reaction((5, 3, 0, 1.3))[0] == 1  # is past already


def test_who_stands_makes_room_for_a_vehicle_that_has_waited():
    assert not reaction((2.5, 0.3, 0, 0), speed=0.0, idle_s=5.0)[1].any()
    pace, aside = reaction((2.5, 0.3, 0, 0), speed=0.0, halted_s=2.0, idle_s=5.0)
    assert pace == 1
    assert aside[1] > 0.3


def test_people_may_cross_before_a_vehicle_that_stands():
    assert reaction((4, -2, 0, 1.3), speed=0.0, halted_s=2.0)[0] == 1


def drive(rows, seconds, speed=3.0, move=False, **fleet_changes):
    """The states of a cart for some seconds, among people who stand or walk straight on."""
    _, traits, state = people(*rows)
    fleet, vehicles = carts(speed)
    fleet = dataclasses.replace(fleet, **fleet_changes)
    states = [vehicles]
    for _ in range(round(seconds / 0.1)):
        states.append(step_drivers(traits, state, fleet, states[-1], 0.1))
        if move:
            moved = state.positions_m + 0.1 * state.velocities_mps
            state = dataclasses.replace(state, positions_m=moved)
    return states


def test_a_driver_stops_before_somebody_who_stands_in_the_way_and_creeps_up():
    states = drive([(12, 0, 0, 0)], 10)
    speeds = np.array([state.speeds_mps[0] for state in states])
    assert speeds[-1] < 0.35
    fronts = np.array([state.poses[0, 0] + 1.25 for state in states])
    assert fronts[50] < 11.1
    assert fronts.max() < 11.8


def test_a_driver_passes_slowly_and_steers_aside_where_it_is_narrow():
    alone, beside = drive([(12, 9, 0, 0)], 6), drive([(12, 1.15, 0, 0)], 6)
    assert alone[-1].poses[0] == pytest.approx([18, 0, 0], abs=0.2)
    assert 12 < beside[-1].poses[0, 0] < alone[-1].poses[0, 0] - 1
    offsets = [state.poses[0, 1] for state in beside]
    assert -0.6 <= min(offsets) < -0.05


def test_some_are_let_go_first():
    """Somebody comes into the way in 1.6 s; this driver lets the person go, or never does."""
    walker = [(9.0, -3.0, 0, 1.3)]
    lets, goes = (
        drive(walker, 0.6, move=True, yield_probability=np.array([share])) for share in (0.5, 0.0)
    )
    assert goes[-1].speeds_mps[0] > 2.9
    assert lets[-1].speeds_mps[0] < goes[-1].speeds_mps[0] - 0.2


def test_a_cart_follows_one_ahead_and_the_ego_is_where_it_was_driven():
    _, traits, state = people((0, 50, 0, 0))
    fleet, vehicles = carts(0.5, 4.0)
    places = []
    for _ in range(300):
        vehicles = step_drivers(traits, state, fleet, vehicles, 0.1)
        places.append(vehicles.poses[:, 0])
    assert 2.5 < places[-1][0] - places[-1][1] < 6
    assert (places[-1][1] - places[-101][1]) / 10 == pytest.approx(0.5, abs=0.15)
    pose = np.array([1.0, 2.0, 0.3])
    driven = step_drivers(traits, state, fleet, vehicles, 0.1, pose)
    assert driven.poses[0] == pytest.approx(pose)
    assert driven.along_m[0] == pytest.approx(101.0, abs=0.5)


def test_the_time_of_standing_grows_and_shrinks():
    halted = shared_space._halted(np.array([1.0, 1.0, 0.1]), np.array([0.0, 1.0, 1.0]), 0.1)
    assert halted == pytest.approx([1.1, 0.8, 0.0])


def test_traits_belong_to_a_person():
    crowd, _, _ = people((0, 0, 1, 0), (5, 0, 1, 0))
    both, second = (shared_space.draw_traits(keys, 2) for keys in (crowd.keys, crowd.keys[1:]))
    for name in ("comfort_m", "front_s", "behind_s", "bold_s", "side", "favour"):
        assert np.array_equal(getattr(both, name)[1:], getattr(second, name)), name
    assert set(both.side) <= {-1.0, 1.0}
