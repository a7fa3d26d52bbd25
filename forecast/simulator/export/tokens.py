"""Names of records: the same parts give the same token."""

from __future__ import annotations

import hashlib


def token(*parts: object) -> str:
    """32 hexadecimal digits, as nuScenes uses them."""
    text = "\x1f".join(map(str, parts))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def tokens(count: int, *parts: object) -> list[str]:
    """Numbered tokens of a series: they differ in their last digits."""
    head = token(*parts)[:24]
    return [f"{head}{i:08x}" for i in range(count)]
