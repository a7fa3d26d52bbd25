"""The graph neural network: messages between agents, along the map, and from the map to agents."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from forecast.graphs import GraphConfig, MapKind
from forecast.graphs.pieces import CROSSINGS, EDGES
from forecast.models.crossings import Conflicts, Crossings, any_of
from forecast.models.dynamics import length, to_local
from forecast.models.features import (
    BLOCKS,
    MAP_EDGE_FEATURES,
    RELATIONS,
    AgentTable,
    map_edges,
    pose_features,
)
from forecast.models.neighbors import Edges
from forecast.models.types import EncodedMap

_MAP_SCALE_M = 10.0
_SURE = 10.0
"""Vehicles with an edge of at least the inverse of this weight count fully as blocking a way."""


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two layers with SiLU between them."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))


class EdgeMessages(MessagePassing):
    """Weighted mean of messages from sources to targets, followed by a linear layer.

    A message is the SiLU of the sum of source projection, target projection and projected edge
    features. Its weight is the given one times a learned attention between 0 and 2. The denominator
    of the mean is 1 + the sum of weights. So the mean of an agent without neighbours is 0, and the
    mean changes continuously as neighbours enter and leave the range.

    Args:
        source: Width of the sources' embeddings.
        target: Width of the targets' embeddings Dt.
        features: Number of edge features De.
        width: Width of the messages D.
    """

    def __init__(self, source: int, target: int, features: int, width: int) -> None:
        super().__init__(aggr="sum")
        self.source = nn.Linear(source, width)
        self.target = nn.Linear(target, width, bias=False)
        self.edge = nn.Linear(features, width, bias=False)
        self.attention = nn.Linear(width, 1)
        self.out = nn.Linear(width, width)

    def forward(
        self, projected: Tensor, target: Tensor, edges: Edges, features: Tensor, weight: Tensor
    ) -> Tensor:
        """Passes messages.

        Args:
            projected: Source projections, that is, outputs of the ``source`` layer ``[M, D]``.
                They are given, because several steps and plans share them.
            target: Embeddings of the targets ``[N, Dt]``.
            edges: From sources to targets, E of them.
            features: Edge features ``[E, De]``.
            weight: Weight of each edge, without the attention ``[E]``.

        Returns:
            Aggregated messages ``[N, D]``.
        """
        own = self.target(target)
        mean: Tensor = self.propagate(
            torch.stack([edges.source, edges.target]),
            size=(projected.shape[0], own.shape[0]),
            x=(projected, own),
            features=features,
            weight=weight,
        )
        received: Tensor = self.out(mean)
        return received

    def message(self, x_j: Tensor, x_i: Tensor, features: Tensor) -> Tensor:
        """One message per edge ``[E, D]``."""
        return nn.functional.silu(x_j + x_i + self.edge(features))

    def aggregate(
        self, inputs: Tensor, index: Tensor, weight: Tensor, dim_size: int | None = None
    ) -> Tensor:
        """Weighted mean by target ``[N, D]``."""
        weight = 2 * weight * self.attention(inputs)[:, 0].sigmoid()
        total: Tensor = self.aggr_module(inputs * weight[:, None], index, dim_size=dim_size)
        weights: Tensor = self.aggr_module(weight[:, None], index, dim_size=dim_size)
        return total / (1 + weights)


class MapEncoder(nn.Module):
    """Embeds map pieces; one round of messages along lanes and along the edges of areas.

    Args:
        points: Points per map piece P.
        width: Width of the embeddings D.
    """

    def __init__(self, points: int, width: int) -> None:
        super().__init__()
        self.points = mlp(2 * points + len(MapKind), width, width)
        self.flow = EdgeMessages(width, width, len(MAP_EDGE_FEATURES), width)

    def forward(
        self, points: Tensor, kind: Tensor, follows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encodes map pieces.

        Args:
            points: ``[M, P, 2]`` in metres; the inside of an area is on the left of its edges.
            kind: `MapKind` values ``[M]``.
            follows: Pairs of pieces ``[2, E]``; the second starts where the first ends.

        Returns:
            Embeddings of the map and of its mirror image ``[2, M, D]``; middle points ``[M, 2]``;
            and unit vectors ``[M, 2]`` (`EncodedMap.poses`).
        """
        along = points[:, -1] - points[:, 0]
        along = along / along.norm(dim=-1, keepdim=True).clamp(min=1e-3)
        inwards = torch.stack([-along[:, 1], along[:, 0]], -1)
        direction = torch.where(_is_any(kind, EDGES)[:, None], inwards, along)
        middle = points.mean(dim=1)
        links = _both_ways(follows)
        both = [
            self._embed(points, kind, links, middle, direction, mirror) for mirror in (1.0, -1.0)
        ]
        return torch.stack(both), middle, direction

    def _embed(
        self,
        points: Tensor,
        kind: Tensor,
        links: Edges,
        middle: Tensor,
        direction: Tensor,
        mirror: float,
    ) -> Tensor:
        sides = torch.full_like(middle[:, 0], mirror)
        axes = direction[:, None].unbind(-1)
        offsets = (points - middle[:, None]).unbind(-1)
        local = torch.stack(to_local(offsets, axes, sides[:, None]), -1)
        if mirror < 0:  # keeps the inside of an area on the left of its edges
            local = torch.where(_is_any(kind, EDGES)[:, None, None], local.flip(1), local)
        kinds = nn.functional.one_hot(kind, len(MapKind)).to(local.dtype)
        embedding: Tensor = self.points(torch.cat([local.flatten(1) / _MAP_SCALE_M, kinds], -1))
        source, target = links.source, links.target
        frame = direction[target].unbind(-1), sides[target]
        x, y = to_local((middle[source] - middle[target]).unbind(-1), *frame)
        turned = to_local(direction[source].unbind(-1), *frame)
        features = torch.stack(pose_features(x, y, length(x, y), *turned), -1)
        projected, weight = self.flow.source(embedding), torch.ones_like(x)
        passed: Tensor = self.flow(projected, embedding, links, features, weight)
        return embedding + passed


