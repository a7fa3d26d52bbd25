"""The world model: one step of filtering observations and of imagining futures.

Each agent has a deterministic recurrent state. A latent intent is drawn once per agent and imagined
future, and step noise is drawn at every step. The verbs are those of recurrent state-space models
(Hafner et al. 2019, 2023): `initial`, `observe`, `imagine`, and a loss on imagined futures.
`observe` and `imagine` are in `forecast.models.rollout`, the loss is `PedestrianForecaster.loss`.

A step consists of two pure functions of tensors, `WorldModel.update` and `WorldModel.act`. Both are
compiled (`forecast.models.compile`) and exported (`forecast.export`). The search for neighbours
comes before them, because the number of edges depends on data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from forecast.errors import require
from forecast.graphs import GraphConfig
from forecast.models import dynamics
from forecast.models.crossings import CROSSING_FEATURES, Conflicts, Crossings
from forecast.models.features import (
    AGENT_EDGE_FEATURES,
    BLOCKS,
    EGO_FEATURES,
    RELATIONS,
    AgentTable,
    agent_edges,
    ego_features,
)
from forecast.models.message_passing import Replayed, SceneEdges, SceneMessages, mlp
from forecast.models.neighbors import Edges
from forecast.models.types import TRAITS, Agents, EncodedMap, Motion, Observation, State
from forecast.scene import AgentKind
from forecast.scene.agents import FASTEST_MPS, Decision

DECISIONS = 3
"""A person goes, is free (no vehicle or crossing matters) or waits."""
ACTIONS = 3
"""Acceleration along the facing and across it, and the rate at which the velocity decays."""
_CLASSES = {
    Decision.UNKNOWN: -1,
    Decision.GO: 0,
    Decision.FREE: 1,
    Decision.YIELD: 2,
    Decision.STEP_BACK: 2,
    Decision.UNDECIDED: 2,
}
_RELAXATION_HZ, _WALK_MPS = 1.4, 1.25
"""Where training starts: who goes comes to this speed along its facing, who waits comes to rest,
both at this rate, and who is free keeps its velocity."""
_MOSTLY_FREE = (-2.0, 4.0)
"""Outputs of the decision head where training starts. Without recorded decisions most are free."""
_GAIN, _FEW_COMPANIONS = 0.32, -2.0
"""Logits where training starts: the gain of the filtered velocity, which is then that of the
baseline `SmoothedVelocity`, and of walking together."""
_LASTING = math.sqrt(0.5)
"""Weight of a person's own inclination in the number that it draws at a step. Its square is the
share of the variance; the rest is drawn anew."""
_SHARPNESS = 4.0
"""How fast a decision changes with its chances. The outputs stay continuous."""
FASTEST_WALK_MPS = FASTEST_MPS[AgentKind.PEDESTRIAN]
FASTEST_CYCLE_MPS = FASTEST_MPS[AgentKind.CYCLIST]


def vehicles_apart() -> list[list[str]]:
    """Messages from vehicles to people have their own slot: they are not averaged with people's."""
    return [["person_person", "vehicle_any"], ["person_vehicle"]]


@dataclass(frozen=True)
class WorldModelConfig:
    """Sizes of the world model.

    Attributes:
        hidden: Recurrent state per agent D.
        messages: Width of the messages between agents and from the map.
        map: Width of a map piece's embedding.
        intent: Dimensions of the latent intent drawn once per agent and future I.
        noise: Dimensions of the noise drawn at every step J; the last one is for decisions.
        slots: The relations between agents (`forecast.models.features.RELATIONS`) by slot. Each
            slot has its own edge parameters and its own mean. Relations in one slot share both.
    """

    hidden: int = 64
    messages: int = 32
    map: int = 32
    intent: int = 4
    noise: int = 3
    slots: list[list[str]] = field(default_factory=vehicles_apart)

    def __post_init__(self) -> None:
        """Checks the values; raises `ForecastError`."""
        for name in ("hidden", "messages", "map", "intent", "noise"):
            value = getattr(self, name)
            require(value >= 1, f"world_model.{name}", value, "1 or more")
        named = sorted(relation for slot in self.slots for relation in slot)
        good = named == sorted(RELATIONS) and all(self.slots)
        require(good, "world_model.slots", self.slots, f"each of {', '.join(RELATIONS)} once")
        for slot in self.slots:
            alike = len({RELATIONS[relation].edges for relation in slot}) == 1
            expected = "relations with the same edge features in one slot"
            require(alike, "world_model.slots", slot, expected)


