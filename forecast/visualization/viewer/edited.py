"""An edited scene as a `Scene`, and as a store that every command reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatchmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.datasets.one_scene import OneScene
from forecast.datasets.store import SceneStore, prepare
from forecast.errors import ForecastError
from forecast.scene import AgentKind, Scene
from forecast.scene.agents import TYPICAL_SIZE_M
from forecast.visualization.viewer.edits import (
    ActEdit,
    AddEdit,
    ChangeEdit,
    Edit,
    FollowEdit,
    GoToEdit,
    ObstacleEdit,
    RemoveEdit,
)

_STILL_MPS = 1e-3
"""Below this speed an agent has no direction of motion, as in `World.change`."""

Floats = NDArray[np.float64]


def edited_scene(scene: Scene, at: int, edits: Iterable[Edit], history_steps: int) -> Scene:
    """The observed steps of a scene, with edits that hold for all of them.

    An agent that is moved or turned gets a history that leads there: its own, moved, or turned
    about its present place. A new agent, and one with another speed, gets a history of constant
    velocity. Later steps are left out, because nobody knows what would have followed. Commands
    (`GoToEdit`, `FollowEdit`, `ActEdit`) say what an agent is going to do, so they change nothing.

    Args:
        scene: The scene.
        at: Index of the current step, which becomes the last one.
        edits: The edits.
        history_steps: Number of steps to keep, the current one included.

    Raises:
        ForecastError: An agent is unknown, or a history is one that no agent can have.
    """
    made = _Tracks.of(scene, at, history_steps)
    for edit in edits:
        made.make(edit)
    return made.scene()


@dataclass(eq=False)
class _Tracks:
    """Tracks in the making; arrays as in `Tracks`, positions in float64."""

    past: Scene
    names: list[str]
    kinds: NDArray[np.int8]
    positions: Floats
    headings: Floats
    sizes: NDArray[np.float32]
    valid: NDArray[np.bool_]

    @classmethod
    def of(cls, scene: Scene, at: int, history_steps: int) -> _Tracks:
        past = scene.between(max(at + 1 - history_steps, 0), at + 1)
        tracks = past.tracks
        there = tracks.valid[:, -1]
        positions, headings = tracks.positions_m[there], tracks.headings_rad[there]
        names = tracks.agent_ids[there].tolist()
        given = positions.astype(np.float64), headings.astype(np.float64)
        return cls(
            past, names, tracks.kinds[there], *given, tracks.sizes_m[there], tracks.valid[there]
        )

    def scene(self) -> Scene:
        """The tracks as a scene."""
        past = self.past
        return Scene.from_arrays(
            self.positions + past.origin_m,
            self.kinds,
            past.dt_s,
            valid=self.valid,
            headings_rad=self.headings if past.headings_recorded else None,
            sizes_m=self.sizes,
            agent_ids=self.names,
            lane_map=past.lane_map,
            origin_m=past.origin_m,
            start_us=past.start_us,
            id=past.id,
            location=past.location,
            description=past.description,
        )

    @singledispatchmethod
    def make(self, edit: Edit) -> None:
        """Makes an edit; those that are commands change nothing."""

    @make.register
    def _(self, edit: ChangeEdit) -> None:
        agent = self._row(edit.agent)
        now = self.positions[agent, -1].copy()
        velocity, heading = self._velocity(agent), float(self.headings[agent, -1])
        moves = float(np.linalg.norm(velocity)) > _STILL_MPS
        way = float(np.arctan2(*velocity[::-1])) if moves else heading
        turn = 0.0 if edit.heading_rad is None else edit.heading_rad - way
        if edit.speed_mps is None:
            offsets = geometry.rotate(self.positions[agent] - now, np.float64(turn))
        else:
            offsets = self._straight(way + turn, edit.speed_mps)
        self.headings[agent] += turn
        self.positions[agent] = offsets + (now if edit.position_m is None else edit.position_m)

    @make.register
    def _(self, edit: AddEdit) -> None:
        kind = AgentKind[edit.kind.upper()]
        size = TYPICAL_SIZE_M[kind] if edit.size_m is None else edit.size_m
        way = edit.heading_rad, edit.speed_mps
        self._append(edit.agent, kind, edit.position_m, way, size)

    @make.register
    def _(self, edit: ObstacleEdit) -> None:
        way = edit.heading_rad, 0.0
        self._append(edit.name, AgentKind.VEHICLE, edit.position_m, way, edit.size_m)

    @make.register
    def _(self, edit: RemoveEdit) -> None:
        kept = np.arange(len(self.names)) != self._row(edit.agent)
        self.names.remove(edit.agent)
        for name in ("kinds", "positions", "headings", "sizes", "valid"):
            setattr(self, name, getattr(self, name)[kept])

    def _row(self, agent: str) -> int:
        if agent not in self.names:
            raise ForecastError(f"agent '{agent}' is not in the scene now; choose one that is")
        return self.names.index(agent)

    def _velocity(self, agent: int) -> Floats:
        """Mean velocity ``[2]`` since the step before at which it was seen; 0 without one."""
        seen = np.flatnonzero(self.valid[agent])[-2:]
        if len(seen) < 2:
            return np.zeros(2)
        step = np.diff(self.positions[agent, seen], axis=0)[0]
        return np.asarray(step / (np.diff(seen)[0] * self.past.dt_s))

    def _straight(self, heading_rad: float, speed_mps: float) -> Floats:
        """Places ``[T, 2]`` at constant velocity, relative to the last one."""
        before_s = self.past.dt_s * np.arange(1 - self.past.steps, 1)
        ahead = np.array([np.cos(heading_rad), np.sin(heading_rad)])
        return np.asarray(speed_mps * before_s[:, None] * ahead)

    def _append(
        self, name: str, kind: AgentKind, now_m: Any, way: tuple[float, float], size_m: Any
    ) -> None:
        steps = self.past.steps
        path = self._straight(*way) + now_m
        self.names.append(name)
        self.kinds = np.append(self.kinds, np.int8(kind))
        self.positions = np.concatenate([self.positions, path[None]])
        self.headings = np.concatenate([self.headings, np.full((1, steps), way[0])])
        self.sizes = np.concatenate([self.sizes, np.array([size_m], np.float32)])
        self.valid = np.concatenate([self.valid, np.ones((1, steps), bool)])


def commands(edits: Iterable[Edit]) -> list[str]:
    """The edits that a scene cannot hold, as lines of Python."""
    return [edit.code() for edit in edits if isinstance(edit, GoToEdit | FollowEdit | ActEdit)]


def save_scene(scene: Scene, folder: Path, like: SceneStore) -> Path:
    """Writes a scene as a store of its own.

    Args:
        scene: The scene.
        folder: Folder that gets the store; its name follows from the contents of the scene.
        like: The store that the scene comes from.

    Returns:
        Path of the store.

    Raises:
        ForecastError: It cannot be written.
    """
    source = OneScene(scene, like.source, like.protocol)
    safe = "".join(each if each.isalnum() or each in "-_" else "_" for each in scene.id)[:60]
    path = folder / f"{safe}-{source.fingerprint()[:10]}"
    prepare(source, path)
    return path
