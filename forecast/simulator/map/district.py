"""A parametric district: streets, junctions, lanes, walkways and crosswalks.

Streets join the nodes of a grid; a street left out turns an X-junction into a T-junction, and where
a node is moved aside its streets bend towards it in two arcs. A street has a lane each way, or one
way only, a parking strip and a walkway along both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from forecast import geometry
from forecast.errors import ForecastError
from forecast.simulator.map.lanes import Lane, Piece, bend, connect, trim

Node = tuple[int, int]
"""Column and row of a junction; -1 and the number of streets are the ends beyond the last one."""


_CLEARANCE_M = 2.6
"""Vehicles whose middle lines come closer than this cannot pass each other."""


@dataclass(frozen=True)
class Layout:
    """Parameters of a district.

    Attributes:
        location: Name of the place; the map file is called so.
        columns_m: x of the streets that run north.
        rows_m: y of the streets that run east.
        closed: Pairs of neighbouring nodes without a street between them.
        moved_m: Junctions that lie off the grid, and how far (x, y).
        one_way: Streets with one lane only, as (from, to).
        signalled: Junctions with traffic lights.
        left_hand: Whether traffic keeps left.
        lane_width_m: Width of a lane.
        parking_width_m: Width of the parking strip beside it.
        walkway_width_m: Width of a walkway.
        crosswalk_width_m: Width of a crosswalk, along the street.
        corner_radius_m: Radius of the kerb at a street corner; with half a walkway's width, people
            who walk straight on come to the next crosswalk.
        arm_m: Length of the streets that lead out of the district.
    """

    location: str
    columns_m: tuple[float, ...]
    rows_m: tuple[float, ...]
    closed: frozenset[tuple[Node, Node]] = frozenset()
    moved_m: tuple[tuple[Node, tuple[float, float]], ...] = ()
    one_way: frozenset[tuple[Node, Node]] = frozenset()
    signalled: tuple[Node, ...] = ()
    left_hand: bool = False
    lane_width_m: float = 3.5
    parking_width_m: float = 2.4
    walkway_width_m: float = 4.0
    crosswalk_width_m: float = 4.0
    corner_radius_m: float = 2.0
    arm_m: float = 90.0

    def __post_init__(self) -> None:
        """Checks that there is room between the junctions; raises `ForecastError`."""
        least = 4 * self.setback_m
        for name in ("columns_m", "rows_m"):
            gaps = np.diff(getattr(self, name))
            if len(gaps) and gaps.min() < least:
                raise ForecastError(
                    f"{self.location}: {name} has streets {gaps.min():.1f} m apart; "
                    f"increasing values at least {least:.1f} m apart are needed"
                )
        for node, shift in self.moved_m:
            if max(map(abs, shift)) > least / 4:
                raise ForecastError(
                    f"{self.location}: moved_m moves node {node} by {shift} m; "
                    f"at most {least / 4:.1f} m each way is possible"
                )

    def node_m(self, node: Node) -> NDArray[np.float64]:
        """Where a junction is, or an end of a street that leads out of the district ``[2]``."""
        column = min(max(node[0], 0), len(self.columns_m) - 1)
        row = min(max(node[1], 0), len(self.rows_m) - 1)
        shift = dict(self.moved_m).get((column, row), (0.0, 0.0))
        out = self.arm_m * (np.array(node) - (column, row))
        place: NDArray[np.float64] = np.array([self.columns_m[column], self.rows_m[row]])
        return place + shift + out

    @property
    def half_road_m(self) -> float:
        """From the middle of a street to its kerb."""
        return self.lane_width_m + self.parking_width_m

    @property
    def crossing_m(self) -> float:
        """From the middle of a junction to the middle line of its crosswalks."""
        return self.half_road_m + self.corner_radius_m

    @property
    def setback_m(self) -> float:
        """From the middle of a junction to the ends of its lanes, just before the crosswalks."""
        return self.crossing_m + self.crosswalk_width_m / 2 + 1.0


@dataclass(frozen=True, eq=False)
class Street:
    """A street between two nodes; "left" is seen from its start.

    Attributes:
        nodes: Where it begins and ends.
        path: Its middle line.
        lanes: Whether it has a lane from start to end, and one back.
    """

    nodes: tuple[Node, Node]
    path: tuple[Piece, ...]
    lanes: tuple[bool, bool]

    @cached_property
    def length_m(self) -> float:
        """Length of the middle line between the nodes."""
        return sum(piece.length_m for piece in self.path)

    @property
    def axis(self) -> int:
        """0 for a street that leads east, 1 for one that leads north."""
        return int(self.nodes[0][0] == self.nodes[1][0])

    def poses(self, along_m: NDArray[Any]) -> NDArray[np.float64]:
        """Poses ``[P, 3]`` on the middle line; it goes straight on beyond its ends."""
        ends = np.cumsum([piece.length_m for piece in self.path])
        which = np.minimum(np.searchsorted(ends, along_m), len(self.path) - 1)
        result = np.zeros((len(along_m), 3))
        for i, piece in enumerate(self.path):
            here = which == i
            result[here] = piece.at(along_m[here] - ends[i] + piece.length_m)
        return result

    def at(self, along_m: NDArray[Any], left_m: NDArray[Any] | float) -> NDArray[np.float64]:
        """Points ``[P, 2]`` at distances from the start and offsets to the left."""
        poses = self.poses(np.atleast_1d(np.asarray(along_m, float)))
        normal = np.stack([-np.sin(poses[:, 2]), np.cos(poses[:, 2])], -1)
        points: NDArray[np.float64] = poses[:, :2] + np.reshape(left_m, (-1, 1)) * normal
        return points

    def line(self, begin_m: float, end_m: float, left_m: float) -> NDArray[np.float64]:
        """A parallel of the middle line as a polyline ``[P, 2]``; two points if it is straight."""
        count = 2 if len(self.path) == 1 else max(int((end_m - begin_m) / 2.0), 2)
        return self.at(np.linspace(begin_m, end_m, count), left_m)

    def strip(self, left_m: tuple[float, float], along_m: tuple[float, float]) -> Any:
        """The area between two offsets to the left and two distances from the start."""
        sides = [self.line(*along_m, left_m[0]), self.line(*along_m, left_m[1])[::-1]]
        return shapely.Polygon(np.concatenate(sides))


@dataclass(frozen=True, eq=False)
class WalkEdge:
    """A stretch that people walk along.

    Attributes:
        nodes: Indices of its two ends.
        points_m: Its middle line from the first to the second ``[P, 2]``.
        crosswalk: Index of the crosswalk it is, or -1.
        street: Index of the street it runs along, or -1.
    """

    nodes: tuple[int, int]
    points_m: NDArray[np.float64]
    crosswalk: int = -1
    street: int = -1


@dataclass(frozen=True, eq=False)
class District:
    """Everything fixed in a place.

    Attributes:
        layout: The parameters it was built from.
        streets: Streets between neighbouring nodes.
        lanes: Lanes and connectors.
        crosswalks: Middle lines from kerb to kerb ``[X, 2, 2]``.
        walk_edges: The network people walk on.
        lane_signals: Signalled junction a connector leads through, as an index into
            `Layout.signalled` or -1, and the axis of the street it comes from ``[L, 2]``.
        crosswalk_signals: The same for crosswalks: the axis of the street crossed ``[X, 2]``.
    """

    layout: Layout
    streets: list[Street]
    lanes: list[Lane]
    crosswalks: NDArray[np.float64]
    walk_edges: list[WalkEdge] = field(repr=False)
    lane_signals: NDArray[np.int64]
    crosswalk_signals: NDArray[np.int64]

    @cached_property
    def walk_edges_at(self) -> dict[int, list[WalkEdge]]:
        """The walk edges that end at each walk node."""
        found: dict[int, list[WalkEdge]] = {}
        for edge in self.walk_edges:
            for node in edge.nodes:
                found.setdefault(node, []).append(edge)
        return found

    @cached_property
    def conflicts(self) -> NDArray[np.bool_]:
        """Pairs of connectors that may not be used at the same time, as lanes ``[L, L]``.

        Their middle lines come close; those that leave the same lane queue up anyway.
        """
        where = [i for i, lane in enumerate(self.lanes) if lane.connector]
        lines = [self.lanes[i].path[0] for i in where]
        points = np.stack([p.at(np.linspace(0, p.length_m, 10))[:, :2] for p in lines])
        apart = np.stack([_closest(points, line) for line in points])
        start = points[:, 0]
        same_start = np.hypot(*(start[:, None] - start).transpose(2, 0, 1)) < 1.0
        result = np.zeros((len(self.lanes), len(self.lanes)), bool)
        result[np.ix_(where, where)] = (apart < _CLEARANCE_M) & ~same_start
        return result


def _closest(lines: NDArray[Any], line: NDArray[Any]) -> NDArray[np.float64]:
    """Smallest distance between the points of each line ``[C, P, 2]`` and of one ``[P, 2]``."""
    apart = lines[:, :, None] - line
    closest: NDArray[np.float64] = np.hypot(apart[..., 0], apart[..., 1]).min((1, 2))
    return closest


def span(layout: Layout, street: Street) -> tuple[float, float]:
    """Where a street's lanes begin and end, as distances from its start."""
    return _between(layout, street, layout.setback_m)


