"""A small store of made-up streets, for tests that need one on disk."""

from dataclasses import replace
from pathlib import Path

from forecast.datasets.store import SceneStore, prepare
from forecast.scene import Scene
from tests.scenes import street_scene


class StreetSource:
    """Three streets to learn from and two to score, one of them empty of people at times."""

    name = "streets"
    protocol = "nuscenes-ped-v1"
    dt_s = 0.5

    def fingerprint(self) -> str:
        return "streets"

    def scene_names(self) -> list[str]:
        return [f"street-{number}" for number in range(5)]

    def splits(self) -> dict[str, list[str]]:
        names = self.scene_names()
        return {"train": names[:3], "val": names[3:]}

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        return replace(street_scene(seed=int(name[-1])), id=name), {}


def street_store(path: Path) -> SceneStore:
    return prepare(StreetSource(), path)
