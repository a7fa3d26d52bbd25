"""Tokens of records, and chains of tokens. The same parts give the same token."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import chain, repeat


def token(*parts: object) -> str:
    """Returns a token of 32 hexadecimal digits, as in nuScenes."""
    text = "\x1f".join(map(str, parts))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def tokens(count: int, *parts: object) -> list[str]:
    """Returns numbered tokens of a series. They differ in their last digits."""
    head = token(*parts)[:24]
    return [f"{head}{i:08x}" for i in range(count)]


def linked(names: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yields each token with the previous one and the next one; "" at the ends."""
    return zip(names, chain([""], names[:-1]), chain(names[1:], repeat("", 1)), strict=True)
