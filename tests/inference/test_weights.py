"""Weights files are known by their content; those of others are called what they are."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from forecast import inference
from forecast.errors import ForecastError, ForecastWarning
from forecast.inference import PACKAGED, Forecaster
from forecast.inference.weights import CHECKPOINT_KEY, read_model

GIVE = "; give a .ckpt of 'forecast fit' or a file of Forecaster.save"


def refused(path: Path) -> str:
    with pytest.raises(ForecastError) as error:
        inference.load(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def checkpoint_of(forecaster: Forecaster) -> dict[str, Any]:
    """What `forecast fit` saves, as far as loading needs it."""
    weights = forecaster.model.state_dict()
    state = {f"forecaster.{name}": value for name, value in weights.items()}
    return {"state_dict": state, CHECKPOINT_KEY: asdict(forecaster.training)}


@pytest.mark.parametrize("name", ["last.ckpt", "last.pt", "last", "last.safetensors"])
def test_a_checkpoint_loads_by_any_name(forecaster: Forecaster, tmp_path: Path, name: str) -> None:
    torch.save(checkpoint_of(forecaster), tmp_path / name)
    model, training, _ = read_model(tmp_path / name)
    assert training == forecaster.training
    for key, value in forecaster.model.state_dict().items():
        assert torch.equal(model.state_dict()[key], value)


def test_a_place_that_cannot_be_written_is_named(forecaster: Forecaster, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ForecastError, match=r"file: is a file, and a folder is needed; check"):
        forecaster.save(tmp_path / "file" / "w.safetensors")


def test_saved_weights_load_by_any_name(forecaster: Forecaster, tmp_path: Path) -> None:
    forecaster.save(tmp_path / "w.ckpt")
    assert read_model(tmp_path / "w.ckpt")[1] == forecaster.training


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"state_dict": {"encoder.w": torch.zeros(2)}, "pytorch-lightning_version": "2.4"},
            "it is a Lightning checkpoint of another project (encoder.w)",
        ),
        (
            {"encoder.w": torch.zeros(2), "encoder.b": torch.zeros(2)},
            "it holds encoder.w, encoder.b, but no configuration of this package",
        ),
        (
            {"epoch": 3, "model": {}, "optimizer": {}, "loss": 0.5},
            "it holds epoch, model, optimizer, …, but no configuration of this package",
        ),
        ([torch.zeros(2)], "it holds a list"),
        (
            torch.nn.Linear(2, 2),
            "it holds Python objects (torch.nn.modules.linear.Linear), which are never run",
        ),
    ],
    ids=["lightning", "state_dict", "training state", "list", "pickled module"],
)
@pytest.mark.parametrize("name", ["model.pth", "model.ckpt"])
def test_checkpoints_of_others(tmp_path: Path, content: object, words: str, name: str) -> None:
    path = tmp_path / name
    torch.save(content, path)
    is_checkpoint = path.suffix == ".ckpt"
    kind = "checkpoint of 'forecast fit'" if is_checkpoint else "weights file of this package"
    assert refused(path) == f"{path}: not a {kind}: {words}{GIVE}"


def test_safetensors_of_others(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for metadata in (None, {"format": "pt"}):
        tensors = {name: torch.zeros(2) for name in "abcd"}
        safetensors.torch.save_file(tensors, path, metadata)
        assert refused(path) == (
            f"{path}: not a weights file of this package: it is a safetensors file of another "
            f"project (a, b, c, …){GIVE}"
        )


def test_weights_of_a_version_with_other_slots(forecaster: Forecaster, tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "last.ckpt", checkpoint_of(forecaster)
    slots = ["person_person", "person_vehicle", "vehicle_any"]
    checkpoint[CHECKPOINT_KEY]["config"]["world_model"]["slots"] = [slots]
    torch.save(checkpoint, path)
    assert refused(path) == (
        f"{path}: its configuration (world_model.slots is {slots}; relations with the same edge "
        "features in one slot is needed) is from another version of this package; use that "
        "version or train again"
    )


@pytest.mark.parametrize("name", ["cut.ckpt", "cut.safetensors"])
def test_half_a_file(forecaster: Forecaster, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    torch.save(checkpoint_of(forecaster), path)
    whole = path.read_bytes() if path.suffix == ".ckpt" else PACKAGED["town"].read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    size = len(whole) // 2
    assert f"its {size} bytes are damaged or cut off; copy or download it again" in refused(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"epoch,loss\n1,0.5\n", r"it begins with b'epoch,loss\n1'"),
        (b"weights {}", "it begins with b'weights {}'"),
        (pickle.dumps(np.zeros(2)), r"it begins with b'\x80"),
        (b"\x80\x02nothing", "it holds Python objects, which are never run"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    assert words in refused(path)


def test_loading_says_once_that_weights_are_not_calibrated(
    forecaster: Forecaster, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    forecaster.save(path)
    with pytest.warns(ForecastWarning) as warned:
        inference.load(path)
    (message,) = [str(each.message) for each in warned]
    assert message.startswith(f"{path} is not calibrated: its predictions have no tubes and no ")
    assert f"run 'forecast calibrate --weights {path} --store S" in message
    assert "\n" not in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inference.load("town")


def test_a_stopped_save_leaves_the_file_as_it_was(forecaster, tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    forecaster.save(path)
    before = path.read_bytes()

    def cut(file, content):
        with file.open("wb") as opened:
            opened.write(content[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(type(path), "write_bytes", cut)
    with pytest.raises(KeyboardInterrupt):
        forecaster.save(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["weights.safetensors"]
