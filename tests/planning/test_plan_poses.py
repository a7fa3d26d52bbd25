import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast import AgentKind, ForecastError, Scene
from forecast.datasets.nuscenes import NuScenesSource
from forecast.planning import EgoState, candidates
from forecast.planning.plan_poses import EgoMotion, plan_poses, plan_steps

DT_S, STEPS = 0.5, 12


def motion(*along_m: float) -> EgoMotion:
    """The motion of an ego observed at these places of the x axis, every half second."""
    places = np.stack([np.array(along_m), np.zeros(len(along_m))], -1)
    return EgoMotion.of_history(places, np.ones(len(along_m), bool), 0.0, DT_S)


def constant(speed_mps: float) -> EgoMotion:
    """The motion of an ego that has driven to the origin at a constant speed."""
    return motion(*(speed_mps * DT_S * np.arange(-4, 1)))


def along(distances_m: object, heading_rad: float = 0.0) -> np.ndarray:
    """Poses ``[T, 3]`` on the x axis."""
    x = np.asarray(distances_m, float)
    return np.stack([x, np.zeros(len(x)), np.full(len(x), heading_rad)], -1)


def steady(speed_mps: float, steps: int = STEPS, every_s: float = DT_S) -> np.ndarray:
    return along(speed_mps * every_s * np.arange(1, steps + 1))


def braking(speed_mps: float, decel_mps2: float, begun_s: float = 0.0) -> np.ndarray:
    """A stop along the x axis that began some time ago, from a place 0 at that time."""
    time_s = np.minimum(begun_s + DT_S * np.arange(1, STEPS + 1), speed_mps / decel_mps2)
    return along(speed_mps * time_s - decel_mps2 * time_s**2 / 2)


def accepted(plan: object, ego: EgoMotion, **options: object) -> np.ndarray:
    made = plan_poses(plan, ego, **{"dt_s": DT_S, "steps": STEPS, **options})
    assert np.isfinite(made).all()
    return made


