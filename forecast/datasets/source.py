"""`SceneSource`: the protocol of a dataset that can be prepared into a store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from forecast.scene import Scene

MENDED = frozenset(
    {
        "typical_size",
        "rotation_normalised",
        "heading_from_motion",
        "visibility_unknown",
        "agent_of_several_kinds",
    }
)
"""Reasons of counts that say what was mended. All other reasons say what was dropped."""


class SceneSource(Protocol):
    """A dataset that yields scenes.

    A source must be picklable. It must give the same scenes each time and in every process. What is
    wrong in one scene alone is an error of `read`, so that the other scenes can be prepared.

    A source may have ``notes``: lines for the summary of ``forecast prepare``.

    A recording may be there both whole and as parts in time. The parts then have the name of the
    whole with ``_train`` and ``_val`` appended, so that a store never counts a recording twice.

    Attributes:
        name: Short name of the dataset, such as ``nuscenes``.
        protocol: The evaluation protocol of its pedestrians, a key of `windows.PROTOCOLS`.
        dt_s: Step length of every scene.
    """

    name: str
    protocol: str
    dt_s: float

    def fingerprint(self) -> str:
        """Returns a hash of everything the scenes are made from: the files and the options."""
        ...

    def scene_names(self) -> list[str]:
        """Returns the names of all scenes, unique and in a fixed order."""
        ...

    def splits(self) -> dict[str, list[str]]:
        """Returns the names of the scenes of each split. Each is among `scene_names`."""
        ...

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        """Reads one scene.

        Args:
            name: One of `scene_names`; it becomes the scene's ``id``.

        Returns:
            The scene, and the number of dropped and mended records by reason; see `MENDED`.

        Raises:
            ForecastError: The name is unknown, or a file is missing or wrong.
        """
        ...


def hash_of(prefix: str, files: Mapping[str, Path]) -> str:
    """Returns a hash of a text and of all files with their names, for `SceneSource.fingerprint`."""
    digest = hashlib.sha256(prefix.encode())
    for name, path in files.items():
        digest.update(name.encode() + content_hash(path))
    return digest.hexdigest()


def content_hash(path: Path) -> bytes:
    """Returns the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()
