"""Weights files are known by their content; those of others are called what they are."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
import zipfile
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
from forecast.inference.weights import CHECKPOINT_KEY, _checksum, read_model

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


def flipped(content: bytes, place: int) -> bytes:
    """The bytes with one bit flipped."""
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


@pytest.mark.parametrize("name", ["last.ckpt", "last.safetensors"])
def test_no_flipped_bit_is_loaded(forecaster: Forecaster, tmp_path: Path, name: str) -> None:
    """A bit of no meaning, such as in an entry's time stamp, may change nothing."""
    path = tmp_path / name
    if path.suffix == ".ckpt":
        torch.save(checkpoint_of(forecaster), path)
    else:
        forecaster.save(path)
    whole, right = path.read_bytes(), forecaster.model.state_dict()
    for place in range(0, len(whole), max(1, len(whole) // 400)):
        path.write_bytes(flipped(whole, place))
        try:
            model, training, _ = read_model(path)
        except ForecastError:
            continue
        assert training == forecaster.training
        assert all(torch.equal(value, right[key]) for key, value in model.state_dict().items())


def test_packaged_weights_carry_a_checksum() -> None:
    with safetensors.safe_open(PACKAGED["town"], framework="pt") as file:
        assert len(file.metadata()["sha256"]) == 64


def test_weights_without_a_checksum_are_refused(forecaster: Forecaster, tmp_path: Path) -> None:
    path, described = tmp_path / "old.safetensors", json.dumps(asdict(forecaster.training))
    safetensors.torch.save_file(forecaster.model.state_dict(), path, {"forecast": described})
    words = "old.safetensors: has no checksum, so damage would not be noticed: an older version"
    assert words in refused(path)
    assert "run 'forecast calibrate' again" in refused(path)


def rewritten(forecaster: Forecaster, path: Path, **changes: Any) -> Path:
    """A weights file with a right checksum and other values in its description."""
    described = asdict(forecaster.training)
    for section, values in changes.pop("config", {}).items():
        described["config"][section] |= values
    described |= changes
    weights = forecaster.model.state_dict()
    text = json.dumps(described)
    metadata = {"forecast": text, "sha256": _checksum(text, weights)}
    safetensors.torch.save_file(weights, path, metadata)
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"history_steps": 0}, "history_steps is 0; 1 to 10000 is needed"),
        ({"history_steps": 10**9}, "history_steps is 1000000000; 1 to 10000 is needed"),
        ({"horizon_steps": 0}, "horizon_steps is 0; 1 to 10000 is needed"),
        ({"dts_s": [0.5, 0]}, "dts_s is [0.5, 0.0]; steps above 0 s and up to 60 s is needed"),
        ({"dts_s": [-1.0]}, "dts_s is [-1.0]; steps above 0 s"),
        ({"dts_s": [float("nan")]}, "dts_s is [nan]; steps above 0 s"),
        ({"dts_s": []}, "dts_s is []; steps above 0 s"),
        ({"noise_m": -0.1}, "noise_m is -0.1; 0 to 100 m is needed"),
        ({"noise_m": float("nan")}, "noise_m is nan; 0 to 100 m is needed"),
        ({"dts_s": "0.5"}, "its configuration is not understood"),
        ({"config": {"graph": {"agent_radius_m": 1e308}}}, "graph.agent_radius_m is 1e+308; a"),
        ({"config": {"world_model": {"hidden": 10**6}}}, "do not fit the configuration"),
        ({"config": {"world_model": {"hidden": 10**12}}}, "do not fit the configuration"),
        ({"config": {"graph": {"piece_points": 10**12}}}, "do not fit the configuration"),
    ],
    ids=str,
)
def test_impossible_values_in_weights(
    forecaster: Forecaster, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    message = refused(rewritten(forecaster, tmp_path / "w.safetensors", **copy.deepcopy(changes)))
    assert words in message
    assert len(message) < 600


def test_weights_that_are_not_finite(forecaster: Forecaster, tmp_path: Path) -> None:
    model = copy.deepcopy(forecaster.model)
    next(model.parameters()).data[0] = float("nan")
    Forecaster(model, forecaster.training, "nan").save(tmp_path / "w.safetensors")
    assert "not finite; a finite number in each is needed" in refused(tmp_path / "w.safetensors")


@pytest.mark.parametrize("state", [[torch.zeros(2)], {"forecaster.a": 3}, {3: torch.zeros(2)}, 7])
def test_a_state_that_is_none(forecaster: Forecaster, tmp_path: Path, state: object) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({**checkpoint_of(forecaster), "state_dict": state}, path)
    assert "its state_dict does not hold tensors by name" in refused(path)


@pytest.mark.parametrize("described", [None, 3, [1], {"config": 1}, {}])
def test_a_description_that_is_none(
    forecaster: Forecaster, tmp_path: Path, described: object
) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({**checkpoint_of(forecaster), CHECKPOINT_KEY: described}, path)
    assert "its configuration" in refused(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    forecaster: Forecaster, tmp_path: Path
) -> None:
    plain, bomb = tmp_path / "plain.ckpt", tmp_path / "bomb.ckpt"
    torch.save(checkpoint_of(forecaster), plain)
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for each in source.namelist():
            target.writestr(each, source.read(each))
    assert "its contents are compressed" in refused(bomb)


def test_a_checkpoint_without_checksums_is_refused(forecaster: Forecaster, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save(checkpoint_of(forecaster), path, _use_new_zipfile_serialization=False)
    assert "it is in the old format of torch.save, which has no checksums" in refused(path)


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


def test_a_device_that_is_not_there_is_refused_in_one_line() -> None:
    with pytest.raises(ForecastError, match="device is 'nowhere'; one of this machine is needed"):
        inference.load("town", device="nowhere")
