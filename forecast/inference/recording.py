"""The frames that a stream has observed: who was where, and where who is missing now may be."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError, require
from forecast.geometry import MIN_MOVE_M
from forecast.scene import AgentKind
from forecast.scene.arguments import time_us
from forecast.scene.continuity import SHORTEST_S, continuous, jumps
from forecast.scene.parsing import (
    FARTHEST_M,
    parse_array,
    parse_headings,
    parse_kinds,
    parse_names,
    parse_sizes,
    warn_of_sizes,
)


@dataclass(frozen=True, eq=False)
class Frame:
    """The agents observed at one time, as plain arrays.

    Attributes:
        at_us: Time in microseconds.
        agent_ids: Unique names ``[A]``; the same agent has the same name in every frame.
        kinds: `AgentKind` values or their names ``[A]``; agents of kind STATIC are ignored.
        positions_m: Centres ``[A, 2]`` in the stream's frame.
        headings_rad: Headings ``[A]``, NaN where unknown; default: all unknown. Those of
            pedestrians are not used; the stream derives them from their movement.
        sizes_m: Length, width, height ``[A, 3]``; default: typical for the kind. So are values that
            are not above 0 (`ForecastWarning`).
        mended: Number of agents with a typical size in place of the given one.
    """

    at_us: int
    agent_ids: NDArray[np.str_]
    kinds: NDArray[np.int8]
    positions_m: NDArray[np.float64]
    headings_rad: NDArray[np.float32] | None = None
    sizes_m: NDArray[np.float32] | None = None
    mended: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Converts lists to arrays; checks shapes, values and names; raises `ForecastError`."""
        names, kinds = parse_names("frame", self.agent_ids), parse_kinds("frame", self.kinds)
        agents = len(names)
        parse_array("frame", "kinds", kinds, (agents,), np.int8)
        places = parse_array("frame", "positions_m", self.positions_m, (agents, 2), np.float64)
        egos = int((kinds == AgentKind.EGO).sum())
        require(egos <= 1, "frame: number of egos", egos, "at most 1")
        unknown = np.full(agents, np.nan)
        given = unknown if self.headings_rad is None else self.headings_rad
        headings = parse_headings("frame", given, np.ones(agents, bool), names, kinds)
        bad = ~np.isfinite(places).all(axis=1)
        if bad.any():
            raise ForecastError(
                f"frame: positions_m of agent '{names[bad][0]}' is not finite; "
                "leave out agents that are not observed"
            )
        far = (np.abs(places) > FARTHEST_M).any(axis=1)
        named = f"frame: positions_m of agents {names[far][:1].tolist()}"
        require(not far.any(), named, places[far][:1].tolist(), f"metres up to {FARTHEST_M:g}")
        sizes, replaced = parse_sizes("frame", self.sizes_m, kinds)
        warn_of_sizes("frame", names, replaced)
        for name, value in (
            ("at_us", time_us("frame: at_us", self.at_us)),
            ("agent_ids", names),
            ("kinds", kinds),
            ("positions_m", places),
            ("headings_rad", headings),
            ("sizes_m", sizes),
            ("mended", int(replaced.sum())),
        ):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"Frame(at {self.at_us / 1e6:.3f} s: {len(self.agent_ids)} agents)"

    def moving(self) -> Frame:
        """The frame without agents of kind STATIC."""
        moves = self.kinds != AgentKind.STATIC
        if moves.all():
            return self
        arrays = ("agent_ids", "kinds", "positions_m", "headings_rad", "sizes_m")
        return replace(self, **{name: getattr(self, name)[moves] for name in arrays})


