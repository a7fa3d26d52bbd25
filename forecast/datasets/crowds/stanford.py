"""Pedestrians of the Stanford Drone Dataset, as in the training set of TrajNet.

Robicquet et al. 2016; Sadeghian et al. 2018. Each recording is a text file of rows ``frame  person
x_m  y_m``. 12 frames are 0.4 s, and every track has 20 steps. There are no vehicles and no map. The
recordings are additional training data; no evaluation uses them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.crowds.row_files import AnnotationRows, hash_of, read_rows_file
from forecast.errors import ForecastError
from forecast.scene import Scene

WALKING_MPS = 2.5
"""Tracks with a higher mean speed are taken for cyclists and dropped."""

_FRAMES_PER_STEP = 12


class StanfordSource:
    """Scenes of the recordings, each named after its file. Their split is ``all_recordings``."""

    name = "stanford"
    protocol = "eth-ucy-v1"
    dt_s = 0.4

    def __init__(self, dataroot: Path | str) -> None:
        """Lists the recordings.

        Args:
            dataroot: Folder of the text files.

        Raises:
            ForecastError: The folder holds no recording.
        """
        self._files = {path.stem: path for path in sorted(Path(dataroot).glob("*_*.txt"))}
        if not self._files:
            raise ForecastError(
                f"{dataroot}: no recording such as bookstore_0.txt; give the folder of the "
                "Stanford recordings of TrajNet's training set"
            )

    def fingerprint(self) -> str:
        """Returns a hash of all files."""
        return hash_of(self.name, self._files)

    def scene_names(self) -> list[str]:
        """Returns the names of the recordings."""
        return list(self._files)

    def splits(self) -> dict[str, list[str]]:
        """Returns the only split, ``all_recordings``."""
        return {"all_recordings": list(self._files)}

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        """Reads one recording.

        Returns:
            The scene, and the number of dropped tracks that are too fast for walking.

        Raises:
            ForecastError: The name is unknown, no track is slow enough, or a row is wrong.
        """
        if name not in self._files:
            raise ForecastError(
                f"scene '{name}' is unknown; one of {', '.join(self._files)} is needed"
            )
        rows = read_rows_file(self._files[name], _FRAMES_PER_STEP)
        walks = _speed_mps(rows, self.dt_s) <= WALKING_MPS
        if not walks.any():
            raise ForecastError(
                f"{self._files[name]}: nobody is slower than {WALKING_MPS} m/s; leave the file out"
            )
        fast = len(np.unique(rows.persons[~walks]))
        site = name.rpartition("_")[0]
        return rows.select(walks).scene(name, site, self.dt_s), {"faster_than_walking": fast}


def _speed_mps(rows: AnnotationRows, dt_s: float) -> NDArray[np.float64]:
    """Returns the mean speed of each row's person over all of its rows ``[N]``; 0 for one row."""
    order = np.lexsort((rows.frames, rows.persons))
    _, first, row, count = np.unique(
        rows.persons[order], return_index=True, return_inverse=True, return_counts=True
    )
    xy, frames = rows.xy_m[order], rows.frames[order]
    length = np.concatenate([[0.0], np.linalg.norm(np.diff(xy, axis=0), axis=1)]).cumsum()
    last = first + count - 1
    elapsed = (frames[last] - frames[first]) / rows.frames_per_step * dt_s
    speed = np.divide(
        length[last] - length[first], elapsed, out=np.zeros(len(first)), where=elapsed > 0
    )
    result = np.empty(len(order))
    result[order] = speed[row]
    return result
