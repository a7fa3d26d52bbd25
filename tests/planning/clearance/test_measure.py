from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast import ForecastError, geometry
from forecast.planning import (
    Clearance,
    ClearanceConfig,
    EgoState,
    clearance,
    feasible,
    rank,
    road_use,
)
from tests.planning.any_futures import (
    dense_clearance,
    dense_encroachment,
    futures,
    scenes,
    straight,
    walking,
)
from tests.scenes import street_scene

EGO = EgoState(0.0, 0.0, 0.0, 10.0, length_m=4.0, width_m=2.0)
EITHER = st.booleans()


def test_a_person_on_the_road_is_hit_when_the_bumper_arrives():
    measured = clearance(straight([10.0, 1.0]), walking([[20, 0]], [[0, 0]]), EGO)
    assert measured.contact_s[0] == pytest.approx((20 - 2 - 0.35) / 10, abs=1e-4)
    assert measured.collided.tolist() == [[True], [False]]
    assert measured.distance_m[:, 0] == pytest.approx([0, 20 - 3 - 2 - 0.35], abs=1e-4)
    assert measured.ttc_s[1, 0] == 8, "the limit"


def test_a_contact_between_two_steps_is_found():
    """At 20 m/s the car is 10 m on at the next step; the person stands between the two."""
    measured = clearance(straight([20.0], steps=1), walking([[5, 0]], [[0, 0]], steps=1), EGO)
    assert measured.collided.all()
    assert measured.contact_s[0, 0] == pytest.approx((5 - 2 - 0.35) / 20, abs=1e-4)


def test_a_corner_is_round():
    beside = [2 + 0.3, 1 + 0.3]  # hypot(.3, .3) = .424 from the corner
    measured = clearance(straight([0.0]), walking([beside], [[0, 0]]), EGO)
    assert measured.distance_m[0, 0] == pytest.approx(np.hypot(0.3, 0.3) - 0.35, abs=1e-5)


def test_time_to_collision_of_two_that_approach():
    """The car stands; a person 10 m ahead comes at 2 m/s and stops after a second."""
    way = np.array([10.0, 0.0]) + np.minimum(np.arange(1, 7), 2)[:, None] * [-1.0, 0.0]
    measured = clearance(straight([0.0]), futures([[way]], [[10, 0]]), EGO)
    assert measured.distance_m[0, 0] == pytest.approx(8 - 2.35, abs=1e-4)
    assert measured.ttc_s[0, 0] == pytest.approx((9 - 2.35) / 2, abs=1e-4), "from the second step"


def test_courses_that_do_not_meet_have_no_time_to_collision():
    measured = clearance(straight([10.0]), walking([[20, 1.4], [-9, 0]], [[0, 0], [-1, 0]]), EGO)
    assert measured.ttc_s[0, 0] == ClearanceConfig().ttc_limit_s
    assert measured.distance_m[0, 0] == pytest.approx(0.05, abs=1e-4)


def test_post_encroachment_time_of_one_who_crosses_before_the_car():
    """She leaves the car's way (|y| <= 1.35) at 1.2 s; the car reaches her line at 1.765 s."""
    measured = clearance(straight([10.0]), walking([[20, -0.45]], [[0, 1.5]]), EGO)
    assert not measured.collided.any()
    assert measured.pet_s[0, 0] == pytest.approx(1.765 - 1.2, abs=0.02)


def test_post_encroachment_time_of_one_who_crosses_behind_the_car():
    """The tail leaves her line at .735 s; she comes to the edge of its way at 1 s."""
    measured = clearance(straight([10.0]), walking([[5, -2.85]], [[0, 1.5]]), EGO)
    assert measured.pet_s[0, 0] == pytest.approx(1.0 - 0.735, abs=0.02)


def test_ways_that_do_not_meet_have_no_post_encroachment_time():
    measured = clearance(straight([10.0]), walking([[20, 3]], [[-3, 0]]), EGO)
    assert measured.pet_s[0, 0] == ClearanceConfig().pet_limit_s


def test_a_box_reaches_farther_along_its_heading():
    across = walking([[6, 0]], [[0, 0]], sizes=[[4, 1]], disc=False, headings=[0.0])
    along = replace(across, headings_rad=np.float32([np.pi / 2]))
    found = [clearance(straight([0.0]), one, EGO).distance_m[0, 0] for one in (across, along)]
    assert found == pytest.approx([6 - 2 - 2, 6 - 2 - 0.5], abs=1e-4)


def test_boxes_that_cross_without_a_corner_inside_touch():
    wall = walking([[0, 0]], [[0, 0]], sizes=[[30, 0.2]], disc=False, headings=[np.pi / 2])
    assert clearance(straight([0.0]), wall, EGO).collided.all()


def test_without_agents_there_is_no_contact():
    measured = clearance(straight([5.0]), futures(np.zeros((2, 0, 6, 2)), np.zeros((0, 2))), EGO)
    assert np.isinf(measured.distance_m).all()
    assert not measured.collided.any()
    assert (measured.pet_s == 3).all()


