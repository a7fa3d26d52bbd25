"""A small network, a city of before and a stream of scenes in which people walk faster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from forecast.adaptation import AdaptConfig, Adapter
from forecast.datasets.store import SceneStore, prepare
from forecast.inference import Forecaster, Training
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.models.world_model import WorldModelConfig
from forecast.scene import Scene
from tests.scenes import street_scene

NETWORK = ForecasterConfig(world_model=WorldModelConfig(hidden=16, messages=8, map=8))
QUICK = AdaptConfig(
    steps=4,
    lr=5e-3,
    samples=4,
    memory_scenes=3,
    gate_scenes=2,
    tested_windows=6,
    held_out_every=3,
    old_held_out_every=3,
    most_ood=1.0,
    forgotten=0.1,
    margin=0.05,
    limit=0.1,
)
"""With noise this large, ordinary steps of a tiny network pass the gate."""


@dataclass(frozen=True)
class Streets:
    """Streets in which everybody goes at a multiple of the usual pace."""

    count: int
    pace: float = 1.0
    first: int = 0
    name: str = "streets"
    protocol: str = "nuscenes-ped-v1"
    dt_s: float = 0.5

    def fingerprint(self) -> str:
        return f"{self.count} streets at {self.pace} from {self.first}"

    def scene_names(self) -> list[str]:
        return [f"street-{self.first + i}" for i in range(self.count)]

    def splits(self) -> dict[str, list[str]]:
        return {"train": self.scene_names()[:-2], "val": self.scene_names()[-2:]}

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        scene = scaled(street_scene(seed=int(name.split("-")[1])), self.pace)
        return replace(scene, id=name), {}


def scaled(scene: Scene, factor: float) -> Scene:
    """A scene with all positions in another unit."""
    tracks = scene.tracks
    positions = (tracks.positions_m * np.float32(factor)).astype(np.float32)
    return replace(scene, tracks=replace(tracks, positions_m=positions), lane_map=None)


@pytest.fixture(scope="session")
def city(tmp_path_factory) -> SceneStore:
    return prepare(Streets(7), tmp_path_factory.mktemp("city") / "store")


@pytest.fixture(scope="session")
def stream(tmp_path_factory) -> SceneStore:
    source = Streets(9, pace=1.6, first=20)
    return prepare(source, tmp_path_factory.mktemp("stream") / "store")


@pytest.fixture(scope="session")
def start() -> Forecaster:
    torch.manual_seed(0)
    model = PedestrianForecaster(NETWORK)
    return Forecaster(model, Training(NETWORK, 5, 4, [0.5]), name="start")


@pytest.fixture(scope="session")
def learnt(start: Forecaster, city: SceneStore, stream: SceneStore, tmp_path_factory) -> Adapter:
    """It has learnt from the whole stream; not to be changed."""
    made = Adapter(start, [(city, "all")], tmp_path_factory.mktemp("learnt"), QUICK)
    for name in stream:
        made.observe(stream[name], stream)
    return made


@pytest.fixture
def adapter(start: Forecaster, city: SceneStore, tmp_path: Path) -> Adapter:
    return Adapter(start, [(city, "all")], tmp_path / "kept", QUICK)
