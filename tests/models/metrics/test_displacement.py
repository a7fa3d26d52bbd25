import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nuscenes.eval.prediction import metrics as devkit

from forecast import geometry
from forecast.models.metrics import (
    ade,
    brier_min_fde,
    displacement,
    fde,
    jade,
    jfde,
    min_ade,
    min_fde,
    miss_rate_final,
    miss_rate_waymo,
    sample_mean,
)


def _random(seed, samples=6, agents=4, steps=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(samples + 1, agents, steps, 2, generator=generator, dtype=dtype)
    weights = torch.rand(samples, generator=generator, dtype=dtype) + 0.01
    return draws[:-1], draws[-1], weights / weights.sum()


def _lines(*ends):
    """Straight two-step futures of one agent, ``[K, 1, 2, 2]``, that end at the given points."""
    return torch.tensor([[[[x / 2, y / 2], [x, y]]] for x, y in ends], dtype=torch.float64)


def assert_equal(found, expected):
    """The metric and its reference agree to 1e-6 of the value, in single precision too."""
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)


def test_hand_values():
    forecast, truth = _lines((3, 4), (0, 2)), _lines((0, 0))[0]
    assert displacement(forecast, truth).tolist() == [[[2.5, 5.0]], [[1.0, 2.0]]]
    assert ade(forecast, truth).tolist() == [[3.75], [1.5]]
    assert fde(forecast, truth).tolist() == [[5.0], [2.0]]


def test_ade_and_fde_are_minimised_apart():
    truth = torch.zeros(1, 2, 2)
    samples = torch.tensor([[[[0.0, 0.0], [3.0, 0.0]]], [[[4.0, 0.0], [1.0, 0.0]]]])
    assert min_ade(samples, truth, 2).tolist() == [1.5]
    assert min_fde(samples, truth, 2).tolist() == [1.0]


def test_each_agent_has_its_own_best_sample():
    truth = torch.zeros(2, 1, 2)
    samples = torch.tensor([[[[1.0, 0.0]], [[9.0, 0.0]]], [[[9.0, 0.0]], [[2.0, 0.0]]]])
    assert min_ade(samples, truth, 2).tolist() == [1.0, 2.0]


def test_the_k_most_probable_count_and_ties_keep_their_order():
    samples, truth = _lines((5, 0), (3, 0), (1, 0)), _lines((0, 0))[0]
    assert min_fde(samples, truth, 1).item() == 5
    assert min_fde(samples, truth, 2, torch.full((3,), 1 / 3)).item() == 3
    assert min_fde(samples, truth, 1, torch.tensor([0.2, 0.2, 0.6])).item() == 1
    assert min_fde(samples, truth, 2, torch.tensor([0.2, 0.6, 0.2])).item() == 3


def test_too_few_samples_give_nan():
    samples, truth, weights = _random(0, samples=4)
    assert min_ade(samples, truth, 5, weights).isnan().all()
    assert min_fde(samples, truth, 4, weights).isfinite().all()


def test_a_miss_is_the_best_final_displacement_over_the_threshold():
    truth = _lines((0, 0))[0]
    assert miss_rate_final(_lines((2, 0), (9, 0)), truth).tolist() == [0]
    assert miss_rate_final(_lines((2.1, 0), (9, 0)), truth).tolist() == [1]
    assert miss_rate_final(_lines((2.1, 0)), truth, threshold_m=3.0).tolist() == [0]
    passing = torch.tensor([[[[50.0, 0.0], [1.0, 0.0]]]])
    assert miss_rate_final(passing, torch.zeros(1, 2, 2)).tolist() == [0]


def test_brier_adds_the_missing_probability_of_the_best_sample():
    samples, truth = _lines((5, 0), (1, 0)), _lines((0, 0))[0]
    weights = torch.tensor([0.7, 0.3], dtype=torch.float64)
    assert brier_min_fde(samples, truth, weights).item() == pytest.approx(1 + 0.7**2)
    assert brier_min_fde(samples[:1], truth, torch.ones(1)).item() == 5


