"""Which agents and map pieces are within interaction range: the edges of the graph at one step.

This is the only module of the network with result sizes that depend on data. The rest are functions
of tensors with given sizes, so they can be compiled.

Neighbours are searched in two stages. *Candidates* are found once, on the processor, when a scene
is prepared (`forecast.graphs.candidates`): pairs that can come into range before the horizon ends.
At every step, *edges* are the candidates that are within range now. Pairs out of range have weight
0 (`forecast.models.dynamics.distance_cutoff`), so leaving them out only saves time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from forecast.models.machine_code import HALF, Floats, Indices, Mask, compiled
from forecast.models.types import Agents, Motion

_ROUNDING_M = np.float32(1e-2)
"""More than float32 loses of distances of some kilometres."""

Lists = tuple[Any, Any, Any, Any]
"""`Candidates` or a `Layout` as arrays."""
Columns = tuple[Floats, ...]
"""`Places` as arrays."""

# Threads imagine parts of the samples side by side. Each small tensor operation would hand the
# interpreter's lock to another thread, so the search on a processor works on arrays, and lists that
# stay the same over a rollout are converted once.


@dataclass(frozen=True, eq=False)
class Candidates:
    """Possible sources of G targets, as one list sorted by target (compressed sparse rows).

    Attributes:
        starts: Index of each target's first source ``[G]``.
        lengths: Number of each target's sources ``[G]``.
        source: Sources ``[C]``.
        radius: Interaction range of each pair in m, without the lookahead of its ends ``[C]``.
    """

    starts: Tensor
    lengths: Tensor
    source: Tensor
    radius: Tensor

    @cached_property
    def arrays(self) -> Lists:
        """The four lists as arrays."""
        return tuple(map(_array, (self.starts, self.lengths, self.source, self.radius)))

    @classmethod
    def of(cls, pairs: Tensor, radius: Tensor, targets: int) -> Candidates:
        """Candidates of pairs (source, target) ``[2, C]``, sorted by target, and their ranges."""
        source, target = pairs
        count = target.bincount(minlength=targets)
        return cls(count.cumsum(0) - count, count, source, radius)


@dataclass(frozen=True, eq=False)
class Places:
    """Where nodes are.

    Attributes:
        x: ``[M]`` in metres.
        y: ``[M]``.
        lookahead_m: How much a node extends the range of its pairs ``[M]``. The larger value of
            the two ends of a pair counts.
    """

    x: Tensor
    y: Tensor
    lookahead_m: Tensor

    @cached_property
    def arrays(self) -> Columns:
        """The three columns as arrays of float32."""
        columns = self.x, self.y, self.lookahead_m
        # `float` hands over the interpreter's lock even where there is nothing to convert.
        return tuple(
            _array(each if each.dtype == torch.float32 else each.float()) for each in columns
        )

    @classmethod
    def of(cls, agents: Agents, motion: Motion, lookahead_s: float) -> Places:
        """Places of agents in S copies, one copy after the other (M = S * N).

        Args:
            agents: Constants of the N agents.
            motion: Their motion in S copies.
            lookahead_s: A vehicle's edges are extended by the distance it drives in this time.
        """
        if motion.position.is_cpu and motion.position.dtype == torch.float32:
            moving = _array(motion.position), _array(motion.velocity), _array(agents.drives)
            return cls(*map(torch.from_numpy, _agent_places(*moving, lookahead_s)))
        x, y = motion.position.unbind(-1)
        return cls(x.flatten(), y.flatten(), lookahead_m(agents, motion, lookahead_s).flatten())

    def without_lookahead(self) -> Places:
        """The same places, for pairs with a range that does not depend on speed."""
        return replace(self, lookahead_m=torch.zeros_like(self.x))

    def append(self, others: Places) -> Places:
        """These nodes followed by others."""
        ahead = torch.cat([self.lookahead_m, others.lookahead_m])
        return Places(torch.cat([self.x, others.x]), torch.cat([self.y, others.y]), ahead)


def lookahead_m(agents: Agents, motion: Motion, lookahead_s: float) -> Tensor:
    """Extension of the ranges of agents' edges by their speed; 0 for agents that do not drive.

    Args:
        agents: Constants of the N agents.
        motion: Their motion in S copies.
        lookahead_s: A vehicle's edges are extended by the distance it drives in this time.

    Returns:
        ``[S, N]`` in metres.
    """
    return motion.velocity.norm(dim=-1) * (lookahead_s * agents.drives)


@dataclass(frozen=True, eq=False)
class Layout:
    """The rows that receive edges, and the source rows that their candidates refer to.

    Candidates are listed once per agent of a scene, but a rollout has many copies of it. Candidate
    ``c`` of row ``r`` is source row ``node[line[r], offset[r] + source[c]]``. For copies of a whole
    scene, ``offset`` selects the copy. In reactive rollouts, each plan has its own line of
    ``node``, because each plan has other agents that are imagined again instead of replayed.

    Attributes:
        target: Which of the G targets each row is ``[R]``.
        line: Line of ``node`` of each row ``[R]``.
        offset: Where the row's sources start in that line ``[R]``.
        node: Source rows ``[L, X]``.
    """

    target: Tensor
    line: Tensor
    offset: Tensor
    node: Tensor

    @cached_property
    def arrays(self) -> Lists:
        """The four lists as arrays."""
        return tuple(map(_array, (self.target, self.line, self.offset, self.node)))

    @staticmethod
    @lru_cache(maxsize=64)
    def of_copies(
        copies: int, targets: int, sources: int, *, shared: bool, device: torch.device
    ) -> Layout:
        """The layout of S copies of G targets; cached for recent sizes.

        Args:
            copies: S.
            targets: G.
            sources: Number of nodes that candidates refer to.
            shared: Whether all copies share these nodes; otherwise each copy has its own.
            device: Device of the result.
        """
        row = torch.arange(copies * targets, device=device)
        copy = row // max(targets, 1)
        offset = torch.zeros_like(row) if shared else copy * sources
        node = torch.arange(sources if shared else copies * sources, device=device)
        return Layout(row - copy * targets, torch.zeros_like(row), offset, node[None])


class Edges(NamedTuple):
    """Edges from sources to targets.

    Attributes:
        source: Row of the source ``[E]``.
        target: Row of the target ``[E]``, ascending.
        radius: Interaction range in m, without the lookahead of the ends ``[E]``.
    """

    source: Tensor
    target: Tensor
    radius: Tensor


@torch.no_grad()
def edges_in_range(
    candidates: Candidates, layout: Layout, source: Places, target: Places, copies: int = 1
) -> Edges:
    """The candidates that are within range now.

    On a processor Numba loops do the search; on other devices tensor operations do.

    Args:
        candidates: Possible sources by target.
        layout: The rows of the targets and of their candidates.
        source: Where the sources are ``[M]``.
        target: Where the targets are ``[R]``.
        copies: S, if the rows are S copies of all targets (`Layout.of_copies`). The search then
            first leaves out candidates that are out of range in every copy.

    Returns:
        Edges from rows of ``source`` to rows of ``target``, sorted by target.
    """
    if target.x.is_cpu:
        places = source.arrays, target.arrays
        found = _in_range(*places, candidates.arrays, layout.arrays, copies)
        return Edges(*map(torch.from_numpy, found))
    return _in_range_by_tensors(candidates, layout, source, target)


def _array(values: Tensor) -> Any:
    return (values.detach() if values.requires_grad else values).contiguous().numpy()


def _in_range_by_tensors(
    candidates: Candidates, layout: Layout, source: Places, target: Places
) -> Edges:
    """As `edges_in_range`, on any device: lists all candidates of all rows, then selects."""
    count = candidates.lengths[layout.target]
    row = torch.arange(len(count), device=count.device).repeat_interleave(count)
    # Pairs of row r have indices starts[target[r]] + 0, 1, 2, …; subtracting the number of pairs in
    # earlier rows turns one running count into these indices.
    start = candidates.starts[layout.target] - (count.cumsum(0) - count)
    pair = torch.arange(len(row), device=row.device) + start[row]
    node = layout.node[layout.line[row], layout.offset[row] + candidates.source[pair]]
    x, y = source.x[node] - target.x[row], source.y[node] - target.y[row]
    limit = candidates.radius[pair]
    limit = limit + torch.maximum(source.lookahead_m[node], target.lookahead_m[row])
    (near,) = (torch.addcmul(x * x, y, y) < limit * limit).nonzero(as_tuple=True)
    return Edges(node[near], row[near], candidates.radius[pair[near]])


@compiled
def _agent_places(
    position: Floats, velocity: Floats, drives: Mask, lookahead_s: float
) -> tuple[Floats, Floats, Floats]:
    """`Places.of` as a loop; of ``[S, N, 2]`` and ``[N]``, three times ``[S * N]``."""
    copies, agents = position.shape[:2]
    x, y = np.empty(copies * agents, np.float32), np.empty(copies * agents, np.float32)
    ahead = np.zeros(copies * agents, np.float32)
    for s in range(copies):
        for n in range(agents):
            row = s * agents + n
            x[row], y[row] = position[s, n]
            if drives[n]:
                u, v = velocity[s, n]
                ahead[row] = math.sqrt(u * u + v * v) * np.float32(lookahead_s)
    return x, y, ahead


@compiled
def _in_range_of_any(
    source: Columns, source_copies: int, target: Columns, copies: int, candidates: Lists
) -> Lists:
    """The candidates that may be in range in any copy: circles around all copies touch."""
    begin, count, other, radius = candidates
    here, there = _circles(target, copies), _circles(source, source_copies)
    starts, lengths = np.empty_like(begin), np.empty_like(count)
    others, ranges, found = np.empty_like(other), np.empty_like(radius), 0
    for g in range(len(begin)):
        starts[g] = found
        for c in range(begin[g], begin[g] + count[g]):
            n = other[c]
            x, y = there[0, n] - here[0, g], there[1, n] - here[1, g]
            limit = radius[c] + max(there[2, n], here[2, g]) + there[3, n] + here[3, g]
            if x * x + y * y < limit * limit:
                others[found], ranges[found] = n, radius[c]
                found += 1
        lengths[g] = found - starts[g]
    return starts, lengths, others[:found].copy(), ranges[:found].copy()


@compiled
def _circles(places: Columns, copies: int) -> Floats:
    """Centre, highest lookahead and radius of a circle around each node's copies ``[4, N]``."""
    nodes = len(places[0]) // copies
    circles = np.empty((4, nodes), np.float32)
    for n in range(nodes):
        left = right = places[0][n]
        low = high = places[1][n]
        ahead = places[2][n]
        for row in range(n + nodes, len(places[0]), nodes):
            left, right = min(left, places[0][row]), max(right, places[0][row])
            low, high = min(low, places[1][row]), max(high, places[1][row])
            ahead = max(ahead, places[2][row])
        circles[0, n], circles[1, n] = HALF * (left + right), HALF * (low + high)
        circles[2, n] = ahead
        circles[3, n] = HALF * math.hypot(right - left, high - low) + _ROUNDING_M
    return circles


