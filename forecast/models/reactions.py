"""What plans of the ego change in imagined futures, at the cost of those whom they concern.

All plans share one rollout, in which the ego drives as imagined. A plan hardly changes what people
do whom it never comes near, so these are replayed. The others, a few of each plan and sample, are
imagined anew: they see the plan unfold, each other, and everybody else as replayed. Who has been
passed goes on as in the shared rollout, from wherever they then are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from forecast.models.edges import Edges, Places, within_range
from forecast.models.encoder import AHEAD, FRAME
from forecast.models.kinematics import Motion, choose, give_way_near
from forecast.models.runs import Nodes, Runs
from forecast.models.state import Context, Noise, State
from forecast.models.threads import part_size, side_by_side
from forecast.models.world_model import BODY_GAP_M, WorldModel, motion_features
from forecast.scene import AgentKind


@dataclass(frozen=True)
class ReactionConfig:
    """Who is imagined anew for a plan, and for how long.

    With everything infinite, futures are those of the world model to rounding. What the defaults
    leave out: who keeps farther away, also if others whom the plan concerns move them (a step of
    hearsay, which the replayed do not hear), and what becomes of people when the ego has passed.

    Attributes:
        reach_m: Who comes so near to the ego's centre at a step, plus half the way of that step,
            in the shared futures.
        after_s: For how long after the last such step.
        drift_m: When looking for who and what may be near, nobody is thought to be led farther
            than this from the shared futures.
    """

    reach_m: float = 4.0
    after_s: float = 1.5
    drift_m: float = 3.0


class Reactions:
    """Shared futures of people who know nothing of plans, and what plans change in them.

    Args:
        world: The world model.
        context: The world's constants.
        state: State after the last observed frame, of one world seen with either hand.
        noise: Random numbers of K futures of T steps.
        config: Who is imagined anew.
    """

    def __init__(
        self,
        world: WorldModel,
        context: Context,
        state: State,
        noise: Noise,
        config: ReactionConfig | None = None,
    ) -> None:
        self.world, self.context, self.noise = world, context, noise
        self.config = config or ReactionConfig()
        self.states = list(world.unfold(context, state, noise))

    @cached_property
    def positions(self) -> Tensor:
        """The shared futures ``[K, N, T, 2]``."""
        return torch.stack([state.motion.position for state in self.states[1:]], 2)

    @cached_property
    def ego(self) -> int:
        """Index of the ego."""
        return int((self.context.kind == AgentKind.EGO).nonzero())

    def concerned(self, plans: Tensor) -> Tensor:
        """Until which step plans ``[P, T, 3]`` concern agents, 0: not at all ``[P, K, N]``."""
        start = self.states[0].motion.position[0, self.ego].expand(len(plans), 1, 2)
        way = torch.cat([start, plans[..., :2]], 1).diff(dim=1).norm(dim=-1)
        limit = (self.config.reach_m + way / 2).square()  # [P, T]
        x, y = self.positions.unbind(-1)
        gap2 = (plans[:, None, None, :, 0] - x).square()
        gap2 += (plans[:, None, None, :, 1] - y).square()
        steps = torch.arange(1, plans.shape[1] + 1, device=plans.device)
        last = ((gap2 < limit[:, None, None]) * steps).amax(-1)
        after = min(self.config.after_s / float(self.context.dt[0]), plans.shape[1])
        until = torch.where(last > 0, last + round(after), 0)
        until[:, :, self.ego] = 0
        until[:, :, self.ego] = until.amax(-1)
        return until

    def to(self, plans: Tensor) -> Tensor:
        """Futures ``[P, K, N, T, 2]`` of people who see plans ``[P, T, 3]`` unfold.

        The same noise as in the shared futures; the ego follows its plan.
        """
        until = self.concerned(plans)
        futures = self.positions.expand(len(plans), -1, -1, -1, -1).clone()
        count = (until > 0).flatten(1).sum(1)
        rows = part_size(int(count.sum()), until.device)
        part = (count.cumsum(0) - count).div(rows, rounding_mode="floor")
        sizes = torch.unique_consecutive(part, return_counts=True)[1].tolist()
        parts = zip(torch.split(plans, sizes), torch.split(until, sizes), strict=True)
        _ = self._shared  # once, before all threads ask for it
        futures[until > 0] += torch.cat(side_by_side(lambda part: self._shifts(*part), parts))
        futures[:, :, self.ego] = plans[:, None, :, :2]
        return futures

    def _shifts(self, plans: Tensor, until: Tensor) -> Tensor:
        """How far some plans move whom they concern ``[R, T, 2]``."""
        rows = _Rows.of(until)
        shared = self.positions.flatten(0, 1)
        shifts = shared.new_zeros(len(rows.at), *shared.shape[1:])
        for step, (left, position) in enumerate(self._imagine(rows, plans)):
            shifts[left.row, step:] = (position - shared[left.at, step])[:, None]
        return shifts

    def _imagine(self, rows: _Rows, plans: Tensor) -> Iterator[tuple[_Rows, Tensor]]:
        """After each step, the rows that are left and where they are ``[R, 2]``."""
        context, state = self.context.rows(rows.agent), self.states[0].rows(rows.at)
        velocity, follows = state.motion.velocity, rows.agent == self.ego
        for step, small in enumerate(self.noise.steps):
            kept = rows.until > step
            if not kept.all():
                rows, context, state = rows.select(kept), context.rows(kept), state.rows(kept)
                velocity, follows = velocity[:, kept], follows[kept]
            looks, near = self._seen(rows, context, state, step)
            if step > 0:
                state = self._noticed(rows, context, state, velocity, looks, near, step)
            intent, noise = (v.flatten(0, 1)[rows.at][None] for v in (self.noise.intent, small))
            velocity = state.motion.velocity
            change, wanted = self.world.decides(context, state, intent, noise)
            passing = self._pass_by(looks[:2].t(), near, context, wanted[0], step)
            moved = self.world.moved(context, state, change, passing[None])
            planned = self.world.follow(context, state.motion, plans[rows.plan, step][None])
            state = replace(state, motion=choose(follows[None], planned, moved))
            yield rows, state.motion.position[0]

    def _seen(self, rows: _Rows, context: Context, state: State, step: int) -> tuple[Tensor, Edges]:
        """What is seen of the rows and then of everybody replayed, and who sees whom."""
        own = self.world.interaction.looks(context, state, state.seen)[:, 0]
        looks = torch.cat([own, self._shared.looks[step]], 1)
        places = Places(looks[None, 0], looks[None, 1], looks[None, AHEAD])
        mine = Places(own[None, 0], own[None, 1], own[None, AHEAD])
        nodes = Nodes(rows.node, rows.plan, rows.sample * len(self.context.kind))
        candidates, (one, _) = self._shared.agents[step], self.context.pairs
        return looks, candidates.edges(rows.at, places, mine, nodes, one, self.context.radius)

    def _noticed(
        self,
        rows: _Rows,
        context: Context,
        state: State,
        velocity_before: Tensor,
        looks: Tensor,
        near: Edges,
        step: int,
    ) -> State:
        """What the rows believe after they have looked at one another and at all others."""
        world, shared = self.world, self._shared
        described = world.describe(motion_features(context, state, velocity_before))
        hidden = state.hidden[0] + described
        told = torch.cat([world.interaction.agents.source(hidden), shared.told[step]])
        from_agents = world.interaction.from_agents(looks, near, told, hidden)
        frames = looks[:FRAME, : len(hidden)]
        pieces = self._pieces(rows, frames, step)
        from_map = world.interaction.from_map(context, frames, pieces, hidden)
        taken = torch.cat([described, from_agents, from_map], -1)
        after = world.recurred(taken, state.hidden[0])
        return replace(state, hidden=after[None])

    def _pieces(self, rows: _Rows, frames: Tensor, step: int) -> Edges:
        """Edges from map pieces to the rows."""
        poses, (piece, _) = self.context.map.poses, self.context.map_pairs
        radius = frames.new_full(piece.shape, self.world.interaction.map_radius_m)
        middles, mine = Places(poses[:1], poses[1:2]), Places(frames[None, 0], frames[None, 1])
        everywhere = torch.arange(poses.shape[1], device=piece.device)[None]
        nodes = Nodes(everywhere, *torch.zeros_like(rows.at).expand(2, -1))
        return self._shared.pieces[step].edges(rows.at, middles, mine, nodes, piece, radius)

    def _pass_by(
        self, position: Tensor, near: Edges, context: Context, wanted: Tensor, step: int
    ) -> Tensor:
        """Velocities ``[R, 2]`` of people who do not walk through each other."""
        walks = torch.cat([context.kind, self._shared.kind]) == AgentKind.PEDESTRIAN
        wanted = torch.cat([wanted, self._shared.wanted[step]])
        dt = self.context.dt[:1].expand(len(wanted))
        return give_way_near(position, wanted, dt, walks, near, BODY_GAP_M)

    @cached_property
    def _shared(self) -> _Shared:
        return _Shared.of(self)


class _Rows(NamedTuple):
    """Agents of some plans and samples that are imagined anew.

    The nodes of the graph are these R rows, then everybody as replayed ``[K * N]``.

    Attributes:
        row: Place among all that were there at first ``[R]``.
        plan: ``[R]``.
        sample: ``[R]``.
        agent: ``[R]``.
        at: Sample and agent ``k * N + a`` ``[R]``.
        until: After which step they are imagined no longer ``[R]``.
        node: Node that stands for each sample and agent ``[P, K * N]``.
    """

    row: Tensor
    plan: Tensor
    sample: Tensor
    agent: Tensor
    at: Tensor
    until: Tensor
    node: Tensor

    @classmethod
    def of(cls, until: Tensor) -> _Rows:
        """Those concerned at all; see `Reactions.concerned`."""
        plan, sample, agent = (until > 0).nonzero(as_tuple=True)
        row = torch.arange(len(plan), device=until.device)
        at = sample * until.shape[2] + agent
        rows = cls(row, plan, sample, agent, at, until[plan, sample, agent], until.flatten(1))
        return rows.select(slice(None))

    def select(self, kept: Tensor | slice) -> _Rows:
        """Some of the rows, by mask ``[R]``."""
        *values, nodes = self
        row, plan, sample, agent, at, until = (value[kept] for value in values)
        everybody = torch.arange(nodes.shape[1], device=row.device) + len(row)
        node = everybody.repeat(len(nodes), 1)
        node[plan, at] = torch.arange(len(row), device=row.device)
        return _Rows(row, plan, sample, agent, at, until, node)


class _Shared(NamedTuple):
    """What everybody in the shared futures does at each step, by sample and agent.

    Attributes:
        kind: `AgentKind` values ``[K * N]``.
        looks: See `Interaction.looks` ``[T, 10, K * N]``.
        told: What they tell others ``[T, K * N, messages]``.
        wanted: What velocity they are up to ``[T, K * N, 2]``.
        agents: Who may be near whom at each step.
        pieces: Which pieces of the map may be near whom at each step.
    """

    kind: Tensor
    looks: Tensor
    told: Tensor
    wanted: Tensor
    agents: list[Runs]
    pieces: list[Runs]

    @classmethod
    def of(cls, futures: Reactions) -> _Shared:
        """Looks at the shared futures once more, at all steps at once."""
        world, context, noise = futures.world, futures.context, futures.noise
        states, steps = futures.states, len(noise.steps)
        now = _stacked(states[:-1])
        before = torch.cat([states[0].motion.velocity, *(s.motion.velocity for s in states[:-2])])
        described = world.describe(motion_features(context, now, before))
        hidden = now.hidden.flatten(0, 1) + described
        looks = world.interaction.looks(context, now, now.seen)
        then = replace(now, hidden=torch.cat([s.hidden for s in states[1:]]))
        intent = noise.intent.repeat(steps, 1, 1)
        _, wanted = world.decides(context, then, intent, noise.steps.flatten(0, 1))
        samples = len(noise.hand)
        looks = looks.view(len(looks), steps, samples, -1).transpose(0, 1)  # [T, 10, K, N]

        def by_step(values: Tensor) -> Tensor:
            return values.reshape(steps, samples * len(context.kind), -1)

        return cls(
            context.kind.repeat(samples),
            looks.flatten(2),
            by_step(world.interaction.agents.source(hidden)),
            by_step(wanted),
            [_near_agents(futures, each) for each in looks],
            [_near_pieces(futures, each) for each in looks],
        )


def _near_agents(futures: Reactions, looks: Tensor) -> Runs:
    """Who may be near whom; the ego, which goes elsewhere, near all who it may be near at all."""
    context = futures.context
    drift = torch.full_like(looks[0], futures.config.drift_m)
    places = Places(looks[0], looks[1], looks[AHEAD], drift)
    near = within_range(places, places, context.pairs, context.radius)
    near |= (context.pairs == futures.ego).any(0)
    return Runs.of(near, context.pairs[1], context.kind)


def _near_pieces(futures: Reactions, looks: Tensor) -> Runs:
    """Which pieces may be near whom; near the ego all that may be near it at all."""
    context, (_, agent) = futures.context, futures.context.map_pairs
    poses, config = context.map.poses, futures.config
    reach = futures.world.interaction.map_radius_m + config.drift_m
    middles, places = Places(poses[:1], poses[1:2]), Places(looks[0], looks[1])
    radius = looks.new_full(agent.shape, reach)
    near = within_range(middles, places, context.map_pairs, radius) | (agent == futures.ego)
    return Runs.of(near, agent, context.kind)


def _stacked(states: list[State]) -> State:
    """The copies of several states as those of one."""
    motions = [state.motion for state in states]
    return State(
        torch.cat([state.hidden for state in states]),
        Motion(
            torch.cat([motion.position for motion in motions]),
            torch.cat([motion.velocity for motion in motions]),
            torch.cat([motion.facing for motion in motions]),
            torch.cat([motion.yaw_rate for motion in motions]),
        ),
        torch.cat([state.seen for state in states]),
        torch.cat([state.steady for state in states]),
        torch.cat([state.unseen_s for state in states]),
        torch.cat([state.hand for state in states]),
    )
