"""Against the teaser scenes: real streets beyond the mini split, without maps."""

import numpy as np
import pytest

from forecast import AgentKind, Scene, SceneStore
from forecast.cli import main

VERSION = "v1.0-teaser"


@pytest.fixture(scope="module")
def store(teaser_root, tmp_path_factory) -> SceneStore:
    out = tmp_path_factory.mktemp("teaser") / "store"
    words = ["--version", VERSION, "--no-map", "--dataroot", str(teaser_root), "--out", str(out)]
    assert main(["prepare", "--source", "nuscenes", *words]) == 0
    return SceneStore.open(out)


def test_the_store_has_every_scene_of_both_splits(store):
    assert {split: len(names) for split, names in store.splits.items()} == {
        "teaser_train": 48,
        "teaser_val": 17,
    }
    assert len(store) == 48 + 17


def test_the_store_has_every_agent_and_annotation(store):
    tracks = [store[name].tracks for name in store]
    others = [each.kinds != AgentKind.EGO for each in tracks]
    assert sum(int(each.sum()) for each in others) == 3_151
    annotated = (each.valid[rows] for each, rows in zip(tracks, others, strict=True))
    assert sum(int(valid.sum()) for valid in annotated) == 43_987


def test_constant_velocity_on_teaser_val_has_the_known_error(store):
    """Of movers, 6 s ahead, from the last step's velocity; by the protocol's words, in numpy."""
    parts = [final_errors(store[name]) for name in store.splits["teaser_val"]]
    error, moved = (np.concatenate(each) for each in zip(*parts, strict=True))
    assert (len(error), moved.sum()) == (1029, 550)
    assert round(error[moved].mean(), 3) == 2.290


def final_errors(scene: Scene, ahead: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Errors at the horizon, and who moved over 1 m, of pedestrians with 2 frames behind them."""
    tracks = scene.tracks
    people = tracks.kinds == AgentKind.PEDESTRIAN
    positions, valid = tracks.positions_m[people].astype(float), tracks.valid[people]
    errors, moved = [np.zeros(0)], [np.zeros(0, bool)]
    for at in range(1, scene.tracks.valid.shape[1] - ahead):
        seen = valid[:, at - 1 : at + ahead + 1].all(axis=1)
        before, now, then = (positions[seen, step] for step in (at - 1, at, at + ahead))
        errors.append(np.linalg.norm(now + ahead * (now - before) - then, axis=-1))
        moved.append(np.linalg.norm(then - now, axis=-1) > 1)
    return np.concatenate(errors), np.concatenate(moved)
