"""Shared space: a campus, a car park and a warehouse, without kerbs, lanes and crosswalks.

A place is a rectangle of open ground with blocks in a grid: buildings, double rows of parking bays
or racks. Vehicles drive along the gaps between blocks. People walk anywhere, on the shortest way
around the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra

from forecast.simulator.map.district import District
from forecast.simulator.map.layouts import Layout

_BORDER_M = 200.0
_FORECOURT_M = 3.0
"""Width of the walkway along the edge of a place."""
_CORNER_M, _DOOR_M, _WALL_M = 1.6, 0.9, 0.8
"""Distances from blocks: of the corners that people walk around, of doors, of ways at least."""
_DOOR_SPACING_M = 9.0
_BAY_M = (2.7, 5.2)
"""Width and depth of a parking bay."""
_JITTER = 0.12
"""The seed changes the sizes of blocks by at most this share."""


@dataclass(frozen=True)
class Kind:
    """What one kind of place has.

    Attributes:
        map_name: The place of nuScenes under whose name its map is written. The devkit opens maps
            of no other name. None of them shows that place.
        blocks: Number of blocks along x and along y.
        block_m: Size of a block along x and along y, before it is changed by the seed.
        gap_m: Width of the ways between blocks.
        open: Blocks that are left out, as (column, row).
        bays: Whether the blocks are parking bays instead of walls.
        keeps_right_m: How far vehicles drive to the right of the middle of a way.
        vehicles: Share of each sort of vehicle in `forecast.simulator.population.shared_space`.
    """

    map_name: str
    blocks: tuple[int, int]
    block_m: tuple[float, float]
    gap_m: float
    open: tuple[tuple[int, int], ...]
    bays: bool
    keeps_right_m: float
    vehicles: dict[str, float]


KINDS = {
    "shared-campus": Kind(
        "boston-seaport", (3, 3), (20.0, 16.0), 13.0, ((1, 1), (2, 0)), False, 1.6,
        {"car": 0.25, "cart": 0.45, "robot": 0.3},
    ),
    "shared-car-park": Kind(
        "singapore-onenorth", (2, 4), (32.4, 2 * _BAY_M[1]), 7.0, (), True, 1.5,
        {"car": 0.75, "cart": 0.1, "robot": 0.15},
    ),
    "shared-warehouse": Kind(
        "singapore-queenstown", (3, 5), (20.0, 3.0), 6.5, ((1, 2),), False, 1.3,
        {"forklift": 0.45, "cart": 0.2, "robot": 0.35},
    ),
}  # fmt: skip
"""The places: name -> what it has."""

LOCATIONS = tuple(KINDS)


@dataclass(frozen=True, eq=False)
class SharedSpace:
    """The ground of a shared space.

    Attributes:
        name: One of `LOCATIONS`.
        kind: What it has.
        columns_m: x of the ways that run north ``[C]``.
        rows_m: y of the ways that run east ``[R]``.
        blocks_m: Least x, least y, greatest x, greatest y of each block ``[B, 4]``.
    """

    name: str
    kind: Kind
    columns_m: NDArray[np.float64]
    rows_m: NDArray[np.float64]
    blocks_m: NDArray[np.float64]

    @cached_property
    def ground(self) -> Any:
        """The whole place as a polygon, blocks and walkway included."""
        edge = self.kind.gap_m / 2 + _FORECOURT_M
        (left, *_, right), (low, *_, high) = self.columns_m.tolist(), self.rows_m.tolist()
        return shapely.box(left - edge, low - edge, right + edge, high + edge)

    @property
    def blocks(self) -> list[Any]:
        """The blocks as polygons."""
        return [shapely.box(*block) for block in self.blocks_m.tolist()]

    @property
    def walkway(self) -> Any:
        """The strip along the edge on which no vehicle drives, as a polygon."""
        return self.ground.difference(self.ground.buffer(-_FORECOURT_M, join_style="mitre"))

    @property
    def drivable_area(self) -> Any:
        """The ground between the blocks and inside the walkway. People walk there, too."""
        return self.ground.difference(shapely.union_all([self.walkway, *self.blocks]))

    @cached_property
    def bays(self) -> NDArray[np.float64]:
        """Poses of the parking bays ``[P, 3]``, two rows back to back in each block."""
        if not self.kind.bays:
            return np.zeros((0, 3))
        rows = []
        for left, low, right, high in self.blocks_m.tolist():
            x = np.arange(left + _BAY_M[0] / 2, right - _BAY_M[0] / 2 + 1e-6, _BAY_M[0])
            for y, heading in (
                (low + _BAY_M[1] / 2, np.pi / 2),
                (high - _BAY_M[1] / 2, -np.pi / 2),
            ):
                rows.append(np.column_stack([x, np.full(len(x), y), np.full(len(x), heading)]))
        return np.concatenate(rows)

    @cached_property
    def walls(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Poses ``[W, 3]`` and sizes ``[W, 2]`` of the blocks that nobody can walk through."""
        if self.kind.bays:  # the parked vehicles in them are what is in the way
            return np.zeros((0, 3)), np.zeros((0, 2))
        low, high = self.blocks_m[:, :2], self.blocks_m[:, 2:]
        middle = (low + high) / 2
        return np.column_stack([middle, np.zeros(len(middle))]), high - low

    @cached_property
    def doors(self) -> NDArray[np.float64]:
        """Points ``[D, 2]`` that people come from and go to: along blocks and along the edge."""
        inset = self.ground.buffer(-_FORECOURT_M / 2, join_style="mitre").exterior
        around = [shapely.box(*block).buffer(_DOOR_M, join_style="mitre").exterior
                  for block in self.blocks_m.tolist()]  # fmt: skip
        rows = [
            shapely.get_coordinates(
                [ring.interpolate(at) for at in np.arange(4.0, ring.length, _DOOR_SPACING_M)]
            )
            for ring in [inset, *around]
        ]
        return np.concatenate(rows)

    @cached_property
    def _ways(self) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """The doors and corners ``[N, 2]``, and the one before the end on each shortest way."""
        grown = [shapely.box(*block).buffer(_CORNER_M, join_style="mitre")
                 for block in self.blocks_m.tolist()]  # fmt: skip
        corners = np.concatenate([np.array(shape.exterior.coords)[:4] for shape in grown])
        points = np.concatenate([self.doors, corners])
        closed = shapely.union_all(
            [shapely.box(*block).buffer(_WALL_M, join_style="mitre") for block in self.blocks_m]
        )
        shapely.prepare(closed)
        first, second = np.triu_indices(len(points), 1)
        seen = ~shapely.intersects(
            closed, shapely.linestrings(np.stack([points[first], points[second]], 1))
        )
        first, second = first[seen], second[seen]
        lengths = np.zeros((len(points), len(points)))
        lengths[first, second] = np.hypot(*(points[first] - points[second]).T)
        before = dijkstra(lengths, directed=False, return_predecessors=True)[1]
        return points, before

    def shortest_way(self, start: int, end: int) -> NDArray[np.float64]:
        """Returns the corner points ``[P, 2]`` of the way from one door to another."""
        points, before = self._ways
        chain = [end]
        while chain[-1] != start:
            chain.append(int(before[start, chain[-1]]))
        return points[chain[::-1]]


