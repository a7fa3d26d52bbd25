from __future__ import annotations

import pytest
import torch

from forecast.errors import ForecastError
from forecast.models.forecaster import ForecasterConfig
from forecast.models.losses import LossConfig
from forecast.models.world_model import WorldModelConfig
from forecast.training.module import ForecastModule, OneCycle, OptimizerConfig


def schedule(config: OptimizerConfig, steps: int) -> OneCycle:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=config.lr, weight_decay=config.weight_decay)
    return OneCycle(optimizer, config, steps)


def walked(cycle: OneCycle, steps: int) -> list[tuple[float, float]]:
    """The rate and the first momentum of each step."""
    found = []
    for _ in range(steps):
        (group,) = cycle.optimizer.param_groups
        found.append((group["lr"], group["betas"][0]))
        cycle.optimizer.step()
        cycle.step()
    return found


def resumed(cycle: OneCycle, stopped: OneCycle) -> OneCycle:
    cycle.optimizer.load_state_dict(stopped.optimizer.state_dict())
    cycle.load_state_dict(stopped.state_dict())
    return cycle


@pytest.mark.parametrize(("done", "length"), [(7, 20), (20, 30)])
def test_a_resumed_schedule_has_the_rates_of_an_unbroken_one(done: int, length: int) -> None:
    config = OptimizerConfig(lr=1e-3, warmup=0.2)
    stopped = schedule(config, 20)
    walked(stopped, done)
    whole = walked(schedule(config, length), length)
    assert walked(resumed(schedule(config, length), stopped), length - done) == whole[done:]


def test_a_resumed_schedule_takes_the_present_settings() -> None:
    before, now = OptimizerConfig(lr=1e-3, weight_decay=0.1), OptimizerConfig(lr=5e-4)
    stopped = schedule(before, 20)
    walked(stopped, 5)
    cycle = resumed(schedule(now, 20), stopped)
    assert walked(cycle, 15) == walked(schedule(now, 20), 20)[5:]
    assert cycle.optimizer.param_groups[0]["weight_decay"] == now.weight_decay


def test_a_schedule_that_is_over_is_refused() -> None:
    stopped = schedule(OptimizerConfig(), 40)
    walked(stopped, 30)
    with pytest.raises(ForecastError, match="steps done is 30; fewer than the 30 of the whole"):
        resumed(schedule(OptimizerConfig(), 30), stopped)


def test_the_losses_of_two_processes_average_to_that_of_all_their_windows(monkeypatch) -> None:
    """Whatever agents, decisions and pairs of plans each of them has."""
    terms = {"decision": 0.5, "effect": 2.0, "placebo": 0.1}
    small = ForecasterConfig(world_model=WorldModelConfig(hidden=16))
    module = ForecastModule(small, LossConfig(**terms))
    counts = torch.tensor([[3.0, 4.0, 0.0], [1.0, 6.0, 2.0]])  # agents, decisions, pairs
    parts = [
        {"mode": 1.0, "decision": 0.7, "effect": 0.0, "placebo": 0.0},
        {"mode": 5.0, "decision": 0.2, "effect": 3.0, "placebo": 4.0},
    ]
    for each in parts:
        each["loss"] = 0.5 * each["mode"] + sum(terms[name] * each[name] for name in terms)
    monkeypatch.setattr(module, "all_gather", lambda _: counts)
    shared = [
        module._shared({name: torch.tensor(value) for name, value in each.items()}, own)
        for each, own in zip(parts, counts, strict=True)
    ]
    means = {name: float(sum(each[name] for each in shared)) / 2 for name in parts[0]}
    expected = {"mode": (3 * 1 + 1 * 5) / 4, "decision": (4 * 0.7 + 6 * 0.2) / 10}
    expected |= {"effect": 3.0, "placebo": 4.0}
    expected["loss"] = 0.5 * expected["mode"] + sum(terms[n] * expected[n] for n in terms)
    assert means == pytest.approx(expected)
    monkeypatch.setattr(module, "all_gather", lambda values: values)
    given = {name: torch.tensor(value) for name, value in parts[1].items()}
    assert module._shared(given, counts[1]) == given
