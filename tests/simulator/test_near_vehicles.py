import numpy as np
import pytest

from forecast.scene import AgentKind, Scene
from forecast.simulator import near_vehicles

PERSON, VEHICLE, EGO = AgentKind.PEDESTRIAN, AgentKind.VEHICLE, AgentKind.EGO


def line(start, velocity, steps=9):
    return np.array(start, float) + 0.5 * np.arange(steps)[:, None] * np.array(velocity, float)


def measured(tracks, kinds):
    return near_vehicles.measure_near_vehicles([Scene.from_arrays(np.array(tracks), kinds, 0.5)])


def test_two_who_pass_each_other_by_hand():
    # They meet at x = 8 after 4 s; the sides of the way are 3 m apart.
    found = measured([line((12, 3), (-1, 0)), line((0, 0), (2, 0))], [PERSON, VEHICLE])
    assert found["closest"] == pytest.approx([3.0])
    assert found["speed_change"] == pytest.approx(0, abs=1e-5)
    assert found["aside"] == pytest.approx(0, abs=1e-5)
    # Within 10 m from 1 s on: 12 - 3 t < sqrt(100 - 9).
    assert found["speed"] == pytest.approx([1.0] * 7, abs=1e-5)
    assert found["vehicle_speed"] == pytest.approx([2.0] * 7, abs=1e-5)
    assert len(found["neighbour"]) == 0


def test_a_stop_and_a_step_to_the_side_by_hand():
    steps = np.array([[0, 0], [0.5, 0], [1, 0], [1.5, 0], [1.5, 0.8], [1.5, 0.8], [1.5, 0.8]])
    ego = line((5, 0), (-0.6, 0), 7)
    found = measured([steps, ego], [PERSON, EGO])
    # at 0.5, 1.0, 1.5 and 2.0 s at 1, 1, 1 and 1.6 m/s
    assert found["speed_change"] == pytest.approx([0.0, 0.6, -1.0, -1.6], abs=1e-4)
    assert found["aside"] == pytest.approx([0.8, 0.8], abs=1e-4)


def test_vehicles_that_stand_or_are_far_do_not_count():
    walker = line((0, 0), (1, 0))
    for start, velocity in (((2, 2), (0.4, 0)), ((40, 0), (1, 0))):
        found = measured([walker, line(start, velocity)], [PERSON, VEHICLE])
        assert not any(len(values) for values in found.values())


def test_people_who_walk_together_are_counted_by_distance_and_velocity():
    people = [line((0, y), velocity) for y, velocity in
              ((0, (1, 0)), (1, (1, 0)), (1.8, (-1, 0)))]  # fmt: skip
    found = measured([*people, line((0, -3), (1, 0))], [PERSON] * 3 + [VEHICLE])
    assert sorted(set(found["together"].tolist())) == [1.0, 2.0]
    assert found["neighbour"].min() == pytest.approx(1.0)


def test_the_table_has_the_distance_to_the_first_sample():
    found = measured([line((12, 3), (-1, 0)), line((0, 0), (2, 0))], [PERSON, VEHICLE])
    further = {**found, "closest": found["closest"] + 1.5}
    text = near_vehicles.near_table({"here": found, "there": further, "same": found})
    assert (
        "| closest approach of a person, m | 3.00 3.00 3.00 3.00 | 4.50 4.50 4.50 4.50, 1.500"
        in text
    )
    assert "| - | -, nan | -, nan |" in text
    assert len(text.splitlines()) == 2 + len(near_vehicles.QUANTITIES)
