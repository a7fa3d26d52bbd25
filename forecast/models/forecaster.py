"""The forecaster: encodes a graph, observes it, imagines joint futures, computes the loss."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from forecast.graphs import GraphConfig, MapKind
from forecast.models.losses import (
    LossConfig,
    decision_loss,
    effect_error,
    placebo_error,
    rollout_loss,
)
from forecast.models.message_passing import MapEncoder, crossings
from forecast.models.modes import ModeSets, mode_loss, turned_evenly
from forecast.models.rollout import (
    SceneContext,
    follow_plan,
    imagine,
    observe,
    settle,
    surroundings,
    updated,
)
from forecast.models.types import Agents, EncodedMap, Noise, Observation, Plan, State
from forecast.models.world_model import WorldModel, WorldModelConfig, decision_class
from forecast.scene import AgentKind

_MOVES_MPS = 1.0
"""A vehicle at this speed or faster counts as moving traffic."""
_DECISIVE = 5.0
"""How much the decisions of people count who decide otherwise under another plan."""


@dataclass(frozen=True)
class ForecasterConfig:
    """Configuration of the network; weights fit one configuration only.

    Attributes:
        graph: Ranges of the graph.
        world_model: Sizes of the world model.
    """

    graph: GraphConfig = field(default_factory=GraphConfig)
    world_model: WorldModelConfig = field(default_factory=WorldModelConfig)


class PedestrianForecaster(nn.Module):
    """Encodes the map, filters the history, imagines the future.

    Args:
        config: Ranges and sizes.
    """

    def __init__(self, config: ForecasterConfig) -> None:
        super().__init__()
        self.config = config
        self.map = MapEncoder(config.graph.piece_points, config.world_model.map)
        self.map.requires_grad_(config.graph.map_radius_m > 0)
        self.world = WorldModel(config.world_model, config.graph)
        self.modes = ModeSets(config.world_model.hidden)

    def context(self, graph: HeteroData) -> SceneContext:
        """The constants of a graph (or batch) of `forecast.graphs.window_graph`."""
        agent, pieces = graph["agent"], graph["map"]
        near = graph["agent", "near", "agent"]
        return SceneContext.of(
            self.world,
            Agents(agent.kind, agent.size, agent.dt),
            (near.edge_index, near.radius),
            self.encode(
                pieces.points,
                pieces.kind,
                graph["map", "next", "map"].edge_index,
                pieces.conflicts,
            ),
            graph["map", "near", "agent"].edge_index,
            agent.heading_known,
        )

    def encode(
        self, points: Tensor, kind: Tensor, follows: Tensor, conflicts: Tensor
    ) -> EncodedMap:
        """Encodes map pieces, and projects them as sources of messages.

        Args:
            points: ``[M, P, 2]`` in metres.
            kind: `forecast.graphs.MapKind` values ``[M]``.
            follows: Pairs of pieces ``[2, E]``; the second starts where the first ends.
            conflicts: As in `EncodedMap` ``[M, K, 4]``.
        """
        embedding, middle, direction = self.map(points, kind, follows)
        projected = self.world.messages.map.source(embedding)
        poses = torch.cat([middle, direction], -1).t().contiguous()
        lanes = torch.where((kind == MapKind.LANE)[:, None, None], points, torch.inf)
        return EncodedMap(projected, poses, crossings(points, kind), lanes, conflicts)

    def observe(self, context: SceneContext, graph: HeteroData) -> State:
        """The state after the history of a graph, in both chiralities."""
        agent, state = graph["agent"], self.world.initial(context.agents)
        for step in range(agent.position.shape[1]):
            seen = Observation(
                agent.position[:, step], agent.heading[:, step], agent.valid[:, step]
            )
            state = observe(self.world, context, state, seen)
        return state

    def forward(self, graph: HeteroData, noise: Noise, plan: Plan | None = None) -> Tensor:
        """Imagines joint futures of a graph (or batch).

        Args:
            graph: A graph with its history.
            noise: Noise of the mode in both chiralities and of K samples
                (`forecast.models.noise`).
            plan: Poses that some agents follow.

        Returns:
            Positions ``[1 + K, N, T, 2]`` in metres: the mode, then the samples. The mode is the
            mean of the noiseless futures in both chiralities.
        """
        context = self.context(graph)
        return self.futures(context, self.observe(context, graph), noise, plan)

    def futures(
        self,
        context: SceneContext,
        state: State,
        noise: Noise,
        plan: Plan | None = None,
        decisions: Tensor | None = None,
    ) -> Tensor:
        """Imagines joint futures from an observed state.

        Args:
            context: Constants of the scene.
            state: State after the history, in both chiralities.
            noise: As in `forward`.
            plan: As in `forward`.
            decisions: Known decisions of every step ``[T, 2 + K, N]``, see `WorldModel.intend`.

        Returns:
            As `forward`.
        """
        settled = settle(self.world, context, state)
        futures = imagine(self.world, context, settled, noise, plan, decisions).position
        return torch.cat([futures[:2].mean(0, keepdim=True), futures[2:]])

    def mode_sets(
        self, context: SceneContext, state: State, steps: int
    ) -> list[tuple[Tensor, Tensor]]:
        """A few futures of each agent on its own; see `forecast.models.modes.ModeSets`.

        Args:
            context: Constants of the scene.
            state: State after the history, in S copies.
            steps: Number of steps T.

        Returns:
            Positions ``[M, S, N, T, 2]`` in metres and logits ``[M, S, N]`` of each set.
        """
        sets = self.modes(context.agents, state, context.agents.times_s(steps))
        unknown, position = ~context.heading_known, state.motion.position
        return [(turned_evenly(paths, position, unknown), logits) for paths, logits in sets]

    def loss(
        self,
        graph: HeteroData,
        noise: Noise,
        config: LossConfig,
        counted: Tensor,
        plan: Plan | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Imagines the futures of a graph in closed loop and compares them with the truth.

        Args:
            graph: A graph (or batch) with its targets.
            noise: Noise of the mode in both chiralities and of S samples (`window_noise`).
            config: Weights of the terms.
            counted: Agents and steps that count ``[N, T]``. Agents that follow a plan do not count.
            plan: Poses that some agents follow.

        Returns:
            The loss and its parts (`forecast.models.losses.rollout_loss`), and the positions
            ``[1 + S, N, T, 2]`` of mode and samples. Besides ``weight``, ``decisions`` and
            ``pairs`` count what the parts ``decision``, and ``effect`` and ``placebo``, are means
            over.
        """
        agent, context = graph["agent"], self.context(graph)
        state = self.observe(context, graph)
        decisions = known_decisions(graph, noise) if self.training else None
        futures = self.futures(context, state, noise, plan, decisions)
        groups = futures[1:].tensor_split(2) if self.training else [futures[1:]]
        if plan is not None:
            counted = counted & ~plan.follows[:, None]
        weight = torch.where(self.near_traffic(context, state), config.traffic, 1.0)
        weight = torch.where(agent.kind == AgentKind.PEDESTRIAN, weight, config.vehicles)
        counts = window_weights(graph)
        parts = rollout_loss(groups, futures[0], agent.future, counted, weight, counts, config)
        sets = self.mode_sets(context, state, agent.future.shape[1])
        parts["modes"] = mode_loss(sets, agent.future, counted, weight, counts)
        parts["decision"], parts["decisions"] = self._decision(context, state, graph, plan)
        effects = [self._effect(graph, samples, counted) for samples in groups]
        parts |= {name: torch.stack([each[name] for each in effects]).mean() for name in effects[0]}
        for name in ("modes", "decision", "effect", "placebo"):
            parts["loss"] = parts["loss"] + getattr(config, name) * parts[name]
        return parts, futures

    def _decision(
        self, context: SceneContext, state: State, graph: HeteroData, plan: Plan | None
    ) -> tuple[Tensor, Tensor]:
        """Loss of the decisions of each step, once all frames before it are observed.

        Returns:
            The loss, and the number of decisions that it is the mean of.
        """
        agent, steps = graph["agent"], []
        now = agent.position.shape[1] - 1
        made = agent.decision[:, now + 1 :]
        known = (decision_class(made) >= 0).sum().to(state.hidden.dtype)
        if not known:
            return known, known
        controls = [] if plan is None else [follow_plan(plan, context.agents.dt)]
        for step in range(agent.future.shape[1]):
            around = surroundings(self.world, context, state)
            state = updated(self.world, around, state, step, controls)
            steps.append(self.world.chances(state))
            poses = agent.future[:, step], agent.future_heading[:, step]
            happened = Observation(*poses, agent.future_valid[:, step])
            state = self.world.place(context.agents, state, happened)
        chances = torch.stack(steps, 2)  # [2, N, T, 3]
        weight = window_weights(graph) * torch.where(_decides_by_plan(graph, made), _DECISIVE, 1.0)
        return decision_loss(chances, made.expand(chances.shape[:-1]), weight[:, None]), known

    def _effect(self, graph: HeteroData, samples: Tensor, counted: Tensor) -> dict[str, Tensor]:
        """Errors of plans' effects on the pedestrians of windows with a twin, and their number."""
        agent, none = graph["agent"], samples.new_zeros(())
        pairs = twins(graph)
        if pairs is None:
            return {"effect": none, "placebo": none, "pairs": none}
        one, other = pairs[:, agent.kind[pairs[0]] == AgentKind.PEDESTRIAN]
        mask = counted[one] & counted[other]
        known = mask.any(-1)
        if not known.any():
            return {"effect": none, "placebo": none, "pairs": none}
        one, other, mask = one[known], other[known], mask[known]
        weight = window_weights(graph)[one]
        given = samples[:, one], samples[:, other], (agent.future[one], agent.future[other]), mask
        errors = {"effect": effect_error(*given), "placebo": placebo_error(*given)}
        means = {name: (weight * error).mean() for name, error in errors.items()}
        return {**means, "pairs": none + len(weight)}

    @torch.no_grad()
    def near_traffic(self, context: SceneContext, state: State) -> Tensor:
        """Agents with a moving vehicle in range now ``[N]``, in the first copy of the scene.

        Args:
            context: Constants of the scene.
            state: State after the history.
        """
        moves = context.agents.drives & state.seen[0]
        moves &= state.motion.velocity[0].norm(dim=-1) > _MOVES_MPS
        near = torch.zeros_like(moves)
        edges = context.edges(state.motion, self.config.graph.vehicle_ahead_s)
        for source, target, _ in edges.agents:
            first = target < len(moves)  # rows of the first copy come first
            near[target[first][moves[source[first]]]] = True
        return near


