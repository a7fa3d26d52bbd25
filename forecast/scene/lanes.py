"""The map of a scene: lane centre lines, crosswalks, walkways, dividers, drivable area."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError


@dataclass(frozen=True, eq=False)
class Polylines:
    """A list of polylines in two flat arrays.

    Attributes:
        points_m: All points, one line after the other ``[N, 2]``.
        offsets: Line i owns the points ``offsets[i]:offsets[i + 1]``; ``[M + 1]``.
    """

    points_m: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))

    def __post_init__(self) -> None:
        """Checks that the offsets cover the points; raises `ForecastError`."""
        covered = self.offsets[0] == 0 and self.offsets[-1] == len(self.points_m)
        if not covered or (np.diff(self.offsets) < 0).any():
            raise ForecastError(f"polyline offsets do not cover {len(self.points_m)} points")
        if not np.isfinite(self.points_m).all():
            raise ForecastError("a map point is not finite; repair the map file")

    @classmethod
    def of(cls, lines: Iterable[NDArray[Any]]) -> Polylines:
        """Packs polylines ``[P, 2]`` of any lengths."""
        rows = [np.asarray(line, np.float32).reshape(-1, 2) for line in lines]
        points = np.concatenate(rows) if rows else np.zeros((0, 2), np.float32)
        return cls(points, np.cumsum([0, *map(len, rows)], dtype=np.int64))

    def __repr__(self) -> str:
        return f"Polylines({len(self)} lines, {len(self.points_m)} points)"

    def __len__(self) -> int:
        """Number of polylines M."""
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Points ``[P, 2]`` of one polyline."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.points_m[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self[i] for i in range(len(self)))


@dataclass(frozen=True, eq=False)
class Polygons:
    """A list of polygons with holes.

    Attributes:
        rings: Rings of all polygons, not closed (the last point is not the first again).
        offsets: Polygon i owns the rings ``offsets[i]:offsets[i + 1]``, the outer one first.
    """

    rings: Polylines = field(default_factory=Polylines)
    offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))

    @classmethod
    def of(cls, polygons: Iterable[list[NDArray[Any]]]) -> Polygons:
        """Packs polygons, each a list of rings ``[P, 2]`` with the outer ring first."""
        rows = list(polygons)
        rings = Polylines.of(ring for polygon in rows for ring in polygon)
        return cls(rings, np.cumsum([0, *map(len, rows)], dtype=np.int64))

    def __repr__(self) -> str:
        return f"Polygons({len(self)} polygons, {len(self.rings.points_m)} points)"

    def __len__(self) -> int:
        """Number of polygons."""
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> list[NDArray[np.float32]]:
        """Rings of one polygon, the outer one first."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return [self.rings[i] for i in range(self.offsets[index], self.offsets[index + 1])]

    def __iter__(self) -> Iterator[list[NDArray[np.float32]]]:
        return (self[i] for i in range(len(self)))


@dataclass(frozen=True, eq=False)
class LaneMap:
    """The map around a scene, relative to the scene's origin. Any part may be empty.

    ``LaneMap(np.array(["a"]), Polylines.of([[[0, 0], [100, 0]]]))`` is one lane, with the class
    `forecast.scene.Polylines`. A GeoJSON file is read by ``forecast prepare --map``.

    Attributes:
        lane_ids: Names of the lanes and lane connectors ``[L]``.
        centerlines: Their centre lines in driving direction, at least 2 points each.
        successors: Pairs ``[E, 2]`` of lane indices: traffic flows from the first to the second.
        crosswalks: Pedestrian crossings.
        walkways: Pavements.
        dividers: Road and lane dividers.
        drivable_area: Where vehicles may drive.
        signalled: Which crosswalks are known to have traffic lights ``[C]``; empty: none.
    """

    lane_ids: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, "<U1"))
    centerlines: Polylines = field(default_factory=Polylines)
    successors: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    crosswalks: Polygons = field(default_factory=Polygons)
    walkways: Polygons = field(default_factory=Polygons)
    dividers: Polylines = field(default_factory=Polylines)
    drivable_area: Polygons = field(default_factory=Polygons)
    signalled: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    def __post_init__(self) -> None:
        """Checks lanes, their links and lights; raises `ForecastError`."""
        if not len(self.signalled) or not len(self.crosswalks):
            object.__setattr__(self, "signalled", np.zeros(len(self.crosswalks), bool))
        if len(self.signalled) != len(self.crosswalks):
            raise ForecastError(
                f"signalled has {len(self.signalled)} values for {len(self.crosswalks)} "
                "crosswalks; one each is needed"
            )
        if len(self.lane_ids) != len(self.centerlines):
            raise ForecastError(
                f"{len(self.lane_ids)} lane_ids for {len(self.centerlines)} centerlines; "
                "one each is needed"
            )
        short = np.flatnonzero(np.diff(self.centerlines.offsets) < 2)
        if len(short):
            points = np.diff(self.centerlines.offsets)[short[0]]
            raise ForecastError(
                f"lane '{self.lane_ids[short[0]]}' has {points} point(s); at least 2 are needed"
            )
        if (
            self.successors.size
            and not ((self.successors >= 0) & (self.successors < len(self.lane_ids))).all()
        ):
            raise ForecastError("successors name a lane that is not in the map")

    def __repr__(self) -> str:
        areas = f"{len(self.crosswalks)} crosswalks, {len(self.walkways)} walkways"
        return f"LaneMap({len(self)} lanes, {areas})"

    def __len__(self) -> int:
        """Number of lanes L."""
        return len(self.lane_ids)
