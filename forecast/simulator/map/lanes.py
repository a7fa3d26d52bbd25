"""Lanes, and the straight lines and arcs that they consist of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast import geometry


@dataclass(frozen=True)
class Piece:
    """A straight line or an arc of a lane's path.

    Attributes:
        start: Pose (x_m, y_m, heading_rad).
        length_m: Length along the path.
        curvature_per_m: Positive to the left, 0 for a straight line.
    """

    start: tuple[float, float, float]
    length_m: float
    curvature_per_m: float

    def at(self, along_m: NDArray[Any]) -> NDArray[np.float64]:
        """Returns the poses ``[P, 3]`` at distances ``[P]`` along the piece."""
        x, y, heading = self.start
        turned = self.curvature_per_m * along_m
        chord = along_m * np.sinc(turned / 2 / np.pi)
        direction = heading + turned / 2
        return np.stack(
            [x + chord * np.cos(direction), y + chord * np.sin(direction), heading + turned], -1
        )

    def cut(self, begin_m: float, end_m: float) -> Piece:
        """Returns the part of the piece between two distances along it."""
        x, y, heading = self.at(np.array([begin_m]))[0].tolist()
        return Piece((x, y, heading), end_m - begin_m, self.curvature_per_m)

    def beside(self, left_m: float) -> Piece:
        """Returns the parallel piece at an offset to the left."""
        x, y, heading = self.start
        start = (x - left_m * float(np.sin(heading)), y + left_m * float(np.cos(heading)), heading)
        scale = 1 - self.curvature_per_m * left_m
        return Piece(start, self.length_m * scale, self.curvature_per_m / scale)

    def reverse(self) -> Piece:
        """Returns the same piece in the opposite direction."""
        x, y, heading = self.at(np.array([self.length_m]))[0].tolist()
        return Piece((x, y, heading + np.pi), self.length_m, -self.curvature_per_m)


@dataclass(frozen=True)
class Lane:
    """A lane of a street, or a connector through a junction.

    Attributes:
        name: Unique in the district.
        path: The pieces of its centre line in driving direction.
        connector: Whether it leads through a junction.
        successors: Indices of the next lanes.
    """

    name: str
    path: tuple[Piece, ...]
    connector: bool
    successors: tuple[int, ...] = ()

    @property
    def length_m(self) -> float:
        """Length of the centre line."""
        return sum(piece.length_m for piece in self.path)

    def poses(self, spacing_m: float) -> NDArray[np.float64]:
        """Returns poses ``[P, 3]`` along the lane, at most ``spacing_m`` apart, with both ends."""
        rows = []
        for piece in self.path:
            count = max(int(np.ceil(piece.length_m / spacing_m)), 1) + 1
            rows.append(piece.at(np.linspace(0, piece.length_m, count)))
        return np.concatenate([rows[0], *(row[1:] for row in rows[1:])])


def bend(
    start: tuple[float, float, float], ahead_m: float, left_m: float, straight_m: float
) -> tuple[Piece, ...]:
    """Builds a path that ends parallel to its start: straight, or with two arcs in its middle.

    Args:
        start: Pose at its start (x_m, y_m, heading_rad).
        ahead_m: Distance of its end ahead of the start.
        left_m: Distance of its end to the left of the start.
        straight_m: Length of the straight first and last part of a path with arcs.
    """
    if abs(left_m) < 0.01:
        return (Piece(start, ahead_m, 0.0),)
    across_m = ahead_m - 2 * straight_m
    turn = 2 * float(np.arctan2(left_m, across_m))
    curvature = float(np.sin(turn)) / (across_m / 2)
    pieces = [Piece(start, straight_m, 0.0)]
    lengths = (turn / curvature, turn / curvature, straight_m)
    for length, bent in zip(lengths, (curvature, -curvature, 0.0), strict=True):
        pieces.append(Piece(_end(pieces[-1]), length, bent))
    return tuple(pieces)


def trim(path: tuple[Piece, ...], begin_m: float, end_m: float) -> tuple[Piece, ...]:
    """Returns the part of a path between two distances along it."""
    kept, done = [], 0.0
    for piece in path:
        begin, end = max(begin_m - done, 0.0), min(end_m - done, piece.length_m)
        if begin < end:
            kept.append(piece.cut(begin, end))
        done += piece.length_m
    return tuple(kept)


def _end(piece: Piece) -> tuple[float, float, float]:
    x, y, heading = piece.at(np.array([piece.length_m]))[0].tolist()
    return x, y, heading


def connect(into: Lane, out_of: Lane, name: str) -> Lane:
    """Builds the connector from the end of one lane to the start of another: a line or an arc."""
    start = into.path[-1].at(np.array([into.path[-1].length_m]))[0]
    end = np.array(out_of.path[0].start)
    chord = float(np.hypot(*(end - start)[:2]))
    turn = float(geometry.wrap_angle(end[2] - start[2]))
    length = chord / float(np.sinc(turn / 2 / np.pi))
    x, y, heading = map(float, start)
    piece = Piece((x, y, heading), length, turn / length)
    return Lane(f"connector {name}", (piece,), connector=True)