class Surroundings(NamedTuple):
    """The inputs of `WorldModel.update`, `settle` and `act` besides the state.

    Attributes:
        agents: Constants of the N agents.
        map: The encoded map.
        edges: Sources and targets of messages at this step. Agent n of copy s is row ``s * N + n``.
        replayed: Further agents that send messages; their rows come after these.
    """

    agents: Agents
    map: EncodedMap
    edges: SceneEdges
    replayed: Replayed


class WorldModel(nn.Module):
    """Updates the states of agents and moves them by one step, each in its own frame.

    Args:
        config: Sizes.
        graph: Ranges of the graph.
    """

    def __init__(self, config: WorldModelConfig, graph: GraphConfig) -> None:
        super().__init__()
        self.config, self.graph = config, graph
        hidden, intent = config.hidden, config.intent
        self.people = next(i for i, slot in enumerate(config.slots) if "person_person" in slot)
        self.ego_encoder = mlp(len(EGO_FEATURES) + TRAITS, hidden, hidden)
        self.messages = SceneMessages(config.slots, hidden, config.messages, config.map, graph)
        self.crossing_encoder = mlp(len(CROSSING_FEATURES) + BLOCKS, hidden, config.messages)
        self.cell = nn.GRUCell(hidden + (len(config.slots) + 2) * config.messages, hidden)
        self.gain_head = nn.Linear(hidden, 1)
        self.companion_head = mlp(len(AGENT_EDGE_FEATURES), config.messages // 2, 1)
        self.intent_encoder = mlp(hidden + intent, hidden, hidden)
        self.decision_head = mlp(hidden, hidden // 2, 2)
        inputs = hidden + intent + config.noise + len(EGO_FEATURES)
        self.action_head = mlp(inputs, hidden, DECISIONS * ACTIONS)
        self._start()

    def _start(self) -> None:
        """Where training starts: near constant velocity, and decisions have a meaning."""
        last: Any = (self.gain_head, self.companion_head[-1], self.intent_encoder[-1])
        last = (*last, self.decision_head[-1], self.action_head[-1])
        goes = [_RELAXATION_HZ * _WALK_MPS, 0.0, _RELAXATION_HZ]
        actions = torch.tensor([*goes, 0.0, 0.0, 0.0, 0.0, 0.0, _RELAXATION_HZ])
        few, some = torch.tensor([_FEW_COMPANIONS]), torch.tensor([_GAIN])
        free, none = torch.tensor(_MOSTLY_FREE), torch.zeros(self.config.hidden)
        for layer, bias in zip(last, (some, few, none, free, actions), strict=True):
            nn.init.zeros_(layer.weight)
            layer.bias.data.copy_(bias)

    def initial(self, agents: Agents) -> State:
        """The state of N agents before any observation, in both chiralities (S = 2)."""
        zeros, count = agents.dt.new_zeros, len(agents.dt)
        never = torch.zeros(2, count, dtype=torch.bool, device=agents.dt.device)
        facing, sides = agents.dt.new_tensor([1.0, 0.0]), agents.dt.new_tensor([[1.0], [-1.0]])
        vector, scalar = zeros(2, count, 2), zeros(2, count)
        return State(
            hidden=zeros(2, count, self.config.hidden),
            motion=Motion(vector, vector, facing.expand_as(vector), scalar),
            velocity_before=vector,
            smoothed=vector,
            seen=never,
            steady=never,
            unseen_s=scalar,
            mirror=sides.expand_as(scalar),
        )

    def place(self, agents: Agents, state: State, observation: Observation) -> State:
        """Puts observed agents where they are observed.

        An agent observed for the first time starts at rest with its recorded heading. An agent that
        returns after a gap gets its mean velocity over the gap. The motion of an agent that is not
        observed does not change.

        The filtered velocity moves towards the new one by a learned gain for each step, which
        depends on what was observed before: the noisier, the smaller it can be.

        Args:
            agents: Constants of the agents.
            state: The state before.
            observation: The new frame.

        Returns:
            The state with the motions of this frame and the hidden states of before.
        """
        motion, elapsed = state.motion, state.unseen_s + agents.dt
        heading, position = observation.heading, observation.position.expand_as(motion.position)
        recorded = torch.stack([heading.cos(), heading.sin()], -1).expand_as(motion.facing)
        # Recorded headings of people are noisy, so a person's frame follows its smoothed movement.
        # The frame of a vehicle is its recorded heading.
        turned = dynamics.turn_towards(motion.facing, position - motion.position)
        facing = torch.where(agents.drives[:, None], recorded, turned)
        again = dynamics.moved_to(motion, position, facing, elapsed)
        first = Motion(position, torch.zeros_like(position), recorded, torch.zeros_like(elapsed))
        valid = observation.valid.expand_as(state.seen)
        moved = dynamics.choose(valid, dynamics.choose(state.seen, again, first), motion)
        # An agent without an earlier known velocity gets a change of velocity of 0.
        before = torch.where(state.steady[..., None], motion.velocity, moved.velocity)
        filtered = self._filtered(state, moved.velocity, elapsed / agents.dt)
        return state._replace(
            motion=moved,
            velocity_before=before,
            smoothed=torch.where((valid & state.seen)[..., None], filtered, state.smoothed),
            seen=state.seen | valid,
            steady=(valid & state.seen) | (~valid & state.steady),
            unseen_s=torch.where(valid, 0.0, elapsed),
        )

    def _filtered(self, state: State, velocity: Tensor, steps: Tensor) -> Tensor:
        """The filtered velocities ``[S, N, 2]`` after a mean one over some steps ``[S, N]``."""
        kept = self.gain_head(state.hidden)[..., 0].neg().sigmoid() ** steps
        filtered = velocity + kept[..., None] * (state.smoothed - velocity)
        return torch.where(state.steady[..., None], filtered, velocity)

    def table(self, agents: Agents, state: State, visible: Tensor) -> AgentTable:
        """The columns that edge features are computed from; see `AgentTable.of`."""
        return AgentTable.of(agents, state, visible, self.graph.vehicle_ahead_s)

    def update(self, around: Surroundings, state: State, visible: Tensor) -> Tensor:
        """The GRU update from each agent's own motion and the messages that it receives.

        Args:
            around: The surroundings.
            state: Poses and velocities now, and hidden states of the step before.
            visible: Which agents send messages ``[S, N]``.

        Returns:
            The next hidden states ``[S, N, D]``.
        """
        encoded, hidden = self.encode(around.agents, state)
        table = self.table(around.agents, state, visible)
        ways = self._crossings(around, table)
        ahead = self.conflicts(table, around.map, around.edges.lanes)
        given = (around.map, around.edges, around.replayed, ways, ahead)
        received, blocks = self.messages(table, hidden, *given)
        features = ways.features((table.facing_x, table.facing_y), table.mirror)
        crossing = self.crossing_encoder(torch.cat([features, blocks], -1))
        inputs = torch.cat([encoded, received, crossing], -1)
        after: Tensor = self.cell(inputs, state.hidden.flatten(0, 1))
        return after.view_as(state.hidden)

    def _crossings(self, around: Surroundings, table: AgentTable) -> Crossings:
        """The crosswalks on the ways of all agents, S * N rows."""
        where = (table.x, table.y, table.facing_x, table.facing_y)
        pieces = around.map
        return Crossings.of(where, pieces.poses, pieces.crossings, around.edges.crossings)

    def conflicts(self, table: AgentTable, pieces: EncodedMap, edges: Edges) -> Conflicts:
        """Where the lanes of vehicles meet crosswalks; see `Conflicts.of`."""
        return Conflicts.of((table.x, table.y, *table.course()), pieces, edges)

    def encode(self, agents: Agents, state: State) -> tuple[Tensor, Tensor]:
        """Encodes each agent's own motion.

        Args:
            agents: Constants of the N agents.
            state: Their state in S copies.

        Returns:
            The encoding, and the hidden state plus the encoding, ``[S * N, D]`` each. The latter is
            the agent's embedding in messages.
        """
        own: Tensor = self.ego_encoder(ego_features(agents, state, state.velocity_before))
        encoded = own.flatten(0, 1)
        return encoded, state.hidden.flatten(0, 1) + encoded

    def settle(self, around: Surroundings, state: State) -> State:
        """Where imagining begins: people go at filtered velocities that companions share.

        A person's velocity is drawn to those of the people around it, each with a learned weight
        between 0 and 1.

        Args:
            around: The surroundings.
            state: The state after the last observation.
        """
        agents, motion = around.agents, state.motion
        shared = self._pooled(around, state)
        velocity = torch.where(agents.drives[:, None], motion.velocity, shared)
        before = torch.where(agents.drives[:, None], state.velocity_before, shared)
        motion = motion._replace(velocity=velocity)
        return state._replace(motion=motion, velocity_before=before, smoothed=velocity)

    def _pooled(self, around: Surroundings, state: State) -> Tensor:
        """The filtered velocities ``[S, N, 2]``, drawn to those of people with a known velocity."""
        agents = around.agents
        filtered = state._replace(motion=state.motion._replace(velocity=state.smoothed))
        table = self.table(agents, filtered, state.seen & state.steady)
        source, target, radius = around.edges.agents[self.people]
        features, weight = agent_edges(table.rows(target), table.rows(source), radius)
        walks = agents.pedestrian.expand_as(state.seen).flatten()
        together = self.companion_head(features)[:, 0].sigmoid()
        weight = weight * together * (walks[source] & walks[target])
        own = state.smoothed.flatten(0, 1)
        pull = weight[:, None] * (own.index_select(0, source) - own.index_select(0, target))
        total = torch.zeros_like(own).index_add(0, target, pull)
        weights = torch.ones_like(own[:, 0]).index_add(0, target, weight)
        return (own + total / weights[:, None]).view_as(state.smoothed)

    def inject(self, state: State, intent: Tensor) -> State:
        """Adds a function of hidden state and latent intent to the hidden states of S copies.

        Args:
            state: The state when imagining begins.
            intent: Latent intents ``[S, N, I]``.
        """
        change: Tensor = self.intent_encoder(torch.cat([state.hidden, intent], -1))
        return state._replace(hidden=state.hidden + change)

    def chances(self, state: State) -> Tensor:
        """The probabilities ``[S, N, 3]`` that each agent goes, is free or waits in the next step.

        Args:
            state: The updated state.
        """
        return decision_chances(self.decision_head(state.hidden))

    def act(
        self,
        around: Surroundings,
        state: State,
        intent: Tensor,
        noise: Tensor,
        decisions: Tensor | None = None,
    ) -> Motion:
        """The motion of every agent one step later.

        Collision avoidance uses the edges between people, so it covers people within interaction
        range. Farther apart, two people would have to approach each other at about 10 m/s to meet
        within the step.

        Args:
            around: The surroundings.
            state: The updated state.
            intent: The latent intent ``[S, N, I]``.
            noise: Noise of this step ``[S, N, J]``.
            decisions: As in `intend`.

        Returns:
            The new motions ``[S, N, ...]``.
        """
        agents, replayed = around.agents, around.replayed
        change, intended = self.intend(agents, state, intent, noise, decisions)
        velocity = torch.cat([intended.flatten(0, 1), replayed.velocity])
        position = torch.cat([state.motion.position.flatten(0, 1), replayed.positions()])
        walks = torch.cat([agents.pedestrian.expand_as(state.seen).flatten(), replayed.pedestrian])
        dt = agents.dt.expand_as(state.unseen_s).flatten()
        source, target, _ = around.edges.agents[self.people]
        walking = walks[source] & walks[target]
        rows, edges = dt.shape[0], (dt[target], source, target, walking)
        velocity = dynamics.avoid_collisions(position, velocity, *edges, rows)
        fastest = torch.where(agents.pedestrian, FASTEST_WALK_MPS, FASTEST_CYCLE_MPS)
        free = dynamics.limit_speed(velocity[:rows].view_as(intended), fastest)
        return dynamics.step(state.motion, change, free, agents.drives, agents.dt, state.mirror)

    def intend(
        self,
        agents: Agents,
        state: State,
        intent: Tensor,
        noise: Tensor,
        decisions: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The action head: changes of motion, and the velocities that result from them.

        It has actions for each decision, and those of the decision made are taken. An action is an
        acceleration and a decay of the present velocity. So to wait is to come to rest at any
        speed, and to go is to come to one's pace from any speed.

        Args:
            agents: Constants of the N agents.
            state: The updated state.
            intent: The latent intent ``[S, N, I]``.
            noise: Noise of this step ``[S, N, J]``.
            decisions: Known decisions (`decision_class`) ``[S, N]``; where it is -1, and without
                them, each agent decides by itself.

        Returns:
            Changes ``[S, N, 2]``: along the facing in m/s, and across it in m/s. A vehicle's second
            change is that of its yaw rate in rad/s. And intended velocities ``[S, N, 2]`` in m/s in
            the world's frame; those of vehicles are not used.
        """
        draw = _LASTING * intent[..., 0] + math.sqrt(1 - _LASTING**2) * noise[..., -1]
        decided = decision(self.decision_head(state.hidden), draw)
        if decisions is not None:
            known = nn.functional.one_hot(decisions.clamp(min=0), DECISIONS).to(decided.dtype)
            decided = torch.where((decisions >= 0)[..., None], known, decided)
        own = ego_features(agents, state, state.velocity_before)[..., : len(EGO_FEATURES)]
        actions = self.action_head(torch.cat([state.hidden, intent, noise, own], -1))
        action = (actions.unflatten(-1, (DECISIONS, ACTIONS)) * decided[..., None]).sum(-2)
        decay = torch.where(agents.drives[:, None], 0.0, action[..., 2:])
        change = (action[..., :2] - decay * own[..., :2]) * agents.dt[:, None]
        motion = state.motion
        return change, motion.velocity + dynamics.to_world(change, motion.facing, state.mirror)


def decision_class(decisions: Tensor) -> Tensor:
    """Index of each `Decision` among going, being free and waiting; -1 where it is unknown.

    Args:
        decisions: `Decision` values ``[...]``.
    """
    classes = [_CLASSES[each] for each in sorted(Decision)]  # in ascending order from UNKNOWN on
    return decisions.new_tensor(classes)[decisions - min(Decision)]


def decision_chances(logits: Tensor) -> Tensor:
    """The probabilities ``[..., 3]`` that a person goes, is free or waits.

    Args:
        logits: Outputs of the decision head ``[..., 2]``: the logit of going, and what is added to
            it for the logit of not waiting.
    """
    goes, not_waits = _thresholds(logits)
    return torch.stack(
        [goes.sigmoid(), not_waits.sigmoid() - goes.sigmoid(), (-not_waits).sigmoid()], -1
    )


def decision(logits: Tensor, draw: Tensor) -> Tensor:
    """The decision of each agent in a future, as shares of going, being free and waiting.

    The three are ordered, and a standard normal number decides, the same in two futures that differ
    in one thing. So both decide alike unless the chances differ. Half of the number's variance is
    the same in all steps of a future, and half is new at each step: who waits gets a new chance to
    go at each step, as the chances say.

    Args:
        logits: Outputs of the decision head ``[..., 2]``.
        draw: Standard normal ``[...]``; a low one goes, a high one waits.

    Returns:
        ``[..., 3]``; nearly one-hot away from the thresholds.
    """
    logit = 1.702 * draw  # the logistic function approximates the normal distribution function
    goes, not_waits = (_SHARPNESS * (each - logit) for each in _thresholds(logits))
    goes, not_waits = goes.sigmoid(), not_waits.sigmoid()
    return torch.stack([goes, not_waits - goes, 1 - not_waits], -1)


def _thresholds(logits: Tensor) -> tuple[Tensor, Tensor]:
    goes, more = logits.unbind(-1)
    return goes, goes + nn.functional.softplus(more)
