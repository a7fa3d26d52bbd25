"""Writes and reads an exported model: a folder of programs, weights and a description.

The programs are ``map``, ``place``, ``update``, ``modes``, ``settle``, ``inject`` and ``act``
(`forecast.models.programs`). ``interface.json`` lists their inputs and outputs in order, with
names, shapes and types, for callers in other languages.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import torch

from forecast.datasets.progress import with_progress
from forecast.errors import ForecastError, require
from forecast.export.formats import FORMATS, Format
from forecast.export.model import ExportedModel
from forecast.files import completed
from forecast.inference.paths import of_folder
from forecast.inference.weights import Training, read_model, save_model
from forecast.models.programs import AXES, Program, programs

_WEIGHTS, _INTERFACE = "weights.safetensors", "interface.json"
_SUFFIXES = (*(form.suffix for form in FORMATS.values()), ".data")
"""Suffixes of programs, and of the weights that ONNX puts beside one."""


def run(*, weights: str | Path, out: Path, form: str) -> None:
    """Writes the programs of a model; the command ``forecast export``.

    Args:
        weights: A weights file, or a name of `forecast.inference.PACKAGED`.
        out: The folder. It is there only when it is complete; an earlier export is replaced.
        form: A key of `FORMATS`.

    Raises:
        ForecastError: The weights cannot be read, a requirement of the format is not installed, or
            there is something else than an exported model at the folder.
    """
    model, training, _ = read_model(weights)
    model = model.eval().requires_grad_(False)
    _check_out(out)
    described: dict[str, dict[str, Any]] = {}
    with completed(out) as folder:
        folder.mkdir()
        made = programs(model)
        for name, program in with_progress(made.items(), len(made), f"export {out}", "program"):
            file = folder / f"{name}{FORMATS[form].suffix}"
            _write(FORMATS[form], program, file, out)
            described[name] = {"file": file.name, **program.interface()}
        save_model(folder / _WEIGHTS, model, training)
        contents = {"format": form, "torch": torch.__version__, "axes": AXES, "programs": described}
        text = json.dumps(contents, indent=2) + "\n"
        (folder / _INTERFACE).write_text(text, encoding="utf-8")
    for one in described.values():
        counts = [f"{len(one[kind])} {kind}" for kind in ("inputs", "outputs")]
        print(f"{out / one['file']}: {', '.join(counts)}")


def _write(form: Format, program: Program, file: Path, out: Path) -> None:
    """Writes a program; raises `ForecastError` also where the format's own package fails."""
    try:
        form.write(program, file)
    except (ForecastError, OSError):
        raise
    except Exception as error:  # the formats' packages may raise anything, such as on a full disk
        words = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise ForecastError(
            f"{out / file.name}: cannot be written ({words}); check the free space and the "
            "installed packages"
        ) from error


def _check_out(out: Path) -> None:
    """Refuses a place where something else is than an exported model, which would be lost.

    Programs alone do not show that: they may be somebody's other models.
    """
    if out.exists() and not out.is_dir():
        raise ForecastError(f"--out {out}: is a file; give a new folder")
    for path in sorted(out.iterdir()) if out.is_dir() else ():
        if path.name not in (_WEIGHTS, _INTERFACE) and path.suffix not in _SUFFIXES:
            raise ForecastError(
                f"--out {out}: holds '{path.name}', which is no part of an exported model; give a "
                "new or empty folder"
            )
    if out.is_dir() and any(out.iterdir()) and not (out / _INTERFACE).is_file():
        raise ForecastError(
            f"--out {out}: is not empty and has no {_INTERFACE}, so it is no exported model; give "
            "a new or empty folder"
        )


class _Array(msgspec.Struct):
    name: str


class _File(msgspec.Struct):
    file: str
    inputs: list[_Array]
    outputs: list[_Array]


class _Interface(msgspec.Struct):
    format: str
    torch: str
    programs: dict[str, _File]


def read(folder: Path) -> tuple[ExportedModel, Training, str]:
    """Reads an exported folder.

    Args:
        folder: The folder.

    Returns:
        The network, its training data and settings, and its name.

    Raises:
        ForecastError: The folder has another content, or was made for another version of torch.
    """
    interface = _read_interface(folder)
    _check(interface, folder)
    model, training, _ = read_model(folder / _WEIGHTS)
    form = FORMATS[interface.format]
    runs = {}
    for name, program in interface.programs.items():
        names, file = [array.name for array in program.inputs], folder / program.file
        try:
            runs[name] = form.read(file, names, len(program.outputs))
        except ForecastError:
            raise
        except Exception as error:  # the formats' packages may raise anything
            words = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            raise ForecastError(f"{file}: cannot be read ({words}); export again") from error
    return ExportedModel(model, runs), training, folder.resolve().name


def _check(interface: _Interface, folder: Path) -> None:
    """Refuses a format or a torch that is not this machine's, and a folder with a file missing."""
    known = f"one of {', '.join(FORMATS)}"
    require(interface.format in FORMATS, f"{folder}: its format", interface.format, known)
    made, here = interface.torch, torch.__version__
    require(
        interface.format != "aoti" or made == here,
        f"{folder}: its torch",
        made,
        f"{here}; export again, this version of torch",
    )
    for program in interface.programs.values():
        good = Path(program.file).name == program.file
        require(
            good, f"{folder}: a program's file", f"'{program.file}'", "the name of a file in it"
        )
    for needed in (_WEIGHTS, *(program.file for program in interface.programs.values())):
        if not (folder / needed).is_file():
            raise ForecastError(f"{folder}: is an exported model without {needed}; export again")


def _read_interface(folder: Path) -> _Interface:
    try:
        return msgspec.json.decode((folder / _INTERFACE).read_bytes(), type=_Interface)
    except FileNotFoundError:
        raise ForecastError(of_folder(folder)) from None
    except (OSError, msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ForecastError(
            f"{folder}: not a folder of 'forecast export' ({error}); give one, or a weights file"
        ) from None
