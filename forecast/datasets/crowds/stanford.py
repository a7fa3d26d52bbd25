"""People of the Stanford Drone Dataset as TrajNet gave them for training.

Robicquet et al. 2016; Sadeghian et al. 2018. Text files of rows ``frame  person  x_m  y_m``, one
per recording; 12 frames are 0.4 s and every track is 20 steps long. There are no vehicles and no
map. More people to learn from, never to test on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.crowds.row_files import People, hash_of, read_people
from forecast.errors import ForecastError
from forecast.scene import Scene

WALKING_MPS = 2.5
"""Tracks of a higher mean speed are taken for cyclists and left out."""

_FRAMES_PER_STEP = 12


class StanfordSource:
    """Scenes of the recordings, each called after its file; ``all_recordings`` is all of them."""

    name = "stanford"
    protocol = "eth-ucy-v1"
    dt_s = 0.4

    def __init__(self, dataroot: Path | str) -> None:
        """Lists the recordings.

        Args:
            dataroot: Folder of the text files.

        Raises:
            ForecastError: It holds none.
        """
        self._files = {path.stem: path for path in sorted(Path(dataroot).glob("*_*.txt"))}
        if not self._files:
            raise ForecastError(
                f"{dataroot}: no recording such as bookstore_0.txt; give the folder of the "
                "Stanford recordings of TrajNet's training set"
            )

    def fingerprint(self) -> str:
        """A hash of all files."""
        return hash_of(self.name, self._files)

    def scene_names(self) -> list[str]:
        """The recordings."""
        return list(self._files)

    def splits(self) -> dict[str, list[str]]:
        """All recordings as one."""
        return {"all_recordings": list(self._files)}

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        """Reads one recording; the count of tracks too fast for walking is returned beside.

        Raises:
            ForecastError: The name is unknown, nobody in it walks, or a row is wrong.
        """
        if name not in self._files:
            raise ForecastError(
                f"scene '{name}' is unknown; one of {', '.join(self._files)} is needed"
            )
        people = read_people(self._files[name], _FRAMES_PER_STEP)
        walks = _speed_mps(people, self.dt_s) <= WALKING_MPS
        if not walks.any():
            raise ForecastError(
                f"{self._files[name]}: nobody is slower than {WALKING_MPS} m/s; leave the file out"
            )
        fast = len(np.unique(people.persons[~walks]))
        site = name.rpartition("_")[0]
        return people.of(walks).scene(name, site, self.dt_s), {"faster_than_walking": fast}


def _speed_mps(people: People, dt_s: float) -> NDArray[np.float64]:
    """Mean speed of each row's person between its first and last row ``[N]``; 0 for one row."""
    order = np.lexsort((people.frames, people.persons))
    _, first, row, count = np.unique(
        people.persons[order], return_index=True, return_inverse=True, return_counts=True
    )
    xy, frames = people.xy_m[order], people.frames[order]
    length = np.concatenate([[0.0], np.linalg.norm(np.diff(xy, axis=0), axis=1)]).cumsum()
    last = first + count - 1
    elapsed = (frames[last] - frames[first]) / people.frames_per_step * dt_s
    speed = np.divide(
        length[last] - length[first], elapsed, out=np.zeros(len(first)), where=elapsed > 0
    )
    result = np.empty(len(order))
    result[order] = speed[row]
    return result
