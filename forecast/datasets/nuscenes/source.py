"""`NuScenesSource`: the scenes of a dataset in nuScenes format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.nuscenes.categories import Categories
from forecast.datasets.nuscenes.maps import MARGIN_M, CityMap, map_path, read_city_map
from forecast.datasets.nuscenes.splits import CUSTOM_SPLITS, read_splits
from forecast.datasets.nuscenes.tables import (
    OPTIONAL_TABLE_NAMES,
    TABLE_NAMES,
    Tables,
    read_tables,
)
from forecast.datasets.nuscenes.tracks import DT_S, build_tracks, scene_origin, time_grid
from forecast.datasets.source import hash_of
from forecast.errors import ForecastError
from forecast.parallel import Workers
from forecast.scene import AgentKind, LaneMap, Scene

_NAMED = 6
"""Number of categories or channels that a message names."""


class NuScenesSource:
    """The scenes of one version folder of a dataset in nuScenes format.

    The tables are read and checked once, at construction. They are kept as columns, so that forked
    workers share them and a pickled source stays small. The map of a city is parsed when the first
    scene of that city is read.

    Attributes:
        name: Its name on the command line (``--source``).
        protocol: The evaluation protocol of its scenes.
        dt_s: Length of a time step. Faster keyframes are resampled to it.
        notes: What was chosen while reading, in lines for a summary.
    """

    name = "nuscenes"
    protocol = "nuscenes-ped-v1"
    dt_s = DT_S

    def __init__(
        self,
        dataroot: Path,
        version: str,
        *,
        with_map: bool = True,
        ego_channel: str | None = None,
        categories: Path | None = None,
        workers: Workers = Workers(),  # noqa: B008 (frozen)
    ) -> None:
        """Reads and checks the tables.

        Args:
            dataroot: The folder that holds the version folder and ``maps/``.
            version: Name of the version folder, such as ``v1.0-mini``.
            with_map: Whether the scenes get a map (map expansion v1.3).
            ego_channel: The sensor channel whose key frames give the ego's poses; None: it is
                chosen, see `ego_poses.read_ego_poses`.
            categories: YAML file with the kinds of categories; see `Categories.read`.
            workers: Local processes that read the tables.

        Raises:
            ForecastError: The version folder is missing; a table is broken (see
                `tables.read_tables`); a category is unknown; there is no pedestrian; the map of a
                city is missing.
        """
        self._dataroot = Path(dataroot)
        self._folder = _version_folder(self._dataroot, version)
        rules = Categories.read(categories)
        self._options = [path for path in [categories] if path is not None]
        self._tables = read_tables(self._folder, workers, ego_channel)
        names, annotated = self._tables.instance_categories, self._tables.annotations.instances
        annotated = annotated[annotated >= 0]  # the others have lost their instance
        self._kinds = rules.kinds_of(names, annotated)
        if not (self._kinds[annotated] == AgentKind.PEDESTRIAN).any():
            there = ", ".join(np.unique(names[annotated]).tolist()[:_NAMED]) or "unknown"
            raise ForecastError(
                f"{self._folder}: no pedestrian is annotated; the categories are {there}: if one "
                "of them is of pedestrians, say so with --categories FILE.yaml"
            )
        locations = _locations(self._folder, self._tables) if with_map else []
        self._map_paths = {name: map_path(self._dataroot, name) for name in locations}
        self._city_maps: dict[str, CityMap | ForecastError] = {}
        self.notes = [_ego_note(self._tables)]
        if unused := rules.without_effect(names.tolist()):
            self.notes.append(f"{categories}: no such category: {', '.join(unused)}")

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state without the parsed maps: parsing is cheaper than pickling them."""
        return {**self.__dict__, "_city_maps": {}}

    def fingerprint(self) -> str:
        """Returns the SHA-256 of the files and options in use, in hex."""
        names = [f"{name}.json" for name in (*TABLE_NAMES, *OPTIONAL_TABLE_NAMES)]
        paths = [self._folder / name for name in (*names, CUSTOM_SPLITS)]
        there = [path for path in paths if path.exists()]
        files = [*there, *self._options, *self._map_paths.values()]
        numbered = {f"{number} {path.name}": path for number, path in enumerate(files)}
        return hash_of(f"{self.name} {self._tables.ego_channel}", numbered)

    def scene_names(self) -> list[str]:
        """Returns the names of the scenes, in the order of the scene table."""
        return list(self._tables.scene_names)

    def splits(self) -> dict[str, list[str]]:
        """Returns the splits with at least one scene here; see `splits.read_splits`."""
        return read_splits(self._folder, self._tables.scene_names)

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        """Reads a scene.

        Args:
            name: One of `scene_names`.

        Returns:
            The scene, and counts of dropped and mended records by reason:
            ``keyframe_without_ego_pose``; with a map also ``lane_without_path`` and
            ``lane_link_to_no_lane``; and where there are such, ``keyframe_between_steps``,
            ``agent_between_steps``, ``annotation_without_sample``, ``ignored_category``,
            ``typical_size``, ``rotation_normalised``, ``heading_from_motion`` and
            ``visibility_unknown``.

        Raises:
            ForecastError: There is no such scene, it has a fault, or the map of its city is broken.
        """
        if name not in self._tables.scene_names:
            raise ForecastError(
                f"scene '{name}' is not in {self._folder}; it holds {len(self.scene_names())} "
                f"scenes, such as {self._tables.scene_names[0]}"
            )
        row = self._tables.scene_names.index(name)
        if row in self._tables.faults:
            raise ForecastError(self._tables.faults[row])
        keyframes = self._tables.keyframes
        grid = time_grid(self._tables, row)
        origin_m = scene_origin(keyframes, row)
        lane_map, map_counts = self._lane_map(row, origin_m)
        tracks, counts = build_tracks(self._tables, self._kinds, row, grid, origin_m)
        record = grid.record
        scene = Scene(
            id=name,
            location=self._tables.locations[row],
            description=self._tables.descriptions[row],
            dt_s=DT_S,
            timestamps_us=grid.timestamps_us,
            tracks=tracks,
            lane_map=lane_map,
            origin_m=origin_m,
            frame_ids=np.where(record < 0, "", keyframes.tokens[keyframes.of(row)][record]),
            interpolated=grid.interpolated,
        )
        without = int((~keyframes.has_ego[keyframes.of(row)]).sum())
        counts |= {why: int(values[row]) for why, values in self._tables.counts.items()}
        counts["keyframe_between_steps"] = grid.left_out
        some = {why: count for why, count in counts.items() if count}
        return scene, {"keyframe_without_ego_pose": without, **map_counts, **some}

    def _lane_map(
        self, row: int, origin_m: NDArray[np.float64]
    ) -> tuple[LaneMap | None, dict[str, int]]:
        """Returns the map within `MARGIN_M` of the box around the ego's path, and drop counts."""
        if not self._map_paths:
            return None, {}
        city_map = self._city_map(row)
        rows = self._tables.keyframes.of(row)
        ego = self._tables.keyframes.ego_m[rows][self._tables.keyframes.has_ego[rows]]
        least, greatest = ego.min(axis=0) - MARGIN_M, ego.max(axis=0) + MARGIN_M
        return city_map.crop((*least, *greatest), origin_m)

    def _city_map(self, row: int) -> CityMap:
        """Returns the map of a scene's city. It is read once, also if it is broken."""
        location = self._tables.locations[row]
        if location not in self._map_paths:
            raise ForecastError(_no_location(self._folder))
        if location not in self._city_maps:
            try:
                self._city_maps[location] = read_city_map(self._map_paths[location])
            except ForecastError as error:
                self._city_maps[location] = error
        found = self._city_maps[location]
        if isinstance(found, ForecastError):
            raise found
        return found


