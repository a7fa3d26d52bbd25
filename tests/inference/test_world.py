from dataclasses import replace

import numpy as np
import pytest

from forecast import AgentKind, ForecastError
from forecast.inference import Forecaster, World
from tests.scenes import drive, street_scene

AT, STEPS = 2, 12


@pytest.fixture
def world(forecaster: Forecaster) -> World:
    return forecaster.imagine(street_scene(), AT, samples=3, seed=1)


def futures(world: World) -> np.ndarray:
    return world.step(STEPS - round(world.time_s / world.dt_s)).prediction().positions_m


def test_left_alone_it_is_the_prediction(forecaster, world) -> None:
    expected = forecaster.predict(street_scene(), AT, samples=3, seed=1)
    imagined = world.step(STEPS).prediction()
    np.testing.assert_array_equal(imagined.positions_m, expected.positions_m)
    np.testing.assert_array_equal(imagined.mode_m, expected.mode_m)
    np.testing.assert_array_equal(imagined.now_m, expected.now_m)
    assert imagined.agent_ids.tolist() == expected.agent_ids.tolist()
    assert imagined.at_us == expected.at_us
    np.testing.assert_array_equal(world.positions_m, imagined.positions_m[:, :, -1])


def test_its_prediction_starts_where_agents_are_before_the_first_step(world) -> None:
    """A command before the first step may still move them; one afterwards does not."""
    names, before = world.agent_ids, world.positions_m[0]
    moved, plain = world.fork(), world.fork().step(2).prediction()
    np.testing.assert_array_equal(plain.now_m, before)
    place = before[0] + np.array([0, 7])
    moved.change(str(names[0]), position_m=place)
    moved.step(1).change(str(names[1]), position_m=before[1] + np.array([0, 7]))
    found = moved.step(1).prediction()
    np.testing.assert_allclose(found.now_m[0], place, atol=1e-5)
    np.testing.assert_array_equal(found.now_m[1:], before[1:])
    added = world.fork()
    added.add("guest", AgentKind.PEDESTRIAN, place)
    found = added.step(1).prediction()
    np.testing.assert_allclose(found.now_m[found.agent_ids == "guest"], [place], atol=1e-5)


def test_given_a_plan_it_is_the_prediction_with_that_plan(forecaster, world) -> None:
    plan = drive(street_scene(), AT, STEPS, 0.3)
    expected = forecaster.predict(street_scene(), AT, samples=3, seed=1, ego_plan=plan)
    world.follow(plan)
    np.testing.assert_allclose(futures(world), expected.positions_m, atol=1e-5)


def test_a_plan_of_another_step_is_interpolated(world) -> None:
    plan, other = drive(street_scene(), AT, STEPS), world.fork()
    world.follow(plan)
    other.follow(plan[1::2], plan_dt_s=1.0)
    np.testing.assert_allclose(futures(world), futures(other), atol=1e-5)
    with pytest.raises(ForecastError, match=r"poses hold 3 poses every 0\.1 s, 0\.3 s in all"):
        world.follow(plan[:3], plan_dt_s=0.1)


def test_the_ego_cannot_jump_but_others_may(world) -> None:
    with pytest.raises(ForecastError, match=r"poses, step 1: lies 5[0-9].* m from the ego"):
        world.follow(drive(street_scene(), AT, 2) + np.array([50, 0, 0]))
    world.follow([[50.0, 0.0, 0.0]], agent="0")
    np.testing.assert_allclose(world.step().positions_m[:, 0], [[50, 0]] * 3)


def test_the_ego_drives_on_from_any_of_its_samples(world) -> None:
    world.step(6)
    ego = world.agent_ids.index("5")
    for sample in range(3):
        ahead = world.positions_m[sample, ego] + 0.5 * world.velocities_mps[sample, ego]
        pose = [*ahead, world.headings_rad[sample, ego]]
        world.fork().follow([pose])
    far = np.array([pose]) + np.array([0, 20, 0])
    with pytest.raises(ForecastError, match=r"poses, step 1: from .* is an acceleration"):
        world.follow(far)


def test_it_moves_on_beyond_any_horizon(world) -> None:
    assert world.step(60).time_s == 30
    assert np.isfinite(world.positions_m).all()


def test_forks_share_their_random_numbers_and_nothing_else(world) -> None:
    world.step(3)
    other = world.fork()
    ego = other.agent_ids.index("5")
    ahead = other.positions_m[0, ego] + 0.5 * other.velocities_mps[0, ego]
    other.follow([[*ahead, other.headings_rad[0, ego]]])
    other.remove("0")
    untouched = world.fork()
    other.step(2)
    np.testing.assert_array_equal(futures(world), futures(untouched))
    assert other.time_s == 2.5
    assert "0" in world.agent_ids


def test_changing_one_agent_leaves_those_out_of_range_as_they_are(forecaster) -> None:
    scene = street_scene()
    positions = scene.tracks.positions_m.copy()
    positions[2] += 500
    scene = replace(scene, tracks=replace(scene.tracks, positions_m=positions))
    world = forecaster.imagine(scene, AT, samples=3)
    changed = world.fork()
    changed.change("2", speed_mps=2.0)
    before, after = futures(world), futures(changed)
    others = [name != "2" for name in world.agent_ids]
    np.testing.assert_allclose(before[:, others], after[:, others], atol=1e-5)
    assert np.abs(before[:, 1] - after[:, 1]).max() > 5


