"""The graph neural network over agents and the map.

Every feature is expressed in the frame of the receiving agent (or map piece), so the network does
not change when the scene is moved or turned (as in HiVT, Zhou et al. 2022, and QCNet, Zhou et al.
2023). Copies of the world that are seen with the other hand see it mirrored.

Features of edges are computed one by one, as contiguous vectors ``[E]``: slices of points
``[E, 2]`` take several times as long.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from forecast.graphs import GraphConfig, MapKind
from forecast.models.edges import (
    Edges,
    Ends,
    Places,
    edges_in_range,
    has_machine_code,
    in_machine_code,
)
from forecast.models.kinematics import length, seen_from, to_local
from forecast.models.state import Context, State


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two layers with SiLU between them."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))


class Messages(MessagePassing):
    """Averages messages from sources to targets, fading to zero at the end of the range.

    The fading makes the output continuous as neighbours come and go. The mean counts one silent
    message: a crowd denser than any that was learnt from says no more than is known to happen.
    """

    def __init__(self, source: int, target: int, edge: int, hidden: int) -> None:
        super().__init__()
        self.source = nn.Linear(source, hidden)
        self.target = nn.Linear(target, hidden, bias=False)
        self.edge = nn.Linear(edge, hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)

    def forward(
        self, told: Tensor, target: Tensor, edges: Edges, features: Tensor, fade: Tensor
    ) -> Tensor:
        """Passes messages.

        Args:
            told: What each source tells whoever listens, its ``source`` map ``[M, hidden]``.
            target: Target nodes ``[N, Dt]``.
            edges: From sources to targets, E of them.
            features: Edge features ``[De, E]``.
            fade: Weight of each edge in ``[0, 1]`` ``[E]``.

        Returns:
            ``[N, hidden]``.
        """
        if torch.is_grad_enabled() and has_machine_code(told):
            from forecast.models import learning

            return learning.gather(self, told, target, edges.parts[:2], features.t(), fade)
        gathered: Tensor = self.propagate(
            torch.stack([edges.source.node, edges.target.node]),
            told=told,
            asked=self.target(target),
            edges=edges,
            features=features,
            fade=fade,
        )
        return self.out(gathered)

    def asks(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """What targets ``[N, Dt]`` ask ``[N, hidden]``, and the features' weight ``[De, hidden]``.

        With what sources tell, these are what `forecast.models.kernels` makes messages of.
        """
        return self.target(target), self.edge.weight.t()

    def silence(self, nodes: int) -> Tensor:
        """What nodes take whom nobody tells anything ``[nodes, hidden]``."""
        return self.out.bias.expand(nodes, -1)

    def message(self, told: Tensor, asked: Tensor, edges: Edges, features: Tensor) -> Tensor:
        """One message per edge ``[E, hidden]``."""
        messages = edges.source.rows(told)
        messages += edges.target.rows(asked)
        # The copy of the weight lets the backward pass multiply along rows, 6 times as fast.
        weight = self.edge.weight.t().contiguous().to(messages.dtype)
        messages.addmm_(features.t().to(messages.dtype), weight)
        return nn.functional.silu(messages, inplace=True)

    def aggregate(self, inputs: Tensor, edges: Edges, fade: Tensor) -> Tensor:
        """Mean by target of faded messages and a silent one ``[N, hidden]``."""
        heard = edges.target.sums(fade[:, None], torch.ones_like(fade))
        return edges.target.sums(inputs, fade) / (1 + heard)


def fade_out(distance: Tensor, radius: Tensor | float) -> Tensor:
    """1 near the agent, 0 at the radius, smooth between."""
    return (1 - (distance / radius).square()).clamp(min=0).square()


class MapEncoder(nn.Module):
    """Map pieces to embeddings, with messages along the traffic flow and along the edges."""

    def __init__(self, points: int, hidden: int) -> None:
        super().__init__()
        self.points = mlp(2 * points + len(MapKind), hidden, hidden)
        self.flow = Messages(hidden, hidden, _POSE_FEATURES, hidden)

    def forward(
        self, points: Tensor, kind: Tensor, follows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encodes map pieces.

        Args:
            points: ``[M, P, 2]``; the inside of an area is on the left of its edges.
            kind: `MapKind` values ``[M]``.
            follows: Pieces (from, to) ``[2, E]`` of which the second goes on where the first ends.

        Returns:
            Embeddings ``[2, M, D]`` as seen with the left and the right hand, middle points
            ``[M, 2]``, and directions ``[M, 2]``: of traffic flow, or towards an area's inside.
        """
        along = points[:, -1] - points[:, 0]
        along = along / along.norm(dim=-1, keepdim=True).clamp(min=1e-3)
        inwards = torch.stack([-along[:, 1], along[:, 0]], -1)
        direction = torch.where((kind == MapKind.LANE)[:, None], along, inwards)
        middle = points.mean(dim=1)
        links = _both_ways(follows, points.shape[0])
        seen = [self._embed(points, kind, links, middle, direction, hand) for hand in (1.0, -1.0)]
        return torch.stack(seen), middle, direction

    def _embed(
        self,
        points: Tensor,
        kind: Tensor,
        links: Edges,
        middle: Tensor,
        direction: Tensor,
        hand: float,
    ) -> Tensor:
        side = torch.full_like(middle[:, 0], hand)
        local = to_local(points - middle[:, None], direction[:, None], side[:, None])
        if hand < 0:  # mirrored, an edge would have its inside on the right
            local = torch.where((kind == MapKind.LANE)[:, None, None], local, local.flip(1))
        kinds = nn.functional.one_hot(kind, len(MapKind)).to(local.dtype)
        embedding: Tensor = self.points(torch.cat([local.flatten(1) / _MAP_SCALE_M, kinds], -1))
        source, target = links.source.node, links.target.node
        offset = to_local(middle[source] - middle[target], direction[target], side[target])
        turned = to_local(direction[source], direction[target], side[target])
        x, y = offset.unbind(-1)
        features = torch.stack(_pose_features(x, y, length(x, y), *turned.unbind(-1)))
        told = self.flow.source(embedding)
        passed: Tensor = self.flow(told, embedding, links, features, torch.ones_like(features[0]))
        return embedding + passed


