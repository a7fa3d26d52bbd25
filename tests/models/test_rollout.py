"""The loop that imagines, and its controls."""

from __future__ import annotations

import pytest
import torch

from forecast.models import dynamics
from forecast.models.features import RELATIONS
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.neighbors import Places
from forecast.models.rollout import (
    Control,
    Moment,
    SceneContext,
    WholeScene,
    advance,
    begin,
    follow_plan,
    imagine,
    no_replayed,
    observe,
    rollout,
    settle,
    surroundings,
    with_given_velocities,
)
from forecast.models.types import Motion, Noise, Observation, Plan, State
from tests.models.crowds import SMALL, TYPED, any_state, crowd, network, noise_of

PEDESTRIAN, CYCLIST, VEHICLE, EGO = range(4)
KINDS = [PEDESTRIAN, PEDESTRIAN, CYCLIST, VEHICLE, EGO]
COPIES, STEPS = 3, 5
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> PedestrianForecaster:
    return network()


@pytest.fixture(scope="module")
def context(model: PedestrianForecaster) -> SceneContext:
    return crowd(model, KINDS, pieces=5)


@pytest.fixture(scope="module")
def state(model: PedestrianForecaster, context: SceneContext) -> State:
    return any_state(model, context)


@pytest.fixture(scope="module")
def noise(context: SceneContext) -> Noise:
    return noise_of(context, COPIES, STEPS)


def plan(follows: int = EGO) -> Plan:
    poses = torch.zeros(STEPS, 1, 1, 3)
    poses[..., 0] = torch.arange(STEPS)[:, None, None]
    return Plan(poses, torch.arange(len(KINDS)) == follows)


@torch.no_grad()
def test_imagining_is_stepping(model, context, state, noise) -> None:
    """Every step is an update and an act, the first one too."""
    world = model.world
    settled = settle(world, context, state)
    expected = imagine(world, context, settled, noise)
    now = world.inject(settled.with_mirror(noise.mirror), noise.intent)
    for step in range(STEPS):
        around = surroundings(world, context, now)
        now = now._replace(hidden=world.update(around, now, now.seen))
        after = world.act(around, now, noise.intent, noise.steps[step])
        now = now._replace(motion=after, velocity_before=now.motion.velocity)
        for name, value in now.motion._asdict().items():
            assert torch.equal(value, getattr(expected, name)[:, :, step]), name


@torch.no_grad()
def test_a_rollout_is_one_advance_after_the_other(model, context, state, noise) -> None:
    world = model.world
    begun = begin(world, context, settle(world, context, state), noise)
    states = list(rollout(world, WholeScene(world, context, noise), begun))
    assert len(states) == STEPS
    now = begun
    for step, expected in enumerate(states):
        around = surroundings(world, context, now)
        now = advance(world, Moment(now, around, noise.intent, noise.steps[step]), step, [])
        assert torch.equal(now.hidden, expected.hidden)
        assert torch.equal(now.velocity_before, expected.velocity_before)
        assert torch.equal(now.motion.position, expected.motion.position)


@torch.no_grad()
def test_a_rollout_takes_no_step_before_it_is_asked(model, context, state, noise) -> None:
    begun = begin(model.world, context, settle(model.world, context, state), noise)
    indices: set[int] = set()

    def watch(index: int, before: Motion, imagined: Motion) -> Motion:
        indices.add(index)
        return imagined

    states = rollout(model.world, WholeScene(model.world, context, noise), begun, [watch])
    assert indices == set()
    next(states)
    assert indices == {0}
    list(states)
    assert indices == set(range(STEPS))


@torch.no_grad()
def test_the_agents_of_a_plan_follow_it_and_face_its_headings(model, context, state, noise) -> None:
    poses = plan().poses.clone()
    poses[..., 2] = torch.linspace(0, 1, STEPS)[:, None, None]
    motion = imagine(
        model.world,
        context,
        settle(model.world, context, state),
        noise,
        Plan(poses, plan().follows),
    )
    position = poses[:, 0, 0, :2].expand(COPIES, STEPS, 2)
    assert torch.equal(motion.position[:, EGO], position)
    heading = torch.atan2(motion.facing[:, EGO, :, 1], motion.facing[:, EGO, :, 0])
    torch.testing.assert_close(heading, poses[:, 0, 0, 2].expand(COPIES, STEPS))
    way = motion.position[:, EGO].diff(dim=1) / 0.5
    torch.testing.assert_close(motion.velocity[:, EGO, 1:], way)


@torch.no_grad()
@pytest.mark.parametrize("change_at", [0, 2, STEPS - 1])
def test_a_plan_changes_nothing_before_its_step(model, context, state, noise, change_at) -> None:
    """Others react within the step: they see what the ego does, and nothing of later steps."""
    others = torch.arange(len(KINDS)) != EGO
    changed = plan().poses.clone()
    changed[change_at:, ..., 1] += 2.0
    one, other = (
        imagine(
            model.world,
            context,
            settle(model.world, context, state),
            noise,
            Plan(poses, plan().follows),
        )
        for poses in (plan().poses, changed)
    )
    for before, after in zip(one, other, strict=True):
        assert torch.equal(before[:, :, :change_at], after[:, :, :change_at])
    then = (motion.position[:, others, change_at] for motion in (one, other))
    assert not torch.equal(*then)


