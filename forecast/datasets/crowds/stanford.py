"""Pedestrians of the Stanford Drone Dataset, as in the training set of TrajNet.

Robicquet et al. 2016; Sadeghian et al. 2018. Each recording is a text file of rows ``frame  person
x_m  y_m``. 12 frames are 0.4 s, and every track has 20 steps. There are no vehicles and no map. The
recordings are additional training data; no evaluation uses them.
"""

from __future__ import annotations

import numpy as np

from forecast.datasets.crowds.crowd import CrowdSource
from forecast.datasets.track_rows import TrackRows
from forecast.errors import ForecastError

WALKING_MPS = 2.5
"""Tracks with a higher mean speed are taken for cyclists and dropped."""


class StanfordSource(CrowdSource):
    """Scenes of the recordings, without those who are too fast for walking (counted)."""

    name = "stanford"

    def _select(self, rows: TrackRows) -> tuple[TrackRows, dict[str, int]]:
        rows.require_units()
        walks = rows.mean_speeds_mps() <= WALKING_MPS
        if not walks.any():
            raise ForecastError(
                f"{rows.item}: nobody is slower than {WALKING_MPS} m/s; leave the file out"
            )
        return rows.select(walks), {"faster_than_walking": int(np.sum(~walks))}

    def _location(self, name: str) -> str:
        return name.rpartition("_")[0] or name
