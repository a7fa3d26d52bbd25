"""A parametric district: streets, junctions, lanes, walkways and crosswalks.

Straight two-way streets lie on a grid; a street left out turns an X-junction into a T-junction.
Every street has one lane each way, a parking strip and a walkway along both sides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from forecast import geometry
from forecast.errors import ForecastError

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
        left_hand: Whether traffic keeps left.
        lane_width_m: Width of a lane.
        parking_width_m: Width of the parking strip beside it.
        walkway_width_m: Width of a walkway.
        crosswalk_width_m: Width of a crosswalk, along the street.
        corner_radius_m: Radius of the kerb at a street corner.
        arm_m: Length of the streets that lead out of the district.
    """

    location: str
    columns_m: tuple[float, ...]
    rows_m: tuple[float, ...]
    closed: frozenset[tuple[Node, Node]] = frozenset()
    left_hand: bool = False
    lane_width_m: float = 3.5
    parking_width_m: float = 2.4
    walkway_width_m: float = 4.0
    crosswalk_width_m: float = 4.0
    corner_radius_m: float = 3.0
    arm_m: float = 90.0

    def __post_init__(self) -> None:
        """Checks that there is room between the junctions; raises `ForecastError`."""
        for name in ("columns_m", "rows_m"):
            gaps = np.diff(getattr(self, name))
            if len(gaps) and gaps.min() < 4 * self.setback_m:
                raise ForecastError(
                    f"{self.location}: {name} has streets {gaps.min():.1f} m apart; "
                    f"increasing values at least {4 * self.setback_m:.1f} m apart are needed"
                )

    @property
    def half_road_m(self) -> float:
        """From the middle of a street to its kerb."""
        return self.lane_width_m + self.parking_width_m

    @property
    def crossing_m(self) -> float:
        """From the middle of a junction to the middle line of its crosswalks."""
        return self.half_road_m + self.corner_radius_m + self.crosswalk_width_m / 2

    @property
    def setback_m(self) -> float:
        """From the middle of a junction to the ends of its lanes, just before the crosswalks."""
        return self.crossing_m + self.crosswalk_width_m / 2 + 1.0


@dataclass(frozen=True)
class Piece:
    """A straight line or an arc of a lane's path.

    Attributes:
        start: Pose (x_m, y_m, heading_rad).
        length_m: Length along the path.
        curvature_per_m: Positive to the left, 0 for a straight line.
    """

    start: tuple[float, float, float]
    length_m: float
    curvature_per_m: float

    def at(self, along_m: NDArray[Any]) -> NDArray[np.float64]:
        """Poses ``[P, 3]`` at distances ``[P]`` along the piece."""
        x, y, heading = self.start
        turned = self.curvature_per_m * along_m
        chord = along_m * np.sinc(turned / 2 / np.pi)
        direction = heading + turned / 2
        return np.stack(
            [x + chord * np.cos(direction), y + chord * np.sin(direction), heading + turned], -1
        )


@dataclass(frozen=True)
class Lane:
    """A lane of a street, or a connector through a junction.

    Attributes:
        name: Unique in the district.
        path: The centre line's pieces in driving direction.
        connector: Whether it leads through a junction.
        successors: Indices of the lanes that follow.
    """

    name: str
    path: tuple[Piece, ...]
    connector: bool
    successors: tuple[int, ...] = ()

    @property
    def length_m(self) -> float:
        """Length of the centre line."""
        return sum(piece.length_m for piece in self.path)

    def poses(self, spacing_m: float) -> NDArray[np.float64]:
        """Poses ``[P, 3]`` along the lane, about ``spacing_m`` apart, both ends included."""
        rows = []
        for piece in self.path:
            count = max(int(np.ceil(piece.length_m / spacing_m)), 1) + 1
            rows.append(piece.at(np.linspace(0, piece.length_m, count)))
        return np.concatenate([rows[0], *(row[1:] for row in rows[1:])])


