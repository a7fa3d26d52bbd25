"""Reactive rollouts: what plans of the ego change in open-loop futures."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from forecast.models import reactive
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.reactive import ReactionConfig, ReactiveRollout
from forecast.models.rollout import SceneContext, imagine, settle
from forecast.models.types import Noise, Plan, State
from tests.models.crowds import SMALL, TYPED, any_state, crowd, network, noise_of

PEDESTRIAN, CYCLIST, VEHICLE, EGO = range(4)
KINDS = [PEDESTRIAN, PEDESTRIAN, CYCLIST, VEHICLE, EGO, PEDESTRIAN, PEDESTRIAN]
SAMPLES, STEPS, PLANS = 4, 6, 5
AT = KINDS.index(EGO)
OTHERS = torch.arange(len(KINDS)) != AT
EVERYBODY = ReactionConfig(math.inf, math.inf)
Scene = tuple[PedestrianForecaster, SceneContext, State, Noise]


def scene(slots: list[list[str]]) -> Scene:
    """Agents close by, and one far from all others."""
    model = network(replace(SMALL, slots=slots))
    context = crowd(model, KINDS, pieces=5)
    state = any_state(model, context)
    position = state.motion.position.clone()
    position[:, -1] += 300.0
    position[1] = position[0] * torch.tensor([1.0, 1.0])
    state = state._replace(motion=state.motion._replace(position=position))
    return model, context, state, noise_of(context, SAMPLES, STEPS)


@pytest.fixture(scope="module", params=[SMALL.slots, TYPED], ids=["shared", "typed"])
def street(request: pytest.FixtureRequest) -> Scene:
    return scene(request.param)


def rollout_of(street: Scene, config: ReactionConfig | None = None) -> ReactiveRollout:
    model, *rest = street
    with torch.inference_mode():
        return ReactiveRollout(model.world, *rest, config)


def reacting(futures: ReactiveRollout, plans: Tensor) -> Tensor:
    with torch.inference_mode():
        return futures.to(plans)


def plans_of(street: Scene) -> Tensor:
    """Straight ways ``[P, T, 3]`` of the ego to where others are now."""
    start = street[2].motion.position[0]
    goals = start[[0, 1, 2, 3, 5]] - start[AT]
    share = torch.linspace(0.2, 1.2, STEPS)[:, None]
    heading = torch.atan2(goals[:, 1], goals[:, 0])[:, None, None].expand(-1, STEPS, 1)
    return torch.cat([start[AT] + share * goals[:, None], heading], -1)


def planned(street: Scene, plan: Tensor) -> Tensor:
    """Everybody's futures ``[K, N, T, 2]`` where the ego follows a plan in one whole rollout."""
    model, context, state, noise = street
    poses = Plan(plan[:, None, None], ~OTHERS)
    with torch.inference_mode():
        return imagine(
            model.world, context, settle(model.world, context, state), noise, poses
        ).position


def test_open_loop_futures_are_those_without_a_plan(street) -> None:
    model, context, state, noise = street
    with torch.inference_mode():
        settled = settle(model.world, context, state)
        expected = imagine(model.world, context, settled, noise).position
    assert torch.equal(rollout_of(street).positions, expected)


def test_with_everything_infinite_all_agents_are_imagined_as_with_the_plan(street) -> None:
    plans = plans_of(street)
    futures = rollout_of(street, EVERYBODY)
    assert (futures.affected(plans) == STEPS + STEPS).all()
    found = reacting(futures, plans)
    assert found.shape == (PLANS, SAMPLES, len(KINDS), STEPS, 2)
    for plan, imagined in zip(plans, found, strict=True):
        torch.testing.assert_close(imagined, planned(street, plan), atol=1e-4, rtol=0)
    assert (found[0] - found[1])[:, OTHERS].abs().max() > 1e-2


@pytest.mark.parametrize("config", [EVERYBODY, ReactionConfig(), ReactionConfig(1.0, 0.0)])
def test_the_futures_of_a_plan_do_not_depend_on_other_plans(street, config) -> None:
    plans, futures = plans_of(street), rollout_of(street, config)
    together = reacting(futures, plans)
    for index in range(PLANS):
        alone = reacting(futures, plans[index : index + 1])
        torch.testing.assert_close(alone[0], together[index], atol=1e-5, rtol=0)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(reacting(futures, plans[order]), together[order], atol=1e-5, rtol=0)


