"""Where vehicles drive: routes over the lanes, halts at bus stops, parking in and pulling out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from forecast.simulator import boxes, routes
from forecast.simulator.map import surfaces as ground
from forecast.simulator.map.district import District

EGO_SIZE_M = (4.1, 1.75, 1.55)
_TYPES = {
    "vehicle.car": (0.68, (4.6, 1.9, 1.7), 9.5),
    "vehicle.truck": (0.07, (6.9, 2.3, 2.7), 8.5),
    "vehicle.bus.rigid": (0.06, (11.0, 2.6, 3.3), 8.0),
    "vehicle.bicycle": (0.13, (1.8, 0.6, 1.7), 4.5),
    "vehicle.motorcycle": (0.06, (2.1, 0.8, 1.5), 9.0),
}
"""Share of the traffic, typical length, width, height, and desired speed in m/s."""

_ROUTE_M = 420.0
_PARK_SHARE, _PULL_OUT_SHARE = 0.10, 0.08
_SHIFT_M = 14.0
"""Length of the way from a lane into the parking strip."""
_LATERAL_ACCELERATION_MPS2 = 2.2
_COMFORTABLE_BRAKE_MPS2 = 1.5


@dataclass(frozen=True, eq=False)
class Drive:
    """What one vehicle is and does.

    Attributes:
        category: nuScenes category.
        size_m: Length, width, height ``[3]``.
        speed_mps: Desired speed.
        route: Poses ``[N, 3]``.
        start_m: Where on the route it begins.
        halt_m: Where it halts, inf for nowhere.
        halt_s: For how long.
        connectors: Lane index of each connector on the route, where it begins and ends.
        parking_place: Pose ``[3]`` of the parking place it uses, if any.
    """

    category: str
    size_m: NDArray[np.float64]
    speed_mps: float
    route: NDArray[np.float64]
    start_m: float
    halt_m: float
    halt_s: float
    connectors: list[tuple[int, float, float]]
    parking_place: NDArray[np.float64] | None


def cast_drives(district: District, count: int, rng: Generator) -> list[Drive]:
    """Draws who drives near the ego's way; the first drive is the ego's."""
    lanes = _lanes(district, rng, inside=True)
    start = rng.uniform(2.0, 20.0)
    size = np.array(EGO_SIZE_M)
    drives = [_drive(district, "vehicle.car", size, 8.0, lanes, start)]
    first = int(start / routes.SPACING_M)
    corridor = drives[0].route[first : first + int(130.0 / routes.SPACING_M) : 10, :2]
    taken = [_box(drives[0])]
    names = list(_TYPES)
    for _ in range(30 * count):
        if len(drives) == count:
            break
        name = names[rng.choice(len(names), p=[_TYPES[n][0] for n in names])]
        lane = int(rng.choice([i for i, la in enumerate(district.lanes) if la.successors]))
        begin = district.lanes[lane].path[0].start[:2]
        if np.hypot(*(corridor - begin).T).min() > 150.0 or district.lanes[lane].connector:
            continue
        drive = _draw_drive(district, name, lane, rng)
        box = _box(drive)
        near = np.hypot(*(corridor - box[:2]).T).min() < 90.0
        if near and _is_free(box, taken, 6.0):
            taken.append(box)
            drives.append(drive)
    return drives


def _draw_drive(district: District, name: str, lane: int, rng: Generator) -> Drive:
    _, size, speed = _TYPES[name]
    lanes = _lanes(district, rng, inside=False, first=lane)
    start = rng.uniform(0.0, district.lanes[lane].length_m - 2.0)
    sized = np.array(size) * rng.uniform(0.93, 1.07)
    drive = _drive(district, name, sized, speed * rng.uniform(0.85, 1.15), lanes, start)
    luck = rng.random()
    if name == "vehicle.bus.rigid":
        return _with_bus_stop(district, drive, lanes, rng)
    if name == "vehicle.car" and luck < _PARK_SHARE:
        return _parking(district, drive, lanes, rng)
    if name == "vehicle.car" and luck > 1 - _PULL_OUT_SHARE:
        return _pulling_out(district, drive, rng)
    return drive


def _drive(
    district: District,
    category: str,
    size_m: NDArray[np.float64],
    speed_mps: float,
    lanes: list[int],
    start_m: float,
) -> Drive:
    """A drive that follows its lanes without a halt; two-wheelers keep to the side."""
    pieces = [district.lanes[lane].poses(routes.SPACING_M)[:, :2] for lane in lanes]
    route = routes.sample(np.concatenate([pieces[0], *(p[1:] for p in pieces[1:])]))
    if category == "vehicle.bicycle":
        outwards = 1.2 if district.layout.left_hand else -1.2
        route = routes.sample(_shifted(route, np.full(len(route), outwards)))
    ends = np.cumsum([district.lanes[lane].length_m for lane in lanes]).tolist()
    connectors = list(zip(lanes[1::2], ends[:-1:2], ends[1::2], strict=True))
    return Drive(category, size_m, speed_mps, route, start_m, np.inf, 0.0, connectors, None)


def speed_limits(packed: NDArray[Any]) -> NDArray[np.float64]:
    """Speed limits ``[V, N]`` from curvature, lowered before a curve so that it can be braked."""
    curvature = np.abs(np.gradient(packed[..., 2], routes.SPACING_M, axis=1))
    squared = _LATERAL_ACCELERATION_MPS2 / np.maximum(curvature, 1e-3)
    # min over s' >= s of v(s')^2 + 2 b (s' - s) is a running minimum from the end.
    slope = 2 * _COMFORTABLE_BRAKE_MPS2 * routes.SPACING_M * np.arange(packed.shape[1])
    lowered = np.minimum.accumulate((squared + slope)[:, ::-1], axis=1)[:, ::-1] - slope
    limits: NDArray[np.float64] = np.sqrt(lowered)
    return limits


def _lanes(district: District, rng: Generator, inside: bool, first: int | None = None) -> list[int]:
    """A random drive as lane indices; with ``inside`` it stays in the district if it can."""
    if first is None:
        begins = [i for i, lane in enumerate(district.lanes) if not lane.connector]
        begins = [i for i in begins if district.lanes[i].successors]
        short = [i for i in begins if district.lanes[i].length_m < district.layout.arm_m]
        first = int(rng.choice(short or begins))
    drive = [first]
    length = district.lanes[first].length_m
    while length < _ROUTE_M and (options := list(district.lanes[drive[-1]].successors)):
        if inside:
            kept = [o for o in options if _goes_on(district, o)]
            options = kept or options
        connector = int(rng.choice(options))
        drive += [connector, district.lanes[connector].successors[0]]
        length += sum(district.lanes[lane].length_m for lane in drive[-2:])
    return drive


def _goes_on(district: District, connector: int) -> bool:
    return bool(district.lanes[district.lanes[connector].successors[0]].successors)


def _shifted(route: NDArray[Any], left_m: NDArray[Any]) -> NDArray[np.float64]:
    normal = np.stack([-np.sin(route[:, 2]), np.cos(route[:, 2])], -1)
    points: NDArray[np.float64] = route[:, :2] + left_m[:, None] * normal
    return points


def _ramp(along_m: NDArray[Any], begin_m: float) -> NDArray[np.float64]:
    """From 0 to 1 over `_SHIFT_M`, smoothly."""
    share = np.clip((along_m - begin_m) / _SHIFT_M, 0, 1)
    smooth: NDArray[np.float64] = share**2 * (3 - 2 * share)
    return smooth


def _strip_m(district: District) -> float:
    """Offset from the middle of a lane to that of the parking strip beside it, to the left."""
    layout = district.layout
    aside = (layout.lane_width_m + layout.parking_width_m) / 2
    return aside if layout.left_hand else -aside


def _with_bus_stop(district: District, drive: Drive, lanes: list[int], rng: Generator) -> Drive:
    """The drive with a halt at the first bus stop on its way."""
    stops = {lane: along for lane, along, _ in ground.bus_stops(district)}
    begin = 0.0
    for lane in lanes:
        if lane in stops and begin + stops[lane] > drive.start_m + 10.0:
            return replace(drive, halt_m=begin + stops[lane], halt_s=rng.uniform(6.0, 14.0))
        begin += district.lanes[lane].length_m
    return drive


def _parking(district: District, drive: Drive, lanes: list[int], rng: Generator) -> Drive:
    """The drive, ended in the parking strip of the first street with room for it."""
    begin = 0.0
    for lane in lanes:
        length = district.lanes[lane].length_m
        place = begin + rng.uniform(0.45, 0.75) * length
        straight = all(piece.curvature_per_m == 0 for piece in district.lanes[lane].path)
        if straight and length > 40.0 and place > drive.start_m + 2 * _SHIFT_M:
            along = routes.SPACING_M * np.arange(len(drive.route))
            kept = drive.route[along <= place]
            side = _strip_m(district) * _ramp(along[along <= place], place - _SHIFT_M - 2.0)
            route = routes.sample(_shifted(kept, side))
            return replace(
                drive,
                route=route,
                halt_m=(len(route) - 1) * routes.SPACING_M - 1.6,
                halt_s=np.inf,
                connectors=[row for row in drive.connectors if row[2] < place],
                parking_place=route[-1],
            )
        begin += length
    return drive


def _pulling_out(district: District, drive: Drive, rng: Generator) -> Drive:
    """The drive, begun in a parking place where it waits a while."""
    lane_end = drive.connectors[0][1] if drive.connectors else np.inf
    if drive.start_m < 10.0 or drive.start_m + 2 * _SHIFT_M > lane_end:
        return drive
    along = routes.SPACING_M * np.arange(len(drive.route))
    side = _strip_m(district) * (1 - _ramp(along, drive.start_m + 3.0))
    points = _shifted(drive.route, side)
    step = np.diff(points, axis=0)
    heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    route = np.column_stack([points, np.append(heading, heading[-1])])
    place = route[int(drive.start_m / routes.SPACING_M)]
    wait = rng.uniform(4.0, 20.0)
    return replace(drive, route=route, halt_m=drive.start_m, halt_s=wait, parking_place=place)


def _box(drive: Drive) -> NDArray[np.float64]:
    """Where it begins: x, y, heading, length, width, height."""
    pose = drive.route[int(drive.start_m / routes.SPACING_M)]
    return np.array([*pose, *drive.size_m])


def _is_free(box: NDArray[Any], taken: list[NDArray[Any]], margin_m: float) -> bool:
    """Whether a box (x, y, heading, length, width, height) keeps clear of others."""
    others = np.array(taken).reshape(-1, 6)
    distance = boxes.distances(box[:2], others[:, :3], others[:, 3:5])
    return bool((distance > margin_m + box[3] / 2).all())
