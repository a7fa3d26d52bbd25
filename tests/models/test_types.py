"""The values that the network passes around."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils import _pytree as pytree

from forecast.models.types import (
    AGENT_KINDS,
    TRAITS,
    Agents,
    Motion,
    Noise,
    State,
    concatenate,
    stack,
)
from forecast.scene import AgentKind


def state(copies: int, agents: int) -> State:
    """A state whose values all tell their copy and agent: ``10 * copy + agent``."""
    place = 10.0 * torch.arange(copies)[:, None] + torch.arange(agents)

    def more(size: int) -> torch.Tensor:
        return place[..., None].expand(-1, -1, size).clone()

    motion = Motion(more(2), more(2), more(2), place.clone())
    odd = place % 2 == 1
    mirror = torch.tensor([1.0, -1.0]).repeat(copies)[:copies, None].expand(copies, agents)
    return State(more(3), motion, more(2), more(2), odd, odd, place.clone(), mirror.clone())


def places(values: State) -> torch.Tensor:
    """What all values of a state tell of their copy and agent ``[S, N]``."""
    found = [values.hidden, *values.motion, values.velocity_before, values.unseen_s]
    first = [value[..., 0] if value.ndim == 3 else value for value in found]
    for value in first[1:]:
        assert torch.equal(value, first[0])
    assert torch.equal(values.seen, first[0] % 2 == 1)
    assert torch.equal(values.steady, values.seen)
    return first[0]


def test_a_state_observed_in_both_chiralities_gives_one_copy_for_each_chirality() -> None:
    found = state(2, 3).with_mirror(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    assert places(found).tolist() == [[0, 1, 2], [10, 11, 12], [10, 11, 12], [0, 1, 2]]
    assert found.mirror.tolist() == [[1] * 3, [-1] * 3, [-1] * 3, [1] * 3]
    assert found.mirror.is_contiguous()


def test_agents_of_several_scenes_have_chiralities_of_their_own() -> None:
    found = state(2, 3).with_mirror(torch.tensor([[1.0, 1.0, -1.0]]))
    assert places(found).tolist() == [[0, 1, 12]]
    assert found.mirror.tolist() == [[1, 1, -1]]


def test_agents_of_a_state_are_selected_by_mask() -> None:
    found = state(2, 3).select(torch.tensor([True, False, True]))
    assert places(found).tolist() == [[0, 2], [10, 12]]
    assert found.mirror.tolist() == [[1, 1], [-1, -1]]


def test_rows_are_agents_of_any_copies_in_one_copy() -> None:
    found = state(2, 3).rows(torch.tensor([5, 0, 0]))
    assert places(found).tolist() == [[12, 0, 0]]
    assert found.mirror.tolist() == [[-1, 1, 1]]


def test_others_are_appended_in_the_same_copies() -> None:
    found = state(2, 2).append(state(2, 1))
    assert places(found).tolist() == [[0, 1, 0], [10, 11, 10]]


def test_values_of_the_same_structure_are_stacked_and_joined() -> None:
    one, two = (state(1, 2).motion for _ in range(2))
    stacked, joined = stack([one, two], 2), concatenate([one, two])
    assert [value.shape for value in stacked] == [
        (1, 2, 2, 2),
        (1, 2, 2, 2),
        (1, 2, 2, 2),
        (1, 2, 2),
    ]
    assert torch.equal(stacked.position[:, :, 1], two.position)
    assert [value.shape for value in joined] == [(2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2)]
    assert isinstance(stacked, Motion)
    assert isinstance(joined, Motion)


def test_values_are_trees_of_tensors() -> None:
    leaves, structure = pytree.tree_flatten(state(1, 1))
    assert len(leaves) == 11
    assert isinstance(pytree.tree_unflatten(leaves, structure), State)


def test_the_traits_of_every_kind_by_hand() -> None:
    kinds = [AgentKind.PEDESTRIAN, AgentKind.CYCLIST, AgentKind.VEHICLE, AgentKind.EGO]
    size = torch.tensor([[1.0, 3.0, 9.0]]).expand(4, 3)
    agents = Agents(torch.tensor([int(k) for k in kinds]), size, torch.tensor([0.1, 0.2, 0.4, 0.5]))
    assert AGENT_KINDS == 4
    assert agents.traits.shape == (4, TRAITS)
    for row, (dt_s, traits) in enumerate(zip([0.1, 0.2, 0.4, 0.5], agents.traits, strict=True)):
        one_hot = [float(row == kind) for kind in range(4)]
        expected = [dt_s, math.log(2), math.log(4), *one_hot]
        assert traits.tolist() == pytest.approx(expected)
    assert agents.pedestrian.tolist() == [True, False, False, False]
    assert agents.drives.tolist() == [False, False, True, True]
    assert agents.body_radius_m.tolist() == [1.0] * 4
    for chosen in (torch.tensor([False, True, False, True]), torch.tensor([1, 3])):
        assert agents.select(chosen).kind.tolist() == [AgentKind.CYCLIST, AgentKind.EGO]


def test_noise_is_split_by_futures() -> None:
    count = torch.arange(7.0)
    small = count[None, :, None, None].expand(3, -1, 2, 1)
    noise = Noise(count[:, None, None], small, count, count[:, None, None].expand(-1, 2, 2))
    assert noise.without_mode().mirror.tolist() == [2, 3, 4, 5, 6]
    parts = list(noise.split(2))
    assert [part.mirror.tolist() for part in parts] == [[0, 1], [2, 3], [4, 5], [6]]
    for part in parts:
        assert part.intent.flatten().tolist() == part.mirror.tolist()
        assert part.turn[:, 1, 0].tolist() == part.mirror.tolist()
        assert part.steps.shape == (3, len(part.mirror), 2, 1)
        assert part.steps[1, :, 1, 0].tolist() == part.mirror.tolist()
    moved = noise.to(torch.device("meta"))
    assert {value.device.type for value in moved} == {"meta"}
