"""Edges of the graph: who is within range of whom at one step, in all copies of the world at once.

The nodes of S copies lie end to end. Edges are sorted by target, so what arrives at a node is a run
of rows. Sums over runs, forwards and in the backward pass, take a fraction of the time of
scattering.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_WORTH_PRUNING = 100_000
"""From so many candidates of all copies on, a look at all copies at once pays. A compiled program,
which has one form for all sizes, does without."""

SLACK_M = 1e-2
"""More than float32 loses on distances of some kilometres."""


def has_machine_code(values: Tensor) -> bool:
    """Whether `forecast.models.kernels` can do it: on the processor, in float32.

    A program that is being compiled or exported is made of tensor operations alone.
    """
    if torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
        return False
    if torch.is_autocast_enabled("cpu"):
        return False
    return values.is_cpu and values.dtype == torch.float32


def in_machine_code(values: Tensor) -> bool:
    """Whether they can, and nobody needs gradients."""
    return not torch.is_grad_enabled() and has_machine_code(values)


@dataclass(frozen=True, eq=False)
class Ends:
    """The sources, or the targets, of edges.

    Attributes:
        node: Index of each edge's node ``[E]``.
        nodes: Number of nodes N.
        ascending: Whether the indices are known to be in order.
    """

    node: Tensor
    nodes: int
    ascending: bool = False

    def rows(self, values: Tensor) -> Tensor:
        """Of values ``[N, D]`` the row of each edge's node ``[E, D]``."""
        if not torch.is_grad_enabled():
            return values.index_select(0, self.node)
        rows: Tensor = _Rows.apply(values, self)  # type: ignore[no-untyped-call]
        return rows

    def sums(self, messages: Tensor, weight: Tensor) -> Tensor:
        """Sums by node ``[N, D]`` of messages ``[E, D]`` times weights ``[E]``."""
        if not torch.is_grad_enabled():
            return _summed(messages, weight, self)
        sums: Tensor = _Sums.apply(messages, weight, self)  # type: ignore[no-untyped-call]
        return sums

    @cached_property
    def runs(self) -> tuple[Tensor, Tensor]:
        """Edges in the order of their nodes ``[E]``, and where the run of each begins ``[N]``."""
        node, order = self.node, torch.arange(self.node.shape[0], device=self.node.device)
        if not self.ascending:
            node, order = node.sort(stable=True)
        return order, torch.searchsorted(node, torch.arange(self.nodes, device=node.device))


@dataclass(frozen=True, eq=False)
class Edges:
    """From sources to targets.

    Attributes:
        source: Where they begin.
        target: Where they end.
        radius: Range of the pair, as far as its nodes do not extend it ``[E]``.
    """

    source: Ends
    target: Ends
    radius: Tensor

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Source, target and range of each edge, three times ``[E]``."""
        return self.source.node, self.target.node, self.radius


class _Rows(torch.autograd.Function):
    """Rows of nodes; the gradient is summed in runs, not scattered."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, ends: Ends) -> Tensor:
        ctx.ends = ends
        return values.index_select(0, ends.node)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _summed(gradients[0], None, ctx.ends), None


class _Sums(torch.autograd.Function):
    """Weighted sums of runs; torch's own gradient of them searches for what is known here."""

    @staticmethod
    def forward(ctx: Any, messages: Tensor, weight: Tensor, ends: Ends) -> Tensor:
        ctx.save_for_backward(messages, weight)
        ctx.ends = ends
        return _summed(messages, weight, ends)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        messages, weight = ctx.saved_tensors
        rows = gradients[0].index_select(0, ctx.ends.node)
        of_weight = (rows * messages).sum(-1)
        return rows.mul_(weight[:, None]), of_weight, None


def _summed(rows: Tensor, weight: Tensor | None, ends: Ends) -> Tensor:
    if torch.onnx.is_in_onnx_export():  # which knows no sums of runs
        faded = rows if weight is None else rows * weight[:, None]
        return rows.new_zeros(ends.nodes, rows.shape[1]).index_add(0, ends.node, faded)
    order, starts = ends.runs
    if weight is not None:
        weight = weight.to(rows.dtype)
        weight = weight if ends.ascending else weight[order]
    return nn.functional.embedding_bag(order, rows, starts, mode="sum", per_sample_weights=weight)


