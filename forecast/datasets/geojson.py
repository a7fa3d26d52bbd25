"""Reads maps in GeoJSON.

A file holds a ``FeatureCollection`` in metres, in the frame of the tracks. The property ``layer``
of a feature says what it is:

========================================  =========================  ============================
layer                                     geometry                   part of the map
========================================  =========================  ============================
drivable_area, road                       Polygon, MultiPolygon      drivable area
crosswalk, ped_crossing                   Polygon, MultiPolygon      crosswalks
walkway, sidewalk                         Polygon, MultiPolygon      walkways
lane, lane_connector, centerline          LineString                 lanes, in driving direction
divider, road_divider, lane_divider       LineString, Multi…         dividers
========================================  =========================  ============================

A lane that begins within 0.5 m of the end of another one follows it. The property ``id`` of a lane
is its name. The property ``signalled`` of a crosswalk, true or false, says whether it has
traffic lights.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape

from forecast import geometry
from forecast.datasets.nuscenes.maps import CityMap
from forecast.datasets.nuscenes.rows import read_json
from forecast.errors import ForecastError, require

COLLECTION = "FeatureCollection"
"""The ``type`` of a GeoJSON file."""

_AREAS = ("Polygon", "MultiPolygon")
_LINES = ("LineString", "MultiLineString")

_LAYERS = {
    "drivable_area": ("drivable_area", _AREAS),
    "road": ("drivable_area", _AREAS),
    "crosswalk": ("crosswalks", _AREAS),
    "ped_crossing": ("crosswalks", _AREAS),
    "walkway": ("walkways", _AREAS),
    "sidewalk": ("walkways", _AREAS),
    "lane": ("lanes", ("LineString",)),
    "lane_connector": ("lanes", ("LineString",)),
    "centerline": ("lanes", ("LineString",)),
    "divider": ("dividers", _LINES),
    "road_divider": ("dividers", _LINES),
    "lane_divider": ("dividers", _LINES),
}
"""Layer -> part of the map, and the geometries that it may have."""

_JOINT_M = 0.5
"""A lane follows another one if it begins within this distance of its end."""

_SMALLEST_M = 1.0
"""A map that is smaller is in degrees."""


class _Feature(msgspec.Struct):
    geometry: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None


class _Collection(msgspec.Struct):
    features: list[_Feature] = []


def read_geojson(path: Path) -> CityMap:
    """Reads a GeoJSON map.

    Raises:
        ForecastError: The file is broken; a layer is unknown or has another geometry; or the
            coordinates are degrees. The message names the feature by its number, from 1.
    """
    parts: dict[str, list[Any]] = defaultdict(list)
    lane_ids, signalled = [], []
    for number, feature in enumerate(read_json(path, _Collection).features, start=1):
        item = f"{path}: feature {number}"
        part, geometries = _layer(item, feature)
        parts[part].append(_shape(item, feature, geometries))
        if part == "lanes":
            lane_ids.append(str((feature.properties or {}).get("id", f"lane {number}")))
        if part == "crosswalks":
            signalled.append(_has_lights(item, feature))
    _require_metres(path, [each for shapes in parts.values() for each in shapes])
    lanes = np.array(parts["lanes"], object)
    none = np.zeros(0, object)
    return CityMap(
        lane_ids=np.array(lane_ids, np.str_),
        lanes=lanes,
        successors=_successors(lanes),
        dead_links=np.zeros(len(lanes), np.int64),
        lanes_without_path=none,
        crosswalks=shapely.make_valid(np.array(parts["crosswalks"], object)),
        walkways=shapely.make_valid(np.array(parts["walkways"], object)),
        dividers=np.array(parts["dividers"], object),
        drivable_area=shapely.make_valid(np.array(parts["drivable_area"], object)),
        signalled=np.array(signalled, bool),
    )


def _has_lights(item: str, feature: _Feature) -> bool:
    """Whether a crosswalk has traffic lights."""
    value = (feature.properties or {}).get("signalled", False)
    require(isinstance(value, bool), f"{item}: signalled", repr(value), "true or false")
    return bool(value)


def _layer(item: str, feature: _Feature) -> tuple[str, tuple[str, ...]]:
    """The part of the map that a feature belongs to, and the geometries that it may have."""
    name = (feature.properties or {}).get("layer")
    if not isinstance(name, str) or name not in _LAYERS:
        raise ForecastError(
            f"{item}: layer is {name!r}; one of {', '.join(_LAYERS)} is needed: rename the layer "
            "or leave the feature out"
        )
    return _LAYERS[name]


def _shape(item: str, feature: _Feature, geometries: tuple[str, ...]) -> Any:
    """The geometry of a feature, in two dimensions."""
    kind = (feature.geometry or {}).get("type")
    if kind not in geometries:
        raise ForecastError(f"{item}: geometry is {kind}; {' or '.join(geometries)} is needed")
    try:
        found = shapely.force_2d(shape(feature.geometry))
    except (ValueError, TypeError, KeyError, IndexError, shapely.errors.ShapelyError) as error:
        reason = " ".join(str(error).split())
        raise ForecastError(f"{item}: its coordinates are no {kind} ({reason})") from None
    if kind == "LineString":
        found = shapely.remove_repeated_points(found)
    finite = np.isfinite(shapely.get_coordinates(found)).all()
    if found.is_empty or not finite or (kind == "LineString" and found.length == 0):
        raise ForecastError(
            f"{item}: its coordinates are no {kind}; finite, distinct points are needed"
        )
    return found


def _require_metres(path: Path, shapes: list[Any]) -> None:
    """Refuses an empty map, and one in degrees."""
    if not shapes:
        raise ForecastError(f"{path}: the map has no feature; at least one is needed")
    west, south, east, north = shapely.total_bounds(np.array(shapes, object))
    if max(east - west, north - south) < _SMALLEST_M:
        raise ForecastError(
            f"{path}: the map is {east - west:.2g} by {north - south:.2g} units large, around "
            f"({west:.6g}, {south:.6g}): degrees? metres in the frame of the tracks are needed"
        )


def _successors(lanes: NDArray[np.object_]) -> NDArray[np.int64]:
    """Pairs ``[E, 2]`` of lanes of which the second begins where the first ends."""
    ends, starts = (shapely.get_coordinates(shapely.get_point(lanes, at)) for at in (-1, 0))
    pairs: NDArray[np.int64] = np.argwhere(geometry.distances(ends, starts) <= _JOINT_M)
    return pairs[pairs[:, 0] != pairs[:, 1]]
