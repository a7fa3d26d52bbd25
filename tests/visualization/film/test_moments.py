import numpy as np
import pytest

from forecast import Scene
from forecast.visualization.film.moments import AgentMotion, Camera, current
from tests.visualization.film.films import imagined, recorded


def test_agents_are_interpolated_between_steps_and_absent_in_gaps():
    places = np.array([[[0, 0], [1, 0], [np.nan, np.nan], [3, 2]], [[0, 0]] * 4], float)
    scene = Scene.from_arrays(places, ["pedestrian", "pedestrian"], 0.5)
    motion = AgentMotion.of(scene, np.array([0, 250_000, 750_000, 1_500_000]))
    assert motion.valid.tolist() == [[True, True, False, True], [True] * 4]
    np.testing.assert_allclose(motion.positions_m[0, [0, 1, 3]], [[0, 0], [0.5, 0], [3, 2]])
    # the first is known to face forward once it has moved; the second never moves
    assert motion.facing.tolist() == [[False, False, False, True], [False] * 4]


def test_the_current_prediction_is_the_last_one_so_far():
    film = recorded()
    panel = film.panels[0]
    assert current(panel, 2_999_999).at_us == 2_500_000
    assert current(panel, 3_000_000).at_us == 3_000_000
    assert current(panel, 0).at_us == 2_000_000


def test_the_camera_follows_the_ego_smoothly():
    film = recorded(start_s=0.0, stop_s=10.0)
    times = np.arange(0, 10_000_001, 50_000)
    camera = Camera.of(film, times, 2.0)
    ego = AgentMotion.of(film.scene, times).positions_m[5]
    assert np.linalg.norm(camera.centres_m - ego, axis=1).max() < 30
    steps = np.linalg.norm(np.diff(camera.centres_m, axis=0), axis=1)
    assert steps.max() < 0.5  # 5 m/s are 0.25 m in a picture; people come and go


@pytest.mark.parametrize("aspect", [1.0, 2.0])
def test_the_camera_of_imagined_futures_stands_and_shows_the_ways_of_the_ego(aspect):
    film = imagined("brake", "keep")
    camera = Camera.of(film, np.arange(5_000_000, 8_000_001, 50_000), aspect)
    assert not np.ptp(camera.centres_m, axis=0).any()
    half = np.array([camera.width_m, camera.width_m / aspect]) / 2
    for panel in film.panels:
        assert (np.abs(panel.plan[:, :2] - camera.centres_m[0]) <= half).all()


def test_a_scene_without_an_ego_is_shown_whole():
    places = np.array([[[0.0, 0], [1, 0]], [[50, 0], [51, 0]]])
    scene = Scene.from_arrays(places, ["pedestrian", "pedestrian"], 0.5)
    camera = Camera.of(recorded(scene, 0.0, 0.5), np.array([0, 500_000]), 2.0)
    np.testing.assert_allclose(camera.centres_m, [[25.5, 0]] * 2)
    assert camera.width_m == 61  # 51 m and 5 m on either side


@pytest.mark.parametrize(("ego_x_m", "middle_m"), [(1000.0, 25.5), (20.0, None)])
def test_an_ego_that_nobody_is_near_is_not_followed(ego_x_m, middle_m):
    places = np.array([[[0.0, 0], [1, 0]], [[50, 0], [51, 0]], [[ego_x_m, 0]] * 2])
    kinds = ["pedestrian", "pedestrian", "ego"]
    scene = Scene.from_arrays(places, kinds, 0.5, headings_rad=np.zeros((3, 2)))
    camera = Camera.of(recorded(scene, 0.0, 0.5), np.array([0, 500_000]), 2.0)
    if middle_m is None:
        assert camera.width_m == 70, "the width of the picture around an ego"
    else:
        np.testing.assert_allclose(camera.centres_m, [[middle_m, 0]] * 2)


def test_people_far_from_the_ego_are_shown_where_nobody_is_near():
    film = imagined(at_s=9.0)
    camera = Camera.of(film, np.array([9_000_000, 12_000_000]), 1.0)
    ends = film.panels[0].scene.tracks.positions_m[:3, -1]
    inside = np.abs(ends - camera.centres_m[0]) <= camera.width_m / 2
    assert inside.all()
