from __future__ import annotations

import pytest
import torch

from forecast.errors import ForecastError
from forecast.training.module import OneCycle, OptimizerConfig


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
