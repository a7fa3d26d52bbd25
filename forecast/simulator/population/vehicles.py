"""The vehicles of a scene: the ego, moving and parked vehicles, cyclists, and a work site.

Moving vehicles follow random lanes. Some buses halt at bus stops. Some cars park or pull out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from forecast.simulator import boxes, routes
from forecast.simulator.map import surfaces
from forecast.simulator.map.district import District, span
from forecast.simulator.population.walking_routes import WorkSite

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
"""Distance over which a car moves sideways from its lane into the parking strip."""
_LATERAL_ACCELERATION_MPS2 = 2.2
_COMFORTABLE_BRAKE_MPS2 = 1.5

CAR_M = (4.6, 1.9, 1.7)
_SITE_SHARE, _CAR_PARK_SHARE = 0.3, 0.6
_DIGGER = ("vehicle.construction", (6.2, 2.2, 2.9))
_PROPS = {
    "movable_object.trafficcone": (0.4, 0.4, 0.8),
    "movable_object.barrier": (0.5, 2.0, 1.0),
}


@dataclass(frozen=True, eq=False)
class Vehicle:
    """One moving vehicle.

    Attributes:
        category: nuScenes category.
        size_m: Length, width, height ``[3]``.
        speed_mps: Desired speed.
        route: Poses ``[N, 3]``.
        start_m: Where on the route it starts.
        halt_m: Where on the route it halts; inf: nowhere.
        halt_s: Duration of the halt.
        connectors: For each connector on the route: lane index, begin and end on the route.
        parking_place: Pose ``[3]`` of the parking place that it uses, or None.
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


@dataclass(frozen=True, eq=False)
class Fleet:
    """What stays the same about all vehicles and props of a scene. Row 0 is the ego.

    Attributes:
        categories: nuScenes categories ``[V]``.
        sizes_m: Length, width, height ``[V, 3]``.
        routes: Poses along each route ``[V, N, 3]``.
        limits_mps: Speed limits for comfort in the curves ahead ``[V, N]``.
        lengths_m: Lengths of the routes ``[V]``.
        starts_m: Where on its route each starts ``[V]``.
        halts_m: Where each halts, at a bus stop or in a parking place; inf: nowhere ``[V]``.
        halts_s: Durations of the halts ``[V]``.
        speeds_mps: Desired speeds ``[V]``.
        headways_s: Time gaps to the vehicle ahead ``[V]``.
        yield_probability: Probability to yield to pedestrians at a crosswalk ``[V]``.
        connectors: Connectors on each route, as lane indices; -1 pads ``[V, J]``.
        connector_spans_m: Their begins and ends on the route; inf pads ``[V, J, 2]``.
        conflicts: Which pairs of lanes may not be used at the same time ``[L, L]``.
        parked_categories: nuScenes categories of parked vehicles ``[K]``.
        parked_poses: Poses of parked vehicles ``[K, 3]``.
        parked_sizes_m: Their sizes ``[K, 3]``.
        site: A work site, or None.
        prop_categories: nuScenes categories of the cones and barriers around it ``[S]``.
        prop_poses: Their poses ``[S, 3]``.
        prop_sizes_m: Their sizes ``[S, 3]``.
    """

    categories: NDArray[np.str_]
    sizes_m: NDArray[np.float64]
    routes: NDArray[np.float64]
    limits_mps: NDArray[np.float64]
    lengths_m: NDArray[np.float64]
    starts_m: NDArray[np.float64]
    halts_m: NDArray[np.float64]
    halts_s: NDArray[np.float64]
    speeds_mps: NDArray[np.float64]
    headways_s: NDArray[np.float64]
    yield_probability: NDArray[np.float64]
    connectors: NDArray[np.int64]
    connector_spans_m: NDArray[np.float64]
    conflicts: NDArray[np.bool_]
    parked_categories: NDArray[np.str_]
    parked_poses: NDArray[np.float64]
    parked_sizes_m: NDArray[np.float64]
    site: WorkSite | None
    prop_categories: NDArray[np.str_]
    prop_poses: NDArray[np.float64]
    prop_sizes_m: NDArray[np.float64]


