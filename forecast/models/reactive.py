"""Reactive rollouts: how plans of the ego change the open-loop futures.

All plans share one rollout, in which the ego drives as imagined: the open-loop futures. A plan
hardly changes the motion of people far from it and from the imagined ego, so they are replayed. The
others are the affected rows: a few agents of each plan and sample. They are imagined again, and
receive messages from the ego on its plan, from each other and from the replayed agents. After the
ego has passed, an agent continues with the displacements of its open-loop future, from the position
it then has.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from forecast.models import dynamics
from forecast.models.crossings import Conflicts
from forecast.models.features import AgentTable
from forecast.models.message_passing import Replayed, SceneEdges
from forecast.models.neighbors import Layout, Places, edges_in_range
from forecast.models.rollout import Moment, SceneContext, WholeScene, begin, rollout, settle
from forecast.models.threads import MOST_AT_ONCE, part_size, side_by_side
from forecast.models.types import Motion, Noise, State, concatenate
from forecast.models.world_model import Surroundings, WorldModel
from forecast.scene import AgentKind


@dataclass(frozen=True)
class ReactionConfig:
    """Selects the agents that are imagined again for a plan, and for how long.

    With both values infinite, the futures are those of `forecast.models.rollout.imagine` up to
    rounding. The defaults leave out agents that stay farther away, reactions after the ego has
    passed, and second-order effects: replayed agents do not react to reacting ones.

    Attributes:
        reach_m: An agent is affected if, at some step of the open-loop futures, its distance from
            the ego's centre is less than this plus half the distance that the ego drives in that
            step. The ego of the plan counts, and the imagined one: who waits for the imagined ego
            may go if the plan brakes.
        after_s: Time for which an agent is imagined after the last such step.
    """

    reach_m: float = 8.0
    after_s: float = 1.5


class ReactiveRollout:
    """Open-loop futures, and their changes by plans of the ego.

    Args:
        world: The world model.
        context: The scene's constants.
        state: State after the last observation, in both chiralities.
        noise: Random numbers of K futures of T steps.
        config: Selects the agents that are imagined again; default `ReactionConfig`.
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
        agents = len(context.agents.kind)
        size = part_size(len(noise.mirror) * agents, context.agents.dt.device, MOST_AT_ONCE)
        settled = settle(world, context, state)

        def imagined(part: Noise) -> list[State]:
            begun = begin(world, context, settled, part)
            return [begun, *rollout(world, WholeScene(world, context, part), begun)]

        parts = side_by_side(imagined, noise.split(-(-size // agents)))
        self.states = [concatenate(list(step)) for step in zip(*parts, strict=True)]

    def samples(self, chosen: slice) -> ReactiveRollout:
        """The same futures, but only some of the K."""
        part = object.__new__(ReactiveRollout)
        part.world, part.context, part.config = self.world, self.context, self.config
        part.noise = self.noise.part(chosen)
        part.states = [tree_map(lambda value: value[chosen], state) for state in self.states]
        return part

    @cached_property
    def positions(self) -> Tensor:
        """The open-loop futures ``[K, N, T, 2]``."""
        return torch.stack([state.motion.position for state in self.states[1:]], 2)

    @cached_property
    def ego(self) -> int:
        """Index of the ego."""
        return int((self.context.agents.kind == AgentKind.EGO).nonzero())

    def affected(self, plans: Tensor) -> Tensor:
        """The step until which each plan affects each agent.

        Args:
            plans: Poses ``[P, T, 3]`` of the ego.

        Returns:
            Number of steps to imagine again ``[P, K, N]``; 0 for agents that are not affected. The
            ego is imagined as long as the last affected agent of its plan and sample.
        """
        planned, imagined = plans[:, None, :, :2], self.positions[None, :, self.ego]
        last = torch.maximum(self._last_near(planned), self._last_near(imagined))  # [P, K, N]
        after = min(self.config.after_s / float(self.context.agents.dt[0]), plans.shape[1])
        until = torch.where(last > 0, last + round(after), 0)
        until[:, :, self.ego] = 0
        until[:, :, self.ego] = until.amax(-1)
        return until

    def _last_near(self, ego: Tensor) -> Tensor:
        """The last step at which each agent is within reach of an ego; 0 without one.

        Args:
            ego: Positions of the ego ``[P or 1, K or 1, T, 2]``.

        Returns:
            Counted from 1 ``[P or 1, K, N]``.
        """
        start = self.states[0].motion.position[0, self.ego].expand(*ego.shape[:2], 1, 2)
        way = torch.cat([start, ego], -2).diff(dim=-2).norm(dim=-1)
        limit = (self.config.reach_m + way / 2).square()[:, :, None]
        gap2 = (ego[:, :, None, :, 0] - self.positions[..., 0]).square_()  # [P, K, N, T]
        gap2 += (ego[:, :, None, :, 1] - self.positions[..., 1]).square_()
        steps = torch.arange(1, ego.shape[2] + 1, device=ego.device)
        return ((gap2 < limit) * steps).amax(-1)

    def to(self, plans: Tensor) -> Tensor:
        """Futures in which people react to plans.

        The noise is that of the open-loop futures. The ego follows its plan.

        Args:
            plans: Poses ``[P, T, 3]`` of the ego.

        Returns:
            Positions ``[P, K, N, T, 2]`` in metres.
        """
        until = self.affected(plans)
        futures = self.positions.expand(len(plans), -1, -1, -1, -1).clone()
        count = (until > 0).flatten(1).sum(1)
        # Plans are grouped so that each part has about as many affected rows as a thread can
        # process efficiently. A plan stays whole, because its rows send messages to each other.
        # A part has more rows than one of whole scenes, because a step has a higher fixed cost.
        rows = part_size(int(count.sum()), until.device, 3 * MOST_AT_ONCE // 2)
        part = (count.cumsum(0) - count).div(rows, rounding_mode="floor")
        sizes = torch.unique_consecutive(part, return_counts=True)[1].tolist()
        parts = zip(torch.split(plans, sizes), torch.split(until, sizes), strict=True)
        _ = self.replayed  # computed here, so that threads do not compute it at the same time
        futures[until > 0] += torch.cat(side_by_side(lambda part: self._shifts(*part), parts))
        futures[:, :, self.ego] = plans[:, None, :, :2]
        return futures

    def _shifts(self, plans: Tensor, until: Tensor) -> Tensor:
        """Displacements of the affected rows from the open-loop futures ``[R, T, 2]``."""
        rows, open_loop = AffectedRows(self, plans, until), self.positions.flatten(0, 1)
        shifts = open_loop.new_zeros(len(rows.rows.at), *open_loop.shape[1:])
        begun = self.states[0].rows(rows.rows.at)
        for step, state in enumerate(rollout(self.world, rows, begun, [rows.follow])):
            left = rows.rows
            moved = state.motion.position[0] - open_loop[left.at, step]
            # The shift also holds for later steps, unless a later iteration overwrites it. So a
            # dropped row keeps its last shift.
            shifts[left.row, step:] = moved[:, None]
        return shifts

    @cached_property
    def replayed(self) -> list[Replayed]:
        """All agents of the open-loop futures as sources of messages, for each step.

        A replayed agent sends the message of its open-loop state, and avoids collisions with its
        open-loop intended velocity. Both are computed for all steps at once.
        """
        before, after, steps = self.states[:-1], self.states[1:], len(self.noise.steps)
        agents, now = self.context.agents, concatenate(before)  # [T * K, N, ...]
        _, hidden = self.world.encode(agents, now)
        table = self.world.table(agents, now, now.seen)
        # The action of a step uses the hidden state after its update, which the next state holds.
        acting = now._replace(hidden=torch.cat([state.hidden for state in after]))
        intent, noise = self.noise.intent.repeat(steps, 1, 1), self.noise.steps.flatten(0, 1)
        _, velocity = self.world.intend(agents, acting, intent, noise)
        lanes = self.context.lanes(now.motion)
        ahead = self.world.conflicts(table, self.context.map, lanes)
        columns, points = ([column.chunk(steps) for column in rows] for rows in (table, ahead))
        projected = [slot.chunk(steps) for slot in self.world.messages.project(hidden)]
        velocities = velocity.flatten(0, 1).chunk(steps)
        pedestrian = agents.pedestrian.repeat(len(self.noise.mirror))
        return [
            Replayed(
                AgentTable(*(column[step] for column in columns)),
                Conflicts(*(column[step] for column in points)),
                tuple(slot[step] for slot in projected),
                velocities[step],
                pedestrian,
            )
            for step in range(steps)
        ]


class _Rows(NamedTuple):
    """Agents of some plans and samples that are imagined again.

    The sources of messages are these R rows, followed by all agents as replayed ``[K * N]``. So an
    agent that is imagined again has two sources. ``node`` selects one of them by plan: the imagined
    row for plans that affect the agent, the replayed row for the other plans.

    Attributes:
        row: Index among the rows before any was dropped ``[R]``.
        plan: Index of the plan ``[R]``.
        sample: Index of the sample k ``[R]``.
        agent: Index of the agent a ``[R]``.
        at: Index of sample and agent ``k * N + a`` ``[R]``.
        until: Step from which on the row is dropped ``[R]``.
        node: Source row of each sample and agent, for each plan ``[P, K * N]``.
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
        replayed = torch.arange(nodes.shape[1], device=row.device) + len(row)
        node = replayed.repeat(len(nodes), 1)
        node[plan, at] = torch.arange(len(row), device=row.device)
        return _Rows(row, plan, sample, agent, at, until, node)


class AffectedRows:
    """A scenery of the affected rows of some plans, as one copy (S = 1) of R agents.

    Args:
        futures: The open-loop futures.
        plans: Poses ``[P, T, 3]``.
        until: Step until which each plan affects each agent ``[P, K, N]``.
    """

    def __init__(self, futures: ReactiveRollout, plans: Tensor, until: Tensor) -> None:
        self.futures, self.steps = futures, len(futures.noise.steps)
        rows = _Rows.of(until)
        now = futures.states[0].rows(rows.at).motion
        poses, dt = plans[rows.plan].movedim(1, 0)[:, None], futures.context.agents.dt[rows.agent]
        # [T, 1, R, ...]; made for all rows, used for those of the ego.
        self._planned = dynamics.follow_all(now, poses, dt)
        self._keep(rows)

    def _keep(self, rows: _Rows) -> None:
        """Sets the rows, and what stays the same until the next ones are dropped."""
        context, zero = self.futures.context, torch.zeros_like(rows.agent)
        self.rows, self._agents = rows, context.agents.select(rows.agent)
        self._dropped_at = int(rows.until.min()) if len(rows.until) else self.steps
        self._intent = self.futures.noise.intent.flatten(0, 1)[rows.at][None]
        offset = rows.sample * len(context.agents.kind)
        self._among_agents = Layout(rows.agent, rows.plan, offset, rows.node)
        pieces = torch.arange(len(context.pieces.x), device=zero.device)
        self._among_pieces = Layout(rows.agent, zero, zero, pieces[None])
        (self._egos,) = (rows.agent == self.futures.ego).nonzero(as_tuple=True)
        of_egos = (value[:, :, rows.row[self._egos]].unbind() for value in self._planned)
        self._plan = [Motion(*values) for values in zip(*of_egos, strict=True)]

    def at(self, index: int, state: State) -> Moment:
        """See `forecast.models.rollout.Scenery`; drops rows that are no longer affected."""
        if index >= self._dropped_at:
            kept = self.rows.until > index
            self._keep(self.rows.select(kept))
            state = state.select(kept)
        futures, rows = self.futures, self.rows
        replayed, noise = futures.replayed[index], futures.noise.steps[index]
        places = Places.of(self._agents, state.motion, futures.world.graph.vehicle_ahead_s)
        edges = self._edges(places, replayed.table)
        around = Surroundings(self._agents, futures.context.map, edges, replayed)
        return Moment(state, around, self._intent, noise.flatten(0, 1)[rows.at][None])

    def _edges(self, own: Places, others: AgentTable) -> SceneEdges:
        """Edges to the rows, from the rows and the replayed agents and from map pieces."""
        context, among, of_map = self.futures.context, self._among_agents, self._among_pieces
        sources = own.append(Places(others.x, others.y, others.lookahead_m))
        here = own.without_lookahead()
        return SceneEdges(
            tuple(edges_in_range(slot, among, sources, own) for slot in context.candidates),
            edges_in_range(context.map_candidates, of_map, context.pieces, here),
            edges_in_range(context.crossing_candidates, of_map, context.pieces, here),
            edges_in_range(context.lane_candidates, of_map, context.pieces, here),
        )

    def follow(self, index: int, before: Motion, imagined: Motion) -> Motion:
        """A `forecast.models.rollout.Control`: rows of the ego follow their plan."""
        new = zip(imagined, self._plan[index], strict=True)
        return Motion(*(value.index_copy(1, self._egos, planned) for value, planned in new))
