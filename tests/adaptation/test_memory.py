import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from forecast.adaptation.memory import covering


def test_few_scenes_are_all_kept():
    assert covering([np.zeros(2), np.ones(2)], 2) == [0, 1]


def test_the_middle_and_what_is_far_from_it_are_kept():
    places = [np.array([x, 0.0]) for x in (0.0, 0.1, 5.0, 5.1, 10.0)]
    assert covering(places, 3) == [0, 2, 4]


def test_a_dimension_counts_by_its_spread():
    """The second feature is a thousand times smaller, and as different."""
    places = [np.array(each) for each in ([0.0, 0.0], [1e3, 0.0], [0.0, 1.0], [500.0, 0.5])]
    assert covering(places, 4) == [0, 1, 2, 3]
    assert 3 in covering(places, 3)  # the middle


@given(
    st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=12),
    st.integers(1, 6),
)
def test_none_is_farther_from_the_kept_ones_than_they_are_from_each_other(points, count):
    places = [np.array(each) for each in points]
    kept = covering(places, count)
    assert len(set(kept)) == len(kept) == min(count, len(places))
    every = np.array(places)
    every = (every - every.mean(0)) / np.maximum(every.std(0), 1e-3)
    if len(kept) > 1 and len(kept) < len(places):
        apart = np.linalg.norm(every[:, None] - every[kept], axis=-1)
        inside = apart[kept] + np.where(np.eye(len(kept)), np.inf, 0)
        assert apart.min(axis=1).max() <= inside.min() + 1e-9
