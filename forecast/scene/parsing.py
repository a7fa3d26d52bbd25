"""Reads what users, trackers and tables say about agents: names, kinds, sizes, headings, places.

`Scene.from_arrays`, the frames of a stream and the readers of datasets use these functions. So they
accept, mend and refuse the same values.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecast.errors import ForecastError, ForecastWarning, require
from forecast.geometry import wrap_angle
from forecast.scene.agents import TYPICAL_SIZE_M, AgentKind
from forecast.scene.arguments import parse_list
from forecast.scene.lanes import LaneMap

FARTHEST_M = 1e8
"""No place on Earth has larger coordinates in metres. Those of float64 are exact to 15 nm there."""

FLOAT32_REACH_M = 10_000.0
"""At larger coordinates the resolution of float32 is coarser than 1 mm."""

LARGEST_HEADING_RAD = 4 * np.pi
"""Larger headings are in degrees. Headings that are not wrapped may exceed pi."""

_LARGEST_M = {AgentKind.PEDESTRIAN: 5.0, AgentKind.STATIC: np.inf}
LARGEST_VEHICLE_M = 100.0
"""Larger people, and larger vehicles, are in another unit than metres."""

_OFF_RAD = np.radians(30)
_FAR_ENOUGH_M = 4.0

_NAMED = 3
"""Number of agents that a message names."""


def parse_origin(item: str, origin_m: ArrayLike) -> NDArray[np.float64]:
    """The world position ``[2]`` of a frame, in an array that cannot be changed.

    Raises:
        ForecastError: It is not two numbers, or no place on Earth.
    """
    origin = parse_array(item, "origin_m", origin_m, (2,), np.float64).copy()
    origin.setflags(write=False)
    good = bool((np.abs(origin) <= FARTHEST_M).all())  # False for NaN
    require(good, f"{item}: origin_m", origin.tolist(), f"metres up to {FARTHEST_M:g}")
    return origin


def parse_names(item: str, names: Iterable[Any]) -> NDArray[np.str_]:
    """The names of agents ``[A]``.

    Raises:
        ForecastError: Two agents have the same name, one has none, or there is no list of them.
    """
    array = np.array([str(name) for name in parse_list("agent_ids", names)], np.str_)
    require("" not in array, f"{item}: the name of an agent", "empty", "a name")
    several, counts = np.unique(array, return_counts=True)
    twice = several[counts > 1][:1].tolist()
    require(not twice, f"{item}: agents named twice", twice, "unique agent_ids")
    return array


def parse_kinds(item: str, kinds: Iterable[Any]) -> NDArray[np.int8]:
    """The kinds of agents ``[A]`` as `AgentKind` values.

    Args:
        item: What has these agents; for messages.
        kinds: `AgentKind` members, their values, or their names in any case.

    Raises:
        ForecastError: A kind is unknown.
    """
    return np.array([parse_kind(item, kind) for kind in parse_list("kinds", kinds)], np.int8)


def parse_kind(item: str, kind: Any) -> AgentKind:
    """One kind; see `parse_kinds`."""
    if isinstance(kind, str) and kind.strip().upper() in AgentKind.__members__:
        return AgentKind[kind.strip().upper()]
    is_number = isinstance(kind, int | float | np.number) and not isinstance(kind, bool)
    if is_number and kind in list(AgentKind):
        return AgentKind(int(kind))
    names = ", ".join(each.name.lower() for each in AgentKind)
    raise ForecastError(
        f"{item}: kinds holds {kind!r}; values of AgentKind, 0 to {max(AgentKind)}, are needed, or "
        f"their names: {names}"
    )


def parse_sizes(
    item: str, sizes_m: ArrayLike | None, kinds: NDArray[np.int8]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The sizes of agents; unknown lengths, widths and heights become typical ones.

    A value that is not above 0 or not finite is unknown: many trackers write 0 or -1.

    Args:
        item: What has these agents; for messages.
        sizes_m: Length, width, height ``[A, 3]``, or None if all are unknown.
        kinds: `AgentKind` values ``[A]``.

    Returns:
        Sizes ``[A, 3]``, and the agents of which a given value was replaced ``[A]``.

    Raises:
        ForecastError: The shape is wrong, a value is no number, or no agent is as large.
    """
    typical = np.array([TYPICAL_SIZE_M[AgentKind(kind)] for kind in kinds.tolist()], np.float32)
    typical = typical.reshape(len(kinds), 3)
    if sizes_m is None:
        return typical, np.zeros(len(kinds), bool)
    given = parse_array(item, "sizes_m", sizes_m, (len(kinds), 3), np.float32)
    known = np.isfinite(given) & (given > 0)
    largest = [_LARGEST_M.get(AgentKind(kind), LARGEST_VEHICLE_M) for kind in kinds.tolist()]
    for agent in np.flatnonzero(np.where(known, given, 0).max(axis=1, initial=0) > largest)[:1]:
        size = given[agent].round(2).tolist()
        raise ForecastError(f"{item}: a size is {size}: centimetres? metres are needed")
    return np.where(known, given, typical), ~known.all(axis=1)


