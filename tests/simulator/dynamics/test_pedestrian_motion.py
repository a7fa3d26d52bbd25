from dataclasses import replace

import numpy as np
import pytest

from forecast.simulator import random_numbers, routes
from forecast.simulator.dynamics import pedestrian_motion
from forecast.simulator.population.pedestrians import Crossings, Crowd

NO_CARS = np.zeros((0, 3)), np.zeros((0, 2))
LINE = Crossings(np.array([[[10.0, -10.0], [10.0, 10.0]]]), np.array([True]))


def crowd_on(lines, laterals=None, leaders=None, **changes):
    """People with a preferred speed of 1.3 m/s on straight routes, without habits."""
    packed, lengths = routes.pack([routes.sample(np.array(line, float)) for line in lines])
    count = len(lines)
    fields = {
        "keys": random_numbers.agent_keys(0, 0, count),
        "leaders": np.arange(count) if leaders is None else np.array(leaders),
        "categories": np.full(count, "human.pedestrian.adult"),
        "sizes_m": np.full((count, 3), 0.7),
        "speeds_mps": np.full(count, 1.3),
        "routes": packed,
        "lengths_m": lengths,
        "laterals_m": np.zeros(count) if laterals is None else np.array(laterals),
        "sits": np.zeros(count, bool),
        "pushes": np.zeros(count, bool),
        "begins_m": np.zeros(count),
        "stands_s": np.zeros(count),
        "stops_hz": np.zeros(count),
        "holds_s": np.full(count, 4.0),
        "crossings": np.full((count, 1), -1),
        "kerbs_m": np.full((count, 1, 2), np.inf),
        "forward": np.ones((count, 1), bool),
        "margins_s": np.ones(count),
        "hesitates_s": np.full(count, 0.3),
        "patience_s": np.full(count, np.inf),
        "obeys": np.ones(count, bool),
    }
    return Crowd(**(fields | changes))


def walk(crowd, seconds, clear=True, danger_m=np.inf, green=True, cars=NO_CARS, start=None):
    """States every 0.1 s, the first one included."""
    states = [start or pedestrian_motion.initial_state(crowd)]
    count = len(crowd.keys)
    gaps = pedestrian_motion.CrossingGaps(np.full(count, clear), np.full(count, danger_m))
    for index in range(round(seconds / 0.1)):
        intent = pedestrian_motion.crossing_intents(crowd, LINE, states[-1], np.array([green]))
        states.append(
            pedestrian_motion.step_pedestrians(crowd, states[-1], intent, gaps, *cars, index, 0.1)
        )
    return states


ACROSS = {"crossings": np.array([[0]]), "kerbs_m": np.array([[[10.0, 20.0]]])}
"""The route of a person who walks 10 m to the kerb of `LINE` and then over it."""


def test_someone_alone_walks_on_at_about_the_preferred_speed():
    crowd = crowd_on([[(0, 5.0 * i), (60, 5.0 * i)] for i in range(30)])
    states = walk(crowd, 20)
    speed = (states[-1].positions_m - states[0].positions_m)[:, 0] / 20
    assert speed.mean() == pytest.approx(1.3, rel=0.08)
    assert 0.02 < speed.std() < 0.25


def test_two_who_meet_pass_each_other():
    crowd = crowd_on([[(0, 0), (40, 0)], [(20, 0.05), (-20, 0.05)]])
    states = walk(crowd, 14)
    apart = [np.hypot(*np.diff(s.positions_m, axis=0)[0]) for s in states]
    assert min(apart) > 0.4
    assert states[-1].along_m.min() > 14.0


def test_a_group_stays_together_and_others_do_not():
    lines = [[(0, 0), (80, 0)]] * 2
    speeds = np.array([1.0, 1.5])
    group = walk(crowd_on(lines, [-0.4, 0.4], [0, 0], speeds_mps=speeds), 20)[-1]
    strangers = walk(crowd_on(lines, [-0.4, 0.4], [0, 1], speeds_mps=speeds), 20)[-1]
    assert abs(np.diff(group.along_m))[0] < 2.0
    assert abs(np.diff(strangers.along_m))[0] > 4.0


def test_people_wait_at_the_kerb_until_there_is_a_gap():
    crowd = crowd_on([[(10, -20), (10, 40)]], **ACROSS)
    waiting = walk(crowd, 15, clear=False)[-1]
    assert 8.5 < waiting.along_m[0] < 10.0
    assert waiting.waited_s[0] > 3.0
    assert np.hypot(*waiting.velocities_mps[0]) < 0.2
    across = walk(crowd, 18, clear=True)[-1]
    assert across.along_m[0] > 20.0


@pytest.mark.parametrize(("obeys", "crosses"), [(True, False), (False, True)])
def test_a_red_light_stops_those_who_obey_it(obeys, crosses):
    crowd = crowd_on([[(10, -20), (10, 40)]], **ACROSS, obeys=np.array([obeys]))
    assert (walk(crowd, 18, green=False)[-1].along_m[0] > 20.0) == crosses


def test_pedestrians_without_patience_turn_back_at_the_kerb():
    crowd = crowd_on([[(10, -20), (10, 40)]], **ACROSS, patience_s=np.array([4.0]))
    states = walk(crowd, 17, clear=False)
    assert states[-1].direction[0] == -1
    assert max(s.along_m[0] for s in states) > 8.5
    assert states[-1].along_m[0] < 5.0
    assert abs(states[-1].headings_rad[0] + np.pi / 2) < 0.6


