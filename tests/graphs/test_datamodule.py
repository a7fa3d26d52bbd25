from pathlib import Path

import numpy as np
import pytest
import torch

from forecast.datasets.store import SceneStore, prepare
from forecast.errors import ForecastError
from forecast.graphs import GraphConfig
from forecast.graphs.datamodule import Draws, ForecastDataModule, Place, SourceConfig
from forecast.scene import Scene
from tests.scenes import StreetSource


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SceneStore:
    return prepare(StreetSource(), tmp_path_factory.mktemp("data") / "store")


def module(store: SceneStore, **options: object) -> ForecastDataModule:
    train = [SourceConfig(str(store.path), "train")]
    val = SourceConfig(str(store.path), "val")
    data = ForecastDataModule(
        train, val, GraphConfig(), windows_per_epoch=6, batch_size=3, **options
    )
    data.setup("fit")
    return data


def test_draws_repeat_for_an_epoch_and_differ_between_epochs() -> None:
    epoch = 0
    draws = Draws(np.ones(50), count=20, seed=3, epoch=lambda: epoch)
    first = list(draws)
    assert first == list(draws)
    epoch = 1
    assert first != list(draws)


def test_draws_follow_the_weights() -> None:
    weights = np.array([1.0, 0.0, 3.0])
    draws = Draws(weights, count=4000, seed=0, epoch=lambda: 0)
    share = np.bincount([window for window, _ in draws], minlength=3) / 4000
    np.testing.assert_allclose(share, [0.25, 0, 0.75], atol=0.03)


def test_every_source_gets_its_share(store: SceneStore) -> None:
    sources = [
        SourceConfig(str(store.path), "train", 0.2),
        SourceConfig(str(store.path), "val", 0.8),
    ]
    data = ForecastDataModule(sources, sources[1], GraphConfig(), windows_per_epoch=2000)
    data.setup("fit")
    first = len(data.train_set.sources[0])
    windows = np.array([window for window, _ in data.train_dataloader().sampler])
    assert (windows < first).mean() == pytest.approx(0.2, abs=0.03)


def test_batches_join_windows_without_mixing_them(store: SceneStore) -> None:
    batch = next(iter(module(store).train_dataloader()))
    assert batch.num_graphs == 3
    source, target = batch["agent", "near", "agent"].edge_index
    scene_of = batch["agent"].batch
    assert torch.equal(scene_of[source], scene_of[target])
    lane, agent = batch["map", "near", "agent"].edge_index
    assert torch.equal(batch["map"].batch[lane], scene_of[agent])


def test_validation_scores_whole_futures_only(store: SceneStore) -> None:
    batches = list(module(store, horizon_steps=8).val_dataloader())
    scored = torch.cat([b["agent"].scored for b in batches])
    whole = torch.cat([b["agent"].future_valid.all(1) for b in batches])
    assert scored.any()
    assert whole[scored].all()


def test_worker_processes_give_the_same_batches(store: SceneStore) -> None:
    alone, helped = (module(store, num_workers=n).train_dataloader() for n in (0, 1))
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one["agent"].position, other["agent"].position)


def test_a_split_without_pedestrians_is_refused(tmp_path: Path) -> None:
    class Empty(StreetSource):
        def read(self, name: str) -> tuple[Scene, dict[str, int]]:
            scene, dropped = super().read(name)
            scene.tracks.valid[:3] = False
            return scene, dropped

    store = prepare(Empty(), tmp_path / "store")
    with pytest.raises(ForecastError, match="split 'train' has no pedestrian with a history"):
        module(store)


def test_a_missing_store_is_refused(tmp_path: Path) -> None:
    source = SourceConfig(str(tmp_path / "absent"), "train")
    with pytest.raises(ForecastError, match="absent"):
        ForecastDataModule([source], source, GraphConfig())


class Splits(StreetSource):
    """Streets with the given splits."""

    def __init__(self, **splits: list[int]) -> None:
        self.named = {name: [f"street-{i}" for i in scenes] for name, scenes in splits.items()}

    def splits(self) -> dict[str, list[str]]:
        return self.named


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({"val": [2], "train": [0, 1]}, ("train", "val")),
        ({"town_train": [0], "town_val": [2], "test": [1]}, ("town_train", "town_val")),
        # as nuScenes mini has them: both hold all scenes
        (
            {"train": [0], "val": [1, 2], "mini_train": [0, 1], "mini_val": [2]},
            ("mini_train", "mini_val"),
        ),
    ],
)
def test_a_store_alone_names_its_training_and_validation(tmp_path, splits, expected) -> None:
    path = str(prepare(Splits(**splits), tmp_path / "store").path)
    data = ForecastDataModule(store=path)
    assert (data.train, data.val) == (
        [SourceConfig(path, expected[0])],
        SourceConfig(path, expected[1]),
    )


@pytest.mark.parametrize(
    "splits",
    [
        {},
        {"train": [0]},
        {"a_train": [0], "b_val": [1]},
        {"retrain": [0], "reval": [1]},
        {"a_train": [0], "a_val": [1], "b_train": [1], "b_val": [2]},  # folds of equal size
    ],
)
def test_a_store_without_a_single_pair_of_splits_is_refused(tmp_path, splits) -> None:
    path = prepare(Splits(**splits), tmp_path / "store").path
    with pytest.raises(ForecastError, match="no single pair for training and validation") as error:
        ForecastDataModule(store=str(path))
    assert "\n" not in str(error.value)


def test_sources_are_given_once(store: SceneStore) -> None:
    source = SourceConfig(str(store.path), "train")
    with pytest.raises(ForecastError, match=r"data\.train is missing; give a configuration"):
        ForecastDataModule()
    with pytest.raises(ForecastError, match=r"data\.val is missing"):
        ForecastDataModule([source])
    with pytest.raises(ForecastError, match="train or val is given too; neither is needed"):
        ForecastDataModule([source], store=str(store.path))


def test_the_batch_is_that_of_all_processes_together(store: SceneStore, monkeypatch) -> None:
    data = module(store)
    monkeypatch.setattr(data, "_place", lambda: Place(1, 3))
    (batch, _) = data.train_dataloader()
    assert batch.num_graphs == 1
    with pytest.raises(ForecastError, match="batch_size is 3; a multiple of 2, the number of proc"):
        data.batch_share(2)