def refusal(plan: object, ego: EgoMotion, **options: object) -> str:
    with pytest.raises(ForecastError) as error:
        accepted(plan, ego, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_poses_at_the_models_steps_are_unchanged() -> None:
    plan = steady(5.0) + np.random.default_rng(0).normal(0, 0.02, (STEPS, 3))
    for given_plan in (plan, plan.tolist()):
        np.testing.assert_array_equal(accepted(given_plan, constant(5.0)), plan)
    np.testing.assert_array_equal(accepted(plan, constant(5.0), plan_dt_s=0.5), plan)
    both = accepted(np.stack([plan, plan]), constant(5.0), item="plans")
    np.testing.assert_array_equal(both, [plan, plan])


@pytest.mark.parametrize("every_s", [0.1, 0.25])
def test_a_finer_plan_is_sampled_exactly(every_s: float) -> None:
    count = round(6 / every_s)
    plan = steady(5.0, count, every_s) + np.random.default_rng(0).normal(0, 0.02, (count, 3))
    each = round(DT_S / every_s)
    np.testing.assert_array_equal(
        accepted(plan, constant(5.0), plan_dt_s=every_s), plan[each - 1 :: each]
    )


def test_a_coarser_plan_is_interpolated_from_the_pose_of_now() -> None:
    plan = [[5.0, 0.0, 0.2], [10.0, 1.0, 0.4]]
    expected = [[2.5, 0, 0.1], [5, 0, 0.2], [7.5, 0.5, 0.3], [10, 1, 0.4]]
    found = accepted(plan, constant(5.0), plan_dt_s=1.0, steps=4)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_headings_are_interpolated_along_the_shorter_arc() -> None:
    ego = EgoMotion.of_state(EgoState(0, 0, 3.1, 0))
    found = accepted([[-0.1, 0, -3.1], [-0.3, 0, -3.1]], ego, plan_dt_s=1.0, steps=4)
    np.testing.assert_allclose(found[0, 2], math.pi, atol=1e-12)
    np.testing.assert_allclose(np.cos(found[1:, 2]), math.cos(3.1), atol=1e-12)


def test_steps_that_do_not_fit_into_each_other() -> None:
    # 15 poses every 0.4 s; half a second is a quarter of the way from the first to the next.
    found = accepted(steady(5.0, 15, 0.4), constant(5.0), plan_dt_s=0.4)
    np.testing.assert_allclose(found, steady(5.0), atol=1e-12)
    # The last of 18 poses every 0.35 s is 0.3 s beyond the horizon; 17 would not reach it.
    found = accepted(steady(5.0, 18, 0.35), constant(5.0), plan_dt_s=0.35)
    np.testing.assert_allclose(found, steady(5.0), atol=1e-12)


@settings(max_examples=40)
@given(
    speed=st.floats(0, 30),
    x=st.floats(-2e3, 2e3),
    heading=st.floats(-math.pi, math.pi),
    every_s=st.sampled_from([0.1, 0.25, 0.5, 1.0]),
)
def test_a_straight_plan_is_the_same_at_any_rate(
    speed: float, x: float, heading: float, every_s: float
) -> None:
    ego = EgoState(x, -x, heading, speed)

    def plan(step_s: float) -> np.ndarray:
        way = speed * step_s * np.arange(1, round(6 / step_s) + 1)
        poses = np.stack([way * math.cos(heading), way * math.sin(heading), np.zeros(len(way))], -1)
        return poses + ego.pose

    found = accepted(plan(every_s), EgoMotion.of_state(ego), plan_dt_s=every_s)
    np.testing.assert_allclose(found, plan(DT_S), atol=1e-9)


egos = st.builds(
    EgoState,
    x_m=st.floats(-50, 50),
    y_m=st.floats(-50, 50),
    heading_rad=st.floats(-3, 3),
    speed_mps=st.floats(0, 40),
    acceleration_mps2=st.floats(-20, 15),
)


@settings(max_examples=8)
@given(ego=egos, every_s=st.sampled_from([0.1, 0.5, 1.0]))
def test_every_candidate_is_accepted(ego: EgoState, every_s: float) -> None:
    plans = candidates(ego, 50, dt_s=every_s)
    options = {"plan_dt_s": every_s, "item": "plans"}
    found = accepted(plans, EgoMotion.of_state(ego), **options)
    assert found.shape == (len(plans), STEPS, 3)


@settings(max_examples=30)
@given(
    speeds=st.lists(st.floats(0, 25), min_size=2, max_size=4),
    heading=st.floats(-3, 3),
    lean=st.floats(-0.5, 0.5),
)
def test_every_candidate_of_an_observed_ego_is_accepted(
    speeds: list[float], heading: float, lean: float
) -> None:
    """Whatever its history, and if it moves at an angle to its heading."""
    way = DT_S * np.outer(np.cumsum([0.0, *speeds]), [math.cos(heading), math.sin(heading)])
    headings = np.full((1, len(way)), heading + lean)
    scene = Scene.from_arrays(way[None], [AgentKind.EGO], DT_S, headings_rad=headings)
    at, tracks = scene.steps - 1, scene.tracks
    observed = EgoMotion.of_history(
        tracks.positions_m[0], tracks.valid[0], float(tracks.headings_rad[0, at]), DT_S
    )
    accepted(candidates(EgoState.of(scene, at), 50), observed, item="plans")


@pytest.mark.parametrize(
    ("poses", "options", "message"),
    [
        (
            steady(5.0, 60, 0.1),
            {},
            "ego_plan holds 60 poses every 0.5 s, 30 s in all; the horizon is 6 s: "
            "give plan_dt_s (0.1?) or the first 12 poses",
        ),
        (
            steady(5.0, 13),
            {},
            "ego_plan holds 13 poses every 0.5 s, 6.5 s in all; the horizon is 6 s: "
            "give plan_dt_s or the first 12 poses",
        ),
        (
            steady(5.0, 12),
            {"plan_dt_s": 0.1},
            "ego_plan holds 12 poses every 0.1 s, 1.2 s in all; the horizon is 6 s: "
            "60 poses are needed",
        ),
        (np.zeros((12, 2)), {}, "shape of ego_plan is [12, 2]; [T, 3] is needed"),
        (np.zeros((2, 12, 3)), {}, "shape of ego_plan is [2, 12, 3]; [T, 3] is needed"),
        (np.zeros((12, 3)), {"item": "plans"}, "shape of plans is [12, 3]; [P, T, 3] is needed"),
        ([[0.0, 1.0], [2.0]], {}, "ego_plan: not an array of numbers; poses are needed"),
        (steady(5.0), {"plan_dt_s": 0.0}, "plan_dt_s is 0.0; a time above 0 s is needed"),
        (steady(5.0), {"plan_dt_s": "0.5"}, "plan_dt_s is 0.5; a time above 0 s is needed"),
        (steady(5.0), {"plan_dt_s": math.nan}, "plan_dt_s is nan; a time above 0 s is needed"),
    ],
)
def test_plans_that_do_not_fit_are_refused(poses: object, options: dict, message: str) -> None:
    assert refusal(poses, constant(5.0), **options) == message


def test_what_is_not_finite_is_refused_by_plan_and_step() -> None:
    plans = np.stack([steady(5.0)] * 5)
    plans[3, 6, 1] = np.nan
    expected = "plan 3, step 7: the pose is [17.5, nan, 0.0]; a pose of finite numbers is needed"
    assert refusal(plans, constant(5.0), item="plans") == expected


def test_plans_of_whole_steps() -> None:
    assert plan_steps(np.zeros((2, 60, 3)), dt_s=0.5, plan_dt_s=0.1) == 12
    assert plan_steps(np.zeros((2, 7, 3)), dt_s=0.5) == 7
    assert plan_steps(np.zeros((3, 3)), dt_s=0.4, plan_dt_s=2.0, item="poses") == 15
    with pytest.raises(ForecastError) as error:
        plan_steps(np.zeros((2, 13, 3)), dt_s=0.5, plan_dt_s=0.1)
    assert str(error.value) == (
        "plans each hold 13 poses every 0.1 s, 1.3 s in all; "
        "a whole number of steps of 0.5 s is needed"
    )
    with pytest.raises(ForecastError) as error:
        plan_steps(np.zeros((2, 60, 3)), dt_s=0.5, longest_s=6.0)
    assert str(error.value) == (
        "plans each hold 60 poses every 0.5 s, 30 s in all; the horizon is 6 s: "
        "give plan_dt_s (0.1?) or the first 12 poses"
    )
    with pytest.raises(ForecastError, match=r"0\.2 s in all"):
        plan_steps(np.zeros((2, 2, 3)), dt_s=0.5, plan_dt_s=0.1)


def test_a_plan_in_world_coordinates_is_refused() -> None:
    world = steady(5.0) + np.array([690_000.0, 5_334_000.0, 0.0])
    assert refusal(world, constant(5.0)) == (
        "ego_plan, step 1: lies 5378444.0 m from the ego, which cannot drive that in 0.5 s; "
        "poses relative to the scene's origin_m are needed"
    )
    message = refusal(np.stack([steady(5.0), world]), constant(5.0), item="plans")
    assert message.startswith("plan 1, step 1: lies 5378444.0 m from the ego")
    assert "lies 5378444.0 m" in refusal(world, motion(0.0))


def test_a_plan_at_10_hz_taken_for_one_at_2_hz_is_refused() -> None:
    # From 5 to 1 m/s within a quarter of a second: 16 m/s^2. The observed speed is uncertain by
    # 15 %; from 4.25 m/s it is still 13 m/s^2.
    plan = steady(5.0, 12, 0.1)
    assert refusal(plan, constant(5.0)) == (
        "ego_plan, step 1: from 4.2 m/s now to 1.0 m/s is an acceleration of 13.0 m/s^2; at most "
        "12 m/s^2 is needed: are the poses in the scene's frame, 0.5 s (plan_dt_s) apart?"
    )
    known = EgoMotion.of_state(EgoState(0, 0, 0, 5.0))
    assert "an acceleration of 16.0 m/s^2" in refusal(plan, known)
    accepted(plan, motion(0.0))  # of an ego that was observed once, no speed is known


@pytest.mark.parametrize(("first_mps", "good"), [(2.0, True), (1.99, False), (8.0, True)])
def test_the_limit_of_the_first_step(first_mps: float, good: bool) -> None:
    # Half a step after now: 3 m/s in 0.25 s are 12 m/s^2.
    ego = EgoMotion.of_state(EgoState(0, 0, 0, 5.0))
    plan = steady(first_mps)
    accepted(plan, ego) if good else refusal(plan, ego)


def test_the_limit_of_later_steps() -> None:
    # The speed of step 3 differs by 6 m/s within half a second: 12 m/s^2.
    for more, good in ((6.0, True), (6.01, False)):
        plan = along(np.cumsum([2.5, 2.5, *[2.5 + more / 2] * 10]))
        if good:
            accepted(plan, constant(5.0))
        else:
            message = refusal(plan, constant(5.0))
            assert message.startswith("ego_plan, step 3: from 5.0 to 11.0 m/s is an acceleration")


def test_sideways_counts() -> None:
    plan = steady(10.0)
    plan[4:, 1] = 2.0  # to the left within step 5, and straight on in step 6: 4 m/s, 8 m/s^2
    accepted(plan, constant(10.0))
    plan[4:, 1] = 4.0
    assert "step 5: from 10.0 to 12.8 m/s is an acceleration of 16.0" in refusal(
        plan, constant(10.0)
    )


@pytest.mark.parametrize("begun_s", [0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0])
@pytest.mark.parametrize("speed", [4.0, 10.0, 15.0, 30.0])
def test_an_emergency_stop_is_accepted_whenever_it_began(speed: float, begun_s: float) -> None:
    """Braking with 8 m/s^2, as an emergency does, from constant speed; now is `begun_s` later."""
    time_s = begun_s - DT_S * np.arange(4, -1, -1)
    braked_s = np.clip(time_s, 0, speed / 8)
    past = speed * np.minimum(time_s, speed / 8) - 4 * braked_s**2
    accepted(braking(speed, 8.0, begun_s), motion(*past))


def test_the_speed_before_a_gap_counts_for_as_long_as_it_took() -> None:
    # Observed at -1.5 s, -1 s and now: 10 m/s all the time.
    places = np.array([[-15.0, 0.0], [-10.0, 0.0], [7.0, 7.0], [0.0, 0.0]])
    ego = EgoMotion.of_history(places, np.array([True, True, False, True]), 0.0, DT_S)
    np.testing.assert_allclose(ego.velocities_mps[0], [[8.5, 0], [11.5, 0]])
    accepted(steady(10.0), ego)
    assert "from 8.5 m/s now to 2.0 m/s" in refusal(steady(2.0), ego)


def test_the_present_speed_follows_from_braking_observed() -> None:
    # Means of 14, then 10 m/s: 8 m/s^2, so 8 m/s now. With 15 % either way: 6.8 to 11.5 m/s.
    ego = motion(-12.0, -5.0, 0.0)
    np.testing.assert_allclose(ego.velocities_mps[0], [[6.8, 0], [11.5, 0]])
    np.testing.assert_allclose(ego.velocities_mps[2], [[10, 0], [10, 0]])


def test_a_bend_observed_goes_on() -> None:
    # A circle of 15 m radius at 10 m/s: 6.7 m/s^2 sideways all the time.
    angle = 10 / 15 * DT_S * np.arange(-4, STEPS + 1)
    path = 15 * np.stack([np.sin(angle), 1 - np.cos(angle)], -1)
    ego = EgoMotion.of_history(path[:5], np.ones(5, bool), 0.0, DT_S)
    accepted(np.column_stack([path[5:], angle[5:]]), ego)


@pytest.mark.parametrize(("speed", "good"), [(70.0, True), (71.0, False)])
def test_the_limit_of_speed(speed: float, good: bool) -> None:
    plan = along(np.cumsum(0.5 * np.minimum(60 + 5.0 * np.arange(STEPS), speed)))
    if good:
        accepted(plan, constant(60.0))
    else:
        message = "ego_plan, step 4: its speed is 71.0 m/s; at most 70 m/s is needed"
        assert refusal(plan, constant(60.0)) == message


def test_headings_in_degrees_are_refused() -> None:
    plan = steady(5.0)
    for heading in (90.0, -45.0, 180.0):
        plan[:, 2] = heading
        expected = f"ego_plan, step 1: heading_rad is {heading:g}; degrees? radians are needed"
        assert refusal(plan, constant(5.0)) == expected
    # 2.9 rad are 166 degrees, but 2.9 degrees would be a heading along the way.
    plan[:, 2] = 2.0
    assert refusal(plan, constant(5.0)) == (
        "ego_plan, step 1: heading_rad is 2, 57 degrees off its direction of motion; degrees? "
        "radians at most 45 degrees off, or reverse driving at up to 5 m/s, are needed"
    )


def test_a_heading_against_the_motion_is_refused() -> None:
    plan = steady(10.0)
    plan[6:, 2] = math.radians(80)
    message = refusal(plan, constant(10.0))
    # In step 7 the mean heading is 40 degrees off; from step 8 on it is 80.
    assert message.startswith("ego_plan, step 8: heading_rad is 1.39626, 80 degrees off")
    plan[6:, 2] = math.radians(44) + 2 * math.pi
    accepted(plan, constant(10.0))


@pytest.mark.parametrize(("speed", "good"), [(5.0, True), (5.1, False)])
def test_reverse_driving_is_slow(speed: float, good: bool) -> None:
    plan, ego = along(-0.5 * speed * np.arange(1, STEPS + 1)), constant(-speed)
    if good:
        accepted(plan, ego)
    else:
        assert "heading_rad is 0, 180 degrees off" in refusal(plan, ego)


def test_a_standing_ego_has_no_direction() -> None:
    plan = np.tile([0.0, 0.0, 1.5], (STEPS, 1))
    plan[:, 1] = np.linspace(0, -0.4, STEPS)
    accepted(plan, constant(0.0))


def test_the_first_step_may_turn_from_an_unknown_heading() -> None:
    # An ego without recorded heading stands with heading 0, and drives off to the left.
    time_s = DT_S * np.arange(1, STEPS + 1)
    plan = np.stack([np.zeros(STEPS), 2 * time_s**2, np.full(STEPS, math.pi / 2)], -1)
    plan[0, 1] = 0.6
    accepted(plan, constant(0.0))


def test_steps_are_those_of_the_plan() -> None:
    plan = steady(5.0, 60, 0.1)
    plan[35:, 0] += 30.0  # from pose 36 on; the model's step 8 is pose 40
    assert "ego_plan, step 40: from 5.0 to 65.0 m/s" in refusal(plan, constant(5.0), plan_dt_s=0.1)
    coarse = steady(5.0, 6, 1.0)
    coarse[3:, 0] += 30.0
    assert "ego_plan, step 4: from 5.0 to 35.0 m/s" in refusal(coarse, constant(5.0), plan_dt_s=1.0)


def test_hard_braking_at_1_hz_is_no_jump_between_interpolated_velocities() -> None:
    time_s = np.minimum(np.arange(1.0, 7.0), 20 / 8)
    accepted(along(20 * time_s - 4 * time_s**2), constant(20.0), plan_dt_s=1.0)


def test_a_thousand_plans_do_not_wait_for_a_bad_one() -> None:
    plans = np.stack([steady(speed) for speed in np.linspace(4, 6, 1000)])
    assert accepted(plans, constant(5.0), item="plans").shape == (1000, STEPS, 3)
    plans[700, 5:, 0] += 50
    assert refusal(plans, constant(5.0), item="plans").startswith("plan 700, step 6: its speed is")


@pytest.mark.parametrize("horizon_s", [3.0, 6.0])
@pytest.mark.parametrize("history", [1, 2, 5])
def test_recorded_paths_of_mini_are_plans(
    nuscenes_root: Path, horizon_s: float, history: int
) -> None:
    assert (
        checked(nuscenes_root, "v1.0-mini", horizon_s, history) == {3.0: 344, 6.0: 284}[horizon_s]
    )


@pytest.mark.parametrize("horizon_s", [3.0, 6.0])
@pytest.mark.parametrize("history", [1, 2, 5])
def test_recorded_paths_of_the_teaser_are_plans(
    teaser_root: Path, horizon_s: float, history: int
) -> None:
    found = checked(teaser_root, "v1.0-teaser", horizon_s, history)
    assert found == {3.0: 2195, 6.0: 1805}[horizon_s]


def checked(dataroot: Path, version: str, horizon_s: float, history: int) -> int:
    """Number of recorded futures of the ego; each must be accepted as a plan."""
    source, count = NuScenesSource(dataroot, version, with_map=False), 0
    for name in source.scene_names():
        scene, _ = source.read(name)
        (ego,) = np.flatnonzero(scene.tracks.kinds == AgentKind.EGO)
        tracks, steps = scene.tracks, round(horizon_s / scene.dt_s)
        poses = np.column_stack([tracks.positions_m[ego], tracks.headings_rad[ego]])
        valid = tracks.valid[ego]
        for at in range(scene.steps - steps):
            if valid[at : at + steps + 1].all():
                past = slice(max(0, at + 1 - history), at + 1)
                now = EgoMotion.of_history(poses[past, :2], valid[past], poses[at, 2], scene.dt_s)
                plan_poses(poses[at + 1 : at + 1 + steps], now, dt_s=scene.dt_s, steps=steps)
                count += 1
    return count