def test_a_change_takes_effect_at_once_and_others_react_in_the_next_step(world) -> None:
    changed = world.fork()
    changed.change("0", position_m=(1.0, 2.0))
    assert (changed.positions_m[:, 0] == [1, 2]).all()
    assert (world.positions_m[:, 0] != [1, 2]).any()
    np.testing.assert_array_equal(world.positions_m[:, 1:], changed.positions_m[:, 1:])
    world.step(), changed.step()
    assert np.abs(world.positions_m[:, 1:] - changed.positions_m[:, 1:]).max() > 1e-6


def test_speed_and_heading(world) -> None:
    before = world.velocities_mps[:, 0]
    world.change("0", speed_mps=2.0)
    pace = np.linalg.norm(before, axis=-1, keepdims=True)
    np.testing.assert_allclose(world.velocities_mps[:, 0], before / pace * 2, atol=1e-5)
    world.change("0", heading_rad=1.0)
    np.testing.assert_allclose(world.headings_rad[:, 0], 1.0, atol=1e-6)
    expected = [2 * np.cos(1.0), 2 * np.sin(1.0)]
    np.testing.assert_allclose(world.velocities_mps[:, 0], np.tile(expected, (3, 1)), atol=1e-5)


def test_an_agent_sent_somewhere_gets_there_and_stays(world) -> None:
    goal = world.positions_m[0, 0] + [3.0, 0.0]
    world.go_to("0", goal, speed_mps=1.5)
    arrived = [world.step().positions_m[:, 0] for _ in range(6)]
    np.testing.assert_allclose(arrived[1][:, 0], goal[0] - 1.5, atol=1e-4)
    np.testing.assert_allclose(arrived[3:], np.broadcast_to(goal, (3, 3, 2)), atol=1e-4)


def test_the_ego_brakes_until_it_stands(world) -> None:
    ego = world.agent_ids.index("5")
    speed = np.linalg.norm(world.velocities_mps[0, ego])
    world.act(-2.0)
    paces = [np.linalg.norm(world.step().velocities_mps[:, ego], axis=-1) for _ in range(8)]
    # What is observed across its way, 3 mm/s here, is not driven.
    np.testing.assert_allclose(paces[0], speed - 1, atol=5e-3)
    np.testing.assert_allclose(paces[7], 0, atol=1e-5)
    world.release()
    world.step(4)
    assert np.linalg.norm(world.velocities_mps[:, ego], axis=-1).max() > 1e-4


def test_a_person_who_was_held_goes_on_from_rest(world) -> None:
    """What was filtered before the command does not come back after it."""
    person = next(name for name in world.agent_ids if name == "0")
    row = world.agent_ids.index(person)
    place, heading = world.positions_m[0, row], world.headings_rad[0, row]
    world.follow([[*place, heading]] * 4, agent=person)
    smoothed = world.step(4)._state.smoothed[:, row]
    assert smoothed.abs().max() < 1e-4
    other = [i for i in range(len(world.agent_ids)) if i != row]
    assert world._state.smoothed[:, other].abs().max() > 0.1


def test_a_car_turns_with_the_yaw_rate_it_is_given(world) -> None:
    ego = world.agent_ids.index("5")
    before = world.headings_rad[:, ego]
    world.act(0.0, yaw_rate_radps=0.2)
    np.testing.assert_allclose(world.step(2).headings_rad[:, ego] - before, 0.2, atol=1e-3)


def test_an_added_person_walks_and_others_react(world) -> None:
    alone = world.fork()
    place = world.positions_m[0, 0] + [1.0, 0.0]
    world.step(2).add("new", AgentKind.PEDESTRIAN, place, heading_rad=0.5, speed_mps=1.0)
    np.testing.assert_allclose(np.linalg.norm(world.velocities_mps[:, -1], axis=-1), 1, rtol=1e-5)
    with_her, without = world.step(10).prediction(), alone.step(12).prediction()
    assert with_her.valid.tolist() == [True] * 5 + [False]
    assert np.isfinite(world.positions_m).all()
    assert np.abs(with_her.positions_m[:, :5] - without.positions_m).max() > 1e-4
    moved = np.linalg.norm(world.positions_m[:, -1] - place, axis=-1)
    assert (moved > 0.1).all()


def test_an_agent_added_and_removed_again_changes_nothing(world) -> None:
    alone = world.fork()
    world.step(2).add("new", AgentKind.PEDESTRIAN, (0.0, 0.0))
    world.remove("new")
    np.testing.assert_allclose(futures(world), futures(alone), atol=1e-5)


def test_without_an_agent_its_neighbours_go_another_way(world) -> None:
    alone = world.fork()
    alone.remove("0")
    assert alone.agent_ids == world.agent_ids[1:]
    assert np.abs(futures(alone) - futures(world)[:, 1:]).max() > 1e-4


