"""Weights files: their content, and functions that read and write them.

Both kinds of files carry checksums, which are compared when they are read: a safetensors file one
of everything in it, a checkpoint those of the zip archive that it is.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.torch
import torch

from forecast.datasets.learnt_from import Source
from forecast.errors import ForecastError, ForecastWarning, require
from forecast.files import completed
from forecast.inference.paths import head_of
from forecast.models.calibration.conformal import Calibration
from forecast.models.calibration.ood import OODModel
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster

PACKAGED = {"town": Path(__file__).parents[1] / "weights" / "town.safetensors"}
"""Weights that come with the package, by name. ``town`` was trained on the simulated city only."""

CHECKPOINT_KEY = "forecast"
"""Key of a checkpoint under which its configuration and training data are."""

_DESCRIBED, _CHECKSUM = "forecast", "sha256"
"""Keys of a safetensors file's metadata: `Training` as JSON, and the checksum of everything."""

_MOST_STEPS, _LONGEST_STEP_S, _MOST_NOISE_M = 10_000, 60.0, 100.0
"""Bounds of values in a weights file; beyond them are damaged or hostile files."""

_LIGHTNING_PREFIX = "forecaster."
_LONGEST_HEADER = 100_000_000
"""Most bytes of a header of safetensors, whose number is in the first eight."""

_TORCH_MAGIC = (b"PK\x03\x04", b"\x80\x02")
"""First bytes of what `torch.save` writes: a zip archive, in old versions a pickle."""


@dataclass(frozen=True)
class Training:
    """Training data and settings of a model; stored with the weights.

    Attributes:
        config: The model's configuration.
        history_steps: Observed steps in training, the current one included.
        horizon_steps: Imagined steps in training.
        dts_s: Step lengths in training.
        noise_m: Upper limit of the standard deviation of the noise of observed positions in
            training; see `AugmentConfig.noise_m`.
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
    noise_m: float = 0.0
    learnt_from: dict[str, Source] = field(default_factory=dict)
    version: str = ""
    calibrated_on: dict[str, Source] = field(default_factory=dict)
    calibration: Calibration | None = None
    ood: OODModel | None = None

    def __post_init__(self) -> None:
        """Checks the times; raises `ForecastError`."""
        for name in ("history_steps", "horizon_steps"):
            value = getattr(self, name)
            require(1 <= value <= _MOST_STEPS, name, value, f"1 to {_MOST_STEPS}")
        good = bool(self.dts_s) and all(0 < dt_s <= _LONGEST_STEP_S for dt_s in self.dts_s)
        require(good, "dts_s", self.dts_s, f"steps above 0 s and up to {_LONGEST_STEP_S:g} s")
        good = 0 <= self.noise_m <= _MOST_NOISE_M
        require(good, "noise_m", self.noise_m, f"0 to {_MOST_NOISE_M:g} m")

    def drawn(self, samples: int) -> int:
        """Number of samples to imagine where ``samples`` are asked: the tubes may need more."""
        return max(samples, self.calibration.samples if self.calibration else 0)


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
    try:
        with torch.device("meta"):  # takes no memory, whatever the sizes
            PedestrianForecaster(training.config).load_state_dict(weights, assign=True)
        model = PedestrianForecaster(training.config)
        model.load_state_dict(weights)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:160]
        raise ForecastError(
            f"{path}: the weights do not fit the configuration they carry ({detail}); train again"
        ) from None
    bad = [name for name, value in weights.items() if not value.isfinite().all()]
    require(not bad, f"{path}: its weights {_first(bad)}", "not finite", "a finite number in each")
    return model, training, _name(path)


def warn_not_calibrated(name: str | Path) -> None:
    """Warns of weights without calibration, once per process and file.

    Args:
        name: Their file.

    Warns:
        ForecastWarning: What their predictions lack, and the command that adds it.
    """
    text = (
        f"{name} is not calibrated: its predictions have no tubes and no out-of-distribution "
        f"fallback; run 'forecast calibrate --weights {name} --store S --split val --out "
        "calibrated.safetensors' on scenes it was not trained on"
    )
    # Python shows a text once per line of code, so it is this line and not that of the caller.
    warnings.warn(text, ForecastWarning, stacklevel=1)


def save_model(path: str | Path, model: PedestrianForecaster, training: Training) -> None:
    """Writes weights and configuration as one safetensors file.

    Args:
        path: The file; it is there only when it is complete.
        model: The network.
        training: Training data and settings of the weights.

    Raises:
        ForecastError: The file cannot be written.
    """
    described, weights = json.dumps(asdict(training)), model.state_dict()
    metadata = {_DESCRIBED: described, _CHECKSUM: _checksum(described, weights)}
    with completed(Path(path)) as file:
        file.write_bytes(safetensors.torch.save(weights, metadata))


def weights_sha256(weights: Mapping[str, torch.Tensor]) -> str:
    """Hash of the names and values of tensors, in hex."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(name.encode() + content.numpy().tobytes())
    return digest.hexdigest()