def crossings(points: Tensor, kind: Tensor) -> Tensor:
    """`EncodedMap.crossings` of map pieces: points ``[M, P, 2]`` and `MapKind` values ``[M]``."""
    half = 0.5 * (points[:, -1] - points[:, 0]).norm(dim=-1)
    signalled = (kind == MapKind.SIGNALLED_CROSSING).to(half.dtype)
    return torch.stack([half * _is_any(kind, CROSSINGS), signalled])


def _is_any(kind: Tensor, of: tuple[MapKind, ...]) -> Tensor:
    """Which map pieces are of any of some kinds ``[M]``."""
    found = kind == of[0]
    for each in of[1:]:
        found = found | (kind == each)
    return found


def _both_ways(follows: Tensor) -> Edges:
    """Links ``[2, E]`` forwards and backwards: messages pass downstream and upstream."""
    source, target = torch.cat([follows, follows.flip(0)], dim=1)
    return Edges(source, target, torch.full_like(target, torch.inf, dtype=torch.float32))


class SceneEdges(NamedTuple):
    """The edges of the graph at one step.

    Attributes:
        agents: Edges between agents, for each slot.
        map: Edges from map pieces to agents.
        crossings: Edges from ways over crosswalks to agents.
        lanes: Edges from lanes to vehicles.
    """

    agents: tuple[Edges, ...]
    map: Edges
    crossings: Edges
    lanes: Edges