def test_agents_that_no_plan_affects_are_those_of_the_open_loop_to_the_last_bit(street) -> None:
    plans, futures = plans_of(street), rollout_of(street, ReactionConfig(2.0, 0.5))
    found, until = reacting(futures, plans), futures.affected(plans)
    free = (until == 0) & OTHERS
    assert free[:, :, -1].all()
    assert 0 < free[:, :, :-1].sum() < free[:, :, :-1].numel()
    assert torch.equal(found[free], futures.positions.expand_as(found)[free])


def test_the_ego_follows_its_plan_in_all_samples(street) -> None:
    plans = plans_of(street)
    for config in (EVERYBODY, ReactionConfig(0.0, 0.0)):
        found = reacting(rollout_of(street, config), plans)[:, :, AT]
        assert torch.equal(found, plans[:, None, :, :2].expand_as(found))


def test_plans_that_affect_nobody_leave_all_but_the_ego_as_they_are(street, monkeypatch) -> None:
    plans, futures = plans_of(street), rollout_of(street)
    nobody = torch.zeros_like(futures.affected(plans))
    monkeypatch.setattr(futures, "affected", lambda plans: nobody)
    found = reacting(futures, plans)
    expected = futures.positions.expand_as(found)
    assert torch.equal(found[:, :, OTHERS], expected[:, :, OTHERS])
    assert torch.equal(found[:, 0, AT], plans[..., :2])


@pytest.mark.parametrize("config", [EVERYBODY, ReactionConfig()])
def test_the_futures_of_some_samples_are_those_of_all(street, config) -> None:
    plans, futures = plans_of(street), rollout_of(street, config)
    whole = reacting(futures, plans)
    for some in (slice(0, 2), slice(2, 4)):
        part = futures.samples(some)
        assert torch.equal(part.positions, futures.positions[some])
        torch.testing.assert_close(reacting(part, plans), whole[:, some], atol=1e-5, rtol=0)


def test_who_is_affected_and_until_when_by_hand(street, monkeypatch) -> None:
    """The plan drives 2 m per step; the imagined ego stands far away. Each has somebody near."""
    futures = rollout_of(street, ReactionConfig(reach_m=1.0, after_s=1.0))
    start = futures.states[0].motion.position[0, AT].clone()
    away = torch.full((SAMPLES, len(KINDS), STEPS, 2), 1e3)
    away[:, AT] = -1e3
    away[0, 0] = start + torch.tensor([6.0, 1.9])  # beside the third step
    away[1, 1] = start + torch.tensor([6.0, 2.1])  # a little farther
    away[2, 2] = start + torch.tensor([12.0, 0.0])  # at its end
    away[3, 3, 1] = -1e3 + 0.5  # beside the imagined ego in the second step
    monkeypatch.setitem(vars(futures), "positions", away)
    plan = torch.zeros(1, STEPS, 3)
    plan[0, :, 0] = 2.0 * torch.arange(1, STEPS + 1)
    plan[..., :2] += start
    until = futures.affected(plan)[0]
    expected = torch.zeros(SAMPLES, len(KINDS), dtype=torch.long)
    # Reach is 1 m and half of 2 m; after the last such step come two more of half a second.
    expected[0, 0], expected[0, AT] = 3 + 2, 3 + 2
    expected[2, 2], expected[2, AT] = 6 + 2, 6 + 2
    expected[3, 3], expected[3, AT] = 2 + 2, 2 + 2
    assert torch.equal(until, expected)


def test_an_agent_that_the_ego_has_passed_goes_on_as_in_the_open_loop(street, monkeypatch) -> None:
    """From where it then is: the shift to the open-loop futures stays as it was."""
    plans, futures = plans_of(street), rollout_of(street, EVERYBODY)
    until = futures.affected(plans).clone()
    until[:, :, 0], until[:, :, AT] = 2, 4
    until[:, :, [1, 2, 3, 5, 6]] = 0
    monkeypatch.setattr(futures, "affected", lambda plans: until)
    found = reacting(futures, plans)
    shift = (found - futures.positions)[:, :, 0]
    assert shift[:, :, 1].abs().max() > 1e-4
    for step in range(2, STEPS):
        torch.testing.assert_close(shift[:, :, step], shift[:, :, 1], atol=1e-5, rtol=0)


