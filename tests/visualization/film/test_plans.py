import numpy as np
import pytest

from forecast import AgentKind, ForecastError, Scene
from forecast.visualization.film.plans import ego_plan


def straight(speed_mps: float = 10.0, steps: int = 8) -> Scene:
    """An ego that drives along the x axis and, from its fourth step on, to the left."""
    x = speed_mps * 0.5 * np.minimum(np.arange(steps), 3)
    y = speed_mps * 0.5 * np.maximum(np.arange(steps) - 3, 0)
    heading = np.where(np.arange(steps) <= 3, 0, np.pi / 2)
    return Scene.from_arrays(np.stack([x, y], -1)[None], ["ego"], 0.5, headings_rad=heading[None])


def test_an_ego_that_keeps_its_speed_follows_the_recorded_way_and_goes_straight_on():
    plan = ego_plan("keep", straight(), 1, 6.0, 0.5)
    assert plan.shape == (12, 3)
    np.testing.assert_allclose(plan[:2, :2], [[10, 0], [15, 0]], atol=0.02)
    expected = np.stack([np.full(10, 15.0), 5.0 * np.arange(1, 11)], -1)
    np.testing.assert_allclose(plan[2:, :2], expected, atol=0.05)
    np.testing.assert_allclose(plan[2:, 2], np.pi / 2, atol=1e-6)


def test_a_braking_ego_stops_after_the_distance_of_4_mps2():
    plan = ego_plan("brake", straight(), 1, 6.0, 0.5)
    driven = np.abs(np.diff(np.concatenate([[[5, 0]], plan[:, :2]]), axis=0)).sum()
    # v^2 / 2a without the ramps; a jerk of 15 m/s^3 delays it by half of 4/15 s
    assert driven == pytest.approx(10**2 / 8 + 10 * 4 / 15 / 2, abs=0.1)
    np.testing.assert_allclose(plan[-1], plan[-3])


def test_the_recorded_plan_is_the_recording():
    scene = straight()
    plan = ego_plan("recorded", scene, 1, 3.0, 0.5)
    np.testing.assert_allclose(plan[:, :2], scene.tracks.positions_m[0, 2:8])
    with pytest.raises(ForecastError, match=r"after 0.5 s is 3 s long; one of 6 s is needed"):
        ego_plan("recorded", scene, 1, 6.0, 0.5)


def test_a_standing_ego_has_nothing_to_brake():
    with pytest.raises(ForecastError, match=r"speed of the ego at 0.5 s is 0.0 m/s; 0.5 m/s or"):
        ego_plan("brake", straight(0.0), 1, 6.0, 0.5)


def test_a_scene_without_an_ego_has_no_plan():
    walker = Scene.from_arrays(np.zeros((1, 4, 2)), [AgentKind.PEDESTRIAN], 0.5)
    with pytest.raises(ForecastError, match="number of egos"):
        ego_plan("brake", walker, 2, 6.0, 0.5)
