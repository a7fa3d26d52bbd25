"""On recorded scenes, nothing that the model is given depends on a later frame."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from forecast.datasets.crowds.eth_ucy import EthUcySource
from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.windows import WindowSpec, window
from forecast.graphs import GraphConfig, window_graph
from forecast.scene import Scene
from forecast.simulator import VERSION, write_town

TARGETS = ("future", "future_heading", "future_valid", "scored")


def with_another_future(scene: Scene, at: int) -> Scene:
    """The scene with every later frame replaced by noise."""
    rng = np.random.default_rng(at)
    tracks, later = scene.tracks, slice(at + 1, None)
    positions, headings = tracks.positions_m.copy(), tracks.headings_rad.copy()
    valid = tracks.valid.copy()
    positions[:, later] += rng.normal(0, 30, positions[:, later].shape)
    headings[:, later] += rng.normal(0, 3, headings[:, later].shape)
    valid[:, later] = rng.random(valid[:, later].shape) < 0.5
    changed = replace(tracks, positions_m=positions, headings_rad=headings, valid=valid)
    return replace(scene, tracks=changed)


def inputs(scene: Scene, at: int) -> Iterator[tuple[str, torch.Tensor]]:
    graph = window_graph(window(scene, at, WindowSpec(5, 12)), GraphConfig())
    for store in graph.stores:
        for name, value in store.items():
            if name not in TARGETS and isinstance(value, torch.Tensor):
                yield f"{store._key} {name}", value


def assert_blind_to_the_future(scene: Scene, at: int) -> None:
    changed = with_another_future(scene, at)
    before, after = list(inputs(scene, at)), list(inputs(changed, at))
    assert len(before) >= 10
    for (name, one), (_, other) in zip(before, after, strict=True):
        assert torch.equal(one, other), name


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 12, 25])
def test_nuscenes(nuscenes_root: Path, at: int) -> None:
    source = NuScenesSource(nuscenes_root, "v1.0-mini")
    for name in ("scene-0103", "scene-0916", "scene-0655"):
        assert_blind_to_the_future(source.read(name)[0], at)


def test_eth_ucy(eth_ucy_root: Path) -> None:
    assert_blind_to_the_future(EthUcySource(eth_ucy_root).read("crowds_zara01")[0], 200)


def test_the_simulated_city(tmp_path: Path) -> None:
    write_town(tmp_path / "town", scenes=1, seed=3)
    source = NuScenesSource(tmp_path / "town", VERSION)
    scene, _ = source.read(source.scene_names()[0])
    for at in (1, 20):
        assert_blind_to_the_future(scene, at)