def draw_fleet(district: District, moving: int, parked: int, rng: Generator) -> Fleet:
    """Draws the vehicles of one scene.

    Args:
        district: The place.
        moving: Number of moving vehicles and cyclists, the ego included.
        parked: Largest number of parked vehicles at the kerb.
        rng: Random generator.
    """
    vehicles = draw_vehicles(district, moving, rng)
    packed, lengths = routes.pack([vehicle.route for vehicle in vehicles])
    corridor = ego_corridor(packed[0], vehicles[0].start_m)
    taken = [vehicle.parking_place for vehicle in vehicles if vehicle.parking_place is not None]
    spots = _free_spots(district, corridor, taken, rng)
    site = _site(spots, rng)
    kept = spots if site is None else _clear_of(spots, site.pose[None], site.length_m / 2 + 4.0)
    names, poses, sizes = _park(district, corridor, kept[:parked], site, rng)
    connectors, spans = _connectors(vehicles)
    return Fleet(
        categories=np.array([vehicle.category for vehicle in vehicles]),
        sizes_m=np.array([vehicle.size_m for vehicle in vehicles]),
        routes=packed,
        limits_mps=speed_limits(packed),
        lengths_m=lengths,
        starts_m=np.array([vehicle.start_m for vehicle in vehicles]),
        halts_m=np.array([vehicle.halt_m for vehicle in vehicles]),
        halts_s=np.array([vehicle.halt_s for vehicle in vehicles]),
        speeds_mps=np.array([vehicle.speed_mps for vehicle in vehicles]),
        headways_s=np.concatenate([[1.5], rng.uniform(1.0, 1.8, len(vehicles) - 1)]),
        yield_probability=np.concatenate([[0.7], rng.uniform(0.5, 1.0, len(vehicles) - 1)]),
        connectors=connectors,
        connector_spans_m=spans,
        conflicts=district.conflicts,
        parked_categories=names,
        parked_poses=poses,
        parked_sizes_m=sizes,
        site=site,
        **_props(site),
    )


def ego_corridor(route: NDArray[Any], start_m: float, ahead_m: float = 130.0) -> NDArray[Any]:
    """Returns points ``[P, 2]`` on the ego's route that it passes in a scene, approximately."""
    first = int(start_m / routes.SPACING_M)
    return route[first : first + int(ahead_m / routes.SPACING_M) : 10, :2]


