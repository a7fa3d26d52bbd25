import numpy as np
import pytest

from forecast.scene import AgentKind, LaneMap, Polygons, Polylines, Scene
from forecast.simulator import realism

SQUARE = np.array([[0, -4], [40, -4], [40, 4], [0, 4]], float)


def scene(tracks, lane_map=None):
    kinds = [AgentKind.PEDESTRIAN] * len(tracks)
    return Scene.from_arrays(np.array(tracks, float), kinds, 0.5, lane_map=lane_map)


def line(start, velocity, steps=20):
    return np.array(start) + 0.5 * np.arange(steps)[:, None] * np.array(velocity)


def test_a_steady_walker_by_hand():
    motion = realism.measure([scene([line((0, 0), (1.2, 0)), line((0, 3), (1.2, 0))])])
    assert motion.samples["speed"] == pytest.approx(1.2, abs=1e-5)
    assert motion.samples["acceleration"] == pytest.approx(0, abs=1e-4)
    assert motion.samples["turning"] == pytest.approx(0, abs=1e-4)
    assert motion.samples["neighbour"] == pytest.approx(3.0)
    assert motion.samples["cv_6s"] == pytest.approx(0, abs=1e-4)
    assert motion.shares["straight"] == 1.0
    assert motion.shares["people"] == 2.0


def test_standing_is_counted_by_stretches_and_a_start_is_an_error_of_constant_velocity():
    stands = np.zeros((6, 2))
    track = np.concatenate([stands, line((0.5, 0), (1.0, 0), 14)])
    motion = realism.measure([scene([track])])
    assert motion.samples["standing"].tolist() == [2.5]
    assert motion.shares["stands"] == pytest.approx(5 / 19)
    assert motion.samples["cv_3s"].max() == pytest.approx(3.0, abs=1e-5)


def test_what_comes_of_slow_steps_and_of_standing_by_hand():
    starts = np.concatenate([line((0, 0), (0.5, 0), 10), line((2.25 + 0.6, 0), (1.2, 0), 10)])
    stands = np.concatenate([np.zeros((10, 2)), np.tile([0.3, 0.4], (10, 1))])
    motion = realism.measure([scene([starts, stands])])
    # Known speeds from step 1 on; 3 s are 6 steps. Slow: steps 1 to 9.
    assert motion.samples["slow"] == pytest.approx([0.5] * 3 + [1.2] * 6, abs=1e-4)
    # 6 s are 12 steps: from steps 1 to 7 on, the second person stands.
    assert motion.samples["shifts"] == pytest.approx([0.5] * 7, abs=1e-5)


def test_the_angle_to_the_lane_is_measured_on_the_road_only():
    lanes = LaneMap(
        np.array(["a"]),
        Polylines.of([np.array([[0.0, 0.0], [40.0, 0.0]])]),
        drivable_area=Polygons.of([[SQUARE]]),
    )
    motion = realism.measure([scene([line((20, -12), (0.6, 1.2))], lanes)])
    assert motion.samples["crossing"] == pytest.approx(np.degrees(np.arctan2(2, 1)), abs=1e-3)
    assert motion.shares["on_road"] == pytest.approx(6 / 19)


def test_the_distance_of_equal_samples_is_zero():
    motion = realism.measure([scene([line((0, 0), (1.2, 0)), line((0, 3), (1.2, 0.3))])])
    text = realism.table(motion, motion)
    assert len(text.splitlines()) == 2 + len(realism.QUANTITIES) + len(realism.SHARES)
    assert "| 0.000 |" in text
    assert "| - |" in text  # no map, no angle


@pytest.mark.slow
def test_a_city_is_compared_with_a_dataset(town):
    text = realism.compare(town, "v1.0-town", scenes=1, seed=3)
    assert "City: 1 scenes, seed 3; nuScenes: v1.0-town." in text
    assert "Constant-velocity FDE of movers, against all scenes" in text
