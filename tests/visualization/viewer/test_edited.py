import numpy as np
import pytest

from forecast import AgentKind, ForecastError, Scene, open_store
from forecast.visualization.viewer.edited import commands, edited_scene, save_scene
from forecast.visualization.viewer.edits import (
    ActEdit,
    AddEdit,
    ChangeEdit,
    GoToEdit,
    ObstacleEdit,
    RemoveEdit,
)

DT_S = 0.5
LEFT = np.pi / 2


@pytest.fixture
def scene() -> Scene:
    """A person who walks along x at 1 m/s, one who stands, and the ego at 4 m/s along y."""
    steps = np.arange(6) * DT_S
    walks = np.stack([steps, 0 * steps], -1)
    stands = np.tile([10.0, 5.0], (6, 1))
    drives = np.stack([0 * steps - 3, 4 * steps], -1)
    headings = np.repeat([[0.0], [0.5], [LEFT]], 6, axis=1)
    return Scene.from_arrays(
        np.stack([walks, stands, drives]),
        ["pedestrian", "cyclist", "ego"],
        DT_S,
        agent_ids=["walker", "stander", "ego"],
        headings_rad=headings,
        id="made-up",
    )


def track(scene: Scene, name: str) -> np.ndarray:
    return scene.positions_m[scene.tracks.agent_ids.tolist().index(name)]


def test_without_edits_it_is_the_past(scene):
    found = edited_scene(scene, 4, [], 3)
    np.testing.assert_array_equal(found.positions_m, scene.positions_m[:, 2:5])
    assert (found.steps, found.start_us, found.id) == (3, 1_000_000, "made-up")


def test_a_moved_person_has_walked_there(scene):
    found = edited_scene(scene, 4, [ChangeEdit("walker", (7.0, 3.0))], 3)
    np.testing.assert_allclose(track(found, "walker"), [[6, 3], [6.5, 3], [7, 3]])
    np.testing.assert_array_equal(track(found, "ego"), scene.positions_m[2, 2:5])


def test_a_turned_person_has_come_from_the_other_side(scene):
    found = edited_scene(scene, 4, [ChangeEdit("walker", heading_rad=LEFT)], 3)
    np.testing.assert_allclose(track(found, "walker"), [[2, -1], [2, -0.5], [2, 0]], atol=1e-6)


def test_a_person_with_another_speed_has_come_with_it_all_the_time(scene):
    found = edited_scene(scene, 4, [ChangeEdit("walker", speed_mps=3.0)], 3)
    np.testing.assert_allclose(track(found, "walker"), [[-1, 0], [0.5, 0], [2, 0]], atol=1e-6)


def test_one_who_stood_has_come_along_its_heading(scene):
    found = edited_scene(scene, 4, [ChangeEdit("stander", heading_rad=LEFT, speed_mps=2.0)], 3)
    np.testing.assert_allclose(track(found, "stander"), [[10, 3], [10, 4], [10, 5]], atol=1e-6)


def test_a_new_person_has_a_history_of_constant_velocity(scene):
    add = AddEdit("person 1", "pedestrian", (1.0, 1.0), heading_rad=LEFT, speed_mps=1.0)
    found = edited_scene(scene, 4, [add, ObstacleEdit("box", (4.0, 4.0), (2.0, 1.0, 1.0))], 3)
    np.testing.assert_allclose(track(found, "person 1"), [[1, 0], [1, 0.5], [1, 1]], atol=1e-6)
    np.testing.assert_array_equal(track(found, "box"), np.tile([4.0, 4.0], (3, 1)))
    assert found.tracks.kinds[-2:].tolist() == [AgentKind.PEDESTRIAN, AgentKind.VEHICLE]
    np.testing.assert_array_equal(found.tracks.sizes_m[-1], [2, 1, 1])


def test_a_removed_agent_was_never_there_and_an_unknown_one_is_refused(scene):
    found = edited_scene(scene, 4, [RemoveEdit("walker")], 3)
    assert found.tracks.agent_ids.tolist() == ["stander", "ego"]
    with pytest.raises(ForecastError, match="agent 'x' is not in the scene now"):
        edited_scene(scene, 4, [RemoveEdit("x")], 3)


def test_commands_change_no_history_and_are_named(scene):
    given = [GoToEdit("walker", (9.0, 9.0)), ActEdit(-3.0), ChangeEdit("walker", speed_mps=1.0)]
    found = edited_scene(scene, 4, given, 3)
    np.testing.assert_allclose(track(found, "walker"), scene.positions_m[0, 2:5], atol=1e-6)
    assert commands(given) == [
        "world.go_to(agent='walker', goal_m=(9.0, 9.0))",
        "world.act(acceleration_mps2=-3.0, yaw_rate_radps=0.0)",
    ]


def test_a_saved_scene_is_a_store_that_predicts_the_same(scene, store, forecaster, tmp_path):
    edited = edited_scene(scene, 4, [ChangeEdit("walker", (7.0, 3.0))], 5)
    path = save_scene(edited, tmp_path, store)
    read = open_store(path)["made-up"]
    assert save_scene(edited, tmp_path, store) == path
    expected, found = (forecaster.predict(each, -1, samples=3) for each in (edited, read))
    np.testing.assert_array_equal(found.positions_m, expected.positions_m)
