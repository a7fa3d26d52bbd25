import numpy as np
import torch
from scipy import stats

from forecast.models.noise import keyed_noise
from forecast.models.world_model import WorldModelConfig

CONFIG = WorldModelConfig(intent=3, noise=2)


def test_noise_belongs_to_the_agent_by_name() -> None:
    all_three = keyed_noise(CONFIG, ["a", "b", "c"], samples=5, steps=4, seed=7)
    two = keyed_noise(CONFIG, ["c", "a"], samples=5, steps=4, seed=7)
    assert torch.equal(two.intent, all_three.intent[:, [2, 0]])
    assert torch.equal(two.steps, all_three.steps[:, :, [2, 0]])


def test_another_seed_or_name_gives_other_noise() -> None:
    one = keyed_noise(CONFIG, ["a", "b"], samples=5, steps=4, seed=7)
    other = keyed_noise(CONFIG, ["a"], samples=5, steps=4, seed=8)
    assert not torch.equal(one.intent[1:, 0], one.intent[1:, 1])
    assert not torch.equal(one.intent[1:, 0], other.intent[1:, 0])


def test_the_mode_has_no_noise() -> None:
    noise = keyed_noise(CONFIG, ["a"], samples=5, steps=4, seed=7)
    assert noise.intent.shape == (6, 1, 3)
    assert noise.steps.shape == (4, 6, 1, 2)
    assert noise.intent[0].eq(0).all()
    assert noise.steps[:, 0].eq(0).all()


def test_noise_is_standard_normal_and_independent_between_agents() -> None:
    names = [str(i) for i in range(400)]
    noise = keyed_noise(CONFIG, names, samples=20, steps=6, seed=0)
    intent, steps = noise.intent[1:].numpy(), noise.steps[:, 1:].numpy()
    # One sample per agent is an independent draw; all samples of one agent are not.
    for draws in (intent[0, :, 0], intent[19, :, 2], steps.reshape(-1)[::7]):
        assert stats.kstest(draws, "norm").pvalue > 1e-3
    between = np.corrcoef(intent[:, :, 0].T)[np.triu_indices(400, 1)]
    assert abs(between.mean()) < 0.01


def test_samples_cover_more_evenly_than_independent_draws() -> None:
    names = [str(i) for i in range(200)]
    ours = keyed_noise(CONFIG, names, samples=20, steps=1, seed=0).intent[1:].numpy()
    independent = np.random.default_rng(0).standard_normal(ours.shape)
    assert ours.mean(0).std() < 0.5 * independent.mean(0).std()
