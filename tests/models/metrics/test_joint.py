import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast.models.metrics import ade, fde, jade, jfde, min_ade, min_fde


def _random(seed):
    draws = torch.randn(8, 5, 4, 2, generator=torch.Generator().manual_seed(seed))
    return draws[:-1], draws[-1]


def test_one_sample_serves_all_agents():
    truth = torch.zeros(2, 1, 2)
    samples = torch.tensor(
        [[[[1.0, 0.0]], [[9.0, 0.0]]], [[[9.0, 0.0]], [[2.0, 0.0]]], [[[4.0, 0.0]], [[4.0, 0.0]]]]
    )
    assert jade(samples, truth).item() == 4
    assert jfde(samples, truth).item() == 4
    assert jade(samples[:2], truth).item() == 5


def test_the_k_most_probable_samples_count():
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
def test_agrees_with_a_loop_and_is_never_below_the_marginal_score(seed):
    samples, truth = _random(seed)
    assert torch.isclose(jade(samples, truth), min(ade(one, truth).mean() for one in samples))
    assert torch.isclose(jfde(samples, truth), min(fde(one, truth).mean() for one in samples))
    assert jade(samples, truth) >= min_ade(samples, truth, 7).mean()
    assert jfde(samples, truth) >= min_fde(samples, truth, 7).mean()


def test_shuffling_one_agents_samples_breaks_the_joint_score_alone():
    truth = torch.zeros(2, 3, 2)
    samples = torch.arange(4.0)[:, None, None, None].expand(4, 2, 3, 2).clone()
    shuffled = torch.stack([samples[:, 0], samples[[3, 2, 1, 0], 1]], 1)
    assert torch.equal(min_ade(samples, truth, 4), min_ade(shuffled, truth, 4))
    assert jade(samples, truth) == 0
    assert jade(shuffled, truth) > 1
