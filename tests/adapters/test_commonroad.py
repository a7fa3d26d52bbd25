import importlib.util

import numpy as np
import pytest
import shapely

from forecast import ForecastError
from forecast.adapters.commonroad import occupancies, set_based_predictions
from tests.adapters.conftest import ORIGIN, STEPS

INSTALLED = importlib.util.find_spec("commonroad") is not None


@pytest.mark.slow
def test_an_occupancy_holds_the_bodies_of_all_samples(prediction, scene):
    areas = occupancies(prediction, scene, level=0.99)
    assert list(areas) == ["ped", "car"]
    assert len(areas["ped"]) == STEPS
    last = [shapely.Polygon(ring - ORIGIN) for ring in areas["ped"][-1]]
    assert len(last) == 2, "who walks on and who stops are apart"
    together = shapely.union_all(last)
    for place in ([20, -2], [20, 4]):
        assert together.contains(shapely.Point(place).buffer(0.35))
    (car,) = areas["car"][0]
    corners = np.array([[2.3, 0.95], [-2.3, 0.95], [-2.3, -0.95], [2.3, -0.95]])
    cos, sin = np.cos(0.5), np.sin(0.5)
    body = shapely.Polygon(corners @ np.array([[cos, sin], [-sin, cos]]) + [10, 4])
    assert shapely.Polygon(car - ORIGIN).contains(body)


@pytest.mark.slow
def test_a_higher_level_occupies_more(prediction, scene):
    last = (occupancies(prediction, scene, level)["ped"][-1] for level in (0.5, 0.99))
    low, high = (sum(shapely.Polygon(ring).area for ring in rings) for rings in last)
    assert high > low


@pytest.mark.skipif(INSTALLED, reason="commonroad-io is installed")
def test_what_is_missing_is_said(prediction, scene):
    with pytest.raises(ForecastError, match=r"commonroad is not importable .*commonroad-io"):
        set_based_predictions(prediction, scene)


@pytest.mark.skipif(not INSTALLED, reason="commonroad-io is not installed")
def test_commonroad_takes_it(prediction, scene):
    made = set_based_predictions(prediction, scene)["ped"]
    assert made.initial_time_step == 1
    assert made.final_time_step == STEPS
    there = made.occupancy_at_time_step(STEPS)
    parts = there.shape.shapes if hasattr(there, "shape") else there.occupancies
    areas = [shapely.Polygon(part.vertices) for part in parts]
    assert any(area.contains(shapely.Point(*ORIGIN + np.array([20, 4]))) for area in areas)
    assert sum(area.area for area in areas) < 5
