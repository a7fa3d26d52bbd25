"""Folders of real data: the tests that need them skip where they are absent."""

import os
from pathlib import Path

import pytest


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: this test reads real data")
    return Path(value)


@pytest.fixture(scope="session")
def nuscenes_root() -> Path:
    return _folder("FORECAST_NUSCENES")


@pytest.fixture(scope="session")
def eth_ucy_root() -> Path:
    return _folder("FORECAST_ETH_UCY")
