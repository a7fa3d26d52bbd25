"""Maps of scenes from one file: a nuScenes map expansion (v1.3), or GeoJSON (see `geojson`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from forecast.datasets.geojson import COLLECTION, read_geojson
from forecast.datasets.nuscenes.maps import MARGIN_M, CityMap, read_city_map
from forecast.datasets.nuscenes.rows import read_json
from forecast.errors import ForecastError
from forecast.scene import Scene


class _Kind(msgspec.Struct):
    type: str | None = None


class MapFile:
    """A map of one place. The file is parsed when the first scene asks for it.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path | str) -> None:
        """Checks that the file exists; raises `ForecastError`."""
        self.path = Path(path)
        if not self.path.is_file():
            raise ForecastError(
                f"{path}: no such file; a GeoJSON file or a nuScenes map expansion is needed"
            )
        self._city: CityMap | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state without the parsed map: parsing is cheaper than pickling it."""
        return {**self.__dict__, "_city": None}

    def around(self, scene: Scene) -> tuple[Scene, dict[str, int]]:
        """Adds the map within `MARGIN_M` of the box around the tracks to a scene.

        Returns:
            The scene, and counts of what the file names but does not define.

        Raises:
            ForecastError: The file is broken, or nothing of the map lies there.
        """
        if self._city is None:
            self._city = _read(self.path)
        world = scene.tracks.positions_m[scene.tracks.valid] + scene.origin_m
        least, greatest = world.min(axis=0) - MARGIN_M, world.max(axis=0) + MARGIN_M
        found, counts = self._city.crop((*least, *greatest), scene.origin_m)
        areas = (found.crosswalks, found.walkways, found.dividers, found.drivable_area)
        if not any(len(part) for part in (found, *areas)):
            x, y = world.mean(axis=0)
            raise ForecastError(
                f"{self.path}: nothing of the map lies within {MARGIN_M:.0f} m of the tracks of "
                f"{scene.id}, around ({x:.6g}, {y:.6g}); a map in the frame of the tracks, in "
                "metres (not in longitude and latitude), is needed"
            )
        return replace(scene, lane_map=found), {why: n for why, n in counts.items() if n}


def _read(path: Path) -> CityMap:
    kind = read_json(path, _Kind).type
    if kind is None:
        return read_city_map(path)
    if kind != COLLECTION:
        raise ForecastError(f"{path}: type is '{kind}'; '{COLLECTION}' is needed")
    return read_geojson(path)
