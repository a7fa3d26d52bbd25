"""`World`: an interactive world that imagines futures step by step under commands."""

from __future__ import annotations

import copy
import math
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
from forecast.models.noise import KeyedNoise, keyed_noise
from forecast.models.rollout import Moment, SceneContext, advance, begin, settle, surroundings
from forecast.models.threads import undivided_operations
from forecast.models.types import Motion, State
from forecast.planning.ego import ONE_EGO
from forecast.planning.plan_poses import EgoMotion, plan_poses, plan_steps
from forecast.scene import AgentKind, Prediction
from forecast.scene.agents import (
    FASTEST_MPS,
    FASTEST_TURN_RADPS,
    HARDEST_MPS2,
    TYPICAL_SIZE_M,
)
from forecast.scene.arguments import real_number, sample_count, whole_number
from forecast.scene.parsing import (
    FLOAT32_REACH_M,
    LARGEST_HEADING_RAD,
    parse_array,
    parse_kind,
    parse_sizes,
)

_STEPS_BETWEEN_SEARCHES = 3.0
"""A search for candidates covers the motion of agents over this many steps."""


class World:
    """K joint futures of a scene, imagined step by step, with commands to agents in between.

    Without commands, the futures equal those of `Forecaster.predict` with the same samples and
    seed, bit for bit. The only exception is pedestrians with an out-of-distribution history, which
    get constant velocity in `predict`. Random numbers depend on names of agents and on steps, so
    two forks differ only by the effects of their commands.

    Changes of an agent take effect at once. Other agents react within the next step.

    The world also has the two futures of the mode, in both chiralities. They come before the K
    samples in all internal arrays.

    Args:
        model: The network.
        cut: The observed window.
        origin_m: World position ``[2]`` of the window's frame.
        samples: Number of joint futures K.
        seed: Seed of the noise.

    Raises:
        ForecastError: ``samples`` is too small.
    """

    def __init__(
        self,
        model: PedestrianForecaster,
        cut: Window,
        origin_m: NDArray[np.float64],
        samples: int,
        seed: int,
    ) -> None:
        samples, seed = sample_count(samples), whole_number("seed", seed)
        self.dt_s, self.origin_m, self.at_us = cut.dt_s, origin_m, cut.at_us
        self._scene_id = cut.scene_id
        self._names: list[str] = cut.agent_ids.tolist()
        self._kinds, self._sizes = cut.kinds, cut.sizes_m
        self._since = np.zeros(len(self._names), np.int64)  # step at which each agent was added
        self._model, self._steps = model, 0
        self._contexts = ContextSource(model, cut.lane_map)
        self._noise = KeyedNoise(model.config.world_model, samples, seed)
        self._controls: dict[str, AgentControl] = {}
        self._path: list[Tensor] = []  # positions before the first step and after each
        encoded, device = encode(model, cut), self._contexts.device
        with torch.inference_mode(), undivided_operations():
            noise = keyed_noise(model.config.world_model, self._names, samples, 0, seed).to(device)
            settled = settle(model.world, encoded.context, encoded.state)
            self._state: State = begin(model.world, encoded.context, settled, noise)
            self._intent = noise.intent
        # The last search: its context, and for each agent the centre and the radius of the disc,
        # and the speed, for which the context is valid. The first search is that of `predict`, so
        # that the futures are equal. It is valid up to the horizon of `predict` without commands.
        everywhere = torch.full((len(self._names),), torch.inf, device=device)
        self._horizon = cut.future_m.shape[1]
        self._searched: tuple[SceneContext, Tensor, Tensor, Tensor] | None
        self._searched = (encoded.context, self._state.motion.position[0], everywhere, everywhere)

    def __repr__(self) -> str:
        agents = f"{len(self._names)} agents, {len(self._controls)} under command"
        start, now = f"{self.at_us / 1e6:.3f} s", f"{self.time_s:g} s"
        return f"World({self._noise.samples} samples, {agents}, {now} imagined from {start} on)"

    @property
    def agent_ids(self) -> list[str]:
        """Names of the agents ``[A]``, in the order of all arrays."""
        return list(self._names)

    @property
    def time_s(self) -> float:
        """Imagined time since the world began in seconds."""
        return self._steps * self.dt_s

    @property
    def positions_m(self) -> NDArray[np.float32]:
        """Present positions ``[K, A, 2]``, relative to ``origin_m``."""
        return _numpy(self._state.motion.position[2:])

    @property
    def velocities_mps(self) -> NDArray[np.float32]:
        """Velocities over the last step in m/s ``[K, A, 2]``."""
        return _numpy(self._state.motion.velocity[2:])

    @property
    def headings_rad(self) -> NDArray[np.float32]:
        """Present headings in radians ``[K, A]``."""
        x, y = self._state.motion.facing[2:].unbind(-1)
        return _numpy(torch.atan2(y, x))

    def prediction(self) -> Prediction:
        """The futures imagined so far, of the agents in the world now, without mode sets.

        Agents added after the first step are marked as not valid.

        Raises:
            ForecastError: No step was imagined yet.
        """
        require(self._steps > 0, "steps imagined so far", self._steps, "at least 1: call step()")
        start, path = self._path[0], torch.stack(self._path[1:], 2)
        return Prediction(
            positions_m=_numpy(path[2:]),
            weights=np.full(self._noise.samples, 1 / self._noise.samples),
            agent_ids=np.array(self._names, np.str_),
            valid=self._since == 0,
            at_us=self.at_us,
            dt_s=self.dt_s,
            origin_m=self.origin_m,
            mode_m=_numpy(path[:2].mean(0)),
            scene_id=self._scene_id,
            now_m=_numpy(start[0]),
        )

    def fork(self) -> World:
        """An independent copy with the same random numbers; the cost is negligible."""
        # Tensors and arrays are replaced, never changed in place, so the copies may share them.
        other = copy.copy(self)
        other._names, other._path = list(self._names), list(self._path)
        other._controls, other._since = dict(self._controls), self._since.copy()
        return other

    def step(self, steps: int = 1) -> World:
        """Imagines some steps.

        Args:
            steps: Number of steps.

        Returns:
            The world itself.

        Raises:
            ForecastError: ``steps`` is below 1.
        """
        whole_number("steps", steps, least=1)
        with torch.inference_mode(), undivided_operations():
            for _ in range(steps):
                self._step()
        return self

    def follow(
        self, poses: ArrayLike, agent: str | None = None, *, plan_dt_s: float | None = None
    ) -> None:
        """Lets an agent follow poses, from the next step on. Then it moves as imagined again.

        The ego must be able to drive its poses from where it is. If it is elsewhere in every
        sample, it must be able to in one sample at least; in the others it jumps. Others may
        jump to their first pose.

        Args:
            poses: x in m, y in m, heading in rad ``[T', 3]``, relative to ``origin_m``.
            agent: Name of the agent; default: the ego.
            plan_dt_s: Time between the poses; default: the world's step. The poses are
                interpolated at the world's steps.

        Raises:
            ForecastError: The poses are not finite of shape ``[T', 3]``, take no whole number of
                steps or are far from ``origin_m``, the agent cannot move so
                (`forecast.planning.plan_poses`), or there is no such agent.
        """
        index = self._index(agent)
        options: dict[str, Any] = {"dt_s": self.dt_s, "plan_dt_s": plan_dt_s, "item": "poses"}
        options["steps"] = plan_steps(poses, **options)
        options["kind"] = AgentKind(self._kinds[index])
        start = self._start(index, np.asarray(poses, np.float64)[0, :2], plan_dt_s or self.dt_s)
        given = plan_poses(poses, start, **options)
        _near("poses", given[:, :2])
        self._set_control(agent, Follow(self._tensor(given.astype(np.float32)), self._steps))

    def act(
        self, acceleration_mps2: float, yaw_rate_radps: float = 0.0, agent: str | None = None
    ) -> None:
        """Lets a vehicle drive with an acceleration and a yaw rate until the next command.

        Args:
            acceleration_mps2: Acceleration along the heading; a braking vehicle stops and stays.
            yaw_rate_radps: Yaw rate, counter-clockwise.
            agent: Name of the vehicle; default: the ego.

        Raises:
            ForecastError: A value is not finite or no vehicle can do it, or there is no such one.
        """
        for name, value, most, other in (
            ("acceleration_mps2", acceleration_mps2, HARDEST_MPS2, "m/s^2"),
            ("yaw_rate_radps", yaw_rate_radps, FASTEST_TURN_RADPS, "rad/s (not degrees)"),
        ):
            number = real_number(name, value, f"at most {most:g} {other}")
            require(abs(number) <= most, name, value, f"at most {most:g} {other}")
        kind = AgentKind(int(self._kinds[self._index(agent)]))
        require(kind >= AgentKind.VEHICLE, "kind of the agent", kind.name, "one that drives")
        self._set_control(agent, Act(acceleration_mps2, yaw_rate_radps))

    def go_to(self, agent: str, goal_m: ArrayLike, speed_mps: float | None = None) -> None:
        """Lets a pedestrian or cyclist go straight to a place and stay there.

        Args:
            agent: Name of the agent.
            goal_m: The place ``[2]``, relative to ``origin_m``.
            speed_mps: Speed; default: the imagined speed, so the agent still waits for others.

        Raises:
            ForecastError: A value is out of range, or there is no such agent on foot or cycle.
        """
        kind = AgentKind(int(self._kinds[self._index(agent)]))
        good = kind < AgentKind.VEHICLE
        require(good, "kind of the agent", kind.name, "a pedestrian or cyclist; give a car a plan")
        speed_mps = None if speed_mps is None else _speed(speed_mps, kind)
        self._set_control(agent, GoTo(self._tensor(_point("goal_m", goal_m)), speed_mps))

    def release(self, agent: str | None = None) -> None:
        """Ends the command of an agent, so that it moves as imagined again.

        Args:
            agent: Name of the agent; default: the ego.

        Raises:
            ForecastError: There is no such agent.
        """
        self._controls.pop(self._names[self._index(agent)], None)

    def change(
        self,
        agent: str,
        *,
        position_m: ArrayLike | None = None,
        heading_rad: float | None = None,
        speed_mps: float | None = None,
    ) -> None:
        """Changes position, heading or speed of an agent in all samples.

        Args:
            agent: Name of the agent.
            position_m: New position ``[2]``; the velocity does not change.
            heading_rad: New heading and direction of motion.
            speed_mps: New speed in the direction of motion, or along the heading of an agent at
                rest.

        Raises:
            ForecastError: A value is not finite or out of range, or there is no such agent.
        """
        index, motion = self._index(agent), self._state.motion
        given = motion.position, motion.velocity, motion.facing, self._state.smoothed
        position, velocity, facing, smoothed = (value.clone() for value in given)
        if position_m is not None:
            position[:, index] = self._tensor(_point("position_m", position_m))
        if heading_rad is not None:
            facing[:, index] = self._tensor(_direction(heading_rad))
        if heading_rad is not None or speed_mps is not None:
            old = velocity[:, index]
            pace = old.norm(dim=-1, keepdim=True)
            moves = heading_rad is None
            way = torch.where(moves & (pace > 1e-3), old / pace.clamp(min=1e-3), facing[:, index])
            kind = AgentKind(self._kinds[index])
            velocity[:, index] = way * (pace if speed_mps is None else _speed(speed_mps, kind))
            smoothed[:, index] = velocity[:, index]
        self._searched = None
        changed = Motion(position, velocity, facing, motion.yaw_rate)
        self._state = self._state._replace(motion=changed, smoothed=smoothed)

    def add(
        self,
        agent: str,
        kind: AgentKind | int | str,
        position_m: ArrayLike,
        *,
        heading_rad: float = 0.0,
        speed_mps: float = 0.0,
        size_m: Sequence[float] | None = None,
    ) -> None:
        """Puts a new agent into all samples.

        Args:
            agent: Name of the new agent; not in use yet.
            kind: Its kind or the name of it, except STATIC.
            position_m: Its centre ``[2]``, relative to ``origin_m``.
            heading_rad: Its heading and direction of motion.
            speed_mps: Its speed.
            size_m: Length, width, height; default: typical for the kind.

        Raises:
            ForecastError: The name is in use, or a value is out of range.
        """
        kind = parse_kind(f"agent '{agent}'", kind)
        require(kind != AgentKind.STATIC, "kind", "STATIC", "one that moves; or put_obstacle")
        item, typical = f"agent '{agent}'", TYPICAL_SIZE_M[kind]
        size = parse_array(item, "size_m", typical if size_m is None else size_m, (3,), np.float32)
        parse_sizes(item, size[None], np.array([kind]))
        self._put(agent, kind, position_m, heading_rad, speed_mps, size)

    def _put(
        self,
        agent: str,
        kind: AgentKind,
        position_m: ArrayLike,
        heading_rad: float,
        speed_mps: float,
        size_m: ArrayLike,
    ) -> None:
        """See `add`; an obstacle may be of any size."""
        require(isinstance(agent, str) and agent != "", "agent", repr(agent), "a name")
        require(agent not in self._names, "agent", f"'{agent}'", "a name that is not in use")
        size = parse_array(f"agent '{agent}'", "size_m", size_m, (3,), np.float32)
        good = bool((np.isfinite(size) & (size > 0)).all())
        require(good, "size_m", size_m, "3 finite lengths above 0")
        place, way = _point("position_m", position_m), _direction(heading_rad)
        speed = _speed(speed_mps, kind)
        self._names.append(agent)
        self._kinds = np.append(self._kinds, np.int8(kind))
        self._sizes = np.concatenate([self._sizes, size[None]])
        self._since = np.append(self._since, self._steps)
        self._join(self._tensor(place), self._tensor(way), speed)

    def put_obstacle(
        self, name: str, position_m: ArrayLike, size_m: Sequence[float], heading_rad: float = 0.0
    ) -> None:
        """Adds a static obstacle to all samples; for other agents it is a parked vehicle.

        Args:
            name: Name of the obstacle; not in use yet.
            position_m: Its centre ``[2]``, relative to ``origin_m``.
            size_m: Length, width, height.
            heading_rad: Direction of its length.

        Raises:
            ForecastError: The name is in use, or a value is out of range.
        """
        self._put(name, AgentKind.VEHICLE, position_m, heading_rad, 0.0, size_m)
        self._controls[name] = Stay()

    def remove(self, agent: str) -> None:
        """Removes an agent from all samples.

        Args:
            agent: Name of the agent.

        Raises:
            ForecastError: There is no such agent.
        """
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
        if self._steps == self._horizon:  # the candidates of `predict` end here
            self._searched = None
        if not self._path:  # not before: a command may still change where agents start
            self._path.append(self._state.motion.position)
        world = self._model.world
        noise = self._noise.steps(self._names, self._steps, 1)[0].to(self._intent.device)
        around = surroundings(world, self._context(), self._state)
        moment = Moment(self._state, around, self._intent, noise)
        self._state = advance(world, moment, self._steps, [self._control])
        self._path.append(self._state.motion.position)
        self._steps += 1

    def _control(self, step: int, before: Motion, imagined: Motion) -> Motion:
        """The imagined motions ``[S, N, ...]``, with those of controlled agents replaced."""
        for name, control in self._controls.items():
            index = self._names.index(name)
            own, free = (Motion(*(v[:, index] for v in each)) for each in (before, imagined))
            moved = control.moved(own, free, step, own.yaw_rate.new_tensor(self.dt_s))
            imagined = Motion(*(v.clone() for v in imagined))
            for value, new in zip(imagined, moved, strict=True):
                value[:, index] = new
        return imagined

    def _join(self, position: Tensor, facing: Tensor, speed_mps: float) -> None:
        """Adds a state for the last name, with the messages of its present surroundings.

        The new agent has no history. One update gives it a hidden state, as after an observation.
        Hidden states of the other agents do not change.

        Args:
            position: ``[2]``.
            facing: Unit vector ``[2]``.
            speed_mps: Its speed.
        """
        world = self._model.world
        with torch.inference_mode(), undivided_operations():
            # Its path before now is not known; `prediction` marks the agent as not valid.
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
        """The state of a new agent, equal in all copies, with hidden state 0."""
        mirror = self._noise.mirror().to(position.device)[:, None]
        none, yes = torch.zeros_like(mirror), torch.ones_like(mirror, dtype=torch.bool)
        here, moves, faces = (v.expand(len(mirror), 1, 2) for v in (position, velocity, facing))
        motion = Motion(here, moves, faces, none)
        hidden = none[..., None].expand(-1, -1, self._state.hidden.shape[-1])
        return State(hidden, motion, motion.velocity, motion.velocity, yes, yes, none, mirror)

    def _context(self) -> SceneContext:
        """The context of the present positions.

        A search is valid while every agent, in every copy, stays within its disc and below its
        speed limit. Otherwise a new search is made. All copies share one search: its discs cover
        the positions of an agent in all copies, and its motion over the next few steps.
        """
        position, speed = self._state.motion.position, self._state.motion.velocity.norm(dim=-1)
        if self._searched is not None:
            context, centre, reach, pace = self._searched
            far = (position - centre).norm(dim=-1) > reach
            if not (far | (speed > pace)).any():
                return context
        centre = (position.amin(0) + position.amax(0)) / 2
        spread = (position - centre).norm(dim=-1).amax(0)
        pace = speed.amax(0) + 1.0  # m/s; agents may speed up until the next search
        reach = spread + pace * self.dt_s * _STEPS_BETWEEN_SEARCHES
        within = Reach(_numpy(pace), _numpy(reach))
        agents = self._kinds, self._sizes, self.dt_s, _numpy(centre)
        context = self._contexts.context(*agents, within)
        self._searched = (context, centre, reach, pace)
        return context

    def _start(self, agent: int, first_m: NDArray[np.float64], after_s: float) -> EgoMotion:
        """The present motion of an agent, in the copy in which it comes nearest to a place.

        Args:
            agent: Index of the agent.
            first_m: The place ``[2]``.
            after_s: Time until the agent is to be there.
        """
        state = self._state
        motion = Motion(*(value[:, agent] for value in state.motion))
        off = motion.position + after_s * motion.velocity - self._tensor(first_m)
        nearest = int(off.norm(dim=-1).argmin())
        x, y = motion.facing[nearest].tolist()
        pose = np.append(_numpy(motion.position[nearest]), math.atan2(y, x)).astype(np.float64)
        if not (self._steps > 0 or state.steady[nearest, agent]):
            return EgoMotion(pose, np.zeros((0, 2, 2)))
        before = state.velocity_before[nearest, agent]
        velocities = motion.velocity[nearest], (motion.velocity[nearest] - before) / 2
        return EgoMotion.of_velocity(pose, *(_numpy(v).astype(np.float64) for v in velocities))

    def _set_control(self, agent: str | None, control: AgentControl) -> None:
        self._controls[self._names[self._index(agent)]] = control
        self._searched = None  # a command may exceed the bounds of the last search

    def _index(self, agent: str | None) -> int:
        """Index of an agent, or of the ego for None; raises `ForecastError`."""
        if agent is None:
            egos = np.flatnonzero(self._kinds == AgentKind.EGO)
            require(len(egos) == 1, "number of egos in the world", len(egos), ONE_EGO)
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
    """A copy, so that whoever changes it changes neither this world nor its forks."""
    return np.array(values.cpu().numpy())


