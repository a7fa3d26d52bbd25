"""Routes of pedestrians: over walkways and crosswalks, across the road, and at work sites."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from forecast import geometry
from forecast.simulator import boxes
from forecast.simulator.map.district import District, WalkEdge, walk_span

_TURN_SHARE = 0.13
"""Probability weight of a turn, relative to straight on."""
_JAYWALK_SHARE, _ROAD_EDGE_SHARE = 0.08, 0.06
_TOWARDS_SHARE = 0.8
"""Probability to walk towards the nearer crosswalk first."""
_WALK_M = 60.0
_CROWDING_M = 9.0
"""Scale of the distance to a crosswalk over which the density of pedestrians decreases."""
_ROAD_EDGE_M = 4.2
"""Distance from the middle of the walkway to people who walk beside the parked cars."""

Line = NDArray[np.float64]


@dataclass
class WalkingRoute:
    """A route under construction.

    Attributes:
        points_m: Corner points.
        start_m: Start of the walk. The points before it are the way back of a pedestrian who turns.
        crossings: Index of each crossing, and its line in walking direction.
    """

    points_m: list[NDArray[np.float64]]
    start_m: NDArray[np.float64]
    crossings: list[tuple[int, Line]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class WorkSite:
    """A work site in a parking strip: pose of its middle ``[3]``, length and width."""

    pose: NDArray[np.float64]
    length_m: float
    width_m: float

    def points(self, along_m: NDArray[Any], left_m: NDArray[Any]) -> NDArray[np.float64]:
        """Returns points ``[P, 2]`` from offsets to the middle, along and to the left."""
        return geometry.from_frame(
            np.stack(np.broadcast_arrays(along_m, left_m), -1), self.pose[:2], self.pose[2]
        )


def start_places(
    district: District, corridor: NDArray[Any], rng: Generator, near_m: float = 34.0
) -> list[tuple[int, float]]:
    """Draws the order of possible start places, 4 m apart on the walkways. Busy places come first.

    Args:
        district: The place.
        corridor: Points ``[P, 2]`` on the ego's route.
        rng: Random generator.
        near_m: Largest distance of a place from the corridor.

    Returns:
        Pairs of a walk edge and a distance along it.
    """
    found = []
    weights = []
    for i, edge in enumerate(district.walk_edges):
        if edge.street < 0:
            continue
        length = geometry.polyline_length(edge.points_m)
        along = np.arange(2.0, length - 2.0, 4.0)
        points = points_on(edge.points_m, along)
        apart = np.hypot(*(corridor[:, None] - points).transpose(2, 0, 1)).min(0)
        for distance in along[apart < near_m]:
            found.append((i, float(distance)))
            weights.append(np.exp(-min(distance, length - distance) / _CROWDING_M) + 0.08)
    share = np.array(weights) / sum(weights)
    return [found[i] for i in rng.choice(len(found), len(found), replace=False, p=share)]


def draw_walking_route(
    district: District,
    start: tuple[int, float],
    parked: tuple[NDArray[Any], NDArray[Any]],
    lines: list[Line],
    rng: Generator,
) -> WalkingRoute:
    """Draws a random route over the walk network.

    Args:
        district: The place.
        start: A walk edge and a distance along it.
        parked: Poses and sizes of parked vehicles. No jaywalk leads through one.
        lines: Crossings so far, from kerb to kerb. A jaywalk appends its own.
        rng: Random generator.
    """
    edge = district.walk_edges[start[0]]
    length = geometry.polyline_length(edge.points_m)
    nearer = int(start[1] > length / 2)
    target = nearer if rng.random() < _TOWARDS_SHARE else 1 - nearer
    if target == 0:
        edge = WalkEdge(edge.nodes[::-1], edge.points_m[::-1], street=edge.street)
    done = start[1] if target else length - start[1]
    behind, ahead = _split(edge.points_m, done)
    walk = WalkingRoute([*behind, ahead[0]], ahead[0])
    draw = rng.random()
    if draw < _JAYWALK_SHARE and (line := _across(district, edge, done, parked, rng)) is not None:
        walk.crossings.append((len(lines), line))
        lines.append(_kerb_to_kerb(district, line))
        edge = _opposite(district, edge)
        walk.points_m += [line[0], *_beyond(edge.points_m, line[1])]
    elif draw > 1 - _ROAD_EDGE_SHARE and length - done > 25.0:
        walk.points_m += _along_the_road(district, edge, done)
    else:
        walk.points_m += list(ahead[1:])
    _extend_randomly(district, walk, edge, rng)
    return walk


def standing_route(district: District, start: tuple[int, float]) -> WalkingRoute:
    """Returns the route of someone who stands at a place: along the edge."""
    edge = district.walk_edges[start[0]]
    behind, ahead = _split(edge.points_m, start[1])
    return WalkingRoute([*behind, *ahead], ahead[0])


def waiting_route(pose: NDArray[Any]) -> WalkingRoute:
    """Returns the route of someone who waits at a bus stop's pose ``[3]``."""
    along = np.array([np.cos(pose[2]), np.sin(pose[2])])
    return WalkingRoute([pose[:2] - 4.0 * along, pose[:2] + 4.0 * along], pose[:2])


def work_route(site: WorkSite, rng: Generator) -> WalkingRoute:
    """Draws a route of a worker inside a work site."""
    along = rng.uniform(-0.5, 0.5, 12) * (site.length_m - 1.0)
    points = site.points(along, rng.uniform(-0.5, 0.5, 12) * (site.width_m - 0.8))
    return WalkingRoute(list(points), points[0])