def known_decisions(graph: HeteroData, noise: Noise) -> Tensor:
    """What pedestrians decided at every step, for the first half of the samples.

    The decision of a step is that at its end: people decide within a step, and move at once. So the
    network learns from the first half what people do once they have decided, and from the second
    half, which decides by itself, what they decide.

    Args:
        graph: A graph (or batch) with its targets.
        noise: Noise of the mode in both chiralities and of K samples.

    Returns:
        ``[T, 2 + K, N]``, see `decision_class`; -1 in the second half and in the mode.
    """
    agent, futures = graph["agent"], len(noise.intent)
    now = agent.position.shape[1] - 1
    known = decision_class(agent.decision[:, now + 1 :]).t()
    given = known[:, None].repeat(1, futures, 1)
    first = slice(2, 2 + -(-(futures - 2) // 2))  # as `Tensor.tensor_split` divides them
    kept = torch.zeros(futures, 1, dtype=torch.bool, device=given.device)
    kept[first] = True
    return torch.where(kept, given, -1)


def _decides_by_plan(graph: HeteroData, made: Tensor) -> Tensor:
    """Who decides otherwise at some step under the other plan ``[N]``.

    Args:
        graph: A graph or batch.
        made: `Decision` values ``[N, T]``.
    """
    found, pairs = torch.zeros_like(made[:, 0], dtype=torch.bool), twins(graph)
    if pairs is not None:
        one, other = decision_class(made[pairs])
        found[pairs] = ((one != other) & (one >= 0) & (other >= 0)).any(-1)
    return found


def window_weights(graph: HeteroData) -> Tensor:
    """How much the window of each agent counts ``[N]``; 1 where graphs do not say.

    Args:
        graph: A graph or batch; see `forecast.graphs.seeded.varied_graph`.
    """
    agent, weight = graph["agent"], graph.get("weight")
    ones = torch.ones_like(agent.size[:, 0])
    if weight is None:
        return ones
    return ones * (weight[agent.batch] if "batch" in agent else weight)


def twins(graph: HeteroData) -> Tensor | None:
    """The same agents under two plans, as pairs of indices ``[2, P]``; None without such windows.

    Args:
        graph: A batch. A graph with ``twin`` set has the same agents as the one after it.
    """
    flags = graph.get("twin")
    if flags is None or not flags.any():
        return None
    first = graph["agent"].batch
    rows = flags[first].nonzero()[:, 0]
    counts = graph["agent"].ptr.diff()
    return torch.stack([rows, rows + counts[first[rows]]])
