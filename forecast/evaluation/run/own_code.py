"""Imports predictors and metrics of one's own, named ``module:name`` on the command line."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from forecast.errors import ForecastError

_SOURCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class OwnCode:
    """The file that a predictor or a metric of one's own was imported from.

    Attributes:
        source: ``module:name``.
        file: Name of the module's file; "" for a module without one.
        sha256: Hash of the file; "" likewise.
    """

    source: str
    file: str
    sha256: str

    @property
    def name(self) -> str:
        """What was imported from the module."""
        return self.source.partition(":")[2]

    def __str__(self) -> str:
        """Source, file and hash, as text."""
        return f"{self.source}, {self.file or 'no file'}, SHA-256 {self.sha256 or 'not known'}"


def is_importable(words: str) -> bool:
    """Whether words on the command line have the form ``module:name``."""
    return _SOURCE.fullmatch(words) is not None and ".py:" not in words


def imported(kind: str, source: str) -> tuple[Any, OwnCode]:
    """What a module defines under a name. Modules are also sought in the current folder.

    Args:
        kind: ``predictor`` or ``metric``, for messages.
        source: ``module:name``.

    Raises:
        ForecastError: The module cannot be imported or does not define the name.
    """
    module, _, name = source.partition(":")
    _search_current_folder()
    try:
        within = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a third party's code may raise anything
        missing = getattr(error, "name", None) if isinstance(error, ImportError) else None
        own = missing is not None and f"{module}.".startswith(f"{missing}.")
        advice = (
            "run in the folder that holds it, or set PYTHONPATH to that folder"
            if own
            else "repair the module"
        )
        raise ForecastError(
            f"{kind} '{source}' cannot be imported: {in_words(error)}; {advice}"
        ) from error
    if not hasattr(within, name):
        raise ForecastError(
            f"{kind} '{source}' cannot be imported: module '{module}' has no '{name}'; "
            f"{_advice(within, name)}"
        )
    return getattr(within, name), _code(source, within)


def in_words(error: BaseException) -> str:
    """An error of a third party's code, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _search_current_folder() -> None:
    """Appends the current folder to the path of modules, for the ``forecast`` script.

    It stays there, because worker processes get this path and import the same modules. It is the
    last folder, so that a file in it does not replace an installed module of the same name.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def _advice(within: ModuleType, name: str) -> str:
    """What to do about a name that a module does not define."""
    file = Path(f"{within.__name__.replace('.', os.sep)}.py")
    if file.is_file() and not file.samefile(getattr(within, "__file__", None) or os.devnull):
        return f"an installed module has the name of {file}; rename the file"
    near = difflib.get_close_matches(name, dir(within), n=1)
    found = f"'{within.__name__}:{near[0]}'" if near else ""
    return f"did you mean {found}?" if found else "give a name that it defines"


def _code(source: str, within: ModuleType) -> OwnCode:
    path = Path(getattr(within, "__file__", None) or "")
    if not path.is_file():
        return OwnCode(source, "", "")
    return OwnCode(source, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
