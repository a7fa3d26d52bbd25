"""`Scene`: recorded traffic on one time grid, in metres around a local origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecast import geometry
from forecast.errors import ForecastError, require
from forecast.scene.agents import AgentKind, Tracks
from forecast.scene.arguments import index, time_us
from forecast.scene.continuity import require_speeds
from forecast.scene.lanes import LaneMap
from forecast.scene.parsing import (
    parse_array,
    parse_headings,
    parse_kinds,
    parse_names,
    parse_origin,
    parse_sizes,
    require_map_near,
    require_radians,
    require_resolution,
    warn_of_sizes,
    within_reach,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

_SHORTEST_S, _LONGEST_S = 0.001, 3600.0
"""Bounds of a step; beyond them it is in another unit."""


class SceneDetails(TypedDict, total=False):
    """What else `Scene.from_arrays` takes by keyword.

    Attributes:
        categories: The source's own categories ``[A]``; default: the kind's name.
        origin_m: World position ``[2]`` the scene is stored around; default ``(0, 0)``. Give a
            nearby one for positions of map scale: float32 loses millimetres beyond 10 km.
        start_us: Time of the first step in microseconds; default 0.
        id: Name of the scene; default ``"scene"``.
        location: City or site.
        description: Free text.
    """

    categories: Sequence[str] | None
    origin_m: ArrayLike
    start_us: int
    id: str
    location: str
    description: str


_DEFAULTS: SceneDetails = {
    "categories": None,
    "origin_m": (0.0, 0.0),
    "start_us": 0,
    "id": "scene",
    "location": "",
    "description": "",
}


@dataclass(frozen=True, eq=False)
class Scene:
    """One recorded (or simulated, or live) stretch of traffic.

    Attributes:
        id: Name, unique within its source (nuScenes: ``scene-0103``).
        location: City or site; decides the map.
        description: Free text of the source (weather, events).
        dt_s: Length of a time step.
        timestamps_us: Time of each step ``[T]``; interpolated for steps without a record.
        tracks: All agents, the ego vehicle among them.
        lane_map: The map, or None if the source has none.
        origin_m: World position ``[2]`` (float64) of the scene's frame; axes are the world's.
        frame_ids: The source's own name for each step ``[T]`` (nuScenes: sample tokens), "" for
            steps without a record.
        headings_recorded: Whether the source recorded headings. If not, they are derived from
            the movement so far, and a window derives them again from its own steps only. Those of
            pedestrians are always derived: recorded ones are often missing or wrong.
        interpolated: Steps between two records of the source ``[T]``, whose positions depend on the
            later one; None for none. No prediction starts at such a step.
    """

    id: str
    location: str
    description: str
    dt_s: float
    timestamps_us: NDArray[np.int64]
    tracks: Tracks
    lane_map: LaneMap | None
    origin_m: NDArray[np.float64]
    frame_ids: NDArray[np.str_]
    headings_recorded: bool = True
    interpolated: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Checks the name, the time grid and the origin; raises `ForecastError`."""
        require(isinstance(self.id, str) and self.id != "", "id", repr(self.id), "a scene's name")
        steps = self.tracks.steps
        if steps == 0:
            raise ForecastError(f"{self.id}: the scene has no time step; at least 1 is needed")
        if not self.dt_s > 0:
            raise ForecastError(f"{self.id}: dt_s is {self.dt_s}; a positive step is needed")
        for name in ("timestamps_us", "frame_ids", "interpolated"):
            value = getattr(self, name)
            if value is not None and value.shape != (steps,):
                raise ForecastError(f"{self.id}: {name} must have one entry for {steps} steps")
        if (np.diff(self.timestamps_us) <= 0).any():
            raise ForecastError(f"{self.id}: timestamps_us must increase from step to step")
        parse_origin(self.id, self.origin_m)

    @classmethod
    def from_arrays(
        cls,
        positions_m: ArrayLike,
        kinds: Sequence[AgentKind | int | str] | NDArray[Any],
        dt_s: float,
        *,
        valid: ArrayLike | None = None,
        headings_rad: ArrayLike | None = None,
        sizes_m: ArrayLike | None = None,
        agent_ids: Sequence[str] | None = None,
        lane_map: LaneMap | None = None,
        **details: Unpack[SceneDetails],
    ) -> Scene:
        """Builds a scene from plain arrays, a planner's own for example.

        Args:
            positions_m: World positions ``[A, T, 2]``; without ``valid``, NaN marks steps at which
                an agent was not observed.
            kinds: `AgentKind` of each agent ``[A]``, or its name such as ``"pedestrian"``.
            dt_s: Step length.
            valid: Whether each agent was observed at each step ``[A, T]``.
            headings_rad: Headings ``[A, T]``, NaN where unknown; default and where unknown: the
                direction of the last actual movement.
            sizes_m: Length, width, height ``[A, 3]``; default: typical for the kind. So are values
                that are not above 0 (`ForecastWarning`).
            agent_ids: Unique names ``[A]``; default ``"0", "1", …``.
            lane_map: Map relative to ``origin_m``.
            details: ``categories``, ``origin_m``, ``start_us``, ``id``, ``location`` and
                ``description``; see `SceneDetails`.

        Raises:
            ForecastError: A shape, unit or value is wrong; the message says which.
            TypeError: A keyword is unknown.
        """
        unknown = sorted(details.keys() - _DEFAULTS.keys())
        if unknown:
            raise TypeError(f"Scene.from_arrays got an unexpected keyword argument '{unknown[0]}'")
        given: SceneDetails = {**_DEFAULTS, **details}
        name = given["id"]
        origin, step_s = _origin_and_step(name, given["origin_m"], dt_s)
        world = _positions(name, positions_m)
        observed = ~np.isnan(world).any(-1) if valid is None else valid
        seen = parse_array(name, "valid", observed, world.shape[:2], bool).copy()
        require_resolution(name, "positions_m", np.asarray(positions_m)[seen])
        local = np.where(seen[..., None], world - origin, 0.0)
        tracks = _tracks(given, local, seen, kinds, headings_rad, sizes_m, agent_ids)
        require_map_near(name, lane_map, local[seen])
        require_speeds(name, tracks.agent_ids, local, seen, tracks.kinds, step_s)
        start_us = time_us(f"{name}: start_us", given["start_us"])
        elapsed_us = np.round(np.arange(seen.shape[1]) * step_s * 1e6).astype(np.int64)
        return cls(
            id=name,
            location=given["location"],
            description=given["description"],
            dt_s=step_s,
            timestamps_us=start_us + elapsed_us,
            tracks=tracks,
            lane_map=lane_map,
            origin_m=origin,
            frame_ids=np.full(seen.shape[1], "", np.str_),
            headings_recorded=headings_rad is not None,
        )

    def __repr__(self) -> str:
        lanes = "no map" if self.lane_map is None else f"{len(self.lane_map)} lanes"
        steps = f"{self.steps} steps of {self.dt_s:g} s"
        return f"Scene({self.id!r}: {steps}, {self.tracks.counted()}, {lanes})"

    @property
    def steps(self) -> int:
        """Number of time steps T."""
        return self.tracks.steps

    @property
    def positions_m(self) -> NDArray[np.float32]:
        """Positions ``[A, T, 2]`` relative to ``origin_m``, NaN where an agent was not observed.

        For plots and statistics. Made at each access, because ``tracks.positions_m`` is 0 there.
        """
        tracks = self.tracks
        return np.where(tracks.valid[..., None], tracks.positions_m, np.float32(np.nan))

    @property
    def start_us(self) -> int:
        """Time of the first step in microseconds."""
        return int(self.timestamps_us[0])

    def between(self, start: int, stop: int) -> Scene:
        """The steps ``start <= t < stop`` of the scene; the other steps are not part of it."""
        return replace(
            self,
            tracks=self.tracks.between(start, stop),
            timestamps_us=self.timestamps_us[start:stop],
            frame_ids=self.frame_ids[start:stop],
            interpolated=None if self.interpolated is None else self.interpolated[start:stop],
        )

    def step(self, at: int) -> int:
        """The index of a step, 0 or above.

        Args:
            at: The step; below 0 it is counted from the end, so -1 is the last one.

        Raises:
            ForecastError: It is no whole number, or not a step of the scene.
        """
        return index(f"{self.id}: at", at, self.steps)

    def prediction_step(self, at: int) -> int:
        """The index of a step at which a prediction may start; see `step`.

        Raises:
            ForecastError: It is not a step of the scene, or lies between two records.
        """
        at = self.step(at)
        if self.interpolated is not None and self.interpolated[at]:
            recorded = np.flatnonzero(~self.interpolated)[:5].tolist()
            raise ForecastError(
                f"{self.id}: step {at} lies between two records, so its positions depend on the "
                f"later one; one of steps {recorded}, … is needed"
            )
        return at

    def present(self, at: int) -> NDArray[np.int64]:
        """Indices of the agents that can move and are observed at step ``at``; see `step`."""
        tracks = self.tracks
        seen = tracks.valid[:, self.step(at)]
        return np.flatnonzero(seen & (tracks.kinds != AgentKind.STATIC))


