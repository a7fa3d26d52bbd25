import math

import numpy as np
import pytest
import torch

from forecast.models.losses import displacement_loss
from forecast.models.modes import (
    MODE_COUNTS,
    ModeSets,
    _displacements,
    mode_loss,
    turned_evenly,
)
from forecast.models.types import Agents, Motion, State
from forecast.scene import AgentKind

HIDDEN = 8


def agents(count: int, dt_s: float = 0.5) -> Agents:
    kind = torch.full((count,), int(AgentKind.PEDESTRIAN))
    return Agents(kind, torch.full((count, 3), 0.7), torch.full((count,), dt_s))


def turn(angle: float) -> torch.Tensor:
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def state(velocity: list[list[float]], angle: float = 0.0, mirror: float = 1.0) -> State:
    """Agents at the origin in one copy; velocities are in their own frames, turned by an angle."""
    count = len(velocity)
    rotation = turn(angle)
    own = torch.tensor(velocity) * torch.tensor([1.0, mirror])
    moving = (own @ rotation.T)[None]
    facing = (rotation @ torch.tensor([1.0, 0.0])).expand(1, count, 2)
    zeros, flags = torch.zeros(1, count), torch.ones(1, count, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, count, HIDDEN, generator=generator)
    motion = Motion(torch.zeros(1, count, 2), moving, facing, zeros)
    sides = torch.full((1, count), mirror)
    return State(hidden, motion, moving, moving, flags, flags, zeros, sides)


def trained(seed: int = 0) -> ModeSets:
    """A head with weights that matter; at the start they are small."""
    torch.manual_seed(seed)
    made = ModeSets(HIDDEN)
    torch.nn.init.normal_(made.curves.weight, std=0.3)
    return made


def test_displacements_are_integrals_of_orthogonal_velocities():
    times = torch.linspace(0.001, 6, 6000, dtype=torch.float64)
    velocity = torch.diff(_displacements(times), dim=0) / torch.diff(times)[:, None]
    products = velocity.T @ velocity / len(velocity)
    expected = torch.diag(torch.tensor([1, 1 / 3, 1 / 5, 1 / 7], dtype=torch.float64))
    torch.testing.assert_close(products, expected, atol=2e-3, rtol=0)
    late = _displacements(torch.tensor([6.0, 7.5]))
    torch.testing.assert_close(late[1] - late[0], torch.full((4,), 1.5))  # velocities stay


@pytest.mark.parametrize("steps", [1, 12])
def test_each_set_has_its_number_of_modes(steps):
    who = agents(3)
    found = trained()(who, state([[1.0, 0.0]] * 3), who.times_s(steps))
    assert [len(paths) for paths, _ in found] == list(MODE_COUNTS)
    for paths, logits in found:
        assert paths.shape[1:] == (1, 3, steps, 2)
        assert logits.shape == paths.shape[:3]


def test_modes_start_around_the_filtered_velocity():
    who, head = agents(1), ModeSets(HIDDEN)
    head.curves.weight.data.zero_()
    paths, _ = head(who, state([[1.5, 0.0]]), who.times_s(12))[-1]
    ends = paths[:, 0, 0, -1] / 6  # mean velocities
    offsets = (ends - torch.tensor([1.5, 0.0])) / (1.5 + 0.5)
    radius = (offsets - torch.tensor([-0.15, 0.0])).norm(dim=-1)
    assert radius.max().item() == pytest.approx(0.8 * (19.5 / 20) ** 0.75, abs=1e-5)
    apart = torch.cdist(ends, ends) + 9 * torch.eye(20)
    assert apart.min() > 0.2


