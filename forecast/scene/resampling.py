"""Positions of tracks at other times than those at which they were recorded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.geometry import wrap_angle
from forecast.scene.continuity import continuous, jumps
from forecast.scene.scene import Scene

JITTER = 0.25
"""Records may come early or late by this share of a step."""

SAME_TIME_US = 1000
"""Times this close are the same."""


@dataclass(frozen=True, eq=False)
class Resampling:
    """Where the values of A agents at T times come from, among N records at common times.

    A value between two records of an agent is interpolated if they are at most a step (and
    `JITTER`) apart. Longer gaps stay gaps. Where records are irregular, a time just before the
    first of them, by at most `JITTER`, gets the straight continuation of the first two. Without it,
    an interval of 0.48 s in place of 0.5 s would leave an agent without a velocity.

    At a causal time, a value depends on no later record. An agent without a record then gets the
    straight continuation of its last two, as far as they are apart (and `JITTER`).

    Attributes:
        first: The earlier record ``[A, T]``.
        second: The later record ``[A, T]``; equal to ``first`` at the time of a record.
        share: Weight of the later record ``[A, T]``; below 0 before the first and above 1 after the
            second one.
        valid: Where there is a value ``[A, T]``.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    share: NDArray[np.float64]
    valid: NDArray[np.bool_]

    @classmethod
    def at(
        cls,
        wanted_us: NDArray[np.int64],
        times_us: NDArray[np.int64],
        valid: NDArray[np.bool_],
        step_us: float,
        causal: NDArray[np.bool_] | None = None,
    ) -> Resampling:
        """The resampling of tracks to some times.

        Args:
            wanted_us: The times ``[T]``, ascending.
            times_us: Times of the records ``[N]``, ascending, at least one.
            valid: Records in which each agent was observed ``[A, N]``.
            step_us: Records farther apart than this (and `JITTER`) are separated by a gap.
            causal: Which times are causal ``[T]``; None for none.
        """
        count = len(times_us)
        # Rows 0 and N + 1 stand for "no record before" and "no record after".
        stamp = np.concatenate([[-np.inf], times_us - wanted_us[-1], [np.inf]])
        wanted = (wanted_us - wanted_us[-1]).astype(np.float64)
        last = np.searchsorted(stamp, wanted + SAME_TIME_US, side="right") - 1
        exact = wanted - stamp[last] <= SAME_TIME_US  # a record at that very time
        before, after = _neighbours(valid)
        start, end = before[:, last], after[:, last + 1]  # [A, T]
        # The records before `start` and after `end`.
        prior = np.take_along_axis(before, np.maximum(start - 1, 0), axis=1)
        beyond = np.take_along_axis(after, np.minimum(end + 1, count + 1), axis=1)
        longest = (1 + JITTER) * step_us
        on = exact & (start == last)
        ahead = ~on & (False if causal is None else causal)
        free = ~on & (True if causal is None else ~causal)
        with np.errstate(invalid="ignore"):  # both may be "none before", or both "none after"
            interval = stamp[start] - stamp[prior]
            late = (
                ahead & (interval <= longest) & (wanted - stamp[start] <= (1 + JITTER) * interval)
            )
            inside = free & (stamp[end] - stamp[start] <= longest)
            early = free & ~inside & ~exact & (stamp[end] - wanted <= JITTER * step_us)
            early &= stamp[beyond] - stamp[end] <= longest
        found = on | inside | early | late
        first = np.select([~found, early, late], [1, end, prior], start)
        second = np.select([~found, on | late, early], [1, start, beyond], end)
        width = stamp[second] - stamp[first]
        share = np.where(on, 0.0, (wanted - stamp[first]) / np.where(width > 0, width, 1.0))
        return cls(first - 1, second - 1, np.where(found, share, 0.0), found)

    def values(self, records: NDArray[Any]) -> NDArray[Any]:
        """Linear interpolation of values ``[A, N, ...]``; 0 where not valid ``[A, T, ...]``."""
        first, second = self._pair(records)
        share, valid = (
            each.reshape(each.shape + (1,) * (first.ndim - 2)) for each in (self.share, self.valid)
        )
        return np.where(valid, first + share * (second - first), 0).astype(records.dtype)

    def angles(self, records: NDArray[Any]) -> NDArray[Any]:
        """Interpolation of angles ``[A, N]`` in radians along the shorter arc ``[A, T]``."""
        first, second = self._pair(records)
        turned = wrap_angle(first + self.share * wrap_angle(second - first))
        between = np.where(self.first == self.second, first, turned)
        return np.where(self.valid, between, 0).astype(records.dtype)

    def _pair(self, records: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        agents = np.arange(len(records))[:, None]
        first = records[agents, self.first]
        return first, first if self.second is self.first else records[agents, self.second]


def _neighbours(valid: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The latest valid record up to each row, and the earliest from it on ``[A, N + 2]``.

    Rows are those of records plus 1; row 0 is "none before", row N + 1 is "none after".
    """
    agents, count = valid.shape
    padded = np.zeros((agents, count + 2), bool)
    padded[:, 1:-1] = valid
    rows = np.arange(count + 2)
    before = np.maximum.accumulate(np.where(padded, rows, 0), axis=1)
    from_end = np.where(padded, rows, count + 1)[:, ::-1]
    after = np.minimum.accumulate(from_end, axis=1)[:, ::-1]
    return before, after


def history_resampling(
    positions_m: NDArray[Any],
    valid: NDArray[np.bool_],
    times_us: NDArray[np.int64],
    kinds: NDArray[np.int8],
    *,
    dt_s: float,
    steps: int,
) -> tuple[NDArray[np.int64], Resampling]:
    """Where the last steps of tracks come from, at a step length of their own.

    What was observed before a jump (`forecast.scene.continuity`) is not used.

    Args:
        positions_m: Positions ``[A, N, 2]``.
        valid: Records in which each agent was observed ``[A, N]``.
        times_us: Times of the records ``[N]``, ascending, at least one.
        kinds: `AgentKind` values ``[A]``.
        dt_s: The step length.
        steps: Number of steps T.

    Returns:
        The time of the last record and the times ``dt_s``, ``2 dt_s``, … before it ``[T]``,
        ascending; and the resampling to them.
    """
    back_us = np.round(np.arange(steps - 1, -1, -1) * dt_s * 1e6).astype(np.int64)
    wanted_us = times_us[-1] - back_us
    own = continuous(valid, jumps(positions_m, valid, times_us, kinds), len(times_us) - 1)
    return wanted_us, Resampling.at(wanted_us, times_us, own, dt_s * 1e6)


def history(past: Scene, dt_s: float, steps: int) -> Scene:
    """The last steps of a scene on a coarser time grid, which ends at its last step.

    Args:
        past: The scene.
        dt_s: The new step length.
        steps: Number of steps of the result; those before the scene's first are not valid.

    Returns:
        The scene at its last time and at the times ``dt_s``, ``2 dt_s``, … before it.
    """
    tracks = past.tracks
    observed = tracks.positions_m, tracks.valid, past.timestamps_us, tracks.kinds
    wanted_us, way = history_resampling(*observed, dt_s=dt_s, steps=steps)
    return replace(
        past,
        dt_s=dt_s,
        timestamps_us=wanted_us,
        tracks=replace(
            tracks,
            positions_m=way.values(tracks.positions_m),
            headings_rad=way.angles(tracks.headings_rad),
            valid=way.valid,
            visibility=None,
            decisions=None,
        ),
        frame_ids=np.full(steps, "", np.str_),
        interpolated=None,
    )
