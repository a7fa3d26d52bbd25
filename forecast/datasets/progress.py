"""Progress display for long work."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def with_progress(
    items: Iterable[Item], total: int, name: str, unit: str = "scene"
) -> Iterator[Item]:
    """Shows progress on stderr: a bar on a terminal, about ten plain lines elsewhere.

    Args:
        items: Results, one for each scene.
        total: Number of scenes.
        name: Name of the work, shown before the progress.
        unit: What is counted instead of scenes, in the singular.

    Yields:
        The items, unchanged.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, name, total, unit=unit)
        return
    for done, item in enumerate(items, start=1):
        yield item
        if 10 * done // total > 10 * (done - 1) // total:
            print(f"{name}: {done} of {total} {unit}s", file=sys.stderr)
