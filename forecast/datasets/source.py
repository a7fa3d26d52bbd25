"""`SceneSource`: what a dataset must offer to be prepared into a store."""

from __future__ import annotations

from typing import Protocol

from forecast.scene import Scene


class SceneSource(Protocol):
    """A dataset that yields scenes.

    A source must be picklable, and give the same scenes each time and in every process. Where it
    offers a recording both whole and cut in time, the parts are named after the whole with
    ``_train`` and ``_val`` appended: a store then never counts a recording twice.

    Attributes:
        name: Short name of the dataset, such as ``nuscenes``.
        protocol: The evaluation protocol of its people, a key of `windows.PROTOCOLS`.
        dt_s: Step length of every scene.
    """

    name: str
    protocol: str
    dt_s: float

    def fingerprint(self) -> str:
        """A hash of everything the scenes are made from: the files read and the options."""
        ...

    def scene_names(self) -> list[str]:
        """Names of all scenes, unique, in a fixed order."""
        ...

    def splits(self) -> dict[str, list[str]]:
        """Names of the scenes of each split; every one is among `scene_names`."""
        ...

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        """Reads one scene.

        Args:
            name: One of `scene_names`; it becomes the scene's ``id``.

        Returns:
            The scene, and how many records were left out of it, by reason.

        Raises:
            ForecastError: The name is unknown, or a file is missing or wrong.
        """
        ...
