"""The folder of the results: written as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forecast.errors import ForecastError
from forecast.files import completed

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.parquet"
ROWS_FILE = "rows.parquet"
REPORT_FILE = "report.html"
DOCUMENT_FILE = "report.json"
SCORES_FILE = "scores.msgpack.z"
COMPARISON_FILE = "compare.html"
COMPARISON_DOCUMENT_FILE = "compare.json"


@dataclass(frozen=True)
class FolderKind:
    """A kind of result folder.

    Attributes:
        name: Its name in messages, with the article.
        files: The only files it may hold.
    """

    name: str
    files: frozenset[str]


EVALUATION = FolderKind(
    "an evaluation",
    frozenset({METRICS_FILE, PREDICTIONS_FILE, ROWS_FILE, REPORT_FILE, DOCUMENT_FILE}),
)
SHARD = FolderKind("a shard", frozenset({SCORES_FILE, PREDICTIONS_FILE}))
COMPARISON = FolderKind("a comparison", frozenset({COMPARISON_FILE, COMPARISON_DOCUMENT_FILE}))


@contextmanager
def whole_folder(out: Path, kind: FolderKind = EVALUATION) -> Iterator[Path]:
    """Yields a new folder, which becomes ``out`` when the block ends without an error.

    An existing folder of the same kind is replaced then. After an error it stays as it was.

    Args:
        out: The final folder: new, empty, or one of the same kind.
        kind: The kind of results.

    Raises:
        ForecastError: ``out`` is a file or holds anything else, or cannot be written.
    """
    _refuse_other_things(out, kind)
    with completed(out) as new:
        new.mkdir()
        yield new


def _refuse_other_things(out: Path, kind: FolderKind) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ForecastError(f"{out}: is a file; give a folder for {kind.name}")
    strange = sorted(path.name for path in out.iterdir() if path.name not in kind.files)
    if strange:
        raise ForecastError(
            f"{out}: holds '{strange[0]}', which is no part of {kind.name}; "
            "give a new or empty folder"
        )
