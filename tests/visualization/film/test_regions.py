import numpy as np

from forecast.models.baselines import Kalman
from forecast.visualization.film.regions import CORNERS, regions, ribbon, ribbons, rings, tube_level
from tests.scenes import street_scene
from tests.visualization.film.films import Calibrated

AGENTS = np.array([0, 1, 2])
NOW = street_scene().tracks.positions_m[:3, 10]


def test_a_ribbon_surrounds_the_regions_of_all_steps():
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
    regions_m = [square + np.array([2, 0]), square + np.array([4, 0])]
    outline = ribbon(np.array([0.0, 0.0]), regions_m)
    assert outline[:, 0].min() == 0
    assert outline[:, 0].max() == 5
    assert np.abs(outline[:, 1]).max() == 1


def test_people_without_a_tube_have_no_region():
    made = Calibrated().predict(street_scene(), 10)
    assert tube_level(made) == 0.9
    assert len(ribbons(made, NOW, AGENTS)) == 2
    assert rings(made, AGENTS).shape == (2, 12, CORNERS, 2)
    assert len(regions(made, NOW, AGENTS, 2.5)) == 2
    bare = Kalman().predict(street_scene(), 10)
    assert ribbons(bare, NOW, AGENTS) == []
    assert rings(bare, AGENTS).shape == (0, 12, CORNERS, 2)


def test_regions_are_circles_around_the_best_guess():
    made = Calibrated().predict(street_scene(), 10)
    around = rings(made, AGENTS) - made.mode_m[[1, 2]][:, :, None]
    radius = np.linalg.norm(around, axis=-1)
    # the corners of a polygon around a circle lie a little outside
    expected = np.arange(1, 13)[None, :, None] / np.cos(np.pi / CORNERS)
    np.testing.assert_allclose(radius, np.broadcast_to(expected, radius.shape), rtol=1e-6)
    (at_step, _) = regions(made, NOW, AGENTS, 3.0)
    centre = at_step.mean(axis=0)
    np.testing.assert_allclose(centre, made.mode_m[1, 2], atol=1e-5)
