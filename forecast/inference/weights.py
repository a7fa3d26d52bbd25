"""Weights files: what is in them, and how they are read and written."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.torch
import torch

from forecast.errors import ForecastError
from forecast.models.calibration.conformal import Calibration
from forecast.models.calibration.ood import OODModel
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster

PACKAGED = {"town": Path(__file__).parents[1] / "weights" / "town.safetensors"}
"""Weights that come with the package: ``town`` has learnt from the simulated city alone."""

_LIGHTNING_PREFIX = "forecaster."


@dataclass(frozen=True)
class Source:
    """A store that a model learnt from.

    Attributes:
        fingerprint: Of the store's source.
        scenes: Names of the scenes.
    """

    fingerprint: str
    scenes: list[str]


@dataclass(frozen=True)
class Training:
    """What a model was trained on; carried with the weights.

    Attributes:
        config: The model's configuration.
        history_steps: Observed steps it was trained with, the current one included.
        horizon_steps: Imagined steps it was trained with.
        dts_s: Step lengths it was trained with.
        learnt_from: The stores it learnt from, by path.
        version: Version of this package that trained it.
        calibrated_on: The stores its tubes were fitted on, by path.
        calibration: Its tubes, once fitted.
        ood: Its OOD detector, once fitted.
    """

    config: ForecasterConfig
    history_steps: int
    horizon_steps: int
    dts_s: list[float]
    learnt_from: dict[str, Source] = field(default_factory=dict)
    version: str = ""
    calibrated_on: dict[str, Source] = field(default_factory=dict)
    calibration: Calibration | None = None
    ood: OODModel | None = None


def read_model(path: str | Path) -> tuple[PedestrianForecaster, Training, str]:
    """The network of a weights file, what it was trained on, and its name; see `load`."""
    path = PACKAGED.get(str(path), Path(path))
    described, weights = read_weights(path)
    training = _training(path, described)
    model = PedestrianForecaster(training.config)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:160]
        raise ForecastError(
            f"{path}: the weights do not fit the configuration they carry ({detail}); train again"
        ) from None
    return model, training, _name(path)


def save_model(path: str | Path, model: PedestrianForecaster, training: Training) -> None:
    """Writes weights and configuration as one safetensors file."""
    metadata = {"forecast": json.dumps(asdict(training))}
    Path(path).write_bytes(safetensors.torch.save(model.state_dict(), metadata))


def _name(path: Path) -> str:
    """A checkpoint is called after its run, another file after itself."""
    path = path.resolve()
    return path.parent.parent.name if path.parent.name == "checkpoints" else path.stem


def read_weights(path: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    """What a weights file says of itself, and its tensors; raises `ForecastError`."""
    if not path.is_file():
        names = ", ".join(PACKAGED)
        raise ForecastError(
            f"{path}: there is no such weights file; give a .ckpt, a .safetensors or {names}"
        )
    return _read_checkpoint(path) if path.suffix == ".ckpt" else _read_safetensors(path)


def _read_checkpoint(path: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        weights = checkpoint["state_dict"]
        described = checkpoint["forecast"]
    except (RuntimeError, pickle.UnpicklingError, KeyError, EOFError, TypeError) as error:
        raise ForecastError(
            f"{path}: not a checkpoint of 'forecast fit' ({type(error).__name__}); "
            "give one from its checkpoints folder"
        ) from None
    start = len(_LIGHTNING_PREFIX)
    return described, {
        name[start:]: value for name, value in weights.items() if name.startswith(_LIGHTNING_PREFIX)
    }


def _read_safetensors(path: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            described = json.loads(file.metadata()["forecast"])
            return described, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError):
        raise ForecastError(
            f"{path}: not a weights file of this package; give one that Forecaster.save wrote"
        ) from None


def _training(path: Path, described: Any) -> Training:
    """Builds `Training` from plain values and refuses what it does not know."""
    try:
        training = msgspec.convert(described, Training)
    except msgspec.ValidationError as error:
        raise ForecastError(f"{path}: its configuration is not understood: {error}") from None
    known = asdict(training)
    if known != {**known, **described}:
        changed = sorted(key for key in known if known[key] != described.get(key, known[key]))
        raise ForecastError(
            f"{path}: its configuration ({', '.join(changed) or 'an unknown key'}) is from another "
            "version of this package; use that version or train again"
        )
    return training
