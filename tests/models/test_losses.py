import pytest
import torch

from forecast.models.losses import LossConfig, displacement_loss, energy_score, rollout_loss

FULL = torch.ones(1, 2, dtype=torch.bool)


def constant(*x: float) -> torch.Tensor:
    """Samples ``[S, 1, 2, 2]`` that stay at x."""
    return torch.tensor(x)[:, None, None, None] * torch.tensor([1.0, 0.0]).expand(1, 2, 2)


def test_energy_score_by_hand() -> None:
    # Samples at 0 and 2, truth at 1: E|X - y| = 1, E|X - X'| = 2 (unbiased), so 1 - 2 / 2 = 0.
    score = energy_score(constant(0.0, 2.0), constant(1.0)[0], FULL)
    torch.testing.assert_close(score, torch.zeros(1), atol=1e-3, rtol=0)
    score = energy_score(constant(0.0, 2.0), constant(4.0)[0], FULL)  # 3 - 1
    torch.testing.assert_close(score, torch.tensor([2.0]), atol=1e-3, rtol=0)


def test_energy_score_is_least_for_the_true_distribution() -> None:
    torch.manual_seed(0)
    truths = torch.randn(2000, 1, 2)
    mask = torch.ones(2000, 1, dtype=torch.bool)

    def score(spread: float, shift: float = 0.0) -> float:
        samples = spread * torch.randn(64, 2000, 1, 2) + shift
        return float(energy_score(samples, truths, mask).mean())

    best = score(1.0)
    assert best < min(score(0.5), score(1.7), score(1.0, shift=0.5))


def test_steps_without_truth_do_not_count() -> None:
    truth = torch.tensor([[[0.0, 0.0], [float("inf"), 0.0]]]).nan_to_num(posinf=1e6)
    mask = torch.tensor([[True, False]])
    future = torch.zeros(1, 2, 2)
    torch.testing.assert_close(
        displacement_loss(future, truth, mask), torch.zeros(1), atol=1e-3, rtol=0
    )


def test_displacement_is_the_mean_plus_the_last_known_step() -> None:
    truth = torch.zeros(1, 3, 2)
    future = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [100.0, 0.0]]])
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(displacement_loss(future, truth, mask), torch.tensor([2.0 + 3.0]))


def test_agents_count_by_weight_and_not_at_all_without_a_future() -> None:
    truth = torch.zeros(3, 2, 2)
    mask = torch.tensor([[True, True], [True, True], [False, False]])
    mode = torch.tensor([1.0, 3.0, 50.0])[:, None, None] * torch.tensor([1.0, 0.0]).expand(3, 2, 2)
    samples = mode.expand(2, 3, 2, 2)
    weight = torch.tensor([1.0, 0.5, 1.0])
    parts = rollout_loss(samples, mode, truth, mask, weight, LossConfig(best_of=0.5, mode=0.5))
    expected = (1.0 * 2.0 + 0.5 * 6.0) / 1.5  # mean plus last step: 2 and 6
    assert float(parts["mode"]) == pytest.approx(expected, abs=1e-3)
    assert float(parts["best_of"]) == pytest.approx(expected, abs=1e-3)
    assert float(parts["energy_score"]) == pytest.approx(expected / 2, abs=1e-3)
    assert float(parts["loss"]) == pytest.approx(1.5 * expected, abs=2e-3)
