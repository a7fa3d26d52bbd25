"""The graph neural network over agents and the map.

Every feature is expressed in the frame of the receiving agent (or map piece), so the network does
not change when the scene is moved or turned (as in HiVT, Zhou et al. 2022, and QCNet, Zhou et al.
2023). Copies of the world that are seen with the other hand see it mirrored.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from forecast.graphs import GraphConfig, MapKind
from forecast.models.kinematics import Motion, to_local
from forecast.models.state import Context, EncodedMap, State

AGENT_KINDS = 4
"""Pedestrian, cyclist, vehicle, ego: the values of `AgentKind` that move."""


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
        radius: Range of each pair ``[E]`` or ``[S, E]``.

    Returns:
        Edges ``[2, E']`` between the nodes of the S copies laid end to end, and for each edge the
        index of its pair ``[E']``.
    """
    with torch.no_grad():
        possible = _in_range_of_any(source, target, pairs, radius)
        one, other = pairs[:, possible]
        along_x, along_y = (  # one axis at a time, which is much faster than gathering points
            ours.index_select(1, one) - theirs.index_select(1, other)
            for ours, theirs in zip(source.unbind(-1), target.unbind(-1), strict=True)
        )
        limit = radius[..., possible].square()
        copy, pair = (along_x.square() + along_y.square() < limit).nonzero(as_tuple=True)
        edges = torch.stack(
            [copy * source.shape[1] + one[pair], copy * target.shape[1] + other[pair]]
        )
    return edges, possible[pair]


def _in_range_of_any(source: Tensor, target: Tensor, pairs: Tensor, radius: Tensor) -> Tensor:
    """The candidate pairs that boxes around each node's places in all copies leave ``[E']``."""
    (at, around), (to, about) = (_spread(position) for position in (source, target))
    apart = (at[pairs[0]] - to[pairs[1]]).norm(dim=-1)
    largest = radius if radius.ndim == 1 else radius.amax(0)
    near = apart <= largest + around[pairs[0]] + about[pairs[1]] + _SLACK_M
    return near.nonzero().squeeze(-1)


def _spread(position: Tensor) -> tuple[Tensor, Tensor]:
    """Middle ``[N, 2]`` of the places ``[S, N, 2]`` and how far they are from it at most."""
    low, high = position.aminmax(dim=0)
    return (low + high) / 2, (high - low).norm(dim=-1) / 2


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


