"""Who drives: vehicles, cyclists and the ego, their routes and habits, and what is parked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from forecast.datasets.town import boxes, routes
from forecast.datasets.town.streets import District, span

EGO_SIZE_M = (4.1, 1.75, 1.55)
_TYPES = {
    "vehicle.car": (0.68, (4.6, 1.9, 1.7), 9.5),
    "vehicle.truck": (0.08, (6.9, 2.3, 2.7), 8.5),
    "vehicle.bus.rigid": (0.06, (11.0, 2.6, 3.3), 8.0),
    "vehicle.bicycle": (0.18, (1.8, 0.6, 1.7), 4.5),
}
"""Share of the traffic, typical length, width, height, and desired speed in m/s."""

_ROUTE_M = 420.0
_LATERAL_ACCELERATION_MPS2 = 2.2
_COMFORTABLE_BRAKE_MPS2 = 1.5


@dataclass(frozen=True, eq=False)
class Fleet:
    """What stays the same about everything that drives; row 0 is the ego.

    Attributes:
        categories: nuScenes categories ``[V]``.
        sizes_m: Length, width, height ``[V, 3]``.
        routes: Poses along each route ``[V, N, 3]``.
        limits_mps: Speed that lets the curves ahead be taken in comfort ``[V, N]``.
        lengths_m: Lengths of the routes ``[V]``.
        starts_m: Where on its route each begins ``[V]``.
        speeds_mps: Desired speeds ``[V]``.
        headways_s: Time gaps they keep ``[V]``.
        courtesy: Chance to give way at a crosswalk ``[V]``.
        connectors: Connectors on each route, as lane indices, -1 where there are fewer ``[V, J]``.
        connector_spans_m: Where they begin and end on the route, inf where none ``[V, J, 2]``.
        conflicts: Which pairs of lanes may not be used at the same time ``[L, L]``.
        parked_poses: Poses of parked vehicles ``[K, 3]``.
        parked_sizes_m: Their sizes ``[K, 3]``.
    """

    categories: NDArray[np.str_]
    sizes_m: NDArray[np.float64]
    routes: NDArray[np.float64]
    limits_mps: NDArray[np.float64]
    lengths_m: NDArray[np.float64]
    starts_m: NDArray[np.float64]
    speeds_mps: NDArray[np.float64]
    headways_s: NDArray[np.float64]
    courtesy: NDArray[np.float64]
    connectors: NDArray[np.int64]
    connector_spans_m: NDArray[np.float64]
    conflicts: NDArray[np.bool_]
    parked_poses: NDArray[np.float64]
    parked_sizes_m: NDArray[np.float64]


def cast_fleet(district: District, moving: int, parked: int, rng: Generator) -> Fleet:
    """Draws the traffic of one scene.

    Args:
        district: Where it drives.
        moving: Moving vehicles and cyclists, the ego included.
        parked: Parked vehicles.
        rng: Source of the draws.
    """
    lanes = [_drive(district, rng, inside=True)]
    lane_routes = [_lane_poses(district, lanes[0])]
    starts = [rng.uniform(2.0, 20.0)]
    names, sizes, speeds = ["vehicle.car"], [np.array(EGO_SIZE_M)], [8.0]
    corridor = ego_corridor(lane_routes[0], starts[0])
    taken = [np.array([*lane_routes[0][int(starts[0] / routes.SPACING_M)], *EGO_SIZE_M])]
    for _ in range(40 * moving):
        if len(lanes) == moving:
            break
        name, size, speed = _draw_type(rng)
        drive = _drive(district, rng, inside=False)
        poses = _lane_poses(district, drive)
        start = rng.uniform(0.0, district.lanes[drive[0]].length_m - 2.0)
        box = np.array([*poses[int(start / routes.SPACING_M)], *size])
        if _is_free(box, taken, 6.0) and _distance(box[:2], corridor) < 90.0:
            taken.append(box)
            lanes.append(drive)
            lane_routes.append(_beside(poses, name, district))
            starts.append(start)
            names.append(name)
            sizes.append(size)
            speeds.append(speed * rng.uniform(0.85, 1.15))
    packed, lengths = routes.pack(lane_routes)
    connectors, spans = _connectors(district, lanes)
    parked_boxes = _park(district, corridor, parked, rng)
    return Fleet(
        categories=np.array(names),
        sizes_m=np.array(sizes),
        routes=packed,
        limits_mps=_limits(packed),
        lengths_m=lengths,
        starts_m=np.array(starts),
        speeds_mps=np.array(speeds),
        headways_s=np.concatenate([[1.5], rng.uniform(1.0, 1.8, len(names) - 1)]),
        courtesy=np.concatenate([[1.0], rng.uniform(0.4, 1.0, len(names) - 1)]),
        connectors=connectors,
        connector_spans_m=spans,
        conflicts=district.conflicts,
        parked_poses=parked_boxes[:, :3],
        parked_sizes_m=parked_boxes[:, 3:],
    )


def ego_corridor(route: NDArray[Any], start_m: float, ahead_m: float = 130.0) -> NDArray[Any]:
    """Points ``[P, 2]`` that the ego passes in a scene, more or less."""
    first = int(start_m / routes.SPACING_M)
    return route[first : first + int(ahead_m / routes.SPACING_M) : 10, :2]


def _distance(point_m: NDArray[Any], points_m: NDArray[Any]) -> float:
    return float(np.hypot(*(points_m - point_m).T).min())


def _draw_type(rng: Generator) -> tuple[str, NDArray[np.float64], float]:
    names = list(_TYPES)
    name = names[rng.choice(len(names), p=[_TYPES[n][0] for n in names])]
    _, size, speed = _TYPES[name]
    return name, np.array(size) * rng.uniform(0.93, 1.07), speed


def _leads_out(district: District, lane: int) -> bool:
    return not district.lanes[lane].connector and not district.lanes[lane].successors


def _drive(district: District, rng: Generator, inside: bool) -> list[int]:
    """A random drive as lane indices; with ``inside`` it stays in the district if it can."""
    first = [i for i, lane in enumerate(district.lanes) if not lane.connector and lane.successors]
    if inside:
        first = [i for i in first if district.lanes[i].length_m < district.layout.arm_m] or first
    drive = [int(rng.choice(first))]
    length = district.lanes[drive[0]].length_m
    while length < _ROUTE_M and (options := list(district.lanes[drive[-1]].successors)):
        if inside:
            kept = [o for o in options if not _leads_out(district, district.lanes[o].successors[0])]
            options = kept or options
        connector = int(rng.choice(options))
        drive += [connector, district.lanes[connector].successors[0]]
        length += sum(district.lanes[lane].length_m for lane in drive[-2:])
    return drive


def _lane_poses(district: District, drive: list[int]) -> NDArray[np.float64]:
    """Poses ``[N, 3]`` along a drive."""
    pieces = [district.lanes[lane].poses(routes.SPACING_M / 2)[:, :2] for lane in drive]
    return routes.sample(np.concatenate([pieces[0], *(p[1:] for p in pieces[1:])]))


def _beside(poses: NDArray[Any], category: str, district: District) -> NDArray[np.float64]:
    """Moves a cyclist's route from the middle of the lane towards the kerb."""
    if category != "vehicle.bicycle":
        return poses
    offset = 1.2 if district.layout.left_hand else -1.2
    normal = np.stack([-np.sin(poses[:, 2]), np.cos(poses[:, 2])], -1)
    return routes.sample(poses[:, :2] + offset * normal)


