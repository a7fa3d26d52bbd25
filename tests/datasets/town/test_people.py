from dataclasses import replace

import numpy as np
import pytest

from forecast.datasets.town import people, routes, streams
from forecast.datasets.town.crowd import Crossings, Crowd

NO_CARS = np.zeros((0, 3)), np.zeros((0, 2))
LINE = Crossings(np.array([[[10.0, -10.0], [10.0, 10.0]]]), np.array([True]))


def crowd_on(lines, laterals=None, leaders=None, **changes):
    """People with a preferred speed of 1.3 m/s on straight routes, without habits."""
    packed, lengths = routes.pack([routes.sample(np.array(line, float)) for line in lines])
    count = len(lines)
    fields = {
        "keys": streams.agent_keys(0, 0, count),
        "leaders": np.arange(count) if leaders is None else np.array(leaders),
        "categories": np.full(count, "human.pedestrian.adult"),
        "sizes_m": np.full((count, 3), 0.7),
        "speeds_mps": np.full(count, 1.3),
        "routes": packed,
        "lengths_m": lengths,
        "laterals_m": np.zeros(count) if laterals is None else np.array(laterals),
        "pauses_m": np.full(count, np.inf),
        "pauses_s": np.zeros(count),
        "crossings": np.full((count, 1), -1),
        "kerbs_m": np.full((count, 1, 2), np.inf),
        "forward": np.ones((count, 1), bool),
        "margins_s": np.ones(count),
    }
    return Crowd(**(fields | changes))


def walk(crowd, seconds, clear=True, cars=NO_CARS):
    """States every 0.1 s, the first one included."""
    states = [people.begin(crowd)]
    for index in range(round(seconds / 0.1)):
        intent = people.intents(crowd, LINE, states[-1])
        gaps = np.full(len(crowd.keys), clear)
        states.append(people.step(crowd, states[-1], intent, gaps, *cars, index, 0.1))
    return states


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


def test_a_group_stays_together_and_strangers_do_not():
    lines = [[(0, 0), (80, 0)]] * 2
    speeds = np.array([1.0, 1.5])
    group = walk(crowd_on(lines, [-0.4, 0.4], [0, 0], speeds_mps=speeds), 20)[-1]
    strangers = walk(crowd_on(lines, [-0.4, 0.4], [0, 1], speeds_mps=speeds), 20)[-1]
    assert abs(np.diff(group.along_m))[0] < 2.0
    assert abs(np.diff(strangers.along_m))[0] > 4.0


def test_people_wait_at_the_kerb_until_there_is_a_gap():
    crossing = {
        "crossings": np.array([[0]]),
        "kerbs_m": np.array([[[10.0, 20.0]]]),
    }
    crowd = crowd_on([[(10, -20), (10, 40)]], **crossing)
    waiting = walk(crowd, 15, clear=False)[-1]
    assert 8.5 < waiting.along_m[0] < 10.0
    assert waiting.waited_s[0] > 3.0
    assert np.hypot(*waiting.velocities_mps[0]) < 0.2
    across = walk(crowd, 18, clear=True)[-1]
    assert across.along_m[0] > 20.0


def test_a_group_waits_until_all_have_a_gap():
    crossing = {"crossings": np.zeros((2, 1), int), "kerbs_m": np.array([[[10.0, 20.0]]] * 2)}
    crowd = crowd_on([[(10, -20), (10, 40)]] * 2, [-0.4, 0.4], [0, 0], **crossing)
    state = people.begin(crowd)
    for index in range(150):
        intent = people.intents(crowd, LINE, state)
        gaps = np.array([True, False])
        state = people.step(crowd, state, intent, gaps, *NO_CARS, index, 0.1)
    assert state.along_m.max() < 10.3


def test_a_pause_ends_and_standing_people_stay():
    crowd = crowd_on(
        [[(0, 0), (60, 0)], [(0, 20), (60, 20)]],
        pauses_m=np.array([5.0, 0.0]),
        pauses_s=np.array([4.0, np.inf]),
    )
    states = walk(crowd, 20)
    speeds = np.array([np.hypot(*s.velocities_mps[0]) for s in states])
    assert (speeds < 0.2).sum() > 20
    assert states[-1].along_m[0] > 15.0
    assert np.hypot(*(states[-1].positions_m[1] - states[0].positions_m[1])) < 0.5


def test_people_walk_around_a_parked_car():
    car = np.array([[15.0, -0.6, 0.0]]), np.array([[4.5, 1.9]])
    crowd = crowd_on([[(0, 0), (40, 0)]], laterals=[0.8])
    states = walk(crowd, 25, cars=car)
    inside = [
        abs(x - 15.0) < 2.25 and abs(y + 0.6) < 0.95 for x, y in (s.positions_m[0] for s in states)
    ]
    assert not any(inside)
    assert states[-1].along_m[0] > 20.0


def test_progress_over_the_crossing_counts_from_the_kerb_walked_from():
    crowd = crowd_on(
        [[(10, 20), (10, -40)]],
        crossings=np.array([[0]]),
        kerbs_m=np.array([[[10.0, 30.0]]]),
        forward=np.array([[False]]),
    )
    state = people.begin(crowd)
    at_kerb = people.intents(crowd, LINE, state)
    assert at_kerb.distance_m[0] == pytest.approx(10.0)
    assert not at_kerb.close[0]
    half = replace(state, along_m=np.array([20.0]), positions_m=np.array([[10.0, 0.0]]))
    under_way = people.intents(crowd, LINE, half)
    assert under_way.crossing[0] == 0
    assert under_way.progress[0] == pytest.approx(0.5)
    over = replace(state, along_m=np.array([31.0]))
    assert people.intents(crowd, LINE, over).crossing[0] == -1
