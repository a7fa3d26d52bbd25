import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from forecast import ForecastError
from forecast.scene.chances import FirstTimes, effective_samples, probability_interval


@given(st.integers(1, 60), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_is_the_exact_one_for_equal_weights(samples, data, level):
    hits = data.draw(st.integers(0, samples))
    low, high = probability_interval(np.array([hits / samples]), samples, level)
    exact = binomtest(hits, samples).proportion_ci(level, "exact")
    np.testing.assert_allclose([low[0], high[0]], exact, atol=1e-6)


def test_no_hit_in_twenty_is_not_safety():
    low, high = probability_interval(np.array([0.0]), 20, 0.95)
    assert (low[0], high[0]) == pytest.approx((0, 0.168), abs=5e-4)


def test_effective_samples():
    assert effective_samples(np.full(20, 0.05)) == pytest.approx(20)
    assert effective_samples(np.array([1.0, 0.0])) == 1


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_level_must_be_one(level):
    with pytest.raises(ForecastError, match="a level between 0 and 1 is needed"):
        probability_interval(np.array([0.5]), 20, level)


TIMES = FirstTimes(
    agent_ids=np.array(["a", "b"]),
    first_s=np.array([[1.0, np.inf], [2.0, 3.0], [np.inf, 1.0]]),
    weights=np.array([0.2, 0.3, 0.5]),
    span_s=(0.5, 10.0),
)


def test_the_distribution_by_hand():
    by = TIMES.distribution([0.5, 1.0, 2.5, 10.0])
    np.testing.assert_allclose(by, [[0, 0], [0.2, 0.5], [0.5, 0.5], [0.5, 0.8]])


@pytest.mark.parametrize("times", [3.0, "soon", [[1.0]]])
def test_times_must_be_a_list(times):
    with pytest.raises(ForecastError, match="times_s"):
        TIMES.distribution(times)


def test_quantiles_by_hand():
    np.testing.assert_array_equal(TIMES.quantile_s(0.5), [2.0, 1.0])
    np.testing.assert_array_equal(TIMES.quantile_s(0.6), [np.inf, 3.0])
    np.testing.assert_array_equal(TIMES.quantile_s(1.0), [np.inf, np.inf])
    with pytest.raises(ForecastError, match="share is 0; a share above 0"):
        TIMES.quantile_s(0)


def test_chances_of_one_agent():
    chances = TIMES.within(2.0)
    probability, low, high = chances.of("a")
    assert probability == pytest.approx(0.5)
    assert 0 < low < 0.5 < high < 1
    with pytest.raises(ForecastError, match="agent 'c' is not predicted; the 2 predicted ones"):
        chances.of("c")


def test_a_certain_event_has_a_probability_of_one():
    weights = np.full(40, 1 / 40)  # summed in floating point they are above 1
    sure = FirstTimes(np.array(["a", "b"]), np.full((40, 2), 1.0), weights, (0.5, 6.0))
    assert sure.within(2.0).probability.tolist() == [1.0, 1.0]


def test_quantiles_of_weights_that_sum_to_about_one():
    """As files of other programs hold them, in float32 or rounded."""
    first = np.array([[1.0], [2.0], [np.inf]])
    for weights in (np.full(3, 1 / 3 - 1e-5), np.full(3, 1 / 3, np.float32)):
        times = FirstTimes(np.array(["a"]), first, weights, (0.0, 6.0))
        assert times.quantile_s(1.0).tolist() == [np.inf]
        assert times.quantile_s(0.66).tolist() == [2.0]
    early = FirstTimes(np.array(["a"]), first[:2], np.array([0.5, 0.49996]), (0.0, 6.0))
    assert early.quantile_s(1.0).tolist() == [2.0]