@torch.no_grad()
def test_others_see_a_car_brake_while_it_brakes(model, context, state, noise) -> None:
    """The update of a step has the velocity of this step, and the change since the one before."""
    begun = begin(model.world, context, settle(model.world, context, state), noise)
    poses, at = plan().poses, 3
    control = follow_plan(plan(), context.agents.dt)
    seen = with_given_velocities(begun, at, [control])
    way = poses[at, 0, 0, :2] - begun.motion.position[:, EGO]
    torch.testing.assert_close(seen.motion.velocity[:, EGO], way / 0.5)
    assert torch.equal(seen.velocity_before[:, EGO], begun.motion.velocity[:, EGO])
    assert torch.equal(seen.motion.position, begun.motion.position)
    others = torch.arange(len(KINDS)) != EGO
    assert torch.equal(seen.motion.velocity[:, others], begun.motion.velocity[:, others])
    assert torch.equal(seen.velocity_before[:, others], begun.velocity_before[:, others])


@torch.no_grad()
def test_poses_may_differ_by_copy_and_agent(model, context, state, noise) -> None:
    poses = torch.randn(STEPS, COPIES, len(KINDS), 3)
    follows = torch.tensor([True, False, False, False, True])
    motion = imagine(
        model.world, context, settle(model.world, context, state), noise, Plan(poses, follows)
    )
    expected = poses[..., :2].permute(1, 2, 0, 3)
    assert torch.equal(motion.position[:, follows], expected[:, follows])
    assert not torch.isclose(motion.position[:, ~follows], expected[:, ~follows]).any()


@torch.no_grad()
def test_controls_are_applied_in_order_each_to_what_the_one_before_gave(
    model, context, state, noise
) -> None:
    world = model.world
    begun = begin(world, context, settle(world, context, state), noise)
    scenery = WholeScene(world, context, noise)
    free = next(rollout(world, scenery, begun))

    def double(index: int, before: Motion, imagined: Motion) -> Motion:
        assert torch.equal(before.position, begun.motion.position)
        return imagined._replace(position=2 * imagined.position)

    def one_more(index: int, before: Motion, imagined: Motion) -> Motion:
        assert torch.equal(before.position, begun.motion.position)
        return imagined._replace(position=imagined.position + 1)

    def positions(*controls: Control) -> torch.Tensor:
        return next(rollout(world, scenery, begun, controls)).motion.position

    there = free.motion.position
    assert torch.equal(positions(), there)
    assert torch.equal(positions(double, one_more), 2 * there + 1)
    assert torch.equal(positions(one_more, double), 2 * (there + 1))


@torch.no_grad()
def test_a_control_replaces_what_was_imagined_and_the_rollout_goes_on_from_there(
    model, context, state, noise
) -> None:
    """Holding somebody in place and moving on is the same as a plan that stays."""
    world, walker = model.world, torch.arange(len(KINDS)) == 0

    def hold(index: int, before: Motion, imagined: Motion) -> Motion:
        pose = torch.cat([before.position, torch.zeros_like(before.yaw_rate)[..., None]], -1)
        still = dynamics.follow(before, pose, context.agents.dt)
        return dynamics.choose(walker.expand_as(before.yaw_rate), still, imagined)

    begun = begin(world, context, settle(world, context, state), noise)
    states = rollout(world, WholeScene(world, context, noise), begun, [hold])
    found = torch.stack([each.motion.position for each in states], 2)
    here = begun.motion.position[None, ..., :1].expand(STEPS, -1, -1, 1)
    poses = torch.cat([begun.motion.position.expand(STEPS, -1, -1, -1), 0 * here], -1)
    expected = imagine(
        world, context, settle(world, context, state), noise, Plan(poses, walker)
    ).position
    assert torch.equal(found, expected)


@torch.no_grad()
def test_a_plan_is_a_control(model, context, state, noise) -> None:
    world, begun = (
        model.world,
        begin(model.world, context, settle(model.world, context, state), noise),
    )
    control = follow_plan(plan(), context.agents.dt)
    states = rollout(world, WholeScene(world, context, noise), begun, [control])
    found = torch.stack([each.motion.position for each in states], 2)
    assert torch.equal(
        found, imagine(world, context, settle(world, context, state), noise, plan()).position
    )


