"""Cuts a map into short pieces of line: lane centre lines, edges of areas, ways over crosswalks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from forecast import geometry
from forecast.graphs.conflicts import CONFLICTS, conflict_points
from forecast.scene import LaneMap
from forecast.scene.lanes import Polygons


class MapKind(IntEnum):
    """What a map piece is part of."""

    LANE = 0
    CROSSWALK = 1
    WALKWAY = 2
    DRIVABLE_AREA = 3
    CROSSING = 4
    """The way over a crosswalk, from kerb to kerb; without lights, as far as is known."""
    SIGNALLED_CROSSING = 5


EDGES = (MapKind.CROSSWALK, MapKind.WALKWAY, MapKind.DRIVABLE_AREA)
CROSSINGS = (MapKind.CROSSING, MapKind.SIGNALLED_CROSSING)


@dataclass(frozen=True, eq=False)
class MapPieces:
    """A map as short lines of P points each.

    Attributes:
        points_m: ``[M, P, 2]``; lanes in driving direction, edges with their area on the left, and
            ways over crosswalks in either direction.
        kinds: `MapKind` values ``[M]``.
        follows: Pairs of pieces ``[2, E]``; the second starts where the first ends.
        conflicts: Where the lanes ahead of each piece meet crosswalks ``[M, K, 4]``, see
            `conflict_points`.
    """

    points_m: NDArray[np.float32]
    kinds: NDArray[np.int64]
    follows: NDArray[np.int64]
    conflicts: NDArray[np.float32]

    @cached_property
    def middles_m(self) -> NDArray[np.float32]:
        """Mean of the points of each piece ``[M, 2]``."""
        return self.points_m.mean(axis=1)

    @cached_property
    def tree(self) -> cKDTree | None:
        """Search tree over `middles_m`; None without pieces."""
        return cKDTree(self.middles_m) if len(self.points_m) else None

    @classmethod
    def none(cls, points: int) -> MapPieces:
        """A map without pieces; a piece would have that many points."""
        nothing = np.zeros(0, np.int64)
        lines, conflicts = (
            np.zeros((0, points, 2), np.float32),
            np.zeros((0, CONFLICTS, 4), np.float32),
        )
        return cls(lines, nothing, nothing.reshape(2, 0), conflicts)

    def select(self, keep: NDArray[np.bool_]) -> MapPieces:
        """The pieces of a mask ``[M]`` and the links between them."""
        renamed = np.cumsum(keep) - 1
        follows = renamed[self.follows[:, keep[self.follows].all(axis=0)]]
        return MapPieces(self.points_m[keep], self.kinds[keep], follows, self.conflicts[keep])


@lru_cache(maxsize=2048)
def cut_map(lane_map: LaneMap, piece_m: float, points: int) -> MapPieces:
    """Cuts all lines of a map into pieces of about equal length; cached for recent maps.

    Args:
        lane_map: A map.
        piece_m: Wanted length of a piece.
        points: Points per piece P.
    """
    pieces: list[NDArray[np.float64]] = []
    kinds: list[int] = []
    first, last, links = [], [], []
    for kind, line in _lines(lane_map):
        whole = kind in CROSSINGS
        count = 1 if whole else max(1, round(geometry.polyline_length(line) / piece_m))
        dense = geometry.resample_polyline(line, count * (points - 1) + 1)
        start = len(pieces)
        pieces += [dense[i * (points - 1) :][:points] for i in range(count)]
        kinds += [kind] * count
        first.append(start)
        last.append(start + count - 1)
        links += [(start + i, start + i + 1) for i in range(count - 1)]
        if kind in EDGES and count > 1:  # the edge of an area is closed
            links.append((start + count - 1, start))
    links += [(last[a], first[b]) for a, b in lane_map.successors]
    if not pieces:
        return MapPieces.none(points)
    follows = np.array(links, np.int64).reshape(-1, 2).T
    lines, of = np.asarray(pieces, np.float32), np.array(kinds, np.int64)
    conflicts = conflict_points(lines, of == MapKind.LANE, np.isin(of, CROSSINGS), follows)
    return MapPieces(lines, of, follows, conflicts)


def _lines(lane_map: LaneMap) -> Iterator[tuple[MapKind, NDArray[np.float32]]]:
    """Every line with its kind; lanes come first, in the map's order, so `successors` apply."""
    for line in lane_map.centerlines:
        yield MapKind.LANE, line
    areas = {
        MapKind.CROSSWALK: lane_map.crosswalks,
        MapKind.WALKWAY: lane_map.walkways,
        MapKind.DRIVABLE_AREA: lane_map.drivable_area,
    }
    for kind, polygons in areas.items():
        for edge in _edges(polygons):
            yield kind, edge
    for way, has_lights in zip(ways_over(lane_map.crosswalks), lane_map.signalled, strict=True):
        if way is not None:
            yield MapKind.SIGNALLED_CROSSING if has_lights else MapKind.CROSSING, way


def ways_over(crosswalks: Polygons) -> list[NDArray[np.float32] | None]:
    """The way over each crosswalk: its long axis ``[2, 2]``; None for one without an area."""
    return [_long_axis(shapely.Polygon(rings[0]).minimum_rotated_rectangle) for rings in crosswalks]


def _long_axis(box: shapely.Geometry) -> NDArray[np.float32] | None:
    if box.geom_type != "Polygon":
        return None
    corners = shapely.get_coordinates(box)[:4]
    middles = (corners + np.roll(corners, -1, axis=0)) / 2
    first, second = middles[::2], middles[1::2]
    is_first = np.linalg.norm(np.diff(first, axis=0)) >= np.linalg.norm(np.diff(second, axis=0))
    return (first if is_first else second).astype(np.float32)


def _edges(polygons: Polygons) -> Iterator[NDArray[np.float32]]:
    """The closed rings of polygons, with the inside of the polygon on the left."""
    for polygon in polygons:
        for place, ring in enumerate(polygon):
            closed = np.concatenate([ring, ring[:1]])
            outer = place == 0
            yield closed if (_signed_area(ring) > 0) == outer else closed[::-1]


def _signed_area(ring: NDArray[np.float32]) -> float:
    """Area of a ring ``[P, 2]``, positive if it runs counter-clockwise."""
    x, y = (ring - ring.mean(axis=0)).T.astype(np.float64)
    return float(0.5 * (x @ np.roll(y, -1) - y @ np.roll(x, -1)))