def _connectors(vehicles: list[Vehicle]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Returns the connectors of each vehicle ``[V, J]`` and their spans ``[V, J, 2]``."""
    width = max(len(vehicle.connectors) for vehicle in vehicles) + 1
    names = np.full((len(vehicles), width), -1)
    spans = np.full((len(vehicles), width, 2), np.inf)
    for i, vehicle in enumerate(vehicles):
        for j, (name, begin, end) in enumerate(vehicle.connectors):
            names[i, j] = name
            spans[i, j] = begin, end
    return names, spans


def _free_spots(
    district: District, corridor: NDArray[Any], taken: list[NDArray[Any]], rng: Generator
) -> NDArray[np.float64]:
    """Returns poses ``[P, 3]`` of free parking places near the ego's route, in random order."""
    layout = district.layout
    lateral = layout.lane_width_m + layout.parking_width_m / 2
    rows = [np.zeros((0, 3))]
    for street in district.streets:
        begin, end = span(layout, street)
        along = np.arange(begin + 8.0, end - 8.0, 6.5)
        heading = street.poses(along)[:, 2]
        for side in (1, -1):
            facing = heading + (0.0 if (side > 0) == layout.left_hand_traffic else np.pi)
            rows.append(np.column_stack([street.at(along, side * lateral), facing]))
    spots = np.concatenate(rows)
    apart = np.hypot(*(corridor[:, None] - spots[:, :2]).transpose(2, 0, 1)).min(0)
    spots = spots[apart < 50.0]
    if taken:
        spots = _clear_of(spots, np.array(taken), 6.0)
    return rng.permutation(spots)


def _clear_of(spots: NDArray[Any], others: NDArray[Any], distance_m: float) -> NDArray[np.float64]:
    apart = np.hypot(*(others[:, None, :2] - spots[:, :2]).transpose(2, 0, 1)).min(0)
    kept: NDArray[np.float64] = spots[apart > distance_m]
    return kept


def _site(spots: NDArray[Any], rng: Generator) -> WorkSite | None:
    if not len(spots) or rng.random() > _SITE_SHARE:
        return None
    return WorkSite(spots[0], float(rng.uniform(9.0, 16.0)), 2.2)


def _park(
    district: District,
    corridor: NDArray[Any],
    spots: NDArray[Any],
    site: WorkSite | None,
    rng: Generator,
) -> tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.float64]]:
    """Parks vehicles at the kerb, in the car park and at the site: categories, poses, sizes."""
    _, places = surfaces.car_park(district)
    near = np.hypot(*(corridor[:, None] - places[:, :2]).transpose(2, 0, 1)).min(0) < 50.0
    used = places[near & (rng.random(len(places)) < _CAR_PARK_SHARE)]
    poses = np.concatenate([spots, used])
    names = np.full(len(poses), "vehicle.car", dtype="<U40")
    sizes = np.array(CAR_M) * rng.uniform(0.93, 1.03, (len(poses), 1))
    if site is not None:
        middle = np.array(
            [*site.points(np.array([site.length_m / 4]), np.zeros(1))[0], site.pose[2]]
        )
        poses, names = np.vstack([poses, middle]), np.append(names, _DIGGER[0])
        sizes = np.vstack([sizes, _DIGGER[1]])
    return names, poses, sizes


def _props(site: WorkSite | None) -> dict[str, NDArray[Any]]:
    """Places cones along a work site and a barrier at each end."""
    if site is None:
        empty = np.zeros((0, 3))
        return {"prop_categories": np.zeros(0, "<U40"), "prop_poses": empty, "prop_sizes_m": empty}
    cones = np.arange(-site.length_m / 2, site.length_m / 2 + 0.1, 2.5)
    along = np.concatenate([cones, [-site.length_m / 2, site.length_m / 2]])
    side = np.concatenate([np.full(len(cones), site.width_m / 2), [0.0, 0.0]])
    cone, barrier = _PROPS
    names = np.array([cone] * len(cones) + [barrier] * 2)
    return {
        "prop_categories": names,
        "prop_poses": np.column_stack(
            [site.points(along, side), np.full(len(along), site.pose[2])]
        ),
        "prop_sizes_m": np.array([_PROPS[name] for name in names.tolist()]),
    }


def draw_vehicles(district: District, count: int, rng: Generator) -> list[Vehicle]:
    """Draws the moving vehicles near the ego's route. The first one is the ego.

    Args:
        district: The place.
        count: Largest number of vehicles.
        rng: Random generator.
    """
    lanes = _draw_lanes(district, rng, inside=True)
    start = rng.uniform(2.0, 20.0)
    size = np.array(EGO_SIZE_M)
    vehicles = [_follow_lanes(district, "vehicle.car", size, 8.0, lanes, start)]
    corridor = ego_corridor(vehicles[0].route, start)
    taken = [_box(vehicles[0])]
    names = list(_TYPES)
    for _ in range(30 * count):
        if len(vehicles) == count:
            break
        name = names[rng.choice(len(names), p=[_TYPES[n][0] for n in names])]
        lane = int(rng.choice([i for i, la in enumerate(district.lanes) if la.successors]))
        begin = district.lanes[lane].path[0].start[:2]
        if np.hypot(*(corridor - begin).T).min() > 150.0 or district.lanes[lane].connector:
            continue
        vehicle = _draw_vehicle(district, name, lane, rng)
        box = _box(vehicle)
        near = np.hypot(*(corridor - box[:2]).T).min() < 90.0
        if near and _is_free(box, taken, 6.0):
            taken.append(box)
            vehicles.append(vehicle)
    return vehicles


