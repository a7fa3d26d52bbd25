"""Plans and agents as arrays for the Numba loops, relative to the ego's present position."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.models.machine_code import Floats, Mask
from forecast.planning.ego import EgoState
from forecast.planning.futures import Futures


class Plans(NamedTuple):
    """The ego's body on P plans of T steps; the first pose is the present one.

    Attributes:
        x: ``[P, T + 1]``.
        y: ``[P, T + 1]``.
        heading: Unwrapped: without jumps by a full turn ``[P, T + 1]``.
        middle: Position, cosine and sine half way through each step ``[4, P, T]``.
        step: Change of the position in each step, along x and y ``[2, P, T]``.
        half_step: Half the length of each step ``[P, T]``.
        half_x: Half length of the body.
        half_y: Half its width.
    """

    x: Floats
    y: Floats
    heading: Floats
    middle: Floats
    step: Floats
    half_step: Floats
    half_x: float
    half_y: float

    @classmethod
    def of(cls, plans: NDArray[np.float64], ego: EgoState) -> Plans:
        """Plans ``[P, T, 3]`` of an ego."""
        now = np.broadcast_to(ego.pose, (len(plans), 1, 3))
        poses = np.concatenate([now, plans], axis=1)
        poses[..., 2] = np.unwrap(poses[..., 2], axis=1)
        poses[..., :2] -= ego.pose[:2]
        x, y, heading = np.array(poses.transpose(2, 0, 1), np.float32, order="C")
        half_way = (poses[:, 1:] + poses[:, :-1]) / 2
        turned = half_way[..., 2]
        middle = np.stack([*half_way[..., :2].transpose(2, 0, 1), np.cos(turned), np.sin(turned)])
        step = np.stack([np.diff(x), np.diff(y)])
        return cls(
            x,
            y,
            heading,
            middle.astype(np.float32),
            step,
            np.hypot(*step) / 2,
            half_x=ego.length_m / 2,
            half_y=ego.width_m / 2,
        )

    def rows(self, chosen: slice) -> Plans:
        """Some of the plans."""
        return self._replace(
            x=self.x[chosen],
            y=self.y[chosen],
            heading=self.heading[chosen],
            middle=np.ascontiguousarray(self.middle[:, chosen]),
            step=np.ascontiguousarray(self.step[:, chosen]),
            half_step=self.half_step[chosen],
        )


class Agents(NamedTuple):
    """The bodies of the agents in all K samples, N = K * A.

    The axis R has length 1 if all plans share the futures, else P.

    Attributes:
        x: ``[R, T + 1, N]``.
        y: ``[R, T + 1, N]``.
        heading: During each step ``[R, T, N]``; 0 for discs.
        middle: Position half way through each step ``[2, R, T, N]``.
        step: Change of the position in each step, along x and y ``[2, R, T, N]``.
        travelled: Length of the path since now ``[R, T + 1, N]``.
        length: Half length ``[N]``.
        width: Half width ``[N]``.
        radius: Radius of a disc, half the width of a box ``[N]``.
        reach: Radius of the circle around the body ``[N]``.
        disc: Whether it is a disc ``[N]``.
        number: Number of agents A.
    """

    x: Floats
    y: Floats
    heading: Floats
    middle: Floats
    step: Floats
    travelled: Floats
    length: Floats
    width: Floats
    radius: Floats
    reach: Floats
    disc: Mask
    number: int

    @classmethod
    def of(cls, futures: Futures, ego: EgoState) -> Agents:
        """The bodies of the agents of futures."""
        positions = futures.from_now_m() - ego.pose[:2]
        x, y = (_time_first(positions[..., axis], futures) for axis in (0, 1))
        step = np.stack([np.diff(x, axis=1), np.diff(y, axis=1)])
        half = futures.sizes_m.astype(np.float32) / 2
        radius = np.where(futures.disc, half.mean(-1), half.min(-1))
        reach = np.where(futures.disc, radius, np.hypot(*half.T))
        length, width, radius, reach, disc = (
            np.tile(values, futures.samples)
            for values in (half[:, 0], half[:, 1], radius, reach, futures.disc)
        )
        return cls(
            x=x,
            y=y,
            heading=_time_first(_headings(futures), futures),
            middle=np.stack([(v[:, 1:] + v[:, :-1]) / 2 for v in (x, y)]),
            step=step,
            travelled=np.pad(np.hypot(*step).cumsum(1), ((0, 0), (1, 0), (0, 0))),
            length=length,
            width=width,
            radius=radius,
            reach=reach,
            disc=disc,
            number=len(half),
        )


def _headings(futures: Futures) -> Floats:
    """Heading ``[..., K, A, T]`` during each step; 0 for discs."""
    headings = np.zeros(futures.positions_m.shape[:-1], np.float32)
    if not futures.disc.all():
        headings[..., ~futures.disc, :] = futures.select(~futures.disc).step_headings_rad()
    return headings


def _time_first(values: NDArray[Any], futures: Futures) -> Floats:
    """``[K, A, T]`` or ``[P, K, A, T]`` as ``[R, T, K * A]``."""
    stacked = values if futures.reactive else values[None]
    flat = stacked.reshape(len(stacked), -1, stacked.shape[-1])
    return np.array(flat.transpose(0, 2, 1), np.float32, order="C")
