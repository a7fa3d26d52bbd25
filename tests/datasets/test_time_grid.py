import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.datasets.time_grid import TimeGrid, require_microseconds, require_unit
from forecast.errors import ForecastError

START_US = 1_532_000_000_000_000


def times_at(hz: float, seconds: float) -> np.ndarray:
    return START_US + np.round(np.arange(int(hz * seconds) + 1) / hz * 1e6).astype(np.int64)


def seconds_of(grid: TimeGrid) -> list[float]:
    return ((grid.timestamps_us - START_US) / 1e6).round(3).tolist()


def along_x(times_us: np.ndarray) -> np.ndarray:
    """Positions of somebody who walks at 1 m/s ``[1, N, 2]``."""
    x = (times_us - START_US) / 1e6
    return np.stack([x, 0 * x], axis=-1)[None]


def values(grid: TimeGrid, seen, jumped=None) -> list[float]:
    """Positions of a walker at 1 m/s at the steps; NaN where there is none."""
    way = grid.resampling(np.array([seen], bool), jumped)
    x = way.values(along_x(grid.times_us))[0, :, 0]
    return np.where(way.valid[0], x.round(6), np.nan).tolist()


# --- records at the rate of the grid


def test_a_missing_record_leaves_a_gap():
    grid = TimeGrid.of("s", START_US + np.array([0, 500_000, 2_000_000, 2_500_000]), 0.5)
    assert grid.record.tolist() == [0, 1, -1, -1, 2, 3]
    assert seconds_of(grid) == [0, 0.5, 1, 1.5, 2, 2.5]
    assert grid.interpolated is None
    np.testing.assert_equal(values(grid, [1, 1, 0, 1]), [0, 0.5, np.nan, np.nan, np.nan, 2.5])


def test_slow_drift_makes_no_gap():
    drifting = START_US + np.arange(1000) * 515_000  # 15 s late in the end
    assert TimeGrid.of("s", drifting, 0.5).record.tolist() == list(range(1000))


@pytest.mark.parametrize("interval_s", [0.45, 0.475, 0.53, 0.55])
def test_a_rate_close_to_that_of_the_grid_is_another_rate(interval_s):
    times = times_at(1 / interval_s, 12)
    grid = TimeGrid.of("s", times, 0.5)
    np.testing.assert_allclose(np.diff(grid.timestamps_us), 500_000, atol=20_000)
    x = (grid.timestamps_us - START_US) / 1e6
    np.testing.assert_allclose(values(grid, np.ones(len(times))), x, atol=1e-6)
    assert grid.interpolated.sum() > 12


@given(
    waits_s=st.lists(st.floats(0, 0.1), min_size=1, max_size=40),
    seed=st.integers(0, 9),
)
def test_jitter_keeps_every_record_and_its_time(waits_s, seed):
    """Half of the intervals are as much longer as the others are shorter."""
    waits = np.random.default_rng(seed).permutation(
        [0.5 + sign * wait / 2 for wait in waits_s for sign in (1, -1)]
    )
    times = START_US + np.cumsum([0, *np.round(1e6 * waits).astype(int)])
    grid = TimeGrid.of("s", times, 0.5)
    assert grid.record.tolist() == list(range(len(times)))
    np.testing.assert_array_equal(grid.timestamps_us, times)
    assert (grid.interpolated, grid.left_out) == (None, 0)


def test_a_record_that_follows_at_once_is_left_out():
    grid = TimeGrid.of("s", START_US + np.array([0, 500_000, 600_000, 1_000_000, 1_500_000]), 0.5)
    assert grid.record.tolist() == [0, 1, 3, 4]
    assert grid.left_out == 1


def test_a_single_record_is_one_step():
    assert TimeGrid.of("s", np.array([START_US]), 0.5).record.tolist() == [0]


# --- faster records


