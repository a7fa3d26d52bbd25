import pytest

from forecast.errors import ForecastError
from forecast.simulator.map.layouts import Layout


def test_a_node_moved_too_far_is_refused():
    with pytest.raises(
        ForecastError, match=r"bent: moved_m moves node \(0, 0\) by \(0\.0, 40\.0\)"
    ):
        Layout("bent", (200.0,), (200.0,), moved_m=(((0, 0), (0.0, 40.0)),))


def test_streets_too_close_are_refused():
    with pytest.raises(ForecastError, match=r"narrow: columns_m has streets 30\.0 m apart"):
        Layout("narrow", (0.0, 30.0), (0.0,))
