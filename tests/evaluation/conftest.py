from pathlib import Path

import pytest

from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.store import SceneStore, prepare
from tests.streets import street_store


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> SceneStore:
    return street_store(tmp_path_factory.mktemp("streets") / "store")


@pytest.fixture(scope="session")
def mini(nuscenes_root: Path, tmp_path_factory) -> SceneStore:
    source = NuScenesSource(nuscenes_root, "v1.0-mini")
    return prepare(source, tmp_path_factory.mktemp("mini") / "store")
