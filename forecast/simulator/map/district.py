"""A district: streets, junctions, lanes, walkways and crosswalks, built from a layout.

Streets join the nodes of a grid. A missing street turns an X-junction into a T-junction. If a node
is moved aside, its streets bend towards it in two arcs. A street has a lane each way, or one way
only, and a parking strip and a walkway along both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from forecast import geometry
from forecast.simulator.map.lanes import Lane, Piece, bend, connect, trim
from forecast.simulator.map.layouts import Layout, Node

if TYPE_CHECKING:
    from forecast.simulator.map.shared_space import SharedSpace

_CLEARANCE_M = 2.6
"""Vehicles cannot pass each other if their centre lines come closer than this."""


@dataclass(frozen=True, eq=False)
class Street:
    """A street between two nodes. "Left" is seen from its start.

    Attributes:
        nodes: The nodes at its start and its end.
        path: Its centre line.
        lanes: Whether it has a lane from start to end, and whether it has one back.
    """

    nodes: tuple[Node, Node]
    path: tuple[Piece, ...]
    lanes: tuple[bool, bool]

    @cached_property
    def length_m(self) -> float:
        """Length of the centre line between the nodes."""
        return sum(piece.length_m for piece in self.path)

    @property
    def axis(self) -> int:
        """0 for a street that leads east, 1 for one that leads north."""
        return int(self.nodes[0][0] == self.nodes[1][0])

    def poses(self, along_m: NDArray[Any]) -> NDArray[np.float64]:
        """Returns poses ``[P, 3]`` on the centre line, which is straight beyond its ends."""
        ends = np.cumsum([piece.length_m for piece in self.path])
        which = np.minimum(np.searchsorted(ends, along_m), len(self.path) - 1)
        result = np.zeros((len(along_m), 3))
        for i, piece in enumerate(self.path):
            here = which == i
            result[here] = piece.at(along_m[here] - ends[i] + piece.length_m)
        return result

    def at(self, along_m: NDArray[Any], left_m: NDArray[Any] | float) -> NDArray[np.float64]:
        """Returns points ``[P, 2]`` at distances from the start and offsets to the left."""
        poses = self.poses(np.atleast_1d(np.asarray(along_m, float)))
        normal = np.stack([-np.sin(poses[:, 2]), np.cos(poses[:, 2])], -1)
        points: NDArray[np.float64] = poses[:, :2] + np.reshape(left_m, (-1, 1)) * normal
        return points

    def line(self, begin_m: float, end_m: float, left_m: float) -> NDArray[np.float64]:
        """Returns a parallel of the centre line ``[P, 2]``; two points if it is straight."""
        count = 2 if len(self.path) == 1 else max(int((end_m - begin_m) / 2.0), 2)
        return self.at(np.linspace(begin_m, end_m, count), left_m)

    def strip(self, left_m: tuple[float, float], along_m: tuple[float, float]) -> Any:
        """Returns the area between two offsets to the left and two distances from the start."""
        sides = [self.line(*along_m, left_m[0]), self.line(*along_m, left_m[1])[::-1]]
        return shapely.Polygon(np.concatenate(sides))


@dataclass(frozen=True, eq=False)
class WalkEdge:
    """An edge of the network that pedestrians walk on.

    Attributes:
        nodes: Indices of its two ends.
        points_m: Its centre line from the first end to the second ``[P, 2]``.
        crosswalk: Index of the crosswalk that it is, or -1.
        street: Index of the street that it runs along, or -1.
    """

    nodes: tuple[int, int]
    points_m: NDArray[np.float64]
    crosswalk: int = -1
    street: int = -1


@dataclass(frozen=True, eq=False)
class District:
    """Everything in a place that does not move.

    Attributes:
        layout: The parameters it was built from.
        streets: Streets between neighbouring nodes.
        lanes: Lanes and connectors.
        crosswalks: Centre lines from kerb to kerb ``[X, 2, 2]``.
        walk_edges: The network that pedestrians walk on.
        lane_signals: For each connector, the signalled junction it leads through (an index into
            `Layout.signalled`, or -1) and the axis of the street it comes from ``[L, 2]``.
        crosswalk_signals: For each crosswalk, the signalled junction and the axis of the street
            that it crosses ``[X, 2]``.
        shared: The ground of a shared space, which has no streets; None in a district of streets.
    """

    layout: Layout
    streets: list[Street]
    lanes: list[Lane]
    crosswalks: NDArray[np.float64]
    walk_edges: list[WalkEdge] = field(repr=False)
    lane_signals: NDArray[np.int64]
    crosswalk_signals: NDArray[np.int64]
    shared: SharedSpace | None = None

    @cached_property
    def walk_edges_at(self) -> dict[int, list[WalkEdge]]:
        """The walk edges at each walk node."""
        found: dict[int, list[WalkEdge]] = {}
        for edge in self.walk_edges:
            for node in edge.nodes:
                found.setdefault(node, []).append(edge)
        return found

    @cached_property
    def conflicts(self) -> NDArray[np.bool_]:
        """Pairs of lanes that may not be used at the same time ``[L, L]``: connectors in conflict.

        Their centre lines come close. Connectors that start at the same lane are not in conflict,
        because their vehicles drive one behind the other.
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
    """Returns the smallest distance between each line ``[C, P, 2]`` and one line ``[P, 2]``."""
    apart = lines[:, :, None] - line
    closest: NDArray[np.float64] = np.hypot(apart[..., 0], apart[..., 1]).min((1, 2))
    return closest


def span(layout: Layout, street: Street) -> tuple[float, float]:
    """Returns where a street's lanes begin and end, as distances from its start."""
    return _between(layout, street, layout.setback_m)


def walk_span(layout: Layout, street: Street) -> tuple[float, float]:
    """Returns where the crosswalks at the ends of a street are, as distances from its start."""
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
    """Builds a district from its layout."""
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
    """Returns the centre line of a street: straight, or with two arcs towards a moved node."""
    start, end = layout.node_m(nodes[0]), layout.node_m(nodes[1])
    heading = 0.0 if nodes[0][1] == nodes[1][1] else np.pi / 2
    step: NDArray[np.float64] = geometry.rotate(end - start, np.array(-heading))
    ahead, aside = step.tolist()
    x, y = start.tolist()
    return bend((x, y, heading), ahead, aside, layout.setback_m + 1.0)


def _street_lanes(layout: Layout, street: Street) -> Iterator[tuple[Lane, tuple[Node, Node]]]:
    """Yields the lanes of a street, each with the nodes it leads from and to."""
    side = (1 if layout.left_hand_traffic else -1) * layout.lane_width_m / 2
    way = trim(street.path, *span(layout, street))
    back = tuple(piece.reverse() for piece in way[::-1])
    directions = zip(street.lanes, (way, back), (street.nodes, street.nodes[::-1]), strict=True)
    for exists, pieces, nodes in directions:
        if exists:
            path = tuple(piece.beside(side) for piece in pieces)
            yield Lane(f"lane {nodes[0]} {nodes[1]}", path, connector=False), nodes


def _lanes(layout: Layout, streets: list[Street]) -> tuple[list[Lane], NDArray[np.int64]]:
    """Returns the lanes of the streets, then all connectors; and the signals of each."""
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
    """Returns crosswalks ``[X, 2, 2]``, walk edges, and the crosswalks' signals ``[X, 2]``.

    Walk edges lead along streets, over crosswalks and around corners. The walk node ``4 * street +
    2 * end + side`` is beside the crosswalk at that end of that street.
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
            # Seen outwards from the junction, the left side of a street is on the right at its end.
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
