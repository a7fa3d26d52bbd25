"""Jumps in tracks: positions that an agent cannot have reached since it was last observed.

A tracker that gives one agent's name to another makes such a jump. The difference of the two
positions is no velocity. Where most tracks jump at every step, the units are wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.scene.agents import FASTEST_MPS, AgentKind

SHORTEST_S = 0.2
"""Speeds are means over at least this time. Over less, the noise of a tracker looks like speed."""
_MOVED_M = 1.0
"""An agent that is nearer to where it was first observed may stand."""


def jumps(
    positions_m: NDArray[Any],
    valid: NDArray[np.bool_],
    times_us: NDArray[np.int64],
    kinds: NDArray[np.int8],
) -> NDArray[np.bool_]:
    """Where tracks jump.

    Args:
        positions_m: Positions ``[A, T, 2]``.
        valid: Where an agent was observed ``[A, T]``.
        times_us: Times ``[T]``.
        kinds: `AgentKind` values ``[A]``.

    Returns:
        Steps at which the agent is farther from its last observed position than `FASTEST_MPS`
        allows ``[A, T]``.
    """
    steps = np.arange(valid.shape[1])
    seen = np.maximum.accumulate(np.where(valid, steps, -1), axis=1)
    last = np.concatenate([np.full((len(valid), 1), -1), seen[:, :-1]], axis=1)
    agents, before = np.arange(len(valid))[:, None], np.maximum(last, 0)
    way = positions_m - positions_m[agents, before]
    elapsed_s = (times_us - times_us[before]) / 1e6
    fastest = np.array([FASTEST_MPS[AgentKind(kind)] for kind in kinds.tolist()])[:, None]
    far = np.hypot(way[..., 0], way[..., 1]) > fastest * np.maximum(elapsed_s, SHORTEST_S)
    return far & valid & (last >= 0)


def continuous(valid: NDArray[np.bool_], jumped: NDArray[np.bool_], at: int) -> NDArray[np.bool_]:
    """The observed steps that belong to the same stretch of track as step ``at`` ``[A, T]``.

    Args:
        valid: Where an agent was observed ``[A, T]``.
        jumped: Where its track jumps ``[A, T]``, see `jumps`.
        at: The step.
    """
    stretch = np.cumsum(jumped, axis=1)
    return valid & (stretch == stretch[:, at : at + 1])


def require_speeds(
    item: str,
    agent_ids: NDArray[np.str_],
    positions_m: NDArray[Any],
    valid: NDArray[np.bool_],
    kinds: NDArray[np.int8],
    dt_s: float,
) -> None:
    """Refuses tracks of which most are too fast for their kind: their units are others.

    An agent is too fast if its usual step is, and its whole way from first to last. So neither one
    jump nor the noise of a tracker makes it so.

    Args:
        item: What the tracks are of, for messages.
        agent_ids: Names ``[A]``.
        positions_m: Positions ``[A, T, 2]``.
        valid: Where an agent was observed ``[A, T]``.
        kinds: `AgentKind` values ``[A]``.
        dt_s: Step length.

    Raises:
        ForecastError: More than half of the moving agents are too fast.
    """
    moving, fast = 0, []
    for agent, seen in enumerate(valid):
        steps = np.flatnonzero(seen)
        path = positions_m[agent, steps].astype(np.float64)
        if len(steps) < 2 or np.hypot(*(path[-1] - path[0])) < _MOVED_M:
            continue
        moving += 1
        usual = np.median(np.hypot(*np.diff(path, axis=0).T) / np.diff(steps)) / dt_s
        whole = np.hypot(*(path[-1] - path[0])) / ((steps[-1] - steps[0]) * dt_s)
        if min(usual, whole) > FASTEST_MPS[AgentKind(int(kinds[agent]))]:
            fast.append((agent_ids[agent], usual))
    name, speed_mps = fast[0] if fast else ("", 0.0)
    found = f"{len(fast)} of {moving}, such as agent '{name}' at {speed_mps:.0f} m/s"
    need = f"positions in metres and the time between them in s (dt_s is {dt_s:g})"
    require(2 * len(fast) <= moving, f"{item}: agents faster than their kind moves", found, need)
