"""The world model: filters what is seen, imagines what follows.

A recurrent state per agent (deterministic), a stochastic intent drawn once per agent and imagined
future, and small stochastic input at every step. The verbs are those of recurrent state-space
models (Hafner et al. 2019, 2023): `initial`, `observe`, `imagine`, and a loss on what was imagined
(`forecast.models.losses`). The graph of who sees whom follows the imagined positions at every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from forecast.errors import require
from forecast.graphs import GraphConfig
from forecast.models.edges import has_machine_code, in_machine_code
from forecast.models.encoder import Interaction, mlp
from forecast.models.kinematics import (
    Motion,
    choose,
    give_way,
    moved_to,
    seen_from,
    stack,
    step_on,
    to_world,
    turn_towards,
)
from forecast.models.state import TRAITS, Context, Frame, Noise, Plan, State


@dataclass(frozen=True)
class WorldModelConfig:
    """Sizes of the world model.

    Attributes:
        hidden: Recurrent state per agent D.
        messages: Width of the messages between agents and from the map.
        map: Width of a map piece's embedding.
        intent: Dimensions of the intent drawn once per agent and future.
        noise: Dimensions of the noise drawn at every step.
    """

    hidden: int = 64
    messages: int = 32
    map: int = 32
    intent: int = 4
    noise: int = 2

    def __post_init__(self) -> None:
        """Checks the sizes; raises `ForecastError`."""
        for name in ("hidden", "messages", "map", "intent", "noise"):
            require(
                getattr(self, name) >= 1, f"world_model.{name}", getattr(self, name), "1 or more"
            )


class WorldModel(nn.Module):
    """Moves agents on, step by step, each in its own frame."""

    def __init__(self, config: WorldModelConfig, graph: GraphConfig) -> None:
        super().__init__()
        self.config = config
        self.interaction = Interaction(config.hidden, config.messages, config.map, graph)
        self.describe = mlp(MOTION_FEATURES + TRAITS, config.hidden, config.hidden)
        self.recur = nn.GRUCell(config.hidden + 2 * config.messages, config.hidden)
        self.intend = mlp(config.hidden + config.intent, config.hidden, config.hidden)
        self.decide = mlp(config.hidden + config.intent + config.noise, config.hidden, 2)
        for last in (self.intend[-1], self.decide[-1]):  # start as constant velocity
            nn.init.zeros_(last.weight)  # type: ignore[arg-type]
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def initial(self, context: Context) -> State:
        """The state before anything was seen, of one world seen with either hand (S = 2)."""
        agents = len(context.kind)
        new = context.dt.new_zeros
        facing = new(2, agents, 2)
        facing[..., 0] = 1
        never = torch.zeros(2, agents, dtype=torch.bool, device=context.dt.device)
        return State(
            hidden=new(2, agents, self.config.hidden),
            motion=Motion(new(2, agents, 2), new(2, agents, 2), facing, new(2, agents)),
            seen=never,
            steady=never,
            unseen_s=new(2, agents),
            hand=context.dt.new_tensor([[1.0], [-1.0]]),
        )

    def observe(self, context: Context, state: State, frame: Frame) -> State:
        """Filters one new frame; O(agents) and independent of how long it has run.

        An agent seen for the first time starts at rest facing its recorded heading; one that comes
        back after a gap gets its mean velocity over the gap. The state of one not seen waits.
        """
        elapsed = state.unseen_s + context.dt
        recorded = torch.stack([frame.heading.cos(), frame.heading.sin()], -1).expand_as(
            state.motion.facing
        )
        position = frame.position.expand_as(recorded)
        # A person's frame is smoothed over its movement so far, a vehicle's is where it points.
        smoothed = turn_towards(state.motion.facing, position - state.motion.position)
        turned = torch.where(context.drives[:, None], recorded, smoothed)
        again = moved_to(state.motion, position, turned, elapsed)
        still = torch.zeros_like
        first = Motion(position, still(position), recorded, still(elapsed))
        valid = frame.valid.expand_as(state.seen)
        motion = choose(valid, choose(state.seen, again, first), state.motion)
        moved = replace(
            state,
            motion=motion,
            seen=state.seen | valid,
            steady=(valid & state.seen) | (~valid & state.steady),
            unseen_s=torch.where(valid, 0.0, elapsed),
        )
        # Without a velocity before this one there is no change of velocity to speak of.
        before = torch.where(state.steady[..., None], state.motion.velocity, motion.velocity)
        hidden = self._recur(context, moved, before, valid)
        return replace(moved, hidden=torch.where(valid[..., None], hidden, state.hidden))

    def imagine(
        self, context: Context, state: State, noise: Noise, plan: Plan | None = None
    ) -> Motion:
        """Imagines joint futures step by step.

        Args:
            context: The world's constants.
            state: State after the last observed frame, of one world seen with either hand.
            noise: Random numbers for S futures of T steps.
            plan: Poses that some agents (the ego) follow; step t uses the poses up to t alone.

        Returns:
            Kinematic states of all steps, shapes ``[S, N, T, ...]``.
        """
        _, *states = self.unfold(context, state, noise, plan)
        return stack([state.motion for state in states])

    def unfold(
        self, context: Context, state: State, noise: Noise, plan: Plan | None = None
    ) -> Iterator[State]:
        """The T + 1 states that `imagine` goes through, the present one first.

        Each later one has the motion after its step, and what was believed when taking the step.
        """
        state = self.intend_to(state.seen_with(noise.hand), noise.intent)
        yield state
        before = state.motion
        for step, small in enumerate(noise.steps):
            if step > 0:
                state = self.notice(context, state, before.velocity)
            before, motion = state.motion, self.move(context, state, noise.intent, small)
            if plan is not None:
                planned = self.follow(context, before, plan.poses[step])
                motion = choose(plan.follows.expand_as(state.seen), planned, motion)
            state = replace(state, motion=motion)
            yield state

    def intend_to(self, state: State, intent: Tensor) -> State:
        """Gives every agent of S worlds its intent ``[S, N, I]``."""
        change: Tensor = self.intend(torch.cat([state.hidden, intent], -1))
        return replace(state, hidden=state.hidden + change)

    def move(self, context: Context, state: State, intent: Tensor, noise: Tensor) -> Motion:
        """Where every agent is one step later, by its state, intent and noise ``[S, N, J]``."""
        if in_machine_code(state.hidden):
            from forecast.models import machine

            return machine.move(self, context, state, intent, noise, BODY_GAP_M)
        if has_machine_code(state.hidden):
            from forecast.models import learning

            return learning.move(self, context, state, intent, noise, BODY_GAP_M)
        change, wanted = self.decides(context, state, intent, noise)
        here, pairs = state.motion.position, context.people_pairs
        passing = give_way(here, wanted, context.dt, pairs, BODY_GAP_M)
        return self.moved(context, state, change, passing)

    def decides(
        self, context: Context, state: State, intent: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """How all change their speed and direction, and the velocities they are up to ``[.., 2]``.

        Changes are along each agent's facing and across, in m/s; a vehicle's across in rad/s.
        """
        change = self.decide(torch.cat([state.hidden, intent, noise], -1)) * context.dt[:, None]
        return change, state.motion.velocity + to_world(change, state.motion.facing, state.hand)

    def moved(self, context: Context, state: State, change: Tensor, passing: Tensor) -> Motion:
        """The motions after a step with these changes, people with these velocities."""
        some_drive = torch.compiler.is_compiling() or context.has_vehicles
        given = change, passing, context.drives, context.dt, state.hand
        return step_on(state.motion, *given, some_drive=some_drive)

    def notice(self, context: Context, state: State, velocity_before: Tensor) -> State:
        """Lets every agent take in its own motion and its surroundings as they are now."""
        return replace(state, hidden=self._recur(context, state, velocity_before, state.seen))

    def follow(self, context: Context, before: Motion, pose: Tensor) -> Motion:
        """The motion of agents that step to given poses ``[S or 1, N or 1, 3]``."""
        facing = torch.stack([pose[..., 2].cos(), pose[..., 2].sin()], -1)
        facing = facing.expand_as(before.facing)
        return moved_to(before, pose[..., :2].expand_as(facing), facing, context.dt)

    def _recur(
        self, context: Context, state: State, velocity_before: Tensor, present: Tensor
    ) -> Tensor:
        """The next hidden state ``[S, N, D]`` from the motion and the surroundings."""
        if in_machine_code(state.hidden):
            from forecast.models import machine

            return machine.take_in(self, context, state, velocity_before, present)
        if has_machine_code(state.hidden):
            from forecast.models import learning

            return learning.take_in(self, context, state, velocity_before, present)
        described = self.describe(motion_features(context, state, velocity_before))
        before = state.hidden.flatten(0, 1)
        around = self.interaction(context, state, before + described, present)
        return self.recurred(torch.cat([described, *around], -1), before).view_as(state.hidden)

    def recurred(self, taken: Tensor, before: Tensor) -> Tensor:
        """The next hidden states ``[N, D]`` from what was taken in and the ones before."""
        if in_machine_code(taken):
            from forecast.models import machine

            return machine.recur(self.recur, taken, before)
        after: Tensor = self.recur(taken, before)
        return after


MOTION_FEATURES = 8
BODY_GAP_M = 0.25
"""Centres of two people do not come nearer than this; in recordings they hardly ever do."""


def motion_features(context: Context, state: State, velocity_before: Tensor) -> Tensor:
    """Each agent's own motion in its own frame, and its traits ``[S * N, features]``."""
    motion, shape = state.motion, state.seen.shape
    if in_machine_code(motion.velocity):
        from forecast.models import kernels

        mine = (motion.velocity, velocity_before, motion.facing, motion.yaw_rate, state.steady)
        values = kernels.arrays(*mine, state.unseen_s, state.hand.expand(shape), context.traits)
        return torch.from_numpy(kernels.motion_features(*values))
    facing, change = motion.facing.unbind(-1), motion.velocity - velocity_before
    features = [
        *seen_from(motion.velocity.unbind(-1), facing, state.hand),
        *seen_from(change.unbind(-1), facing, state.hand),
        motion.velocity.norm(dim=-1),
        state.hand * motion.yaw_rate,
        state.steady.to(change.dtype),
        state.unseen_s,
    ]
    traits = context.traits[:, None].expand(-1, *shape)
    return torch.cat([torch.stack(features), traits]).flatten(1).t().contiguous()
