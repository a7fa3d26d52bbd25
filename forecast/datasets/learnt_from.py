"""Which scenes of which stores a model was trained or calibrated on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Scenes of a store that a model was trained or calibrated on.

    Attributes:
        fingerprint: Fingerprint of the store's source.
        scenes: Names of the scenes.
    """

    fingerprint: str
    scenes: list[str]


def merged_sources(*parts: Mapping[str, Source]) -> dict[str, Source]:
    """The scenes of all parts, by path of the store.

    A store whose source has changed since counts as another one: its fingerprint is added to its
    path.

    Args:
        parts: Scenes by path; the same path may be in several.
    """
    found: dict[str, Source] = {}
    for part in parts:
        for path, source in part.items():
            known = found.setdefault(path, Source(source.fingerprint, []))
            if known.fingerprint != source.fingerprint:
                path = f"{path} ({source.fingerprint[:8]})"
                known = found.setdefault(path, Source(source.fingerprint, []))
            names = sorted({*known.scenes, *source.scenes})
            found[path] = Source(source.fingerprint, names)
    return found