def warn_of_sizes(item: str, names: NDArray[np.str_], replaced: NDArray[np.bool_]) -> None:
    """Says for which agents ``[A]`` typical sizes are used, once in a process for each text."""
    if replaced.any():
        named = ", ".join(names[replaced][:_NAMED].tolist())
        more = ", …" if replaced.sum() > _NAMED else ""
        warnings.warn(
            f"{item}: {int(replaced.sum())} of {len(names)} agents ({named}{more}) have a size "
            "that is not above 0; the typical size of their kind is used",
            ForecastWarning,
            stacklevel=4,
        )


def parse_headings(
    item: str,
    headings_rad: ArrayLike,
    seen: NDArray[np.bool_],
    names: NDArray[np.str_],
    kinds: NDArray[np.int8],
) -> NDArray[np.float32]:
    """The headings of agents; NaN where unknown.

    Args:
        item: What has these agents; for messages.
        headings_rad: Headings ``[A, ...]``.
        seen: Where the agents are observed ``[A, ...]``. Other headings are not checked.
        names: Names of the agents ``[A]``.
        kinds: `AgentKind` values ``[A]``. Headings of pedestrians are not used, so they may be
            anything.

    Raises:
        ForecastError: The shape is wrong, or a heading is infinite or in degrees.
    """
    headings = parse_array(item, "headings_rad", headings_rad, seen.shape, np.float32)
    large = seen & (np.abs(headings) > LARGEST_HEADING_RAD)
    large[kinds == AgentKind.PEDESTRIAN] = False
    for place in np.argwhere(large)[:1]:
        value, name = headings[tuple(place)], names[place[0]]
        raise ForecastError(
            f"{item}: headings_rad of agent '{name}' is {value:g}: degrees? radians are needed, "
            "NaN where unknown"
        )
    return headings


def require_radians(
    item: str,
    headings_rad: NDArray[Any],
    motion_rad: NDArray[Any],
    positions_m: NDArray[Any],
    moves: NDArray[np.bool_],
    names: NDArray[np.str_],
) -> None:
    """Refuses small headings in degrees, which look like radians: 5 degrees are no 5 radians.

    A heading is in degrees if it is far off the direction of motion and its opposite, all the time
    and over some metres, and would be right as degrees. Trackers confuse front and rear.

    Args:
        item: What has these agents; for messages.
        headings_rad: Headings as given ``[A, T]``; NaN where unknown.
        motion_rad: Directions of motion ``[A, T]``.
        positions_m: Positions ``[A, T, 2]``.
        moves: Where an agent with headings that count is observed and its motion known ``[A, T]``.
        names: Names of the agents ``[A]``.

    Raises:
        ForecastError: The headings of an agent are in degrees.
    """
    counted = moves & ~np.isnan(headings_rad)
    off = np.abs(wrap_angle(motion_rad - headings_rad))
    as_degrees = np.abs(wrap_angle(motion_rad - np.radians(headings_rad)))
    fits = (off > _OFF_RAD) & (off < np.pi - _OFF_RAD) & (as_degrees < _OFF_RAD / 3)
    suspect = (fits | ~counted).all(axis=1) & (counted.sum(axis=1) >= 3)
    for agent in np.flatnonzero(suspect).tolist():
        places = positions_m[agent, counted[agent]]
        if np.hypot(*(places[-1] - places[0])) < _FAR_ENOUGH_M:
            continue
        heading = headings_rad[agent, counted[agent]][-1]
        raise ForecastError(
            f"{item}: headings_rad of agent '{names[agent]}' is {heading:g}, far off its motion: "
            "degrees? radians are needed, NaN where unknown"
        )


