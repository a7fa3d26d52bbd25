"""Reactive rollouts: what plans of the ego change in open-loop futures.

All plans share one rollout, in which the ego drives as imagined: the open-loop futures. A plan
hardly changes what people do who stay far from it, so they are replayed. The others, the affected
rows (a few agents of each plan and sample), are imagined again: they receive messages from the ego
on its plan, from each other and from the replayed agents. An agent that the ego has passed
continues as in the open-loop futures, from where it then is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from forecast.models import dynamics
from forecast.models.features import AgentTable
from forecast.models.message_passing import Replayed, SceneEdges
from forecast.models.neighbors import Layout, Places, edges_in_range
from forecast.models.rollout import Moment, SceneContext, WholeScene, map_places, rollout
from forecast.models.threads import part_size, side_by_side
from forecast.models.types import Motion, Noise, State, concatenate
from forecast.models.world_model import Surroundings, WorldModel
from forecast.scene import AgentKind


@dataclass(frozen=True)
class ReactionConfig:
    """Which agents are imagined again for a plan, and for how long.

    With everything infinite, the futures are those of the world model to rounding. The defaults
    leave out agents that stay farther away, second-order effects (replayed agents do not react to
    reacting ones), and what people do after the ego has passed.

    Attributes:
        reach_m: An agent is affected if, at some step of the open-loop futures, it comes this near
            to the ego's centre, plus half the distance that the ego drives in that step.
        after_s: For how long it is imagined after the last such step.
    """

    reach_m: float = 4.0
    after_s: float = 1.5


class ReactiveRollout:
    """Open-loop futures, and what plans of the ego change in them.

    Args:
        world: The world model.
        context: The scene's constants.
        state: State after the last observation, in both chiralities.
        noise: Random numbers of K futures of T steps.
        config: Which agents are imagined again.
    """

    def __init__(
        self,
        world: WorldModel,
        context: SceneContext,
        state: State,
        noise: Noise,
        config: ReactionConfig | None = None,
    ) -> None:
        self.world, self.context, self.noise = world, context, noise
        self.config = config or ReactionConfig()
        begun = world.inject(state.with_mirror(noise.mirror), noise.intent)
        self.states = [begun, *rollout(world, WholeScene(world, context, noise), begun)]

    @cached_property
    def positions(self) -> Tensor:
        """The open-loop futures ``[K, N, T, 2]``."""
        return torch.stack([state.motion.position for state in self.states[1:]], 2)

    @cached_property
    def ego(self) -> int:
        """Index of the ego."""
        return int((self.context.agents.kind == AgentKind.EGO).nonzero())

    def affected(self, plans: Tensor) -> Tensor:
        """Until which step plans ``[P, T, 3]`` affect agents; 0: not at all ``[P, K, N]``."""
        start = self.states[0].motion.position[0, self.ego].expand(len(plans), 1, 2)
        way = torch.cat([start, plans[..., :2]], 1).diff(dim=1).norm(dim=-1)
        limit = (self.config.reach_m + way / 2).square()  # [P, T]
        x, y = self.positions.unbind(-1)
        gap2 = (plans[:, None, None, :, 0] - x).square()
        gap2 += (plans[:, None, None, :, 1] - y).square()
        steps = torch.arange(1, plans.shape[1] + 1, device=plans.device)
        last = ((gap2 < limit[:, None, None]) * steps).amax(-1)
        after = min(self.config.after_s / float(self.context.agents.dt[0]), plans.shape[1])
        until = torch.where(last > 0, last + round(after), 0)
        until[:, :, self.ego] = 0
        until[:, :, self.ego] = until.amax(-1)
        return until

    def to(self, plans: Tensor) -> Tensor:
        """Futures ``[P, K, N, T, 2]`` of people who react to plans ``[P, T, 3]``.

        They have the same noise as the open-loop futures; the ego follows its plan.
        """
        until = self.affected(plans)
        futures = self.positions.expand(len(plans), -1, -1, -1, -1).clone()
        count = (until > 0).flatten(1).sum(1)
        rows = part_size(int(count.sum()), until.device)
        part = (count.cumsum(0) - count).div(rows, rounding_mode="floor")
        sizes = torch.unique_consecutive(part, return_counts=True)[1].tolist()
        parts = zip(torch.split(plans, sizes), torch.split(until, sizes), strict=True)
        _ = self.replayed  # once, before all threads need it
        futures[until > 0] += torch.cat(side_by_side(lambda part: self._shifts(*part), parts))
        futures[:, :, self.ego] = plans[:, None, :, :2]
        return futures

    def _shifts(self, plans: Tensor, until: Tensor) -> Tensor:
        """How far some plans move the affected rows ``[R, T, 2]``."""
        rows, open_loop = AffectedRows(self, plans, until), self.positions.flatten(0, 1)
        shifts = open_loop.new_zeros(len(rows.rows.at), *open_loop.shape[1:])
        begun = self.states[0].rows(rows.rows.at)
        for step, state in enumerate(rollout(self.world, rows, begun, [rows.follow])):
            left = rows.rows
            moved = state.motion.position[0] - open_loop[left.at, step]
            shifts[left.row, step:] = moved[:, None]
        return shifts

    @cached_property
    def replayed(self) -> list[Replayed]:
        """All agents of the open-loop futures as senders of messages, at each step."""
        before, after, steps = self.states[:-1], self.states[1:], len(self.noise.steps)
        agents, now = self.context.agents, concatenate(before)  # [T * K, N, ...]
        _, hidden = self.world.encode(agents, now)
        table = self.world.table(agents, now, now.seen)
        acting = now._replace(hidden=torch.cat([state.hidden for state in after]))
        intent, noise = self.noise.intent.repeat(steps, 1, 1), self.noise.steps.flatten(0, 1)
        _, velocity = self.world.intend(agents, acting, intent, noise)
        columns = [column.chunk(steps) for column in table]
        projected = [slot.chunk(steps) for slot in self.world.messages.project(hidden)]
        velocities = velocity.flatten(0, 1).chunk(steps)
        pedestrian = agents.pedestrian.repeat(len(self.noise.mirror))
        return [
            Replayed(
                AgentTable(*(column[step] for column in columns)),
                tuple(slot[step] for slot in projected),
                velocities[step],
                pedestrian,
            )
            for step in range(steps)
        ]


class _Rows(NamedTuple):
    """Agents of some plans and samples that are imagined again.

    The sources of messages are these R rows, then all agents as replayed ``[K * N]``.

    Attributes:
        row: Place among all that were there at first ``[R]``.
        plan: ``[R]``.
        sample: ``[R]``.
        agent: ``[R]``.
        at: Sample and agent ``k * N + a`` ``[R]``.
        until: Step after which the row is dropped ``[R]``.
        node: Source that stands for each sample and agent ``[P, K * N]``.
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
        """The affected rows; see `ReactiveRollout.affected`."""
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


