"""Text files with one row ``frame  person  x  y`` per person and frame.

Columns are separated by tabs, spaces, commas or semicolons (then a comma may be the decimal point).
A header may name them in another order. Without a header, further columns hold numbers and are not
used. Eight columns without a header are those of OpenTraj's ``obsmat.txt``: ``frame  person  x  z
y  vx  vz  vy``. Text after ``#``, ``//`` or ``%`` is a comment. A row whose x or y is ``NaN``,
``?`` or empty says that the person was not seen.

The lines of TrajNet++ files (``.ndjson``) are JSON objects: ``{"track": {"f", "p", "x", "y"}}`` for
a row, and ``{"scene": {…, "fps"}}``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError

_COMMENT = re.compile(r"(^|\s)(#|//|%).*")

_MARK = re.compile(r"^\s*(#+|//|%+)[ \t]*")
"""How a comment begins that fills a line."""

_NOT_SEEN = {"", "?", "nan", "na", "n/a", "none", "null"}

_NAMES = {
    "frame": "frame frameid framenumber framenum frameno framenr f",
    "id": "id person personid ped pedid pedestrian pedestrianid track trackid agent agentid p",
    "x": "x xm posx posxm xpos worldx",
    "y": "y ym posy posym ypos worldy",
}
"""Columns and the names that a header may give them, in small letters and digits."""

_COLUMNS = (0, 1, 2, 3)
_OBSMAT_COLUMNS = (0, 1, 2, 4)
_OBSMAT_WIDTH = 8


class _Row(NamedTuple):
    line: int
    frame: float
    person: str
    x: float
    y: float


class _TrajnetTrack(msgspec.Struct):
    f: float
    p: int
    x: float | None = None
    y: float | None = None
    prediction_number: int | None = None


class _TrajnetScene(msgspec.Struct):
    fps: float | None = None


class _TrajnetLine(msgspec.Struct):
    track: _TrajnetTrack | None = None
    scene: _TrajnetScene | None = None


@dataclass(frozen=True, eq=False)
class FileRows:
    """The rows of a file, as columns.

    Attributes:
        frames: Frame numbers ``[N]``.
        persons: Names of the persons ``[N]``.
        xy_m: Positions ``[N, 2]``.
        fps: Records of a person per second, if the file states them.
        dropped: Number of rows that are not among these, by reason.
    """

    frames: NDArray[np.float64]
    persons: NDArray[np.str_]
    xy_m: NDArray[np.float64]
    fps: float | None
    dropped: dict[str, int]

    def spacing(self) -> float:
        """The most frequent difference of two successive frame numbers of a person.

        If nobody has two rows, it is that of all frame numbers, or 1.
        """
        order = np.lexsort((self.frames, self.persons))
        same = self.persons[order][1:] == self.persons[order][:-1]
        gaps = np.diff(self.frames[order])[same]
        if not len(gaps):
            gaps = np.diff(np.unique(self.frames))
        values, counts = np.unique(np.round(gaps, 6), return_counts=True)
        return float(values[counts.argmax()]) if len(values) else 1.0


def read_rows_file(path: Path) -> FileRows:
    """Reads a file of rows.

    Raises:
        ForecastError: A row is wrong. The message names its line.
    """
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    fps = None
    if lines and lines[0][1].lstrip().startswith("{"):
        rows, fps = _trajnet_rows(path, lines)
    else:
        rows = list(_text_rows(path, lines))
    if not rows:
        raise ForecastError(f"{path}: the file has no row; at least one is needed")
    seen = [row for row in rows if not (math.isnan(row.x + row.y))]
    if not seen:
        raise ForecastError(f"{path}: no row has a position; x and y as numbers are needed")
    kept = _without_repeats(path, seen)
    dropped = {"not_seen": len(rows) - len(seen), "repeated_row": len(seen) - len(kept)}
    return FileRows(
        frames=np.array([row.frame for row in kept]),
        persons=np.array([row.person for row in kept]),
        xy_m=np.array([row[-2:] for row in kept]),
        fps=fps,
        dropped={why: count for why, count in dropped.items() if count},
    )


def _without_repeats(path: Path, rows: list[_Row]) -> list[_Row]:
    """The rows without copies; refuses a person with two positions in a frame."""
    kept: dict[tuple[float, str], _Row] = {}
    for row in rows:
        first = kept.setdefault((row.frame, row.person), row)
        if row[-2:] != first[-2:]:
            raise ForecastError(
                f"{path}: line {row.line}: person {row.person} is in frame {row.frame:g} already, "
                f"elsewhere (line {first.line}); keep one of the rows"
            )
    return list(kept.values())


def _text_rows(path: Path, lines: list[tuple[int, str]]) -> Iterator[_Row]:
    named, start = _header(path, lines)
    width, columns = 0, named or _COLUMNS
    for number, line in lines[start:]:
        fields = _fields(_COMMENT.sub("", line))
        if not any(fields):
            continue
        if not width:
            width = len(fields)
            columns = named or (_OBSMAT_COLUMNS if width == _OBSMAT_WIDTH else _COLUMNS)
        try:
            if len(fields) != width or not (named or all(map(_is_number, fields[4:]))):
                raise ValueError
            yield _row(number, [fields[column] for column in columns])
        except (ValueError, IndexError):
            raise ForecastError(
                f"{path}: line {number} is '{line.strip()}'; "
                f"{max(width, len(_COLUMNS))} columns 'frame person x_m y_m …' are needed, "
                "frame, x and y finite numbers, person a whole number or a name"
            ) from None


def _header(path: Path, lines: list[tuple[int, str]]) -> tuple[tuple[int, ...] | None, int]:
    """The columns that a header names, None without one; and the line with which rows begin.

    A comment is a header too if it has as many columns as the rows.
    """
    header: _Header | None = None
    for at, (number, line) in enumerate(lines):
        text = _COMMENT.sub("", line)
        fields = _fields(_MARK.sub("", line))
        columns = _named_columns(fields)
        if columns:
            header = _Header(number, columns, len(fields), is_comment=not text.strip())
        if columns or not text.strip():
            continue
        first = [field for field in fields[: len(_COLUMNS)] if field.lower() not in _NOT_SEEN]
        if header or len(fields) < len(_COLUMNS) or any(map(_is_number, first)):
            return header and header.columns_of(path, len(_fields(text))), at
        known = {name for name in map(_column_of, fields) if name}
        if known:
            raise ForecastError(
                f"{path}: line {number} is '{line.strip()}'; a header with the columns "
                f"{', '.join(_NAMES)} is needed ({', '.join(_NAMES.keys() - known)} is missing)"
            )
        return None, at + 1
    return None, len(lines)


class _Header(NamedTuple):
    line: int
    columns: tuple[int, ...]
    width: int
    is_comment: bool

    def columns_of(self, path: Path, width: int) -> tuple[int, ...] | None:
        """The columns of rows of a width; refuses a header of another width."""
        if width == self.width:
            return self.columns
        if self.is_comment:
            return None
        raise ForecastError(
            f"{path}: line {self.line}: the header has {self.width} columns and the rows have "
            f"{width}; as many are needed"
        )


def _named_columns(fields: list[str]) -> tuple[int, ...] | None:
    """The places of frame, person, x and y in a header; None if it lacks one of them."""
    found = [_column_of(field) for field in fields]
    if any(found.count(name) != 1 for name in _NAMES):
        return None
    return tuple(found.index(name) for name in _NAMES)


def _column_of(field: str) -> str | None:
    word = re.sub("[^a-z0-9]", "", field.lower())
    return next((column for column, names in _NAMES.items() if word in names.split()), None)


def _fields(line: str) -> list[str]:
    """The columns of a line, without blanks and quotes around them."""
    for separator in (";", "\t", ","):
        if line.count(separator) >= len(_COLUMNS) - 1:
            return [field.strip(" \t\"'") for field in line.split(separator)]
    return line.split()


def _row(line: int, fields: list[str]) -> _Row:
    """A row from its texts for frame, person, x and y; raises `ValueError`."""
    try:
        frame, x, y = float(fields[0]), float(fields[2]), float(fields[3])
    except ValueError:
        frame, x, y = _number(fields[0]), _position(fields[2]), _position(fields[3])
    if not math.isfinite(frame) or math.isinf(x) or math.isinf(y):
        raise ValueError
    return _Row(line, frame, _person(fields[1]), x, y)


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _position(text: str) -> float:
    return math.nan if text.lower() in _NOT_SEEN else _number(text)


def _is_number(text: str) -> bool:
    try:
        _position(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=100_000)
def _person(text: str) -> str:
    """The name of a person; ``1`` for ``1.0``."""
    if text.lower() in _NOT_SEEN:
        raise ValueError
    if "_" in text or not _is_number(text):  # Python takes 1_2 for 12
        return text
    number = _number(text)
    if number % 1 != 0:  # so is that of infinity
        raise ValueError
    return text if text.isdigit() and text[0] != "0" else str(int(number))


def _trajnet_rows(path: Path, lines: list[tuple[int, str]]) -> tuple[list[_Row], float | None]:
    """The rows of a TrajNet++ file without predictions, and its rate."""
    rows, rates = [], set()
    for number, line in lines:
        try:
            # Python's own writer writes NaN, which is no JSON.
            record = msgspec.json.decode(line.replace("NaN", "null"), type=_TrajnetLine)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ForecastError(
                f"{path}: line {number}: {error}; a line of TrajNet++ is needed, such as "
                '{"track": {"f": 0, "p": 1, "x": 2.5, "y": 3.5}}'
            ) from None
        track = record.track
        if track is not None and track.prediction_number is None:
            x, y = (math.nan if each is None else each for each in (track.x, track.y))
            rows.append(_Row(number, track.f, str(track.p), x, y))
        if record.scene is not None and record.scene.fps is not None:
            rates.add(record.scene.fps)
    if len(rates) > 1 or not all(rate > 0 for rate in rates):
        raise ForecastError(
            f"{path}: the scenes state {', '.join(map(str, sorted(rates)))} fps; "
            "one positive rate is needed: split the file"
        )
    return rows, next(iter(rates), None)
