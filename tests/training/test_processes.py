"""Two processes that train together do what one does alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from forecast import ForecastError
from forecast.datasets.store import SceneStore, prepare
from forecast.datasets.windows import WindowSpec, prediction_times
from forecast.graphs import GraphConfig
from forecast.graphs.datamodule import Draws, ForecastDataModule, Place, Share, SourceConfig
from forecast.scene import Scene
from forecast.training.cli import main
from tests.scenes import StreetSource
from tests.training.test_training import arguments, weights

EPOCHS = 2
LENGTH = [f"--trainer.max_epochs={EPOCHS}"]


class OddStreets(StreetSource):
    """Neither the windows to score nor the people in them divide evenly among two."""

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        scene, dropped = super().read(name)
        scene.tracks.valid[2, -1] = False
        return scene, dropped


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SceneStore:
    return prepare(OddStreets(), tmp_path_factory.mktemp("data") / "store")


def curves(run: Path) -> dict[str, list[float]]:
    """Every scalar that TensorBoard got, epoch by epoch."""
    events = EventAccumulator(str(run)).Reload()
    names = events.Tags()["scalars"]
    return {name: [event.value for event in events.Scalars(name)] for name in names}


@pytest.fixture(scope="module")
def alone(store: SceneStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a single process."""
    run = tmp_path_factory.mktemp("alone")
    main("fit", arguments(store, run, *LENGTH, "--data.batch_size=4"))
    return run


def train_in_two(store: SceneStore, run: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Two processes that share the same batches."""
    two = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=4"]
    words = arguments(store, run, *LENGTH, *two, *more)
    command = [sys.executable, "-m", "forecast", "fit", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def assert_same_weights(one: Path, other: Path) -> None:
    shared = weights(other)
    for name, value in weights(one).items():
        torch.testing.assert_close(shared[name], value, atol=1e-5, rtol=0, msg=name)


@pytest.mark.slow
def test_two_processes_learn_and_score_as_one_with_the_same_batches(
    store: SceneStore, alone: Path, tmp_path: Path
) -> None:
    spec = WindowSpec(history_steps=5, horizon_steps=4)
    found = prediction_times(store["street-2"], spec)
    assert (len(found.steps) % 2, found.scored.sum() % 2) == (1, 1)
    done = train_in_two(store, tmp_path)
    assert done.returncode == 0, done.stderr
    one, two = curves(alone), curves(tmp_path)
    assert len(one["train/loss"]) == len(one["val/loss"]) == EPOCHS
    for name, values in one.items():
        if name.startswith(("train/", "val/", "step/")) and name != "step/windows_per_s":
            np.testing.assert_allclose(two[name], values, rtol=1e-5, err_msg=name)
    assert_same_weights(alone, tmp_path)


class LosesOne(Callback):
    """Kills the second process in the second epoch."""

    def on_train_batch_start(self, trainer, *_: object) -> None:
        if trainer.global_rank == 1 and trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_training_that_lost_a_process_ends_and_resumes_as_if_it_had_not(
    store: SceneStore, alone: Path, tmp_path: Path
) -> None:
    dying = "--trainer.callbacks+=tests.training.test_processes.LosesOne"
    assert train_in_two(store, tmp_path, dying, "--trust-config").returncode != 0
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 2
    done = train_in_two(store, tmp_path, f"--ckpt_path={last}")
    assert done.returncode == 0, done.stderr
    assert_same_weights(alone, tmp_path)


def test_the_batches_of_all_processes_are_the_batch_of_one() -> None:
    def draws(place: Place) -> list[tuple[int, int]]:
        return list(Draws(np.ones(50), count=21, seed=3, epoch=lambda: 0, place=place))

    alone = draws(Place())
    parts = [draws(Place(rank, 2)) for rank in range(2)]
    assert [len(part) for part in parts] == [10, 10]
    for step in range(2):
        together = [draw for part in parts for draw in part[5 * step : 5 * (step + 1)]]
        assert sorted(together) == sorted(alone[10 * step : 10 * (step + 1)])


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_every_window_is_scored_once(processes: int) -> None:
    shares = [list(Share(7, Place(rank, processes))) for rank in range(processes)]
    assert sorted(item for share in shares for item in share) == list(range(7))


def test_fewer_windows_than_processes_are_refused(store: SceneStore, monkeypatch) -> None:
    source = SourceConfig(str(store.path), "train")
    data = ForecastDataModule(
        [source], source, GraphConfig(), batch_size=4, windows_per_epoch=8, horizon_steps=4
    )
    data.setup("fit")
    monkeypatch.setattr(data, "_place", lambda: Place(0, 3))
    with pytest.raises(ForecastError, match="batch_size is 4; a multiple of 3, the number of proc"):
        data.train_dataloader()
    monkeypatch.setattr(data, "_place", lambda: Place(0, 999))
    with pytest.raises(ForecastError, match=r"validation windows is \d+; one for each process"):
        data.val_dataloader()