class Replayed(NamedTuple):
    """Agents with a given motion, which send messages but receive none.

    Their rows come after those of the N receiving agents.

    Attributes:
        table: Their poses and velocities, M' rows.
        ahead: Where their lanes meet crosswalks, M' rows.
        projected: Their source projections for each slot ``[M', D]``.
        velocity: Their intended velocities in m/s ``[M', 2]``.
        pedestrian: Which of them are pedestrians ``[M']``.
    """

    table: AgentTable
    ahead: Conflicts
    projected: tuple[Tensor, ...]
    velocity: Tensor
    pedestrian: Tensor

    def positions(self) -> Tensor:
        """Where they are ``[M', 2]``."""
        return torch.stack([self.table.x, self.table.y], -1)


class SceneMessages(nn.Module):
    """Messages to each agent from the agents and the map around it, at one step.

    Args:
        slots: Relations of each slot. A slot has edge parameters and a mean of its own; relations
            in the same slot share both.
        hidden: Width of the agents' hidden states.
        width: Width of the messages D.
        map_width: Width of the map pieces' embeddings.
        graph: Ranges of the graph.
    """

    def __init__(
        self, slots: list[list[str]], hidden: int, width: int, map_width: int, graph: GraphConfig
    ) -> None:
        super().__init__()
        self.relations = [RELATIONS[relations[0]] for relations in slots]
        self.agents = nn.ModuleList(
            EdgeMessages(hidden, hidden, len(relation.features), width)
            for relation in self.relations
        )
        self.map = EdgeMessages(map_width, hidden, len(MAP_EDGE_FEATURES), width)
        # Without a map these parameters are never used, so they must not be trained.
        self.map.requires_grad_(graph.map_radius_m > 0)

    def project(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """Source projections of agents for each slot, from hidden states ``[M, D]``."""
        slots: Any = self.agents
        return tuple(slot.source(hidden) for slot in slots)

    def forward(
        self,
        table: AgentTable,
        hidden: Tensor,
        pieces: EncodedMap,
        edges: SceneEdges,
        replayed: Replayed,
        ways: Crossings,
        ahead: Conflicts,
    ) -> tuple[Tensor, Tensor]:
        """Passes messages.

        Args:
            table: Agents in S copies, N rows altogether.
            hidden: Their hidden states ``[N, H]``.
            pieces: The encoded map.
            edges: Sources and targets of messages.
            replayed: Further agents that send messages.
            ways: The crosswalks on the agents' ways, N rows.
            ahead: Where the agents' lanes meet crosswalks, N rows.

        Returns:
            Aggregated messages of each slot, then those from the map ``[N, (slots + 1) * D]``; and
            the chances that any vehicle leaves too small a gap ``[N, BLOCKS]``.
        """
        others, ahead, received = table.append(replayed.table), ahead.append(replayed.ahead), []
        blocks = hidden.new_zeros(hidden.shape[0], BLOCKS)
        slots: Any = zip(self.agents, self.relations, edges.agents, replayed.projected, strict=True)
        for slot, relation, near, more in slots:
            own, other = table.rows(near.target), others.rows(near.source)
            projected = torch.cat([slot.source(hidden), more])
            context = ways.rows(near.target), ahead.rows(near.source)
            features, weight = relation.edges(own, other, near.radius, *context)
            received.append(slot(projected, hidden, near, features, weight))
            if relation.blocks:
                chances = (_SURE * weight).clamp(max=1)[:, None] * features[:, -BLOCKS:]
                blocks = any_of(chances, near.target, hidden.shape[0])
        received.append(self._from_map(table, hidden, pieces, edges.map))
        return torch.cat(received, -1), blocks

    def _from_map(
        self, table: AgentTable, hidden: Tensor, pieces: EncodedMap, edges: Edges
    ) -> Tensor:
        own, count = table.rows(edges.target), pieces.poses.shape[1]
        poses = pieces.poses.index_select(1, edges.source)
        # Agents with mirrored frames receive messages from the mirrored pieces.
        source = torch.where(own.mirror < 0, edges.source + count, edges.source)
        near = edges._replace(source=source)
        projected = pieces.projected.flatten(0, 1)
        received: Tensor = self.map(projected, hidden, near, *map_edges(own, poses, edges.radius))
        return received