def _both_ways(follows: Tensor, nodes: int) -> Edges:
    """Links ``[2, E]`` forwards and backwards: upstream tells as much as downstream."""
    source, target = torch.cat([follows, follows.flip(0)], dim=1)
    anywhere = torch.full_like(target, torch.inf, dtype=torch.float32)
    return Edges(Ends(source, nodes), Ends(target, nodes), anywhere)


class _Frame(NamedTuple):
    """Frames that others are seen from; values per edge."""

    x: Tensor
    y: Tensor
    facing_x: Tensor
    facing_y: Tensor
    hand: Tensor

    def sees(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """A vector as seen in these frames."""
        return seen_from((x, y), (self.facing_x, self.facing_y), self.hand)


FRAME = len(_Frame._fields)
"""Rows of `Interaction.looks` that say where agents are and how they face."""


class _Body(NamedTuple):
    """What is seen of agents; values per edge."""

    frame: _Frame
    velocity_x: Tensor
    velocity_y: Tensor
    ahead_m: Tensor
    reach_m: Tensor
    present: Tensor

    @classmethod
    def of(cls, table: Tensor, ends: Ends) -> _Body:
        """Those at the ends of edges; of a table of all agents, a row per value ``[10, N]``."""
        values = table.index_select(1, ends.node)
        return cls(_Frame(*values[:FRAME]), *values[FRAME:])


class Interaction(nn.Module):
    """What each agent takes from the agents and the map around it, at one step."""

    def __init__(self, hidden: int, messages: int, map_width: int, graph: GraphConfig) -> None:
        super().__init__()
        self.map_radius_m, self.ahead_s = graph.map_radius_m, graph.vehicle_ahead_s
        self.agents = Messages(hidden, hidden, _POSE_FEATURES + 5, messages)
        self.map = Messages(map_width, hidden, _POSE_FEATURES, messages)
        self.map.requires_grad_(graph.map_radius_m > 0)  # a model without a map learns of none

    def forward(
        self, context: Context, state: State, hidden: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gathers messages.

        Args:
            context: The world's constants.
            state: Poses and hands of S copies.
            hidden: What the agents send ``[S * N, D]``.
            present: Agents that others notice ``[S, N]``.

        Returns:
            From agents and from the map, each ``[S * N, messages]``.
        """
        table = self.looks(context, state, present)
        places = Places(table[0], table[1], table[AHEAD])
        near = edges_in_range(places, places, context.pairs, context.radius)
        told = self.agents.source(hidden)
        from_agents = self.from_agents(table.flatten(1), near, told, hidden)
        if self.sees_no_map(context):
            return from_agents, self.map.silence(len(hidden))
        return from_agents, self.from_map(
            context, table[:FRAME], self.map_edges(context, table), hidden
        )

    def sees_no_map(self, context: Context) -> bool:
        """Whether the map can be left out, because nobody can come to see a piece.

        A compiled program has one form for all sizes; and in training every weight takes part in
        every step, as several processes must agree on which do.
        """
        if torch.compiler.is_compiling():
            return False
        unseen = context.map_pairs.shape[1] == 0 and not torch.is_grad_enabled()
        return unseen or self.map_radius_m == 0

    def looks(self, context: Context, state: State, present: Tensor) -> Tensor:
        """What is seen of agents: pose, hand, velocity, ranges and presence ``[10, S, N]``."""
        motion, shape = state.motion, present.shape
        if in_machine_code(motion.position):
            from forecast.models import kernels

            mine = (motion.position, motion.velocity, motion.facing, state.hand.expand(shape))
            values = kernels.arrays(*mine, present, context.drives, context.reach_m)
            return torch.from_numpy(kernels.looks(*values, self.ahead_s))
        frames = (*motion.position.unbind(-1), *motion.facing.unbind(-1), state.hand.expand(shape))
        ahead, reach = self._ahead(context, motion.velocity), context.reach_m.expand(shape)
        return torch.stack([*frames, *motion.velocity.unbind(-1), ahead, reach, present.to(ahead)])

    def _ahead(self, context: Context, velocity: Tensor) -> Tensor:
        """By how much ranges grow: a fast vehicle is noticed, and looks, farther ahead."""
        return velocity.norm(dim=-1) * (self.ahead_s * context.drives)

    def from_agents(self, table: Tensor, edges: Edges, told: Tensor, hidden: Tensor) -> Tensor:
        """What agents take from agents ``[R, messages]``.

        Args:
            table: What is seen of M agents ``[10, M]``, see `looks`; the first R are the targets.
            edges: From all agents to the targets.
            told: What all agents tell ``[M, messages]``.
            hidden: What the targets know ``[R, D]``.
        """
        if in_machine_code(table):
            from forecast.models import kernels

            values = kernels.arrays(table, *edges.parts, told, *self.agents.asks(hidden))
            heard: Tensor = self.agents.out(
                torch.from_numpy(kernels.from_agents(*values, STILL_MPS, LONGEST_WAIT_S))
            )
            return heard
        other, own = _Body.of(table, edges.source), _Body.of(table, edges.target)
        x, y = own.frame.sees(other.frame.x - own.frame.x, other.frame.y - own.frame.y)
        distance = length(x, y)
        facing = own.frame.sees(other.frame.facing_x, other.frame.facing_y)
        closing = own.frame.sees(
            other.velocity_x - own.velocity_x, other.velocity_y - own.velocity_y
        )
        features = [
            *_pose_features(x, y, distance, *facing),
            *closing,
            *encounter_features(x, y, distance, *closing, other.reach_m + own.reach_m),
        ]
        radius = edges.radius + torch.maximum(other.ahead_m, own.ahead_m)
        fade = fade_out(distance, radius) * other.present
        gathered: Tensor = self.agents(told, hidden, edges, torch.stack(features), fade)
        return gathered

    @torch.no_grad()
    def near_traffic(self, context: Context, state: State) -> Tensor:
        """Agents that have a moving vehicle in range now ``[N]``; of the first copy."""
        position, velocity = state.motion.position[0], state.motion.velocity[0]
        source, target = context.pairs
        moves = context.drives & (velocity.norm(dim=-1) > _MOVES_MPS) & state.seen[0]
        ahead = self._ahead(context, velocity)
        radius = context.radius + torch.maximum(ahead[source], ahead[target])
        distance = (position[source] - position[target]).norm(dim=-1)
        near = torch.zeros_like(moves)
        near[target[moves[source] & (distance < radius)]] = True
        return near

    def map_edges(self, context: Context, table: Tensor) -> Edges:
        """Edges from the map pieces in range to agents as seen ``[10, S, N]``, see `looks`."""
        pieces, pairs = context.map, context.map_pairs
        radius = table.new_full(pairs.shape[1:], self.map_radius_m)
        middles = Places(pieces.poses[:1], pieces.poses[1:2])
        return edges_in_range(middles, Places(table[0], table[1]), pairs, radius)

    def from_map(self, context: Context, frames: Tensor, edges: Edges, hidden: Tensor) -> Tensor:
        """What agents take from the map ``[R, messages]``.

        Args:
            context: The world's constants.
            frames: Frames of the agents ``[5, ...]``, R of them: the first rows of `looks`.
            edges: From map pieces to them.
            hidden: What they know ``[R, D]``.
        """
        pieces, piece = context.map, edges.source.node
        if in_machine_code(frames):
            from forecast.models import kernels

            poses, asked = (frames.flatten(1), pieces.poses), self.map.asks(hidden)
            values = kernels.arrays(*poses, *edges.parts, pieces.told, *asked)
            heard: Tensor = self.map.out(torch.from_numpy(kernels.from_map(*values)))
            return heard
        own = _Frame(*frames.flatten(1).index_select(1, edges.target.node))
        middle_x, middle_y, *direction = pieces.poses.index_select(1, piece)
        x, y = own.sees(middle_x - own.x, middle_y - own.y)
        distance = length(x, y)
        features = torch.stack(_pose_features(x, y, distance, *own.sees(*direction)))
        other_hand = piece + pieces.poses.shape[1]
        seen = Ends(torch.where(own.hand < 0, other_hand, piece), pieces.told.shape[0])
        fade = fade_out(distance, edges.radius)
        edges = replace(edges, source=seen)
        gathered: Tensor = self.map(pieces.told, hidden, edges, features, fade)
        return gathered


AHEAD = FRAME + _Body._fields.index("ahead_m") - 1
"""Row of `Interaction.looks` that says by how much an agent extends ranges."""

_MAP_SCALE_M = 10.0
_POSE_FEATURES = 5
STILL_MPS = 0.1
_MOVES_MPS = 1.0
LONGEST_WAIT_S = 8.0


def encounter_features(
    x: Tensor, y: Tensor, distance: Tensor, closing_x: Tensor, closing_y: Tensor, bodies: Tensor
) -> list[Tensor]:
    """How near two are now, and how near and how soon if both keep their velocities, each ``[E]``.

    Args:
        x: Offset of the other, along.
        y: Offset of the other, across.
        distance: Length of the offset.
        closing_x: Velocity of the other less one's own, along.
        closing_y: The same, across.
        bodies: Sum of the radii of both bodies.
    """
    approach = torch.addcmul(x * closing_x, y, closing_y)
    speed2 = torch.addcmul(closing_x * closing_x, closing_y, closing_y)
    wait = (approach / -(speed2 + STILL_MPS**2)).clamp(0.0, LONGEST_WAIT_S)
    nearest = length(x + closing_x * wait, y + closing_y * wait)
    now, then = ((bodies - gap).clamp(max=1).exp() for gap in (distance, nearest))
    return [now, then, 1 / (1 + wait)]


def _pose_features(
    x: Tensor, y: Tensor, distance: Tensor, direction_x: Tensor, direction_y: Tensor
) -> list[Tensor]:
    """Relative pose from the offset, its length and the other's direction, five times ``[E]``."""
    scale = 1 / (1 + distance)
    return [x * scale, y * scale, torch.log1p(distance), direction_x, direction_y]