@torch.no_grad()
def test_copies_of_a_scene_do_not_change_each_other(model, context, state, noise) -> None:
    together = imagine(model.world, context, settle(model.world, context, state), noise).position
    for copy in range(COPIES):
        alone = imagine(
            model.world,
            context,
            settle(model.world, context, state),
            noise.part(slice(copy, copy + 1)),
        ).position
        torch.testing.assert_close(alone[0], together[copy], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_scene_without_agents_moves_on() -> None:
    model = network()
    context = crowd(model, [], pieces=3)
    state = any_state(model, context)
    nothing = torch.zeros(0)
    seen = Observation(torch.zeros(0, 2), nothing, nothing.bool())
    state = observe(model.world, context, state, seen)
    assert (
        imagine(
            model.world, context, settle(model.world, context, state), noise_of(context, 2, 3)
        ).position.numel()
        == 0
    )


def test_gradients_of_the_last_step_reach_the_first_noise(model, context, state) -> None:
    noise = noise_of(context, COPIES, STEPS)
    steps = noise.steps.clone().requires_grad_()
    end = imagine(
        model.world, context, settle(model.world, context, state), noise._replace(steps=steps)
    ).position[:, :, -1]
    end.square().sum().backward()
    assert steps.grad.isfinite().all()
    assert steps.grad.abs().amax((1, 2, 3)).min() > 0


@pytest.mark.parametrize("slots", [SMALL.slots, TYPED])
def test_the_candidates_of_a_context_are_divided_by_slot(slots) -> None:
    model = network(SMALL.__class__(16, 8, 8, slots=slots))
    context = crowd(model, KINDS, pieces=2)
    assert len(context.candidates) == len(slots)
    count = sum(len(slot.source) for slot in context.candidates)
    assert count == len(KINDS) * (len(KINDS) - 1)
    for relations, slot in zip(slots, context.candidates, strict=True):
        target = torch.arange(len(KINDS)).repeat_interleave(slot.lengths)
        connected = [RELATIONS[r].connects(context.agents, slot.source, target) for r in relations]
        assert torch.stack(connected).any(0).all()
    assert context.map_candidates.radius.unique().tolist() == [model.config.graph.map_radius_m]
    assert context.map_candidates.lengths.tolist() == [2] * len(KINDS)


def test_edges_of_copies_are_within_range_of_agents_and_map(model, context, state) -> None:
    table = model.world.table(context.agents, state, state.seen)
    edges = context.edges(state.motion, model.world.graph.vehicle_ahead_s)
    count = len(KINDS)
    assert len(edges.agents) == len(SMALL.slots)
    for near in edges.agents:
        assert len(near.source) > 0
        assert torch.equal(near.source // count, near.target // count)
        assert (near.target.diff() >= 0).all()
        own, other = table.rows(near.target), table.rows(near.source)
        limit = near.radius + torch.maximum(own.lookahead_m, other.lookahead_m)
        assert (torch.hypot(other.x - own.x, other.y - own.y) < limit).all()
    assert edges.map.source.max() < 5
    assert edges.map.target.max() < 2 * count
    lookahead_s = model.world.graph.vehicle_ahead_s
    pieces, moving = context.pieces, Places.of(context.agents, state.motion, lookahead_s)
    places = moving.without_lookahead()
    assert moving.lookahead_m.max() > 0
    assert places.lookahead_m.abs().max() == pieces.lookahead_m.abs().max() == 0
    gap = torch.hypot(
        pieces.x[edges.map.source] - places.x[edges.map.target],
        pieces.y[edges.map.source] - places.y[edges.map.target],
    )
    assert (gap < 10).all()


def test_nobody_is_replayed_in_a_whole_scene(model, context, state) -> None:
    around = surroundings(model.world, context, state)
    assert len(around.replayed.pedestrian) == 0
    assert around.replayed is no_replayed(SMALL.messages, len(SMALL.slots), CPU)  # kept
    assert all(len(column) == 0 for column in around.replayed.table)


def test_kept_values_made_without_gradients_serve_with_them(model, context, state, noise) -> None:
    no_replayed.cache_clear()
    with torch.inference_mode():
        imagine(model.world, context, settle(model.world, context, state), noise)
    imagine(
        model.world, context, settle(model.world, context, state), noise
    ).position.sum().backward()
    model.zero_grad()


def test_an_agent_with_an_unknown_heading_faces_all_ways(model, context) -> None:
    """All agents were observed once. Only the heading of the first is unknown."""
    known = torch.ones_like(context.heading_known)
    known[0] = False
    state = any_state(model, context)
    state = state._replace(steady=torch.zeros_like(state.steady))
    noise = noise_of(context, 3, 1)
    quarter = torch.tensor([0.0, 1.0]).expand(2, *noise.turn.shape[1:])
    noise = noise._replace(turn=torch.cat([torch.zeros_like(noise.turn[:1]), quarter]))
    context = context._replace(heading_known=known)
    begun = begin(model.world, context, settle(model.world, context, state), noise)
    before = state.with_mirror(noise.mirror).motion.facing
    x, y = before[2, 0]
    torch.testing.assert_close(begun.motion.facing[2, 0], torch.stack([-y, x]))
    x, y = before[1, 0]  # the second future is that of the mirror image
    torch.testing.assert_close(begun.motion.facing[1, 0], torch.stack([y, -x]))
    assert not begun.motion.facing[0, 0].any()  # the mode: no direction
    torch.testing.assert_close(begun.motion.facing[:, 1:], before[:, 1:])
    steady = state._replace(steady=torch.ones_like(state.steady))
    begun = begin(model.world, context, settle(model.world, context, steady), noise)
    torch.testing.assert_close(begun.motion.facing[0], before[0])
