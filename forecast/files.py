"""Files and folders that appear under their name only when they are complete; the cache."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def completed(path: Path) -> Iterator[Path]:
    """A temporary path beside another; what is written there is moved to it at the end.

    The process may be killed at any moment: nothing incomplete is ever at ``path``. After an error
    nothing new is left. A file or folder that was at ``path`` before is replaced.

    Args:
        path: Where the file or folder is to be.

    Yields:
        The path to write to, in the same folder.
    """
    path = path.absolute()
    temporary, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("tmp", "old"))
    _remove(temporary)
    try:
        yield temporary
        is_there = temporary.is_dir() and path.is_dir()
        if is_there:
            path.replace(old)  # a folder does not replace one that holds files
        try:
            temporary.replace(path)
        except OSError:
            if is_there:
                old.replace(path)
            raise
    finally:
        _remove(temporary)
        _remove(old)


def cache_folder() -> Path:
    """The user's folder for what can be made again: ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forecast"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