def walk_span(layout: Layout, street: Street) -> tuple[float, float]:
    """Where the crosswalks at the ends of a street are, as distances from its start."""
    return _between(layout, street, layout.crossing_m)


def _between(layout: Layout, street: Street, inset_m: float) -> tuple[float, float]:
    first, last = (0.0 if outside(layout, node) else inset_m for node in street.nodes)
    return first, street.length_m - last


def outside(layout: Layout, node: Node) -> bool:
    """Whether a node is an end beyond the last junction."""
    return not _is_junction(layout, node)


def _is_junction(layout: Layout, node: Node) -> bool:
    return 0 <= node[0] < len(layout.columns_m) and 0 <= node[1] < len(layout.rows_m)


def build_district(layout: Layout) -> District:
    """Builds a district from its parameters."""
    streets = _streets(layout)
    lanes, lane_signals = _lanes(layout, streets)
    crosswalks, edges, crosswalk_signals = _walk_network(layout, streets)
    return District(layout, streets, lanes, crosswalks, edges, lane_signals, crosswalk_signals)


def _streets(layout: Layout) -> list[Street]:
    columns, rows = range(len(layout.columns_m)), range(len(layout.rows_m))
    one_way = layout.one_way
    pairs = [((c, r), (c + 1, r)) for r in rows for c in range(-1, len(columns))]
    pairs += [((c, r), (c, r + 1)) for c in columns for r in range(-1, len(rows))]
    return [
        Street((a, b), _path(layout, (a, b)), ((b, a) not in one_way, (a, b) not in one_way))
        for a, b in pairs
        if (a, b) not in layout.closed
    ]