@dataclass(frozen=True, eq=False)
class Street:
    """A straight street between two nodes; "left" and "right" are seen from start to end."""

    nodes: tuple[Node, Node]
    start_m: NDArray[np.float64]
    end_m: NDArray[np.float64]

    @property
    def along(self) -> NDArray[np.float64]:
        """Unit vector from start to end ``[2]``."""
        step = self.end_m - self.start_m
        unit: NDArray[np.float64] = step / np.hypot(*step)
        return unit

    @property
    def left(self) -> NDArray[np.float64]:
        """Unit vector to the left ``[2]``."""
        return np.array([-self.along[1], self.along[0]])

    @property
    def length_m(self) -> float:
        """Distance between the nodes."""
        return float(np.hypot(*(self.end_m - self.start_m)))

    def strip(self, lateral_m: tuple[float, float], along_m: tuple[float, float]) -> Any:
        """The rectangle between two offsets to the left and two distances from the start."""
        corners = [(along_m[0], lateral_m[0]), (along_m[1], lateral_m[0])]
        corners += [(along_m[1], lateral_m[1]), (along_m[0], lateral_m[1])]
        return shapely.Polygon([self.start_m + a * self.along + b * self.left for a, b in corners])


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
    """

    layout: Layout
    streets: list[Street]
    lanes: list[Lane]
    crosswalks: NDArray[np.float64]
    walk_edges: list[WalkEdge] = field(repr=False)

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

    def drivable_area(self) -> list[Any]:
        """Kerb-to-kerb road surface as polygons, with the blocks as holes."""
        return _parts(_road(self))

    def walkways(self) -> list[Any]:
        """Walkway polygons around the blocks."""
        road = _road(self)
        wide = road.buffer(self.layout.walkway_width_m, quad_segs=8)
        ends = [s.strip((-20, 20), (-20, 0)) for s in self.streets if _outside(self, s.nodes[0])]
        ends += [
            s.strip((-20, 20), (s.length_m, s.length_m + 20))
            for s in self.streets
            if _outside(self, s.nodes[1])
        ]
        return _parts(wide.difference(shapely.union_all([road, *ends])))

    def crosswalk_areas(self) -> list[Any]:
        """One rectangle per crosswalk."""
        half = self.layout.crosswalk_width_m / 2
        return [shapely.LineString(line).buffer(half, cap_style="flat") for line in self.crosswalks]

    def dividers(self) -> list[NDArray[np.float64]]:
        """Middle lines of the streets between the junctions, each ``[2, 2]``."""
        return [
            np.stack([s.start_m + a * s.along, s.start_m + b * s.along])
            for s in self.streets
            for a, b in [span(self, s)]
        ]


def _closest(lines: NDArray[Any], line: NDArray[Any]) -> NDArray[np.float64]:
    """Smallest distance between the points of each line ``[C, P, 2]`` and of one ``[P, 2]``."""
    apart = lines[:, :, None] - line
    closest: NDArray[np.float64] = np.hypot(apart[..., 0], apart[..., 1]).min((1, 2))
    return closest


def span(district: District, street: Street) -> tuple[float, float]:
    """Where a street's lanes begin and end, as distances from its start."""
    setback = district.layout.setback_m
    start = 0.0 if _outside(district, street.nodes[0]) else setback
    return start, street.length_m - (0.0 if _outside(district, street.nodes[1]) else setback)


def _outside(district: District, node: Node) -> bool:
    return not _is_junction(district.layout, node)


def _is_junction(layout: Layout, node: Node) -> bool:
    return 0 <= node[0] < len(layout.columns_m) and 0 <= node[1] < len(layout.rows_m)


def _parts(area: Any) -> list[Any]:
    return [area] if area.geom_type == "Polygon" else list(area.geoms)


def _road(district: District) -> Any:
    """The road surface, with rounded kerbs at the corners."""
    half, radius = district.layout.half_road_m, district.layout.corner_radius_m
    strips = [s.strip((-half, half), (0, s.length_m)) for s in district.streets]
    squares = [
        shapely.box(x - half, y - half, x + half, y + half)
        for x in district.layout.columns_m
        for y in district.layout.rows_m
    ]
    joined = shapely.union_all(strips + squares)
    return joined.buffer(radius, quad_segs=8, join_style="mitre").buffer(-radius, quad_segs=8)


def build_district(layout: Layout) -> District:
    """Builds a district from its parameters."""
    streets = _streets(layout)
    empty = District(layout, streets, [], np.zeros((0, 2, 2)), [])
    crosswalks, edges = _walk_network(empty)
    return District(layout, streets, _lanes(empty), crosswalks, edges)


def _streets(layout: Layout) -> list[Street]:
    columns, rows = list(layout.columns_m), list(layout.rows_m)
    x = [columns[0] - layout.arm_m, *columns, columns[-1] + layout.arm_m]
    y = [rows[0] - layout.arm_m, *rows, rows[-1] + layout.arm_m]
    pairs = [((c, r), (c + 1, r)) for r in range(len(rows)) for c in range(-1, len(columns))]
    pairs += [((c, r), (c, r + 1)) for c in range(len(columns)) for r in range(-1, len(rows))]
    return [
        Street((a, b), np.array([x[a[0] + 1], y[a[1] + 1]]), np.array([x[b[0] + 1], y[b[1] + 1]]))
        for a, b in pairs
        if (a, b) not in layout.closed
    ]