@pytest.mark.parametrize("hz", [10, 5, 4, 3, 2.5, 20, 30])
def test_faster_records_are_resampled_by_time(hz):
    grid = TimeGrid.of("s", times_at(hz, 6), 0.5)
    assert seconds_of(grid) == [0.5 * step for step in range(13)]
    assert values(grid, np.ones(len(grid.times_us))) == [0.5 * step for step in range(13)]


@pytest.mark.parametrize(
    ("hz", "recorded"), [(10, 1), (4, 1), (20, 1), (30, 1), (5, 2), (3, 2), (2.5, 4)]
)
def test_steps_between_records_are_marked(hz, recorded):
    grid = TimeGrid.of("s", times_at(hz, 6), 0.5)
    between = np.arange(13) % recorded > 0
    np.testing.assert_array_equal(grid.record < 0, between)
    if grid.interpolated is None:
        assert not between.any()
    else:
        np.testing.assert_array_equal(grid.interpolated, between)


def test_a_gap_of_3_s_stays_a_gap():
    times = times_at(10, 6)
    seen = (times <= START_US + 1_500_000) | (times >= START_US + 4_500_000)
    expected = [0, 0.5, 1, 1.5, *[np.nan] * 5, 4.5, 5, 5.5, 6]
    np.testing.assert_equal(values(TimeGrid.of("s", times, 0.5), seen), expected)
    expected[4:9] = [np.nan] * 5
    grid = TimeGrid.of("s", times[seen], 0.5)
    np.testing.assert_equal(values(grid, np.ones(seen.sum())), expected)
    assert grid.interpolated[4:9].all()


def test_an_agent_in_every_second_record_has_every_step():
    """At 0.5 s it was observed 0.1 s before and after; at 1 s it is observed."""
    grid = TimeGrid.of("s", times_at(10, 3), 0.5)
    np.testing.assert_equal(values(grid, np.arange(31) % 2 == 0), [0, 0.5, 1, 1.5, 2, 2.5, 3])


def test_an_agent_not_observed_for_longer_has_no_value_at_a_record():
    seen = np.ones(31)
    seen[[8, 9, 10]] = 0  # until 0.7 s, and from 1.1 s on
    expected = [0, 0.5, np.nan, 1.5, 2, 2.5, 3]
    np.testing.assert_equal(values(TimeGrid.of("s", times_at(10, 3), 0.5), seen), expected)


def test_a_continuation_is_that_of_the_last_two_records():
    times = times_at(10, 1)
    x = np.array([9, 9, 9, 9, 0.0, 0.1, 0.4, 0.5, 0.6, 0.8, 9])  # not observed at 1 s
    way = TimeGrid.of("s", times, 0.5).resampling(np.arange(11)[None] < 10)
    assert way.values(x[None])[0, 2] == pytest.approx(0.8 + (0.8 - 0.6))


@given(
    hz=st.sampled_from([10, 5, 4, 3, 2.5, 7.3]),
    data=st.data(),
)
def test_no_value_up_to_a_prediction_time_depends_on_later_records(hz, data):
    times = times_at(hz, 5)
    seen = np.array(data.draw(st.lists(st.booleans(), min_size=len(times), max_size=len(times))))
    grid = TimeGrid.of("s", times, 0.5)
    for step in np.flatnonzero(grid.record >= 0):
        cut = seen & (np.arange(len(times)) <= grid.record[step])
        np.testing.assert_equal(
            values(grid, cut)[: step + 1], values(grid, seen)[: step + 1], err_msg=str(step)
        )


def test_nothing_is_interpolated_across_a_jump():
    """At 2.5 Hz 0.5 s lies between 0.4 and 0.8 s, 1.5 s between 1.2 and 1.6 s."""
    grid = TimeGrid.of("s", times_at(2.5, 2), 0.5)
    jumped = np.array([[False, False, True, False, False, False]])
    np.testing.assert_equal(values(grid, np.ones(6), jumped), [0, np.nan, 1, 1.5, 2])


