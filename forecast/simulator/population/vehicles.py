"""Who drives: vehicles, cyclists and the ego, their routes and habits, and what stands about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from forecast.simulator import routes
from forecast.simulator.map import surfaces as ground
from forecast.simulator.map.district import District, span
from forecast.simulator.population.drives import Drive, cast_drives, speed_limits
from forecast.simulator.population.walking_routes import WorkSite

CAR_M = (4.6, 1.9, 1.7)
_SITE_SHARE, _CAR_PARK_SHARE = 0.3, 0.6
_DIGGER = ("vehicle.construction", (6.2, 2.2, 2.9))
_PROPS = {
    "movable_object.trafficcone": (0.4, 0.4, 0.8),
    "movable_object.barrier": (0.5, 2.0, 1.0),
}


@dataclass(frozen=True, eq=False)
class Fleet:
    """What stays the same about everything that drives or stands; row 0 is the ego.

    Attributes:
        categories: nuScenes categories ``[V]``.
        sizes_m: Length, width, height ``[V, 3]``.
        routes: Poses along each route ``[V, N, 3]``.
        limits_mps: Speed that lets the curves ahead be taken in comfort ``[V, N]``.
        lengths_m: Lengths of the routes ``[V]``.
        starts_m: Where on its route each begins ``[V]``.
        halts_m: Where each halts, at a bus stop or in a parking place, inf for nowhere ``[V]``.
        halts_s: For how long ``[V]``.
        speeds_mps: Desired speeds ``[V]``.
        headways_s: Time gaps they keep ``[V]``.
        courtesy: Chance to give way at a crosswalk ``[V]``.
        connectors: Connectors on each route, as lane indices, -1 where there are fewer ``[V, J]``.
        connector_spans_m: Where they begin and end on the route, inf where none ``[V, J, 2]``.
        conflicts: Which pairs of lanes may not be used at the same time ``[L, L]``.
        parked_categories: nuScenes categories of what is parked ``[K]``.
        parked_poses: Poses of parked vehicles ``[K, 3]``.
        parked_sizes_m: Their sizes ``[K, 3]``.
        site: A work site, if there is one.
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
    courtesy: NDArray[np.float64]
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


def cast_fleet(district: District, moving: int, parked: int, rng: Generator) -> Fleet:
    """Draws the traffic of one scene.

    Args:
        district: Where it drives.
        moving: Moving vehicles and cyclists, the ego included.
        parked: Parked vehicles at the kerb.
        rng: Source of the draws.
    """
    drives = cast_drives(district, moving, rng)
    packed, lengths = routes.pack([drive.route for drive in drives])
    corridor = ego_corridor(packed[0], drives[0].start_m)
    taken = [drive.parking_place for drive in drives if drive.parking_place is not None]
    spots = _free_spots(district, corridor, taken, rng)
    site = _site(spots, rng)
    kept = spots if site is None else _clear_of(spots, site.pose[None], site.length_m / 2 + 4.0)
    names, poses, sizes = _park(district, corridor, kept[:parked], site, rng)
    connectors, spans = _connectors(drives)
    return Fleet(
        categories=np.array([drive.category for drive in drives]),
        sizes_m=np.array([drive.size_m for drive in drives]),
        routes=packed,
        limits_mps=speed_limits(packed),
        lengths_m=lengths,
        starts_m=np.array([drive.start_m for drive in drives]),
        halts_m=np.array([drive.halt_m for drive in drives]),
        halts_s=np.array([drive.halt_s for drive in drives]),
        speeds_mps=np.array([drive.speed_mps for drive in drives]),
        headways_s=np.concatenate([[1.5], rng.uniform(1.0, 1.8, len(drives) - 1)]),
        courtesy=np.concatenate([[0.7], rng.uniform(0.5, 1.0, len(drives) - 1)]),
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
    """Points ``[P, 2]`` that the ego passes in a scene, more or less."""
    first = int(start_m / routes.SPACING_M)
    return route[first : first + int(ahead_m / routes.SPACING_M) : 10, :2]


def _connectors(drives: list[Drive]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The connectors of each drive ``[V, J]`` and their spans ``[V, J, 2]``."""
    width = max(len(drive.connectors) for drive in drives) + 1
    names = np.full((len(drives), width), -1)
    spans = np.full((len(drives), width, 2), np.inf)
    for i, drive in enumerate(drives):
        for j, (name, begin, end) in enumerate(drive.connectors):
            names[i, j] = name
            spans[i, j] = begin, end
    return names, spans


def _free_spots(
    district: District, corridor: NDArray[Any], taken: list[NDArray[Any]], rng: Generator
) -> NDArray[np.float64]:
    """Poses ``[P, 3]`` of free parking places near the ego's way, in random order."""
    layout = district.layout
    lateral = layout.lane_width_m + layout.parking_width_m / 2
    rows = [np.zeros((0, 3))]
    for street in district.streets:
        begin, end = span(layout, street)
        along = np.arange(begin + 8.0, end - 8.0, 6.5)
        heading = street.poses(along)[:, 2]
        for side in (1, -1):
            facing = heading + (0.0 if (side > 0) == layout.left_hand else np.pi)
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
    """What is parked at the kerb, in the car park and at the site: categories, poses, sizes."""
    _, places = ground.car_park(district)
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
    """Cones along a work site and a barrier at each end."""
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