def _lanes(district: District) -> list[Lane]:
    """Two lanes per street, then the connectors of every junction."""
    layout = district.layout
    side = (1 if layout.left_hand else -1) * layout.lane_width_m / 2
    lanes, ends = [], []
    for street in district.streets:
        start, end = span(district, street)
        for forward in (True, False):
            sign, first = (1, start) if forward else (-1, end)
            point = street.start_m + first * street.along + sign * side * street.left
            heading = float(np.arctan2(*(sign * street.along)[::-1]))
            piece = Piece((float(point[0]), float(point[1]), heading), end - start, 0.0)
            nodes = street.nodes if forward else street.nodes[::-1]
            lanes.append(Lane(f"lane {nodes[0]} {nodes[1]}", (piece,), connector=False))
            ends.append(nodes)
    links: dict[int, list[int]] = {}
    for i, (origin, junction) in enumerate(ends):
        for j, (leaving, target) in enumerate(ends):
            if leaving == junction and target != origin and _is_junction(layout, junction):
                links.setdefault(i, []).append(len(lanes))
                links[len(lanes)] = [j]
                lanes.append(_connector(lanes[i], lanes[j], f"{origin} {junction} {target}"))
    return [
        Lane(lane.name, lane.path, lane.connector, tuple(links.get(i, ())))
        for i, lane in enumerate(lanes)
    ]


def _connector(into: Lane, out_of: Lane, name: str) -> Lane:
    """The straight line or quarter circle from the end of one lane to the start of another."""
    start = into.path[-1].at(np.array([into.path[-1].length_m]))[0]
    end = np.array(out_of.path[0].start)
    chord = float(np.hypot(*(end - start)[:2]))
    turn = float(geometry.wrap_angle(end[2] - start[2]))
    length = chord / float(np.sinc(turn / 2 / np.pi))
    x, y, heading = map(float, start)
    piece = Piece((x, y, heading), length, turn / length)
    return Lane(f"connector {name}", (piece,), connector=True)


def _walk_network(district: District) -> tuple[NDArray[np.float64], list[WalkEdge]]:
    """Crosswalks ``[X, 2, 2]`` and walk edges: along streets, over crosswalks, around corners.

    Walk node ``4 * street + 2 * end + side`` lies beside the crosswalk at that end of that street.
    """
    layout = district.layout
    lateral = layout.half_road_m + layout.walkway_width_m / 2
    crosswalks: list[NDArray[np.float64]] = []
    edges: list[WalkEdge] = []
    arms: dict[Node, list[tuple[float, int, NDArray[np.float64]]]] = {}
    for i, street in enumerate(district.streets):
        inner = [0.0 if _outside(district, node) else layout.crossing_m for node in street.nodes]
        along = np.array([inner[0], street.length_m - inner[1]])
        middle = street.start_m + along[:, None] * street.along  # [2, 2]
        sides = np.stack([middle + lateral * street.left, middle - lateral * street.left], 1)
        edges += [WalkEdge((4 * i + s, 4 * i + 2 + s), sides[:, s], street=i) for s in (0, 1)]
        for end, node in enumerate(street.nodes):
            if _outside(district, node):
                continue
            edges.append(WalkEdge((4 * i + 2 * end, 4 * i + 2 * end + 1), sides[end],
                                  crosswalk=len(crosswalks)))  # fmt: skip
            kerb = layout.half_road_m * street.left
            crosswalks.append(np.stack([middle[end] + kerb, middle[end] - kerb]))
            outward = street.along if end == 0 else -street.along
            angle = float(np.arctan2(outward[1], outward[0])) % (2 * np.pi)
            # Seen outwards from the junction, a street's own left is right at its far end.
            left_first = sides[end] if end == 0 else sides[end][::-1]
            arms.setdefault(node, []).append((angle, 4 * i + 2 * end + end, left_first))
    for around in arms.values():
        edges += _corners(around)
    return np.array(crosswalks).reshape(-1, 2, 2), edges


def _corners(arms: list[tuple[float, int, NDArray[np.float64]]]) -> list[WalkEdge]:
    """Joins the left side of each arm of a junction to the right side of the next arm."""
    ordered = sorted(arms, key=lambda arm: arm[0])
    edges = []
    for (angle, left_node, sides), (angle_b, node_b, sides_b) in pairwise([*ordered, ordered[0]]):
        a, b = sides[0], sides_b[1]
        right_node = node_b ^ 1
        if abs(np.sin(angle_b - angle)) > 0.5:
            out = np.array([np.cos(angle), np.sin(angle)])
            corner = a + ((b - a) @ out) * out
            edges.append(WalkEdge((left_node, right_node), np.stack([a, corner, b])))
        else:
            edges.append(WalkEdge((left_node, right_node), np.stack([a, b])))
    return edges
