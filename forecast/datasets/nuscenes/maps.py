"""Reads the nuScenes map expansion (v1.3) and crops it to the lane map around a scene."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from forecast.datasets.nuscenes import arclines
from forecast.datasets.nuscenes.links import index_of
from forecast.datasets.nuscenes.rows import read_json
from forecast.errors import ForecastError, require
from forecast.scene import LaneMap, Polygons, Polylines

MARGIN_M = 120.0
"""A scene's map reaches this far beyond the box around the ego's path."""

_OLDEST_VERSION = "1.3"
_SAME_POINT_M = 1e-3
_LIGHTS = "TRAFFIC_LIGHT"
_AT_STOP_LINE_M = 6.0
"""A crosswalk this near to a stop line of a traffic light has lights."""
_DOWNLOAD = (
    "download 'Map expansion pack (v1.3)' from https://www.nuscenes.org/download and unpack it "
    "into maps/ of the dataset, or pass --no-map"
)


class _Lane(msgspec.Struct, gc=False):
    token: str
    polygon_token: str


class _Node(msgspec.Struct, gc=False):
    token: str
    x: float
    y: float


class _Ring(msgspec.Struct, gc=False):
    node_tokens: list[str]


class _Polygon(msgspec.Struct, gc=False):
    token: str
    exterior_node_tokens: list[str]
    holes: list[_Ring]


class _Line(msgspec.Struct, gc=False):
    token: str
    node_tokens: list[str]


class _Area(msgspec.Struct, gc=False):
    polygon_token: str


class _StopLine(msgspec.Struct, gc=False):
    polygon_token: str
    stop_line_type: str


class _MultiArea(msgspec.Struct, gc=False):
    polygon_tokens: list[str]


class _Divider(msgspec.Struct, gc=False):
    line_token: str


class _ArcLine(msgspec.Struct, gc=False):
    start_pose: tuple[float, float, float]
    shape: Literal["LSL", "LSR", "RSL", "RSR", "LRL", "RLR"]
    radius: Annotated[float, msgspec.Meta(gt=0)]
    segment_length: tuple[float, float, float]


class _Links(msgspec.Struct, gc=False):
    outgoing: list[str]


class _MapFile(msgspec.Struct, gc=False):
    node: list[_Node]
    line: list[_Line]
    polygon: list[_Polygon]
    lane: list[_Lane]
    lane_connector: list[_Lane]
    arcline_path_3: dict[str, list[_ArcLine]]
    connectivity: dict[str, _Links]
    drivable_area: list[_MultiArea]
    ped_crossing: list[_Area]
    walkway: list[_Area]
    road_divider: list[_Divider]
    lane_divider: list[_Divider]
    stop_line: list[_StopLine] = []


class _MapVersion(msgspec.Struct):
    version: str = "1.0"  # the first maps had no version


@dataclass(frozen=True, eq=False)
class CityMap:
    """A city's map in world coordinates: shapely geometries, float64.

    Attributes:
        lane_ids: Names of the lanes and lane connectors ``[L]``.
        lanes: Their centre lines ``[L]``.
        successors: Pairs ``[E, 2]`` of lane rows: traffic flows from the first to the second.
        dead_links: Number of links of each lane that lead to no lane ``[L]``.
        lanes_without_path: Polygons of the lanes without a centre line in the file.
        crosswalks: Polygons.
        walkways: Polygons.
        dividers: Lines.
        drivable_area: Polygons.
        signalled: Which crosswalks are known to have traffic lights.
    """

    lane_ids: NDArray[np.str_]
    lanes: NDArray[np.object_]
    successors: NDArray[np.int64]
    dead_links: NDArray[np.int64]
    lanes_without_path: NDArray[np.object_]
    crosswalks: NDArray[np.object_]
    walkways: NDArray[np.object_]
    dividers: NDArray[np.object_]
    drivable_area: NDArray[np.object_]
    signalled: NDArray[np.bool_]

    def crop(
        self, box_m: tuple[float, float, float, float], origin_m: NDArray[np.float64]
    ) -> tuple[LaneMap, dict[str, int]]:
        """Crops the map to a box, relative to an origin.

        Lanes that reach into the box are kept whole. Areas and dividers are clipped to it.

        Args:
            box_m: Least x, least y, greatest x, greatest y in the world.
            origin_m: World position ``[2]`` of the scene's frame.

        Returns:
            The map, and counts of lanes and links there that the file names but does not define.
        """
        box = shapely.box(*box_m)
        shapely.prepare(box)
        kept = np.flatnonzero(shapely.intersects(self.lanes, box))
        row = np.full(len(self.lanes), -1)
        row[kept] = np.arange(len(kept))
        pairs = row[self.successors]
        lit, unlit = (_clip(self.crosswalks[m], box, 2) for m in (self.signalled, ~self.signalled))
        cropped = LaneMap(
            lane_ids=self.lane_ids[kept],
            centerlines=_polylines(self.lanes[kept], origin_m),
            successors=pairs[(pairs >= 0).all(axis=1)],
            crosswalks=_polygons([*lit, *unlit], origin_m),
            walkways=_polygons(_clip(self.walkways, box, 2), origin_m),
            dividers=_polylines(_clip(self.dividers, box, 1), origin_m),
            drivable_area=_polygons(_clip(self.drivable_area, box, 2), origin_m),
            signalled=np.arange(len(lit) + len(unlit)) < len(lit),
        )
        return cropped, {
            "lane_without_path": int(shapely.intersects(self.lanes_without_path, box).sum()),
            "lane_link_to_no_lane": int(self.dead_links[kept].sum()),
        }


def map_path(dataroot: Path, location: str) -> Path:
    """Returns the path of the map file of a city.

    Raises:
        ForecastError: There is no such file; the message says what to download. Or the location
            leads out of the folder of the maps.
    """
    name = f"{location}.json"
    good = Path(name).name == name and "\0" not in name
    require(good, f"{dataroot}: a location of the log table", repr(location), "a plain name")
    path = dataroot / "maps" / "expansion" / f"{location}.json"
    if not path.is_file():
        raise ForecastError(f"{path}: no map of location '{location}'; {_DOWNLOAD}")
    return path


def read_city_map(path: Path) -> CityMap:
    """Reads a map expansion file.

    Raises:
        ForecastError: The file is missing, broken or older than v1.3; a lane is repeated or has
            fewer than 2 distinct points; a token is not defined.
    """
    version = read_json(path, _MapVersion).version
    if version < _OLDEST_VERSION:  # compared as the devkit does
        raise ForecastError(
            f"{path}: map version {version}; {_OLDEST_VERSION} or newer is needed: {_DOWNLOAD}"
        )
    file = read_json(path, _MapFile)
    try:
        return _build(path, file)
    except KeyError as missing:
        raise ForecastError(
            f"{path}: token {missing} is used but not defined; download the map file again"
        ) from None


def _build(path: Path, file: _MapFile) -> CityMap:
    lanes = file.lane + file.lane_connector
    ids = [lane.token for lane in lanes if file.arcline_path_3.get(lane.token)]
    successors, dead_links = _successors(index_of(path, ids), file.connectivity)
    nodes = {node.token: (node.x, node.y) for node in file.node}
    polygons = {polygon.token: polygon for polygon in file.polygon}

    def areas(tokens: Sequence[str]) -> NDArray[np.object_]:
        shapes = [_polygon(path, polygons[token], nodes) for token in tokens]
        return shapely.make_valid(np.array(shapes, object))

    with_path = set(ids)
    drivable = [token for area in file.drivable_area for token in area.polygon_tokens]
    crosswalks = areas([area.polygon_token for area in file.ped_crossing])
    lines = [line.polygon_token for line in file.stop_line if line.stop_line_type == _LIGHTS]
    return CityMap(
        lane_ids=np.array(ids, np.str_),
        lanes=_centerlines(path, ids, file.arcline_path_3),
        successors=successors,
        dead_links=dead_links,
        lanes_without_path=areas([n.polygon_token for n in lanes if n.token not in with_path]),
        crosswalks=crosswalks,
        walkways=areas([area.polygon_token for area in file.walkway]),
        dividers=_dividers(path, file, nodes),
        drivable_area=areas(drivable),
        signalled=_near(crosswalks, areas(lines)),
    )


def _near(shapes: NDArray[np.object_], others: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Returns which shapes are within `_AT_STOP_LINE_M` of any of the others."""
    found = shapely.STRtree(others).query(shapes, "dwithin", distance=_AT_STOP_LINE_M)[0]
    near: NDArray[np.bool_] = np.isin(np.arange(len(shapes)), found)
    return near


