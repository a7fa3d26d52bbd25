"""Finds the recordings in a folder, and their splits by the names of its folders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from forecast.datasets.source import content_hash
from forecast.errors import ForecastError

_NO_ROWS = """
.md .rst .html .pdf .json .yaml .yml .xml .toml .py .m .sh .ipynb .cfg .ini .vsp .mat .npy .npz .pkl
.pt .h5 .parquet .jpg .jpeg .png .gif .bmp .svg .avi .mp4 .mov .mkv .zip .gz .tar .tgz .7z .rar .doc
.docx .xls .xlsx .ods .arrow .tmp
"""
"""Endings of files that hold no rows."""

_TEXTS = ("readme", "license", "licence", "citation", "copying", "notice")
"""How the names of files begin that people read."""

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Names of folders, and the splits that they are."""

_OPENTRAJ = "obsmat.txt"

ALL = "all_recordings"
"""The split of a folder without splits."""


def find_recordings(dataroot: Path) -> tuple[dict[str, Path], dict[str, list[str]]]:
    """Finds the recordings in a folder and in the folders below it.

    - Folders ``train``, ``val`` and ``test`` are splits. Below other folders, the split has the
      names of these in front: ``eth/train`` (as in Social-GAN) is ``eth_train``.
    - Of a folder of OpenTraj, the files ``obsmat.txt`` are the recordings, named after their
      folders.
    - A recording is named after its file. Files of one name and content are one recording, which
      may belong to several splits. Of one name and several contents, they have the names of their
      folders in front: ``train/plaza`` and ``val/plaza``.

    Args:
        dataroot: The folder, or a single file.

    Returns:
        The files by name, and the names of each split; without splits, all are `ALL`.

    Raises:
        ForecastError: There is no file of rows.
    """
    files = files_of_rows(dataroot)
    if not files:
        vsp = ": .vsp files hold splines in pixels" if any(dataroot.rglob("*.vsp")) else ""
        raise ForecastError(
            f"{dataroot}: no recording such as plaza.txt{vsp}; give a folder of text files with "
            "rows 'frame person x_m y_m'"
        )
    root = dataroot if dataroot.is_dir() else dataroot.parent
    recordings: dict[str, Path] = {}
    splits: dict[str, list[str]] = defaultdict(list)
    for path, name in _named(root, files):
        recordings.setdefault(name, path)
        split = _split_of(path.relative_to(root).parts[:-1])
        if split and name not in splits[split]:
            splits[split].append(name)
    return recordings, dict(splits) or {ALL: list(recordings)}


def files_of_rows(dataroot: Path) -> list[Path]:
    """Returns the files of a folder that may hold rows; only those of OpenTraj if it has any."""
    if dataroot.is_file():
        return [dataroot]
    files = [path for path in sorted(dataroot.rglob("*")) if _may_hold_rows(dataroot, path)]
    return [path for path in files if path.name == _OPENTRAJ] or files


def _may_hold_rows(root: Path, path: Path) -> bool:
    hidden = any(part.startswith((".", "__")) for part in path.relative_to(root).parts)
    no_rows = _NO_ROWS.split()
    is_text = path.name.lower().startswith(_TEXTS)
    return path.is_file() and not hidden and not is_text and path.suffix.lower() not in no_rows


def _named(root: Path, files: Iterable[Path]) -> list[tuple[Path, str]]:
    """The files with the shortest name that no other recording has."""
    contents: dict[str, set[bytes]] = defaultdict(set)
    together: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        together[_names(root, path)[0]].append(path)
    for paths in together.values():
        for path in paths:
            content = content_hash(path) if len(paths) > 1 else b""
            for name in _names(root, path):
                contents[name].add(content)
    return [
        (path, next(name for name in _names(root, path) if len(contents[name]) == 1))
        for path in files
    ]


def _names(root: Path, path: Path) -> tuple[str, str, str]:
    """Possible names of a recording; the last one is unique."""
    own = path.resolve().parent if path.name == _OPENTRAJ else path.with_suffix("")
    inside = path.relative_to(root)
    folder = inside.parent if path.name == _OPENTRAJ else inside.with_suffix("")
    return own.name, folder.as_posix(), inside.as_posix()


def _split_of(folders: tuple[str, ...]) -> str | None:
    """The split of a file in some folders; None if none of them is one."""
    for depth, folder in enumerate(folders):
        if folder.lower() in _SPLITS:
            return "_".join([*folders[:depth], _SPLITS[folder.lower()]])
    return None
