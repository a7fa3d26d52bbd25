"""The surfaces of a district: road, walkways, crosswalks, bus stops, car park, buildings."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from forecast.simulator import routes
from forecast.simulator.map.district import District, outside, span

_CAR_PARK_M = (24.0, 17.0)
"""Length along the street and depth."""
_FORECOURT_M = 1.5
"""Distance between a walkway and the wall behind it."""


def drivable_area(district: District) -> list[Any]:
    """Returns the road surface from kerb to kerb as polygons, with the blocks as holes.

    In a shared space, it is all the ground on which vehicles drive.
    """
    if district.shared is not None:
        return _parts(district.shared.drivable_area)
    return _parts(_road(district))


def walkways(district: District) -> list[Any]:
    """Returns the walkway polygons around the blocks, or around a shared space."""
    if district.shared is not None:
        return _parts(district.shared.walkway)
    road = _road(district)
    wide = road.buffer(district.layout.walkway_width_m, quad_segs=8)
    ends = []
    for street in district.streets:
        length = street.length_m
        for node, along in zip(street.nodes, ((-20.0, 0.0), (length, length + 20.0)), strict=True):
            if outside(district.layout, node):
                ends.append(street.strip((-20.0, 20.0), along))
    return _parts(wide.difference(shapely.union_all([road, *ends])))


def crosswalk_areas(district: District) -> list[Any]:
    """Returns one rectangle for each crosswalk."""
    half = district.layout.crosswalk_width_m / 2
    return [shapely.LineString(line).buffer(half, cap_style="flat") for line in district.crosswalks]


def dividers(district: District) -> list[NDArray[np.float64]]:
    """Returns the centre lines of the streets between the junctions, each ``[P, 2]``."""
    return [street.line(*span(district.layout, street), 0.0) for street in district.streets]


def car_park(district: District) -> tuple[Any, NDArray[np.float64]]:
    """Returns the area of the district's car park, and the poses of its places ``[P, 3]``.

    The car park is behind the left walkway of the first street between two junctions.
    """
    layout = district.layout
    street = next(s for s in district.streets if not any(outside(layout, n) for n in s.nodes))
    front = layout.half_road_m + layout.walkway_width_m
    middle = street.length_m / 2
    length, depth = _CAR_PARK_M
    area = street.strip((front, front + depth), (middle - length / 2, middle + length / 2))
    along = middle + np.arange(-length / 2 + 1.5, length / 2 - 1.0, 2.7)
    facing = street.poses(along)[:, 2] + np.pi / 2
    rows = [np.column_stack([street.at(along, front + offset), facing])
            for offset in (2.8, depth - 2.8)]  # fmt: skip
    return area, np.concatenate(rows)


def car_parks(district: District) -> list[Any]:
    """Returns the areas of all car parks: one in a district of streets, the bays elsewhere."""
    if district.shared is None:
        return [car_park(district)[0]]
    return district.shared.blocks if district.shared.kind.bays else []


def extent_m(district: District) -> NDArray[np.float64]:
    """Returns the greatest x and y of the streets or of a shared space ``[2]``."""
    if district.shared is not None:
        return np.array(district.shared.ground.bounds[2:])
    corners = [[district.layout.node_m(n) for n in s.nodes] for s in district.streets]
    furthest: NDArray[np.float64] = np.array(corners).max((0, 1))
    return furthest


def bus_stops(district: District) -> list[tuple[int, float, NDArray[np.float64]]]:
    """Returns bus stops: the lane, the distance along it, and the pose ``[3]`` of waiting people.

    They are near the ends of lanes that lead to a junction and are at least 45 m long. Only lanes
    with an even index have one.
    """
    layout = district.layout
    aside = layout.half_road_m - layout.lane_width_m / 2 + 1.2
    stops = []
    for i, lane in enumerate(district.lanes):
        if lane.connector or not lane.successors or lane.length_m < 45.0 or i % 2:
            continue
        along = lane.length_m - 14.0
        x, y, heading = routes.at(routes.sample(lane.poses(1.0)[:, :2])[None], np.array([along]))[0]
        turn = np.pi / 2 if layout.left_hand_traffic else -np.pi / 2
        place = [x + aside * np.cos(heading + turn), y + aside * np.sin(heading + turn)]
        stops.append((i, along, np.array([*place, heading - turn])))
    return stops


def buildings(district: District) -> Any:
    """Returns the buildings behind the walkways as one prepared shape, for tests of visibility.

    In a shared space, they are its buildings or racks.
    """
    if district.shared is not None:
        walls = [] if district.shared.kind.bays else district.shared.blocks
        joined = shapely.union_all(walls)
        shapely.prepare(joined)
        return joined
    road = _road(district)
    everything = shapely.box(*road.bounds)
    front = district.layout.walkway_width_m + _FORECOURT_M
    open_ground = [road.buffer(front, quad_segs=4), car_park(district)[0].buffer(_FORECOURT_M)]
    blocks = everything.difference(shapely.union_all(open_ground))
    shapely.prepare(blocks)
    return blocks


def walls(district: District) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns poses ``[W, 3]`` and sizes ``[W, 2]`` of the walls in a shared space; none elsewhere.

    Where people keep to walkways, they come to no wall.
    """
    if district.shared is None:
        return np.zeros((0, 3)), np.zeros((0, 2))
    return district.shared.walls


def _parts(area: Any) -> list[Any]:
    return [area] if area.geom_type == "Polygon" else list(area.geoms)


def _road(district: District) -> Any:
    """Returns the road surface, with rounded kerbs at the corners."""
    layout = district.layout
    half, radius = layout.half_road_m, layout.corner_radius_m
    strips = [s.strip((-half, half), (0, s.length_m)) for s in district.streets]
    places = [layout.node_m((c, r)) for c in range(len(layout.columns_m))
              for r in range(len(layout.rows_m))]  # fmt: skip
    squares = [shapely.box(*(place - half), *(place + half)) for place in places]
    joined = shapely.union_all(strips + squares)
    return joined.buffer(radius, quad_segs=8, join_style="mitre").buffer(-radius, quad_segs=8)
