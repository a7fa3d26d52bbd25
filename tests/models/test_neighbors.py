"""Edges against naive references: which candidates are in range of which targets."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from forecast.models import neighbors
from forecast.models.neighbors import (
    Candidates,
    Edges,
    Layout,
    Places,
    _in_range_by_tensors,
    edges_in_range,
)
from tests.models.crowds import every_pair

CPU = torch.device("cpu")
SOURCES = 5

sizes = given(
    copies=st.integers(1, 4),
    targets=st.integers(0, 6),
    ahead=st.booleans(),
    shared=st.booleans(),
    seed=st.integers(0, 1000),
)


def places(count: int, ahead: bool, seed: int) -> Places:
    generator = torch.Generator().manual_seed(seed)
    x, y = 6 * torch.randn(2, count, generator=generator)
    return Places(x, y, ahead * 5 * torch.rand(count, generator=generator))


def selected(of: Places, chosen: slice) -> Places:
    return Places(of.x[chosen], of.y[chosen], of.lookahead_m[chosen])


def some_pairs(sources: int, targets: int, seed: int) -> tuple[Tensor, Tensor]:
    """Some of all pairs, sorted by target, and their ranges."""
    generator = torch.Generator().manual_seed(seed)
    pairs = every_pair(sources, targets)
    pairs = pairs[:, torch.rand(pairs.shape[1], generator=generator) < 0.8]
    return pairs, 2 + 7 * torch.rand(pairs.shape[1], generator=generator)


def rows(edges: Edges) -> list[tuple[int, int, float]]:
    return list(zip(*(values.tolist() for values in edges), strict=True))


def assert_same_edges(one: Edges, other: Edges) -> None:
    for name, value, wanted in zip(Edges._fields, one, other, strict=True):
        assert value.dtype == wanted.dtype, name
        assert torch.equal(value, wanted), name


def is_near(source: Places, node: int, target: Places, row: int, radius: float) -> bool:
    gap = torch.hypot(source.x[node] - target.x[row], source.y[node] - target.y[row])
    ahead = max(float(source.lookahead_m[node]), float(target.lookahead_m[row]))
    return float(gap) < radius + ahead


@settings(max_examples=60)
@sizes
def test_edges_of_copies_are_the_pairs_in_range(
    copies: int, targets: int, ahead: bool, shared: bool, seed: int
) -> None:
    source = places(SOURCES * (1 if shared else copies), ahead, seed)
    target = places(copies * targets, ahead, seed + 1)
    pairs, radius = some_pairs(SOURCES, targets, seed)
    candidates = Candidates.of(pairs, radius, targets)
    layout = Layout.of_copies(copies, targets, SOURCES, shared=shared, device=CPU)
    expected = [
        (one + SOURCES * (0 if shared else copy), other + targets * copy, limit)
        for copy in range(copies)
        for (one, other), limit in zip(pairs.t().tolist(), radius.tolist(), strict=True)
        if is_near(
            source,
            one + SOURCES * (0 if shared else copy),
            target,
            other + targets * copy,
            limit,
        )
    ]
    found = edges_in_range(candidates, layout, source, target)
    assert rows(found) == expected
    assert_same_edges(found, _in_range_by_tensors(candidates, layout, source, target))
    assert_same_edges(found, edges_in_range(candidates, layout, source, target, copies))


@settings(max_examples=40)
@given(
    copies=st.integers(1, 3),
    plans=st.integers(1, 3),
    count=st.integers(0, 8),
    seed=st.integers(0, 1000),
)
def test_edges_of_rows_are_those_of_the_nodes_that_stand_for_their_candidates(
    copies: int, plans: int, count: int, seed: int
) -> None:
    """As in reactive rollouts: some rows stand for replayed agents, which come after them."""
    agents, generator = SOURCES, torch.Generator().manual_seed(seed)

    def draw(most: int) -> Tensor:
        return torch.randint(most, (count,), generator=generator)

    agent, plan, sample = draw(agents), draw(plans), draw(copies)
    node = (torch.arange(copies * agents) + count).repeat(plans, 1)
    node[plan, sample * agents + agent] = torch.arange(count)
    layout = Layout(agent, plan, sample * agents, node)
    everybody = places(count + copies * agents, True, seed)
    targets = selected(everybody, slice(count))
    pairs, radius = some_pairs(agents, agents, seed)
    expected = []
    for row in range(count):
        for (one, other), limit in zip(pairs.t().tolist(), radius.tolist(), strict=True):
            if other == int(agent[row]):
                source = int(node[plan[row], sample[row] * agents + one])
                if is_near(everybody, source, targets, row, limit):
                    expected.append((source, row, limit))
    candidates = Candidates.of(pairs, radius, agents)
    found = edges_in_range(candidates, layout, everybody, targets)
    assert rows(found) == expected
    assert_same_edges(found, _in_range_by_tensors(candidates, layout, everybody, targets))


def test_a_pair_exactly_at_its_range_is_no_edge() -> None:
    """Its weight is 0."""
    source = Places(torch.tensor([3.0, 2.99]), torch.tensor([4.0, 4.0]), torch.zeros(2))
    target = Places(*torch.zeros(3, 1))
    candidates = Candidates.of(every_pair(2, 1), torch.full((2,), 5.0), 1)
    layout = Layout.of_copies(1, 1, 2, shared=False, device=CPU)
    for search in (edges_in_range, _in_range_by_tensors):
        assert search(candidates, layout, source, target).source.tolist() == [1]


def test_of_two_lookaheads_the_larger_one_counts() -> None:
    source = Places(torch.tensor([8.0, 8.0]), torch.zeros(2), torch.tensor([4.0, 1.0]))
    candidates = Candidates.of(every_pair(2, 1), torch.full((2,), 5.0), 1)
    layout = Layout.of_copies(1, 1, 2, shared=False, device=CPU)
    for lookahead, expected in ((0.0, [0]), (2.0, [0]), (3.5, [0, 1])):
        target = Places(torch.zeros(1), torch.zeros(1), torch.tensor([lookahead]))
        assert edges_in_range(candidates, layout, source, target).source.tolist() == expected


def test_candidates_are_runs_by_target() -> None:
    pairs = torch.tensor([[2, 0, 1, 0], [0, 0, 2, 2]])
    candidates = Candidates.of(pairs, torch.arange(4.0), 4)
    assert candidates.starts.tolist() == [0, 2, 2, 4]
    assert candidates.lengths.tolist() == [2, 0, 2, 0]
    assert candidates.source.tolist() == [2, 0, 1, 0]
    assert candidates.radius.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("search", [edges_in_range, _in_range_by_tensors])
def test_edges_have_no_gradient_and_places_keep_theirs(search) -> None:
    x = torch.tensor([0.0, 1.0], requires_grad=True)
    there = Places(x, torch.zeros(2), torch.zeros(2))
    candidates = Candidates.of(every_pair(2, 2), torch.full((4,), 5.0), 2)
    layout = Layout.of_copies(1, 2, 2, shared=False, device=CPU)
    found = search(candidates, layout, there, there)
    assert len(found.source) == 4
    assert not any(value.requires_grad for value in found)


def test_places_in_double_precision_have_the_same_neighbors() -> None:
    there = places(SOURCES, True, 3)
    pairs, radius = some_pairs(SOURCES, SOURCES, 3)
    candidates = Candidates.of(pairs, radius, SOURCES)
    layout = Layout.of_copies(1, SOURCES, SOURCES, shared=False, device=CPU)
    double = Places(there.x.double(), there.y.double(), there.lookahead_m.double())
    assert_same_edges(
        edges_in_range(candidates, layout, double, double),
        edges_in_range(candidates, layout, there, there),
    )


def test_machine_code_does_not_change_the_order_of_sums() -> None:
    """Which form of a loop runs depends on where arrays lie, so a new order is a new result."""
    assert "reassoc" not in neighbors._in_range.targetoptions["fastmath"]
