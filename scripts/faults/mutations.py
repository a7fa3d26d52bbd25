"""Mutated inputs: files with changed bytes, words and values, and arguments of any kind."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_BYTES = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\"[^\"]*\"|[A-Za-z_]\w*")
"""Numbers, texts and words."""

WORDS = [
    b"",
    b"0",
    b"-1",
    b"1.5",
    b"1e20",
    b"1e308",
    b"1e999",
    b"NaN",
    b"nan",
    b"-Infinity",
    b"9223372036854775808",
    b"10000000000",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b'"a"',
    b'"../../x"',
    b'"\\u0000"',
    b"\xff\xfe",
    b"os.system",
    b"#",
    b",",
    b"\n",
]
"""What a number, a text or a word is replaced by."""

VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**10,
    2**70,
    1e20,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "a",
    "../../x",
    "\x00",
    "x" * 300,
    "<script>alert(1)</script>",
    [],
    [0],
    [[]],
    {},
    {"a": 0},
]
"""What a value of JSON is replaced by."""


class Mutator:
    """Makes mutated inputs of good ones.

    Args:
        seed: Of the changes; None for none, so that the good inputs can be tried too.
    """

    def __init__(self, seed: int | None) -> None:
        self.changes, self.rng = seed is not None, np.random.default_rng(seed)

    def one_of(self, items: Sequence[Any]) -> Any:
        """A random one of some items; the first without changes."""
        return items[self.rng.integers(len(items))] if self.changes else items[0]

    def bytes_of(self, content: bytes) -> bytes:
        """The content of a file with one to three changes.

        A change flips a bit, removes, repeats or cuts off a part, or replaces a number, text or
        word.
        """
        for _ in range(self.rng.integers(1, 4) if self.changes else 0):
            content = self.one_of(_CHANGES)(content, self.rng)
        return content

    def document(self, value: Any) -> bytes:
        """A JSON document with one or two values replaced, removed or repeated."""
        value = json.loads(json.dumps(value))
        for _ in range(self.rng.integers(1, 3) if self.changes else 0):
            value = _changed_value(value, self.rng)
        return json.dumps(value).encode()

    def file(self, content: bytes) -> bytes:
        """The content of a JSON file, changed as a document or as bytes."""
        if self.rng.random() < 0.7:
            return self.document(json.loads(content))
        return self.bytes_of(content)

    def argument(self, good: Any) -> Any:
        """An argument that may be wrong: of another type, shape or size than the good one."""
        if not self.changes:
            return good
        array, rng = np.array(good, copy=True), self.rng
        choice = rng.integers(6)
        if choice == 0 or array.dtype.kind not in "fi" or not array.size:
            return copy.deepcopy(self.one_of(VALUES))
        if choice == 1:
            return array[..., :-1] if array.ndim else array.reshape(1)
        if choice == 2:
            return array[None]
        bad = array.astype(np.float64)
        some = rng.random(array.shape) < rng.choice([0.05, 0.5, 1.0])
        bad[some] = self.one_of(_EXTREMES)
        if choice == 3:
            return bad
        return bad.tolist() if choice == 4 else bad * rng.choice([-1, 1e-3, 1e3, 1e6])


_EXTREMES = [np.nan, np.inf, -1.0, 0.0, 1e9, 1e20, 1e300, 1.5, 314.0]


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    if not content:
        return b"\x00"
    at = int(rng.integers(len(content)))
    return content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]


def _without(content: bytes, rng: np.random.Generator) -> bytes:
    start, stop = _part(content, rng)
    return content[:start] + content[stop:]


def _repeated(content: bytes, rng: np.random.Generator) -> bytes:
    start, stop = _part(content, rng)
    return content[:stop] + content[start:]


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def _replaced(content: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(content) + 1))
    found = _BYTES.search(content, start) or _BYTES.search(content)
    if found is None:
        return content
    return content[: found.start()] + WORDS[rng.integers(len(WORDS))] + content[found.end() :]


def _part(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(len(content) + 1))
    return start, min(len(content), start + int(rng.integers(1, 200)))


_CHANGES: list[Callable[[bytes, np.random.Generator], bytes]] = [
    _flip,
    _without,
    _repeated,
    _cut,
    _replaced,
    _replaced,
    _replaced,
]


def _changed_value(value: Any, rng: np.random.Generator) -> Any:
    """A document with one value changed, at a random depth."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        return copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[rng.integers(len(keys))]
    if rng.random() < 0.15:
        if isinstance(value, dict):
            del value[key]
        else:
            value.insert(key, value[key]) if rng.random() < 0.5 else value.pop(key)
        return value
    value[key] = _changed_value(value[key], rng)
    return value