def _successors(
    index: Mapping[str, int], connectivity: Mapping[str, _Links]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns pairs of linked lanes ``[E, 2]`` and counts of links that lead to no lane ``[L]``.

    The official maps hold such links, so they are counted and not refused.
    """
    pairs = [
        (row, index.get(successor, -1))
        for token, row in index.items()
        if token in connectivity
        for successor in connectivity[token].outgoing
    ]
    links = np.array(pairs, np.int64).reshape(-1, 2)
    dead = links[:, 1] < 0
    return np.unique(links[~dead], axis=0), np.bincount(links[dead, 0], minlength=len(index))


def _centerlines(
    path: Path, ids: Sequence[str], arc_lines: Mapping[str, list[_ArcLine]]
) -> NDArray[np.object_]:
    """Returns the centre lines ``[L]`` of the lanes, without repeated points."""
    arcs = [arc for token in ids for arc in arc_lines[token]]
    lane_of_arc = np.repeat(np.arange(len(ids)), [len(arc_lines[token]) for token in ids])
    points, arc = arclines.discretize(
        np.array([arc.start_pose for arc in arcs]).reshape(-1, 3),
        np.array([[arclines.TURN_SIGN[s] for s in arc.shape] for arc in arcs]).reshape(-1, 3),
        np.array([arc.radius for arc in arcs]),
        np.array([arc.segment_length for arc in arcs]).reshape(-1, 3),
    )
    lane = lane_of_arc[arc]
    moved = np.hypot(*np.diff(points, axis=0).T) > _SAME_POINT_M
    distinct = np.append(True, moved | (np.diff(lane) > 0))[: len(lane)]
    points, lane = points[distinct], lane[distinct]
    short = np.flatnonzero(np.bincount(lane, minlength=len(ids)) < 2)
    if len(short):
        raise ForecastError(
            f"{path}: lane '{ids[short[0]]}' has 1 distinct point; at least 2 are needed: "
            "repair its arcline_path_3 or download the map file again"
        )
    return shapely.linestrings(points, indices=lane)


def _dividers(
    path: Path, file: _MapFile, nodes: Mapping[str, tuple[float, float]]
) -> NDArray[np.object_]:
    lines = {line.token: line.node_tokens for line in file.line}
    shapes = []
    for divider in file.road_divider + file.lane_divider:
        points = [nodes[token] for token in lines[divider.line_token]]
        if len(points) == 1:
            raise ForecastError(
                f"{path}: line '{divider.line_token}' has 1 node; 0 or at least 2 are needed: "
                "download the map file again"
            )
        shapes.append(shapely.LineString(points))  # 0 nodes are allowed: official maps have such
    return np.array(shapes, object)


def _polygon(
    path: Path, polygon: _Polygon, nodes: Mapping[str, tuple[float, float]]
) -> shapely.Polygon:
    holes = [hole.node_tokens for hole in polygon.holes if hole.node_tokens]
    shell, *inner = [[nodes[t] for t in ring] for ring in (polygon.exterior_node_tokens, *holes)]
    fewest = min(map(len, (shell, *inner)))
    if fewest < 3:
        raise ForecastError(
            f"{path}: polygon '{polygon.token}' has a ring of {fewest} nodes; at least 3 are "
            "needed: download the map file again"
        )
    return shapely.Polygon(shell, inner)


def _clip(shapes: NDArray[np.object_], box: shapely.Polygon, dimension: int) -> NDArray[np.object_]:
    """Returns the parts ``[N]`` in the box that have a dimension (2: areas, 1: lines)."""
    inside = shapely.intersection(shapes[shapely.intersects(shapes, box)], box)
    parts = shapely.get_parts(shapely.get_parts(inside))  # collections may hold collections
    return parts[shapely.get_dimensions(parts) == dimension]


def _polylines(lines: NDArray[np.object_], origin_m: NDArray[np.float64]) -> Polylines:
    points = (shapely.get_coordinates(lines) - origin_m).astype(np.float32)
    return Polylines(points, np.append(0, np.cumsum(shapely.get_num_points(lines))))


def _polygons(shapes: Iterable[shapely.Polygon], origin_m: NDArray[np.float64]) -> Polygons:
    return Polygons.of(
        [
            shapely.get_coordinates(ring)[:-1] - origin_m
            for ring in (shape.exterior, *shape.interiors)
        ]
        for shape in shapes
    )