class Places(NamedTuple):
    """Where nodes are in S copies of the world; S = 1: in all of them.

    Attributes:
        x: ``[S, N]``.
        y: ``[S, N]``.
        ahead: By how much a node extends the ranges of its pairs ``[S, N]``; None: by nothing.
        spread: How far from there it may be ``[S, N]``; None: it is there.
    """

    x: Tensor
    y: Tensor
    ahead: Tensor | None = None
    spread: Tensor | None = None

    def table(self) -> Tensor:
        """All four side by side ``[4, S, N]``."""
        nothing = torch.zeros_like(self.x)
        extent = (nothing if value is None else value for value in (self.ahead, self.spread))
        return torch.stack([self.x, self.y, *extent])

    def around(self) -> Places:
        """Circles around each node's places in all copies (S = 1)."""
        (left, right), (low, high) = (v.aminmax(dim=0, keepdim=True) for v in (self.x, self.y))
        ahead, spread = (
            None if v is None else v.amax(0, keepdim=True) for v in (self.ahead, self.spread)
        )
        around = torch.hypot(right - left, high - low) / 2 + SLACK_M
        spread = around if spread is None else spread + around
        return Places((left + right) / 2, (low + high) / 2, ahead, spread)


@torch.no_grad()
def edges_in_range(source: Places, target: Places, pairs: Tensor, radius: Tensor) -> Edges:
    """Of candidate pairs, those within range now, copy by copy.

    Args:
        source: Where the sources are.
        target: Where the targets are.
        pairs: Candidate pairs (source, target) ``[2, P]``, sorted by target.
        radius: Range of each pair of nodes that do not extend it ``[P]``.
    """
    copy, pair = _found_in_range(source, target, pairs, radius)

    def ends(places: Places, nodes: Tensor, *, ascending: bool) -> Ends:
        node, (copies, count) = nodes.index_select(0, pair), places.x.shape
        return Ends(node + copy * count if copies > 1 else node, copies * count, ascending)

    one, other = pairs
    return Edges(
        ends(source, one, ascending=False),
        ends(target, other, ascending=True),
        radius.index_select(0, pair),
    )


def _found_in_range(
    source: Places, target: Places, pairs: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor]:
    """Copies and pairs that are within range, in order, each ``[E]``."""
    if in_machine_code(radius):
        from forecast.models import kernels

        values = kernels.arrays(source.table(), target.table(), *pairs, radius)
        copy, pair = map(torch.from_numpy, kernels.pairs_in_range(*values, SLACK_M))
        return copy, pair
    if torch.compiler.is_compiling() or len(target.x) * len(radius) < _WORTH_PRUNING:
        copy, pair = within_range(source, target, pairs, radius).nonzero(as_tuple=True)
        return copy, pair
    around = source.around(), target.around()
    (near,) = within_range(*around, pairs, radius)[0].nonzero(as_tuple=True)
    pairs, radius = pairs.index_select(1, near), radius.index_select(0, near)
    copy, pair = within_range(source, target, pairs, radius).nonzero(as_tuple=True)
    return copy, near[pair]


def within_range(source: Places, target: Places, pairs: Tensor, radius: Tensor) -> Tensor:
    """Which pairs are within range ``[S, P]``."""
    one, other = pairs
    x, y = (
        ours.index_select(1, one) - theirs.index_select(1, other)
        for ours, theirs in ((source.x, target.x), (source.y, target.y))
    )
    limit = radius
    if source.ahead is not None and target.ahead is not None:
        ahead = source.ahead.index_select(1, one), target.ahead.index_select(1, other)
        limit = limit + torch.maximum(*ahead)
    if source.spread is not None and target.spread is not None:
        limit = limit + source.spread.index_select(1, one) + target.spread.index_select(1, other)
    return torch.addcmul(x * x, y, y) < limit * limit
