"""Makes a scene of rows: one agent at one time each, at any rate and in any order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.time_grid import TimeGrid, require_unit
from forecast.errors import ForecastError, require
from forecast.scene import AgentKind, Scene
from forecast.scene.continuity import jumps
from forecast.scene.parsing import parse_sizes

_MOST_VALUES = 30_000_000
"""Agents times steps of the largest scene; it takes about 2 GB while it is made."""

_NEAR_M = 1000.0
"""A scene within this distance of the world's origin keeps it as its own."""

_FAST_MPS = 6.0
"""No crowd usually moves faster. The medians of 55 recordings of ETH/UCY and Stanford are 0.6 to
2.6 m/s."""

_LATEST_S = 1e11
"""No clock counts as many seconds."""

_SMALLEST_M = 0.3
"""Two people have no room within this distance."""

_APART_S = 0.39
"""Speeds are taken over at least this time."""

_MOVED_M = 1.0
"""Who moved less is left out of the usual speed."""

_UNITS = {400.0: "millimetres", 60.0: "centimetres or pixels", 0.0: "pixels"}
"""Lowest usual speed of people in other units than metres, in units per second."""


@dataclass(frozen=True, eq=False)
class TrackRows:
    """The rows of a scene, agent by agent and each in the order of time; see `sorted`.

    Every agent has a row.

    Attributes:
        item: The scene, for messages.
        names: Names of the agents ``[A]``.
        kinds: `AgentKind` values ``[A]``.
        agents: Index of each row's agent ``[R]``.
        times_s: Time of each row ``[R]``.
        xy_m: World positions ``[R, 2]``.
        headings_rad: Headings ``[R]``, NaN where unknown; None: nobody recorded any.
        sizes_m: Length, width, height ``[A, 3]``, see `parse_sizes`; None for typical ones.
        labels: The source's name for the time of each row ``[R]``; None: it has none.
    """

    item: str
    names: NDArray[np.str_]
    kinds: NDArray[np.int8]
    agents: NDArray[np.int64]
    times_s: NDArray[np.float64]
    xy_m: NDArray[np.float64]
    headings_rad: NDArray[np.float64] | None = None
    sizes_m: NDArray[np.float64] | None = None
    labels: NDArray[np.str_] | None = None

    def sorted(self) -> TrackRows:
        """The same rows, agent by agent and each in the order of time."""
        return self._rows(np.lexsort((self.times_s, self.agents)))

    def scene(self, name: str, dt_s: float, location: str = "") -> tuple[Scene, dict[str, int]]:
        """Lays the rows on a grid of equal steps.

        Args:
            name: Name of the scene.
            dt_s: Step length.
            location: Where it was recorded.

        Returns:
            The scene without a map, and counts: ``agent_between_steps`` were dropped because no
            step is within their records, ``row_between_steps`` rows follow the one before too soon
            to have a step of their own, ``typical_size`` have a size that is not above 0.

        Raises:
            ForecastError: Times or positions are in another unit, or the records too far apart.
        """
        self.require_units()
        grid = TimeGrid.of_agents(self.item, self._times_us, self.agents, dt_s)
        positions, headings = self._on_grid(grid)
        seen = ~np.isnan(positions[..., 0])
        kept = seen.any(axis=1)
        sizes, replaced = parse_sizes(self.item, self.sizes_m, self.kinds)
        scene = Scene.from_arrays(
            positions[kept],
            self.kinds[kept],
            dt_s,
            agent_ids=self.names[kept].tolist(),
            headings_rad=None if headings is None else headings[kept],
            sizes_m=sizes[kept],
            id=name,
            location=location,
            origin_m=_origin(self.xy_m),
        )
        scene = replace(
            scene,
            timestamps_us=grid.timestamps_us,
            frame_ids=self._frame_ids(grid),
            interpolated=grid.interpolated,
        )
        counts = {
            "agent_between_steps": int((~kept).sum()),
            "row_between_steps": self._left_out(grid),
            "typical_size": int((replaced & kept).sum()),
        }
        return scene, {what: count for what, count in counts.items() if count}

    def require_units(self) -> None:
        """Checks that times are in seconds and positions in metres.

        Raises:
            ForecastError: They are not; the message guesses what they are.
        """
        intervals_s = np.diff(self.times_s)[np.diff(self.agents) == 0]
        if len(intervals_s):
            require_unit(self.item, float(np.median(intervals_s)), "seconds")
        latest = float(np.abs(self.times_s).max())
        require(latest < _LATEST_S, f"{self.item}: the latest time", f"{latest:.6g} s", "seconds")
        extent = float(np.ptp(self.xy_m, axis=0).max())
        if len(self.names) > 1 and 0 < extent < _SMALLEST_M:
            raise ForecastError(
                f"{self.item}: all {len(self.names)} agents lie within {extent:.2g} units: degrees "
                "or kilometres? metres are needed"
            )
        speed = self.usual_speed_mps()
        if speed > _FAST_MPS:
            guess = next(unit for least, unit in _UNITS.items() if speed >= least)
            raise ForecastError(
                f"{self.item}: people move at {speed:.3g} units per second: {guess}? "
                "metres (and seconds) are needed"
            )

    def usual_speed_mps(self) -> float:
        """The usual speed of pedestrians who move; NaN if nobody does.

        A pedestrian's is the median over its rows, so that one jump of a tracker has no effect. The
        result is the median over the pedestrians whose positions are at least `_MOVED_M` apart.
        """
        first, second = self._pairs()
        way = np.hypot(*(self.xy_m[second] - self.xy_m[first]).T)
        speed = way / (self.times_s[second] - self.times_s[first])
        order = np.lexsort((speed, self.agents[first]))
        agents, starts, counts = np.unique(
            self.agents[first][order], return_index=True, return_counts=True
        )
        medians = speed[order][starts + (counts - 1) // 2]
        starts = self._starts
        extent_m = np.maximum.reduceat(self.xy_m, starts) - np.minimum.reduceat(self.xy_m, starts)
        moved = (np.hypot(*extent_m.T) >= _MOVED_M) & (self.kinds == AgentKind.PEDESTRIAN)
        usual = medians[moved[agents]]
        return float(np.median(usual)) if len(usual) else np.nan

    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows, and the first later row of the same agent after at least `_APART_S`.

        Over less time, the noise of a tracker looks like speed.
        """
        start, length = self.times_s.min(), np.ptp(self.times_s)
        time = self.times_s - start + self.agents * (length + 2 * _APART_S)
        second = np.searchsorted(time, time + _APART_S)
        first = np.flatnonzero(second < len(time))
        first = first[self.agents[second[first]] == self.agents[first]]
        return first, second[first]

    def mean_speeds_mps(self) -> NDArray[np.float64]:
        """Mean speed of each agent over all of its rows ``[A]``; 0 for one row."""
        same = self.agents[1:] == self.agents[:-1]
        way = np.where(same, np.hypot(*np.diff(self.xy_m, axis=0).T), 0.0)
        length = np.bincount(self.agents[1:], way, minlength=len(self.names))
        ends = np.append(self._starts[1:], len(self.agents)) - 1
        elapsed = self.times_s[ends] - self.times_s[self._starts]
        return np.divide(length, elapsed, out=np.zeros_like(length), where=elapsed > 0)

    def select(self, kept: NDArray[np.bool_]) -> TrackRows:
        """The rows of some agents, by a mask ``[A]``."""
        rows = self._rows(np.flatnonzero(kept[self.agents]))
        return replace(
            rows,
            names=self.names[kept],
            kinds=self.kinds[kept],
            agents=(np.cumsum(kept) - 1)[rows.agents],
            sizes_m=None if self.sizes_m is None else self.sizes_m[kept],
        )

    def _rows(self, rows: NDArray[np.int64]) -> TrackRows:
        return replace(
            self,
            agents=self.agents[rows],
            times_s=self.times_s[rows],
            xy_m=self.xy_m[rows],
            headings_rad=None if self.headings_rad is None else self.headings_rad[rows],
            labels=None if self.labels is None else self.labels[rows],
        )

    @property
    def _times_us(self) -> NDArray[np.int64]:
        return np.round(self.times_s * 1e6).astype(np.int64)

    @property
    def _starts(self) -> NDArray[np.int64]:
        """The first row of each agent ``[A]``."""
        return np.searchsorted(self.agents, np.arange(len(self.names)))

    def _on_grid(self, grid: TimeGrid) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Positions ``[A, T, 2]`` and headings ``[A, T]`` at the steps; NaN where there is none."""
        agents, steps = len(self.names), len(grid.timestamps_us)
        require(
            agents * steps <= _MOST_VALUES,
            f"{self.item}: agents times steps",
            f"{agents} x {steps}",
            f"at most {_MOST_VALUES} (cut it into several scenes)",
        )
        positions = np.full((agents, steps, 2), np.nan)
        headings = None if self.headings_rad is None else np.full((agents, steps), np.nan)
        if not grid.resampled:
            step = grid.steps_of(self._times_us)
            kept = step >= 0
            at = self.agents[kept], step[kept]
            positions[at] = self.xy_m[kept]
            if headings is not None and self.headings_rad is not None:
                headings[at] = self.headings_rad[kept]
            return positions, headings
        for rows in self._stretches():
            way, agent = grid.resampling_of(self._times_us[rows]), self.agents[rows.start]
            at = agent, way.valid[0]
            positions[at] = way.values(self.xy_m[None, rows])[0, way.valid[0]]
            if headings is not None and self.headings_rad is not None:
                headings[at] = way.angles(self.headings_rad[None, rows])[0, way.valid[0]]
        return positions, headings

    def _left_out(self, grid: TimeGrid) -> int:
        """Number of rows that have no step on a grid."""
        return int((grid.steps_of(self._times_us) < 0).sum()) if grid.left_out else 0

    def _stretches(self) -> list[slice]:
        """The rows of each agent between its jumps: nothing is interpolated across them."""
        cuts = [*self._starts.tolist(), len(self.agents)]
        for start, end in itertools.pairwise(list(cuts)):
            xy, times = self.xy_m[None, start:end], self._times_us[start:end]
            seen = np.ones((1, end - start), bool)
            jumped = jumps(xy, seen, times, self.kinds[self.agents[start : start + 1]])[0]
            cuts += (np.flatnonzero(jumped) + start).tolist()
        return [slice(*edge) for edge in itertools.pairwise(sorted(cuts))]

    def _frame_ids(self, grid: TimeGrid) -> NDArray[np.str_]:
        """The source's name for each step ``[T]``; "" where it has none."""
        labels = np.zeros(len(self.agents), np.str_) if self.labels is None else self.labels
        ids = np.full(len(grid.record), "", labels.dtype)
        at = grid.record >= 0
        times, first = np.unique(self._times_us, return_index=True)
        ids[at] = labels[first[np.searchsorted(times, grid.times_us[grid.record[at]])]]
        return ids


def _origin(xy_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """The world position ``[2]`` of a scene's frame."""
    if np.abs(xy_m).max() <= _NEAR_M:
        return np.zeros(2)
    origin: NDArray[np.float64] = np.round(np.median(xy_m, axis=0))
    return origin
