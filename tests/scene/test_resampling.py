import numpy as np
import pytest

from forecast import AgentKind, Scene
from forecast.scene.resampling import Resampling, history

TENTH = 100_000
"""10 Hz, in microseconds."""


def at(wanted, valid, causal):
    """The resampling of records at 10 Hz to some times, all of them causal or not."""
    times = np.arange(len(valid[0])) * TENTH
    wanted = np.array(wanted) * TENTH
    marks = np.full(len(wanted), causal)
    return Resampling.at(wanted, times, np.array(valid, bool), 5 * TENTH, marks)


SQUARES = np.array([[0.0, 1, 4, 9, 16, 25, 36]])


@pytest.mark.parametrize(
    ("valid", "value"),
    [
        ([1, 1, 1, 1, 1, 1, 1], 25),  # a record at 0.5 s
        ([1, 1, 1, 1, 1, 0, 1], 23),  # 16 + (16 - 9), not the mean of 16 and 36
        ([1, 1, 1, 1, 0, 0, 1], None),  # the last one was two intervals ago
        ([0, 0, 1, 0, 1, 0, 1], 22),  # 16 + (16 - 4) / 2
        ([0, 0, 0, 0, 1, 0, 1], None),  # one record is no motion
        ([0, 0, 0, 0, 0, 0, 1], None),  # nobody is seen before the first record
    ],
)
def test_a_causal_value_depends_on_no_later_record(valid, value):
    way = at([5], [valid], causal=True)
    assert way.valid.tolist() == [[value is not None]]
    assert way.values(SQUARES).tolist() == [[value or 0]]
    later = SQUARES.copy()
    later[0, 6] = 1e6
    np.testing.assert_array_equal(way.values(later), way.values(SQUARES))


def test_between_records_it_is_interpolated_elsewhere():
    way = at([5], [[1, 1, 1, 1, 1, 0, 1]], causal=False)
    assert way.values(SQUARES).tolist() == [[26]]


def test_angles_are_continued_along_the_shorter_arc():
    way = at([5], [[1, 1, 1, 1, 1, 0, 0]], causal=True)
    angles = np.array([[0, 0, 0, 3.0, -3.1, 0, 0]])  # turns by 0.183 over pi
    np.testing.assert_allclose(way.angles(angles), [[-3.1 + (2 * np.pi - 6.1)]])


def walker(valid=None):
    """Somebody at 1 m/s and somebody who jumps by 500 m after 0.5 s, for 1 s at 10 Hz."""
    steady = np.arange(11)[:, None] * [0.1, 0.0]
    return Scene.from_arrays(
        np.stack([steady, steady + 500 * (np.arange(11) > 5)[:, None]]),
        [AgentKind.PEDESTRIAN] * 2,
        0.1,
        valid=valid,
    )


def test_a_history_ends_at_the_last_record_and_goes_back_by_its_own_step():
    past = walker()
    coarse = history(past, 0.5, 4)
    assert coarse.dt_s == 0.5
    back = past.timestamps_us[-1] - coarse.timestamps_us
    np.testing.assert_array_equal(back, [1_500_000, 1_000_000, 500_000, 0])
    np.testing.assert_array_equal(coarse.tracks.valid[0], [False, True, True, True])
    np.testing.assert_allclose(coarse.tracks.positions_m[0, 1:, 0], [0, 0.5, 1], atol=1e-6)


def test_a_history_has_nothing_of_before_a_jump():
    assert history(walker(), 0.5, 3).tracks.valid[1].tolist() == [False, False, True]