def _is_free(box: NDArray[Any], taken: list[NDArray[Any]], margin_m: float) -> bool:
    """Whether a box (x, y, heading, length, width, height) keeps clear of others."""
    others = np.array(taken).reshape(-1, 6)
    distance = boxes.distances(box[:2], others[:, :3], others[:, 3:5])
    return bool((distance > margin_m + box[3] / 2).all())


def _limits(packed: NDArray[Any]) -> NDArray[np.float64]:
    """Speed limits ``[V, N]`` from curvature, lowered before a curve so that it can be braked."""
    curvature = np.abs(np.gradient(packed[..., 2], routes.SPACING_M, axis=1))
    squared = _LATERAL_ACCELERATION_MPS2 / np.maximum(curvature, 1e-3)
    # min over s' >= s of v(s')^2 + 2 b (s' - s) is a running minimum from the end.
    slope = 2 * _COMFORTABLE_BRAKE_MPS2 * routes.SPACING_M * np.arange(packed.shape[1])
    lowered = np.minimum.accumulate((squared + slope)[:, ::-1], axis=1)[:, ::-1] - slope
    limits: NDArray[np.float64] = np.sqrt(lowered)
    return limits


def _connectors(
    district: District, drives: list[list[int]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The connectors of each drive ``[V, J]`` and their spans ``[V, J, 2]``."""
    width = max(len(drive) // 2 for drive in drives) + 1
    names = np.full((len(drives), width), -1)
    spans = np.full((len(drives), width, 2), np.inf)
    for i, drive in enumerate(drives):
        ends = np.cumsum([district.lanes[lane].length_m for lane in drive])
        count = len(drive) // 2
        names[i, :count] = drive[1::2]
        spans[i, :count] = np.stack([ends[:-1:2], ends[1::2]], -1)
    return names, spans


def _park(
    district: District, corridor: NDArray[Any], count: int, rng: Generator
) -> NDArray[np.float64]:
    """Boxes ``[K, 6]`` of parked cars in the strips near the ego's way."""
    layout = district.layout
    lateral = layout.lane_width_m + layout.parking_width_m / 2
    spots = []
    for street in district.streets:
        start, end = span(district, street)
        for side in (1, -1):
            facing = street.along * side * (1 if layout.left_hand else -1)
            for along in np.arange(start + 8.0, end - 8.0, 6.5):
                middle = street.start_m + along * street.along + side * lateral * street.left
                spots.append([*middle, np.arctan2(facing[1], facing[0])])
    near = [spot for spot in spots if _distance(np.array(spot[:2]), corridor) < 50.0]
    chosen = rng.permutation(len(near))[:count]
    size = np.array(_TYPES["vehicle.car"][1])
    boxed = [[*near[i], *(size * rng.uniform(0.93, 1.03))] for i in chosen]
    return np.array(boxed).reshape(-1, 6)
