from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast import ForecastError, Grid, Prediction
from forecast.scene.questions import lane_area
from tests.any_scene import small_map

DT_S = 0.5
SQUARE = np.array([[4, -1], [6, -1], [6, 1], [4, 1]])


def predicted(positions, weights=None, valid=None) -> Prediction:
    positions = np.asarray(positions, np.float32)
    samples, agents = positions.shape[:2]
    return Prediction(
        positions_m=positions,
        weights=np.full(samples, 1 / samples) if weights is None else np.asarray(weights),
        agent_ids=np.array([f"p{i}" for i in range(agents)]),
        valid=np.ones(agents, bool) if valid is None else np.asarray(valid),
        at_us=0,
        dt_s=DT_S,
        origin_m=np.zeros(2),
    )


def walks(*velocities, start=(0.0, 0.0), steps=12):
    """One agent; each sample keeps another velocity."""
    times = np.arange(1, steps + 1)[:, None] * DT_S
    return np.array([[np.add(start, times * velocity)] for velocity in velocities])


def test_entry_is_timed_between_steps():
    first = predicted(walks([1.0, 0], [0.5, 0], [0, 1])).time_to_entry(SQUARE).first_s
    np.testing.assert_allclose(first[:, 0], [4.0, np.inf, np.inf])
    first = predicted(walks([1.5, 0])).time_to_entry(SQUARE).first_s
    np.testing.assert_allclose(first[0, 0], 4 / 1.5, atol=1e-6)


def test_a_small_area_between_two_steps_is_not_jumped_over():
    narrow = shapely.box(4.9, -1, 5.1, 1)
    first = predicted(walks([4.0, 0])).time_to_entry(narrow).first_s
    np.testing.assert_allclose(first, [[4.9 / 4]], atol=1e-6)


def test_who_is_inside_at_the_first_step_has_entered():
    inside = predicted(walks([0, 0], start=(5, 0)))
    np.testing.assert_array_equal(inside.time_to_entry(SQUARE).first_s, [[DT_S]])
    assert inside.enters(SQUARE, DT_S).probability.tolist() == [1]


def test_the_way_to_the_first_step_counts_where_it_is_known():
    """Whoever is beyond a line at the first step has crossed it."""
    unknown = predicted(walks([1.5, 0], [0.5, 0]))
    known = replace(unknown, now_m=np.zeros((1, 2), np.float32))
    line = [[0.3, -1], [0.3, 1]]
    assert unknown.crosses(line, 6).probability.tolist() == [0.5]
    assert known.crosses(line, 6).probability.tolist() == [1]
    assert known.crosses(line, 0.3).probability.tolist() == [0.5]
    strip = shapely.box(0.2, -1, 0.24, 1)
    assert unknown.enters(strip, 6).probability.tolist() == [0]
    assert known.enters(strip, 0.5).probability.tolist() == [1]
    inside = known.time_to_entry(shapely.box(-1, -1, 0.1, 1))
    assert inside.first_s.tolist() == [[0], [0]]
    assert inside.within(0).probability.tolist() == [1]


def test_the_present_position_has_a_shape_and_is_finite():
    known = predicted(walks([1, 0]))
    with pytest.raises(ForecastError, match=r"now_m has shape \[2, 2\]; \[1, 2\] is needed"):
        replace(known, now_m=np.zeros((2, 2), np.float32))
    with pytest.raises(ForecastError, match=r"now_m of agents is \['p0'\]; a finite position"):
        replace(known, now_m=np.full((1, 2), np.nan, np.float32))


def test_a_hole_is_not_the_area():
    ring = shapely.Polygon(shapely.box(-9, -9, 9, 9).exterior, [shapely.box(-8, -8, 8, 8).exterior])
    first = predicted(walks([2, 0], [0, 0])).time_to_entry(ring).first_s
    np.testing.assert_allclose(first[:, 0], [4.0, np.inf])


def test_probabilities_are_weighted_and_leave_out_who_is_not_predicted():
    positions = np.concatenate([walks([1, 0], [0, 1]), walks([0, 1], [1, 0])], axis=1)
    made = predicted(positions, weights=[0.3, 0.7], valid=[True, False])
    chances = made.enters(SQUARE, within_s=6)
    assert chances.agent_ids.tolist() == ["p0"]
    assert chances.probability == pytest.approx([0.3])
    assert chances.low[0] < 0.3 < chances.high[0]
    assert made.enters(SQUARE, within_s=3.9).probability.tolist() == [0]


def test_a_lane_can_be_entered():
    strip = lane_area(small_map(), "lane-1", width_m=2)
    assert strip.bounds == (0, -1, 5, 1)
    assert predicted(walks([0, -1], start=(2, 3))).enters(strip, 2.0).probability.tolist() == [1]
    with pytest.raises(ForecastError, match="number of lanes called 'x' is 0; exactly 1"):
        lane_area(small_map(), "x")


