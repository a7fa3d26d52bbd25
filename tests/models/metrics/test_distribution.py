import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gaussian_kde

from forecast import geometry
from forecast.models.metrics import (
    LOG_DENSITY_FLOOR_NATS,
    MIN_SPREAD_M,
    ade,
    chunks,
    coverage,
    credibility,
    energy_score,
    kde_nll,
    sample_mean,
    spread,
)
from forecast.models.metrics.distribution import sample_energy_score

LEVELS = (0.5, 0.8, 0.9, 0.95)


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def _random(seed, samples=6, agents=4, steps=3, dtype=torch.float64):
    draws = torch.randn(samples + 1, agents, steps, 2, generator=_generator(seed), dtype=dtype)
    weights = torch.rand(samples, generator=_generator(seed), dtype=dtype) + 0.05
    return draws[:-1], draws[-1], weights / weights.sum()


def _equal(count, dtype=torch.float64):
    return torch.full((count,), 1 / count, dtype=dtype)


def _at(*points):
    """One agent, one step: ``[K, 1, 1, 2]``."""
    return torch.tensor(points, dtype=torch.float64)[:, None, None]


# Spread


def test_spread_by_hand():
    samples = _at((0, 0), (4, 0))
    assert spread(samples, _equal(2)).item() == pytest.approx(math.sqrt(8))  # draws: unbiased
    weights = torch.tensor([0.75, 0.25], dtype=torch.float64)  # the distribution itself
    assert spread(samples, weights).item() == pytest.approx(math.sqrt(0.75 * 1 + 0.25 * 9))
    assert spread(samples[:1], _equal(1)).isnan().all()


def test_spread_is_the_error_of_the_mean_where_the_truth_is_one_more_draw():
    samples, truth, _ = _random(0, samples=5, agents=4000)
    weights = _equal(5)
    error = (sample_mean(samples, weights) - truth).square().sum(-1).mean()
    found = spread(samples, weights).square().mean()
    assert error.item() == pytest.approx(found.item() * (1 + 1 / 5), rel=0.03)


# Energy score


def test_the_score_of_trajectories_is_that_of_their_norm():
    """With a norm of whole trajectories the samples are points of a higher dimension."""
    samples, truth, _ = _random(5)

    def norm(difference):
        return difference.flatten(-2).norm(dim=-1)

    error = sum(norm(sample - truth) for sample in samples) / 6
    pairs = [norm(samples[i] - samples[j]) for i in range(6) for j in range(6) if i != j]
    expected = error - sum(pairs) / 30 / 2
    torch.testing.assert_close(sample_energy_score(samples, truth, norm), expected)
    equal = sample_energy_score(samples, truth, norm, _equal(6))
    torch.testing.assert_close(equal, error - sum(pairs) / 36 / 2)


def test_the_energy_score_has_a_gradient():
    samples, truth, _ = _random(6)

    def norm(difference):
        return (difference.square().sum(-1) + 1e-8).sqrt()

    samples.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: sample_energy_score(s, truth, norm), samples)


def test_energy_score_by_hand():
    samples, truth = _at((0, 0), (4, 0)), torch.zeros(1, 1, 2, dtype=torch.float64)
    assert energy_score(samples, truth, _equal(2)).item() == pytest.approx(2 - 0.5 * 4)
    weights = torch.tensor([0.75, 0.25], dtype=torch.float64)  # the distribution itself, not draws
    spread = 2 * 0.75 * 0.25 * 4
    assert energy_score(samples, truth, weights).item() == pytest.approx(1 - 0.5 * spread)


def test_energy_score_of_one_sample_is_its_ade():
    samples, truth, _ = _random(0, samples=1)
    one = torch.ones(1, dtype=torch.float64)
    one_by_one = energy_score(samples, truth, one)
    torch.testing.assert_close(one_by_one, ade(samples[0], truth), rtol=1e-6, atol=0)