def _locations(folder: Path, tables: Tables) -> list[str]:
    """Returns the cities whose maps are needed."""
    known = sorted(set(tables.locations) - {""})
    if not known:
        raise ForecastError(_no_location(folder))
    return known


def _no_location(folder: Path) -> str:
    return (
        f"{folder / 'scene.json'}: no location (its log_token leads to none in log.json), so there "
        "is no map of it; give the location or pass --no-map"
    )


def _ego_note(tables: Tables) -> str:
    others = ", ".join(tables.other_channels[:_NAMED])
    more = ", …" if len(tables.other_channels) > _NAMED else ""
    choice = f" (--ego-channel for another: {others}{more})" if others else ""
    return f"ego:     pose at the key frames of {tables.ego_channel}{choice}"


def _version_folder(dataroot: Path, version: str) -> Path:
    if not dataroot.is_dir():
        raise ForecastError(f"{dataroot}: no such folder; give the nuScenes folder as --dataroot")
    folder = dataroot / version
    if not version or not folder.is_dir():
        there = sorted(path.parent.name for path in dataroot.glob("*/scene.json"))
        raise ForecastError(
            f"{dataroot}: version '{version}' is not there; "
            f"found {', '.join(there) or 'no version folder'}: give one of them as --version"
        )
    return folder
