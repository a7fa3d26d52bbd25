import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from forecast.planning.risk import paired_interval, tail_mean


def test_the_tail_by_hand():
    loss, weights = np.array([[1.0, 5.0, 3.0]]), np.array([0.5, 0.2, 0.3])
    assert tail_mean(loss, weights, 0.2) == pytest.approx(5)
    assert tail_mean(loss, weights, 0.4) == pytest.approx((0.2 * 5 + 0.2 * 3) / 0.4)
    assert tail_mean(loss, weights, 1.0) == pytest.approx(0.5 + 1 + 0.9)


@given(st.integers(1, 30), st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.integers(0, 10**6))
def test_a_smaller_tail_is_worse_and_none_is_better_than_the_mean(count, one, other, seed):
    rng = np.random.default_rng(seed)
    loss, weights = rng.normal(size=count), rng.dirichlet(np.ones(count))
    small, large = sorted([one, other])
    tails = [tail_mean(loss, weights, share) for share in (small, large, 1.0)]
    assert tails[0] >= tails[1] - 1e-9
    assert tails[1] >= tails[2] - 1e-9
    assert tails[2] == pytest.approx(weights @ loss)


@given(st.integers(3, 30), st.integers(0, 10**6))
def test_the_paired_interval_is_that_of_the_t_test(count, seed):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, count))
    found = paired_interval(first, second, np.full(count, 1 / count), 0.9)
    interval = ttest_rel(second, first).confidence_interval(0.9)
    np.testing.assert_allclose(found, [(second - first).mean(), *interval], atol=1e-9)


def test_one_sample_says_nothing_about_the_difference():
    mean, low, high = paired_interval(np.zeros(1), np.ones(1), np.ones(1), 0.95)
    assert (mean, low, high) == (1, -np.inf, np.inf)