def _path(layout: Layout, nodes: tuple[Node, Node]) -> tuple[Piece, ...]:
    """The middle line of a street: straight, or with two arcs that bring it to a moved node."""
    start, end = layout.node_m(nodes[0]), layout.node_m(nodes[1])
    heading = 0.0 if nodes[0][1] == nodes[1][1] else np.pi / 2
    step: NDArray[np.float64] = geometry.rotate(end - start, np.array(-heading))
    ahead, aside = step.tolist()
    x, y = start.tolist()
    return bend((x, y, heading), ahead, aside, layout.setback_m + 1.0)


def _street_lanes(layout: Layout, street: Street) -> Iterator[tuple[Lane, tuple[Node, Node]]]:
    """The lanes of a street, each with the nodes it leads from and to."""
    side = (1 if layout.left_hand else -1) * layout.lane_width_m / 2
    way = trim(street.path, *span(layout, street))
    back = tuple(piece.reverse() for piece in way[::-1])
    directions = zip(street.lanes, (way, back), (street.nodes, street.nodes[::-1]), strict=True)
    for exists, pieces, nodes in directions:
        if exists:
            path = tuple(piece.beside(side) for piece in pieces)
            yield Lane(f"lane {nodes[0]} {nodes[1]}", path, connector=False), nodes