class AffectedRows:
    """The scenery of some plans: their affected rows, one copy (S = 1) of R agents.

    Args:
        futures: The open-loop futures.
        plans: Poses ``[P, T, 3]``.
        until: Until which step each plan affects each agent ``[P, K, N]``.
    """

    def __init__(self, futures: ReactiveRollout, plans: Tensor, until: Tensor) -> None:
        self.futures, self.plans, self.rows = futures, plans, _Rows.of(until)
        self.steps = len(futures.noise.steps)

    def at(self, index: int, state: State) -> Moment:
        """See `forecast.models.rollout.Scenery`; drops rows that are no longer affected."""
        kept = self.rows.until > index
        if not kept.all():
            self.rows, state = self.rows.select(kept), state.select(kept)
        rows, futures = self.rows, self.futures
        agents = futures.context.agents.select(rows.agent)
        replayed, noise = futures.replayed[index], futures.noise
        places = Places.of(agents, state.motion, futures.world.graph.vehicle_ahead_s)
        edges = self._edges(places, replayed.table)
        around = Surroundings(agents, futures.context.map, edges, replayed)
        intent, small = (
            values.flatten(0, 1)[rows.at][None] for values in (noise.intent, noise.steps[index])
        )
        return Moment(state, around, intent, small)

    def _edges(self, own: Places, others: AgentTable) -> SceneEdges:
        """From the rows and the replayed agents, and from map pieces, to the rows."""
        context, rows = self.futures.context, self.rows
        given = Places(others.x, others.y, others.lookahead_m)
        sources = Places(*(torch.cat(pair) for pair in zip(own, given, strict=True)))
        offset, zero = rows.sample * len(context.agents.kind), torch.zeros_like(rows.agent)
        layout = Layout(rows.agent, rows.plan, offset, rows.node)
        pieces = torch.arange(context.map.poses.shape[1], device=zero.device)
        seen = Layout(rows.agent, zero, zero, pieces[None])
        return SceneEdges(
            tuple(edges_in_range(slot, layout, sources, own) for slot in context.candidates),
            edges_in_range(context.map_candidates, seen, *map_places(context.map.poses, own)),
        )

    def follow(self, index: int, before: Motion, imagined: Motion) -> Motion:
        """Control: rows of the ego follow their plan."""
        ego = (self.rows.agent == self.futures.ego)[None]
        dt = self.futures.context.agents.dt[self.rows.agent]
        planned = dynamics.follow(before, self.plans[self.rows.plan, index][None], dt)
        return dynamics.choose(ego, planned, imagined)
