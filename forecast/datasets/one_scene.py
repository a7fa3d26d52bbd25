"""`OneScene`: a scene in memory as a dataset that can be prepared into a store."""

from __future__ import annotations

import hashlib

from forecast.datasets.scene_file import SceneFile, encode
from forecast.scene import Scene


class OneScene:
    """A source of one scene in memory; see `SceneSource`.

    Args:
        scene: The scene.
        name: Short name of the dataset that it comes from.
        protocol: Evaluation protocol of that dataset.
    """

    def __init__(self, scene: Scene, name: str, protocol: str) -> None:
        self._scene, self.name, self.protocol, self.dt_s = scene, name, protocol, scene.dt_s

    def fingerprint(self) -> str:
        """See `SceneSource`."""
        return hashlib.sha256(encode(SceneFile(self._scene, "", {}))).hexdigest()

    def scene_names(self) -> list[str]:
        """See `SceneSource`."""
        return [self._scene.id]

    def splits(self) -> dict[str, list[str]]:
        """See `SceneSource`."""
        return {}

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        """See `SceneSource`."""
        return self._scene, {}
