"""Checks of tokens: links to rows of other tables, and prev/next chains.

Every error names the file, the record and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def find(
    path: Path, column: str, tokens: Iterable[str], index: Mapping[str, int], table: str
) -> NDArray[np.int32]:
    """Returns the rows ``[N]`` of tokens in another table. Refuses tokens that are not there."""
    try:
        return np.fromiter((index[token] for token in tokens), np.int32)
    except KeyError as missing:
        raise ForecastError(
            f"{path}: {column} {missing} is not in {table}.json; "
            "the tables do not belong together: download them again"
        ) from None


def as_bytes(tokens: Iterable[str]) -> NDArray[np.bytes_]:
    """Returns tokens ``[N]`` as bytes, a quarter of the memory of numpy's strings."""
    return np.array([token.encode() for token in tokens], np.bytes_)


def time_order(
    path: Path,
    owner: str,
    links: Mapping[str, NDArray[np.bytes_]],
    group: NDArray[np.int32],
    times_us: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Returns the order by group, then time, and checks that tokens, prev and next agree with it.

    Args:
        path: The table, for error messages.
        owner: Name of a group, such as ``scene``, for error messages.
        links: Columns ``token``, ``prev`` and ``next`` ``[N]``.
        group: Index of the chain of each record ``[N]``.
        times_us: Time of each record ``[N]``.

    Raises:
        ForecastError: A token is repeated, two records of a chain have the same time, or a link
            does not lead to the neighbour in time.
    """
    refuse_repeats(path, "token", links["token"])
    order = np.lexsort((times_us, group))
    token = links["token"][order]
    same = np.diff(group[order]) == 0
    tie = np.flatnonzero(same & (np.diff(times_us[order]) == 0))
    if len(tie):
        raise ForecastError(
            f"{path}: records '{token[tie[0]].decode()}' and '{token[tie[0] + 1].decode()}' of the "
            f"same {owner} have the same time; remove one"
        )
    neighbours = {
        "next": np.append(np.where(same, token[1:], b""), b""),
        "prev": np.append(b"", np.where(same, token[:-1], b"")),
    }
    for name, expected in neighbours.items():
        found = links[name][order]
        bad = np.flatnonzero(found != expected)
        if len(bad):
            raise ForecastError(
                f"{path}: record '{token[bad[0]].decode()}': {name} is '{found[bad[0]].decode()}', "
                f"but its neighbour in time of the same {owner} is '{expected[bad[0]].decode()}'; "
                "the prev/next chain is broken: repair it"
            )
    return order