def _origin_and_step(
    scene: str, origin_m: ArrayLike, dt_s: Any
) -> tuple[NDArray[np.float64], float]:
    """The origin ``[2]`` and the step length, checked; raises `ForecastError`."""
    origin = parse_origin(scene, origin_m)
    step_s = float(parse_array(scene, "dt_s", dt_s, (), np.float64))
    good = _SHORTEST_S <= step_s <= _LONGEST_S
    require(good, f"{scene}: dt_s", dt_s, f"a step from {_SHORTEST_S:g} to {_LONGEST_S:g} s")
    return origin, step_s


def _positions(scene: str, positions_m: ArrayLike) -> NDArray[np.float64]:
    try:
        world = np.asarray(positions_m, np.float64)
    except (TypeError, ValueError):
        raise ForecastError(
            f"{scene}: positions_m are not numbers of one shape; [A, T, 2] is needed"
        ) from None
    if world.ndim != 3 or world.shape[-1] != 2:
        raise ForecastError(
            f"{scene}: positions_m has shape {list(world.shape)}; [A, T, 2] is needed"
        )
    return world


def _tracks(
    given: SceneDetails,
    local_m: NDArray[np.float64],
    seen: NDArray[np.bool_],
    kinds: ArrayLike,
    headings_rad: ArrayLike | None,
    sizes_m: ArrayLike | None,
    agent_ids: Sequence[str] | None,
) -> Tracks:
    """Checks the arguments of `Scene.from_arrays` about agents and fills in their defaults."""
    scene, agents = given["id"], len(seen)
    names = parse_names(scene, range(agents) if agent_ids is None else agent_ids)
    values = parse_kinds(scene, kinds)  # type: ignore[arg-type]
    for what, array in (("agent_ids", names), ("kinds", values)):
        parse_array(scene, what, array, (agents,), array.dtype.type)
    egos = int((values == AgentKind.EGO).sum())
    require(egos <= 1, f"{scene}: number of agents of kind EGO", egos, "at most 1")
    sizes, replaced = parse_sizes(scene, sizes_m, values)
    warn_of_sizes(scene, names, replaced)
    positions = within_reach(scene, local_m, names, "world positions with an origin_m")
    headings, known = geometry.motion_headings(local_m, seen)
    if headings_rad is not None:
        recorded = parse_headings(scene, headings_rad, seen, names, values)
        moves = seen & known & (values != AgentKind.PEDESTRIAN)[:, None]
        require_radians(scene, recorded, headings, local_m, moves, names)
        headings = np.where(np.isnan(recorded), headings, recorded)
    categories = given["categories"]
    words = [AgentKind(kind).name.lower() for kind in values.tolist()]
    return Tracks(
        agent_ids=names,
        kinds=values,
        categories=np.asarray(words if categories is None else categories, np.str_),
        positions_m=positions,
        headings_rad=np.where(seen, headings, np.float32(0)),
        sizes_m=sizes,
        valid=seen,
    )
