"""The forecaster: graph in, joint futures out."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from forecast.graphs import GraphConfig
from forecast.models.encoder import LaneEncoder
from forecast.models.kinematics import Motion
from forecast.models.losses import LossConfig, rollout_loss
from forecast.models.world_model import (
    Context,
    Frame,
    Noise,
    Plan,
    State,
    WorldModel,
    WorldModelConfig,
)
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
    """Encodes the lanes, filters the history, imagines the future."""

    def __init__(self, config: ForecasterConfig) -> None:
        super().__init__()
        self.config = config
        self.lanes = LaneEncoder(config.graph.lane_points, config.world_model.lane)
        self.world = WorldModel(config.world_model, config.graph.lane_radius_m)

    def context(self, graph: HeteroData) -> Context:
        """The world's constants of a graph (or batch) of `forecast.graphs.window_graph`."""
        agent = graph["agent"]
        pairs = graph["agent", "near", "agent"].edge_index
        large = (agent.kind >= AgentKind.VEHICLE)[pairs].any(0)
        ranges = self.config.graph
        radius = torch.where(large, ranges.vehicle_radius_m, ranges.agent_radius_m)
        lanes = self.lanes(graph["lane"].points, graph["lane", "next", "lane"].edge_index)
        lane_pairs = graph["lane", "near", "agent"].edge_index
        return Context(agent.kind, agent.size, agent.dt, pairs, radius, lanes, lane_pairs)

    def observe(self, context: Context, graph: HeteroData) -> State:
        """The state after the history of a graph."""
        agent = graph["agent"]
        state = self.world.initial(context)
        for step in range(agent.position.shape[1]):
            frame = Frame(agent.position[:, step], agent.heading[:, step], agent.valid[:, step])
            state = self.world.observe(context, state, frame)
        return state

    def forward(self, graph: HeteroData, noise: Noise, plan: Plan | None = None) -> Motion:
        """Joint futures of a graph (or batch), shapes ``[S, N, T, ...]``."""
        context = self.context(graph)
        return self.world.imagine(context, self.observe(context, graph), noise, plan)

    def loss(
        self,
        graph: HeteroData,
        samples: int,
        config: LossConfig,
        counted: Tensor,
        plan: Plan | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Imagines the futures of a graph in closed loop and compares them with what happened.

        Args:
            graph: A graph (or batch) with its targets.
            samples: Number of sampled futures S.
            config: Weights of the terms.
            counted: Agents and steps that count ``[N, T]``; those that follow a plan do not.
            plan: Poses that some agents follow.

        Returns:
            The loss and its parts (`losses.rollout_loss`), and the mode and samples
            ``[1 + S, N, T, 2]``.
        """
        agent = graph["agent"]
        steps = agent.future.shape[1]
        size = self.config.world_model
        noise = draw_noise(size, samples, agent.num_nodes, steps, like=agent.position)
        futures = self(graph, noise, plan).position
        if plan is not None:
            counted = counted & ~plan.follows[:, None]
        weight = torch.where(agent.kind == AgentKind.PEDESTRIAN, 1.0, config.vehicles)
        parts = rollout_loss(futures[1:], futures[0], agent.future, counted, weight, config)
        return parts, futures


def draw_noise(
    config: WorldModelConfig, samples: int, agents: int, steps: int, like: Tensor
) -> Noise:
    """Random numbers for a mode and S samples: entry 0 is all zero, the most probable future.

    Args:
        config: Sizes.
        samples: Number of samples S.
        agents: N.
        steps: T.
        like: A tensor with the wanted dtype and device.

    Returns:
        Noise of ``1 + S`` futures.
    """
    intent = torch.randn(1 + samples, agents, config.intent, dtype=like.dtype, device=like.device)
    shape = (steps, 1 + samples, agents, config.noise)
    noise = torch.randn(shape, dtype=like.dtype, device=like.device)
    intent[0], noise[:, 0] = 0, 0
    return Noise(intent, noise)
