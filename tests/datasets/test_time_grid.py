import numpy as np
import pytest

from forecast import ForecastError
from forecast.datasets.time_grid import TimeGrid, require_microseconds, require_unit


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
