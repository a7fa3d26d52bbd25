from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from forecast import ForecastError
from forecast.models.baselines import ConstantVelocity
from forecast.visualization.birds_eye import LIGHT
from forecast.visualization.film.film import imagined_film
from forecast.visualization.film.ground import Ground
from forecast.visualization.film.painter import Painter, PictureFormat, corners, places_after
from tests.scenes import street_scene
from tests.visualization.film.films import ASKED, Calibrated, imagined, recorded

SMALL = PictureFormat(width_px=480, fps=5)


def has(picture: np.ndarray, colour: str, least: int = 20) -> bool:
    """Whether a picture has pixels of nearly a colour."""
    wanted = np.array(to_rgb(colour)) * 255
    return int((np.abs(picture[..., :3] - wanted).max(-1) < 12).sum()) >= least


def test_a_picture_shows_agents_futures_and_the_truth():
    painter = Painter(recorded(), SMALL)
    assert len(painter) == 11  # both ends of 2 s
    picture = painter.picture(5)
    assert picture.shape == (270, 480, 4)
    assert picture.dtype == np.uint8
    for colour in (LIGHT.ego, LIGHT.body, LIGHT.history, LIGHT.truth, LIGHT.mode, LIGHT.road):
        assert has(picture[44:220], colour)


def test_pictures_do_not_depend_on_those_before():
    film = recorded()
    direct = Painter(film, SMALL).picture(8)
    painter = Painter(film, SMALL)
    every = [painter.picture(index) for index in range(len(painter))]
    np.testing.assert_array_equal(every[8], direct)
    np.testing.assert_array_equal(painter.picture(7), every[7])  # also backwards
    assert (every[0] != every[8]).any()


def test_panels_differ_by_the_plan_and_show_no_truth_of_another_plan():
    film = imagined("brake", "keep")
    painter = Painter(film, SMALL)
    assert len(painter) == 5 + 16 + 5  # 3 s, and both ends held for 1 s
    last = painter.picture(len(painter) - 1)
    left, right = last[44:220, :238], last[44:220, 242:]
    assert has(right, LIGHT.plan, 5)
    assert (left != right).any()
    assert not has(last[44:220], LIGHT.truth, 3)
    np.testing.assert_array_equal(painter.picture(0), painter.picture(4))


def test_the_truth_is_shown_where_the_ego_drives_as_recorded():
    painter = Painter(imagined("recorded"), SMALL)
    assert has(painter.picture(15)[44:220], LIGHT.truth)


def test_scenes_without_a_map_and_without_people_are_drawn():
    scene = replace(street_scene(), lane_map=None)
    bare = replace(scene, tracks=scene.tracks.select(scene.tracks.kinds == 3))
    assert has(Painter(recorded(bare), SMALL).picture(3), LIGHT.ego)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width_px": 100}, "width is 100 px; an even number from 320 to 4096 is needed"),
        ({"width_px": 481}, "width is 481 px"),
        ({"fps": 0}, "fps is 0; 1 to 60 pictures a second is needed"),
    ],
)
def test_sizes_that_no_player_takes_are_refused(options, message):
    with pytest.raises(ForecastError, match=message):
        PictureFormat(**options)


def test_the_ground_is_the_same_however_it_is_cut():
    ground = Ground(street_scene().lane_map, 10.0, LIGHT)
    whole = ground.cut(-600, -100, 1200, 200)
    part = ground.cut(-37, -53, 90, 60)
    np.testing.assert_array_equal(part, whole[47:107, 563:653])
    assert has(whole, LIGHT.crosswalk, 1000)
    # the carriageway ends 4 m below and the walkway 7 m above the x axis
    np.testing.assert_array_equal(whole[100 + 45, 300, :3], 255)
    np.testing.assert_array_equal(whole[100 - 55, 300, :3], np.array(to_rgb(LIGHT.walkway)) * 255)


def test_boxes_and_places():
    boxes = corners(np.float32([[1, 2]]), np.float32([np.pi / 2]), np.float32([[4, 2]]))
    np.testing.assert_allclose(boxes[0], [[0, 4], [0, 0], [2, 0], [2, 4]], atol=1e-6)
    samples = np.float32([[[[2, 0], [4, 0]]]])
    now = np.float32([[0, 0]])
    for steps, x in ((0.0, 0), (0.5, 1), (1.5, 3), (9.0, 4)):
        np.testing.assert_allclose(places_after(samples, now, steps), [[[x, 0]]])


def test_a_name_of_any_length_and_with_any_sign_stays_beside_the_clock():
    long, short = (
        Painter(recorded(replace(street_scene(), id=name)), SMALL).picture(0)[:44]
        for name in ("a $b$ " * 30, "s")
    )
    clock = slice(480 - 100, None)
    np.testing.assert_array_equal(long[:, clock], short[:, clock])
    assert (long[:, 200:340] != short[:, 200:340]).any()


@pytest.mark.parametrize("film", [recorded, partial(imagined, at_s=0.5)])
def test_regions_and_fallbacks_have_colours_of_their_own(film):
    picture = Painter(film(predictor=Calibrated()), SMALL).picture(9)
    for name in ("tube", "fallback"):
        assert has(picture[190:], getattr(LIGHT, name))  # in the legend
    assert has(picture[44:190], LIGHT.fallback, 2)
    plain = Painter(film(), SMALL).picture(9)
    assert not has(plain[190:], LIGHT.tube)
    assert (picture[44:190] != plain[44:190]).any(axis=-1).sum() > 1000


def test_a_single_future_is_drawn_once():
    film = imagined_film(ConstantVelocity(), "line", street_scene(), 2.0, ASKED)
    picture = Painter(film, SMALL).picture(18)
    assert has(picture[44:190], LIGHT.mode)
    assert not has(picture[44:], LIGHT.sample, 1)
