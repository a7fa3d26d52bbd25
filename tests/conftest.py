"""Where the real data is, and what several folders of tests use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from forecast.parallel import Workers
from tests.browser import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# networks of tests are small and many; tests/models/test_compile.py switches it on
os.environ.setdefault("FORECAST_COMPILE", "off")

# how long an example takes says more of the machine than of what it tests
settings.register_profile("forecast", deadline=None)
settings.load_profile("forecast")


@pytest.fixture(scope="session")
def nuscenes_root() -> Path:
    return _data_folder("FORECAST_NUSCENES", "a nuScenes dataroot that holds v1.0-mini")


@pytest.fixture(scope="session")
def eth_ucy_root() -> Path:
    return _data_folder("FORECAST_ETH_UCY", "the ETH/UCY folder that holds all/, train/ and val/")


@pytest.fixture(scope="session")
def teaser_root() -> Path:
    return _data_folder("FORECAST_TEASER", "the nuScenes dataroot that holds v1.0-teaser")


@pytest.fixture(scope="session")
def citr_root() -> Path:
    return _data_folder("FORECAST_CITR", "the nuScenes dataroot that holds v1.0-citr")


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> Path:
    from tests.comparisons import evaluate_both

    return evaluate_both(tmp_path_factory.mktemp("compare"))


@pytest.fixture(scope="session")
def ray_workers() -> Iterator[Workers]:
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield Workers(2, "local")
    ray.shutdown()


@pytest.fixture(scope="module")  # see `chromium` for why no wider
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def _data_folder(variable: str, what: str) -> Path:
    folder = os.environ.get(variable)
    if folder and Path(folder).is_dir():
        return Path(folder)
    reason = f"{variable} is '{folder or ''}'; point it at {what}"
    if os.environ.get("FORECAST_REQUIRE_DATA"):
        pytest.fail(reason)
    pytest.skip(reason)
