"""`Stream`: filters live traffic frame by frame, and predicts after any frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.errors import ForecastError, require
from forecast.graphs.candidates import reach
from forecast.inference.contexts import ContextSource
from forecast.inference.weights import Training
from forecast.inference.windows import plan_of, predicted
from forecast.models.calibration.fallback import with_fallback
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.noise import keyed_noise
from forecast.models.observed import ObservedTracks
from forecast.models.rollout import SceneContext, observe
from forecast.models.types import Observation
from forecast.planning.plan_poses import EgoMotion, plan_poses
from forecast.scene import AgentKind, LaneMap, Prediction
from forecast.scene.agents import TYPICAL_SIZE_M
from forecast.scene.flicker import flicker

_TIME_TOLERANCE = 0.25
"""A frame may come early or late by this share of a step."""


@dataclass(frozen=True, eq=False)
class Frame:
    """The agents observed at one time, as plain arrays.

    Attributes:
        at_us: Time in microseconds.
        agent_ids: Unique names ``[A]``; the same agent has the same name in every frame.
        kinds: `AgentKind` values ``[A]``; agents of kind STATIC are ignored.
        positions_m: Centres ``[A, 2]`` in the stream's frame.
        headings_rad: Headings ``[A]``.
        sizes_m: Length, width, height ``[A, 3]``; default: typical for the kind.
    """

    at_us: int
    agent_ids: NDArray[np.str_]
    kinds: NDArray[np.int8]
    positions_m: NDArray[np.float32]
    headings_rad: NDArray[np.float32]
    sizes_m: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Converts lists to arrays; checks shapes, values and names; raises `ForecastError`."""
        agents, kinds = len(self.agent_ids), np.asarray(self.kinds, np.int64)
        known = bool(np.isin(kinds, list(AgentKind)).all())
        require(known, "frame: kinds", kinds.tolist(), "values of AgentKind")
        if self.sizes_m is None:
            typical = [TYPICAL_SIZE_M[AgentKind(kind)] for kind in kinds.tolist()]
            object.__setattr__(self, "sizes_m", typical)
        for name, shape, dtype in (
            ("agent_ids", (agents,), np.str_),
            ("kinds", (agents,), np.int8),
            ("positions_m", (agents, 2), np.float32),
            ("headings_rad", (agents,), np.float32),
            ("sizes_m", (agents, 3), np.float32),
        ):
            array = np.asarray(getattr(self, name), dtype)
            array = array.reshape(shape) if agents == 0 else array
            require(array.shape == shape, f"frame: shape of {name}", list(array.shape), f"{shape}")
            object.__setattr__(self, name, array)
        for name in ("positions_m", "headings_rad", "sizes_m"):
            value = getattr(self, name)
            finite = np.isfinite(value).all(axis=tuple(range(1, value.ndim)))
            if not finite.all():
                raise ForecastError(
                    f"frame: {name} of agent '{self.agent_ids[~finite][0]}' is not finite; "
                    "leave out agents that are not observed"
                )
        names, counts = np.unique(self.agent_ids, return_counts=True)
        twice = names[counts > 1][:1].tolist()
        require(not twice, "frame: agents named twice", twice, "unique agent_ids")


@dataclass(frozen=True, eq=False)
class _Roster:
    """The N agents that a stream tracks, as arrays in the order of the recurrent state.

    The network needs the recurrent state alone. The positions of the last H steps serve the search
    for neighbours, the OOD score and the tubes.

    Attributes:
        names: ``[N]``.
        kinds: `AgentKind` values ``[N]``.
        sizes_m: Length, width, height ``[N, 3]``.
        positions_m: Positions at the last H steps ``[N, H, 2]``.
        valid: Steps at which each was observed ``[N, H]``.
        unseen: Steps since each was last observed ``[N]``.
    """

    names: NDArray[np.str_]
    kinds: NDArray[np.int8]
    sizes_m: NDArray[np.float32]
    positions_m: NDArray[np.float64]
    valid: NDArray[np.bool_]
    unseen: NDArray[np.int64]

    @classmethod
    def empty(cls, steps: int) -> _Roster:
        return cls(
            np.zeros(0, np.str_),
            np.zeros(0, np.int8),
            np.zeros((0, 3), np.float32),
            np.zeros((0, steps, 2)),
            np.zeros((0, steps), bool),
            np.zeros(0, np.int64),
        )

    def select(self, agents: NDArray[Any]) -> _Roster:
        return _Roster(*(values[agents] for values in vars(self).values()))

    def advanced(self, steps: int) -> _Roster:
        """The same agents some steps later, not observed at any of these steps."""
        # A gap may be longer than the history; then no step of it is kept.
        kept = max(self.valid.shape[1] - steps, 0)
        positions, valid = np.zeros_like(self.positions_m), np.zeros_like(self.valid)
        positions[:, :kept] = self.positions_m[:, self.valid.shape[1] - kept :]
        valid[:, :kept] = self.valid[:, self.valid.shape[1] - kept :]
        return replace(self, positions_m=positions, valid=valid, unseen=self.unseen + steps)

    def with_frame(self, frame: Frame) -> tuple[_Roster, NDArray[np.int64]]:
        """The roster after a frame at the last step, and the rows of the frame's agents ``[A]``.

        New agents get rows at the end. So the rows of known agents, and of the recurrent state, do
        not move.
        """
        row_of = {name: row for row, name in enumerate(self.names.tolist())}
        rows = [row_of.setdefault(name, len(row_of)) for name in frame.agent_ids.tolist()]
        at, more = np.array(rows, np.int64), len(row_of) - len(self.names)
        new = at >= len(self.names)
        steps = self.valid.shape[1]
        positions = np.concatenate([self.positions_m, np.zeros((more, steps, 2))])
        valid = np.concatenate([self.valid, np.zeros((more, steps), bool)])
        unseen = np.concatenate([self.unseen, np.zeros(more, np.int64)])
        sizes = np.concatenate([self.sizes_m, frame.sizes_m[new]])  # type: ignore[index]
        positions[at, -1], valid[at, -1], unseen[at] = frame.positions_m, True, 0
        sizes[at] = frame.sizes_m
        kinds = np.concatenate([self.kinds, frame.kinds[new]])
        names = np.concatenate([self.names, frame.agent_ids[new]])
        return _Roster(names, kinds, sizes, positions, valid, unseen), at


