import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.evaluation.scoring.statistics import (
    MIN_SCENES,
    RESAMPLES,
    Estimate,
    _tail,
    distance_change,
    p_value,
    scene_means,
    scene_spread,
    scenes_for,
    scenes_without_event,
    with_exact_ends,
)


def clustered(generator, scenes: int, rows: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Skewed rows that share much within their scene; the true mean is 1."""
    shared = generator.gamma(4.0, 0.25, scenes)
    counts = generator.integers(1, 2 * rows, scenes)
    names = np.repeat(np.arange(scenes), counts)
    return shared[names] * generator.gamma(2.0, 0.5, len(names)), names.astype(str)


def naive(values, names, seed_draws) -> np.ndarray:
    """Means of resamples in which whole scenes are written out as often as they are drawn."""
    scenes = np.unique(names)
    parts = [values[names == scene] for scene in scenes]
    return np.array(
        [
            np.concatenate([np.tile(p, int(c)) for p, c in zip(parts, draw, strict=True)]).mean()
            for draw in seed_draws
        ]
    )


def test_is_the_quantile_of_means_of_written_out_resamples():
    values, names = clustered(np.random.default_rng(1), 9)
    found = scene_means({"x": values}, names)["x"]
    draws = np.random.default_rng([0, 9]).multinomial(9, np.full(9, 1 / 9), RESAMPLES)
    tail = _tail(9)
    expected = np.quantile(naive(values, names, draws), [tail, 1 - tail])
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert found.value == pytest.approx(values.mean())
    assert (found.n, found.scenes) == (len(values), 9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenes", "least", "most"),
    [(5, 0.86, 0.93), (8, 0.89, 0.96), (20, 0.91, 0.97), (60, 0.92, 0.98)],
)
def test_covers_the_truth_nearly_as_often_as_it_says(scenes, least, most):
    """Simulated: 400 data sets of skewed rows in scenes of unequal size.

    Few scenes cover less than the 95 % that are said: of 2,000 data sets 89.5 % with 5 scenes, the
    fewest that get an interval, 91.5 % with 8 and 93.7 % with 20.
    """
    generator = np.random.default_rng(scenes)
    hits = 0
    for _ in range(400):
        values, names = clustered(generator, scenes)
        found = scene_means({"x": values}, names)["x"]
        hits += found.low <= 1 <= found.high
    assert least <= hits / 400 <= most


@pytest.mark.slow
def test_rows_drawn_on_their_own_would_cover_far_less():
    """What the bootstrap over scenes is for."""
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        values, _ = clustered(generator, 20)
        found = scene_means({"x": values}, np.arange(len(values)).astype(str))["x"]
        hits += found.low <= 1 <= found.high
    assert hits / 200 < 0.85


def test_a_paired_difference_is_sharper_than_the_two_means():
    generator = np.random.default_rng(0)
    values, names = clustered(generator, 30)
    better = values - 0.05 + generator.normal(0, 0.01, len(values))
    found = scene_means({"a": values, "b": better, "d": better - values}, names)
    assert found["d"].high < 0
    assert found["b"].high > found["a"].low


def test_too_few_scenes_give_a_mean_and_no_interval():
    names = np.arange(MIN_SCENES - 1).astype(str)
    found = scene_means({"x": np.ones(len(names))}, names)["x"]
    assert found.value == 1
    assert np.isnan([found.low, found.high]).all()


def test_rows_without_a_value_do_not_count_in_their_column():
    names = np.repeat(np.arange(6), 2).astype(str)
    whole = np.arange(12.0)
    holes = np.where(whole % 2 == 0, whole, np.nan)
    found = scene_means({"whole": whole, "holes": holes, "none": whole * np.nan}, names)
    assert found["holes"].value == pytest.approx(np.nanmean(holes))
    assert (found["holes"].n, found["holes"].scenes) == (6, 6)
    assert (found["none"].n, found["none"].scenes) == (0, 0)
    assert np.isnan(found["none"].value)


def test_weights_weigh_rows():
    names = np.arange(6).astype(str)
    values, weights = np.arange(6.0), np.array([0, 0, 0, 0, 1.0, 3.0])
    found = scene_means({"x": values}, names, weights=weights)["x"]
    assert found.value == pytest.approx((4 + 3 * 5) / 4)


@given(st.integers(0, 2**31), st.integers(5, 12))
def test_order_of_rows_does_not_matter_and_the_subset_is_what_counts(seed, scenes):
    generator = np.random.default_rng(seed)
    values, names = clustered(generator, scenes)
    order = generator.permutation(len(values))
    one = scene_means({"x": values}, names)["x"]
    two = scene_means({"x": values[order]}, names[order])["x"]
    assert one == pytest.approx(two, nan_ok=True)
    mask = generator.random(len(values)) < 0.6
    assert scene_means({"x": values}, names, mask)["x"] == pytest.approx(
        scene_means({"x": values[mask]}, names[mask])["x"], nan_ok=True
    )


class TestDistanceChange:
    """How much farther one mean is from 0 than another."""

    def test_is_that_of_written_out_resamples(self):
        generator = np.random.default_rng(3)
        before, names = clustered(generator, 9)
        after = generator.normal(-0.2, 1, len(before))
        found = distance_change(before, after, names)
        assert found.value == pytest.approx(abs(after.mean()) - abs(before.mean()))
        draws = np.random.default_rng([0, 9]).multinomial(9, np.full(9, 1 / 9), RESAMPLES)
        gaps = np.abs(naive(after, names, draws)) - np.abs(naive(before, names, draws))
        expected = np.quantile(gaps, [_tail(9), 1 - _tail(9)])
        assert (found.low, found.high) == pytest.approx(tuple(expected))
        assert (found.n, found.scenes) == (len(before), 9)

    def test_rows_that_one_lacks_do_not_count(self):
        names = np.repeat(np.arange(6), 2).astype(str)
        before = np.array([1.0, np.nan] * 6)
        found = distance_change(before, np.full(12, -3.0), names)
        assert (found.value, found.n, found.scenes) == (2.0, 6, 6)
        nobody = distance_change(before * np.nan, before, names)
        assert np.isnan(nobody.value)
        assert nobody.n == 0

    def test_too_few_scenes_give_no_interval(self):
        names = np.arange(MIN_SCENES - 1).astype(str)
        found = distance_change(np.ones(len(names)), np.zeros(len(names)), names)
        assert found.value == -1
        assert np.isnan([found.low, found.high]).all()


class TestPValue:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_is_that_of_students_t(self, sign):
        """Half as far from 0 as the mean: twice the t of 95 %; with 4 degrees in closed form."""
        ends = sorted([sign * 1.0, sign * 3.5])
        t = 2 * 2.7764451
        scaled = t**2 / (1 + t**2 / 4)
        above = 0.5 - 3 / 8 * np.sqrt(scaled) * (1 - scaled / 12)
        assert p_value(Estimate(sign * 2.0, *ends, 60, 5)) == pytest.approx(2 * above, rel=1e-5)

    def test_is_5_per_cent_where_an_end_is_0(self):
        assert p_value(Estimate(0.3, 0.0, 0.9, 60, 12)) == pytest.approx(0.05)
        assert p_value(Estimate(-0.3, -0.9, 0.0, 60, 12)) == pytest.approx(0.05)

    def test_without_a_spread_or_an_interval(self):
        assert p_value(Estimate(0.1, 0.1, 0.1, 60, 6)) == 0
        assert p_value(Estimate(0.0, 0.0, 0.0, 60, 6)) == 1
        assert np.isnan(p_value(Estimate(0.1, np.nan, np.nan, 60, 3)))


class TestExactEnds:
    """Rates that are 0, or 1, in every row."""

    names = np.repeat(np.arange(10), 3).astype(str)

    def found(self, value: float, scenes: int = 10):
        inside = self.names.astype(int) < scenes
        return with_exact_ends(scene_means({"x": np.full(30, value)}, self.names, inside)["x"])

    def test_by_hand(self):
        # 0.025 ** (1 / 10) is 0.6915: with a share of 0.3085 of the scenes, 0.6915 ** 10 = 0.025
        assert self.found(0)[:3] == pytest.approx((0, 0, 0.3085), abs=1e-4)
        assert self.found(1)[:3] == pytest.approx((1, 0.6915, 1), abs=1e-4)
        assert self.found(0, scenes=5)[:3] == pytest.approx((0, 0, 0.5218), abs=1e-4)

    def test_leaves_the_others(self):
        assert self.found(0.25)[:3] == pytest.approx((0.25, 0.25, 0.25))
        assert np.isnan(self.found(0, scenes=4).high)
        some = scene_means({"x": self.names == "3"}, self.names)["x"]
        assert with_exact_ends(some) == some

    def test_holds_the_truth_as_often_as_it_says(self):
        """A scene has the event in every row or in none; without any event in the data too."""
        generator = np.random.default_rng(0)
        held = []
        for _ in range(300):
            values = np.repeat(generator.random(10) < 0.2, 3)
            found = with_exact_ends(scene_means({"x": values}, self.names)["x"])
            if found.value == 0:
                held.append(found.high >= 0.2)
        assert len(held) > 10
        assert all(held)

    def test_scenes_that_are_needed_by_hand(self):
        # 0.9 ** 35 = 0.0250 is a little above 0.025, 0.9 ** 36 = 0.0225 is below
        assert scenes_without_event(0.1) == 36
        assert scenes_without_event(0.3085) == 10
        assert scenes_without_event(1e-6) is None
        assert scenes_without_event(0.0) is None
        assert scenes_without_event(1.5) == 1


def test_spread_between_scenes_by_hand():
    values = np.array([1.0, 1.0, 2.0, 6.0, np.nan])
    names = np.array(["a", "a", "b", "b", "c"])
    # mean 2.5; the sums of deviations are -3 and 3, 2 rows a scene: sqrt((9 + 9) / 1) / 2
    assert scene_spread(values, names) == pytest.approx(18**0.5 / 2)
    assert np.isnan(scene_spread(values, names, names == "a"))


def test_scenes_for_an_interval_by_hand():
    # Student's t of 4 degrees of freedom is 2.776 at 97.5 %, of 3 it is 3.182
    assert scenes_for(2.776 / 5**0.5 + 1e-3, 1.0) == 5
    assert scenes_for(2.776 / 5**0.5 - 1e-3, 1.0) == 6
    assert scenes_for(1e-6, 1.0) is None
    assert scenes_for(0.1, 0.0) == 2
