"""Edges against naive references: who is in range, what rows and sums are, and their gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from forecast.models import edges, kernels
from forecast.models.edges import Ends, Places, edges_in_range


def candidates(sources: int, targets: int) -> Tensor:
    """All pairs (source, target), sorted by target."""
    target, source = torch.meshgrid(torch.arange(targets), torch.arange(sources), indexing="ij")
    return torch.stack([source.flatten(), target.flatten()])


def places(copies: int, nodes: int, ahead: bool, seed: int) -> Places:
    generator = torch.Generator().manual_seed(seed)
    x, y = 6 * torch.randn(2, copies, nodes, generator=generator)
    return Places(x, y, torch.rand(copies, nodes, generator=generator) * 5 if ahead else None)


@pytest.mark.parametrize("pruning_from", [0, 10**9])
@settings(max_examples=40)
@given(
    copies=st.integers(1, 4),
    nodes=st.integers(0, 6),
    ahead=st.booleans(),
    shared=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_edges_are_the_pairs_in_range(
    pruning_from: int, copies: int, nodes: int, ahead: bool, shared: bool, seed: int
) -> None:
    source = places(1 if shared else copies, 5, ahead, seed)
    target = places(copies, nodes, ahead, seed + 1)
    pairs = candidates(5, nodes)
    radius = torch.linspace(2, 9, pairs.shape[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edges, "_WORTH_PRUNING", pruning_from)
        found = edges_in_range(source, target, pairs, radius)
    values = kernels.arrays(source.table(), target.table(), *pairs, radius)
    copy, pair = map(torch.from_numpy, kernels.pairs_in_range(*values, edges.SLACK_M))
    assert (copy * nodes + pairs[1, pair]).tolist() == found.target.node.tolist()
    assert (copy * 5 * (len(source.x) > 1) + pairs[0, pair]).tolist() == found.source.node.tolist()
    expected = []
    for copy in range(copies):
        theirs = 0 if shared else copy
        for (one, other), reach in zip(pairs.t().tolist(), radius.tolist(), strict=True):
            gap_x = source.x[theirs, one] - target.x[copy, other]
            gap_y = source.y[theirs, one] - target.y[copy, other]
            more = 0.0
            if ahead:
                more = float(torch.maximum(source.ahead[theirs, one], target.ahead[copy, other]))
            if torch.hypot(gap_x, gap_y) < reach + more:
                expected.append((theirs * 5 + one, copy * nodes + other, reach))
    ends = (found.source.node, found.target.node, found.radius)
    assert list(zip(*(values.tolist() for values in ends), strict=True)) == expected
    assert (found.source.nodes, found.target.nodes) == (len(source.x) * 5, copies * nodes)


@pytest.mark.parametrize("ascending", [True, False])
@settings(max_examples=15)
@given(nodes=st.integers(1, 5), count=st.integers(0, 9), seed=st.integers(0, 1000))
def test_rows_and_sums_and_their_gradients(
    ascending: bool, nodes: int, count: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    node = torch.randint(nodes, (count,), generator=generator)
    ends = Ends(node.sort().values if ascending else node, nodes, ascending)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    values, messages, weight, out = draw(nodes, 3), draw(count, 3), draw(count), draw(nodes, 3)
    weighted = messages * weight[:, None]
    summed = torch.zeros(nodes, 3, dtype=torch.float64).index_add(0, ends.node, weighted)
    assert_same((values[ends.node] * messages).sum(), (ends.rows(values) * messages).sum(), values)
    assert_same((summed * out).sum(), (ends.sums(messages, weight) * out).sum(), messages, weight)
    with torch.no_grad():
        assert torch.equal(ends.rows(values), values[ends.node])
        torch.testing.assert_close(ends.sums(messages, weight), summed)


def assert_same(expected: Tensor, found: Tensor, *inputs: Tensor) -> None:
    """Both scalars have one value and one gradient."""
    torch.testing.assert_close(found, expected)
    gradients = (
        torch.autograd.grad(value, inputs, retain_graph=True) for value in (found, expected)
    )
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
