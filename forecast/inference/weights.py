"""Weights files: their content, and functions that read and write them."""

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
"""Weights that come with the package, by name. ``town`` was trained on the simulated city only."""

_LIGHTNING_PREFIX = "forecaster."


@dataclass(frozen=True)
class Source:
    """Scenes of a store that a model was trained or calibrated on.

    Attributes:
        fingerprint: Fingerprint of the store's source.
        scenes: Names of the scenes.
    """

    fingerprint: str
    scenes: list[str]


@dataclass(frozen=True)
class Training:
    """Training data and settings of a model; stored with the weights.

    Attributes:
        config: The model's configuration.
        history_steps: Observed steps in training, the current one included.
        horizon_steps: Imagined steps in training.
        dts_s: Step lengths in training.
        learnt_from: The training scenes, by path of the store.
        version: Version of this package that trained it.
        calibrated_on: The scenes on which the tubes were fitted, by path of the store.
        calibration: Fitted tubes or None.
        ood: Fitted OOD detector or None.
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
    """Reads a weights file.

    Args:
        path: A name of `PACKAGED`, a ``.safetensors`` file or a ``.ckpt``.

    Returns:
        The network, its training data and settings, and its name.

    Raises:
        ForecastError: The file is missing, unreadable, or not of this package.
    """
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
    """Writes weights and configuration as one safetensors file.

    Args:
        path: The file.
        model: The network.
        training: Training data and settings of the weights.
    """
    metadata = {"forecast": json.dumps(asdict(training))}
    Path(path).write_bytes(safetensors.torch.save(model.state_dict(), metadata))


def _name(path: Path) -> str:
    """The name of the run for a checkpoint, the name of the file for other weights."""
    path = path.resolve()
    return path.parent.parent.name if path.parent.name == "checkpoints" else path.stem


def read_weights(path: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    """The metadata of a weights file and its tensors by name.

    Args:
        path: The file.

    Raises:
        ForecastError: The file is missing, unreadable, or not of this package.
    """
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
    """Builds `Training` from plain values; raises `ForecastError` for unknown or changed keys."""
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
