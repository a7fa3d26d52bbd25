"""Candidate pairs in runs: whom agents may come near, for rows that stand for one of them each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from forecast.models.edges import Edges, Ends, Places, edges_in_range, in_machine_code


class Nodes(NamedTuple):
    """Which node is the source of a pair p for row r: ``node[line[r], first[r] + one[p]]``.

    Attributes:
        node: ``[B, L]``.
        line: ``[R]``.
        first: ``[R]``.
    """

    node: Tensor
    line: Tensor
    first: Tensor


class Runs(NamedTuple):
    """Pairs that may be in range, in runs by sample and agent.

    Attributes:
        begin: Where each run begins ``[K * N]``.
        length: Its length ``[K * N]``.
        pair: Index of each pair in the context ``[C]``.
    """

    begin: Tensor
    length: Tensor
    pair: Tensor

    @classmethod
    def of(cls, near: Tensor, target: Tensor, agents: Tensor) -> Runs:
        """Those that a mask ``[K, E]`` picks of pairs with targets ``[E]`` among N agents."""
        sample, pair = near.nonzero(as_tuple=True)
        owner = sample * len(agents) + target[pair]
        count = owner.bincount(minlength=len(near) * len(agents))
        return cls(count.cumsum(0) - count, count, pair)

    def edges(
        self,
        run: Tensor,
        source: Places,
        target: Places,
        nodes: Nodes,
        one: Tensor,
        radius: Tensor,
    ) -> Edges:
        """Those in range, of rows that stand for a sample and agent each.

        Args:
            run: Sample and agent of each row ``[R]``.
            source: Where nodes are.
            target: Where the rows are.
            nodes: Which node is the source of a pair.
            one: Source of each pair in the context ``[P]``.
            radius: Range of each pair ``[P]``.
        """
        if in_machine_code(radius):
            from forecast.models import kernels

            values = kernels.arrays(source.table(), target.table(), *self, run, *nodes)
            found = kernels.runs_in_range(*values, *kernels.arrays(one, radius))
            source_node, row, reach = map(torch.from_numpy, found)
            ends = Ends(source_node, source.x.shape[1]), Ends(row, len(run), ascending=True)
            return Edges(*ends, reach)
        row, pair = self._at(run)
        node = nodes.node[nodes.line[row], nodes.first[row] + one[pair]]
        return edges_in_range(source, target, torch.stack([node, row]), radius[pair])

    def _at(self, run: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and pairs ``[C']`` of rows that stand for a sample and agent each ``[R]``."""
        count = self.length[run]
        row = torch.arange(len(run), device=run.device).repeat_interleave(count)
        first = self.begin[run] - (count.cumsum(0) - count)
        return row, self.pair[torch.arange(len(row), device=row.device) + first[row]]