def _lanes(layout: Layout, streets: list[Street]) -> tuple[list[Lane], NDArray[np.int64]]:
    """The lanes of the streets, then the connectors of every junction; and their signals."""
    made = [row for street in streets for row in _street_lanes(layout, street)]
    lanes, ends = [lane for lane, _ in made], [nodes for _, nodes in made]
    signals = [(-1, 0)] * len(lanes)
    links: dict[int, list[int]] = {}
    for i, (origin, junction) in enumerate(ends):
        for j, (leaving, target) in enumerate(ends):
            if leaving == junction and target != origin and _is_junction(layout, junction):
                links.setdefault(i, []).append(len(lanes))
                links[len(lanes)] = [j]
                lanes.append(connect(lanes[i], lanes[j], f"{origin} {junction} {target}"))
                signals.append((_signal(layout, junction), int(origin[0] == junction[0])))
    linked = [
        Lane(lane.name, lane.path, lane.connector, tuple(links.get(i, ())))
        for i, lane in enumerate(lanes)
    ]
    return linked, np.array(signals)


def _signal(layout: Layout, node: Node) -> int:
    return layout.signalled.index(node) if node in layout.signalled else -1


def _walk_network(
    layout: Layout, streets: list[Street]
) -> tuple[NDArray[np.float64], list[WalkEdge], NDArray[np.int64]]:
    """Crosswalks ``[X, 2, 2]``, walk edges along streets, over crosswalks and around corners.

    Walk node ``4 * street + 2 * end + side`` lies beside the crosswalk at that end of that street.
    The last result are the crosswalks' signals.
    """
    lateral = layout.half_road_m + layout.walkway_width_m / 2
    crosswalks: list[NDArray[np.float64]] = []
    edges: list[WalkEdge] = []
    signals: list[tuple[int, int]] = []
    arms: dict[Node, list[tuple[float, int, NDArray[np.float64]]]] = {}
    for i, street in enumerate(streets):
        begin, end = walk_span(layout, street)
        lines = [street.line(begin, end, side * lateral) for side in (1, -1)]
        edges += [WalkEdge((4 * i + s, 4 * i + 2 + s), lines[s], street=i) for s in (0, 1)]
        for last, node in enumerate(street.nodes):
            if outside(layout, node):
                continue
            sides = np.stack([line[-last] for line in lines])
            edges.append(WalkEdge((4 * i + 2 * last, 4 * i + 2 * last + 1), sides,
                                  crosswalk=len(crosswalks)))  # fmt: skip
            inset = layout.walkway_width_m / 2 / (2 * lateral)
            crosswalks.append(sides + inset * (sides[::-1] - sides))
            signals.append((_signal(layout, node), street.axis))
            angle = (street.axis * np.pi / 2 + last * np.pi) % (2 * np.pi)
            # Seen outwards from the junction, a street's own left is right at its far end.
            left_first = sides[::-1] if last else sides
            arms.setdefault(node, []).append((angle, 4 * i + 2 * last + last, left_first))
    for around in arms.values():
        edges += _corners(around)
    return np.array(crosswalks).reshape(-1, 2, 2), edges, np.array(signals).reshape(-1, 2)


def _corners(arms: list[tuple[float, int, NDArray[np.float64]]]) -> list[WalkEdge]:
    """Joins the left side of each arm of a junction to the right side of the next arm."""
    ordered = sorted(arms, key=lambda arm: arm[0])
    edges = []
    for (_, left_node, sides), (_, node_b, sides_b) in pairwise([*ordered, ordered[0]]):
        edges.append(WalkEdge((left_node, node_b ^ 1), np.stack([sides[0], sides_b[1]])))
    return edges
