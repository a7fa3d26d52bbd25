"""The graph neural network over agents and lanes.

Every feature is expressed in the frame of the receiving agent (or lane piece), so the network does
not change when the scene is moved or turned (as in HiVT, Zhou et al. 2022, and QCNet, Zhou et al.
2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from forecast.models.kinematics import Motion, to_local

AGENT_KINDS = 4
"""Pedestrian, cyclist, vehicle, ego: the values of `AgentKind` that move."""


@dataclass(frozen=True)
class Lanes:
    """Encoded lane pieces.

    Attributes:
        embedding: ``[L, D]``.
        middle: Middle point ``[L, 2]``.
        direction: Unit vector of traffic flow ``[L, 2]``.
    """

    embedding: Tensor
    middle: Tensor
    direction: Tensor


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two layers with SiLU between them."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))


def edges_in_range(
    source: Tensor, target: Tensor, pairs: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor]:
    """Of the candidate pairs, those within range now.

    Args:
        source: Source positions ``[S, M, 2]``.
        target: Target positions ``[S, N, 2]``.
        pairs: Candidate pairs (source, target) ``[2, E]``.
        radius: Range of each pair ``[E]``.

    Returns:
        Edges ``[2, E']`` between the nodes of the S copies laid end to end, and for each edge the
        index of its pair ``[E']``.
    """
    with torch.no_grad():
        distance = (source[:, pairs[0]] - target[:, pairs[1]]).square().sum(-1)
        copy, pair = (distance < radius.square()).nonzero(as_tuple=True)
        edges = torch.stack(
            [copy * source.shape[1] + pairs[0, pair], copy * target.shape[1] + pairs[1, pair]]
        )
    return edges, pair


class Messages(MessagePassing):
    """Sums messages from sources to targets, fading to zero at the end of the range.

    The fading makes the output continuous as neighbours come and go.
    """

    def __init__(self, source: int, target: int, edge: int, hidden: int) -> None:
        super().__init__(aggr="sum")
        self.source = nn.Linear(source, hidden)
        self.target = nn.Linear(target, hidden, bias=False)
        self.edge = nn.Linear(edge, hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)

    def forward(
        self, source: Tensor, target: Tensor, edges: Tensor, features: Tensor, fade: Tensor
    ) -> Tensor:
        """Passes messages.

        Args:
            source: Source nodes ``[M, Ds]``.
            target: Target nodes ``[N, Dt]``.
            edges: ``[2, E]``.
            features: Edge features ``[E, De]``.
            fade: Weight of each edge in ``[0, 1]`` ``[E]``.

        Returns:
            ``[N, hidden]``.
        """
        gathered: Tensor = self.propagate(
            edges,
            x=(self.source(source), self.target(target)),
            features=self.edge(features),
            fade=fade,
            size=(source.shape[0], target.shape[0]),
        )
        return self.out(gathered)

    def message(self, x_j: Tensor, x_i: Tensor, features: Tensor, fade: Tensor) -> Tensor:
        """One message per edge ``[E, hidden]``."""
        return nn.functional.silu(x_j + x_i + features) * fade[:, None]


def fade_out(distance: Tensor, radius: Tensor) -> Tensor:
    """1 near the agent, 0 at the radius, smooth between."""
    return (1 - (distance / radius).square()).clamp(min=0).square()


class LaneEncoder(nn.Module):
    """Lane pieces to embeddings, with messages along the traffic flow."""

    def __init__(self, points: int, hidden: int) -> None:
        super().__init__()
        self.points = mlp(2 * points, hidden, hidden)
        self.flow = Messages(hidden, hidden, _POSE_FEATURES, hidden)

    def forward(self, points: Tensor, flow: Tensor) -> Lanes:
        """Encodes lane pieces.

        Args:
            points: ``[L, P, 2]``.
            flow: Edges ``[2, E]`` from a piece to the one that follows it.
        """
        middle = points.mean(dim=1)
        along = points[:, -1] - points[:, 0]
        direction = along / along.norm(dim=-1, keepdim=True).clamp(min=1e-3)
        local = to_local(points - middle[:, None], direction[:, None]) / _LANE_SCALE_M
        embedding = self.points(local.flatten(1))
        both = torch.cat([flow, flow.flip(0)], dim=1)  # upstream tells as much as downstream
        source, target = both
        offset = to_local(middle[source] - middle[target], direction[target])
        features = _pose_features(offset, to_local(direction[source], direction[target]))
        fade = torch.ones_like(features[:, 0])
        embedding = embedding + self.flow(embedding, embedding, both, features, fade)
        return Lanes(embedding, middle, direction)


class Interaction(nn.Module):
    """What each agent takes from the agents and lanes around it, at one step."""

    def __init__(self, hidden: int, messages: int, lane: int, lane_radius_m: float) -> None:
        super().__init__()
        self.lane_radius_m = lane_radius_m
        self.agents = Messages(hidden, hidden, _POSE_FEATURES + 3, messages)
        self.lanes = Messages(lane, hidden, _POSE_FEATURES, messages)

    def forward(
        self,
        hidden: Tensor,
        motion: Motion,
        present: Tensor,
        reach_m: Tensor,
        pairs: Tensor,
        radius: Tensor,
        lanes: Lanes,
        lane_pairs: Tensor,
    ) -> Tensor:
        """Gathers messages.

        Args:
            hidden: Agent states ``[S, N, D]``.
            motion: Their poses, shapes ``[S, N, ...]``.
            present: Agents that others notice ``[S, N]``.
            reach_m: Radius of a disc about the agent's size ``[N]``.
            pairs: Candidate agent pairs ``[2, E]``.
            radius: Their ranges ``[E]``.
            lanes: Encoded lane pieces.
            lane_pairs: Candidate (lane, agent) pairs ``[2, E]``.

        Returns:
            ``[S, N, 2 * messages]``.
        """
        flat = hidden.flatten(0, 1)
        from_agents = self._from_agents(flat, motion, present, reach_m, pairs, radius)
        from_lanes = self._from_lanes(flat, motion, lanes, lane_pairs)
        return torch.cat([from_agents, from_lanes], -1).view(*hidden.shape[:2], -1)

    def _from_agents(
        self,
        hidden: Tensor,
        motion: Motion,
        present: Tensor,
        reach_m: Tensor,
        pairs: Tensor,
        radius: Tensor,
    ) -> Tensor:
        edges, pair = edges_in_range(motion.position, motion.position, pairs, radius)
        source, target = edges
        position, velocity = motion.position.flatten(0, 1), motion.velocity.flatten(0, 1)
        facing = motion.facing.flatten(0, 1)
        offset = to_local(position[source] - position[target], facing[target])
        distance = offset.norm(dim=-1)
        gap = distance - reach_m[pairs[0, pair]] - reach_m[pairs[1, pair]]
        features = torch.cat(
            [
                _pose_features(offset, to_local(facing[source], facing[target])),
                to_local(velocity[source] - velocity[target], facing[target]),
                torch.exp(-gap.clamp(min=-1))[:, None],
            ],
            -1,
        )
        fade = fade_out(distance, radius[pair]) * present.flatten()[source]
        return self.agents(hidden, hidden, edges, features, fade)

    def _from_lanes(
        self, hidden: Tensor, motion: Motion, lanes: Lanes, lane_pairs: Tensor
    ) -> Tensor:
        samples = motion.position.shape[0]
        middle = lanes.middle.expand(samples, -1, -1)
        radius = middle.new_full((lane_pairs.shape[1],), self.lane_radius_m)
        edges, pair = edges_in_range(middle, motion.position, lane_pairs, radius)
        lane, target = lane_pairs[0, pair], edges[1]
        position, facing = motion.position.flatten(0, 1), motion.facing.flatten(0, 1)
        offset = to_local(lanes.middle[lane] - position[target], facing[target])
        features = _pose_features(offset, to_local(lanes.direction[lane], facing[target]))
        fade = fade_out(offset.norm(dim=-1), radius[pair])
        return self.lanes(lanes.embedding, hidden, torch.stack([lane, target]), features, fade)


_LANE_SCALE_M = 10.0
_POSE_FEATURES = 5


def _pose_features(offset: Tensor, direction: Tensor) -> Tensor:
    """Relative pose ``[E, 5]`` from the offset and the other's direction, both local ``[E, 2]``."""
    distance = offset.norm(dim=-1, keepdim=True)
    return torch.cat([offset / (1 + distance), torch.log1p(distance), direction], -1)
