"""Exact geometry of one box and a point, disc or box that moves past it on a straight line.

Everything happens in the frame of the first box: its centre is the origin, its length lies along
x. Coordinates are separate tensors of one shape, half sizes numbers or tensors that broadcast.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_TINY = 1e-12


class Motion(NamedTuple):
    """Points at a time 0 and how they move until time 1, or per second."""

    x: Tensor
    y: Tensor
    dx: Tensor
    dy: Tensor

    def turned(self, angle_rad: Tensor) -> Motion:
        """The same motion seen from axes turned by ``angle_rad``."""
        cos, sin = angle_rad.cos(), angle_rad.sin()
        return Motion(
            cos * self.x + sin * self.y,
            cos * self.y - sin * self.x,
            cos * self.dx + sin * self.dy,
            cos * self.dy - sin * self.dx,
        )

    def rows(self, chosen: Tensor) -> Motion:
        """Some of the points."""
        return Motion(*(value[..., chosen] for value in self))


def within(x: Tensor, dx: Tensor, half: Tensor | float) -> tuple[Tensor, Tensor]:
    """From when to when ``|x + t dx| <= half``; an empty interval has its end before its start."""
    inverse = 1 / torch.where(dx.abs() < _TINY, _TINY, dx)
    middle, reach = -x * inverse, half * inverse.abs()
    return middle - reach, middle + reach


def within_box(
    move: Motion, half_x: Tensor | float, half_y: Tensor | float
) -> tuple[Tensor, Tensor]:
    """From when to when the points are in the box; empty where the end is before the start."""
    start_x, stop_x = within(move.x, move.dx, half_x)
    start_y, stop_y = within(move.y, move.dy, half_y)
    return torch.maximum(start_x, start_y), torch.minimum(stop_x, stop_y)


def distance_to_box(move: Motion, half_x: Tensor | float, half_y: Tensor | float) -> Tensor:
    """Smallest distance between the box and the points over times 0 to 1; 0 inside.

    A segment and a box that do not meet are closest at an end of the segment or at a corner.
    """
    ends = [
        torch.hypot(((move.x + t * move.dx).abs() - half_x).relu(),
                    ((move.y + t * move.dy).abs() - half_y).relu())
        for t in (0.0, 1.0)
    ]  # fmt: skip
    nearest = torch.minimum(*ends)
    length = (move.dx.square() + move.dy.square()).clamp_min(_TINY)
    for sign_x in (-1, 1):
        for sign_y in (-1, 1):
            to_x, to_y = sign_x * half_x - move.x, sign_y * half_y - move.y
            share = ((to_x * move.dx + to_y * move.dy) / length).clamp(0, 1)
            corner = torch.hypot(to_x - share * move.dx, to_y - share * move.dy)
            nearest = torch.minimum(nearest, corner)
    start, stop = within_box(move, half_x, half_y)
    inside = torch.maximum(start, torch.zeros_like(start)) <= stop.clamp_max(1)
    return torch.where(inside, 0.0, nearest)


def disc_entry(move: Motion, half_x: float, half_y: float, radius: Tensor) -> Tensor:
    """First time from 0 on at which discs touch the box; infinite if never.

    Box and disc touch where the centre is in the box with its corners rounded by the radius: two
    boxes and four circles.
    """
    entries = [
        _first(*within_box(move, half_x + radius, half_y)),
        _first(*within_box(move, half_x, half_y + radius)),
    ]
    speed2 = (move.dx.square() + move.dy.square()).clamp_min(_TINY)
    for sign_x in (-1, 1):
        for sign_y in (-1, 1):
            x, y = move.x - sign_x * half_x, move.y - sign_y * half_y
            along = x * move.dx + y * move.dy
            root2 = along.square() - speed2 * (x.square() + y.square() - radius.square())
            root = root2.clamp_min(0).sqrt()
            stop = torch.where(root2 < 0, -1.0, (root - along) / speed2)
            entries.append(_first((-along - root) / speed2, stop))
    return torch.stack(entries).amin(0)


def _first(start: Tensor, stop: Tensor) -> Tensor:
    """First time from 0 on within an interval; infinite if there is none."""
    begin = start.clamp_min(0)
    return torch.where(begin <= stop, begin, torch.inf)


def box_entry(
    move: Motion, turn_rad: Tensor, half: tuple[float, float], other: tuple[Tensor, Tensor]
) -> Tensor:
    """First time from 0 on at which boxes, turned by ``turn_rad``, touch the box; else infinite.

    Two boxes are apart exactly if they are apart along an axis of one of them (separating axes);
    each axis gives an interval of overlap, and they touch where all four intervals meet.
    """
    cos, sin = turn_rad.cos().abs(), turn_rad.sin().abs()
    length, width = other
    own = within_box(
        move, half[0] + cos * length + sin * width, half[1] + sin * length + cos * width
    )
    theirs = within_box(
        move.turned(turn_rad),
        length + cos * half[0] + sin * half[1],
        width + sin * half[0] + cos * half[1],
    )
    return _first(torch.maximum(own[0], theirs[0]), torch.minimum(own[1], theirs[1]))


def box_distance(
    move: Motion, turn_rad: Tensor, half: tuple[float, float], other: tuple[Tensor, Tensor]
) -> Tensor:
    """Smallest distance between the box and boxes turned by ``turn_rad`` over times 0 to 1.

    Boxes that do not meet are closest at a corner of one of them.
    """
    cos, sin = turn_rad.cos(), turn_rad.sin()
    turned = move.turned(turn_rad)
    nearest = torch.full_like(move.x, torch.inf)
    for sign_x in (-1, 1):
        for sign_y in (-1, 1):
            x, y = sign_x * other[0], sign_y * other[1]
            corner = move._replace(x=move.x + cos * x - sin * y, y=move.y + sin * x + cos * y)
            nearest = torch.minimum(nearest, distance_to_box(corner, *half))
            own_x = cos * (sign_x * half[0]) + sin * (sign_y * half[1]) - turned.x
            own_y = cos * (sign_y * half[1]) - sin * (sign_x * half[0]) - turned.y
            own = Motion(own_x, own_y, -turned.dx, -turned.dy)
            nearest = torch.minimum(nearest, distance_to_box(own, *other))
    return torch.where(box_entry(move, turn_rad, half, other) <= 1, 0.0, nearest)