def _checksum(described: str, weights: Mapping[str, torch.Tensor]) -> str:
    """Hash of everything in a safetensors file, in hex."""
    forms = {name: [str(value.dtype), *value.shape] for name, value in weights.items()}
    content = json.dumps([described, forms, weights_sha256(weights)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _name(path: Path) -> str:
    """The name of the run for a checkpoint, the name of the file for other weights."""
    path = path.resolve()
    return path.parent.parent.name if path.parent.name == "checkpoints" else path.stem


def read_weights(path: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    """The metadata of a weights file and its tensors by name.

    Args:
        path: The file; its content says which kind it is, whatever its suffix.

    Raises:
        ForecastError: The file is missing, unreadable, or not of this package.
    """
    if is_safetensors(head_of(path, tuple(PACKAGED))):
        return _read_safetensors(path)
    checkpoint = read_checkpoint(path)
    start, weights = len(_LIGHTNING_PREFIX), checkpoint["state_dict"]
    return checkpoint[CHECKPOINT_KEY], {
        name[start:]: value for name, value in weights.items() if name.startswith(_LIGHTNING_PREFIX)
    }


def _is_state(values: Any) -> bool:
    """Whether this is a state dict: tensors by name."""
    return isinstance(values, Mapping) and all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in values.items()
    )


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a safetensors file."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < _LONGEST_HEADER


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of ``forecast fit``; code in it is never run.

    Args:
        path: The file.

    Raises:
        ForecastError: The file is missing, unreadable, or not of this package.
    """
    head = head_of(path)
    if not head.startswith(_TORCH_MAGIC):
        raise _other(path, f"it begins with {head[:12]!r}")
    is_zip = head.startswith(_TORCH_MAGIC[0])
    if is_zip:
        _check_archive(path)
    try:
        with path.open("rb") as file:  # by its path, torch.load would go by the suffix
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f" ({found[1]})" if found else ""
        raise _other(path, f"it holds Python objects{what}, which are never run") from None
    except Exception:  # a damaged file may raise anything
        raise _damaged(path) from None
    if not isinstance(checkpoint, dict) or not {"state_dict", CHECKPOINT_KEY} <= checkpoint.keys():
        raise _other(path, _what_it_holds(checkpoint))
    if not _is_state(checkpoint["state_dict"]):
        raise _other(path, "its state_dict does not hold tensors by name")
    if not is_zip:
        raise _other(path, "it is in the old format of torch.save, which has no checksums")
    return checkpoint


def _check_archive(path: Path) -> None:
    """Compares a checkpoint with its checksums, which torch does not.

    Refuses compressed contents too, which may be of any size: torch writes none.

    Raises:
        ForecastError: It is damaged or not written by torch.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            plain = all(each.compress_type == zipfile.ZIP_STORED for each in archive.infolist())
            damaged = archive.testzip() if plain else None
    except Exception:  # a damaged file may raise anything
        raise _damaged(path) from None
    if not plain:
        raise _other(path, "its contents are compressed")
    if damaged is not None:
        raise _damaged(path)


def _what_it_holds(checkpoint: Any) -> str:
    """What a checkpoint of another origin holds, in words."""
    if not isinstance(checkpoint, dict):
        return f"it holds a {type(checkpoint).__name__}"
    if "pytorch-lightning_version" in checkpoint:
        inside = _first(checkpoint.get("state_dict", ()))
        return f"it is a Lightning checkpoint of another project ({inside})"
    return f"it holds {_first(checkpoint)}, but no configuration of this package"


def _first(names: Iterable[Any]) -> str:
    """The first names of many."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:3] + ["…"] * (len(listed) > 3)) or "nothing"


def _read_safetensors(path: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            names = list(file.keys())
            metadata = file.metadata() or {}
            if _DESCRIBED not in metadata:
                words = f"it is a safetensors file of another project ({_first(names)})"
                raise _other(path, words)
            weights = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, ValueError, OSError):
        raise _damaged(path) from None
    described = metadata[_DESCRIBED]
    if _CHECKSUM not in metadata:
        raise ForecastError(
            f"{path}: has no checksum, so damage would not be noticed: an older version wrote it; "
            "run 'forecast calibrate' again, with the checkpoint (.ckpt) of its training"
        )
    if metadata[_CHECKSUM] != _checksum(described, weights):
        raise _damaged(path)
    try:
        return json.loads(described), weights
    except (ValueError, RecursionError):
        raise _damaged(path) from None


def _damaged(path: Path) -> ForecastError:
    size = path.stat().st_size
    return _other(path, f"its {size} bytes are damaged or cut off", "copy or download it again")


def _other(
    path: Path,
    why: str,
    advice: str = "give a .ckpt of 'forecast fit' or a file of Forecaster.save",
) -> ForecastError:
    """The error of a file that is not of this package."""
    is_checkpoint = path.suffix == ".ckpt"
    kind = "checkpoint of 'forecast fit'" if is_checkpoint else "weights file of this package"
    return ForecastError(f"{path}: not a {kind}: {why}; {advice}")


def _training(path: Path, described: Any) -> Training:
    """Builds `Training` from plain values; raises `ForecastError` for unknown or changed keys."""
    try:
        training = msgspec.convert(described, Training)
    except msgspec.ValidationError as error:
        raise ForecastError(f"{path}: its configuration is not understood: {error}") from None
    except ForecastError as error:
        raise ForecastError(
            f"{path}: its configuration ({error}) is from another version of this package; "
            "use that version or train again"
        ) from None
    known = asdict(training)
    if known != {**known, **described}:
        changed = sorted(key for key in known if known[key] != described.get(key, known[key]))
        raise ForecastError(
            f"{path}: its configuration ({', '.join(changed) or 'an unknown key'}) is from another "
            "version of this package; use that version or train again"
        )
    return training