def _draw_vehicle(district: District, name: str, lane: int, rng: Generator) -> Vehicle:
    _, size, speed = _TYPES[name]
    lanes = _draw_lanes(district, rng, inside=False, first=lane)
    start = rng.uniform(0.0, district.lanes[lane].length_m - 2.0)
    sized = np.array(size) * rng.uniform(0.93, 1.07)
    vehicle = _follow_lanes(district, name, sized, speed * rng.uniform(0.85, 1.15), lanes, start)
    draw = rng.random()
    if name == "vehicle.bus.rigid":
        return _with_bus_stop(district, vehicle, lanes, rng)
    if name == "vehicle.car" and draw < _PARK_SHARE:
        return _parking(district, vehicle, lanes, rng)
    if name == "vehicle.car" and draw > 1 - _PULL_OUT_SHARE:
        return _pulling_out(district, vehicle, rng)
    return vehicle


def _follow_lanes(
    district: District,
    category: str,
    size_m: NDArray[np.float64],
    speed_mps: float,
    lanes: list[int],
    start_m: float,
) -> Vehicle:
    """Returns a vehicle that follows lanes without a halt. Bicycles ride at the side."""
    pieces = [district.lanes[lane].poses(routes.SPACING_M)[:, :2] for lane in lanes]
    route = routes.sample(np.concatenate([pieces[0], *(p[1:] for p in pieces[1:])]))
    if category == "vehicle.bicycle":
        outwards = 1.2 if district.layout.left_hand_traffic else -1.2
        route = routes.sample(_shifted(route, np.full(len(route), outwards)))
    ends = np.cumsum([district.lanes[lane].length_m for lane in lanes]).tolist()
    connectors = list(zip(lanes[1::2], ends[:-1:2], ends[1::2], strict=True))
    return Vehicle(category, size_m, speed_mps, route, start_m, np.inf, 0.0, connectors, None)


def speed_limits(packed: NDArray[Any]) -> NDArray[np.float64]:
    """Returns speed limits from the curvature of routes.

    Limits are lowered before a curve, so that comfortable braking is enough.

    Args:
        packed: Poses of packed routes ``[V, N, 3]``.

    Returns:
        Limits in m/s ``[V, N]``.
    """
    curvature = np.abs(np.gradient(packed[..., 2], routes.SPACING_M, axis=1))
    squared = _LATERAL_ACCELERATION_MPS2 / np.maximum(curvature, 1e-3)
    # min over s' >= s of v(s')^2 + 2 b (s' - s) is a running minimum from the end.
    slope = 2 * _COMFORTABLE_BRAKE_MPS2 * routes.SPACING_M * np.arange(packed.shape[1])
    lowered = np.minimum.accumulate((squared + slope)[:, ::-1], axis=1)[:, ::-1] - slope
    limits: NDArray[np.float64] = np.sqrt(lowered)
    return limits


def _draw_lanes(
    district: District, rng: Generator, inside: bool, first: int | None = None
) -> list[int]:
    """Draws a chain of lane indices. With ``inside`` it stays in the district if possible."""
    if first is None:
        begins = [i for i, lane in enumerate(district.lanes) if not lane.connector]
        begins = [i for i in begins if district.lanes[i].successors]
        short = [i for i in begins if district.lanes[i].length_m < district.layout.arm_m]
        first = int(rng.choice(short or begins))
    chain = [first]
    length = district.lanes[first].length_m
    while length < _ROUTE_M and (options := list(district.lanes[chain[-1]].successors)):
        if inside:
            kept = [o for o in options if _goes_on(district, o)]
            options = kept or options
        connector = int(rng.choice(options))
        chain += [connector, district.lanes[connector].successors[0]]
        length += sum(district.lanes[lane].length_m for lane in chain[-2:])
    return chain


def _goes_on(district: District, connector: int) -> bool:
    return bool(district.lanes[district.lanes[connector].successors[0]].successors)


def _shifted(route: NDArray[Any], left_m: NDArray[Any]) -> NDArray[np.float64]:
    normal = np.stack([-np.sin(route[:, 2]), np.cos(route[:, 2])], -1)
    points: NDArray[np.float64] = route[:, :2] + left_m[:, None] * normal
    return points


