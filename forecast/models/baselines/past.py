"""The observed past that baselines predict from, and constant velocity from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.scene import AgentKind, Prediction, Scene
from forecast.scene.arguments import sample_count, whole_number, whole_steps
from forecast.scene.continuity import continuous, jumps

Floats = NDArray[np.float64]

ALMOST_STILL_MPS = 0.2
"""Below this speed the direction of motion is mostly noise and defines no frame."""


@dataclass(frozen=True, eq=False)
class Past:
    """What a baseline may use: the present agents' tracks up to and including step ``at``.

    Attributes:
        scene: The scene, for names and frame.
        at: Current step.
        agents: Indices of the present agents in the scene ``[A]``.
        positions_m: ``[A, at + 1, 2]``.
        valid: ``[A, at + 1]``.
        steps: Steps to predict T.
    """

    scene: Scene
    at: int
    agents: NDArray[np.int64]
    positions_m: Floats
    valid: NDArray[np.bool_]
    steps: int

    @classmethod
    def of(cls, scene: Scene, at: int, horizon_s: float, samples: int, seed: int) -> Past:
        """Cuts the past out of a scene; raises `ForecastError` for wrong arguments."""
        whole_number("seed", seed)
        at = scene.prediction_step(at)
        sample_count(samples)
        steps = whole_steps("horizon_s", horizon_s, scene.dt_s)
        agents = scene.present(at)
        tracks = scene.tracks.between(0, at + 1).select(agents)
        times_us = scene.timestamps_us[: at + 1]
        jumped = jumps(tracks.positions_m, tracks.valid, times_us, tracks.kinds)
        valid = continuous(tracks.valid, jumped, at)
        positions = np.where(valid[..., None], tracks.positions_m, 0.0)
        return cls(scene, at, agents, positions.astype(np.float64), valid, steps)

    @property
    def dt_s(self) -> float:
        """Step length."""
        return self.scene.dt_s

    def last_step(self) -> Floats:
        """Displacement of the last step ``[A, 2]``; 0 for agents not observed one step before."""
        if self.at == 0:
            return np.zeros((len(self.agents), 2))
        return np.where(self.valid[:, -2:-1], last_step(self.positions_m), 0.0)

    def constant_velocity(self) -> Floats:
        """Paths ``[A, T, 2]`` at the velocity of the last step."""
        return keep_going(self.positions_m[:, -1], self.last_step(), self.steps)

    def prediction(
        self,
        futures: Floats,
        ego_plan: NDArray[Any] | None,
        *,
        weights: Floats | None = None,
        mode: Floats | None = None,
        spread: Floats | None = None,
    ) -> Prediction:
        """Builds a prediction of futures ``[K, A, T, 2]``; the ego follows its plan, if given."""
        count = len(futures)
        if ego_plan is not None:
            ego = self.scene.tracks.kinds[self.agents] == AgentKind.EGO
            path = self._planned_path(ego_plan)
            futures = np.where(ego[:, None, None], path, futures)
            mode = mode if mode is None else np.where(ego[:, None, None], path, mode)
            spread = spread if spread is None else np.where(ego[:, None], 0.0, spread)
        return Prediction(
            positions_m=futures.astype(np.float32),
            weights=np.full(count, 1 / count) if weights is None else weights,
            agent_ids=self.scene.tracks.agent_ids[self.agents],
            valid=np.ones(len(self.agents), bool),
            at_us=int(self.scene.timestamps_us[self.at]),
            dt_s=self.dt_s,
            origin_m=self.scene.origin_m,
            mode_m=None if mode is None else mode.astype(np.float32),
            spread_m=None if spread is None else spread.astype(np.float32),
            scene_id=self.scene.id,
            now_m=self.positions_m[:, -1].astype(np.float32),
        )

    def _planned_path(self, ego_plan: NDArray[Any]) -> Floats:
        plan = np.asarray(ego_plan, np.float64)
        if plan.ndim != 2 or plan.shape[1] != 3 or len(plan) < self.steps:
            raise ForecastError(
                f"ego_plan has shape {list(plan.shape)}; [{self.steps}, 3] is needed"
            )
        return plan[: self.steps, :2]


def last_step(positions_m: Floats) -> Floats:
    """Displacement ``[A, 2]`` from the last but one to the last of positions ``[A, T, 2]``."""
    step: Floats = positions_m[:, -1] - positions_m[:, -2]
    return step


def keep_going(now_m: Floats, step_m: Floats, steps: int) -> Floats:
    """Paths ``[A, T, 2]`` that repeat a step ``[A, 2]`` from a position ``[A, 2]``."""
    return now_m[:, None] + step_m[:, None] * np.arange(1.0, steps + 1)[:, None]


def motion_frame(step_m: Floats, dt_s: float) -> Floats:
    """Direction of a step ``[A, 2]`` in radians ``[A]``; 0 for agents that are almost still."""
    moving = np.hypot(step_m[:, 0], step_m[:, 1]) > ALMOST_STILL_MPS * dt_s
    return np.where(moving, np.arctan2(step_m[:, 1], step_m[:, 0]), 0.0)
