"""`NuScenesSource`: the scenes of a dataset in nuScenes format."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.nuscenes.maps import MARGIN_M, CityMap, map_path, read_city_map
from forecast.datasets.nuscenes.splits import CUSTOM_SPLITS, read_splits
from forecast.datasets.nuscenes.tables import TABLE_NAMES, read_tables
from forecast.datasets.nuscenes.tracks import (
    DT_S,
    build_tracks,
    kinds_of,
    scene_origin,
    time_grid,
)
from forecast.errors import ForecastError
from forecast.parallel import Workers
from forecast.scene import AgentKind, LaneMap, Scene


class NuScenesSource:
    """The scenes of one version folder of a dataset in nuScenes format.

    The tables are read and checked once, at construction. They are kept as columns, so that forked
    workers share them and a pickled source stays small. The map of a city is parsed when the first
    scene of that city is read.

    Attributes:
        name: Its name on the command line (``--source``).
        protocol: The evaluation protocol of its scenes.
        dt_s: Length of a time step.
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
        workers: Workers = Workers(),  # noqa: B008 (frozen)
    ) -> None:
        """Reads and checks the tables.

        Args:
            dataroot: The folder that holds the version folder and ``maps/``.
            version: Name of the version folder, such as ``v1.0-mini``.
            with_map: Whether the scenes get a map (map expansion v1.3).
            workers: Local processes that read the tables.

        Raises:
            ForecastError: The version folder is missing; a table is broken (see
                `tables.read_tables`); a category is unknown; there is no pedestrian; the map of a
                city is missing.
        """
        self._dataroot = Path(dataroot)
        self._folder = _version_folder(self._dataroot, version)
        self._tables = read_tables(self._folder, workers)
        self._kinds = kinds_of(self._tables.instance_categories)
        annotated = self._kinds[self._tables.annotations.instances]
        if not (annotated == AgentKind.PEDESTRIAN).any():
            raise ForecastError(
                f"{self._folder}: no pedestrian is annotated; at least one instance of a category "
                "human.pedestrian.* is needed"
            )
        locations = sorted(set(self._tables.locations)) if with_map else []
        self._map_paths = {name: map_path(self._dataroot, name) for name in locations}
        self._city_maps: dict[str, CityMap] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state without the parsed maps: parsing is cheaper than pickling them."""
        return {**self.__dict__, "_city_maps": {}}

    def fingerprint(self) -> str:
        """Returns the SHA-256 of the tables, ``splits.json`` and the maps in use, in hex."""
        paths = [self._folder / f"{name}.json" for name in TABLE_NAMES]
        if (self._folder / CUSTOM_SPLITS).exists():
            paths.append(self._folder / CUSTOM_SPLITS)
        digest = hashlib.sha256()
        for path in [*paths, *self._map_paths.values()]:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

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
            The scene, and counts of dropped records by reason: ``keyframe_without_ego_pose``; with
            a map also ``lane_without_path`` and ``lane_link_to_no_lane``.

        Raises:
            ForecastError: There is no such scene, or the map of its city is broken.
        """
        if name not in self._tables.scene_names:
            raise ForecastError(
                f"scene '{name}' is not in {self._folder}; it holds {len(self.scene_names())} "
                f"scenes, such as {self._tables.scene_names[0]}"
            )
        row = self._tables.scene_names.index(name)
        keyframes = self._tables.keyframes
        grid = time_grid(keyframes, row)
        origin_m = scene_origin(keyframes, row)
        lane_map, dropped = self._lane_map(row, origin_m)
        scene = Scene(
            id=name,
            location=self._tables.locations[row],
            description=self._tables.descriptions[row],
            dt_s=DT_S,
            timestamps_us=grid.timestamps_us,
            tracks=build_tracks(self._tables, self._kinds, row, grid, origin_m),
            lane_map=lane_map,
            origin_m=origin_m,
            frame_ids=grid.frame_ids,
        )
        without = int((~keyframes.has_ego[keyframes.of(row)]).sum())
        return scene, {"keyframe_without_ego_pose": without, **dropped}

    def _lane_map(
        self, row: int, origin_m: NDArray[np.float64]
    ) -> tuple[LaneMap | None, dict[str, int]]:
        """Returns the map within `MARGIN_M` of the box around the ego's path, and drop counts."""
        location = self._tables.locations[row]
        if location not in self._map_paths:
            return None, {}
        if location not in self._city_maps:
            self._city_maps[location] = read_city_map(self._map_paths[location])
        rows = self._tables.keyframes.of(row)
        ego = self._tables.keyframes.ego_m[rows][self._tables.keyframes.has_ego[rows]]
        least, greatest = ego.min(axis=0) - MARGIN_M, ego.max(axis=0) + MARGIN_M
        return self._city_maps[location].crop((*least, *greatest), origin_m)


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
