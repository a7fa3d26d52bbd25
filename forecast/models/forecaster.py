"""The forecaster: graph in, joint futures out."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from forecast.graphs import GraphConfig
from forecast.models.encoder import MapEncoder
from forecast.models.losses import LossConfig, rollout_loss
from forecast.models.state import Context, EncodedMap, Frame, Noise, Plan, State
from forecast.models.world_model import WorldModel, WorldModelConfig
from forecast.scene import AgentKind


@dataclass(frozen=True)
class ForecasterConfig:
    """Everything the weights depend on.

    Attributes:
        graph: Ranges of the graph.
        world_model: Sizes of the world model.
    """

    graph: GraphConfig = field(default_factory=GraphConfig)
    world_model: WorldModelConfig = field(default_factory=WorldModelConfig)


class PedestrianForecaster(nn.Module):
    """Encodes the map, filters the history, imagines the future."""

    def __init__(self, config: ForecasterConfig) -> None:
        super().__init__()
        self.config = config
        self.map = MapEncoder(config.graph.piece_points, config.world_model.map)
        self.map.requires_grad_(config.graph.map_radius_m > 0)
        self.world = WorldModel(config.world_model, config.graph)

    def context(self, graph: HeteroData) -> Context:
        """The world's constants of a graph (or batch) of `forecast.graphs.window_graph`."""
        agent, pieces = graph["agent"], graph["map"]
        near = graph["agent", "near", "agent"]
        seen = self.encode(pieces.points, pieces.kind, graph["map", "next", "map"].edge_index)
        map_pairs = graph["map", "near", "agent"].edge_index
        return Context(
            agent.kind, agent.size, agent.dt, near.edge_index, near.radius, seen, map_pairs
        )

    def encode(self, points: Tensor, kind: Tensor, follows: Tensor) -> EncodedMap:
        """Map pieces as agents see them; arguments as of `MapEncoder.forward`."""
        embedding, middle, direction = self.map(points, kind, follows)
        told = self.world.interaction.map.source(embedding).flatten(0, 1)
        return EncodedMap(told, torch.cat([middle, direction], -1).t().contiguous())

    def observe(self, context: Context, graph: HeteroData) -> State:
        """The state after the history of a graph, seen with either hand."""
        agent = graph["agent"]
        state = self.world.initial(context)
        for step in range(agent.position.shape[1]):
            frame = Frame(agent.position[:, step], agent.heading[:, step], agent.valid[:, step])
            state = self.world.observe(context, state, frame)
        return state

    def forward(self, graph: HeteroData, noise: Noise, plan: Plan | None = None) -> Tensor:
        """Imagines joint futures of a graph (or batch).

        Args:
            graph: What was seen.
            noise: Of the mode with either hand and of K samples (`forecast.models.noise`).
            plan: Poses that some agents follow.

        Returns:
            The mode, which is the mean of both hands', and the samples ``[1 + K, N, T, 2]``.
        """
        context = self.context(graph)
        return self.futures(context, self.observe(context, graph), noise, plan)

    def futures(
        self, context: Context, state: State, noise: Noise, plan: Plan | None = None
    ) -> Tensor:
        """Imagines joint futures of what was observed; arguments and result as in `forward`."""
        futures = self.world.imagine(context, state, noise, plan).position
        return torch.cat([futures[:2].mean(0, keepdim=True), futures[2:]])

    def loss(
        self,
        graph: HeteroData,
        noise: Noise,
        config: LossConfig,
        counted: Tensor,
        plan: Plan | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Imagines the futures of a graph in closed loop and compares them with what happened.

        Args:
            graph: A graph (or batch) with its targets.
            noise: Of the mode with either hand and of S samples (`window_noise`).
            config: Weights of the terms.
            counted: Agents and steps that count ``[N, T]``; those that follow a plan do not.
            plan: Poses that some agents follow.

        Returns:
            The loss and its parts (`losses.rollout_loss`), and the mode and samples
            ``[1 + S, N, T, 2]``.
        """
        agent = graph["agent"]
        context = self.context(graph)
        state = self.observe(context, graph)
        futures = self.futures(context, state, noise, plan)
        if plan is not None:
            counted = counted & ~plan.follows[:, None]
        near_traffic = self.world.interaction.near_traffic(context, state)
        weight = torch.where(near_traffic, config.traffic, 1.0)
        weight = torch.where(agent.kind == AgentKind.PEDESTRIAN, weight, config.vehicles)
        parts = rollout_loss(futures[1:], futures[0], agent.future, counted, weight, config)
        return parts, futures
