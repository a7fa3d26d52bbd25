from dataclasses import replace

import numpy as np
import pytest

from forecast.errors import ForecastError
from forecast.models.baselines import (
    ConstantVelocity,
    Stationary,
)
from tests.models.baselines.any_past import line


class TestSimple:
    def test_stationary_stays(self):
        prediction = Stationary().predict(line(1.0, 2.0), 1, horizon_s=1.0)
        np.testing.assert_array_equal(prediction.positions_m[0, 0], [[2, 0], [2, 0]])

    def test_constant_velocity_repeats_the_last_step(self):
        prediction = ConstantVelocity().predict(line(0.0, 3.0, 5.0), 2, horizon_s=1.0, samples=7)
        assert prediction.samples == 1
        np.testing.assert_array_equal(prediction.positions_m[0, 0], [[7, 0], [9, 0]])

    @pytest.mark.parametrize("xs", [(5.0,), (3.0, np.nan, 5.0)], ids=["first step", "after a gap"])
    def test_constant_velocity_stands_without_a_previous_step(self, xs):
        prediction = ConstantVelocity().predict(line(*xs), len(xs) - 1, horizon_s=1.0)
        np.testing.assert_array_equal(prediction.positions_m[0, 0], [[5, 0], [5, 0]])


def test_no_prediction_starts_between_two_records():
    walker = replace(line(0, 1, 2), interpolated=np.array([False, True, False]))
    with pytest.raises(ForecastError, match="step 1 lies between two records"):
        ConstantVelocity().predict(walker, 1)