def parse_array(
    item: str, name: str, value: ArrayLike, shape: tuple[int, ...], dtype: type
) -> NDArray[Any]:
    """An array of a shape and type.

    Raises:
        ForecastError: The shape is another one, or a value is not of that type.
    """
    try:
        array: NDArray[Any] = np.asarray(value, dtype)
    except (TypeError, ValueError, OverflowError):
        kind = np.dtype(dtype).name
        raise ForecastError(
            f"{item}: {name} are not numbers; {kind} {list(shape)} is needed"
        ) from None
    if dtype is bool and not np.array_equal(array, np.asarray(value)):
        raise ForecastError(f"{item}: {name} holds other values than 0 and 1; bool is needed")
    if array.size == 0 and 0 in shape:
        array = array.reshape(shape)
    if array.shape != shape:
        raise ForecastError(
            f"{item}: {name} has shape {list(array.shape)}; {list(shape)} is needed"
        )
    return array


def require_resolution(item: str, name: str, positions_m: NDArray[Any]) -> None:
    """Refuses world coordinates that were rounded before an origin could be subtracted.

    Args:
        item: What has these positions; for messages.
        name: Name of the positions.
        positions_m: Positions as given, NaN where unknown.

    Raises:
        ForecastError: They are of a short floating-point type, too far from 0 for it.
    """
    if positions_m.dtype not in (np.float16, np.float32):
        return
    far = float(np.nanmax(np.abs(positions_m), initial=0.0))
    if far > FLOAT32_REACH_M and np.isfinite(far):
        step = float(np.spacing(positions_m.dtype.type(far)))
        raise ForecastError(
            f"{item}: {name} are {positions_m.dtype}, in steps of {step:g} m at {far:.0f} m; "
            "float64 is needed for world coordinates"
        )


def require_map_near(
    item: str, lane_map: LaneMap | None, positions_m: NDArray[Any], far_m: float = 200.0
) -> None:
    """Refuses a map in another frame than the agents.

    Args:
        item: What has these positions; for messages.
        lane_map: The map, or None.
        positions_m: Positions ``[N, 2]``; without any, nothing is checked.
        far_m: A map is in another frame if no point of it is within this of the box around them.

    Raises:
        ForecastError: The map has points, but none near the agents.
    """
    if lane_map is None or not len(positions_m):
        return
    areas = (lane_map.drivable_area, lane_map.walkways, lane_map.crosswalks)
    lines = [lane_map.centerlines, lane_map.dividers, *(area.rings for area in areas)]
    known = [line.points_m for line in lines if len(line.points_m)]
    if not known:
        return
    low, high = positions_m.min(axis=0), positions_m.max(axis=0)
    boxes = [(points.min(axis=0), points.max(axis=0)) for points in known]
    away = [np.maximum(np.maximum(first - high, low - last), 0.0) for first, last in boxes]
    off_m = min(float(np.hypot(*each)) for each in away)
    if off_m > far_m:
        raise ForecastError(
            f"{item}: the lane map lies {off_m:.0f} m from all agents: world coordinates? a map "
            "relative to origin_m is needed"
        )


def within_reach(
    item: str, local_m: NDArray[np.float64], names: NDArray[np.str_], frame: str
) -> NDArray[np.float32]:
    """Positions relative to an origin as float32.

    Args:
        item: What has these positions; for messages.
        local_m: Positions ``[A, ..., 2]`` relative to the origin.
        names: Names of the agents ``[A]``.
        frame: What is needed instead, for the message.

    Raises:
        ForecastError: A position is too far from the origin for float32.
    """
    axes = tuple(range(1, local_m.ndim))
    far = np.abs(local_m).max(axis=axes, initial=0.0)
    if (far > FLOAT32_REACH_M).any():
        worst = int(np.nanargmax(far))
        raise ForecastError(
            f"{item}: agent '{names[worst]}' lies {far[worst]:.0f} m from origin_m; {frame}, "
            f"within {FLOAT32_REACH_M:.0f} m of it, are needed"
        )
    return local_m.astype(np.float32)
