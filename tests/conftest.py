"""Where the real data is, for the tests that read it."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def nuscenes_root() -> Path:
    return _data_folder("FORECAST_NUSCENES", "a nuScenes dataroot that holds v1.0-mini")


@pytest.fixture(scope="session")
def eth_ucy_root() -> Path:
    return _data_folder("FORECAST_ETH_UCY", "the ETH/UCY folder that holds all/, train/ and val/")


def _data_folder(variable: str, what: str) -> Path:
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"{variable} is not set; point it at {what}")
    return Path(path)
