"""Files and folders that appear under their name only when they are complete; the cache.

Every output of the package is written by `completed`. It works in a folder beside the output::

    .NAME.XXXXXXXX.forecast-part/lock      locked by the process that writes; not by a killed one
    .NAME.XXXXXXXX.forecast-part/new/NAME  what is written
    .NAME.XXXXXXXX.forecast-part/old/NAME  what was there before, where it cannot be exchanged

The next run removes what no living process has locked.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forecast.errors import ForecastError

_SUFFIX = ".forecast-part"
_PARTS = {"lock", "new", "old"}
_SHOWN = 40
"""Characters of the output's name in that of the folder; a name has at most 255 bytes."""

_AT_WORKING_FOLDER = -100
_EXCHANGE = 2
"""Constants of ``renameat2`` on Linux: AT_FDCWD and RENAME_EXCHANGE."""

_NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EBADF)
"""Errors of a file system that does not know a request."""


@contextmanager
def completed(path: Path, *, clear: bool = True) -> Iterator[Path]:
    """A temporary path; what is written there is moved to the given one at the end.

    The process may be killed at any moment, and the machine may lose its power: nothing incomplete
    is ever at ``path``. A file or folder that was there before is replaced, on Linux without a
    moment at which there is neither. After an error all is as before.

    Args:
        path: Where the file or folder is to be. Missing folders above it are made.
        clear: Whether to call `clear_leftovers` for its folder.

    Yields:
        The path to write to, with the same name.

    Raises:
        ForecastError: It cannot be written: the disk is full, something else is there, and so on.
    """
    with _in_one_line(path) as place, _work_folder(place, clear) as work:
        new = work / "new" / place.name
        new.parent.mkdir()
        yield new
        _sync(new)
        _swap(new, place, work)
        _sync_folder(place.parent)


def clear_leftovers(folder: Path) -> None:
    """Removes what killed runs have left beside their outputs, and keeps that of living ones.

    A folder that such a run had moved away, and not yet replaced, is moved back.

    Args:
        folder: The folder of the outputs.
    """
    for work in folder.glob(f".*{_SUFFIX}"):
        try:
            if not {path.name for path in work.iterdir()} <= _PARTS:
                continue  # it is somebody else's
            with _locked(work):
                _restore(work)
                shutil.rmtree(work, ignore_errors=True)
        except OSError:  # it is locked, or another process has just removed it
            continue


def cache_folder() -> Path:
    """The user's folder for what can be made again: ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forecast"


@contextmanager
def _in_one_line(path: Path) -> Iterator[Path]:
    """The path without links; errors of the system become a line that names what is written."""
    try:
        if path.is_symlink() and not path.exists():
            words = f"is a link to {path.readlink()}, which is not there; make that, or remove it"
            raise ForecastError(f"{path}: {words}")
        yield path.resolve()
    except OSError as error:
        is_file = isinstance(error, FileExistsError)  # where a folder is to be made
        words = "is a file, and a folder is needed" if is_file else error.strerror or str(error)
        advice = "check the path, its permissions and the free space"
        raise ForecastError(f"{_named(error, path)}: {words.splitlines()[0]}; {advice}") from error


def _named(error: OSError, path: Path) -> Path:
    """The path that an error is about, as it would be when the output is complete."""
    about = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else path
    about = path if about.suffix == _SUFFIX else about
    while works := [place for place in about.parents if place.suffix == _SUFFIX]:
        about = works[-1].parent.joinpath(*about.relative_to(works[-1]).parts[1:])
    return about


@contextmanager
def _work_folder(place: Path, clear: bool) -> Iterator[Path]:
    """A locked folder beside an output; it is removed at the end."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if clear:
        clear_leftovers(place.parent)
    while True:
        made = tempfile.mkdtemp(_SUFFIX, f".{place.name[:_SHOWN]}.", place.parent)
        try:
            with _locked(work := Path(made), new=True):
                try:
                    yield work
                finally:
                    _restore(work)
                    shutil.rmtree(work, ignore_errors=True)
                return
        except _RemovedError:  # by `clear_leftovers` of another process, before it was locked
            continue


class _RemovedError(OSError):
    """The folder is not there any more."""


@contextmanager
def _locked(work: Path, *, new: bool = False) -> Iterator[None]:
    """Holds the lock of a folder; raises `OSError` if it is held elsewhere or gone."""
    lock = work / "lock"
    try:
        file = os.open(lock, os.O_RDWR | os.O_CREAT)
    except FileNotFoundError as error:
        raise _RemovedError(str(work)) from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Where there are no locks, the folder of another process is left alone.
            if not (new and error.errno in _NOT_SUPPORTED):
                raise _RemovedError(str(work)) from error
        if not lock.exists():
            raise _RemovedError(str(work))
        yield
    finally:
        os.close(file)


def _restore(work: Path) -> None:
    """Moves back what was moved away and not replaced."""
    for old in (work / "old").glob("*"):
        place = work.parent / old.name
        if not place.exists():
            old.rename(place)


def _swap(new: Path, place: Path, work: Path) -> None:
    """Moves a file or folder to its place; what was there is left in ``work``."""
    if not (new.is_dir() and place.is_dir()):
        new.replace(place)
    elif not _exchange(new, place):  # a folder does not replace one that holds files
        old = work / "old" / place.name
        old.parent.mkdir()
        place.rename(old)
        new.rename(place)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two folders in one step of the file system; False where it cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    here, names = _AT_WORKING_FOLDER, (os.fsencode(one), os.fsencode(other))
    if rename(here, names[0], here, names[1], _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NOT_SUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _sync(path: Path) -> None:
    """Waits until the content of a file or folder is on the disk.

    Without that, a file may be empty under its final name after a loss of power.
    """
    if not path.is_dir():
        _sync_file(path)
        return
    for folder, _, files in os.walk(path):
        for name in files:
            _sync_file(Path(folder) / name)
        _sync_folder(Path(folder))


def _sync_file(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _sync_folder(path: Path) -> None:
    """As `_sync_file`, where the file system can do so for folders."""
    try:
        _sync_file(path)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
