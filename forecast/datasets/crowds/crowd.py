"""Recordings of pedestrians alone, as text files of rows: anybody's own, and the known layouts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from forecast.datasets.crowds.recordings import find_recordings
from forecast.datasets.crowds.row_files import FileRows, read_rows_file
from forecast.datasets.map_file import MapFile
from forecast.datasets.source import hash_of
from forecast.datasets.track_rows import TrackRows
from forecast.errors import ForecastError, require
from forecast.scene import AgentKind, Scene

_SLOW_MPS = 0.4
"""People who walk do not usually move slower. Rows of every video frame, taken for steps, give 0.1
m/s; rows at 10 Hz give 0.2 to 0.4 m/s."""

_SWAPPED = 3.0
"""From row to row, people move less than this times the distance between two people of a frame. It
is 0.06 to 0.45 times in ETH/UCY."""


class CrowdSource:
    """Scenes of recordings; see `recordings.find_recordings` and `row_files`.

    A scene has a step of 0.4 s. How long that is in frame numbers is said by ``frame_s``, by the
    fps of a TrajNet++ file, or else by the file's own spacing: the most frequent difference of two
    successive frame numbers of a person is then taken for one step. Records at other rates are
    resampled.
    """

    name = "crowd"
    protocol = "eth-ucy-v1"
    dt_s = 0.4

    def __init__(
        self, dataroot: Path | str, *, frame_s: float | None = None, map_file: Path | None = None
    ) -> None:
        """Finds the recordings.

        Args:
            dataroot: A folder of recordings, or one file.
            frame_s: Seconds per frame number; None: see above.
            map_file: Map of the place, see `map_file`; None for none.

        Raises:
            ForecastError: There is no recording, or ``frame_s`` is no time.
        """
        if frame_s is not None:
            require(0 < frame_s < math.inf, "frame_s", frame_s, "a number of seconds above 0")
        self._frame_s = frame_s
        self._map = None if map_file is None else MapFile(map_file)
        self._files, self._splits = self._find(Path(dataroot))

    def _find(self, dataroot: Path) -> tuple[dict[str, Path], dict[str, list[str]]]:
        """Returns the files by scene, and the scenes of each split."""
        return find_recordings(dataroot)

    def fingerprint(self) -> str:
        """Returns a hash of all files and options."""
        maps = {} if self._map is None else {"map": self._map.path}
        return hash_of(f"{self.name} {self._frame_s}", self._files | maps)

    def scene_names(self) -> list[str]:
        """Returns the names of the recordings."""
        return list(self._files)

    def splits(self) -> dict[str, list[str]]:
        """Returns the splits; see `recordings.find_recordings`."""
        return self._splits

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        """Reads one recording.

        Nobody is seen at a step whose frame has no row.

        Returns:
            The scene, and the number of rows and people that are not in it, by reason.

        Raises:
            ForecastError: The name is unknown; a row is wrong; the columns of person and frame are
                swapped; or the people move so fast or slow that positions or frames are in other
                units.
        """
        if name not in self._files:
            raise ForecastError(
                f"scene '{name}' is unknown; one of {', '.join(self._files)} is needed"
            )
        file = read_rows_file(self._files[name])
        spacing = file.spacing()
        frame_s = self._frame_s or (1 / file.fps if file.fps else self.dt_s) / spacing
        rows = _track_rows(str(self._files[name]), file, frame_s)
        _require_order(rows)
        if self._frame_s is None and file.fps is None:
            self._require_plausible_step(rows, spacing)
        rows, dropped = self._select(rows)
        scene, counts = rows.scene(name, self.dt_s, self._location(name))
        scene, missing = (scene, {}) if self._map is None else self._map.around(scene)
        return scene, {**file.dropped, **dropped, **counts, **missing}

    def _select(self, rows: TrackRows) -> tuple[TrackRows, dict[str, int]]:
        """Returns the rows to use, and the number of dropped people by reason."""
        return rows, {}

    def _location(self, name: str) -> str:
        """Returns the site of a recording."""
        return name

    def _require_plausible_step(self, rows: TrackRows, spacing: float) -> None:
        """Refuses a step by which people crawl: its length is an assumption."""
        rows.require_units()
        speed = rows.usual_speed_mps()
        if speed < _SLOW_MPS:
            raise ForecastError(
                f"{rows.item}: people move at {speed:.2g} m/s if a step of {spacing:g} frames is "
                f"{self.dt_s} s; give --frame-s, the seconds per frame number, with --source crowd"
            )


def _require_order(rows: TrackRows) -> None:
    """Refuses rows that make sense only if persons are frames and frames are persons."""
    order = np.lexsort((rows.agents, rows.times_s))
    step = np.diff(rows.agents) == 0
    pair = np.diff(rows.times_s[order]) == 0
    if not step.any() or not pair.any():
        return
    moved, apart = (
        float(np.median(np.hypot(*np.diff(xy, axis=0)[chosen].T)))
        for xy, chosen in ((rows.xy_m, step), (rows.xy_m[order], pair))
    )
    if moved > _SWAPPED * apart > 0:
        raise ForecastError(
            f"{rows.item}: people move by {moved:.2g} m from row to row, and are {apart:.2g} m "
            "apart in a frame: person before frame? 'frame person x_m y_m' in this order, or a "
            "header that names the columns, is needed"
        )


def _track_rows(item: str, file: FileRows, frame_s: float) -> TrackRows:
    """The rows of a file as those of a scene."""
    names, agents = np.unique(file.persons, return_inverse=True)
    order = np.array(sorted(range(len(names)), key=lambda at: (len(names[at]), names[at])))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return TrackRows(
        item=item,
        names=names[order],
        kinds=np.full(len(names), AgentKind.PEDESTRIAN, np.int8),
        agents=place[agents],
        times_s=file.frames * frame_s,
        xy_m=file.xy_m,
        labels=np.array([f"{frame:.15g}" for frame in file.frames]),
    ).sorted()