def test_angles_between_records_take_the_shorter_way():
    grid = TimeGrid.of("s", times_at(2.5, 2), 0.5)
    way = grid.resampling(np.ones((1, 6), bool))
    angles = np.deg2rad([[170, 170, -170, -170, -170, -170]])
    assert np.rad2deg(way.angles(angles)[0, 1]) == pytest.approx(175)


def test_irregular_records_are_laid_on_the_grid():
    waits = np.tile([0.13, 0.07, 0.1, 0.21], 12)
    times = START_US + np.round(np.cumsum([0, *waits]) * 1e6).astype(np.int64)
    grid = TimeGrid.of("s", times, 0.5)
    assert (np.abs(np.diff(grid.timestamps_us) - 500_000) <= 20_000).all()
    x = (grid.timestamps_us - START_US) / 1e6
    np.testing.assert_allclose(values(grid, np.ones(len(times))), x, atol=1e-6)


def test_agents_in_every_fifth_record_alone_begin_the_grid():
    """At 10 Hz, annotated at 2 Hz from 0.2 s on."""
    times, observed = times_at(10, 4), np.zeros(41, np.int64)
    observed[2::5] = 3
    assert seconds_of(TimeGrid.of("s", times, 0.5, observed))[:3] == [0.2, 0.7, 1.2]
    observed[:] = 2
    observed[2::5] = 3
    assert seconds_of(TimeGrid.of("s", times, 0.5, observed))[:3] == [0, 0.5, 1]


# --- refused


@pytest.mark.parametrize(
    ("hz", "words"), [(1, "a record every 1 s"), (1.5, "every 0.667 s"), (0.5, "every 2 s")]
)
def test_slower_records_are_refused(hz, words):
    with pytest.raises(ForecastError, match=f"s: .*{words} was measured; 0.5 s or less is needed"):
        TimeGrid.of("s", times_at(hz, 20), 0.5)


@pytest.mark.parametrize(
    ("unit_us", "words"),
    [
        (1e-3, "s: 500 s between records: nanoseconds? microseconds are needed"),
        (1e3, "s: 0.0005 s between records: milliseconds? microseconds are needed"),
        (1e6, "s: 5e-07 s between records: seconds? microseconds are needed"),
        (1e-9, "s: 5e+08 s between records; microseconds are needed"),
    ],
)
def test_other_units_are_refused_with_a_guess(unit_us, words):
    with pytest.raises(ForecastError) as caught:
        TimeGrid.of("s", np.arange(20) * 0.5e6 / unit_us, 0.5)
    assert str(caught.value) == words


# --- agents with times of their own


def of_agents(*times_s, step_s=0.5):
    """The grid of agents that are recorded at some times."""
    times = np.concatenate([np.round(np.array(own) * 1e6) for own in times_s]).astype(np.int64)
    agents = np.repeat(np.arange(len(times_s)), [len(own) for own in times_s])
    return TimeGrid.of_agents("scene 'a'", times, agents, step_s)


def steps_s(grid):
    return (grid.timestamps_us / 1e6).tolist()


def test_agents_at_the_times_of_the_grid_keep_them():
    grid = of_agents([0, 0.52, 0.98], [0.98, 1.5])
    assert steps_s(grid) == [0, 0.52, 0.98, 1.5]
    assert (grid.resampled, grid.asynchronous, grid.interpolated) == (False, False, None)
    assert grid.steps_of(np.array([980_000, 1_500_000])).tolist() == [2, 3]


@pytest.mark.parametrize("hz", [2, 10])
def test_a_time_that_is_wrong_by_decades_is_refused(hz):
    with pytest.raises(
        ForecastError, match=r"at most 5000 s is needed for \d+ records: is the time 0"
    ):
        TimeGrid.of("scene 'a'", np.append(0, times_at(hz, 4)), 0.5)