@pytest.mark.slow
@settings(max_examples=8)
@given(scenes(disc=EITHER))
def test_against_polygons_sampled_densely_in_time(scene):
    """Grazes are a matter of centimetres: a smaller ego is hit later, a larger one earlier."""
    plans, people, ego = scene
    measured = clearance(plans, people, ego)
    distance, _ = dense_clearance(plans, people, ego)
    off = 0.1  # tolerance of the chords, and the way between two samples
    assert (np.abs(measured.distance_m - distance) < off).all()
    (_, late), (_, early) = (dense_clearance(plans, people, grown(ego, by)) for by in (-off, off))
    assert (measured.contact_s <= late + 0.02).all()
    assert (measured.contact_s >= early - 0.02).all()


@settings(max_examples=30)
@given(scenes(disc=EITHER))
def test_the_agent_named_is_the_one_measured(scene):
    plans, people, ego = scene
    measured = clearance(plans, people, ego)
    for agent in range(len(people.now_m)):
        alone = clearance(plans, people.select(np.arange(len(people.now_m)) == agent), ego)
        its = measured.agent == agent
        np.testing.assert_array_equal(measured.contact_s[its], alone.contact_s[its])
        np.testing.assert_array_equal(measured.distance_m[its], alone.distance_m[its])
        assert (measured.contact_s <= alone.contact_s).all()
    assert (measured.agent >= 0).all()


def test_without_anybody_no_agent_is_named():
    nobody = futures(np.zeros((2, 0, 6, 2)), [])
    assert clearance(straight([10.0]), nobody, EGO).agent.tolist() == [[-1, -1]]


@settings(max_examples=8)
@given(scenes())
def test_encroachment_against_polygons_sampled_at_pairs_of_times(scene):
    """Corners are square and a heading is held for a step: up to decimetres, on the safe side."""
    plans, people, ego = scene
    found = clearance(plans, people, ego).pet_s
    assert (found <= dense_encroachment(plans, people, grown(ego, -0.3)) + 0.1).all()
    assert (found >= dense_encroachment(plans, people, grown(ego, 0.4)) - 0.1).all()


@settings(max_examples=12)
@given(scenes(disc=EITHER), st.floats(-3, 3), st.floats(-200, 200), st.floats(-200, 200))
def test_moving_and_turning_the_world_changes_nothing(scene, angle, x, y):
    plans, people, ego = scene
    before = clearance(plans, people, ego)

    def moved(points):
        return geometry.rotate(np.asarray(points, float), angle) + np.array([x, y])

    turned = np.concatenate([moved(plans[..., :2]), plans[..., 2:] + angle], -1)
    others = replace(
        people,
        positions_m=moved(people.positions_m).astype(np.float32),
        now_m=moved(people.now_m).astype(np.float32),
        headings_rad=people.headings_rad + np.float32(angle),
    )
    origin = moved([ego.x_m, ego.y_m])
    there = replace(ego, x_m=origin[0], y_m=origin[1], heading_rad=ego.heading_rad + angle)
    assert_close(clearance(turned, others, there), before)


@settings(max_examples=12)
@given(scenes(disc=EITHER), st.integers(0, 1000))
def test_the_order_of_plans_samples_and_people_changes_nothing(scene, seed):
    plans, people, ego = scene
    rng = np.random.default_rng(seed)
    p, k, a = (rng.permutation(n) for n in (len(plans), *people.positions_m.shape[:2]))
    shuffled = replace(people.select(a), positions_m=people.positions_m[k][:, a])
    before = clearance(plans, people, ego)
    again = clearance(plans[p], shuffled, ego)
    for name in ("contact_s", "distance_m", "ttc_s", "pet_s"):
        ours, theirs = getattr(again, name), getattr(before, name)[p][:, k]
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@settings(max_examples=12)
@given(scenes(disc=EITHER))
def test_futures_given_for_each_plan_are_the_shared_ones_repeated(scene):
    plans, people, ego = scene
    each = np.broadcast_to(people.positions_m, (len(plans), *people.positions_m.shape))
    reactive = replace(people, positions_m=each)
    assert_close(clearance(plans, reactive, ego), clearance(plans, people, ego))


@settings(max_examples=12)
@given(scenes(disc=EITHER), st.floats(0.1, 2))
def test_a_larger_ego_is_closer_to_everybody(scene, grown_m):
    plans, people, ego = scene
    small, large = (clearance(plans, people, one) for one in (ego, grown(ego, grown_m)))
    assert (large.distance_m <= small.distance_m + 1e-3).all()
    assert (large.ttc_s <= small.ttc_s + 1e-3).all()
    assert (large.pet_s <= small.pet_s + 0.15).all()
    assert (large.collided >= small.collided).all()


