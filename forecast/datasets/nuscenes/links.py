"""Checks of tokens, and links to the rows of other tables.

Every error names the file, the record and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError


def index_of(path: Path, keys: Sequence[str], column: str = "token") -> dict[str, int]:
    """Returns the row of each key. Refuses repeated keys."""
    index = {key: row for row, key in enumerate(keys)}
    if len(index) < len(keys):
        refuse_repeats(path, column, as_bytes(keys))
    return index


def refuse_repeats(path: Path, column: str, keys: NDArray[np.bytes_]) -> None:
    """Raises `ForecastError` if a key appears more than once."""
    ordered = np.sort(keys)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        raise ForecastError(
            f"{path}: {column} '{repeated[0].decode()}' appears more than once; remove the repeats"
        )


def rows_of(tokens: Sequence[str | None], index: Mapping[str, int]) -> NDArray[np.int32]:
    """Returns the rows ``[N]`` of tokens in another table, -1 for tokens that are not there."""
    return np.fromiter(map(index.get, tokens, repeat(-1)), np.int32, len(tokens))  # type: ignore


def find(
    path: Path, column: str, tokens: Sequence[str], index: Mapping[str, int], table: str
) -> NDArray[np.int32]:
    """Returns the rows ``[N]`` of tokens in another table. Refuses tokens that are not there."""
    rows = rows_of(tokens, index)
    lost = np.flatnonzero(rows < 0)
    if len(lost):
        raise ForecastError(
            f"{lost_link(path, column, tokens[lost[0]], table)}; "
            "the tables do not belong together: download them again"
        )
    return rows


def lost_link(path: Path, column: str, token: str | None, table: str) -> str:
    """Returns the words for a link to a record that does not exist."""
    return f"{path}: {column} '{token}' is not in {table}.json"


def as_bytes(tokens: Iterable[str]) -> NDArray[np.bytes_]:
    """Returns tokens ``[N]`` as bytes, a quarter of the memory of numpy's strings."""
    return np.array([token.encode() for token in tokens], np.bytes_)
