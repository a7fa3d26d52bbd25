"""When do two bodies touch? The geometry behind time to collision and post-encroachment time.

The one definition of both, for the metrics (`forecast.models.metrics.criticality`) and the planner
(`forecast.planning.clearance`):

- The time to collision (Hayward, 1972) is the first time at which a body that moves at constant
  velocity touches the ego's box: `disc_entry`, `box_entry`, or `widened_box_entry`.
- The post-encroachment time (Allen, Shin and Cooper, TRR 667, 1978) is the smallest `encroachment`:
  the time between the ego covering a place and an agent being there.

The functions are exact and compiled with Numba, so they work on one pair of bodies. Everything is
in the frame of the ego's box: its centre is the origin, its length lies along x. A motion
``(x, y, dx, dy)`` is the position of a point at time 0 and its change until time 1.
"""

from __future__ import annotations

import math

from forecast.models.machine_code import compiled

Motion = tuple[float, float, float, float]

_TINY = 1e-12


@compiled
def length(x: float, y: float) -> float:
    """Length of a vector; ten times as fast as `math.hypot`, which guards against overflow."""
    return math.sqrt(x * x + y * y)


@compiled
def turned(move: Motion, cos: float, sin: float) -> Motion:
    """The same motion in a frame that is turned by an angle."""
    x, y, dx, dy = move
    return cos * x + sin * y, cos * y - sin * x, cos * dx + sin * dy, cos * dy - sin * dx


@compiled
def _within(x: float, dx: float, half: float) -> tuple[float, float]:
    """The interval of times with ``|x + t dx| <= half``; empty if its end is before its start."""
    inverse = 1 / (dx if abs(dx) > _TINY else _TINY)
    middle, reach = -x * inverse, half * abs(inverse)
    return middle - reach, middle + reach


@compiled
def within_box(move: Motion, half_x: float, half_y: float) -> tuple[float, float]:
    """The interval of times at which the point is in the box; empty as for `_within`."""
    x, y, dx, dy = move
    start_x, stop_x = _within(x, dx, half_x)
    start_y, stop_y = _within(y, dy, half_y)
    return max(start_x, start_y), min(stop_x, stop_y)


@compiled
def first(start: float, stop: float) -> float:
    """First time from 0 on within an interval; infinite if there is none."""
    begin = max(start, 0.0)
    return begin if begin <= stop else math.inf


@compiled
def _corner(which: int, half_x: float, half_y: float) -> tuple[float, float]:
    """One of a box's four corners."""
    return (half_x if which & 1 else -half_x), (half_y if which & 2 else -half_y)


@compiled
def outside_box(x: float, y: float, half_x: float, half_y: float) -> float:
    """Distance of a point from the box; 0 inside."""
    return length(max(abs(x) - half_x, 0.0), max(abs(y) - half_y, 0.0))


@compiled
def distance_to_box(move: Motion, half_x: float, half_y: float) -> float:
    """Smallest distance between the box and the point over times 0 to 1; 0 inside.

    If they do not meet, the smallest distance is at an end of the segment or at a corner.
    """
    if first(*within_box(move, half_x, half_y)) <= 1:
        return 0.0
    x, y, dx, dy = move
    nearest = min(
        outside_box(x, y, half_x, half_y),
        outside_box(x + dx, y + dy, half_x, half_y),
    )
    length2 = max(dx * dx + dy * dy, _TINY)
    for corner in range(4):
        to_x, to_y = _corner(corner, half_x, half_y)
        to_x, to_y = to_x - x, to_y - y
        share = min(max((to_x * dx + to_y * dy) / length2, 0.0), 1.0)
        nearest = min(nearest, length(to_x - share * dx, to_y - share * dy))
    return nearest


@compiled
def encroachment(time: float, comes: float, leaves: float) -> float:
    """Time between being at a place and the other covering it from ``comes`` to ``leaves``.

    0 if both are there at once.
    """
    return max(comes - time, time - leaves, 0.0)


@compiled
def widened_box_entry(move: Motion, half_x: float, half_y: float, radius: float) -> float:
    """First time from 0 on at which the point is in the box widened on every side; else infinite.

    A disc of that radius touches the box no earlier: the corners of the widened box are square.
    """
    return first(*within_box(move, half_x + radius, half_y + radius))


@compiled
def disc_entry(move: Motion, half_x: float, half_y: float, radius: float) -> float:
    """First time from 0 on at which a disc touches the box; infinite if never.

    Box and disc touch if the centre is in the box with its corners rounded by the radius, which is
    the union of two boxes and four circles.
    """
    if widened_box_entry(move, half_x, half_y, radius) == math.inf:
        return math.inf
    entry = min(
        first(*within_box(move, half_x + radius, half_y)),
        first(*within_box(move, half_x, half_y + radius)),
    )
    x, y, dx, dy = move
    speed2 = max(dx * dx + dy * dy, _TINY)
    for corner in range(4):
        to_x, to_y = _corner(corner, half_x, half_y)
        to_x, to_y = x - to_x, y - to_y
        along = to_x * dx + to_y * dy
        root2 = along * along - speed2 * (to_x * to_x + to_y * to_y - radius * radius)
        if root2 >= 0:
            root = math.sqrt(root2)
            entry = min(entry, first((-along - root) / speed2, (root - along) / speed2))
    return entry


@compiled
def box_entry(
    move: Motion,
    cos: float,
    sin: float,
    half_x: float,
    half_y: float,
    other_x: float,
    other_y: float,
) -> float:
    """First time from 0 on at which another box touches the box; infinite if never.

    Two boxes are apart if and only if they are apart along an axis of one of them (separating axis
    theorem). Each of the four axes gives an interval of overlap; they touch while all overlap.

    Args:
        move: The other box's centre.
        cos: Of the angle by which the other box is turned.
        sin: Of that angle.
        half_x: Half length of the box.
        half_y: Half its width.
        other_x: Half length of the other box.
        other_y: Half its width.
    """
    c, s = abs(cos), abs(sin)
    start, stop = within_box(
        move, half_x + c * other_x + s * other_y, half_y + s * other_x + c * other_y
    )
    other_start, other_stop = within_box(
        turned(move, cos, sin),
        other_x + c * half_x + s * half_y,
        other_y + s * half_x + c * half_y,
    )
    return first(max(start, other_start), min(stop, other_stop))


@compiled
def box_distance(
    move: Motion,
    cos: float,
    sin: float,
    half_x: float,
    half_y: float,
    other_x: float,
    other_y: float,
) -> float:
    """Smallest distance between two boxes over times 0 to 1; arguments as `box_entry`.

    If they do not meet, the smallest distance is at a corner of one of them.
    """
    if box_entry(move, cos, sin, half_x, half_y, other_x, other_y) <= 1:
        return 0.0
    x, y, dx, dy = move
    away_x, away_y, away_dx, away_dy = turned(move, cos, sin)
    nearest = math.inf
    for corner in range(4):
        a, b = _corner(corner, other_x, other_y)
        theirs = (x + cos * a - sin * b, y + sin * a + cos * b, dx, dy)
        nearest = min(nearest, distance_to_box(theirs, half_x, half_y))
        a, b = _corner(corner, half_x, half_y)
        own = (cos * a + sin * b - away_x, cos * b - sin * a - away_y, -away_dx, -away_dy)
        nearest = min(nearest, distance_to_box(own, other_x, other_y))
    return nearest
