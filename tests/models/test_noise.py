import numpy as np
import torch
from scipy import stats

from forecast.models.noise import keyed_noise, window_noise
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
    assert not torch.equal(one.intent[2:, 0], one.intent[2:, 1])
    assert not torch.equal(one.intent[2:, 0], other.intent[2:, 0])


def test_the_mode_has_no_noise() -> None:
    noise = keyed_noise(CONFIG, ["a"], samples=5, steps=4, seed=7)
    assert noise.intent.shape == (7, 1, 3)
    assert noise.steps.shape == (4, 7, 1, 2)
    assert noise.intent[:2].eq(0).all()
    assert noise.steps[:, :2].eq(0).all()
    assert noise.mirror[:2].tolist() == [1, -1]


def test_more_samples_or_steps_leave_the_numbers_there_were() -> None:
    few = keyed_noise(CONFIG, ["a", "b"], samples=3, steps=2, seed=7)
    more = keyed_noise(CONFIG, ["a", "b"], samples=9, steps=5, seed=7)
    assert torch.equal(more.intent[:5], few.intent)
    assert torch.equal(more.steps[:2, :5], few.steps)
    assert torch.equal(more.mirror[:5], few.mirror)


def test_both_chiralities_come_in_pairs_of_either_order() -> None:
    drawn = [keyed_noise(CONFIG, ["a"], samples=40, steps=1, seed=i).mirror[2:] for i in range(50)]
    pairs = torch.stack(drawn).view(50, 20, 2)
    assert pairs.abs().eq(1).all()
    assert pairs.sum(-1).eq(0).all()
    share = pairs[..., 0].gt(0).float().mean(1)
    assert 0.4 < share.mean() < 0.6
    assert share.std() > 0.05


def test_noise_is_standard_normal_and_independent() -> None:
    names = [str(i) for i in range(400)]
    noise = keyed_noise(CONFIG, names, samples=20, steps=6, seed=0)
    intent, steps = noise.intent[2:].numpy(), noise.steps[:, 2:].numpy()
    for draws in (intent.ravel(), steps.ravel()):
        assert stats.kstest(draws, "norm").pvalue > 1e-3
    of_sample = steps.transpose(1, 0, 2, 3).reshape(20, -1)
    assert abs(np.corrcoef(of_sample)[np.triu_indices(20, 1)]).max() < 5 / np.sqrt(6 * 400 * 2)
    numbers = np.concatenate([intent, *steps], axis=-1).reshape(20 * 400, -1)
    between = np.corrcoef(numbers.T)[np.triu_indices(numbers.shape[1], 1)]
    assert abs(between).max() < 5 / np.sqrt(len(numbers))


def test_intents_are_spread_evenly_for_each_agent_and_independently_of_another() -> None:
    noise = keyed_noise(CONFIG, [str(i) for i in range(400)], samples=16, steps=1, seed=0)
    part = (16 * torch.special.ndtr(noise.intent[2:].double())).long()  # of 16 equal ones
    assert part.sort(dim=0).values.eq(torch.arange(16)[:, None, None]).all()
    high = (part[..., 0] >= 8).double()
    both = (high[:, ::2] * high[:, 1::2]).mean(0)  # share of samples with two of them in it
    assert abs(both.mean() - 0.25) < 0.02
    assert both.std() < 0.12  # 0.25 if their upper halves were of the same or of opposite samples


def test_the_noise_of_a_window_depends_on_its_seed_alone() -> None:
    one = window_noise(CONFIG, [7, 8], [2, 3], samples=40, steps=4)
    other = window_noise(CONFIG, [9, 8], [4, 3], samples=40, steps=4)
    assert torch.equal(one.intent[:, 2:], other.intent[:, 4:])
    assert torch.equal(one.steps[:, :, 2:], other.steps[:, :, 4:])
    assert torch.equal(one.mirror[:, 2:], other.mirror[:, 4:])
    assert not torch.equal(one.intent[2:, :2], other.intent[2:, :2])


def test_the_noise_of_a_window_begins_with_the_mode_and_has_one_chirality_per_future() -> None:
    noise = window_noise(CONFIG, [7, 8], [2, 3], samples=40, steps=4)
    assert noise.intent.shape == (42, 5, 3)
    assert noise.steps.shape == (4, 42, 5, 2)
    assert noise.intent[:2].eq(0).all()
    assert noise.steps[:, :2].eq(0).all()
    assert noise.steps[:, 2:].ne(0).all()
    assert noise.mirror[:2].T.tolist() == [[1, -1]] * 5
    for mine in (noise.mirror[2:, :2], noise.mirror[2:, 2:]):
        assert mine.eq(mine[:, :1]).all()
        assert 10 < mine[:, 0].eq(1).sum() < 30
    assert not torch.equal(noise.mirror[:, 0], noise.mirror[:, 2])


def test_turns_are_spread_evenly_and_the_mode_has_none() -> None:
    noise = keyed_noise(WorldModelConfig(), ["a", "b"], 64, 1, seed=0)
    assert noise.turn.shape == (66, 2, 2)
    assert not noise.turn[:2].any()
    torch.testing.assert_close(noise.turn[2:].norm(dim=-1), torch.ones(64, 2))
    eighth = (torch.atan2(noise.turn[2:, 0, 1], noise.turn[2:, 0, 0]) / (torch.pi / 4)).floor()
    assert torch.unique(eighth, return_counts=True)[1].tolist() == [8] * 8
    more = keyed_noise(WorldModelConfig(), ["b"], 80, 1, seed=0)
    torch.testing.assert_close(more.turn[:66, 0], noise.turn[:, 1])
