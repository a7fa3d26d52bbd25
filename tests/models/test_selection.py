import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast import geometry
from forecast.errors import ForecastError
from forecast.models.selection import cluster_centres


def _random(seed, samples=40, agents=3, steps=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, agents, steps, 2, generator=generator, dtype=torch.float64)


def _straight(*ends, repeat):
    """Straight paths to the given points, each repeated with a little noise, ``[M, 1, 4, 2]``."""
    share = torch.arange(1, 5, dtype=torch.float64)[:, None] / 4
    paths = [torch.tensor(end, dtype=torch.float64) * share for end in ends]
    stack = torch.cat([p.expand(n, 4, 2) for p, n in zip(paths, repeat, strict=True)])
    return (stack + 0.01 * _random(0, len(stack), 1)[:, 0])[:, None]


def test_finds_the_bundles_and_their_shares():
    samples = _straight((5, 0), (0, 5), (-5, -5), repeat=(10, 30, 20))
    centres, weights = cluster_centres(samples, 3)
    assert weights[:, 0].tolist() == pytest.approx([30 / 60, 20 / 60, 10 / 60])
    ends = centres[:, 0, -1]
    assert np.allclose(ends, [(0, 5), (-5, -5), (5, 0)], atol=0.05)


def test_paths_with_the_same_end_are_told_apart_by_their_way():
    there = torch.tensor([(1, 3), (2, 0)], dtype=torch.float64)
    here = torch.tensor([(1, -3), (2, 0)], dtype=torch.float64)
    samples = torch.stack([there, there, here])[:, None]
    centres, _ = cluster_centres(samples, 2)
    assert torch.allclose(centres[:, 0], torch.stack([there, here]))


def test_one_representative_is_the_mean():
    samples = _random(1)
    centres, weights = cluster_centres(samples, 1)
    assert torch.allclose(centres[0], samples.mean(0))
    assert weights.tolist() == [[1, 1, 1]]


def test_as_many_as_samples_are_the_samples():
    samples = _random(2, samples=7, agents=1)
    centres, weights = cluster_centres(samples, 7)
    order = torch.cdist(centres.flatten(1), samples.flatten(1)).argmin(1)
    assert sorted(order.tolist()) == list(range(7))
    assert torch.allclose(centres, samples[order])
    assert torch.allclose(weights, torch.full((7, 1), 1 / 7).double())


def test_fewer_different_samples_than_centres():
    samples = torch.zeros(10, 1, 4, 2)
    samples[7:] = 1
    centres, weights = cluster_centres(samples, 4)
    assert weights[:, 0].tolist() == pytest.approx([0.7, 0.3, 0, 0])
    assert torch.allclose(centres[:2, 0, 0, 0], torch.tensor([0.0, 1.0]), atol=1e-6)
    assert centres.isfinite().all()


def test_more_samples_than_candidates_for_the_first_centres():
    samples = _straight((5, 0), (0, 5), repeat=(400, 100))
    generator = torch.Generator().manual_seed(0)
    centres, weights = cluster_centres(samples[torch.randperm(500, generator=generator)], 2)
    assert weights[:, 0].tolist() == pytest.approx([0.8, 0.2])
    assert np.allclose(centres[:, 0, -1], [(5, 0), (0, 5)], atol=0.05)


def _inertia(samples, centres):
    gaps = samples[:, None] - centres[None]
    return gaps.square().sum((-1, -2)).amin(1).sum(0)


def test_no_worse_than_scikit_learn():
    cluster = pytest.importorskip("sklearn.cluster")
    samples = _random(3, samples=100, agents=4)
    ours = _inertia(samples, cluster_centres(samples, 8, iterations=50)[0])
    for agent in range(4):
        paths = samples[:, agent].flatten(1).numpy()
        theirs = cluster.KMeans(8, n_init=1, random_state=0).fit(paths).inertia_
        assert ours[agent].item() < 1.05 * theirs


@given(seed=st.integers(0, 99), k=st.integers(1, 12))
@settings(max_examples=20)
def test_each_centre_is_the_mean_of_its_share(seed, k):
    samples = _random(seed)
    centres, weights = cluster_centres(samples, k, iterations=100)
    owner = (samples[:, None] - centres[None]).square().sum((-1, -2)).argmin(1)  # [M, N]
    for agent in range(3):
        for i in range(k):
            members = samples[owner[:, agent] == i, agent]
            assert weights[i, agent].item() == pytest.approx(len(members) / 40)
            assert torch.allclose(centres[i, agent], members.mean(0))
    assert (weights.diff(dim=0) <= 0).all()
    assert torch.allclose(weights.sum(0), torch.ones(3).double())


@given(seed=st.integers(0, 99), angle=st.floats(-4, 4), x=st.floats(-900, 900))
@settings(max_examples=20)
def test_moves_with_the_world_and_ignores_order(seed, angle, x):
    samples = _random(seed)
    centres, weights = cluster_centres(samples, 5)
    shift, turn = torch.tensor([x, -x], dtype=torch.float64), torch.tensor(angle).double()
    moved, moved_weights = cluster_centres(geometry.from_frame(samples, shift, turn), 5)
    assert torch.allclose(moved, geometry.from_frame(centres, shift, turn), atol=1e-6)
    assert torch.allclose(moved_weights, weights)
    alone = cluster_centres(samples[:, 1:2], 5)
    assert torch.allclose(alone[0], centres[:, 1:2])
    again = cluster_centres(samples, 5)
    assert torch.equal(again[0], centres)
    shuffled = cluster_centres(samples.flip(0), 5)
    assert torch.allclose(shuffled[1], weights)


def test_far_from_the_origin_in_float32():
    samples = _straight((5, 0), (0, 5), repeat=(10, 20)).float()
    far = torch.tensor([1800.0, -900.0])
    centres, weights = cluster_centres(samples + far, 2)
    assert weights[:, 0].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert torch.allclose(centres - far, cluster_centres(samples, 2)[0], atol=1e-3)


def test_best_of_k_gains_over_raw_draws():
    samples, truth = _random(5, samples=200, agents=50, steps=2), _random(6, 1, 50, 2)[0]
    centres, _ = cluster_centres(samples, 10)

    def best(futures):
        return (futures - truth).norm(dim=-1).mean(-1).amin(0).mean()

    assert best(centres) < 0.95 * best(samples[:10])


@pytest.mark.parametrize("k", [0, 41])
def test_k_out_of_range(k):
    with pytest.raises(ForecastError, match=f"k is {k} for 40 samples; 1 to 40 is needed"):
        cluster_centres(_random(0), k)


def test_nobody_to_represent():
    centres, weights = cluster_centres(torch.zeros(10, 0, 4, 2), 3)
    assert centres.shape == (3, 0, 4, 2)
    assert weights.shape == (3, 0)
    assert math.isfinite(centres.sum())
