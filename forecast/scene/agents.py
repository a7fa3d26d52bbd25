"""Road users and their tracks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError


class AgentKind(IntEnum):
    """Kind of an agent, as far as it matters for motion. The values are stored on disk."""

    PEDESTRIAN = 0
    CYCLIST = 1
    VEHICLE = 2
    EGO = 3
    STATIC = 4


class Decision(IntEnum):
    """What a pedestrian has decided about the crossing on its way. The values are stored on disk.

    Only a simulator knows them.
    """

    UNKNOWN = -1
    FREE = 0
    """No crossing is near, or the pedestrian stands for another reason."""
    GO = 1
    """Crosses, or walks on to the crossing."""
    YIELD = 2
    """Waits for a vehicle, before the kerb or on the road."""
    STEP_BACK = 3
    """Goes back from the edge of the road."""
    UNDECIDED = 4
    """Waits at the kerb without a vehicle in the way: hesitates, or the light is red."""


TYPICAL_SIZE_M: dict[AgentKind, tuple[float, float, float]] = {
    AgentKind.PEDESTRIAN: (0.7, 0.7, 1.75),
    AgentKind.CYCLIST: (1.8, 0.6, 1.7),
    AgentKind.VEHICLE: (4.6, 1.9, 1.7),
    AgentKind.EGO: (4.1, 1.75, 1.55),
    AgentKind.STATIC: (0.5, 0.5, 1.0),
}
"""Length, width and height for sources that record no sizes."""

FASTEST_MPS: dict[AgentKind, float] = {
    AgentKind.PEDESTRIAN: 12.0,
    AgentKind.CYCLIST: 30.0,
    AgentKind.VEHICLE: 70.0,
    AgentKind.EGO: 70.0,
    AgentKind.STATIC: 12.0,
}
"""Highest speed of each kind. A track that exceeds it has jumped, and no future exceeds it.

About twice the highest recorded speeds: pedestrians 6.5 m/s (ETH/UCY; 3.8 on nuScenes mini),
cyclists 15, vehicles 31.
"""


HARDEST_MPS2 = 20.0
"""No road vehicle accelerates or brakes harder; recorded paths of egos have up to 12 m/s^2."""

HARDEST_ON_FOOT_MPS2 = 8.0
"""No person on foot or on a cycle changes its velocity faster, as a mean over half a second."""

FASTEST_TURN_RADPS = 4.0
"""No road vehicle turns faster; with the tightest circle, 5 m, that is 20 m/s."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Tracks of all agents of a scene on one time grid.

    Values at steps that are not ``valid`` are undefined and stored as 0. `Scene.positions_m` has
    NaN there.

    Attributes:
        agent_ids: Unique names ``[A]``, the dataset's own (nuScenes: instance tokens, "ego").
        kinds: `AgentKind` values ``[A]``.
        categories: The dataset's own category strings ``[A]``.
        positions_m: Centres ``[A, T, 2]`` relative to the scene's origin.
        headings_rad: Headings ``[A, T]``.
        sizes_m: Length, width, height ``[A, 3]``.
        valid: Whether the agent was observed at that step ``[A, T]``.
        visibility: nuScenes visibility bin 1 to 4 ``[A, T]``, 0 where unknown; or None.
        decisions: `Decision` values ``[A, T]``; None where no simulator made the tracks.
    """

    agent_ids: NDArray[np.str_]
    kinds: NDArray[np.int8]
    categories: NDArray[np.str_]
    positions_m: NDArray[np.float32]
    headings_rad: NDArray[np.float32]
    sizes_m: NDArray[np.float32]
    valid: NDArray[np.bool_]
    visibility: NDArray[np.int8] | None = None
    decisions: NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        """Checks shapes, finiteness and unique names; raises `ForecastError`."""
        agents, steps = self.valid.shape
        shapes = {
            "agent_ids": (agents,),
            "kinds": (agents,),
            "categories": (agents,),
            "positions_m": (agents, steps, 2),
            "headings_rad": (agents, steps),
            "sizes_m": (agents, 3),
            "visibility": (agents, steps),
            "decisions": (agents, steps),
        }
        for name, shape in shapes.items():
            _check_shape(name, getattr(self, name), shape)
        self._check_finite()
        names, counts = np.unique(self.agent_ids, return_counts=True)
        if (counts > 1).any():
            raise ForecastError(
                f"agent '{names[counts > 1][0]}' appears {counts.max()} times; "
                "agent_ids must be unique"
            )

    def _check_finite(self) -> None:
        finite = np.isfinite(self.positions_m).all(-1) & np.isfinite(self.headings_rad)
        bad = np.argwhere(self.valid & ~finite)
        if len(bad):
            agent, step = bad[0]
            raise ForecastError(
                f"agent '{self.agent_ids[agent]}' step {step}: position or heading is not finite; "
                "mark the step as not valid or repair it"
            )
        if not np.isfinite(self.sizes_m).all():
            raise ForecastError("sizes_m holds a value that is not finite; give sizes in metres")

    def __len__(self) -> int:
        """Number of agents A."""
        return len(self.agent_ids)

    def __repr__(self) -> str:
        return f"Tracks({self.counted()}, {self.steps} steps)"

    def counted(self) -> str:
        """The number of agents, and of agents of each kind, in words."""
        counts = np.bincount(self.kinds, minlength=len(AgentKind))
        kinds = [f"{counts[kind]} {kind.name.lower()}" for kind in AgentKind if counts[kind]]
        return f"{len(self)} agents ({', '.join(kinds)})" if kinds else "no agents"

    @property
    def steps(self) -> int:
        """Number of time steps T."""
        return int(self.valid.shape[1])

    def between(self, start: int, stop: int) -> Tracks:
        """The same agents over steps ``start <= t < stop``, as views."""
        return Tracks(
            self.agent_ids,
            self.kinds,
            self.categories,
            self.positions_m[:, start:stop],
            self.headings_rad[:, start:stop],
            self.sizes_m,
            self.valid[:, start:stop],
            None if self.visibility is None else self.visibility[:, start:stop],
            None if self.decisions is None else self.decisions[:, start:stop],
        )

    def select(self, agents: NDArray[Any]) -> Tracks:
        """The tracks of some agents, by index or mask, in that order."""
        return Tracks(
            self.agent_ids[agents],
            self.kinds[agents],
            self.categories[agents],
            self.positions_m[agents],
            self.headings_rad[agents],
            self.sizes_m[agents],
            self.valid[agents],
            None if self.visibility is None else self.visibility[agents],
            None if self.decisions is None else self.decisions[agents],
        )


def _check_shape(name: str, value: NDArray[Any] | None, shape: tuple[int, ...]) -> None:
    if value is not None and value.shape != shape:
        raise ForecastError(f"{name} has shape {list(value.shape)}; {list(shape)} was expected")