@dataclass(frozen=True, eq=False)
class Recording:
    """The last N frames of the A agents that a stream tracks.

    Attributes:
        names: ``[A]``.
        kinds: `AgentKind` values ``[A]``, as labelled last.
        sizes_m: Length, width, height ``[A, 3]``, as given last.
        times_us: Times of the frames ``[N]``, ascending.
        positions_m: ``[A, N, 2]`` in the stream's frame.
        headings_rad: ``[A, N]``; NaN where unknown.
        valid: Frames in which each agent was observed ``[A, N]``.
        anchors_m: Where each agent was when it last moved ``[A, 2]``.
        facings_rad: The heading given last, or the direction of the last movement, also of before
            these frames ``[A]``; NaN without either.
    """

    names: NDArray[np.str_]
    kinds: NDArray[np.int8]
    sizes_m: NDArray[np.float32]
    times_us: NDArray[np.int64]
    positions_m: NDArray[np.float64]
    headings_rad: NDArray[np.float32]
    valid: NDArray[np.bool_]
    anchors_m: NDArray[np.float64]
    facings_rad: NDArray[np.float64]

    @classmethod
    def empty(cls) -> Recording:
        """No agents and no frames."""
        return cls(
            np.zeros(0, np.str_),
            np.zeros(0, np.int8),
            np.zeros((0, 3), np.float32),
            np.zeros(0, np.int64),
            np.zeros((0, 0, 2)),
            np.zeros((0, 0), np.float32),
            np.zeros((0, 0), bool),
            np.zeros((0, 2)),
            np.zeros(0),
        )

    def select(self, agents: NDArray[np.bool_], frames: NDArray[np.bool_]) -> Recording:
        """Some agents and frames, by masks ``[A]`` and ``[N]``."""
        return Recording(
            self.names[agents],
            self.kinds[agents],
            self.sizes_m[agents],
            self.times_us[frames],
            self.positions_m[agents][:, frames],
            self.headings_rad[agents][:, frames],
            self.valid[agents][:, frames],
            self.anchors_m[agents],
            self.facings_rad[agents],
        )

    def with_frame(self, frame: Frame) -> Recording:
        """The recording and one more frame, at its place in time."""
        row_of = {name: row for row, name in enumerate(self.names.tolist())}
        at = [row_of.setdefault(name, len(row_of)) for name in frame.agent_ids.tolist()]
        rows, agents = np.array(at, np.int64), len(row_of)
        new = rows >= len(self.names)
        place = int(np.searchsorted(self.times_us, frame.at_us))

        def inserted(known: NDArray[Any], given: Any) -> NDArray[Any]:
            grown = np.zeros((agents, len(self.times_us) + 1, *known.shape[2:]), known.dtype)
            grown[: len(known), :place] = known[:, :place]
            grown[: len(known), place + 1 :] = known[:, place:]
            grown[rows, place] = given
            return grown

        times, valid = np.insert(self.times_us, place, frame.at_us), inserted(self.valid, True)
        # A late frame does not say what an agent is now, if later ones do.
        newest = ~valid[rows, place + 1 :].any(axis=1)

        def joined(known: NDArray[Any], given: Any) -> NDArray[Any]:
            values = np.concatenate([known, given[new].astype(known.dtype)])
            values[rows[newest]] = given[newest]
            return values

        grown = Recording(
            np.concatenate([self.names, frame.agent_ids[new]]),
            joined(self.kinds, frame.kinds),
            joined(self.sizes_m, frame.sizes_m),
            times,
            inserted(self.positions_m, frame.positions_m),
            inserted(self.headings_rad, frame.headings_rad),
            valid,
            np.concatenate([self.anchors_m, frame.positions_m[new]]),
            np.append(self.facings_rad, np.full(agents - len(self.names), np.nan)),
        )
        return grown.faced(rows[newest], place)

    def faced(self, rows: NDArray[np.int64], at: int) -> Recording:
        """The recording after the facings of some rows have followed their positions in a frame.

        An agent has moved as `forecast.geometry.motion_headings` says. After a jump its name is
        that of somebody else, whose facing is unknown.

        Args:
            rows: Agents without a later position.
            at: Index of the frame.
        """
        anchors, facings = self.anchors_m.copy(), self.facings_rad.copy()
        places, given = self.positions_m[rows, at], self.headings_rad[rows, at].astype(np.float64)
        known = slice(None, at + 1)
        past = self.positions_m[rows, known], self.valid[rows, known], self.times_us[known]
        jumped = jumps(*past, self.kinds[rows])[:, -1]
        x, y = (places - anchors[rows]).T
        moved = (np.hypot(x, y) >= MIN_MOVE_M) & ~jumped
        stated = np.isfinite(given) & (self.kinds[rows] != AgentKind.PEDESTRIAN)
        found = np.where(moved, np.arctan2(y, x), np.where(jumped, np.nan, facings[rows]))
        facings[rows] = np.where(stated, given, found)
        changed = moved | jumped
        anchors[rows[changed]] = places[changed]
        return replace(self, anchors_m=anchors, facings_rad=facings)

    def without(self, names: NDArray[np.str_]) -> Recording:
        """The recording without some agents."""
        return self.select(~np.isin(self.names, names), np.ones(len(self.times_us), bool))

    def held(self, hold_us: int, step_us: int) -> Recording:
        """The recording, with agents that only the last frames lack in the last one, too.

        They go straight on at their mean velocity of up to a step, or stay where they were seen
        once.

        Args:
            hold_us: For how long.
            step_us: The step.
        """
        count, times = len(self.times_us), self.times_us
        if not count:
            return self
        last = count - 1 - self.valid[:, ::-1].argmax(axis=1)
        gone_us = times[-1] - times[last]
        (rows,) = np.nonzero((gone_us > 0) & (gone_us <= hold_us))
        if not len(rows):
            return self
        last, gone_us = last[rows], gone_us[rows]
        seen = self.valid[rows]
        jumped = jumps(self.positions_m[rows], seen, times, self.kinds[rows])
        seen = continuous(seen, jumped, count - 1) & (times >= times[last][:, None] - step_us)
        first = seen.argmax(axis=1)
        at, began = self.positions_m[rows, last], self.positions_m[rows, first]
        # Over less, the noise of a tracker looks like speed.
        share = gone_us / np.maximum(times[last] - times[first], SHORTEST_S * 1e6)
        positions, headings = self.positions_m.copy(), self.headings_rad.copy()
        valid = self.valid.copy()
        positions[rows, -1] = at + share[:, None] * (at - began)
        headings[rows, -1], valid[rows, -1] = headings[rows, last], True
        return replace(self, positions_m=positions, headings_rad=headings, valid=valid)

    def missing(self) -> NDArray[np.bool_]:
        """Which agents the last frame lacks ``[A]``."""
        return ~self.valid[:, -1] if len(self.times_us) else np.zeros(len(self.names), bool)