@pytest.mark.parametrize(
    ("first_s", "last_s", "most"),
    [(40, 5_001, "5000 s"), (500, 50_101, "50100 s"), (10_000, 500_001, "500000 s")],
)
def test_a_scene_is_not_much_longer_than_its_records(first_s, last_s, most):
    """One wrong frame number would make a million steps, of which a hundred have a record."""
    times = np.append(times_at(2, first_s), START_US + last_s * 10**6)
    with pytest.raises(ForecastError, match=f"at most {most} is needed .* into several scenes"):
        TimeGrid.of("scene 'a'", times, 0.5)


def test_times_within_a_millisecond_are_the_same():
    grid = of_agents([0, 0.5, 1.0], [0.0004, 0.5006, 1.0009])
    assert steps_s(grid) == [0, 0.5, 1.0]
    assert grid.steps_of(np.array([400, 500_600, 1_000_900])).tolist() == [0, 1, 2]


def test_an_agent_that_is_often_missed_does_not_change_the_rate():
    grid = of_agents([0, 1, 2.5, 3.5], [0.5, 2, 3], [1.5, 2])
    assert steps_s(grid) == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]
    assert not grid.resampled


def test_faster_records_in_common_are_resampled():
    grid = of_agents(np.arange(16) / 10, np.arange(3, 14) / 10)
    assert steps_s(grid) == [0, 0.5, 1.0, 1.5]
    assert (grid.resampled, grid.asynchronous, grid.interpolated) == (True, False, None)


def test_agents_of_another_phase_have_equal_steps_where_most_records_are():
    grid = of_agents(np.arange(0.3, 5, 0.5), np.arange(0.3, 5, 0.5), np.arange(0.1, 5, 0.5))
    assert grid.asynchronous
    assert grid.interpolated is None
    np.testing.assert_allclose(steps_s(grid), np.arange(0.3, 5, 0.5))


def test_one_record_between_two_steps_does_not_shift_the_others():
    grid = of_agents(np.arange(10) / 2, [2.1, 2.5])
    np.testing.assert_allclose(steps_s(grid), np.arange(10) / 2)


def test_a_sweep_of_detections_is_one_step_at_its_end():
    sweep = [0.5 * step + 0.01 * np.arange(5) for step in range(8)]
    grid = of_agents(*np.array(sweep).T)
    np.testing.assert_allclose(steps_s(grid), 0.04 + 0.5 * np.arange(8), atol=1e-9)


@pytest.mark.parametrize(
    "times", [([0, 1, 2, 3], [0, 1, 2]), ([0, 1, 2, 3], [0.3, 1.3], [0.6, 1.6])]
)
def test_one_record_a_second_is_refused(times):
    with pytest.raises(ForecastError, match=r"scene 'a': a record every 1 s was measured; 0\.5 s"):
        of_agents(*times)


@pytest.mark.parametrize("step_s", [0.4, 0.5])
def test_agents_of_one_record_are_on_a_grid(step_s):
    assert of_agents([2.0], [2.0], step_s=step_s).timestamps_us.tolist() == [2_000_000]


@pytest.mark.parametrize(
    ("interval_s", "unit", "guess"),
    [
        (500, "seconds", "milliseconds"),
        (5e5, "seconds", "microseconds"),
        (5e8, "seconds", "nanoseconds"),
        (500, "microseconds", "nanoseconds"),
        (0.0005, "microseconds", "milliseconds"),
        (5e-7, "microseconds", "seconds"),
    ],
)
def test_times_in_another_unit_are_refused_with_a_guess(interval_s, unit, guess):
    message = rf"s between records: {guess}\? {unit} are needed"
    with pytest.raises(ForecastError, match=message):
        require_unit("plaza", interval_s, unit)
    if unit == "microseconds":
        with pytest.raises(ForecastError, match=message):
            require_microseconds("plaza", interval_s)


@pytest.mark.parametrize("interval_s", [0.01, 0.1, 0.5, 3.0])
def test_intervals_of_sensors_pass(interval_s):
    require_unit("plaza", interval_s, "seconds")
