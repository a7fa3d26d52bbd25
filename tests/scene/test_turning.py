import numpy as np

from forecast.scene.turning import turned
from tests.any_scene import assert_equal
from tests.scenes import moved, street_scene


def test_turning_turns_map_and_all():
    scene = street_scene()
    assert_equal(turned(scene, 0.0), scene)
    one, two = turned(scene, 0.7), moved(scene, 0.7, (0.0, 0.0))
    np.testing.assert_allclose(one.tracks.positions_m, two.tracks.positions_m, atol=1e-4)
    np.testing.assert_allclose(
        one.lane_map.centerlines.points_m, two.lane_map.centerlines.points_m, atol=1e-4
    )
