"""The folder an evaluation is written to: there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forecast.errors import ForecastError

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.parquet"
ROWS_FILE = "rows.parquet"
REPORT_FILE = "report.html"
DOCUMENT_FILE = "report.json"
_FILES = {METRICS_FILE, PREDICTIONS_FILE, ROWS_FILE, REPORT_FILE, DOCUMENT_FILE}


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Gives a folder to write into, which becomes ``out`` when the block ends without an error.

    An evaluation that is already there is replaced then; after an error it is as it was.

    Raises:
        ForecastError: ``out`` is a file or holds anything but an evaluation, or cannot be written.
    """
    _refuse_other_things(out)
    new = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        new.mkdir(parents=True)
        yield new
        _swap(new, out)
    except OSError as error:
        raise ForecastError(
            f"{error.filename or out}: {error.strerror or error}; "
            "check the path, its permissions and the free space"
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _refuse_other_things(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ForecastError(f"{out}: is a file; give a folder for the evaluation")
    strange = sorted(path.name for path in out.iterdir() if path.name not in _FILES)
    if strange:
        raise ForecastError(
            f"{out}: holds '{strange[0]}', which is no part of an evaluation; "
            "give a new or empty folder"
        )


def _swap(new: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    if out.exists():
        out.rename(old)
    try:
        new.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