def test_crossing_a_line_from_either_side():
    kerb = [[-5, 1], [5, 1], [5, 9]]
    made = predicted(walks([0, 0.5], [0, -0.5], [3, 0.6]))
    np.testing.assert_allclose(made.crosses(kerb, 6).probability, [2 / 3])
    back = predicted(walks([0, -1], start=(0, 3)))
    assert back.crosses(kerb, 2.0).probability.tolist() == [1]
    assert back.crosses(kerb, 1.9).probability.tolist() == [0]


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_entry_and_crossing_against_shapely(seed):
    rng = np.random.default_rng(seed)
    made = predicted(rng.normal(0, 1.5, (3, 2, 5, 2)).cumsum(axis=2))
    area = shapely.Polygon(rng.normal(0, 3, (8, 2))).convex_hull
    line = rng.normal(0, 3, (3, 2))
    paths = shapely.linestrings(made.positions_m.astype(float))
    entered = made.time_to_entry(area).first_s
    np.testing.assert_array_equal(np.isfinite(entered), shapely.intersects(paths, area))
    crossed = shapely.intersects(paths, shapely.LineString(line)).mean(axis=0)
    np.testing.assert_allclose(made.crosses(line, 5 * DT_S).probability, crossed)
    for k, a in np.argwhere(np.isfinite(entered)):
        at = entered[k, a] / DT_S - 1
        step = min(int(at), 3)
        points = made.positions_m[k, a, [step, step + 1]].astype(float)
        there = points[0] + (at - step) * (points[1] - points[0])
        assert area.distance(shapely.Point(there)) < 1e-6