def test_sample_mean_is_weighted():
    mean = sample_mean(_lines((4, 0), (0, 8)), torch.tensor([0.75, 0.25]))
    assert mean.tolist() == [[[1.5, 1.0], [3.0, 2.0]]]


def test_agrees_with_the_devkit():
    samples, truth, weights = _random(1)
    paths = samples.transpose(0, 1).numpy()  # [N, K, T, 2]
    truths = np.repeat(truth.numpy()[:, None], 6, axis=1)
    probabilities = np.tile(weights.numpy(), (4, 1))
    assert_equal(ade(samples, truth).T, devkit.mean_distances(paths, truths))
    assert_equal(fde(samples, truth).T, devkit.final_distances(paths, truths))
    best_ade = devkit.min_ade_k(paths, truths, probabilities)  # [N, K], column k - 1
    best_fde = devkit.min_fde_k(paths, truths, probabilities)
    for k in range(1, 7):
        assert_equal(min_ade(samples, truth, k, weights), best_ade[:, k - 1])
        assert_equal(min_fde(samples, truth, k, weights), best_fde[:, k - 1])


def test_final_miss_is_the_devkits_miss_on_the_last_step_alone():
    samples, truth, weights = _random(2, samples=3, agents=40)
    last = samples[:, :, -1:].transpose(0, 1).numpy()
    truths = np.repeat(truth[:, None, -1:].numpy(), 3, axis=1)
    missed = devkit.miss_rate_top_k(last, truths, np.tile(weights.numpy(), (40, 1)), 1.0)[:, -1]
    assert 0 < missed.mean() < 1
    assert np.array_equal(miss_rate_final(samples, truth, threshold_m=1.0).numpy(), missed)


