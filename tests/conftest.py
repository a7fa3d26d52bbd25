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
    folder = os.environ.get(variable)
    if folder and Path(folder).is_dir():
        return Path(folder)
    reason = f"{variable} is '{folder or ''}'; point it at {what}"
    if os.environ.get("FORECAST_REQUIRE_DATA"):
        pytest.fail(reason)
    pytest.skip(reason)