@given(st.floats(0.5, 6), st.floats(0.5, 6))
def test_more_time_is_never_less_likely(one, other):
    made = predicted(walks([1.0, 0], [0.9, 0], [1.6, 0], [0.1, 0]))
    short, long = sorted([one, other])
    assert made.enters(SQUARE, short).probability <= made.enters(SQUARE, long).probability


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_a_region_of_few_samples_holds_its_level_in_the_mean(level):
    rng = np.random.default_rng(3)
    held = []
    for _ in range(40):
        samples = rng.normal(0, [1.5, 0.5], (20, 2))
        made = predicted(np.tile(samples[:, None, None], (1, 1, 12, 1)))
        region = made.where("p0", 3.0, level)
        held.append(region.contains(rng.normal(0, [1.5, 0.5], (300, 2))).mean())
    assert np.mean(held) == pytest.approx(level, abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_a_region_of_many_samples_holds_its_level(level):
    rng = np.random.default_rng(0)
    spread = np.array([[2.0, 0.8], [0.8, 0.5]])
    samples = rng.multivariate_normal([10, 5], spread, 2000)
    region = predicted(np.tile(samples[:, None, None], (1, 1, 12, 1))).where("p0", 3.0, level)
    fresh = rng.multivariate_normal([10, 5], spread, 20000)
    assert region.contains(fresh).mean() == pytest.approx(level, abs=0.025)
    ellipse = np.pi * np.sqrt(np.linalg.det(spread)) * -2 * np.log(1 - level)
    assert region.polygon.area == pytest.approx(ellipse, rel=0.15)


def test_a_region_of_two_ways_has_two_parts():
    rng = np.random.default_rng(1)
    left, right = (side + rng.normal(0, 0.2, (40, 2)) for side in ([-5, 0], [5, 0]))
    both = np.concatenate([left, right])[:, None, None]
    region = predicted(np.tile(both, (1, 1, 12, 1))).where("p0", 3.0, 0.8)
    assert len(region.polygon.geoms) == 2
    assert not region.contains([0, 0])


def test_a_higher_level_contains_a_lower_one():
    rng = np.random.default_rng(2)
    made = predicted(rng.normal(0, 1, (20, 1, 12, 2)))
    small, large = (made.where("p0", 3.0, level).polygon for level in (0.5, 0.9))
    assert small.difference(large).area < 1e-6


def test_one_sample_has_a_small_region_and_times_are_interpolated():
    region = predicted(walks([1.0, 0])).where("p0", at_s=2.75)
    assert region.contains([2.75, 0])
    assert region.polygon.area < 0.5


def test_samples_that_agree_have_a_region_around_them():
    region = predicted(np.tile([3.0, 4.0], (20, 1, 12, 1))).where("p0", 3.0, 0.9)
    assert region.contains([3, 4])
    radius = 0.1 * np.sqrt(-2 * np.log(0.1))
    assert region.polygon.area == pytest.approx(np.pi * radius**2, rel=0.15)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda p: p.where("p9"), "agent 'p9' is not predicted; the 1 predicted ones are 'p0'"),
        (lambda p: p.where("p1"), "agent 'p1' is not predicted"),
        (lambda p: p.where(0), "agent 0 is not predicted; the 1 predicted ones are 'p0'"),
        (lambda p: p.where(["p0"]), r"agent \['p0'\] is not predicted"),
        (lambda p: p.enters("ring", 3), "area is not of numbers; a polygon or its ring"),
        (
            lambda p: p.enters([[0, 0], [1, np.nan], [1, 0]], 3),
            r"a point of area is \[\[1.0, nan\]\]; a finite place is needed",
        ),
        (lambda p: p.crosses("line", 3), "line is not of numbers; "),
        (lambda p: p.crosses([[0, 0], [np.inf, 1]], 3), r"a point of line is \[\[inf, 1.0\]\]; a"),
        (lambda p: p.occupancy(None), "grid is None; a forecast.Grid is needed"),
        (lambda p: p.time_to_entry(SQUARE).distribution(3), "times_s is a single int; a list"),
        (lambda p: p.time_to_entry(SQUARE).distribution("3"), "times_s is '3'; a time from"),
        (lambda p: p.time_to_entry(SQUARE).distribution(["3"]), "times_s is '3'; a time from"),
        (lambda p: p.time_to_entry(SQUARE).distribution([True]), "times_s is True; a time from"),
        (lambda p: p.where("p0", 7.0), "at_s is 7.0; a time from 0.5 s to 6 s is needed"),
        (lambda p: p.where("p0", "3"), "at_s is '3'; a time from 0.5 s to 6 s is needed"),
        (lambda p: p.enters(SQUARE, 10), "within_s is 10; a time from 0.5 s to 6 s is needed"),
        (lambda p: p.enters(SQUARE, -1), "within_s is -1; a time from 0.5 s"),
        (lambda p: p.enters(SQUARE, 0.2), "within_s is 0.2; a time from 0.5 s"),
        (lambda p: p.enters(SQUARE, np.nan), "within_s is nan; a time from 0.5 s"),
        (lambda p: p.enters(SQUARE, "3"), "within_s is '3'; a time from 0.5 s"),
        (lambda p: p.enters(SQUARE, 3, level=1.5), "level is 1.5; a level between 0 and 1"),
        (lambda p: p.enters(SQUARE, 3, level="x"), "level is 'x'; a level between 0 and 1"),
        (lambda p: p.crosses([[0, 1], [9, 1]], 60), "within_s is 60; a time from 0.5 s to 6 s"),
        (lambda p: p.time_to_entry(SQUARE).distribution([3, 60]), "times_s is 60; a time from"),
        (lambda p: p.time_to_entry(SQUARE).quantile_s("x"), "share is 'x'; a share above 0"),
        (lambda p: p.representatives(2.5), "k is 2.5; a whole number is needed"),
        (lambda p: p.region("p0", "3", 0.9), "the prediction has no tubes"),
        (lambda p: p.where("p0", 0.0), "at_s is 0.0; a time from 0.5 s"),
        (lambda p: p.where("p0", level=1.0), "level is 1.0; a level between 0 and 1"),
        (lambda p: p.enters([[0, 0], [1, 1]], 3), r"shape of area is \[2, 2\]; a polygon or its"),
        (lambda p: p.enters(shapely.Point(0, 0), 3), "area is Point; a polygon that is valid"),
        (
            lambda p: p.enters([[0, 0], [1, 1], [1, 0], [0, 1]], 3),
            "area is Polygon; a polygon that is valid",
        ),
        (lambda p: p.crosses([[0, 0]], 3), r"shape of line is \[1, 2\]; \[P, 2\], P >= 2 is"),
    ],
)
def test_questions_without_an_answer_are_refused(ask, message):
    positions = np.concatenate([walks([1, 0]), walks([0, 1])], axis=1)
    with pytest.raises(ForecastError, match=message):
        ask(predicted(positions, valid=[True, False]))


def test_shapes_in_world_coordinates_are_refused_and_distant_ones_are_not():
    origin = np.array([1000.0, 2000.0])
    made = replace(predicted(walks([1.0, 0])), origin_m=origin)
    line = np.array([[5, -1], [5, 1]])
    assert made.enters(SQUARE, 6).probability.tolist() == [1.0]
    for ask in (
        lambda: made.enters(SQUARE + origin, 6),
        lambda: made.time_to_entry(shapely.Polygon(SQUARE + origin)),
        lambda: made.crosses(line + origin, 6),
        lambda: made.occupancy(Grid(1000 - 5, 2000 - 5, 0.5, 20, 20)),
    ):
        with pytest.raises(ForecastError, match=r"m from the agents as world coordinates"):
            ask()
    for off in ([500.0, 0.0], [-1000.0, -2000.0], [150.0, 150.0]):
        assert made.enters(SQUARE + np.array(off), 6).probability.tolist() == [0.0]
    around = shapely.box(*(origin - 5000), *(origin + 5000))
    assert made.enters(around, 6).probability.tolist() == [1.0]


def test_near_the_worlds_origin_everything_may_be_asked():
    made = replace(predicted(walks([1.0, 0])), origin_m=np.array([150.0, 0.0]))
    assert made.enters(SQUARE + np.array([150.0, 0.0]), 6).probability.tolist() == [0.0]
