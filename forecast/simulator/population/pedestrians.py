"""The pedestrians of a scene: kinds, groups, routes, speeds and habits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from forecast.simulator import routes
from forecast.simulator.map import surfaces
from forecast.simulator.map.district import District
from forecast.simulator.population import walking_routes
from forecast.simulator.population.vehicles import Fleet, ego_corridor
from forecast.simulator.population.walking_routes import WalkingRoute

_KINDS = {
    "adult": (0.80, "human.pedestrian.adult", (1.34, 0.14), (0.72, 0.68, 1.74)),
    "elder": (0.09, "human.pedestrian.adult", (1.0, 0.15), (0.70, 0.68, 1.66)),
    "child": (0.05, "human.pedestrian.child", (1.22, 0.25), (0.50, 0.48, 1.25)),
    "rider": (0.02, "human.pedestrian.personal_mobility", (2.60, 0.60), (1.05, 0.60, 1.80)),
    "wheelchair": (0.02, "human.pedestrian.wheelchair", (1.05, 0.20), (1.10, 0.70, 1.35)),
    "police": (0.02, "human.pedestrian.police_officer", (1.20, 0.15), (0.75, 0.72, 1.80)),
}
"""Share, category, mean and standard deviation of the preferred speed in m/s, typical size."""

_WORKER = "human.pedestrian.construction_worker"
_GROUP_SHARES = (0.74, 0.21, 0.05)
"""Shares of the groups of one, two and three."""
_STROLLER_SHARE = 0.03
_STAND_SHARE = 0.12
_BUS_STOP_NEAR_M = 30.0
_SIT_SHARE = 0.3
"""Share of the permanently standing pedestrians who sit instead."""


@dataclass(frozen=True, eq=False)
class Crossings:
    """Where pedestrians cross the road in a scene: first the crosswalks, then other places.

    Attributes:
        lines_m: Lines from kerb to kerb ``[X, 2, 2]``.
        marked: Whether each is a crosswalk ``[X]``.
    """

    lines_m: NDArray[np.float64]
    marked: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Crowd:
    """What stays the same about the pedestrians of a scene.

    Attributes:
        keys: Keys of their counter-based random numbers ``[A]``.
        leaders: Index of the first member of each one's group ``[A]``.
        categories: nuScenes categories ``[A]``.
        sizes_m: Length, width, height ``[A, 3]``.
        sits: Whether each sits when not moving ``[A]``.
        pushes: Whether each pushes a stroller ``[A]``.
        speeds_mps: Preferred speeds ``[A]``.
        routes: Poses along each route ``[A, N, 3]``.
        lengths_m: Lengths of the routes ``[A]``.
        begins_m: Where on the route each starts ``[A]``.
        laterals_m: Preferred offset to the left of the route ``[A]``.
        stands_s: Standing time at the start ``[A]``; inf: permanently.
        stops_hz: Rate of stops on the way ``[A]``.
        holds_s: Mean time for which each keeps a course ``[A]``.
        crossings: Crossings on the route in order; -1 pads ``[A, C]``.
        kerbs_m: Begin and end of each crossing on the route; inf pads ``[A, C, 2]``.
        forward: Whether a crossing is walked from its first to its second kerb ``[A, C]``.
        margins_s: Accepted time gap to the next vehicle ``[A]``.
        hesitates_s: Time for which each looks at a gap before going ``[A]``.
        patience_s: Waiting time at the kerb after which each turns back ``[A]``; inf: never.
        obeys: Whether each obeys red lights ``[A]``.
    """

    keys: NDArray[np.uint64]
    leaders: NDArray[np.int64]
    categories: NDArray[np.str_]
    sizes_m: NDArray[np.float64]
    sits: NDArray[np.bool_]
    pushes: NDArray[np.bool_]
    speeds_mps: NDArray[np.float64]
    routes: NDArray[np.float64]
    lengths_m: NDArray[np.float64]
    begins_m: NDArray[np.float64]
    laterals_m: NDArray[np.float64]
    stands_s: NDArray[np.float64]
    stops_hz: NDArray[np.float64]
    holds_s: NDArray[np.float64]
    crossings: NDArray[np.int64]
    kerbs_m: NDArray[np.float64]
    forward: NDArray[np.bool_]
    margins_s: NDArray[np.float64]
    hesitates_s: NDArray[np.float64]
    patience_s: NDArray[np.float64]
    obeys: NDArray[np.bool_]


def draw_crowd(
    district: District, fleet: Fleet, count: int, keys: NDArray[np.uint64], rng: Generator
) -> tuple[Crowd, Crossings]:
    """Draws the pedestrians of one scene, most of them near the ego's route.

    Args:
        district: The place.
        fleet: The vehicles. Nobody starts to jaywalk towards a parked vehicle.
        count: Number of pedestrians. Workers and people at bus stops may make it larger.
        keys: Keys of random numbers, at least one for each pedestrian.
        rng: Random generator.
    """
    corridor = ego_corridor(fleet.routes[0], float(fleet.starts_m[0]))
    places = walking_routes.start_places(district, corridor, rng)
    parked = fleet.parked_poses, fleet.parked_sizes_m
    lines = list(district.crosswalks)
    rows: list[dict[str, Any]] = []
    if fleet.site is not None:
        for _ in range(int(rng.integers(1, 4))):
            rows.append(_worker(walking_routes.work_route(fleet.site, rng), len(rows), rng))
    for _, _, pose in surfaces.bus_stops(district):
        if np.hypot(*(corridor - pose[:2]).T).min() < _BUS_STOP_NEAR_M and rng.random() < 0.5:
            for _ in range(int(rng.integers(1, 4))):
                spread = np.array([*rng.uniform(-2.0, 2.0, 2), rng.uniform(-0.2, 0.2)])
                rows += group(walking_routes.waiting_route(pose + spread), True, len(rows), 1, rng)
    while len(rows) < count:
        size = min(1 + int(rng.choice(3, p=_GROUP_SHARES)), count - len(rows))
        place = places[len(rows) % len(places)]
        stands = rng.random() < _STAND_SHARE
        walk = walking_routes.standing_route(district, place) if stands else None
        walk = walk or walking_routes.draw_walking_route(district, place, parked, lines, rng)
        rows += group(walk, stands, len(rows), size, rng)
    return pack(rows, lines, keys), Crossings(
        np.array(lines).reshape(-1, 2, 2), np.arange(len(lines)) < len(district.crosswalks)
    )


def pack(rows: list[dict[str, Any]], lines: list[NDArray[Any]], keys: NDArray[np.uint64]) -> Crowd:
    """Turns rows of pedestrians, as `group` returns them, into columns.

    Args:
        rows: The pedestrians. Their routes are taken out.
        lines: Crossings, from kerb to kerb.
        keys: Keys of random numbers, at least one for each pedestrian.
    """
    packed, lengths = routes.pack([row.pop("route") for row in rows])
    walked = [row.pop("walk") for row in rows]
    crossings, kerbs, forward = _crossings(packed, walked, lines)
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return Crowd(
        keys=keys[: len(rows)],
        routes=packed,
        lengths_m=lengths,
        begins_m=np.array(
            [routes.nearest(r, w.start_m) for r, w in zip(packed, walked, strict=True)]
        ),
        crossings=crossings,
        kerbs_m=kerbs,
        forward=forward,
        **columns,
    )


def group(
    walk: WalkingRoute, stands: bool, first: int, size: int, rng: Generator
) -> list[dict[str, Any]]:
    """Draws the members of a group: same route, side by side, same stops.

    Args:
        walk: Their route.
        stands: Whether they stand permanently.
        first: Index of the first member.
        size: Number of members.
        rng: Random generator.

    Returns:
        A row for each member, for `pack`.
    """
    names = list(_KINDS)
    kinds = [names[i] for i in rng.choice(len(names), size=size, p=[k[0] for k in _KINDS.values()])]
    speed = min(max(rng.normal(*_KINDS[kind][2]), 0.5) for kind in kinds)
    middle = rng.uniform(-0.9, 0.9) if size < 3 else rng.uniform(-0.4, 0.4)
    slots = middle + 0.95 * (np.arange(size) - (size - 1) / 2)
    pushes = np.arange(size) == (
        0 if rng.random() < _STROLLER_SHARE and kinds[0] == "adult" else -1
    )
    habits = _habits(walk, stands, first, rng)
    return [
        {
            **habits,
            "categories": _KINDS[kind][1],
            "sizes_m": np.array(_KINDS[kind][3]) * rng.uniform(0.92, 1.08),
            "speeds_mps": speed,
            "laterals_m": float(np.clip(slot, -1.5, 1.5)),
            "sits": kind == "wheelchair" or (stands and rng.random() < _SIT_SHARE),
            "pushes": bool(push),
        }
        for kind, slot, push in zip(kinds, slots, pushes, strict=True)
    ]


def _habits(walk: WalkingRoute, stands: bool, first: int, rng: Generator) -> dict[str, Any]:
    """Draws what the members of a group have in common."""
    pause = rng.exponential(8.0) if rng.random() < 0.12 else 0.0
    return {
        "walk": walk,
        "route": routes.sample(np.array(walk.points_m), smoothing_m=6.0),
        "leaders": first,
        "stands_s": np.inf if stands else pause,
        "stops_hz": 1 / 180.0,
        "holds_s": float(np.exp(rng.normal(np.log(4.0), 1.0))),
        "margins_s": rng.uniform(0.4, 1.6),
        "hesitates_s": rng.exponential(0.4),
        "patience_s": rng.uniform(3.0, 9.0) if rng.random() < 0.08 else np.inf,
        "obeys": rng.random() < 0.85,
    }


def _worker(walk: WalkingRoute, first: int, rng: Generator) -> dict[str, Any]:
    """Draws a worker at a work site, who stands most of the time."""
    return {
        **_habits(walk, False, first, rng),
        "categories": _WORKER,
        "sizes_m": np.array([0.75, 0.75, 1.78]) * rng.uniform(0.92, 1.08),
        "speeds_mps": rng.uniform(0.7, 1.1),
        "laterals_m": 0.0,
        "sits": False,
        "pushes": False,
        "stops_hz": 1 / 4.0,
    }


def _crossings(
    packed: NDArray[Any], walked: list[WalkingRoute], lines: list[NDArray[np.float64]]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Returns `Crowd.crossings`, `Crowd.kerbs_m` and `Crowd.forward` of routes."""
    most = max(1, *(len(walk.crossings) for walk in walked))
    names = np.full((len(walked), most), -1)
    kerbs = np.full((len(walked), most, 2), np.inf)
    forward = np.ones((len(walked), most), bool)
    for i, walk in enumerate(walked):
        for j, (name, way) in enumerate(walk.crossings):
            line = lines[name]
            forward[i, j] = (line[1] - line[0]) @ (way[-1] - way[0]) > 0
            ends = line if forward[i, j] else line[::-1]
            names[i, j] = name
            kerbs[i, j] = [routes.nearest(packed[i], end) for end in ends]
    return names, kerbs, forward
