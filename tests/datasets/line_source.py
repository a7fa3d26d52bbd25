"""A source of made-up scenes that records which were read."""

from dataclasses import dataclass, field

import numpy as np

from forecast import ForecastError, Scene
from tests.any_scene import small_map


@dataclass
class LineSource:
    """Scenes of people on lines. It records every read."""

    names: list[str] = field(default_factory=lambda: ["scene-1", "scene-2", "scène/3"])
    version: str = "1"
    stop_at: str | None = None
    interrupt_at: str | None = None
    given_splits: dict[str, list[str]] | None = None
    reads: list[str] = field(default_factory=list)

    name = "lines"
    protocol = "nuscenes-ped-v1"
    dt_s = 0.5

    def fingerprint(self) -> str:
        return f"lines {self.version}"

    def scene_names(self) -> list[str]:
        return self.names

    def splits(self) -> dict[str, list[str]]:
        if self.given_splits is not None:
            return self.given_splits
        return {"train": self.names[:-1], "val": self.names[-1:]}

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        if name == self.stop_at:
            raise ForecastError(f"{name}: cannot be read")
        if name == self.interrupt_at:
            raise KeyboardInterrupt
        self.reads.append(name)
        people = len(name)
        walk = np.arange(5.0)[:, None] * [1.0, 0.5]
        positions = np.arange(people)[:, None, None] + walk
        scene = Scene.from_arrays(positions, [0] * people, 0.5, id=name, lane_map=small_map())
        return scene, {"too short": people, "no box": 1}
