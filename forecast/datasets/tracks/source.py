"""`TracksSource`: scenes from one table of tracks.

The table is a CSV or Parquet file, or a folder of such files, with a row for each agent and time:

===============  =================================================================================
column           meaning
===============  =================================================================================
scene            name or number of the scene
agent_id         name or number of the agent, unique in its scene
kind             pedestrian, cyclist, vehicle, ego or static, in any case; or 0 to 4
t_s              time in seconds
x_m, y_m         position of the centre in metres, in any frame (also that of the world)
heading_rad      optional: heading in radians, counter-clockwise from x; empty where unknown
length_m,        optional: size; empty or not above 0 where unknown: typical sizes of the kind
width_m,
height_m
ego              optional: 1 or true in the rows of the ego vehicle
split            optional: the split of the scene, such as train or val; else all are in ``all``
===============  =================================================================================

The order of rows and columns is free, and other columns are not used. Records may have any rate
from 2 Hz on, the same or another one for each agent. They are resampled to 0.5 s. A row that is
wrong is named by its number, from 1, without the header; its scene is then not read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.map_file import MapFile
from forecast.datasets.source import hash_of
from forecast.datasets.track_rows import TrackRows
from forecast.datasets.tracks.table import read_track_table, track_files
from forecast.errors import ForecastError
from forecast.geometry import wrap_angle
from forecast.scene import AgentKind, Scene
from forecast.scene.parsing import LARGEST_RAD, parse_kind, parse_sizes

_SIZES = ("length_m", "width_m", "height_m")
_KINDS = ", ".join(kind.name.lower() for kind in AgentKind)


class TracksSource:
    """The scenes of a table of tracks.

    The table is read once, at construction. It is kept as columns, so that forked workers share it.
    """

    name = "tracks"
    protocol = "nuscenes-ped-v1"
    dt_s = 0.5

    def __init__(self, dataroot: Path | str, *, map_file: Path | None = None) -> None:
        """Reads the table.

        Args:
            dataroot: A CSV or Parquet file, or a folder of such files.
            map_file: Map of the place, see `map_file`; None for none.

        Raises:
            ForecastError: The table is broken or lacks a column, or a scene has two splits.
        """
        files = track_files(Path(dataroot))
        self._files = {f"{number} {path.name}": path for number, path in enumerate(files)}
        self._map = None if map_file is None else MapFile(map_file)
        self._table = read_track_table(files)
        scenes = self._table.words["scene"]
        self._refuse(np.arange(len(scenes.codes)), scenes.codes < 0, "scene", "a name")
        order = np.argsort(scenes.codes, kind="stable")
        ends = np.cumsum(np.bincount(scenes.codes))
        self._rows = dict(zip(scenes.words, np.split(order, ends[:-1]), strict=True))
        self._splits = self._read_splits()

    def fingerprint(self) -> str:
        """Returns a hash of all files."""
        maps = {} if self._map is None else {"map": self._map.path}
        return hash_of(self.name, self._files | maps)

    def scene_names(self) -> list[str]:
        """Returns the names of the scenes, in the order of their first rows."""
        return list(self._rows)

    def splits(self) -> dict[str, list[str]]:
        """Returns the splits of the column ``split``; without it, all scenes are in ``all``."""
        return self._splits

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        """Reads one scene.

        Returns:
            The scene, and counts: copies of a row (``repeated_row``) and agents between two steps
            (``agent_between_steps``), which are not in it; agents with a typical size
            (``typical_size``) or of several kinds (``agent_of_several_kinds``: the most frequent
            kind counts).

        Raises:
            ForecastError: The name is unknown or a row is wrong; or times and positions are in
                other units than seconds and metres.
        """
        if name not in self._rows:
            raise ForecastError(
                f"scene '{name}' is unknown; one of {', '.join(self._rows)} is needed"
            )
        rows = self._rows[name]
        self._check(rows)
        rows, counts = self._without_repeats(rows)
        tracks, several = self._track_rows(name, rows)
        scene, made = tracks.scene(name, self.dt_s)
        scene, missing = (scene, {}) if self._map is None else self._map.around(scene)
        counts |= {"agent_of_several_kinds": several}
        return scene, {why: n for why, n in counts.items() if n} | made | missing

    def _read_splits(self) -> dict[str, list[str]]:
        names = list(self._rows)
        column = self._table.words.get("split")
        if column is None:
            return {"all": names}
        splits: dict[str, list[str]] = {}
        for scene, rows in self._rows.items():
            codes = column.codes[rows]
            own = codes[codes >= 0]
            others = np.flatnonzero(own != own[:1])
            if len(others):
                row = rows[codes >= 0][others[0]]
                raise ForecastError(
                    f"{self._table.item(row)}: scene '{scene}' is in the splits "
                    f"'{column.words[own[0]]}' and '{column.words[own[others[0]]]}'; one is needed"
                )
            if len(own):
                splits.setdefault(column.words[own[0]], []).append(scene)
        return splits or {"all": names}

    def _refuse(
        self, rows: NDArray[np.int64], bad: NDArray[np.bool_], column: str, needed: str
    ) -> None:
        """Raises `ForecastError` with the first bad row, if there is one."""
        if bad.any():
            row = int(rows[bad.argmax()])
            if column in self._table.words:
                words = self._table.words[column]
                value = f"'{words.words[words.codes[row]]}'" if words.codes[row] >= 0 else "empty"
            else:
                number = self._table.numbers[column][row]
                value = self._table.wrong.get((column, row), f"{number:g}")
            raise ForecastError(f"{self._table.item(row)}: {column} is {value}; {needed} is needed")

    def _check(self, rows: NDArray[np.int64]) -> None:
        """Checks the values of each row by itself."""
        numbers = {name: column[rows] for name, column in self._table.numbers.items()}
        for name in ("t_s", "x_m", "y_m"):
            self._refuse(rows, ~np.isfinite(numbers[name]), name, "a finite number")
        for name, column in numbers.items():
            wrong = [row for other, row in self._table.wrong if other == name]
            self._refuse(rows, np.isin(rows, wrong) | np.isinf(column), name, "a finite number")
        if "heading_rad" in numbers:
            bad = np.abs(numbers["heading_rad"]) > LARGEST_RAD
            self._refuse(rows, bad, "heading_rad", "an angle in radians (not in degrees)")
        if "ego" in numbers:
            bad = ~np.isin(numbers["ego"], (0, 1)) & ~np.isnan(numbers["ego"])
            self._refuse(rows, bad, "ego", "0 or 1")
        agents = self._table.words["agent_id"]
        self._refuse(rows, agents.codes[rows] < 0, "agent_id", "a name")

    def _without_repeats(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], dict[str, int]]:
        """The rows agent by agent, in the order of time, and without copies."""
        agents, numbers = self._table.words["agent_id"].codes, self._table.numbers
        rows = rows[np.lexsort((numbers["t_s"][rows], agents[rows]))]
        again = np.zeros(len(rows), bool)
        again[1:] = (np.diff(agents[rows]) == 0) & (np.diff(numbers["t_s"][rows]) == 0)
        xy = np.stack([numbers["x_m"][rows], numbers["y_m"][rows]], axis=-1)
        elsewhere = again.copy()
        elsewhere[1:] &= (np.diff(xy, axis=0) != 0).any(axis=1)
        if elsewhere.any():
            at = int(elsewhere.argmax())
            agent = self._table.words["agent_id"].words[agents[rows[at]]]
            raise ForecastError(
                f"{self._table.item(rows[at])}: agent '{agent}' has a row at t_s "
                f"{numbers['t_s'][rows[at]]:g} already, elsewhere "
                f"({self._table.item(rows[at - 1])}); keep one of the rows"
            )
        return rows[~again], {"repeated_row": int(again.sum())}

    def _track_rows(self, name: str, rows: NDArray[np.int64]) -> tuple[TrackRows, int]:
        """The rows of a scene, and the number of agents of several kinds."""
        numbers, words = self._table.numbers, self._table.words["agent_id"]
        codes, agents = np.unique(words.codes[rows], return_inverse=True)
        kinds, several = _most_frequent(self._kinds(rows), agents, len(codes))
        names = np.array([words.words[code] for code in codes.tolist()])
        egos = names[kinds == AgentKind.EGO]
        if len(egos) > 1:
            raise ForecastError(
                f"scene '{name}': agents '{egos[0]}' and '{egos[1]}' are both the ego; at most one "
                "is needed"
            )
        headings = numbers.get("heading_rad")
        tracks = TrackRows(
            item=f"scene '{name}'",
            names=names,
            kinds=kinds,
            agents=agents,
            times_s=numbers["t_s"][rows],
            xy_m=np.stack([numbers["x_m"][rows], numbers["y_m"][rows]], axis=-1),
            headings_rad=None if headings is None else wrap_angle(headings[rows]),
            sizes_m=self._sizes(rows, agents, kinds),
        )
        return tracks, several

    def _kinds(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The kind that each row says ``[R]``."""
        words = self._table.words["kind"]
        ego = self._table.numbers.get("ego", np.zeros(len(words.codes)))[rows] == 1
        self._refuse(rows, (words.codes[rows] < 0) & ~ego, "kind", f"one of {_KINDS}")
        kinds = np.full(len(rows), int(AgentKind.EGO))
        for code in np.unique(words.codes[rows][~ego]).tolist():
            here = (words.codes[rows] == code) & ~ego
            word = words.words[code]
            item = self._table.item(rows[here.argmax()])
            kinds[here] = parse_kind(item, int(word) if word.isdecimal() else word)
        return kinds

    def _sizes(
        self, rows: NDArray[np.int64], agents: NDArray[np.int64], kinds: NDArray[np.int8]
    ) -> NDArray[np.float64] | None:
        """The first known size of each agent ``[A, 3]``, so that sizes do not leak the future."""
        if not any(name in self._table.numbers for name in _SIZES):
            return None
        sizes = parse_sizes("sizes", None, kinds)[0].astype(np.float64)
        for axis, name in enumerate(_SIZES):
            if name in self._table.numbers:
                values = self._table.numbers[name][rows]
                known = np.flatnonzero(values > 0)
                whose, first = np.unique(agents[known], return_index=True)
                sizes[:, axis] = np.nan
                sizes[whose, axis] = values[known[first]]
        return sizes


def _most_frequent(
    kinds: NDArray[np.int64], agents: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int8], int]:
    """The most frequent kind of each agent; of equally frequent ones, that of its last row.

    Args:
        kinds: Kind of each row ``[R]``.
        agents: Agent of each row ``[R]``, ascending.
        count: Number of agents A.

    Returns:
        The kinds ``[A]``, and the number of agents of several kinds.
    """
    votes = np.zeros((count, len(AgentKind)))
    np.add.at(votes, (agents, kinds), 1)
    several = int(((votes > 0).sum(axis=1) > 1).sum())
    last = np.searchsorted(agents, np.arange(count), side="right") - 1
    votes[np.arange(count), kinds[last]] += 0.5
    return votes.argmax(axis=1).astype(np.int8), several