@pytest.mark.parametrize("draws", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_energy_score_agrees_with_a_loop(dtype, draws):
    samples, truth, weights = _random(1, dtype=dtype)
    weights = _equal(6).to(dtype) if draws else weights
    x, y, w = samples.double().numpy(), truth.double().numpy(), weights.double().numpy()
    different = [(i, j) for i in range(6) for j in range(6) if i != j]
    pairs = sum(w[i] * w[j] for i, j in different) if draws else 1.0
    for agent in range(4):
        total = 0.0
        for step in range(3):
            p = x[:, agent, step]
            total += sum(w[i] * math.dist(p[i], y[agent, step]) for i in range(6))
            total -= sum(w[i] * w[j] * math.dist(p[i], p[j]) for i, j in different) / pairs / 2
        result = energy_score(samples, truth, weights)[agent]
        assert result.item() == pytest.approx(total / 3, rel=1e-6, abs=0)


def test_energy_score_does_not_depend_on_the_number_of_samples():
    truth = torch.randn(20_000, 1, 2, generator=_generator(3))
    scores = {}
    for count in (2, 8):
        samples = torch.randn(count, 20_000, 1, 2, generator=_generator(count))
        scores[count] = energy_score(samples, truth, _equal(count))
    gap = scores[2].mean() - scores[8].mean()
    assert abs(gap) < 4 * (scores[2].var() + scores[8].var()).div(20_000).sqrt()
    # E|X - y| - E|X - X'| / 2 of a standard normal in the plane: half of E|X - X'| = sqrt(pi)
    assert scores[8].mean().item() == pytest.approx(math.sqrt(math.pi) / 2, abs=0.02)


@pytest.mark.parametrize(("shift", "scale"), [(0.5, 1.0), (0.0, 0.5), (0.0, 2.0)])
def test_energy_score_prefers_the_true_distribution(shift, scale):
    truth = torch.randn(5_000, 1, 2, generator=_generator(3))
    samples = torch.randn(20, 5_000, 1, 2, generator=_generator(4))
    honest = energy_score(samples, truth, _equal(20)).mean()
    assert energy_score(samples * scale + shift, truth, _equal(20)).mean() > honest + 0.02


# KDE-NLL


def _scipy_nll(samples, truth, weights):
    nll = np.full(truth.shape[:2], np.nan)
    for agent, step in np.ndindex(nll.shape):
        kde = gaussian_kde(samples[:, agent, step].T, weights=weights)
        spread = np.sqrt(np.linalg.eigvalsh(np.cov(samples[:, agent, step].T, aweights=weights)))
        if spread[0] > MIN_SPREAD_M:
            nll[agent, step] = min(20, -kde.logpdf(truth[agent, step])[0])
    return nll


@given(seed=st.integers(0, 999), samples=st.integers(3, 25), scale=st.sampled_from([0.01, 1, 30]))
@settings(max_examples=25)
def test_kde_agrees_with_scipy(seed, samples, scale):
    x, y, weights = _random(seed, samples=samples)
    for w in (weights, _equal(samples)):
        expected = _scipy_nll(x.numpy() * scale, y.numpy() * scale, w.numpy())
        result = kde_nll(x * scale, y * scale, w)
        assert np.allclose(result, expected, rtol=0, atol=1e-6, equal_nan=True)


def test_kde_of_float32_far_from_the_origin():
    x, y, weights = _random(5, samples=20, dtype=torch.float32)
    far = torch.tensor([1500.0, -800.0])
    result = kde_nll(x + far, y + far, weights)
    assert result.dtype == torch.float32
    assert torch.allclose(result, kde_nll(x, y, weights), atol=1e-2)


def test_kde_of_samples_along_a_slanted_axis():
    x, y, weights = _random(6, samples=20)
    squeeze = torch.tensor([1.0, 0.01], dtype=torch.float64)
    turn = torch.tensor(1.1, dtype=torch.float64)
    x, y = geometry.rotate(x * squeeze, turn), geometry.rotate(y * squeeze, turn)
    expected = _scipy_nll(x.numpy(), y.numpy(), weights.numpy())
    assert np.allclose(kde_nll(x, y, weights), expected, rtol=0, atol=1e-6)


def test_kde_floor():
    x, _, weights = _random(7, samples=20)
    far = torch.full((4, 3, 2), 1e4, dtype=torch.float64)
    assert (kde_nll(x, far, weights) == -LOG_DENSITY_FLOOR_NATS).all()


@pytest.mark.parametrize(
    "samples",
    [
        _at((1, 2)),
        _at((1, 2), (1, 2), (1, 2)),
        _at((0, 0), (0, 1), (0, 3)),
        _at((0, 0), (1, 0), (3, 0)),
        _at((0, 0), (1, 2), (3, 6)),
        _at((0, 0), (1e-5, 0), (0, 1e-5)),
    ],
    ids=["one", "same", "vertical", "horizontal", "slanted", "tiny"],
)
def test_samples_without_a_density_give_nan(samples):
    truth = torch.zeros(1, 1, 2, dtype=torch.float64)
    assert kde_nll(samples, truth, _equal(len(samples))).isnan().all()


def test_one_degenerate_step_leaves_the_others():
    x, y, weights = _random(8)
    x[:, 1, 2] = 0
    missing = kde_nll(x, y, weights).isnan()
    assert missing.nonzero().tolist() == [[1, 2]]


# Credibility and coverage


def _naive_credibility(samples, truth):
    """Rank by kernel densities of the other points, one point after the other."""
    pool = np.concatenate([samples, truth[None]])
    kernel = np.linalg.inv(np.cov(pool.T) * len(pool) ** (-2 / 6))
    density = []
    for i, point in enumerate(pool):
        gaps = np.delete(pool, i, axis=0) - point
        density.append(np.exp(-np.einsum("pi,ij,pj->p", gaps, kernel, gaps) / 2).sum())
    rank = sum(value > density[-1] for value in density[:-1])
    return (rank + 0.5) / len(pool)


def test_credibility_agrees_with_a_loop():
    x, y, _ = _random(9, samples=12)
    result = credibility(x, y, _equal(12))
    for agent in range(4):
        for step in range(3):
            expected = _naive_credibility(x[:, agent, step].numpy(), y[agent, step].numpy())
            assert result[agent, step].item() == pytest.approx(expected, rel=1e-6, abs=0)


@given(seed=st.integers(0, 999), samples=st.integers(3, 9))
@settings(max_examples=30)
def test_each_point_of_the_pool_gets_its_own_rank(seed, samples):
    # So for a truth that is one of K + 1 exchangeable points the rank is exactly uniform.
    pool = torch.randn(samples + 1, 2, generator=_generator(seed), dtype=torch.float64) ** 3
    truth = pool[:, None]  # one "agent" for each choice of the truth
    others = torch.stack([torch.cat([pool[:i], pool[i + 1 :]]) for i in range(samples + 1)], 1)
    levels = credibility(others[:, :, None], truth, _equal(samples))[:, 0].sort().values
    slots = (torch.arange(samples + 1) + 0.5) / (samples + 1)
    assert torch.allclose(levels, slots.double())


def _bimodal(shape, generator):
    side = torch.where(torch.rand(shape, generator=generator) < 0.3, -4.0, 4.0)
    return torch.randn(*shape, 2, generator=generator) + side[..., None]


DISTRIBUTIONS = {
    "normal": lambda shape, g: torch.randn(*shape, 2, generator=g) * torch.tensor([3.0, 0.2]),
    "bimodal": _bimodal,
    "heavy tails": lambda shape, g: torch.randn(*shape, 2, generator=g) ** 3,
}


@pytest.mark.parametrize("samples", [5, 20])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_calibrated_sampler_covers_as_it_says(name, samples):
    agents = 4_000
    draws = DISTRIBUTIONS[name]((samples + 1, agents, 1), _generator(samples))
    level = credibility(draws[:-1], draws[-1], _equal(samples))
    for nominal in LEVELS:
        share = coverage(level, nominal, _equal(samples)).double()
        assert abs(share.mean() - nominal) < 4 * share.std() / math.sqrt(agents)
        slot = 1 / (samples + 1)
        counted = (level <= nominal).double().mean()
        assert abs(counted - nominal) < slot / 2 + 4 * math.sqrt(0.25 / agents)


def test_coverage_shows_over_and_under_confidence():
    draws = torch.randn(21, 2_000, 1, 2, generator=_generator(11))
    truth, weights = draws[-1], _equal(20)
    narrow = coverage(credibility(draws[:-1] * 0.5, truth, weights), 0.9, weights).mean()
    wide = coverage(credibility(draws[:-1] * 2.0, truth, weights), 0.9, weights).mean()
    assert narrow < 0.6
    assert wide > 0.97


def test_coverage_by_hand():
    weights = _equal(4)  # slots of 0.2
    levels = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9, float("nan")], dtype=torch.float64)
    share = coverage(levels, 0.5, weights)
    assert share[:5].tolist() == pytest.approx([1, 1, 0.5, 0, 0])
    assert share[5].isnan()
    assert coverage(levels[:5], 1.0, weights).tolist() == pytest.approx([1.0] * 5)