class Stream:
    """Filters frames one after the other; the cost of a frame does not grow with their number.

    Agents not observed for ``forget_s`` are dropped, so memory does not grow. After as many frames
    as the model's history has steps, predictions equal those of `Forecaster.predict` on that
    history. After more frames, the recurrent state covers more frames than a window.

    Args:
        model: The network.
        training: Training data and settings of the weights.
        lane_map: The map or None.
        dt_s: Time between frames.
        origin_m: World position ``[2]`` of the frames' origin.
        forget_s: Agents not observed for this time are dropped.

    Raises:
        ForecastError: ``forget_s`` is shorter than a step.
    """

    def __init__(
        self,
        model: PedestrianForecaster,
        training: Training,
        lane_map: LaneMap | None,
        dt_s: float,
        origin_m: NDArray[np.float64],
        forget_s: float,
    ) -> None:
        require(forget_s >= dt_s, "forget_s", forget_s, f"at least one step ({dt_s} s)")
        self.dt_s, self.origin_m = dt_s, origin_m
        self._model, self._training = model, training
        self._contexts = ContextSource(model, lane_map)
        self._forget_steps = round(forget_s / dt_s)
        self._roster = _Roster.empty(training.history_steps)
        self._at_us: int | None = None
        with torch.inference_mode():
            nothing = np.zeros((0, 2), np.float32)
            context = self._context(self._roster, nothing, steps=0)
            self._state = model.world.initial(context.agents)
        self._predictions: list[Prediction] = []

    @property
    def agent_ids(self) -> list[str]:
        """Names of the tracked agents ``[N]``."""
        return list(self._roster.names.tolist())

    def observe(self, frame: Frame) -> None:
        """Filters a frame.

        Args:
            frame: A frame, one or more steps after the last one.

        Raises:
            ForecastError: The frame comes too early, or between two steps.
        """
        moving = frame.kinds != AgentKind.STATIC
        if not moving.all():
            arrays = ("agent_ids", "kinds", "positions_m", "headings_rad", "sizes_m")
            frame = replace(frame, **{name: getattr(frame, name)[moving] for name in arrays})
        steps = self._steps_until(frame.at_us)
        self._forget(steps)
        before = len(self._roster.names)
        self._roster, at = self._roster.with_frame(frame)
        with torch.inference_mode():
            self._filter(frame, at, before, steps)
        self._at_us = frame.at_us

    def predict(
        self,
        *,
        horizon_s: float = 6.0,
        samples: int = 20,
        seed: int = 0,
        ego_plan: NDArray[Any] | None = None,
        plan_dt_s: float | None = None,
    ) -> Prediction:
        """Imagines joint futures of the agents in the last frame.

        Args:
            horizon_s: As in `Forecaster.predict`.
            samples: As in `Forecaster.predict`.
            seed: As in `Forecaster.predict`.
            ego_plan: Poses ``[T', 3]`` of the ego in the stream's frame up to the horizon, or None.
            plan_dt_s: As in `Forecaster.predict`.

        Raises:
            ForecastError: No frame was observed yet, or an argument is wrong.
        """
        if self._at_us is None:
            raise ForecastError("the stream has observed no frame; call observe() first")
        steps = round(horizon_s / self.dt_s) if np.isfinite(horizon_s) else 0
        require(samples >= 1, "samples", samples, "at least 1")
        require(steps >= 1, "horizon_s", horizon_s, f"at least one step of {self.dt_s} s")
        # Tracked agents outside the last frame are kept for their return, but not predicted.
        present = self._roster.unseen == 0
        seen = self._roster.select(present)
        poses = self._plan(ego_plan, present, steps, plan_dt_s)
        calibration, ood_model = self._training.calibration, self._training.ood
        drawn = max(samples, calibration.samples if calibration else 0)
        names = seen.names.tolist()
        noise = keyed_noise(self._model.config.world_model, names, drawn, steps, seed)
        with torch.inference_mode():
            state = self._state.select(self._tensor(present))
            now = seen.positions_m[:, -1].astype(np.float32)
            context = self._context(seen, now, steps, poses)
            plan = plan_of(poses, context.agents.kind)
            futures = self._model.futures(context, state, noise.to(self._contexts.device), plan)
        prediction = predicted(
            futures.cpu().numpy(), seen.names, self._at_us, self.dt_s, self.origin_m
        )
        past = ObservedTracks(seen.positions_m, seen.valid, seen.kinds, self.dt_s)
        prediction = with_fallback(prediction, past, samples, calibration, ood_model)
        self._predictions = [*self._predictions[-1:], prediction]
        return prediction

    def flicker(self) -> dict[str, float]:
        """Distance between the last two predictions, in metres, by agent name.

        See the function `flicker`.

        Raises:
            ForecastError: There were fewer than two predictions, or they have no time in common.
        """
        require(len(self._predictions) == 2, "predictions", len(self._predictions), "at least 2")
        return flicker(*self._predictions)

    def _plan(
        self,
        ego_plan: NDArray[Any] | None,
        present: NDArray[np.bool_],
        steps: int,
        plan_dt_s: float | None,
    ) -> NDArray[np.float32] | None:
        """A plan of the ego at the stream's steps ``[T, 3]``; None without a plan.

        Args:
            ego_plan: As in `predict`.
            present: Agents in the last frame ``[N]``.
            steps: Number of steps T.
            plan_dt_s: As in `predict`.
        """
        if ego_plan is None:
            return None
        roster, dt_s = self._roster, self.dt_s
        egos = np.flatnonzero(present & (roster.kinds == AgentKind.EGO))
        require(len(egos) == 1, "number of egos", len(egos), "exactly 1 agent of kind EGO")
        ego = int(egos[0])
        x, y = self._state.motion.facing[0, ego].tolist()
        history = roster.positions_m[ego], roster.valid[ego]
        motion = EgoMotion.of_history(*history, math.atan2(y, x), dt_s)
        poses = plan_poses(ego_plan, motion, dt_s=dt_s, steps=steps, plan_dt_s=plan_dt_s)
        return poses.astype(np.float32)

    def _steps_until(self, at_us: int) -> int:
        """Steps from the last frame to a time; raises `ForecastError`."""
        if self._at_us is None:
            return 1
        steps = (at_us - self._at_us) / (self.dt_s * 1e6)
        on_time = round(steps) >= 1 and abs(steps - round(steps)) <= _TIME_TOLERANCE
        since = f"{steps:.2f} steps after the last frame"
        require(on_time, "frame: at_us", since, f"frames every {self.dt_s} s")
        return round(steps)

    def _forget(self, steps: int) -> None:
        """Advances the roster by some steps, and drops agents not observed for too long."""
        later = self._roster.advanced(steps)
        kept = later.unseen <= self._forget_steps
        self._roster = later if kept.all() else later.select(kept)
        if not kept.all():
            self._state = self._state.select(self._tensor(kept))

    def _filter(self, frame: Frame, at: NDArray[np.int64], known: int, steps: int) -> None:
        """Updates the recurrent state by a frame.

        Args:
            frame: The frame; the roster contains it already.
            at: Rows of its agents ``[A]``.
            known: Number of agents before the frame; later rows are new.
            steps: Steps since the last frame.
        """
        world, roster = self._model.world, self._roster
        position = np.zeros((len(roster.names), 2), np.float32)
        heading = np.zeros(len(roster.names), np.float32)
        # Tracked agents outside the frame stay where they were last observed.
        position[:known] = self._state.motion.position[0].cpu().numpy()
        position[at], heading[at] = frame.positions_m, frame.headings_rad
        context = self._context(roster, position, steps=0)
        new = self._tensor(np.arange(len(roster.names)) >= known)
        state = self._state.append(world.initial(context.agents).select(new))
        # `place` counts one step for a frame; steps without a frame are added here.
        missed_s = (steps - 1) * self.dt_s
        state = state._replace(unseen_s=state.unseen_s + missed_s * ~new)
        seen = (position, heading, roster.valid[:, -1])
        self._state = observe(world, context, state, Observation(*map(self._tensor, seen)))

    def _context(
        self,
        agents: _Roster,
        positions_m: NDArray[np.float32],
        steps: int,
        poses: NDArray[np.float32] | None = None,
    ) -> SceneContext:
        """The context of agents over some steps.

        Args:
            agents: The agents.
            positions_m: Their present positions ``[N, 2]``.
            steps: Steps ahead.
            poses: Plan of the ego ``[T, 3]`` or None.
        """
        history = agents.positions_m, agents.valid, agents.kinds
        within = reach(*history, self.dt_s, steps, self._model.config.graph, poses)
        return self._contexts.context(agents.kinds, agents.sizes_m, self.dt_s, positions_m, within)

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._contexts.device)