@compiled
def _in_range(
    source: Columns, target: Columns, candidates: Lists, layout: Lists, copies: int
) -> tuple[Indices, Indices, Floats]:
    """`edges_in_range` as a loop; places are three arrays each."""
    of, line, offset, node = layout
    if copies > 1:
        shared = len(offset) == 0 or offset[-1] == 0  # all copies have the same sources
        candidates = _in_range_of_any(source, 1 if shared else copies, target, copies, candidates)
    begin, count, other, radius = candidates
    most = 0  # all candidates of all rows: an upper bound, so that arrays are allocated once
    for r in range(len(of)):
        most += count[of[r]]
    sources, targets = np.empty(most, np.int64), np.empty(most, np.int64)
    ranges, found = np.empty(most, np.float32), 0
    for r in range(len(of)):
        x, y, ahead = target[0][r], target[1][r], target[2][r]
        first = begin[of[r]]
        for c in range(first, first + count[of[r]]):
            n = node[line[r], offset[r] + other[c]]
            away_x, away_y = source[0][n] - x, source[1][n] - y
            limit = radius[c] + max(source[2][n], ahead)
            if away_x * away_x + away_y * away_y < limit * limit:
                sources[found], targets[found], ranges[found] = n, r, radius[c]
                found += 1
    return sources[:found].copy(), targets[:found].copy(), ranges[:found].copy()