def test_credibility_by_hand():
    ring = [(math.cos(i), math.sin(i)) for i in range(6)]
    samples = _at(*ring, *[(x / 2, y / 2) for x, y in ring])
    origin = torch.zeros(1, 1, 2, dtype=torch.float64)
    assert credibility(samples, origin, _equal(12)).item() == pytest.approx(0.5 / 13)
    assert credibility(samples, origin + 1e3, _equal(12)).item() == pytest.approx(12.5 / 13)


def test_a_heavier_sample_counts_more():
    samples = _at((0, 0), (0.1, 0), (0, 0.1), (5, 5), (5.1, 5), (5, 5.1))
    truth = _at((5.05, 5.05))[0]
    light = torch.tensor([0.3, 0.3, 0.3, 0.1 / 3, 0.1 / 3, 0.1 / 3], dtype=torch.float64)
    assert credibility(samples, truth, light) > credibility(samples, truth, light.flip(0))


@pytest.mark.parametrize("samples", [_at((1, 2)), _at((1, 2), (2, 1))], ids=["one", "two"])
def test_a_deterministic_forecast_has_no_credibility(samples):
    truth = torch.zeros(1, 1, 2, dtype=torch.float64)
    level = credibility(samples, truth, _equal(len(samples)))
    assert level.isnan().all()
    assert coverage(level, 0.9, _equal(len(samples))).isnan().all()


