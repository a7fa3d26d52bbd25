import pytest
import torch

from forecast.inference import Forecaster, Training
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.models.world_model import WorldModelConfig

CONFIG = ForecasterConfig(world_model=WorldModelConfig(hidden=16, messages=8, map=8))


@pytest.fixture(scope="package")
def forecaster() -> Forecaster:
    torch.manual_seed(0)
    model = PedestrianForecaster(CONFIG)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return Forecaster(
        model, Training(CONFIG, history_steps=5, horizon_steps=8, dts_s=[0.4, 0.5]), name="test"
    )
