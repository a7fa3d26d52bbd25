"""Who walks: pedestrians, their groups, routes, speeds and habits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from forecast.datasets.town import routes
from forecast.datasets.town.fleet import Fleet, ego_corridor
from forecast.datasets.town.streets import District, WalkEdge

_AGES = {
    "adult": (0.80, "human.pedestrian.adult", (1.32, 0.22), (0.72, 0.68, 1.74)),
    "elder": (0.12, "human.pedestrian.adult", (0.98, 0.18), (0.70, 0.68, 1.66)),
    "child": (0.08, "human.pedestrian.child", (1.20, 0.25), (0.50, 0.48, 1.25)),
}
"""Share, category, mean and spread of the preferred speed in m/s, typical size."""

_GROUP_SIZES = (0.45, 0.38, 0.17)
"""Shares of the groups of one, two and three."""

_CROSS_PROBABILITY = 0.45
_JAYWALK_PROBABILITY = 0.08
_STAND_PROBABILITY = 0.30
_PAUSE_PROBABILITY = 0.12
_ROUTE_M = 70.0
_CROWDING_M = 12.0
"""People are densest within about this distance of a crosswalk."""


@dataclass(frozen=True, eq=False)
class Crossings:
    """Where people cross the road in a scene: the crosswalks, then the jaywalkers' own places.

    Attributes:
        lines_m: From kerb to kerb ``[X, 2, 2]``.
        marked: Whether it is a crosswalk ``[X]``.
    """

    lines_m: NDArray[np.float64]
    marked: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Crowd:
    """What stays the same about the people of a scene.

    Attributes:
        keys: Their streams of random numbers ``[A]``.
        leaders: Index of the first of each one's group ``[A]``.
        categories: nuScenes categories ``[A]``.
        sizes_m: Length, width, height ``[A, 3]``.
        speeds_mps: Preferred speeds ``[A]``.
        routes: Poses along each route ``[A, N, 3]``.
        lengths_m: Lengths of the routes ``[A]``.
        laterals_m: Preferred offset to the left of the route ``[A]``.
        pauses_m: Where on the route each pauses ``[A]``, inf for nowhere.
        pauses_s: For how long ``[A]``.
        crossings: Crossings on the route in order, -1 where there are fewer ``[A, C]``.
        kerbs_m: Where each crossing begins and ends on the route, inf where none ``[A, C, 2]``.
        forward: Whether a crossing is walked from its first to its second kerb ``[A, C]``.
        margins_s: Time each wants to have left before the next car ``[A]``.
    """

    keys: NDArray[np.uint64]
    leaders: NDArray[np.int64]
    categories: NDArray[np.str_]
    sizes_m: NDArray[np.float64]
    speeds_mps: NDArray[np.float64]
    routes: NDArray[np.float64]
    lengths_m: NDArray[np.float64]
    laterals_m: NDArray[np.float64]
    pauses_m: NDArray[np.float64]
    pauses_s: NDArray[np.float64]
    crossings: NDArray[np.int64]
    kerbs_m: NDArray[np.float64]
    forward: NDArray[np.bool_]
    margins_s: NDArray[np.float64]


@dataclass(frozen=True)
class _Walk:
    """A route in the making: corner points, and the crossings on it."""

    points_m: list[NDArray[np.float64]]
    crossings: list[tuple[int, NDArray[np.float64]]]


def cast_crowd(
    district: District, fleet: Fleet, count: int, keys: NDArray[np.uint64], rng: Generator
) -> tuple[Crowd, Crossings]:
    """Draws the people of one scene, most of them near the ego's way.

    Args:
        district: Where they walk.
        fleet: The scene's traffic; nobody jaywalks into a parked car on purpose.
        count: How many people.
        keys: Streams of random numbers, at least ``count``.
        rng: Source of the draws.
    """
    starts = _starts(district, ego_corridor(fleet.routes[0], float(fleet.starts_m[0])), rng)
    lines = list(district.crosswalks)
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        size = min(1 + int(rng.choice(3, p=_GROUP_SIZES)), count - len(rows))
        edge, fraction = starts[len(rows) % len(starts)]
        walk = _walk(district, edge, fraction, fleet.parked_poses, lines, rng)
        rows += _group(walk, len(rows), size, rng)
    packed, lengths = routes.pack([row["route"] for row in rows])
    crossings, kerbs, forward = _crossings(packed, [row["walk"] for row in rows], lines)

    def column(name: str) -> NDArray[Any]:
        return np.array([row[name] for row in rows])

    crowd = Crowd(
        keys=keys[:count],
        leaders=column("leader"),
        categories=column("category"),
        sizes_m=column("size"),
        speeds_mps=column("speed"),
        routes=packed,
        lengths_m=lengths,
        laterals_m=column("lateral"),
        pauses_m=_off_the_road(column("pause_at"), kerbs),
        pauses_s=column("pause"),
        crossings=crossings,
        kerbs_m=kerbs,
        forward=forward,
        margins_s=column("margin"),
    )
    marked = np.arange(len(lines)) < len(district.crosswalks)
    return crowd, Crossings(np.array(lines).reshape(-1, 2, 2), marked)


def _starts(
    district: District, corridor: NDArray[Any], rng: Generator, near_m: float = 32.0
) -> list[tuple[int, float]]:
    """Places to begin at, as (walk edge, fraction), 4 m or more apart, busy ones first."""
    found = []
    for i, edge in enumerate(district.walk_edges):
        if edge.street < 0:
            continue
        length = float(np.hypot(*(edge.points_m[-1] - edge.points_m[0])))
        for fraction in np.arange(2.0, length - 2.0, 4.0) / length:
            point = edge.points_m[0] + fraction * (edge.points_m[-1] - edge.points_m[0])
            if np.hypot(*(corridor - point).T).min() < near_m:
                found.append((i, float(fraction)))
    distances = [_to_crosswalk(district, *place) for place in found]
    weight = np.exp(-np.array(distances) / _CROWDING_M) + 0.15
    order = rng.choice(len(found), len(found), replace=False, p=weight / weight.sum())
    return [found[i] for i in order]


def _to_crosswalk(district: District, edge: int, fraction: float) -> float:
    """Distance from a point of a walk edge to its nearer end."""
    ends = district.walk_edges[edge].points_m
    return float(np.hypot(*(ends[-1] - ends[0]))) * min(fraction, 1 - fraction)


def _walk(
    district: District,
    start: int,
    fraction: float,
    parked: NDArray[Any],
    lines: list[NDArray[np.float64]],
    rng: Generator,
) -> _Walk:
    """A random walk over the network from a point of one of its edges; may add a jaywalk."""
    edge = district.walk_edges[start]
    target = int(rng.integers(2))
    goal = edge.points_m[-1 if target else 0]
    walk = _Walk([edge.points_m[0] + fraction * (edge.points_m[-1] - edge.points_m[0])], [])
    if rng.random() < _JAYWALK_PROBABILITY:
        line = _jaywalk(district, edge, walk.points_m[0], goal, parked, rng)
        if line is not None:
            walk.points_m.extend([line[0], line[1]])
            goal = goal + (line[1] - line[0])
            target, edge = _opposite(district, edge, target)
            walk.crossings.append((len(lines), line))
            lines.append(_kerb_to_kerb(line, district.layout.walkway_width_m / 2))
    walk.points_m.append(goal)
    _wander(district, walk, edge, edge.nodes[target], rng)
    return walk


def _wander(district: District, walk: _Walk, edge: WalkEdge, node: int, rng: Generator) -> None:
    """Continues a walk from a node until it is long enough or the network ends."""
    length = sum(np.hypot(*np.diff(walk.points_m, axis=0).T))
    while length < _ROUTE_M:
        options = [e for e in district.walk_edges if node in e.nodes and e is not edge]
        if not options:
            return
        weight = [_CROSS_PROBABILITY if e.crosswalk >= 0 else 1 - _CROSS_PROBABILITY
                  for e in options]  # fmt: skip
        edge = options[int(rng.choice(len(options), p=np.array(weight) / sum(weight)))]
        ahead = edge.nodes[0] == node
        points = edge.points_m if ahead else edge.points_m[::-1]
        if edge.crosswalk >= 0:
            walk.crossings.append((edge.crosswalk, points))
        walk.points_m.extend(points[1:])
        node = edge.nodes[1 if ahead else 0]
        length += float(np.hypot(*np.diff(points, axis=0).T).sum())


def _jaywalk(
    district: District,
    edge: WalkEdge,
    start: NDArray[Any],
    goal: NDArray[Any],
    parked: NDArray[Any],
    rng: Generator,
) -> NDArray[np.float64] | None:
    """A line ``[2, 2]`` across the street some way ahead, or None where there is no room."""
    ahead = goal - start
    reach = float(np.hypot(*ahead)) - 8.0
    along = rng.uniform(3.0, 20.0)
    if along > reach:
        return None
    street = district.streets[edge.street]
    begin = start + ahead / np.hypot(*ahead) * along
    lateral = float((begin - street.start_m) @ street.left)
    line = np.stack([begin, begin - 2 * lateral * street.left])
    beside = np.abs((parked[:, :2] - begin) @ street.along)
    strip = np.abs((parked[:, :2] - street.start_m) @ street.left) < district.layout.half_road_m
    this = strip & (np.abs((parked[:, :2] - begin) @ street.left) < 2 * abs(lateral))
    return None if (this & (beside < 3.5)).any() else line


def _opposite(district: District, edge: WalkEdge, target: int) -> tuple[int, WalkEdge]:
    """The walk edge on the other side of the street; node order is the same on both sides."""
    other = tuple(node ^ 1 for node in edge.nodes)
    return target, next(e for e in district.walk_edges if e.nodes == other)


def _kerb_to_kerb(line: NDArray[Any], inset_m: float) -> NDArray[np.float64]:
    """Shortens a line between the middles of two walkways to the road between them."""
    unit = (line[1] - line[0]) / np.hypot(*(line[1] - line[0]))
    return np.stack([line[0] + inset_m * unit, line[1] - inset_m * unit])


def _group(walk: _Walk, first: int, size: int, rng: Generator) -> list[dict[str, Any]]:
    """Rows of the members of a group: same route, side by side, same pauses."""
    route = routes.sample(np.array(walk.points_m), smoothing_m=3.0)
    ages = [list(_AGES)[i] for i in rng.choice(3, size=size, p=[a[0] for a in _AGES.values()])]
    drawn = [max(rng.normal(*_AGES[age][2]), 0.5) for age in ages]
    middle = rng.uniform(-0.9, 0.9) if size < 3 else rng.uniform(-0.4, 0.4)
    slots = middle + 0.75 * (np.arange(size) - (size - 1) / 2)
    luck = rng.random()
    pause_at, pause = np.inf, 0.0
    if luck < _STAND_PROBABILITY:
        pause_at, pause = 0.0, np.inf if rng.random() < 0.75 else rng.uniform(5.0, 20.0)
    elif luck < _STAND_PROBABILITY + _PAUSE_PROBABILITY:
        pause_at, pause = rng.uniform(5.0, 25.0), rng.uniform(1.5, 8.0)
    margin = rng.uniform(0.8, 2.2)
    return [
        {
            "walk": walk,
            "route": route,
            "leader": first,
            "category": _AGES[age][1],
            "size": np.array(_AGES[age][3]) * rng.uniform(0.92, 1.08),
            "speed": min(drawn),
            "lateral": float(np.clip(slot, -1.5, 1.5)),
            "pause_at": pause_at,
            "pause": pause,
            "margin": margin,
        }
        for age, slot in zip(ages, slots, strict=True)
    ]


def _off_the_road(pauses_m: NDArray[Any], kerbs_m: NDArray[Any]) -> NDArray[np.float64]:
    """Moves pauses ``[A]`` that would fall on the road back to the kerb before it."""
    before, after = kerbs_m[..., 0] - 1.5, kerbs_m[..., 1] + 0.5
    on_road = (pauses_m[:, None] > before) & (pauses_m[:, None] < after)
    return np.minimum(pauses_m, np.where(on_road, before, np.inf).min(axis=1))


def _crossings(
    packed: NDArray[Any], walks: list[_Walk], lines: list[NDArray[np.float64]]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Where each route meets its crossings: see `Crowd`."""
    most = max(1, *(len(walk.crossings) for walk in walks))
    names = np.full((len(walks), most), -1)
    kerbs = np.full((len(walks), most, 2), np.inf)
    forward = np.ones((len(walks), most), bool)
    for i, walk in enumerate(walks):
        for j, (name, walked) in enumerate(walk.crossings):
            line = lines[name]
            forward[i, j] = (line[1] - line[0]) @ (walked[-1] - walked[0]) > 0
            ends = line if forward[i, j] else line[::-1]
            names[i, j] = name
            kerbs[i, j] = [routes.nearest(packed[i], end) for end in ends]
    return names, kerbs, forward