def _ramp(along_m: NDArray[Any], begin_m: float) -> NDArray[np.float64]:
    """Returns a smooth ramp from 0 to 1 over `_SHIFT_M` ``[N]``."""
    share = np.clip((along_m - begin_m) / _SHIFT_M, 0, 1)
    smooth: NDArray[np.float64] = share**2 * (3 - 2 * share)
    return smooth


def _strip_m(district: District) -> float:
    """Returns the offset to the left from the middle of a lane to that of its parking strip."""
    layout = district.layout
    aside = (layout.lane_width_m + layout.parking_width_m) / 2
    return aside if layout.left_hand_traffic else -aside


def _with_bus_stop(
    district: District, vehicle: Vehicle, lanes: list[int], rng: Generator
) -> Vehicle:
    """Returns the vehicle with a halt at the first bus stop on its route."""
    stops = {lane: along for lane, along, _ in surfaces.bus_stops(district)}
    begin = 0.0
    for lane in lanes:
        if lane in stops and begin + stops[lane] > vehicle.start_m + 10.0:
            return replace(vehicle, halt_m=begin + stops[lane], halt_s=rng.uniform(6.0, 14.0))
        begin += district.lanes[lane].length_m
    return vehicle


def _parking(district: District, vehicle: Vehicle, lanes: list[int], rng: Generator) -> Vehicle:
    """Returns the vehicle with a route that ends in the first parking strip with room for it."""
    begin = 0.0
    for lane in lanes:
        length = district.lanes[lane].length_m
        place = begin + rng.uniform(0.45, 0.75) * length
        straight = all(piece.curvature_per_m == 0 for piece in district.lanes[lane].path)
        if straight and length > 40.0 and place > vehicle.start_m + 2 * _SHIFT_M:
            along = routes.SPACING_M * np.arange(len(vehicle.route))
            kept = vehicle.route[along <= place]
            side = _strip_m(district) * _ramp(along[along <= place], place - _SHIFT_M - 2.0)
            route = routes.sample(_shifted(kept, side))
            return replace(
                vehicle,
                route=route,
                halt_m=(len(route) - 1) * routes.SPACING_M - 1.6,
                halt_s=np.inf,
                connectors=[row for row in vehicle.connectors if row[2] < place],
                parking_place=route[-1],
            )
        begin += length
    return vehicle


def _pulling_out(district: District, vehicle: Vehicle, rng: Generator) -> Vehicle:
    """Returns the vehicle with a route that starts in a parking place, after a wait."""
    lane_end = vehicle.connectors[0][1] if vehicle.connectors else np.inf
    if vehicle.start_m < 10.0 or vehicle.start_m + 2 * _SHIFT_M > lane_end:
        return vehicle
    along = routes.SPACING_M * np.arange(len(vehicle.route))
    side = _strip_m(district) * (1 - _ramp(along, vehicle.start_m + 3.0))
    points = _shifted(vehicle.route, side)
    step = np.diff(points, axis=0)
    heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    route = np.column_stack([points, np.append(heading, heading[-1])])
    place = route[int(vehicle.start_m / routes.SPACING_M)]
    wait = rng.uniform(4.0, 20.0)
    return replace(vehicle, route=route, halt_m=vehicle.start_m, halt_s=wait, parking_place=place)


def _box(vehicle: Vehicle) -> NDArray[np.float64]:
    """Returns the box at the start: x, y, heading, length, width, height."""
    pose = vehicle.route[int(vehicle.start_m / routes.SPACING_M)]
    return np.array([*pose, *vehicle.size_m])


def _is_free(box: NDArray[Any], taken: list[NDArray[Any]], margin_m: float) -> bool:
    """Returns whether a box (x, y, heading, length, width, height) is clear of others."""
    others = np.array(taken).reshape(-1, 6)
    distance = boxes.distances(box[:2], others[:, :3], others[:, 3:5])
    return bool((distance > margin_m + box[3] / 2).all())
