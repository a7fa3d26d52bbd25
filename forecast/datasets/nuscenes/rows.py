"""Typed reading of JSON files. Errors name the place in the file."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from forecast.errors import ForecastError

Row = TypeVar("Row")

_BATCH_ROWS = 32_768
"""Rows that are decoded at a time: a compromise between speed and memory."""


def read_json(path: Path, type: type[Row]) -> Row:
    """Reads a whole JSON file as ``type``.

    Raises:
        ForecastError: The file is missing, truncated, malformed or not of that type.
    """
    return _decode(path, _content(path), type)


def read_rows(path: Path, row: type[Row]) -> Iterator[list[Row]]:
    """Reads a table, a JSON array of records, batch by batch.

    The array is split in one pass without decoding its records. The records are then decoded in
    batches, so that a table of millions of records never exists as Python objects.

    Args:
        path: The table.
        row: A ``msgspec.Struct`` with the wanted columns. Other columns are skipped.

    Yields:
        The records in the order of the file.

    Raises:
        ForecastError: The file is missing, truncated, malformed, or a record lacks a column.
    """
    records = _decode(path, _content(path), list[msgspec.Raw])
    for start in range(0, len(records), _BATCH_ROWS):
        batch = b"[%b]" % b",".join(records[start : start + _BATCH_ROWS])
        yield _decode(path, batch, list[row], start)  # type: ignore[valid-type]


def read_table(path: Path, row: type[Row]) -> list[Row]:
    """Reads a small table at once; see `read_rows`."""
    return [record for batch in read_rows(path, row) for record in batch]


def _content(path: Path) -> mmap.mmap | bytes:
    """Returns the bytes of a file, mapped into memory."""
    try:
        with path.open("rb") as file:
            empty = path.stat().st_size == 0
            return b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ForecastError(
            f"{path}: {error.strerror or error}; the file is needed: check --dataroot and "
            "--version, or download it again"
        ) from None


def _decode(path: Path, content: mmap.mmap | bytes, type: Any, first_record: int = 0) -> Any:
    try:
        return msgspec.json.decode(content, type=type)
    except UnicodeDecodeError:
        raise ForecastError(
            f"{path}: a text is not UTF-8; valid JSON is needed: copy or download the file again"
        ) from None
    except msgspec.MsgspecError as error:
        raise ForecastError(f"{path}: {_explain(str(error), content, first_record)}") from None


def _explain(message: str, content: mmap.mmap | bytes, first_record: int) -> str:
    """Turns a decoder's message into one line that also says what to do."""
    if "truncated" in message:
        return (
            f"the JSON ends early, at byte {len(content)}; the file is truncated: "
            "copy or download it again"
        )
    malformed = re.search(r"byte (\d+)", message)
    if malformed:
        at = int(malformed[1])
        if content[at : at + 3] == b"NaN" or content[at : at + 8] == b"Infinity":
            return f"byte {at}: NaN or Infinity; finite numbers are needed: repair the record"
        return f"{message}; valid JSON is needed: copy or download the file again"
    located = re.sub(
        r" - at `\$\[(\d+)\]\.?(.*)`",
        lambda found: f" in record {first_record + int(found[1])} {found[2]}".rstrip(),
        message,
    )
    return f"{located}; the file is not in nuScenes format: repair it"