@pytest.mark.parametrize("apart_m", [0.0, 1e-5, 1e-3], ids=["same", "tiny", "millimetres"])
def test_samples_on_a_point_miss_a_truth_elsewhere(apart_m):
    """Otherwise who states nothing but a point is left out where it is wrong."""
    ring = [(apart_m * math.cos(i), apart_m * math.sin(i)) for i in range(20)]
    truth = torch.full((1, 1, 2), 3.0, dtype=torch.float64)  # 4.2 m off
    level = credibility(_at(*ring), truth, _equal(20))
    assert level.item() == pytest.approx(20.5 / 21)
    assert coverage(level, 0.9, _equal(20)).item() == 0
    assert coverage(level, 0.95, _equal(20)).item() == 0


def test_samples_on_the_truth_have_no_credibility():
    truth = torch.zeros(1, 1, 2, dtype=torch.float64)
    assert credibility(_at(*[(0, 0)] * 4), truth, _equal(4)).isnan().all()
    assert credibility(_at(*[(0, 0)] * 4), truth + 5e-5, _equal(4)).isnan().all()


def test_samples_of_no_weight_do_not_keep_the_others_from_coinciding():
    weights = torch.tensor([1.0, 1, 1, 1, 0], dtype=torch.float64) / 4
    samples = _at((0, 0), (0, 0), (0, 0), (0, 0), (5, 5))
    truth = _at((3, 0))[0]
    assert credibility(samples, truth, weights).item() == pytest.approx(4.5 / 5)


# All of them

SCORES = {"energy": energy_score, "kde": kde_nll, "credibility": credibility}


@pytest.mark.parametrize("name", SCORES)
@settings(max_examples=10)
@given(seed=st.integers(0, 99), angle=st.floats(-7, 7), x=st.floats(-50, 50), y=st.floats(-50, 50))
def test_moving_the_world_and_reordering_change_nothing(name, seed, angle, x, y):
    samples, truth, weights = _random(seed)
    score, shift = SCORES[name], torch.tensor([x, y], dtype=torch.float64)
    before = score(samples, truth, weights)
    turn = torch.tensor(angle, dtype=torch.float64)
    moved = [geometry.from_frame(value, shift, turn) for value in (samples, truth)]
    assert torch.allclose(score(*moved, weights), before, atol=1e-6)
    draws, agents = (torch.randperm(size, generator=_generator(seed)) for size in (6, 4))
    assert torch.allclose(score(samples[draws], truth, weights[draws]), before)
    assert torch.allclose(score(samples[:, agents], truth[agents], weights), before[agents])


@pytest.mark.parametrize("name", SCORES)
def test_no_agents_give_no_values(name):
    samples, truth, weights = _random(0, agents=0)
    assert len(SCORES[name](samples, truth, weights)) == 0


@pytest.mark.parametrize("name", SCORES)
def test_working_in_small_pieces_changes_nothing(name, monkeypatch):
    samples, truth, weights = _random(12, agents=7)
    whole = SCORES[name](samples, truth, weights)
    monkeypatch.setattr(chunks, "_VALUES_AT_ONCE", 100)
    assert torch.allclose(SCORES[name](samples, truth, weights), whole)