def _naive_min(samples, truth, k, weights, error):
    order = sorted(range(len(samples)), key=lambda i: -weights[i])[:k]
    return [min(error(samples[i][a], truth[a]) for i in order) for a in range(len(truth))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_a_loop(dtype):
    samples, truth, weights = _random(3, dtype=dtype)
    paths, real = samples.double().numpy(), truth.double().numpy()
    distance = [np.hypot(*(p - t).T) for p, t in zip(paths[0], real, strict=True)]
    assert_equal(ade(samples[0], truth), [d.mean() for d in distance])
    expected = _naive_min(
        paths,
        real,
        3,
        weights.tolist(),
        lambda p, t: np.hypot(*(p - t).T).mean(),
    )
    result = min_ade(samples, truth, 3, weights)
    assert result.dtype == dtype
    assert_equal(result, expected)


SCORES = {
    "min_ade": lambda s, t, w: min_ade(s, t, 3, w),
    "min_fde": lambda s, t, w: min_fde(s, t, 3, w),
    "brier_min_fde": brier_min_fde,
    "miss_rate_final": lambda s, t, w: miss_rate_final(s, t, 1.0),
    "mean": lambda s, t, w: ade(sample_mean(s, w), t),
}


@pytest.mark.parametrize("name", SCORES)
@settings(max_examples=15)
@given(seed=st.integers(0, 99), angle=st.floats(-7, 7), x=st.floats(-50, 50), y=st.floats(-50, 50))
def test_moving_the_world_and_reordering_change_nothing(name, seed, angle, x, y):
    samples, truth, weights = _random(seed)
    score, shift = SCORES[name], torch.tensor([x, y], dtype=torch.float64)
    before = score(samples, truth, weights)
    turn = torch.tensor(angle, dtype=torch.float64)
    moved = [geometry.from_frame(value, shift, turn) for value in (samples, truth)]
    assert torch.allclose(score(*moved, weights), before, atol=1e-9)
    generator = torch.Generator().manual_seed(seed)
    draws, agents = (torch.randperm(size, generator=generator) for size in samples.shape[:2])
    assert torch.allclose(score(samples[draws], truth, weights[draws]), before)
    assert torch.allclose(score(samples[:, agents], truth[agents], weights), before[agents])


@given(seed=st.integers(0, 99))
@settings(max_examples=20)
def test_more_samples_never_hurt(seed):
    samples, truth, weights = _random(seed)
    for function in (min_ade, min_fde):
        best = torch.stack([function(samples, truth, k, weights) for k in range(1, 7)])
        assert (best.diff(dim=0) <= 0).all()


class TestWaymoMissRate:
    """Thresholds of the Waymo Open Dataset at 3, 5 and 8 s, for slow and for fast agents."""

    @pytest.mark.parametrize(("time_s", "lateral_m"), [(3.0, 1.0), (5.0, 1.8), (8.0, 3.0)])
    @pytest.mark.parametrize(("speed_mps", "scale"), [(0.5, 0.5), (6.2, 0.75), (20.0, 1.0)])
    @pytest.mark.parametrize(("along", "threshold"), [(True, 2.0), (False, 1.0)])
    def test_thresholds(self, time_s, lateral_m, speed_mps, scale, along, threshold):
        heading = 0.7
        forward = torch.tensor([math.cos(heading), math.sin(heading)])
        side = torch.stack([-forward[1], forward[0]])
        limit = lateral_m * scale * threshold
        for share, missed in ((0.99, 0.0), (1.01, 1.0)):
            offset = share * limit * (forward if along else side)
            found = miss_rate_waymo(
                offset.expand(1, 1, 1, 2),
                torch.zeros(1, 1, 2),
                torch.full((1, 1), heading),
                torch.tensor([speed_mps]),
                0,
                time_s,
            )
            assert found.item() == missed

    def test_one_near_sample_is_enough(self):
        samples = torch.tensor([[9.0, 9.0], [0.1, 0.1]])[:, None, None]
        found = miss_rate_waymo(
            samples, torch.zeros(1, 1, 2), torch.zeros(1, 1), torch.ones(1), 0, 3.0
        )
        assert found.item() == 0


def test_the_joint_error_chooses_one_sample_for_all_agents():
    truth = torch.zeros(2, 1, 2)
    samples = torch.tensor(
        [[[[1.0, 0.0]], [[9.0, 0.0]]], [[[9.0, 0.0]], [[2.0, 0.0]]], [[[4.0, 0.0]], [[4.0, 0.0]]]]
    )
    assert jade(samples, truth).item() == 4
    assert jfde(samples, truth).item() == 4
    assert jade(samples[:2], truth).item() == 5


def test_the_joint_error_is_over_the_k_most_probable_samples():
    truth = torch.zeros(2, 1, 2)
    samples = torch.tensor([1.0, 2.0, 3.0])[:, None, None, None] * torch.tensor([1.0, 0.0])
    samples = samples.expand(3, 2, 1, 2)
    weights = torch.tensor([0.2, 0.3, 0.5])
    for function in (jade, jfde):
        assert function(samples, truth, 2).item() == 1
        assert function(samples, truth, 1, weights).item() == 3
        assert function(samples, truth, 2, weights).item() == 2
        assert function(samples, truth, 3, weights) == function(samples, truth)
        assert function(samples, truth, 4).isnan()


@given(seed=st.integers(0, 99))
@settings(max_examples=20)
def test_the_joint_error_agrees_with_a_loop_and_is_never_below_the_marginal_one(seed):
    samples, truth = _random(seed, samples=7, agents=5, steps=4)[:2]
    assert torch.isclose(jade(samples, truth), min(ade(one, truth).mean() for one in samples))
    assert torch.isclose(jfde(samples, truth), min(fde(one, truth).mean() for one in samples))
    assert jade(samples, truth) >= min_ade(samples, truth, 7).mean()
    assert jfde(samples, truth) >= min_fde(samples, truth, 7).mean()


def test_shuffling_the_samples_of_one_agent_changes_the_joint_error_only():
    truth = torch.zeros(2, 3, 2)
    samples = torch.arange(4.0)[:, None, None, None].expand(4, 2, 3, 2).clone()
    shuffled = torch.stack([samples[:, 0], samples[[3, 2, 1, 0], 1]], 1)
    assert torch.equal(min_ade(samples, truth, 4), min_ade(shuffled, truth, 4))
    assert jade(samples, truth) == 0
    assert jade(shuffled, truth) > 1
