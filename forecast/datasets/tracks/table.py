"""Reads the columns of CSV and Parquet files of tracks."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.scene.parsing import require_resolution

TEXTS = ("scene", "agent_id", "kind", "split")
NUMBERS = ("t_s", "x_m", "y_m", "heading_rad", "length_m", "width_m", "height_m", "ego")
REQUIRED = ("scene", "agent_id", "kind", "t_s", "x_m", "y_m")

_ALIASES = {
    "heading": "heading_rad",
    "length": "length_m",
    "width": "width_m",
    "height": "height_m",
}
"""Other names of columns."""

_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
_SEPARATORS = ",;\t|"
_TRUTHS = {"true": "1", "false": "0", "yes": "1", "no": "0"}


@dataclass(frozen=True, eq=False)
class Words:
    """A column of texts, each stored once.

    Attributes:
        words: The texts ``[W]``.
        codes: Index of each row's text ``[R]``; -1 where it is empty.
    """

    words: list[str]
    codes: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TrackTable:
    """The rows of all files, one file after the other.

    Attributes:
        files: The files.
        starts: First row of each file ``[F]``.
        words: Columns of texts, by name; only those that a file has.
        numbers: Columns of numbers ``[R]``, by name; NaN where empty or no number.
        wrong: Texts that are no numbers, by column and row.
    """

    files: list[Path]
    starts: NDArray[np.int64]
    words: dict[str, Words]
    numbers: dict[str, NDArray[np.float64]]
    wrong: dict[tuple[str, int], str]

    def item(self, row: int) -> str:
        """The name of a row for messages: its file, and its number there, from 1."""
        file = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f"{self.files[file]}: row {row - self.starts[file] + 1}"


def read_track_table(files: list[Path]) -> TrackTable:
    """Reads files; a scene may be in several of them.

    Raises:
        ForecastError: A file is broken, or a column is missing.
    """
    tables = [_read(path) for path in files]
    names = [name for name in (*TEXTS, *NUMBERS) if any(name in table for table in tables)]
    columns = {name: [_column(table, name) for table in tables] for name in names}
    wrong: dict[tuple[str, int], str] = {}
    rows = [len(table["scene"]) for table in tables]
    return TrackTable(
        files=files,
        starts=np.cumsum([0, *rows[:-1]]),
        words={name: _words(columns[name]) for name in names if name in TEXTS},
        numbers={
            name: _numbers(name, files, columns[name], wrong) for name in names if name in NUMBERS
        },
        wrong=wrong,
    )


def track_files(dataroot: Path) -> list[Path]:
    """The files of tracks: one, or all in a folder and the folders below it.

    Raises:
        ForecastError: There is none.
    """
    found = [dataroot] if dataroot.is_file() else sorted(dataroot.rglob("*"))
    files = [path for path in found if path.is_file() and path.suffix.lower() in _SUFFIXES]
    if not files:
        raise ForecastError(
            f"{dataroot}: no table of tracks; a .csv or .parquet file, or a folder of such files, "
            "is needed"
        )
    return files


def _read(path: Path) -> dict[str, pa.ChunkedArray]:
    """The known columns of a file."""
    try:
        table = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        reason = str(error).splitlines()[0]
        raise ForecastError(f"{path}: {reason}; a table in CSV or Parquet is needed") from None
    if not len(table["scene"]):
        raise ForecastError(f"{path}: the table has no row; at least one is needed")
    return table


def _known(path: Path, names: list[str]) -> dict[str, str]:
    """The known columns -> their names in a file; refuses one that lacks a column."""
    found: dict[str, str] = {}
    for name in names:
        column = name.strip(' \t"\ufeff').lower()
        column = _ALIASES.get(column, column)
        if column in found:
            raise ForecastError(f"{path}: column '{column}' is there twice; remove one of them")
        if column in (*TEXTS, *NUMBERS):
            found[column] = name
    missing = [column for column in REQUIRED if column not in found]
    if missing:
        raise ForecastError(
            f"{path}: column '{missing[0]}' is missing; the columns {', '.join(REQUIRED)} are "
            f"needed, known ones here are {', '.join(found) or 'none'}"
        )
    return found


def _parquet(path: Path) -> dict[str, pa.ChunkedArray]:
    names = _known(path, pq.read_schema(path).names)
    table = pq.read_table(path, columns=list(names.values()))
    return {column: table[name] for column, name in names.items()}


def _csv(path: Path) -> dict[str, pa.ChunkedArray]:
    """The columns of a CSV file, all as texts."""
    with path.open(encoding="utf-8-sig") as file:
        skipped, header = next(((n, line) for n, line in enumerate(file) if line.strip()), (0, ""))
    separator = max(_SEPARATORS, key=header.count)
    names = next(csv.reader([header], delimiter=separator), [])
    columns = _known(path, names)

    ragged: list[Any] = []

    def skip(row: Any) -> str:
        ragged.append(row)
        return "skip"

    table = pa_csv.read_csv(
        path,
        read_options=pa_csv.ReadOptions(
            # Threads lose the number of a row.
            use_threads=False,
            skip_rows=skipped + 1,
            column_names=[str(n) for n in range(len(names))],
        ),
        parse_options=pa_csv.ParseOptions(delimiter=separator, invalid_row_handler=skip),
        convert_options=pa_csv.ConvertOptions(
            include_columns=[str(names.index(name)) for name in columns.values()],
            column_types={str(n): pa.string() for n in range(len(names))},
        ),
    )
    if ragged:
        raise ForecastError(
            f"{path}: row {ragged[0].number - skipped - 1} has {ragged[0].actual_columns} columns; "
            f"{len(names)}, as in the header, are needed"
        )
    found = dict(zip(columns, table.columns, strict=True))
    if separator == ";":  # then a comma may be the decimal point
        for name in found.keys() & set(NUMBERS):
            found[name] = pc.replace_substring(found[name], ",", ".")
    return found


def _column(table: dict[str, pa.ChunkedArray], name: str) -> pa.ChunkedArray:
    if name in table:
        return table[name]
    return pa.chunked_array([pa.nulls(len(table["scene"]), pa.string())])


def _words(columns: list[pa.ChunkedArray]) -> Words:
    chunks = [chunk for column in columns for chunk in _texts(column).chunks]
    encoded = pa.chunked_array(chunks, pa.string()).combine_chunks().dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return Words(encoded.dictionary.to_pylist(), codes.astype(np.int64))


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as texts without blanks around them, null where empty; ``17`` for ``17.0``."""
    if pa.types.is_floating(column.type):
        whole = pc.all(pc.equal(column, pc.floor(column))).as_py()
        column = pc.cast(column, pa.int64()) if whole is not False else column
    texts = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _numbers(
    name: str,
    files: list[Path],
    columns: list[pa.ChunkedArray],
    wrong: dict[tuple[str, int], str],
) -> NDArray[np.float64]:
    """A column of numbers; texts that are none are noted in ``wrong``."""
    parts: list[NDArray[np.float64]] = []
    start = 0
    for path, column in zip(files, columns, strict=True):
        values, texts = _floats(path, name, column)
        parts.append(values)
        wrong |= {(name, start + row): text for row, text in texts.items()}
        start += len(column)
    return np.concatenate(parts)


def _floats(
    path: Path, name: str, column: pa.ChunkedArray
) -> tuple[NDArray[np.float64], dict[int, str]]:
    """The numbers of a column, NaN where empty; and the texts that are none, by row."""
    kind = column.type
    if name in ("x_m", "y_m") and kind in (pa.float16(), pa.float32()):
        require_resolution(str(path), name, column.to_numpy())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        column = _texts(column)
    try:
        return np.asarray(pc.fill_null(pc.cast(column, pa.float64()), np.nan), np.float64), {}
    except pa.ArrowNotImplementedError:
        raise ForecastError(
            f"{path}: column {name} is of type {kind}; numbers are needed"
        ) from None
    except pa.ArrowInvalid:
        values, wrong = np.full(len(column), np.nan), {}
        for row, text in enumerate(column.to_pylist()):
            try:
                number = _TRUTHS.get(text.lower(), text) if text and name == "ego" else text
                values[row] = np.nan if number is None else float(number)
            except ValueError:
                wrong[row] = text
        return values, wrong