def imagined_again_beside_replayed(
    street: Scene, patch: pytest.MonkeyPatch
) -> tuple[Tensor, Tensor]:
    """Futures of some agents beside replayed ones, nothing being changed; and open-loop futures."""
    futures, plans = rollout_of(street, EVERYBODY), plans_of(street)[:2]
    found, expected = [], []
    for chosen in ([0], [1, 5], [2, 3]):
        until = torch.zeros(2, SAMPLES, len(KINDS), dtype=torch.long)
        until[:, :, chosen] = STEPS
        patch.setattr(futures, "affected", lambda plans, until=until: until)
        found.append(reacting(futures, plans)[:, :, OTHERS])
        expected.append(futures.positions[:, OTHERS].expand_as(found[-1]))
    return torch.stack(found), torch.stack(expected)


def with_walkers(street: Scene, *walkers: list[float]) -> Scene:
    """The first two agents at other positions and with other velocities."""
    model, context, state, noise = street
    position, velocity = state.motion.position.clone(), state.motion.velocity.clone()
    for agent, (x, y, u, v) in enumerate(walkers):
        position[:, agent], velocity[:, agent] = torch.tensor([x, y]), torch.tensor([u, v])
    motion = state.motion._replace(position=position, velocity=velocity)
    return model, context, state._replace(motion=motion), noise


def test_replayed_agents_send_the_messages_of_the_open_loop(street, monkeypatch) -> None:
    """So agents imagined again in an unchanged scene move as in the open loop."""
    apart = with_walkers(street, [0, 0, 1, 0], [0, 1.5, 1, 0])
    found, expected = imagined_again_beside_replayed(apart, monkeypatch)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_replayed_agents_are_avoided_as_in_the_open_loop(street, monkeypatch) -> None:
    """Two meet in the first step, one of them replayed."""
    meet = with_walkers(street, [0, 0, 2, 0], [1, 0.1, -2, 0])
    found, expected = imagined_again_beside_replayed(meet, monkeypatch)
    torch.testing.assert_close(found[..., 0, :], expected[..., 0, :], atol=1e-4, rtol=0)


def test_replayed_agents_have_the_velocities_that_they_intended(street) -> None:
    model, context, _, noise = street
    futures = rollout_of(street)
    with torch.inference_mode():
        for step, replayed in enumerate(futures.replayed):
            before, after = futures.states[step : step + 2]
            acting = before._replace(hidden=after.hidden)
            intended = model.world.intend(context.agents, acting, noise.intent, noise.steps[step])
            torch.testing.assert_close(replayed.velocity, intended[1].flatten(0, 1))
            assert torch.equal(replayed.positions(), before.motion.position.flatten(0, 1))
            assert replayed.pedestrian.tolist() == [kind == PEDESTRIAN for kind in KINDS] * SAMPLES


def test_agents_that_are_imagined_again_react_to_each_other(street, monkeypatch) -> None:
    """With all agents imagined again, second-order effects are those of the whole rollout."""
    plans, futures = plans_of(street), rollout_of(street, EVERYBODY)
    everybody = reacting(futures, plans)
    until = torch.zeros_like(futures.affected(plans))
    until[:, :, [0, AT]] = STEPS
    monkeypatch.setattr(futures, "affected", lambda plans: until)
    first_alone = reacting(futures, plans)
    assert (first_alone - everybody)[:, :, 0].abs().max() > 1e-4


@pytest.mark.parametrize("rows", [1, 7, 50, 10**6])
def test_the_parts_that_plans_are_split_into_change_nothing(street, rows, monkeypatch) -> None:
    plans, futures = plans_of(street), rollout_of(street)
    expected = reacting(futures, plans)
    monkeypatch.setattr(reactive, "part_size", lambda agents, device, most: rows)
    torch.testing.assert_close(reacting(futures, plans), expected, atol=1e-5, rtol=0)


def test_threads_change_nothing(street, monkeypatch) -> None:
    plans = plans_of(street)
    expected, usual = reacting(rollout_of(street), plans), torch.get_num_threads()
    monkeypatch.setattr(reactive, "MOST_AT_ONCE", 8)
    try:
        torch.set_num_threads(3)
        futures = rollout_of(street)
        found = reacting(futures, plans)
    finally:
        torch.set_num_threads(usual)
    torch.testing.assert_close(futures.positions, rollout_of(street).positions, atol=1e-5, rtol=0)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_defaults_come_close_to_imagining_everybody(street) -> None:
    plans = plans_of(street)
    exact = reacting(rollout_of(street, EVERYBODY), plans)
    futures = rollout_of(street, ReactionConfig(reach_m=10.0, after_s=2.0))
    found = reacting(futures, plans)
    effect = (futures.positions - exact)[:, :, OTHERS].norm(dim=-1).mean()
    error = (found - exact)[:, :, OTHERS].norm(dim=-1).mean()
    assert error < 0.5 * effect
