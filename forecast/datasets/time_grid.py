"""Lays the records of a scene on a grid of equal steps, by their timestamps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.scene.resampling import JITTER, SAME_TIME_US, Resampling

_SAME_RATE = 0.1
"""Records whose usual interval differs from the step by at most this share may be on the grid."""

_SAME_MEAN, _MEAN_OF_ONE = 0.04, 0.2
"""They are if their mean interval differs by at most the first share, plus the second over their
number. Jitter averages out. Another rate does not, and would change every speed."""

_ON_TIME = 0.04
"""Of faster records, one this share of a step off a grid time still stands for it."""

_MOST_STEPS = 1_000_000
"""No scene has more steps. One wrong time, such as 0, would make billions."""

_LONG_STEPS, _LEAST_RECORDED = 10_000, 0.01
"""Of a scene with more steps than the first number, at least this share has a record. Otherwise a
time is wrong, or the recordings of several days are in one scene."""

_PLAUSIBLE_S = (1 / 200, 20.0)
"""Intervals of sensors and annotations. Others are a matter of units."""

_UNITS_S = {"nanoseconds": 1e-9, "microseconds": 1e-6, "milliseconds": 1e-3, "seconds": 1.0}

_USUAL_SHARE = 0.1
"""The interval of an agent's records that this share of all intervals does not exceed is the usual
one. Longer ones are mostly due to missed detections."""


@dataclass(frozen=True, eq=False)
class TimeGrid:
    """The steps of a scene, and the records that they come from.

    Records at the rate of the grid keep their own times: each is the nearest whole number of steps
    after the one before. So jitter has no effect, and a missing record leaves a gap. One that
    follows within half a step is left out. Records at another rate are resampled: positions at grid
    times between two records are interpolated. Where there is a record, no value depends on a later
    one.

    Agents may have times of their own, each at another phase. Then no step has a record of all of
    them, and each agent has the straight continuation of its last two records.

    Attributes:
        step_s: Step length.
        times_us: Times of the records ``[N]``.
        timestamps_us: Time of each step ``[T]``.
        record: The record at each step ``[T]``; -1 where there is none.
        resampled: Whether steps between two records are interpolated.
        asynchronous: Whether agents have times of their own.
    """

    step_s: float
    times_us: NDArray[np.int64]
    timestamps_us: NDArray[np.int64]
    record: NDArray[np.int64]
    resampled: bool
    asynchronous: bool = False

    @classmethod
    def of(
        cls,
        item: str,
        times_us: NDArray[Any],
        step_s: float,
        observed: NDArray[np.int64] | None = None,
    ) -> TimeGrid:
        """The grid of a scene.

        Args:
            item: The scene; for messages.
            times_us: Times of its records ``[N]``, ascending, at least one.
            step_s: Step length.
            observed: Number of agents in each record ``[N]``. If only some of the faster records
                have any, at the rate of the grid, then the grid begins at the first of these.

        Raises:
            ForecastError: The records are too far apart, or their times are in another unit.
        """
        times = np.round(times_us).astype(np.int64)
        intervals = np.diff(np.asarray(times_us, np.float64)) / 1e6
        usual = float(np.median(intervals)) if len(intervals) else step_s
        require_microseconds(item, usual)
        _require_rate(item, intervals, step_s)
        _require_length(item, times, step_s)
        single = intervals[np.round(intervals / step_s) == 1]
        off = abs(single.mean() / step_s - 1) if len(single) else 0.0
        if usual >= (1 - _SAME_RATE) * step_s and (
            off <= _SAME_MEAN + _MEAN_OF_ONE / max(len(single), 1)
        ):
            return cls._by_strides(times, step_s)
        whole = cls._by_time(times, step_s, 0)
        if observed is None:
            return whole
        starts = np.flatnonzero(times - times[0] < step_s * 1e6)
        grids = [whole, *(cls._by_time(times, step_s, int(start)) for start in starts[1:])]
        counts = [int(observed[grid.record[grid.record >= 0]].sum()) for grid in grids]
        best = int(np.argmax(counts))
        return grids[best] if counts[best] > 2 * counts[0] else whole

    @classmethod
    def of_agents(
        cls, item: str, times_us: NDArray[np.int64], agents: NDArray[np.int64], step_s: float
    ) -> TimeGrid:
        """The grid of a scene whose agents have times of their own, in common or not.

        Args:
            item: The scene; for messages.
            times_us: Time of each record ``[R]``.
            agents: Agent of each record ``[R]``; its records are in a row, and ascending.
            step_s: Step length.

        Raises:
            ForecastError: The records of an agent are too far apart.
        """
        times = _distinct(times_us)
        own = np.diff(times_us)[np.diff(agents) == 0] / 1e6
        if not len(own) or _in_common(np.diff(times) / 1e6, own, step_s):
            return cls.of(item, times, step_s)
        _require_rate(item, own, step_s)
        _require_length(item, times, step_s)
        return cls._at_best_phase(times_us, step_s)

    @classmethod
    def _at_best_phase(cls, times_us: NDArray[np.int64], step_s: float) -> TimeGrid:
        """Equal steps, each as soon as possible after the records of most agents."""
        bins = round(step_s * 1e6 / SAME_TIME_US)
        phase = np.arange(bins)
        counts = np.bincount(-(-(times_us - times_us.min()) // SAME_TIME_US) % bins, minlength=bins)
        waits = (phase[:, None] - phase) % bins @ counts
        start = times_us.min() + int(waits.argmin()) * SAME_TIME_US
        longest = times_us.max() - start + _ON_TIME * step_s * 1e6
        steps = np.arange(max(0, int(longest // (step_s * 1e6))) + 1)
        stamps = start + np.round(steps * step_s * 1e6).astype(np.int64)
        record = np.full(len(steps), -1)
        return cls(step_s, _distinct(times_us), stamps, record, resampled=True, asynchronous=True)

    @classmethod
    def _by_strides(cls, times_us: NDArray[np.int64], step_s: float) -> TimeGrid:
        """Every record on a step of its own."""
        kept = np.arange(len(times_us))
        if (np.diff(times_us) <= step_s * 1e6 / 2).any():
            kept = _spaced(times_us, step_s * 1e6 / 2)
        strides = np.round(np.diff(times_us[kept]) / (step_s * 1e6)).astype(np.int64)
        steps = np.append(0, np.cumsum(strides))
        record = np.full(int(steps[-1]) + 1, -1)
        record[steps] = kept
        between = np.interp(np.arange(len(record)), steps, times_us[kept] - times_us[0])
        stamps = times_us[0] + np.round(between).astype(np.int64)
        return cls(step_s, times_us, stamps, record, resampled=False)

    @classmethod
    def _by_time(cls, times_us: NDArray[np.int64], step_s: float, start: int) -> TimeGrid:
        """Steps from record to record where one is on time, and between records elsewhere."""
        stamps, record = [int(times_us[start])], [start]
        while (due := stamps[-1] + step_s * 1e6) <= times_us[-1] + _ON_TIME * step_s * 1e6:
            after = int(np.searchsorted(times_us, round(due)))  # a float would copy all times
            near = np.arange(max(after - 1, 0), min(after + 1, len(times_us)))
            nearest = int(near[np.abs(times_us[near] - due).argmin()])
            on_time = abs(times_us[nearest] - due) <= _ON_TIME * step_s * 1e6
            stamps.append(int(times_us[nearest]) if on_time else round(due))
            record.append(nearest if on_time else -1)
        return cls(step_s, times_us, np.array(stamps), np.array(record), resampled=True)

    @property
    def interpolated(self) -> NDArray[np.bool_] | None:
        """Steps between two records ``[T]``; None if there is none. See `Scene.interpolated`."""
        between = self._between
        return between if between.any() else None

    @property
    def _between(self) -> NDArray[np.bool_]:
        return (self.record < 0) & (self.resampled and not self.asynchronous)

    @property
    def left_out(self) -> int:
        """Number of records that are too close to the one before to have a step of their own."""
        return 0 if self.resampled else len(self.times_us) - int((self.record >= 0).sum())

    def resampling(
        self, valid: NDArray[np.bool_], jumped: NDArray[np.bool_] | None = None
    ) -> Resampling:
        """Where the values at the steps come from.

        No value depends on a record after the next step at which a prediction may start.

        Args:
            valid: Records in which each agent was observed ``[A, N]``.
            jumped: Records at which its track jumps ``[A, N]``, see `jumps`. Nothing is
                interpolated across them.
        """
        if not self.resampled:
            known = (self.record >= 0) & valid[:, self.record]
            row = np.where(known, self.record, 0)
            return Resampling(row, row, np.zeros(row.shape), known)
        way = self._resampled(self.times_us, valid)
        # Who is missing from a common record may have gone; a track goes on for a moment only.
        late_us = self.timestamps_us - self.times_us[way.second]
        way = _only_where(way, (way.share <= 1) | (late_us <= JITTER * self.step_s * 1e6))
        if jumped is None:
            return way
        stretch, agents = np.cumsum(jumped, axis=1), np.arange(len(valid))[:, None]
        return _only_where(way, stretch[agents, way.first] == stretch[agents, way.second])

    def resampling_of(self, times_us: NDArray[np.int64]) -> Resampling:
        """Where the values of one agent at the steps of a resampled grid come from.

        Args:
            times_us: Times of its records ``[N]``, ascending.

        Returns:
            The resampling ``[1, T]`` among these records.
        """
        return self._resampled(times_us, np.ones((1, len(times_us)), bool))

    def steps_of(self, times_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """The steps ``[R]`` of records of which the grid was made, if it is not resampled.

        Those that are `left_out` have step -1.
        """
        step = np.full(len(self.times_us), -1)
        known = np.flatnonzero(self.record >= 0)
        step[self.record[known]] = known
        return step[np.searchsorted(self.times_us, times_us, side="right") - 1]

    def _resampled(self, times_us: NDArray[np.int64], valid: NDArray[np.bool_]) -> Resampling:
        """The resampling without values that depend on a record after the next prediction time."""
        step_us, causal = self.step_s * 1e6, ~self._between
        way = Resampling.at(self.timestamps_us, times_us, valid, step_us, causal)
        starts = self.asynchronous | (self.record >= 0)  # steps at which a prediction may start
        next_us = np.where(starts, self.timestamps_us, np.iinfo(np.int64).max)
        next_us = np.minimum.accumulate(next_us[::-1])[::-1]
        used_us = times_us[np.maximum(way.first, way.second)]
        return _only_where(way, used_us - SAME_TIME_US <= next_us)


def _distinct(times_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """The distinct times, ascending. Of times within `SAME_TIME_US`, the first stands for all."""
    times, kept = np.unique(times_us), [0]
    while (after := int(np.searchsorted(times, times[kept[-1]] + SAME_TIME_US, "right"))) < len(
        times
    ):
        kept.append(after)
    return times[kept]


def _in_common(intervals_s: NDArray[np.float64], own_s: NDArray[np.float64], step_s: float) -> bool:
    """Whether agents were recorded at common times.

    Args:
        intervals_s: Intervals between all times.
        own_s: Intervals between the records of one agent.
        step_s: Step length. At its rate, a single record between two steps would shift the others.
    """
    usual = float(np.quantile(own_s, _USUAL_SHARE))
    shortest = intervals_s.min() if usual >= (1 - _SAME_RATE) * step_s else np.median(intervals_s)
    return bool(shortest >= usual / 2)


def _require_rate(item: str, intervals_s: NDArray[np.float64], step_s: float) -> None:
    """Refuses records that are usually farther apart than a step."""
    usual = float(np.median(intervals_s)) if len(intervals_s) else step_s
    on_grid = intervals_s[intervals_s <= (1 + _SAME_RATE) * step_s]
    if usual > (1 + _SAME_RATE) * step_s and len(on_grid) < 0.1 * len(intervals_s):
        raise ForecastError(
            f"{item}: a record every {usual:.3g} s was measured; {step_s} s or less is needed "
            f"({1 / step_s:g} Hz or more)"
        )


def _require_length(item: str, times_us: NDArray[np.int64], step_s: float) -> None:
    """Refuses scenes that are longer than any recording."""
    length_s = (float(times_us[-1]) - float(times_us[0])) / 1e6
    most_s = max(_LONG_STEPS, len(np.unique(times_us)) / _LEAST_RECORDED) * step_s
    most_s = min(most_s, _MOST_STEPS * step_s)
    if length_s > most_s:
        gap = int(np.diff(times_us.astype(np.float64)).argmax())
        raise ForecastError(
            f"{item}: {length_s:.6g} s from the first to the last record; at most "
            f"{most_s:.6g} s is needed for {len(times_us)} records: is the time {times_us[gap]} us "
            f"or {times_us[gap + 1]} us wrong? else cut it into several scenes"
        )


def _only_where(way: Resampling, kept: NDArray[np.bool_]) -> Resampling:
    """The same values, but only where a mask ``[A, T]`` allows them."""
    kept = kept & way.valid
    first, second = np.where(kept, way.first, 0), np.where(kept, way.second, 0)
    return Resampling(first, second, np.where(kept, way.share, 0.0), kept)


def _spaced(times_us: NDArray[np.int64], least_us: float) -> NDArray[np.int64]:
    """The records that follow the one before by more than some time; the first is one."""
    kept = [0]
    for row in range(1, len(times_us)):
        if times_us[row] - times_us[kept[-1]] > least_us:
            kept.append(row)
    return np.array(kept)


def require_microseconds(item: str, interval_s: float) -> None:
    """Refuses times that are in another unit than microseconds; see `require_unit`."""
    require_unit(item, interval_s, "microseconds")


def require_unit(item: str, interval_s: float, unit: str) -> None:
    """Refuses times that are in another unit than the documented one, and guesses which.

    Args:
        item: What has these times; for the message.
        interval_s: The usual interval between two records, if they are in that unit.
        unit: The documented unit, such as ``microseconds``.

    Raises:
        ForecastError: No sensor has such an interval.
    """
    least, most = _PLAUSIBLE_S
    if least <= interval_s <= most:
        return
    number = interval_s / _UNITS_S[unit]
    guesses = [name for name, each_s in _UNITS_S.items() if least <= number * each_s <= most]
    guess = f": {guesses[0]}?" if guesses else ";"
    raise ForecastError(f"{item}: {interval_s:.6g} s between records{guess} {unit} are needed")