def points_on(line: Line, along_m: NDArray[Any]) -> Line:
    """Returns points ``[P, 2]`` at distances along a polyline."""
    ends = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    return np.stack([np.interp(along_m, ends, line[:, i]) for i in range(2)], -1)


def _split(line: Line, along_m: float) -> tuple[Line, Line]:
    """Returns a polyline's part before a place (without the place), and its part from there on."""
    ends = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    place = points_on(line, np.array([along_m]))
    return line[ends < along_m], np.concatenate([place, line[ends > along_m]])


def _beyond(line: Line, point: NDArray[Any]) -> Line:
    """Returns a point on or beside a polyline, followed by the rest of the line."""
    fine = geometry.resample_polyline(line, 200)
    nearest = int(np.hypot(*(fine - point).T).argmin())
    rest = _split(line, nearest / 199 * geometry.polyline_length(line))[1]
    return np.concatenate([point[None], rest[1:]])


def _extend_randomly(
    district: District, walk: WalkingRoute, edge: WalkEdge, rng: Generator
) -> None:
    """Extends a route over the network until it is long enough or the network ends."""
    node, came_from = edge.nodes[1], set(edge.nodes)
    line = np.array(walk.points_m)
    length = geometry.polyline_length(_beyond(line, walk.start_m))
    ahead = line[-1] - line[-2]
    while length < _WALK_M:
        options = [e for e in district.walk_edges_at[node] if set(e.nodes) != came_from]
        if not options:
            return
        ways = [e.points_m if e.nodes[0] == node else e.points_m[::-1] for e in options]
        bends = [(way[1] - way[0]) @ ahead < 0.7 * np.hypot(*(way[1] - way[0])) * np.hypot(*ahead)
                 for way in ways]  # fmt: skip
        weight = np.where(bends, _TURN_SHARE, 1.0)
        chosen = int(rng.choice(len(options), p=weight / weight.sum()))
        edge, way = options[chosen], ways[chosen]
        if edge.crosswalk >= 0:
            walk.crossings.append((edge.crosswalk, way))
        step = geometry.polyline_length(way)
        if step > 0:
            walk.points_m.extend(way[1:])
            ahead = way[-1] - way[-2]
        node, came_from = next(n for n in edge.nodes if n != node), set(edge.nodes)
        length += step


def _on_street(district: District, edge: WalkEdge, done_m: float) -> tuple[float, float, float]:
    """Returns a place on an edge in its street: distance, direction (+1 or -1), offset to left."""
    layout = district.layout
    begin, end = walk_span(layout, district.streets[edge.street])
    share = done_m / geometry.polyline_length(edge.points_m)
    forward = edge.nodes[0] % 4 < edge.nodes[1] % 4
    lateral = layout.half_road_m + layout.walkway_width_m / 2
    along = begin + (end - begin) * (share if forward else 1 - share)
    return along, 1.0 if forward else -1.0, lateral if edge.nodes[0] % 2 == 0 else -lateral


def _across(
    district: District,
    edge: WalkEdge,
    done_m: float,
    parked: tuple[NDArray[Any], NDArray[Any]],
    rng: Generator,
) -> Line | None:
    """Draws a slanted line ``[2, 2]`` across the street ahead; None if there is no room."""
    step, slant = rng.uniform(2.0, 14.0), rng.exponential(8.0)
    left = geometry.polyline_length(edge.points_m) - done_m
    if step + slant + 6.0 > left:
        return None
    along, sign, lateral = _on_street(district, edge, done_m + step)
    street = district.streets[edge.street]
    line = street.at(np.array([along, along + sign * slant]), np.array([lateral, -lateral]))
    path = geometry.resample_polyline(line, 16)
    gaps = boxes.distances(path[:, None], parked[0], parked[1][:, :2])
    return None if (gaps < 0.7).any() else line


def _along_the_road(district: District, edge: WalkEdge, done_m: float) -> list[NDArray[np.float64]]:
    """Returns the rest of an edge beside the parked cars instead of on the walkway."""
    end = geometry.polyline_length(edge.points_m)
    rows = [_on_street(district, edge, at) for at in np.linspace(done_m + 5.0, end - 5.0, 12)]
    along, _, lateral = map(np.array, zip(*rows, strict=True))
    line = district.streets[edge.street].at(along, lateral - np.sign(lateral) * _ROAD_EDGE_M)
    return [*line, edge.points_m[-1]]


def _opposite(district: District, edge: WalkEdge) -> WalkEdge:
    """Returns the walk edge on the other side of the street, in the same direction."""
    nodes = (edge.nodes[0] ^ 1, edge.nodes[1] ^ 1)
    other = next(e for e in district.walk_edges if set(e.nodes) == set(nodes))
    points = other.points_m if other.nodes == nodes else other.points_m[::-1]
    return WalkEdge(nodes, points, street=edge.street)


def _kerb_to_kerb(district: District, line: Line) -> Line:
    """Shortens a line between the middles of two walkways to the part on the road."""
    walkway = district.layout.walkway_width_m / 2
    inset = walkway / (2 * (district.layout.half_road_m + walkway))
    return np.stack([line[0] + inset * (line[1] - line[0]), line[1] - inset * (line[1] - line[0])])
