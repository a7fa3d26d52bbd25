"""`World`: imagined futures that move on step by step, and can be meddled with."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from forecast.datasets.windows import Window
from forecast.errors import ForecastError, require
from forecast.graphs.candidates import Reach
from forecast.inference.contexts import ContextSource
from forecast.inference.controls import Act, AgentControl, Follow, GoTo, Stay
from forecast.inference.windows import encode
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.noise import KeyedNoise
from forecast.models.rollout import Moment, SceneContext, advance, surroundings
from forecast.models.types import Motion, State
from forecast.scene import AgentKind, Prediction
from forecast.scene.agents import TYPICAL_SIZE_M

_STEPS_BETWEEN_SEARCHES = 3.0
"""Neighbours are looked for again once somebody has gone farther than in so many steps."""


class World:
    """Copies of one world, imagined on from what was seen, each by its own random numbers.

    Left alone, its futures are bit for bit those of `Forecaster.predict` with the same samples and
    seed, but for people with an unfamiliar past, whom `predict` gives constant velocity. Random
    numbers belong to agents by name and to steps: two forks differ by what was done to them.

    What is changed takes effect on the bodies at once; the others see it from the next step on.

    Args:
        model: The network.
        cut: What was seen.
        origin_m: World position of the window's frame.
        samples: Number of joint futures K.
        seed: Seed of the noise.
    """

    def __init__(
        self,
        model: PedestrianForecaster,
        cut: Window,
        origin_m: NDArray[np.float64],
        samples: int,
        seed: int,
    ) -> None:
        require(samples >= 1, "samples", samples, "at least 1")
        self.dt_s, self.origin_m, self.at_us = cut.dt_s, origin_m, cut.at_us
        self._names: list[str] = cut.agent_ids.tolist()
        self._kinds, self._sizes = cut.kinds, cut.sizes_m
        self._since = np.zeros(len(self._names), np.int64)
        self._model, self._steps = model, 0
        self._contexts = ContextSource(model, cut.lane_map)
        self._noise = KeyedNoise(model.config.world_model, samples, seed)
        self._controls: dict[str, AgentControl] = {}
        self._path: list[Tensor] = []
        encoded, device = encode(model, cut), self._contexts.device
        with torch.inference_mode():
            self._intent = self._noise.intent(self._names).to(device)
            state = encoded.state.with_mirror(self._noise.mirror().to(device))
            self._state: State = model.world.inject(state, self._intent)
        # The neighbours of `predict`, good for everybody up to its horizon if nobody meddles.
        everywhere = torch.full((len(self._names),), torch.inf, device=device)
        self._horizon = cut.future_m.shape[1]
        self._searched: tuple[SceneContext, Tensor, Tensor, Tensor] | None
        self._searched = (encoded.context, state.motion.position[0], everywhere, everywhere)

    @property
    def agent_ids(self) -> list[str]:
        """Names of the agents ``[A]``, in the order of all arrays."""
        return list(self._names)

    @property
    def time_s(self) -> float:
        """Imagined time since the world began."""
        return self._steps * self.dt_s

    @property
    def positions_m(self) -> NDArray[np.float32]:
        """Where everybody is now ``[K, A, 2]``, relative to ``origin_m``."""
        return _numpy(self._state.motion.position[2:])

    @property
    def velocities_mps(self) -> NDArray[np.float32]:
        """Velocities over the last step ``[K, A, 2]``."""
        return _numpy(self._state.motion.velocity[2:])

    @property
    def headings_rad(self) -> NDArray[np.float32]:
        """Which way everybody faces ``[K, A]``."""
        x, y = self._state.motion.facing[2:].unbind(-1)
        return _numpy(torch.atan2(y, x))

    def prediction(self) -> Prediction:
        """The futures imagined so far, of those who are in the world now.

        Who was added on the way is marked as not valid.

        Raises:
            ForecastError: The world has not moved on yet.
        """
        require(self._steps > 0, "steps imagined so far", self._steps, "at least 1: call step()")
        path = torch.stack(self._path, 2)
        return Prediction(
            positions_m=_numpy(path[2:]),
            weights=np.full(self._noise.samples, 1 / self._noise.samples),
            agent_ids=np.array(self._names, np.str_),
            valid=self._since == 0,
            at_us=self.at_us,
            dt_s=self.dt_s,
            origin_m=self.origin_m,
            mode_m=_numpy(path[:2].mean(0)),
        )

    def fork(self) -> World:
        """An independent copy that shares its random numbers; costs next to nothing."""
        other = copy.copy(self)
        other._names, other._path = list(self._names), list(self._path)
        other._controls, other._since = dict(self._controls), self._since.copy()
        return other

    def step(self, steps: int = 1) -> World:
        """Moves on by some steps; returns the world itself."""
        require(steps >= 1, "steps", steps, "at least 1")
        with torch.inference_mode():
            for _ in range(steps):
                self._step()
        return self

    def follow(self, poses: ArrayLike, agent: str | None = None) -> None:
        """Tells an agent to take poses from the next step on; then it goes on by itself.

        Args:
            poses: x, y, heading ``[T, 3]``, one per step, relative to ``origin_m``.
            agent: Who; default: the ego.
        """
        given = np.asarray(poses, np.float32)
        good = given.ndim == 2 and given.shape[1] == 3 and len(given) > 0
        require(good, "shape of poses", list(given.shape), "[T, 3]")
        self._give(agent, Follow(self._tensor(_finite("poses", given)), self._steps))

    def act(
        self, acceleration_mps2: float, yaw_rate_radps: float = 0.0, agent: str | None = None
    ) -> None:
        """Tells a vehicle to drive with an acceleration and a yaw rate until told otherwise.

        Args:
            acceleration_mps2: Along the heading; a braking vehicle stops and stays.
            yaw_rate_radps: Counter-clockwise.
            agent: Who; default: the ego.
        """
        _finite("action", np.array([acceleration_mps2, yaw_rate_radps]))
        kind = AgentKind(int(self._kinds[self._index(agent)]))
        require(kind >= AgentKind.VEHICLE, "kind of the agent", kind.name, "one that drives")
        self._give(agent, Act(acceleration_mps2, yaw_rate_radps))

    def go_to(self, agent: str, goal_m: ArrayLike, speed_mps: float | None = None) -> None:
        """Tells somebody on foot or on a cycle to make straight for a place and stay there.

        Args:
            agent: Who.
            goal_m: The place ``[2]``.
            speed_mps: How fast; default: as fast as is imagined, so it still waits for others.
        """
        kind = AgentKind(int(self._kinds[self._index(agent)]))
        good = kind < AgentKind.VEHICLE
        require(good, "kind of the agent", kind.name, "a walker or cyclist; give a car a plan")
        if speed_mps is not None:
            require(0 <= speed_mps < np.inf, "speed_mps", speed_mps, "a speed of at least 0")
        self._give(agent, GoTo(self._tensor(_point("goal_m", goal_m)), speed_mps))

    def release(self, agent: str | None = None) -> None:
        """Lets an agent, default the ego, go on by itself again."""
        self._controls.pop(self._names[self._index(agent)], None)

    def change(
        self,
        agent: str,
        *,
        position_m: ArrayLike | None = None,
        heading_rad: float | None = None,
        speed_mps: float | None = None,
    ) -> None:
        """Changes where an agent is or how it moves, in all samples.

        Args:
            agent: Who.
            position_m: Where it is put ``[2]``, keeping its velocity.
            heading_rad: Which way it faces and moves.
            speed_mps: How fast it moves, the way it moves or, standing, faces.
        """
        index, motion = self._index(agent), self._state.motion
        position, velocity, facing = (
            value.clone() for value in (motion.position, motion.velocity, motion.facing)
        )
        if position_m is not None:
            position[:, index] = self._tensor(_point("position_m", position_m))
        if heading_rad is not None:
            facing[:, index] = self._tensor(_direction(heading_rad))
        if heading_rad is not None or speed_mps is not None:
            old = velocity[:, index]
            pace = old.norm(dim=-1, keepdim=True)
            moves = heading_rad is None
            way = torch.where(moves & (pace > 1e-3), old / pace.clamp(min=1e-3), facing[:, index])
            velocity[:, index] = way * (pace if speed_mps is None else _speed(speed_mps))
        self._searched = None
        changed = Motion(position, velocity, facing, motion.yaw_rate)
        self._state = self._state._replace(motion=changed)

    def add(
        self,
        agent: str,
        kind: AgentKind,
        position_m: ArrayLike,
        *,
        heading_rad: float = 0.0,
        speed_mps: float = 0.0,
        size_m: Sequence[float] | None = None,
    ) -> None:
        """Puts a new agent into all samples.

        Args:
            agent: Its name, which is new.
            kind: What it is.
            position_m: Its centre ``[2]``.
            heading_rad: Which way it faces and moves.
            speed_mps: How fast it moves.
            size_m: Length, width, height; default: typical for the kind.
        """
        require(agent not in self._names, "agent", f"'{agent}'", "a name that is not in use")
        require(kind != AgentKind.STATIC, "kind", "STATIC", "one that moves; or put_obstacle")
        size = np.array([TYPICAL_SIZE_M[kind] if size_m is None else size_m], np.float32)
        good = size.shape == (1, 3) and bool((size > 0).all())
        require(good, "size_m", size_m, "3 lengths above 0")
        place, way = _point("position_m", position_m), _direction(heading_rad)
        self._names.append(agent)
        self._kinds = np.append(self._kinds, np.int8(kind))
        self._sizes = np.concatenate([self._sizes, size])
        self._since = np.append(self._since, self._steps)
        self._join(self._tensor(place), self._tensor(way), _speed(speed_mps))

    def put_obstacle(
        self, name: str, position_m: ArrayLike, size_m: Sequence[float], heading_rad: float = 0.0
    ) -> None:
        """Puts something into the way that stays; people take it for a parked vehicle.

        Args:
            name: Its name, which is new.
            position_m: Its centre ``[2]``.
            size_m: Length, width, height.
            heading_rad: Direction of its length.
        """
        self.add(name, AgentKind.VEHICLE, position_m, heading_rad=heading_rad, size_m=size_m)
        self._controls[name] = Stay()

    def remove(self, agent: str) -> None:
        """Takes an agent out of all samples."""
        index = self._index(agent)
        kept = np.arange(len(self._names)) != index
        self._controls.pop(self._names.pop(index), None)
        self._kinds, self._sizes = self._kinds[kept], self._sizes[kept]
        self._since = self._since[kept]
        mask = self._tensor(kept)
        self._state, self._intent = self._state.select(mask), self._intent[:, mask]
        self._path = [positions[:, mask] for positions in self._path]
        self._searched = None

    def _step(self) -> None:
        if self._steps == self._horizon:
            self._searched = None
        world = self._model.world
        noise = self._noise.steps(self._names, self._steps, 1)[0].to(self._intent.device)
        around = surroundings(world, self._context(), self._state)
        moment = Moment(self._state, around, self._intent, noise)
        self._state = advance(world, moment, self._steps, [self._control])
        self._path.append(self._state.motion.position)
        self._steps += 1

    def _control(self, step: int, before: Motion, imagined: Motion) -> Motion:
        """The imagined motions ``[S, N, ...]`` with those of the controlled agents instead."""
        for name, control in self._controls.items():
            index = self._names.index(name)
            own, free = (Motion(*(v[:, index] for v in each)) for each in (before, imagined))
            moved = control.moved(own, free, step, own.yaw_rate.new_tensor(self.dt_s))
            imagined = Motion(*(v.clone() for v in imagined))
            for value, new in zip(imagined, moved, strict=True):
                value[:, index] = new
        return imagined

    def _join(self, position: Tensor, facing: Tensor, speed_mps: float) -> None:
        """Gives the agent named last a body in all samples; it observes its surroundings at once.

        Args:
            position: ``[2]``.
            facing: Unit vector ``[2]``.
            speed_mps: How fast it moves.
        """
        world = self._model.world
        with torch.inference_mode():
            here = position.expand(len(self._state.seen), 1, 2)
            self._path = [torch.cat([positions, here], 1) for positions in self._path]
            self._state = self._state.append(self._new(position, speed_mps * facing, facing))
            self._searched = None
            intent = self._noise.intent(self._names[-1:]).to(position.device)
            self._intent = torch.cat([self._intent, intent], 1)
            state = self._state._replace(velocity_before=self._state.motion.velocity)
            hidden = world.update(surroundings(world, self._context(), state), state, state.seen)
            last = self._tensor(np.arange(len(self._names)) == len(self._names) - 1)
            new = world.inject(state._replace(hidden=hidden).select(last), intent)
            hidden = torch.cat([self._state.hidden[:, :-1], new.hidden], 1)
            self._state = self._state._replace(hidden=hidden)

    def _new(self, position: Tensor, velocity: Tensor, facing: Tensor) -> State:
        """The state of one more agent, the same in all copies, before it has observed anything."""
        mirror = self._noise.mirror().to(position.device)[:, None]
        none, yes = torch.zeros_like(mirror), torch.ones_like(mirror, dtype=torch.bool)
        here, moves, faces = (v.expand(len(mirror), 1, 2) for v in (position, velocity, facing))
        motion = Motion(here, moves, faces, none)
        hidden = none[..., None].expand(-1, -1, self._state.hidden.shape[-1])
        return State(hidden, motion, motion.velocity, yes, yes, none, mirror)

    def _context(self) -> SceneContext:
        """The context for now; made anew when an agent has left its reach or got faster."""
        position, speed = self._state.motion.position, self._state.motion.velocity.norm(dim=-1)
        if self._searched is not None:
            context, centre, reach, pace = self._searched
            far = (position - centre).norm(dim=-1) > reach
            if not (far | (speed > pace)).any():
                return context
        centre = (position.amin(0) + position.amax(0)) / 2
        spread = (position - centre).norm(dim=-1).amax(0)
        pace = speed.amax(0) + 1.0
        reach = spread + pace * self.dt_s * _STEPS_BETWEEN_SEARCHES
        within = Reach(_numpy(pace), _numpy(reach))
        agents = self._kinds, self._sizes, self.dt_s, _numpy(centre)
        context = self._contexts.context(*agents, within)
        self._searched = (context, centre, reach, pace)
        return context

    def _give(self, agent: str | None, control: AgentControl) -> None:
        self._controls[self._names[self._index(agent)]] = control
        self._searched = None

    def _index(self, agent: str | None) -> int:
        """Place of an agent, of the ego if None; raises `ForecastError`."""
        if agent is None:
            egos = np.flatnonzero(self._kinds == AgentKind.EGO)
            require(len(egos) == 1, "number of egos in the world", len(egos), "exactly 1")
            return int(egos[0])
        if agent not in self._names:
            raise ForecastError(
                f"agent '{agent}' is not in the world; one of {', '.join(self._names[:5])}"
                f"{', …' if len(self._names) > 5 else ''} is needed"
            )
        return self._names.index(agent)

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self._intent.device)


def _numpy(values: Tensor) -> NDArray[np.float32]:
    return np.asarray(values.cpu().numpy())


def _finite(name: str, values: NDArray[Any]) -> NDArray[Any]:
    require(bool(np.isfinite(values).all()), name, "not finite", "finite numbers")
    return values


def _point(name: str, values: ArrayLike) -> NDArray[np.float32]:
    point = np.asarray(values, np.float32)
    require(point.shape == (2,), f"shape of {name}", list(point.shape), "[2]")
    return np.asarray(_finite(name, point))


def _direction(heading_rad: float) -> NDArray[np.float32]:
    _finite("heading_rad", np.array(heading_rad))
    return np.array([np.cos(heading_rad), np.sin(heading_rad)], np.float32)


def _speed(speed_mps: float) -> float:
    require(0 <= speed_mps < np.inf, "speed_mps", speed_mps, "a finite speed of at least 0")
    return float(speed_mps)