class MapEncoder(nn.Module):
    """Map pieces to embeddings, with messages along the traffic flow and along the edges."""

    def __init__(self, points: int, hidden: int) -> None:
        super().__init__()
        self.points = mlp(2 * points + len(MapKind), hidden, hidden)
        self.flow = Messages(hidden, hidden, _POSE_FEATURES, hidden)

    def forward(self, points: Tensor, kind: Tensor, follows: Tensor) -> EncodedMap:
        """Encodes map pieces.

        Args:
            points: ``[M, P, 2]``; the inside of an area is on the left of its edges.
            kind: `MapKind` values ``[M]``.
            follows: Pieces (from, to) ``[2, E]`` of which the second goes on where the first ends.
        """
        along = points[:, -1] - points[:, 0]
        along = along / along.norm(dim=-1, keepdim=True).clamp(min=1e-3)
        inwards = torch.stack([-along[:, 1], along[:, 0]], -1)
        direction = torch.where((kind == MapKind.LANE)[:, None], along, inwards)
        middle = points.mean(dim=1)
        seen = [self._embed(points, kind, follows, middle, direction, hand) for hand in (1.0, -1.0)]
        return EncodedMap(torch.stack(seen), middle, direction)

    def _embed(
        self,
        points: Tensor,
        kind: Tensor,
        follows: Tensor,
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
        both = torch.cat([follows, follows.flip(0)], dim=1)  # upstream tells as much as downstream
        source, target = both
        offset = to_local(middle[source] - middle[target], direction[target], side[target])
        turned = to_local(direction[source], direction[target], side[target])
        fade = torch.ones_like(turned[:, 0])
        passed: Tensor = self.flow(embedding, embedding, both, _pose_features(offset, turned), fade)
        return embedding + passed


class Interaction(nn.Module):
    """What each agent takes from the agents and the map around it, at one step."""

    def __init__(self, hidden: int, messages: int, map_width: int, graph: GraphConfig) -> None:
        super().__init__()
        self.map_radius_m, self.ahead_s = graph.map_radius_m, graph.vehicle_ahead_s
        self.agents = Messages(hidden, hidden, _POSE_FEATURES + 5, messages)
        self.map = Messages(map_width, hidden, _POSE_FEATURES, messages)

    def forward(self, context: Context, state: State, hidden: Tensor, present: Tensor) -> Tensor:
        """Gathers messages.

        Args:
            context: The world's constants.
            state: Poses and hands of S copies.
            hidden: What the agents send ``[S, N, D]``.
            present: Agents that others notice ``[S, N]``.

        Returns:
            ``[S, N, 2 * messages]``.
        """
        flat = hidden.flatten(0, 1)
        from_agents = self._from_agents(context, state, flat, present)
        from_map = self._from_map(context, state, flat)
        gathered = torch.cat([from_agents, from_map], -1)
        return gathered.view(*hidden.shape[:2], gathered.shape[-1])

    def _from_agents(
        self, context: Context, state: State, hidden: Tensor, present: Tensor
    ) -> Tensor:
        motion = state.motion
        ranges = self._ranges(context, motion)
        edges, pair = edges_in_range(motion.position, motion.position, context.pairs, ranges)
        source, target = edges
        position, velocity = motion.position.flatten(0, 1), motion.velocity.flatten(0, 1)
        facing = motion.facing.flatten(0, 1)
        ahead, hand = _rows(facing, target), _hands(state)[target]
        offset = to_local(_rows(position, source) - _rows(position, target), ahead, hand)
        closing = to_local(_rows(velocity, source) - _rows(velocity, target), ahead, hand)
        bodies = context.reach_m[context.pairs].sum(0)[pair]
        features = torch.cat(
            [
                _pose_features(offset, to_local(_rows(facing, source), ahead, hand)),
                closing,
                encounter_features(offset, closing, bodies),
            ],
            -1,
        )
        copy = torch.div(target, state.seen.shape[1], rounding_mode="floor")
        fade = fade_out(offset.norm(dim=-1), ranges[copy, pair]) * present.flatten()[source]
        gathered: Tensor = self.agents(hidden, hidden, edges, features, fade)
        return gathered

    def _ranges(self, context: Context, motion: Motion) -> Tensor:
        """Range of each pair ``[S, E]``: a fast vehicle is noticed, and looks, farther ahead."""
        speed = motion.velocity.norm(dim=-1) * context.drives
        source, target = context.pairs
        return context.radius + self.ahead_s * torch.maximum(speed[:, source], speed[:, target])

    @torch.no_grad()
    def near_traffic(self, context: Context, state: State) -> Tensor:
        """Agents that have a moving vehicle in range now ``[N]``; of the first copy."""
        motion, (source, target) = state.motion, context.pairs
        moves = context.drives & (motion.velocity[0].norm(dim=-1) > _MOVES_MPS) & state.seen[0]
        distance = (motion.position[0, source] - motion.position[0, target]).norm(dim=-1)
        noticed = moves[source] & (distance < self._ranges(context, motion)[0])
        near = torch.zeros_like(moves)
        near[target[noticed]] = True
        return near

    def _from_map(self, context: Context, state: State, hidden: Tensor) -> Tensor:
        position, facing = state.motion.position, state.motion.facing
        middle = context.map.middle
        radius = middle.new_full((context.map_pairs.shape[1],), self.map_radius_m)
        around = middle.expand(len(position), -1, -1)
        (_, target), pair = edges_in_range(around, position, context.map_pairs, radius)
        piece, hand = context.map_pairs[0, pair], _hands(state)[target]
        ahead = _rows(facing.flatten(0, 1), target)
        offset = _rows(middle, piece) - _rows(position.flatten(0, 1), target)
        offset = to_local(offset, ahead, hand)
        direction = _rows(context.map.direction, piece)
        features = _pose_features(offset, to_local(direction, ahead, hand))
        fade = fade_out(offset.norm(dim=-1), radius[pair])
        seen = torch.stack([piece + (hand < 0) * len(middle), target])
        embedding = context.map.embedding.flatten(0, 1)
        gathered: Tensor = self.map(embedding, hidden, seen, features, fade)
        return gathered


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Rows of ``[N, D]``: half the time of ``values[index]``."""
    return values.index_select(0, index)


def _hands(state: State) -> Tensor:
    """The hand of every node ``[S * N]``."""
    return state.hand.expand_as(state.seen).flatten()


_MAP_SCALE_M = 10.0
_SLACK_M = 1e-2
"""More than float32 loses on distances of some kilometres."""

_POSE_FEATURES = 5
_STILL_MPS = 0.1
_MOVES_MPS = 1.0
_LONGEST_WAIT_S = 8.0


def encounter_features(offset: Tensor, closing: Tensor, bodies: Tensor) -> Tensor:
    """How near two are now, and how near and how soon if both keep their velocities ``[E, 3]``."""
    rate = (offset * closing).sum(-1) / (closing.square().sum(-1) + _STILL_MPS**2)
    wait = (-rate).clamp(0, _LONGEST_WAIT_S)
    nearest = offset + closing * wait[:, None]
    gaps = torch.stack([offset, nearest], -2).norm(dim=-1) - bodies[:, None]
    return torch.cat([torch.exp(-gaps.clamp(min=-1)), 1 / (1 + wait[:, None])], -1)


def _pose_features(offset: Tensor, direction: Tensor) -> Tensor:
    """Relative pose ``[E, 5]`` from the offset and the other's direction, both local ``[E, 2]``."""
    distance = offset.norm(dim=-1, keepdim=True)
    return torch.cat([offset / (1 + distance), torch.log1p(distance), direction], -1)
