"""Steps with gradients in machine code against the tensor operations that say what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from forecast.models.edges import SLACK_M, has_machine_code
from forecast.models.kinematics import EAGERNESS, NO_WAY, ROUNDS, SOONEST, TINY, to_world
from torch import Tensor
from torch.nn.functional import normalize

from forecast.datasets.windows import WindowSpec, window
from forecast.graphs import GraphConfig, window_graph
from forecast.models import encoder, learning, world_model
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.losses import LossConfig
from forecast.models.noise import window_noise
from tests.models.test_kernels import lively
from tests.scenes import street_scene

SPEC = WindowSpec(history_steps=5, horizon_steps=8)
AGENTS, COPIES = 5, 2
DRIVES = torch.tensor([False, False, False, True, True])
CONSTANTS = 0.25, SLACK_M, ROUNDS, SOONEST, TINY, EAGERNESS, NO_WAY
TOLERANCE = {"eps": 1e-6, "atol": 1e-5, "rtol": 1e-3}


@pytest.fixture
def drawn() -> Callable[..., Tensor]:
    """Random numbers in double precision that gradients are asked of."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int, scale: float = 1.0) -> Tensor:
        values = scale * torch.randn(*shape, generator=generator, dtype=torch.float64)
        return values.requires_grad_()

    return draw


def edges(count: int) -> tuple[Tensor, Tensor]:
    """Edges between all and all others, ordered by target."""
    target, source = torch.cartesian_prod(torch.arange(count), torch.arange(count)).t()
    other = source != target
    return source[other].contiguous(), target[other].contiguous()


def bodies(drawn: Callable[..., Tensor]) -> list[Tensor]:
    """Positions, velocities, facings, and hands ``[S, N]``; some drive."""
    hand = torch.tensor([[1.0], [-1.0]], dtype=torch.float64).expand(COPIES, AGENTS)
    return [*(drawn(COPIES, AGENTS, 2) for _ in range(3)), hand]


def test_looks_and_features(drawn: Callable[..., Tensor]) -> None:
    position, velocity, facing, hand = bodies(drawn)
    some, reach = torch.ones(COPIES, AGENTS, dtype=torch.bool), drawn(AGENTS).detach().abs()
    rest = some, hand.abs(), hand, drawn(7, AGENTS).detach()
    before, yaw_rate = drawn(COPIES, AGENTS, 2), drawn(COPIES, AGENTS)

    def looks(*mine: Tensor) -> Any:
        return learning.looped(learning.LOOKS, (1.5,), *mine, hand, some, DRIVES, reach)

    def features(*mine: Tensor) -> Any:
        return learning.looped(learning.FEATURES, (), *mine, *rest)

    assert torch.autograd.gradcheck(looks, (position, velocity, facing), **TOLERANCE)
    assert torch.autograd.gradcheck(features, (velocity, before, facing, yaw_rate), **TOLERANCE)


def test_moves(drawn: Callable[..., Tensor]) -> None:
    """Three people walk to where they meet; two drive."""
    position, (_, slowly, facing, hand) = drawn(COPIES, AGENTS, 2, scale=0.4), bodies(drawn)
    velocity = (0.1 * slowly - 2 * position).detach().requires_grad_()
    yaw_rate, change = drawn(COPIES, AGENTS), drawn(COPIES, AGENTS, 2, scale=0.2)
    dt_s, (one, other) = torch.full((AGENTS,), 0.5, dtype=torch.float64), edges(3)
    once = one < other
    pairs = one[once], other[once]

    def moves(position: Tensor, velocity: Tensor, facing: Tensor, *rest: Tensor) -> Any:
        now = position, velocity, normalize(facing, dim=-1), *rest
        return learning.looped(learning.MOVE, CONSTANTS, *now, DRIVES, dt_s, hand, *pairs)

    mine = position, velocity, facing, yaw_rate, change
    assert torch.autograd.gradcheck(moves, mine, **TOLERANCE)
    wanted = velocity + to_world(change * 0.5, normalize(facing, dim=-1), hand)
    gave_way = ((moves(*mine)[1] - wanted).norm(dim=-1) > 1e-3)[:, :3]
    assert gave_way.any(1).all()


def test_edges_and_messages(drawn: Callable[..., Tensor]) -> None:
    source, target = edges(AGENTS)
    radius = torch.full(source.shape, 6.0, dtype=torch.float64)
    fixed = drawn(10, AGENTS).detach()
    fixed[4], fixed[8:] = torch.tensor([1, -1, 1, 1, -1]), fixed[8:].abs()

    def encounters(seen: Tensor) -> Any:
        table = torch.cat([seen[:4], fixed[4:5], seen[4:7], fixed[8:]])
        return learning.encounters(table, source, target, radius)

    def sights(frames: Tensor) -> Any:
        table = torch.cat([frames, fixed[4:5]])
        return learning.sights(table, fixed[:4], source, target, radius)[:2]

    seen, frames = drawn(7, AGENTS), drawn(4, AGENTS)
    assert torch.autograd.gradcheck(encounters, (seen,), **TOLERANCE)
    assert torch.autograd.gradcheck(sights, (frames,), **TOLERANCE)
    about = drawn(len(source), 4), drawn(len(source))
    values = drawn(AGENTS, 3), drawn(AGENTS, 3), drawn(4, 3), *about

    def gather(*values: Tensor) -> Any:
        *others, fade = values
        return learning.gathered(*others, fade.square(), source, target)

    assert torch.autograd.gradcheck(gather, values, **TOLERANCE)


def test_a_state_recurs(drawn: Callable[..., Tensor]) -> None:
    values = drawn(6, 5), drawn(6, 4), drawn(12, 5), drawn(12, 4), drawn(12), drawn(12)
    assert torch.autograd.gradcheck(learning.recur, values, **TOLERANCE)
    cell = torch.nn.GRUCell(5, 4, dtype=torch.float64)
    weights = cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh
    found = learning.recur(*values[:2], *weights)
    torch.testing.assert_close(found, cell(*values[:2]), atol=1e-6, rtol=0)


def learnt(model: PedestrianForecaster, seed: int) -> dict[str, Tensor]:
    """The loss and the gradients of a window."""
    graph = window_graph(window(street_scene(seed), 4, SPEC), GraphConfig())
    agent = graph["agent"]
    noise = window_noise(model.config.world_model, [seed], [len(agent.kind)], 4, 8)
    parts, _ = model.loss(graph, noise, LossConfig(), agent.future_valid)
    model.zero_grad()
    parts["loss"].backward()
    named = {name: value.grad for name, value in model.named_parameters()}
    assert all(value is not None for value in named.values())
    return {"loss": parts["loss"].detach(), **named}


@pytest.mark.parametrize("seed", range(4))
def test_what_is_learnt_is_as_with_tensors(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively(seed).train()
    found = learnt(model, seed)
    for module in (encoder, world_model):
        monkeypatch.setattr(module, "has_machine_code", lambda values: False)
    for name, expected in learnt(model, seed).items():
        scale = float(expected.abs().max())
        torch.testing.assert_close(
            found[name], expected, atol=1e-5 + 1e-4 * scale, rtol=0, msg=name
        )


def test_machine_code_learns_in_float32_alone() -> None:
    assert has_machine_code(torch.zeros(3))
    assert not has_machine_code(torch.zeros(3).double())
    with torch.autocast("cpu"):
        assert not has_machine_code(torch.zeros(3))