def test_modes_turn_and_mirror_with_the_agent():
    who, head = agents(2), trained()
    velocity, times = [[1.2, 0.3], [0.0, 0.0]], who.times_s(12)
    straight = head(who, state(velocity), times)
    turned = head(who, state(velocity, angle=0.7), times)
    mirrored = head(who, state(velocity, mirror=-1.0), times)
    rotation = turn(0.7)
    for one, two, three in zip(straight, turned, mirrored, strict=True):
        torch.testing.assert_close(one[0] @ rotation.T, two[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(one[0] * torch.tensor([1.0, -1.0]), three[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(one[1], two[1], atol=1e-4, rtol=0)


def test_modes_of_an_unknown_heading_lead_all_ways():
    """The directions of 20 equal modes cancel; their lengths stay."""
    paths = torch.ones(20, 2, 2, 3, 1) * torch.tensor([1.0, 0.0])
    position = torch.zeros(2, 2, 2)
    turned = turned_evenly(paths, position, torch.tensor([True, False]))
    torch.testing.assert_close(turned[:, :, 1], paths[:, :, 1])
    torch.testing.assert_close(turned.norm(dim=-1), torch.ones(20, 2, 2, 3))
    assert turned[:, :, 0].mean(0).norm(dim=-1).max() < 0.1
    there = turned_evenly(paths + 5, position + 5, torch.tensor([True, True]))
    torch.testing.assert_close(there[:, :, 0] - 5, turned[:, :, 0])


def test_times_may_be_any():
    who, fine, head = agents(1), agents(1, 0.1), trained()
    coarse = head(who, state([[1.0, 0.0]]), who.times_s(4))[0][0]
    fine_times = fine.times_s(20)
    exact = head(who, state([[1.0, 0.0]]), fine_times)[0][0]
    torch.testing.assert_close(exact[:, :, :, 4::5], coarse)


def test_the_loss_is_that_of_the_best_mode_and_of_its_probability():
    # Two modes that end at 1 m and 3 m; the truth is at 1 m.
    paths = torch.tensor([1.0, 3.0])[:, None, None, None, None] * torch.tensor([[1.0, 0.0]])
    logits = torch.tensor([0.25, 0.75]).log()[:, None, None]
    truth, mask = torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1, dtype=torch.bool)
    loss = mode_loss([(paths, logits)], truth, mask, torch.ones(1), torch.ones(1))
    assert float(loss) == pytest.approx(-0.3 * math.log(0.25), abs=1e-3)
    assert float(displacement_loss(paths, truth, mask)[1]) == pytest.approx(4.0, abs=1e-3)
    other = mode_loss(
        [(paths, logits)], torch.tensor([[[2.5, 0.0]]]), mask, torch.ones(1), torch.ones(1)
    )
    assert float(other) == pytest.approx(2 * 0.5 - 0.3 * math.log(0.75), abs=1e-3)


def test_who_does_not_count_teaches_nothing():
    who, head = agents(2), trained()
    sets = head(who, state([[1.0, 0.0]] * 2), who.times_s(4))
    truth, mask = torch.ones(2, 4, 2), torch.ones(2, 4, dtype=torch.bool)
    mask[1] = False
    alone = mode_loss(sets, truth, mask, torch.ones(2), torch.ones(2))
    truth[1] = 99
    assert float(mode_loss(sets, truth, mask, torch.ones(2), torch.ones(2))) == float(alone)
    mask[1] = True
    assert float(mode_loss(sets, truth, mask, torch.tensor([1.0, 0.0]), torch.ones(2))) == float(
        alone
    )


def test_modes_spread_over_what_happens():
    """Trained on ends on a circle, each mode covers a part of it."""
    who, head = agents(64), ModeSets(HIDDEN)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    where = state([[0.0, 0.0]] * 64)
    where = where._replace(hidden=torch.zeros_like(where.hidden))
    rng = np.random.default_rng(0)
    for _ in range(200):
        angle = torch.from_numpy(rng.uniform(0, 2 * np.pi, 64)).float()
        ends = 3 * torch.stack([angle.cos(), angle.sin()], -1)
        truth = ends[:, None] * (torch.arange(1, 13) / 12)[:, None]
        sets = head(who, where, who.times_s(12))
        loss = mode_loss(
            sets, truth, torch.ones(64, 12, dtype=torch.bool), torch.ones(64), torch.ones(64)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    nearest = (sets[-1][0][:, 0, :, -1] - ends).norm(dim=-1).min(0).values
    assert float(nearest.mean()) < 0.45  # neighbours on the circle are 0.94 m apart