def test_pedestrians_near_the_kerb_step_back_from_a_car_that_does_not_stop():
    crowd = crowd_on([[(10, -20), (10, 40)]], **ACROSS)
    on_road = next(s for s in walk(crowd, 18) if s.along_m[0] > 10.6)
    assert on_road.decided[0] == 1
    frightened = walk(crowd, 4, clear=False, danger_m=2.0, start=on_road)
    assert frightened[-1].decided[0] == 0
    assert frightened[-1].along_m[0] < 10.0
    assert walk(crowd, 4, start=on_road)[-1].along_m[0] > 14.0


@pytest.mark.parametrize(("danger_m", "slower"), [(1.0, True), (0.2, False)])
def test_in_the_middle_of_the_road_people_wait_for_a_car_or_hurry_out_of_its_way(danger_m, slower):
    crowd = crowd_on([[(10, -20), (10, 40)]], **ACROSS)
    on_road = next(s for s in walk(crowd, 18) if s.along_m[0] > 13.0)
    calm = walk(crowd, 1.5, start=on_road)[-1].along_m[0]
    afraid = walk(crowd, 1.5, clear=False, danger_m=danger_m, start=on_road)[-1].along_m[0]
    assert afraid < calm - 0.5 if slower else afraid > calm + 0.3


def test_a_group_waits_until_all_have_a_gap():
    crossing = {"crossings": np.zeros((2, 1), int), "kerbs_m": np.array([[[10.0, 20.0]]] * 2)}
    crowd = crowd_on([[(10, -20), (10, 40)]] * 2, [-0.4, 0.4], [0, 0], **crossing)
    state = pedestrian_motion.initial_state(crowd)
    for index in range(150):
        intent = pedestrian_motion.crossing_intents(crowd, LINE, state, np.array([True]))
        gaps = pedestrian_motion.CrossingGaps(np.array([True, False]), np.full(2, np.inf))
        state = pedestrian_motion.step_pedestrians(crowd, state, intent, gaps, *NO_CARS, index, 0.1)
    assert state.along_m.max() < 10.3


def test_a_stop_ends_and_standing_people_stay():
    crowd = crowd_on([[(0, 0), (60, 0)], [(0, 20), (60, 20)]], stands_s=np.array([4.0, np.inf]))
    states = walk(crowd, 20)
    speeds = np.array([np.hypot(*s.velocities_mps[0]) for s in states])
    assert (speeds[:40] < 0.05).all()
    assert states[-1].along_m[0] > 15.0
    assert np.hypot(*(states[-1].positions_m[1] - states[0].positions_m[1])) < 0.01


def test_pedestrians_stop_at_random_on_the_way():
    lines = [[(0, 5.0 * i), (80, 5.0 * i)] for i in range(20)]
    states = walk(crowd_on(lines, stops_hz=np.full(20, 0.1)), 20)
    standing = np.array([np.hypot(*s.velocities_mps.T) < 0.05 for s in states])
    assert 0.1 < standing.mean() < 0.5
    assert states[-1].idle_s.max() > 0


def test_between_changes_of_course_people_walk_perfectly_straight():
    lines = [[(0, 5.0 * i), (80, 5.0 * i)] for i in range(40)]
    states = walk(crowd_on(lines), 20)
    velocity = np.array([s.velocities_mps for s in states])
    change = np.hypot(*np.diff(velocity, axis=0).transpose(2, 0, 1)) / 0.1
    assert (change < 0.01).mean() > 0.3
    assert np.percentile(change, 99) > 0.5


def test_people_walk_around_a_parked_car():
    car = np.array([[15.0, -0.6, 0.0]]), np.array([[4.5, 1.9]])
    crowd = crowd_on([[(0, 0), (40, 0)]], laterals=[0.8])
    states = walk(crowd, 25, cars=car)
    inside = [
        abs(x - 15.0) < 2.25 and abs(y + 0.6) < 0.95 for x, y in (s.positions_m[0] for s in states)
    ]
    assert not any(inside)
    assert states[-1].along_m[0] > 20.0


def test_progress_over_the_crossing_counts_from_the_starting_kerb():
    crowd = crowd_on(
        [[(10, 20), (10, -40)]],
        crossings=np.array([[0]]),
        kerbs_m=np.array([[[10.0, 30.0]]]),
        forward=np.array([[False]]),
    )
    state = pedestrian_motion.initial_state(crowd)
    at_kerb = pedestrian_motion.crossing_intents(crowd, LINE, state, np.array([True]))
    assert at_kerb.distance_m[0] == pytest.approx(10.0)
    assert not at_kerb.close[0]
    half = replace(state, along_m=np.array([20.0]), positions_m=np.array([[10.0, 0.0]]))
    under_way = pedestrian_motion.crossing_intents(crowd, LINE, half, np.array([True]))
    assert under_way.crossing[0] == 0
    assert under_way.progress[0] == pytest.approx(0.5)
    over = replace(state, along_m=np.array([31.0]))
    assert pedestrian_motion.crossing_intents(crowd, LINE, over, np.array([True])).crossing[0] == -1