def test_an_obstacle_stays_and_others_react(world) -> None:
    free = world.fork()
    place = world.positions_m[0, 0] + [2.0, 0.0]
    world.put_obstacle("crate", place, (2.0, 2.0, 1.0))
    blocked = futures(world)
    np.testing.assert_allclose(world.positions_m[:, -1], np.tile(place, (3, 1)), atol=1e-6)
    assert np.abs(blocked[:, :5] - futures(free)).max() > 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.change("nobody"), "agent 'nobody' is not in the world; one of 0, 2"),
        (lambda w: w.follow(np.zeros(3)), r"shape of poses is \[3\]"),
        (lambda w: w.follow(np.full((2, 3), np.nan)), "poses, step 1: the pose is"),
        (lambda w: w.act(-1.0, agent="0"), "PEDESTRIAN; one that drives"),
        (lambda w: w.go_to("5", (0, 0)), "give a car a plan"),
        (lambda w: w.go_to("0", (0, np.inf)), "goal_m is not finite"),
        (lambda w: w.change("0", speed_mps=-1.0), "speed_mps is -1"),
        (lambda w: w.add("0", AgentKind.PEDESTRIAN, (0, 0)), "not in use"),
        (lambda w: w.add("", AgentKind.PEDESTRIAN, (0, 0)), "agent is ''; a name is needed"),
        (lambda w: w.add("x", 1.5, (0, 0)), "agent 'x': kinds holds 1.5; values of AgentKind"),
        (lambda w: w.add("x", AgentKind.STATIC, (0, 0)), "put_obstacle"),
        (
            lambda w: w.add("x", AgentKind.PEDESTRIAN, (0, 0), size_m=(1, 1)),
            r"size_m has shape \[2\]",
        ),
        (lambda w: w.add("x", 0, (0, 0), size_m=(1, 1, np.inf)), "3 finite lengths"),
        (lambda w: w.add("x", 0, (0, 0), size_m="abc"), "size_m are not numbers"),
        (lambda w: w.add("x", 0, (690e3, 5334e3)), r"position_m is .* relative to origin_m"),
        (lambda w: w.change("0", position_m=(690e3, 5334e3)), r"position_m is .* relative to"),
        (lambda w: w.go_to("0", (690e3, 5334e3)), r"goal_m is .* relative to origin_m"),
        (lambda w: w.follow([[690e3, 5334e3, 0]], "0"), r"poses is .* relative to origin_m"),
        (lambda w: w.add("x", 2, (0, 0), heading_rad=90.0), r"heading_rad is 90\.0; .*radians"),
        (lambda w: w.add("x", 2, (0, 0), size_m=(450, 180, 150)), "centimetres"),
        (lambda w: w.add("x", 0, (0, 0), speed_mps=30.0), "at most 12 m/s for a pedestrian"),
        (lambda w: w.change("0", speed_mps=30.0), "at most 12 m/s for a pedestrian"),
        (lambda w: w.go_to("0", (0, 0), 30.0), "at most 12 m/s for a pedestrian"),
        (lambda w: w.act(0.0, 30.0), r"yaw_rate_radps is 30\.0; at most 4 rad/s \(not degrees\)"),
        (lambda w: w.act(-3.0, "4"), "yaw_rate_radps is '4'; at most 4 rad/s"),
        (lambda w: w.act(-50.0), r"acceleration_mps2 is -50\.0; at most 20 m/s\^2"),
        (lambda w: w.follow([[0, 0, 90]], "4"), r"poses, step 1: heading_rad is 90\.0; .*radians"),
        (lambda w: w.follow([[0, 0, 0], [9, 0, 0]], "0"), r"step 2: speed of a pedestrian is 18"),
        (lambda w: w.step(0), "steps is 0"),
        (lambda w: w.prediction(), "call step"),
        (lambda w: (w.remove("5"), w.release()), "number of egos"),
    ],
)
def test_wrong_arguments(world, change, message) -> None:
    with pytest.raises(ForecastError, match=message):
        change(world)


def test_a_world_needs_a_sample(forecaster) -> None:
    with pytest.raises(ForecastError, match="samples is 0"):
        forecaster.imagine(street_scene(), AT, samples=0)


def test_editing_its_arrays_changes_neither_it_nor_its_forks(world) -> None:
    fork, plain = world.fork(), futures(world.fork())
    for one in (world, world.step(1)):
        for name in ("positions_m", "velocities_mps", "headings_rad"):
            getattr(one, name)[:] += 100
    made = world.prediction()
    made.positions_m[:] += 100
    made.now_m[:] += 100
    np.testing.assert_array_equal(futures(fork), plain)
    np.testing.assert_array_equal(futures(world), plain)
    np.testing.assert_array_equal(world.prediction().now_m, fork.prediction().now_m)


def test_commands_that_are_no_numbers_are_refused_in_one_line(world) -> None:
    name = world.agent_ids[0]
    for words in ({"speed_mps": "3"}, {"heading_rad": "x"}):
        with pytest.raises(ForecastError, match=f"{next(iter(words))} is .*is needed"):
            world.change(name, **words)
