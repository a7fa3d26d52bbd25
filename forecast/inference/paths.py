"""What is at a path that is not the file that was asked for, and what to name instead."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from pathlib import Path

from forecast.errors import ForecastError

_EVALUATED = "give the weights that were evaluated (evaluate also takes its predictions.parquet)"
_FOLDERS = {
    "store.json": (
        "a store of scenes",
        "give a weights file (--store takes the store)",
    ),
    "metrics.json": ("the results of an evaluation", _EVALUATED),
    "scores.msgpack.z": ("a shard of an evaluation", _EVALUATED),
}
"""A file by which a folder is known: what the folder is, and what to do.

The names are written out, because the packages that define them are slow to import.
"""

_PROGRAMS = (".pt2", ".onnx")
_RUN = ("checkpoints", "events.out.tfevents.*")
_HEAD_BYTES = 64
_ALIKE = 0.7
"""Least likeness of two names, of which one may have been meant by the other."""


def nearest(path: Path, names: Iterable[str] = ()) -> str:
    """What was probably meant by a path where nothing is: "did you mean …?", or "".

    Args:
        path: The path.
        names: Names that may stand in its place.
    """
    expanded = path.expanduser() if path.parts[:1] == ("~",) else path
    if expanded != path and expanded.exists():
        return f"'~' is not expanded here; did you mean {expanded}?"
    if len(path.parts) == 1:
        near = _closest(path.stem, names)
        if near:
            return f"did you mean '{near}'?"
    place, missing = path.parent, path.name
    while not place.is_dir() and place != place.parent:
        place, missing = place.parent, place.name
    near = _closest(missing, [each.name for each in _inside(place)])
    if near == missing:
        return f"did you mean the file {place / near}?"
    if near:
        where = "" if place == path.parent else f"{place} has no '{missing}'; "
        return f"{where}did you mean {place / near}?"
    weights = weights_in(place / "checkpoints") if place == path.parent else None
    return f"did you mean {weights}?" if weights else ""


def _closest(name: str, names: Iterable[str]) -> str:
    """The name whose part before the suffix is most like that of another; "" if none is."""

    def likeness(each: str) -> tuple[float, bool]:
        one, other = (Path(text).stem.lower().replace("-", "_") for text in (name, each))
        alike = difflib.SequenceMatcher(None, one, other).ratio()
        return alike, Path(each).suffix == Path(name).suffix

    best = max(names, key=likeness, default="")
    return best if likeness(best)[0] >= _ALIKE else ""


def weights_in(folder: Path) -> Path | None:
    """The weights to name instead of a folder: its last checkpoint, else its newest file."""
    for place in (".", "checkpoints", "*", "*/checkpoints"):
        kinds = (f"{place}/*.ckpt", f"{place}/*.safetensors")
        found = [path for kind in kinds for path in folder.glob(kind) if is_file(path)]
        if found:
            return max(found, key=lambda path: (path.name == "last.ckpt", path.stat().st_mtime))
    return None


def of_folder(folder: Path) -> str:
    """One line on a folder that was given instead of a weights file."""
    inside = _inside(folder)
    for file, (what, advice) in _FOLDERS.items():
        if folder / file in inside:
            return f"{folder}: is {what}; {advice}"
    weights = weights_in(folder)
    if weights is not None:
        if any(path.suffix in _PROGRAMS for path in inside):
            return f"{folder}: is an incomplete exported model; export again, or give {weights}"
        is_run = weights.parent == folder / "checkpoints"
        what = "the folder of a training run" if is_run else "a folder"
        return f"{folder}: is {what}; give a file in it: {weights}"
    if any(True for name in _RUN for _ in folder.glob(name)):
        return (
            f"{folder}: is the folder of a training run that has no checkpoint yet; let it run "
            "until it has one, or give other weights"
        )
    what = "a folder without weights" if inside else "an empty folder"
    return f"{folder}: is {what}, not a folder of 'forecast export'; give one, or a weights file"


def is_folder(path: Path) -> bool:
    """Whether there is a folder; False also for a path that may not be read or is too long."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_file(path: Path) -> bool:
    """Whether there is a file; False also for a path that may not be read or is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def head_of(path: Path, names: Collection[str] = ()) -> bytes:
    """The first bytes of a weights file; they say what it is.

    Args:
        path: The file.
        names: Names that may stand in the place of a weights file; none for a checkpoint.

    Raises:
        ForecastError: It is missing, empty, a folder, cannot be read, or stands for another file.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except IsADirectoryError:
        raise ForecastError(of_folder(path)) from None
    except (FileNotFoundError, NotADirectoryError, ValueError):
        if path.is_symlink():
            words = f"is a link to {path.readlink()}, which is not there; copy that file too"
            raise ForecastError(f"{path}: {words}") from None
        known = f"a .ckpt, a .safetensors or {', '.join(names)}" if names else "a .ckpt"
        advice = nearest(path, names) or f"give {known}"
        raise ForecastError(f"{path}: there is no such weights file; {advice}") from None
    except OSError as error:
        raise ForecastError(
            f"{path}: cannot be read: {error.strerror}; check the path and its permissions"
        ) from None
    if not head:
        raise ForecastError(f"{path}: is empty (0 bytes); copy or train it again")
    if head.startswith(b"version https://git-lfs"):
        raise ForecastError(
            f"{path}: is a Git LFS pointer instead of the file; fetch it with 'git lfs pull'"
        )
    if path.suffix in _PROGRAMS:
        raise ForecastError(
            f"{path}: is one program of an exported model; give its folder {path.parent}"
        )
    return head
