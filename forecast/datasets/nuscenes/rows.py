"""Typed reading of JSON files. Errors name the place in the file."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError

Row = TypeVar("Row")

_BATCH_ROWS = 32_768
"""Rows that are decoded at a time: a compromise between speed and memory."""

_BOMS = {b"\xef\xbb\xbf": "UTF-8", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
"""Byte order marks: bytes with which some editors begin a text file."""

_NO_NUMBER = re.compile(rb"(?:NaN|nan|Infinity|inf)\b")
"""What writers put for numbers that JSON does not have. A minus sign may stand before it."""

_Content = mmap.mmap | memoryview | bytes | bytearray


def read_json(path: Path, type: type[Row]) -> Row:
    """Reads a whole JSON file as ``type``.

    Raises:
        ForecastError: The file is missing, truncated, malformed or not of that type.
    """
    decoded: Row = _decode_file(path, type)[0]
    return decoded


def read_rows(path: Path, row: type[Row]) -> Iterator[list[Row]]:
    """Reads a table, a JSON array of records, batch by batch.

    The array is split in one pass without decoding its records. The records are then decoded in
    batches, so that a table of millions of records never exists as Python objects.

    NaN and infinite numbers are read as null. So they do not matter in columns that nobody reads.

    Args:
        path: The table.
        row: A ``msgspec.Struct`` with the wanted columns. Other columns are skipped.

    Yields:
        The records in the order of the file.

    Raises:
        ForecastError: The file is missing, truncated, malformed, or a record lacks a column.
    """
    records, had_nan = _decode_file(path, list[msgspec.Raw])
    for start in range(0, len(records), _BATCH_ROWS):
        batch = b"[%b]" % b",".join(records[start : start + _BATCH_ROWS])
        yield _decode(path, batch, list[row], start, had_nan)  # type: ignore[valid-type]


def read_table(path: Path, row: type[Row]) -> list[Row]:
    """Reads a small table at once; see `read_rows`."""
    return [record for batch in read_rows(path, row) for record in batch]


def as_array(rows: Sequence[tuple[float | None, ...]], width: int) -> NDArray[np.float64]:
    """Returns rows of numbers as an array ``[N, width]``; NaN for null."""
    try:  # twice as fast as `np.array`
        flat = np.fromiter(chain.from_iterable(rows), np.float64, width * len(rows))
        return flat.reshape(-1, width)
    except TypeError:
        return np.array(rows, np.float64).reshape(-1, width)


def _decode_file(path: Path, type: Any) -> tuple[Any, bool]:
    """Returns the content of a file, and whether it holds NaN or infinite numbers."""
    content = _content(path)
    try:
        return _decode(path, content, type), False
    except ForecastError:
        # JSON has no NaN. Only the error tells of it, so that all other files stay fast to read.
        readable = _nan_as_null(content)
        if readable is None:
            raise
    return _decode(path, readable, type, had_nan=True), True


def _content(path: Path) -> _Content:
    """Returns the bytes of a file, mapped into memory, without a byte order mark."""
    try:
        with path.open("rb") as file:
            empty = path.stat().st_size == 0
            content = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ForecastError(
            f"{path}: {error.strerror or error}; the file is needed: check --dataroot and "
            "--version, or download it again"
        ) from None
    start, encoding = next(((b, e) for b, e in _BOMS.items() if content[: len(b)] == b), (b"", ""))
    if encoding == "UTF-16" or b"\0" in content[:2]:
        raise ForecastError(f"{path}: the text is UTF-16; UTF-8 is needed: save it as UTF-8")
    return memoryview(content)[len(start) :] if start else content


def _nan_as_null(content: _Content) -> bytearray | None:
    """Returns a JSON text with null in place of NaN and infinite numbers; None if it has none."""
    # A token lies outside of strings if an even number of quotation marks stands before it. Escaped
    # characters are blanked first, so that every mark that is left begins or ends a string.
    marks = re.sub(rb"\\.", b"__", content, flags=re.DOTALL)
    readable = bytearray()
    copied = counted = quotes = 0
    for match in _NO_NUMBER.finditer(marks):
        start = match.start() - (marks[match.start() - 1 : match.start()] == b"-")
        quotes += marks.count(b'"', counted, start)
        counted = start
        if quotes % 2 == 0:
            readable += content[copied:start]
            readable += b"null"
            copied = match.end()
    if copied:
        readable += content[copied:]
    return readable if copied else None


def _decode(
    path: Path, content: _Content, type: Any, first_record: int = 0, had_nan: bool = False
) -> Any:
    try:
        return msgspec.json.decode(content, type=type)
    except (UnicodeDecodeError, RecursionError, msgspec.MsgspecError) as error:
        # Before version 0.23, msgspec raises UnicodeDecodeError.
        if isinstance(error, UnicodeDecodeError) or "UTF-8" in str(error):
            raise ForecastError(
                f"{path}: a text is not UTF-8; valid JSON is needed: copy or download it again"
            ) from None
        why = _explain(str(error), path.stat().st_size, first_record, had_nan)
        raise ForecastError(f"{path}: {why}") from None


def _explain(message: str, size: int, first_record: int, had_nan: bool) -> str:
    """Turns a decoder's message into one line that also says what to do."""
    if "truncated" in message:
        return (
            f"the JSON ends early, at byte {size}; the file is truncated: copy or download it again"
        )
    if "malformed" in message:
        # With null in place of NaN, the decoder counts other bytes than the file has.
        message = re.sub(r" \(byte \d+\)", "", message) if had_nan else message
        return f"{message}; valid JSON is needed: copy or download the file again"
    located = re.sub(
        r" - at `\$\[(\d+)\]\.?(.*)`",
        lambda found: f" in record {first_record + int(found[1])} {found[2]}".rstrip(),
        message,
    )
    if had_nan:
        located = located.replace("got `null`", "got null, NaN or Infinity")
    return f"{located}; the file is not in nuScenes format: repair it"
