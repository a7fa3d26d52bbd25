import math

import pytest
import torch

from forecast.errors import ForecastError
from forecast.models.losses import (
    LossConfig,
    decision_loss,
    displacement_loss,
    effect_error,
    energy_score,
    placebo_error,
    rollout_loss,
)
from forecast.scene.agents import Decision

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
    parts = rollout_loss(
        [samples], mode, truth, mask, weight, torch.ones(3), LossConfig(best_of=0.5, mode=0.5)
    )
    expected = (1.0 * 2.0 + 0.5 * 6.0) / 1.5  # mean plus last step: 2 and 6
    assert float(parts["mode"]) == pytest.approx(expected, abs=1e-3)
    assert float(parts["best_of"]) == pytest.approx(expected, abs=1e-3)
    assert float(parts["energy_score"]) == pytest.approx(expected / 2, abs=1e-3)
    assert float(parts["loss"]) == pytest.approx(1.5 * expected, abs=2e-3)


def test_how_much_windows_count_scales_their_agents_and_not_the_others() -> None:
    """Means over many small batches are those of draws that all count alike."""
    truth, mask = torch.zeros(2, 2, 2), torch.ones(2, 2, dtype=torch.bool)
    mode = torch.tensor([1.0, 3.0])[:, None, None] * torch.tensor([1.0, 0.0]).expand(2, 2, 2)
    samples, ones = mode.expand(2, 2, 2, 2), torch.ones(2)
    counts = torch.tensor([0.25, 1.5])
    parts = rollout_loss([samples], mode, truth, mask, ones, counts, LossConfig())
    assert float(parts["mode"]) == pytest.approx((0.25 * 2.0 + 1.5 * 6.0) / 2, abs=1e-3)
    assert float(parts["weight"]) == 2


def along(*x: list[list[float]]) -> torch.Tensor:
    """Futures ``[S, N, T, 2]`` along the x axis, by sample, agent and step."""
    values = torch.tensor(x)
    return torch.stack([values, torch.zeros_like(values)], -1)


def test_the_error_of_an_effect_by_hand() -> None:
    """The plan moves the first agent by 1.5 m; the samples say by 1, 2, 3 and 4 m.

    Of the first two samples the mean error is 0, of the others 2. Of the second agent they are
    1 and -1 at the known step; the other step does not count.
    """
    one = along([[7.0], [1.0]], [[8.0], [2.0]], [[9.0], [3.0]], [[5.0], [4.0]]).expand(4, 2, 2, 2)
    effect = along([[1.0], [0.0]], [[2.0], [2.0]], [[3.0], [-1.0]], [[4.0], [-1.0]])
    truth = along([[0.0, 0.0], [5.0, 5.0]])[0], along([[1.5, 1.5], [5.0, 99.0]])[0]
    mask = torch.tensor([[True, True], [True, False]])
    error = effect_error(one, one + effect, truth, mask)
    torch.testing.assert_close(error, torch.tensor([0.0 * 2.0, 1.0 * -1.0]))


def test_the_error_of_an_effect_is_unbiased() -> None:
    """The samples' mean effect is off by (0.5, 0.5) m, and each deviates by 1 m on each axis.

    The squared error of the mean over four samples would be larger by 2 / 4. The mean over the
    draws here has a standard error of 0.006.
    """
    draws = 30_000
    generator = torch.Generator().manual_seed(0)
    one = 5 * torch.randn(4, draws, 1, 2, generator=generator)
    noise = torch.randn(4, draws, 1, 2, generator=generator)
    other = one + torch.tensor([2.0, 0.0]) + noise
    truth = torch.zeros(draws, 1, 2), torch.tensor([1.5, -0.5]).expand(draws, 1, 2)
    errors = effect_error(one, other, truth, torch.ones(draws, 1, dtype=torch.bool))
    assert float(errors.mean()) == pytest.approx(0.5, abs=0.025)
    assert float(errors.min()) < 0  # a single one may be negative


def test_the_error_of_a_placebo_by_hand() -> None:
    """Agents 0 and 2 are not moved; agent 1 is, by 6 cm. Futures move by 1 m and by 2 m."""
    one = along([[3.0, 3.0]] * 3, [[4.0, 4.0]] * 3)
    other = along([[4.0, 4.0]] * 3, [[2.0, 2.0]] * 3)
    other[:, 2, 1] += 50.0  # a step that is not known under both plans
    truth = torch.zeros(3, 2, 2), along([[0.0, 0.04], [0.0, 0.06], [0.04, 9.0]])[0]
    mask = torch.tensor([[True, True], [True, True], [True, False]])
    found = placebo_error(one, other, truth, mask)
    torch.testing.assert_close(found, torch.tensor([(1 + 4) / 2, 0.0, (1 + 4) / 2]))


def test_the_loss_of_decisions_by_hand() -> None:
    """Chances are those of going, being free and waiting."""
    chances = torch.tensor([0.5, 0.3, 0.2])

    def loss(*decisions: Decision, weight: tuple[float, ...] = (1.0,)) -> float:
        every, weights = chances.expand(len(decisions), 3), torch.tensor(weight)
        return float(decision_loss(every, torch.tensor(decisions), weights))

    assert loss(Decision.GO) == pytest.approx(-math.log(0.5))
    assert loss(Decision.FREE) == pytest.approx(-math.log(0.3))
    for waits in (Decision.YIELD, Decision.STEP_BACK, Decision.UNDECIDED):
        assert loss(waits) == pytest.approx(-math.log(0.2))
    assert loss(Decision.UNKNOWN, Decision.UNKNOWN) == 0
    mean = -(math.log(0.5) + math.log(0.2)) / 2
    assert loss(Decision.GO, Decision.UNKNOWN, Decision.YIELD) == pytest.approx(mean)
    weighted = -(3 * math.log(0.5) + 0.5 * math.log(0.2)) / 2
    assert loss(Decision.GO, Decision.YIELD, weight=(3.0, 0.5)) == pytest.approx(weighted)
    impossible = torch.tensor([[0.0, 1.0, 0.0]])
    least = decision_loss(impossible, torch.tensor([1]), torch.ones(1))
    assert least.item() == pytest.approx(-math.log(1e-4))


@pytest.mark.parametrize("name", ["effect", "placebo", "decision"])
def test_weights_below_zero_are_refused(name: str) -> None:
    with pytest.raises(ForecastError, match=rf"loss\.{name} is -1; 0 or more is needed"):
        LossConfig(**{name: -1})