def test_threads_share_the_plans_and_change_nothing():
    plans, people = straight(np.arange(7.0)), walking([[20, 1], [9, -3]], [[0, 0], [0, 1]])
    threads = torch.get_num_threads()
    found = []
    for count in (1, 3, 16):
        torch.set_num_threads(count)
        found.append(clearance(plans, people, EGO))
    torch.set_num_threads(threads)
    for name in ("contact_s", "distance_m", "ttc_s", "pet_s"):
        one, *others = (getattr(each, name) for each in found)
        for other in others:
            np.testing.assert_array_equal(other, one)


def test_inputs_stay_as_they_are():
    plans, people = straight([10.0]), walking([[20, 1]], [[0, 0]])
    kept = plans.copy(), people.positions_m.copy()
    clearance(plans, people, EGO)
    np.testing.assert_array_equal(plans, kept[0])
    np.testing.assert_array_equal(people.positions_m, kept[1])


@pytest.mark.parametrize(
    ("plans", "message"),
    [
        (np.zeros((1, 5, 3)), r"shape of plans is \[1, 5, 3\]; \[P, 6, 3\] is needed"),
        (np.zeros((0, 6, 3)), r"shape of plans is \[0, 6, 3\]; \[P, 6, 3\] is needed"),
        (np.full((1, 6, 3), np.nan), "a pose of plans is not finite"),
        (np.full((1, 6, 3), 1e300), r"a pose of plans is 1e\+300; numbers up to 1e\+08 is needed"),
    ],
)
def test_plans_that_do_not_fit_are_refused(plans, message):
    with pytest.raises(ForecastError, match=message):
        clearance(plans, walking([[20, 1]], [[0, 0]]), EGO)


@pytest.mark.parametrize("value", [1e300, np.nan])
def test_plans_that_are_nowhere_are_refused_by_all_measures(value):
    plans = np.full((1, 6, 3), value)
    for measure in (
        lambda: road_use(plans, street_scene().lane_map, EGO),
        lambda: feasible(plans, EGO, 0.5),
        lambda: rank(plans, walking([[20, 1]], [[0, 0]]), EGO),
    ):
        with pytest.raises(ForecastError, match="a pose of plans is"):
            measure()
    with pytest.raises(ForecastError, match="ego"):
        replace(EGO, x_m=value)


def test_reactive_futures_of_other_plans_are_refused():
    one = futures(np.zeros((2, 1, 1, 6, 2)), np.zeros((1, 2)))
    with pytest.raises(ForecastError, match="number of plans the futures are for is 2; 1 is"):
        clearance(straight([1.0]), one, EGO)


@pytest.mark.parametrize("name", ["ttc_limit_s", "pet_limit_s", "tolerance_m"])
def test_limits_must_be_positive(name):
    with pytest.raises(ForecastError, match=f"{name} is 0; a finite number above 0 is needed"):
        ClearanceConfig(**{name: 0})
    with pytest.raises(ForecastError, match=f"{name} is inf; a finite number above 0 is needed"):
        ClearanceConfig(**{name: np.inf})
    with pytest.raises(ForecastError, match=f"{name} is '8'; a finite number above 0 is needed"):
        ClearanceConfig(**{name: "8"})


def grown(ego, by_m):
    """The ego with every side farther out."""
    return replace(ego, length_m=ego.length_m + 2 * by_m, width_m=ego.width_m + 2 * by_m)


def assert_close(left, right):
    np.testing.assert_array_equal(left.collided, right.collided)
    np.testing.assert_allclose(left.distance_m, right.distance_m, atol=2e-3)
    np.testing.assert_allclose(left.contact_s, right.contact_s, atol=5e-3)
    np.testing.assert_allclose(left.ttc_s, right.ttc_s, atol=0.05)
    np.testing.assert_allclose(left.pet_s, right.pet_s, atol=0.05)


def test_measurements_are_filled_in_and_forgotten_by_plan_and_sample():
    people = walking([[20, 0]], [[0, 0]])
    people = replace(
        people, positions_m=people.positions_m.repeat(4, axis=0), weights=np.full(4, 0.25)
    )
    whole, plans = clearance(straight([10.0, 1.0, 5.0]), people, EGO), np.array([0, 2])
    met = Clearance.unknown(3, 4)
    part = clearance(straight([10.0, 5.0]), people.part(slice(1, 3)), EGO)
    met.put(plans, slice(1, 3), part)
    for name, values in vars(met).items():
        unknown = (values == -1) if name == "agent" else np.isnan(values)
        assert unknown[1].all(), name
        assert unknown[:, [0, 3]].all(), name
        np.testing.assert_array_equal(values[plans, 1:3], getattr(whole, name)[plans, 1:3])
        np.testing.assert_array_equal(met.part(plans, slice(1, 3)).ttc_s, part.ttc_s)
    met.forget(np.array([2, 4, 0]))
    known = [[False, True, False, False], *[[False] * 4] * 2]
    assert np.isfinite(met.ttc_s).tolist() == (met.agent >= 0).tolist() == known