def _finite(name: str, values: NDArray[Any]) -> NDArray[Any]:
    require(bool(np.isfinite(values).all()), name, "not finite", "finite numbers")
    return values


def _point(name: str, values: ArrayLike) -> NDArray[np.float32]:
    point = _finite(name, parse_array("world", name, values, (2,), np.float64))
    return _near(name, point).astype(np.float32)


def _near(name: str, places_m: NDArray[Any]) -> NDArray[Any]:
    """Refuses places ``[..., 2]`` that are world coordinates."""
    far = np.abs(places_m).max(axis=-1, initial=0.0) > FLOAT32_REACH_M
    needed = f"a place relative to origin_m, within {FLOAT32_REACH_M:.0f} m of it,"
    require(not far.any(), name, places_m[far][:1].tolist(), needed)
    return places_m


def _direction(heading_rad: float) -> NDArray[np.float32]:
    heading_rad = real_number("heading_rad", heading_rad, "an angle in radians")
    _finite("heading_rad", np.array(heading_rad))
    good = abs(heading_rad) <= LARGEST_HEADING_RAD
    require(good, "heading_rad", heading_rad, "an angle in radians (not in degrees)")
    return np.array([np.cos(heading_rad), np.sin(heading_rad)], np.float32)


def _speed(speed_mps: float, kind: AgentKind) -> float:
    speed_mps = real_number("speed_mps", speed_mps, "a finite speed of at least 0")
    require(0 <= speed_mps < np.inf, "speed_mps", speed_mps, "a finite speed of at least 0")
    fastest = FASTEST_MPS[kind]
    most = f"at most {fastest:g} m/s for a {kind.name.lower()}"
    require(speed_mps <= fastest, "speed_mps", speed_mps, most)
    return speed_mps
