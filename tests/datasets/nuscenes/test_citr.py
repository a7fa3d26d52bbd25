"""Against the car park's clips: people with and without a vehicle among them, and no ego."""

import numpy as np
import pytest

from forecast import AgentKind, SceneStore
from forecast.cli import main

VERSION = "v1.0-citr"


@pytest.fixture(scope="module")
def store(citr_root, tmp_path_factory) -> SceneStore:
    out = tmp_path_factory.mktemp("citr") / "store"
    words = ["--version", VERSION, "--no-map", "--dataroot", str(citr_root), "--out", str(out)]
    assert main(["prepare", "--source", "nuscenes", *words]) == 0
    return SceneStore.open(out)


def test_the_store_has_every_clip_in_one_split(store):
    splits = store.splits
    assert set(splits) == {"citr_train", "citr_val"}
    assert sorted(splits["citr_train"] + splits["citr_val"]) == sorted(store)
    assert len(store) == 38


def test_the_store_has_every_person(store):
    kinds = np.concatenate([store[name].tracks.kinds for name in store])
    assert (kinds == AgentKind.PEDESTRIAN).sum() == 318


def test_there_is_a_vehicle_where_the_clips_name_says_so(store):
    for name in store:
        vehicles = (store[name].tracks.kinds == AgentKind.VEHICLE).sum()
        assert vehicles == (0 if "no_vehicle" in name else 1), name


def test_the_made_up_ego_is_far_from_everybody(store):
    for name in store:
        tracks = store[name].tracks
        ego = tracks.kinds == AgentKind.EGO
        others = tracks.positions_m[~ego][tracks.valid[~ego]]
        gaps_m = np.linalg.norm(others[:, None] - tracks.positions_m[ego][0], axis=-1)
        assert gaps_m.min() > 900
