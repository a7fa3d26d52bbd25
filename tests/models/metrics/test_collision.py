import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast import geometry
from forecast.models.metrics import chunks, ego_collision_rate, pairwise_collision_rate

EGO_SIZE_M = (4.0, 2.0)


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def _paths(*agents):
    """One joint sample ``[1, N, T, 2]``."""
    return torch.tensor([agents], dtype=torch.float64)


def _ego(*poses):
    return torch.tensor(poses, dtype=torch.float64)


ONE = torch.ones(1)


# Pedestrian and pedestrian


def test_agents_that_pass_through_each_other_between_steps():
    heads_on = _paths([(0, 0), (1, 0)], [(1, 0.1), (0, 0.1)], [(0, 9), (1, 9)])
    assert pairwise_collision_rate(heads_on, ONE).tolist() == [1, 1, 0]


def test_crossing_the_same_point_at_different_times_is_no_collision():
    crossing = _paths([(-1, 0), (0, 0), (1, 0)], [(0, 0), (0, 1), (0, 2)])
    assert pairwise_collision_rate(crossing, ONE).tolist() == [0, 0]


@pytest.mark.parametrize(("gap", "hit"), [(0.19, 1), (0.21, 0)])
def test_threshold(gap, hit):
    standing = _paths([(5, 5), (5, 5)], [(5, 5 + gap), (5, 5 + gap)])
    assert pairwise_collision_rate(standing, ONE).tolist() == [hit, hit]
    assert pairwise_collision_rate(standing[:, :, :1], ONE).tolist() == [hit, hit]
    assert pairwise_collision_rate(standing, ONE, threshold_m=0.3).tolist() == [1, 1]


def test_samples_count_by_weight_and_never_mix():
    apart = _paths([(0, 0)], [(5, 0)])
    together = _paths([(5, 0)], [(5, 0)])
    samples = torch.cat([apart, together])
    assert pairwise_collision_rate(samples, torch.tensor([0.75, 0.25])).tolist() == [0.25, 0.25]
    swapped = torch.cat([apart, _paths([(5, 0)], [(0, 0)])])
    assert pairwise_collision_rate(swapped, torch.tensor([0.5, 0.5])).tolist() == [0, 0]


@pytest.mark.parametrize("agents", [0, 1])
def test_a_lone_agent_has_no_collisions(agents):
    result = pairwise_collision_rate(torch.zeros(3, agents, 2, 2), torch.full((3,), 1 / 3))
    assert result.tolist() == [0.0] * agents


def _naive_pairwise(positions, weights, threshold_m, fine=400):
    """Samples the motion between steps densely, pair by pair."""
    rate = [0.0] * positions.shape[1]
    share = torch.linspace(0, 1, fine, dtype=torch.float64)[:, None]
    for sample, weight in zip(positions, weights, strict=True):
        hit = set()
        for i in range(len(sample)):
            for j in range(i):
                gap = sample[i] - sample[j]
                dense = [a + share * (b - a) for a, b in pairwise(gap)]
                if torch.cat(dense).norm(dim=-1).min() < threshold_m:
                    hit |= {i, j}
        for i in hit:
            rate[i] += weight.item()
    return rate


def test_agrees_with_a_loop(monkeypatch):
    positions = torch.randn(4, 5, 4, 2, generator=_generator(0), dtype=torch.float64)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    result = pairwise_collision_rate(positions, weights, threshold_m=0.3)
    assert 0 < result.mean() < 1
    assert result.tolist() == pytest.approx(_naive_pairwise(positions, weights, 0.3))
    monkeypatch.setattr(chunks, "_VALUES_AT_ONCE", 1)
    assert torch.equal(pairwise_collision_rate(positions, weights, threshold_m=0.3), result)


# Pedestrian and ego vehicle


@pytest.mark.parametrize(
    ("point", "hit"),
    [
        ((0, 0), 1),
        ((2.29, 0.9), 1),
        ((2.31, 0.9), 0),
        ((0, 1.29), 1),
        ((0, -1.31), 0),
        ((2.2, 1.2), 1),
        ((2.25, 1.25), 0),  # within 0.3 m along each axis, but 0.35 m from the corner
    ],
)
def test_disc_and_box(point, hit):
    ego = _ego((0, 0, 0))
    assert ego_collision_rate(_paths([point]), ONE, ego, EGO_SIZE_M).tolist() == [hit]


def test_the_box_turns_with_the_ego():
    ahead = _paths([(10, 12)])
    assert ego_collision_rate(ahead, ONE, _ego((10, 10, math.pi / 2)), EGO_SIZE_M).item() == 1
    assert ego_collision_rate(ahead, ONE, _ego((10, 10, 0)), EGO_SIZE_M).item() == 0


def test_a_fast_ego_does_not_jump_over_a_pedestrian():
    standing = _paths([(5, 0), (5, 0)], [(5, 3), (5, 3)])
    ego = _ego((0, 0, 0), (10, 0, 0))
    assert ego_collision_rate(standing, ONE, ego, EGO_SIZE_M).tolist() == [0, 0]
    assert ego_collision_rate(standing, ONE, ego, EGO_SIZE_M, substeps=5).tolist() == [1, 0]


def test_the_ego_turns_the_short_way_round():
    # From 170 to 190 degrees: at 180 the box points along x and misses (0, 1.7); turning the
    # long way it would pass 90 degrees and hit it.
    ego = _ego((0, 0, math.radians(170)), (0, 0, math.radians(-170)))
    beside = _paths([(0, 1.7), (0, 1.7)])
    assert ego_collision_rate(beside, ONE, ego, EGO_SIZE_M, substeps=8).item() == 0
    quarter = _ego((0, 0, math.radians(170)), (0, 0, math.radians(80)))
    assert ego_collision_rate(beside, ONE, quarter, EGO_SIZE_M, substeps=8).item() == 1


def test_ego_hits_count_by_weight():
    samples = torch.cat([_paths([(0, 0)], [(9, 9)]), _paths([(8, 8)], [(9, 9)])])
    rate = ego_collision_rate(samples, torch.tensor([0.3, 0.7]), _ego((0, 0, 0)), EGO_SIZE_M)
    assert rate.tolist() == pytest.approx([0.3, 0])


@given(seed=st.integers(0, 99), angle=st.floats(-7, 7), x=st.floats(-50, 50), y=st.floats(-50, 50))
@settings(max_examples=20)
def test_moving_the_world_changes_nothing(seed, angle, x, y):
    positions = 3 * torch.randn(5, 4, 3, 2, generator=_generator(seed), dtype=torch.float64)
    ego = torch.randn(3, 3, generator=_generator(seed + 1), dtype=torch.float64)
    weights = torch.full((5,), 0.2, dtype=torch.float64)
    shift, turn = torch.tensor([x, y], dtype=torch.float64), torch.tensor(angle).double()
    moved = geometry.from_frame(positions, shift, turn)
    moved_ego = torch.cat([geometry.from_frame(ego[:, :2], shift, turn), ego[:, 2:] + turn], -1)
    assert torch.allclose(
        pairwise_collision_rate(moved, weights, 0.5),
        pairwise_collision_rate(positions, weights, 0.5),
    )
    assert torch.allclose(
        ego_collision_rate(moved, weights, moved_ego, EGO_SIZE_M, substeps=3),
        ego_collision_rate(positions, weights, ego, EGO_SIZE_M, substeps=3),
    )
