import forecast
from forecast.datasets.store import SceneStore
from forecast.inference import Forecaster, load


def test_the_public_names_are_there() -> None:
    assert all(hasattr(forecast, name) for name in forecast.__all__)
    assert (forecast.Forecaster, forecast.SceneStore, forecast.load) == (
        Forecaster,
        SceneStore,
        load,
    )
    assert not hasattr(forecast, "absent")