def build_shared_space(name: str, seed: int) -> District:
    """Builds the district of a shared space: no streets, no lanes and no crosswalks.

    Args:
        name: One of `LOCATIONS`.
        seed: Seed of the dataset. It sets the sizes of the blocks.
    """
    kind = KINDS[name]
    rng = np.random.default_rng([seed, 8_000 + LOCATIONS.index(name)])
    edges, ways = zip(*(_grid(kind, axis, rng) for axis in (0, 1)), strict=True)
    blocks = [
        (edges[0][i, 0], edges[1][j, 0], edges[0][i, 1], edges[1][j, 1])
        for i in range(kind.blocks[0])
        for j in range(kind.blocks[1])
        if (i, j) not in kind.open
    ]
    space = SharedSpace(name, kind, ways[0], ways[1], np.array(blocks))
    none = np.zeros((0, 2), np.int64)
    bare = District(Layout(kind.map_name, (), ()), [], [], np.zeros((0, 2, 2)), [], none, none)
    return replace(bare, shared=space)


def _grid(
    kind: Kind, axis: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns begins and ends of the blocks along an axis ``[B, 2]``, and the ways ``[B + 1]``."""
    count = kind.blocks[axis]
    sizes = kind.block_m[axis] * rng.uniform(1 - _JITTER, 1 + _JITTER, count)
    if kind.bays:
        unit = _BAY_M[0] if axis == 0 else 2 * _BAY_M[1]
        sizes = unit * np.round(sizes / unit)
    ends = _BORDER_M + np.cumsum(sizes + kind.gap_m)
    ways = np.append(_BORDER_M, ends) + kind.gap_m / 2
    return np.column_stack([ends - sizes, ends]), ways
