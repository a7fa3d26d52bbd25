"""Jumps in tracks: positions that an agent cannot have reached since it was last observed.

A tracker that gives one agent's name to another makes such a jump. The difference of the two
positions is no velocity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.scene.agents import FASTEST_MPS, AgentKind

_SHORTEST_S = 0.2
"""Speeds are means over at least this time. Over less, the noise of a tracker looks like speed."""


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
    far = np.hypot(way[..., 0], way[..., 1]) > fastest * np.maximum(elapsed_s, _SHORTEST_S)
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
