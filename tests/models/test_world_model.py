"""The step of the world model: initial, observe, update, inject, act."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from forecast.datasets.windows import WindowSpec, window
from forecast.errors import ForecastError
from forecast.graphs import window_graph
from forecast.models import dynamics
from forecast.models.dynamics import to_local
from forecast.models.features import RELATIONS
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.models.losses import LossConfig
from forecast.models.noise import window_noise
from forecast.models.rollout import SceneContext, imagine, observe, settle, surroundings
from forecast.models.types import Agents, Motion, Observation, State
from forecast.models.world_model import (
    WorldModelConfig,
    decision,
    decision_chances,
    decision_class,
)
from forecast.scene.agents import Decision
from tests.models.crowds import (
    DT_S,
    SMALL,
    TYPED,
    all_others,
    any_state,
    crowd,
    network,
    noise_of,
)
from tests.scenes import street_scene

PEDESTRIAN, CYCLIST, VEHICLE, EGO = range(4)
EVERYBODY = [PEDESTRIAN, PEDESTRIAN, CYCLIST, VEHICLE, EGO]


@pytest.fixture(scope="module")
def model() -> PedestrianForecaster:
    return network()


def frame(position: list[list[float]], heading: list[float], valid: list[bool]) -> Observation:
    return Observation(torch.tensor(position), torch.tensor(heading), torch.tensor(valid))


def agents(*kinds: int) -> Agents:
    count = len(kinds)
    return Agents(torch.tensor(kinds), torch.ones(count, 3), torch.full((count,), DT_S))


def test_the_state_before_any_observation(model) -> None:
    state = model.world.initial(agents(PEDESTRIAN, VEHICLE, EGO))
    assert state.mirror.tolist() == [[1] * 3, [-1] * 3]
    assert not state.seen.any()
    assert not state.steady.any()
    assert state.hidden.shape == (2, 3, SMALL.hidden)
    assert state.motion.position.shape == state.motion.velocity.shape == (2, 3, 2)
    assert state.motion.facing.tolist() == [[[1, 0]] * 3] * 2
    zeros = (state.hidden, state.motion.position, state.motion.velocity, state.unseen_s)
    assert not any(value.any() for value in zeros)


def test_what_observing_makes_of_places(model) -> None:
    """Seen at rest, then moved, then not seen, then back after a gap."""
    who = agents(PEDESTRIAN)
    state = model.world.place(who, model.world.initial(who), frame([[1.0, 2.0]], [0.5], [True]))
    assert state.seen.all()
    assert not state.steady.any()
    assert state.motion.velocity.abs().max() == 0
    assert torch.equal(state.velocity_before, state.motion.velocity)
    facing = torch.tensor([0.5]).cos(), torch.tensor([0.5]).sin()
    torch.testing.assert_close(state.motion.facing[0], torch.stack(facing, -1))

    state = model.world.place(who, state, frame([[2.0, 2.0]], [0.5], [True]))
    assert state.steady.all()
    torch.testing.assert_close(state.motion.velocity, torch.tensor([2.0, 0.0]).expand(2, 1, 2))
    assert torch.equal(state.velocity_before, state.motion.velocity)  # no change is known yet

    gone = model.world.place(who, state, frame([[99.0, 99.0]], [2.0], [False]))
    assert gone.unseen_s.tolist() == [[DT_S]] * 2
    for one, other in zip(gone.motion, state.motion, strict=True):
        assert torch.equal(one, other)
    assert gone.steady.all()

    back = model.world.place(who, gone, frame([[2.0, 4.0]], [0.5], [True]))
    torch.testing.assert_close(back.motion.velocity, torch.tensor([0.0, 2.0]).expand(2, 1, 2))
    torch.testing.assert_close(back.velocity_before, torch.tensor([2.0, 0.0]).expand(2, 1, 2))
    assert back.unseen_s.tolist() == [[0]] * 2


def test_a_vehicle_faces_as_recorded_and_a_person_as_it_has_walked(model) -> None:
    who = agents(PEDESTRIAN, VEHICLE)
    state = model.world.place(
        who, model.world.initial(who), frame([[0.0, 0.0]] * 2, [0.0, 0.0], [True] * 2)
    )
    state = model.world.place(who, state, frame([[0.0, 1.0]] * 2, [0.3, 0.3], [True] * 2))
    heading = torch.atan2(state.motion.facing[0, :, 1], state.motion.facing[0, :, 0])
    assert float(heading[1]) == pytest.approx(0.3)
    assert float(heading[0]) > 1.2  # towards its way, whatever was recorded
    assert float(state.motion.yaw_rate[0, 1]) == pytest.approx(0.6)


def test_observing_updates_only_those_that_are_observed(model) -> None:
    context = crowd(model, [PEDESTRIAN, PEDESTRIAN, VEHICLE], pieces=3)
    state = any_state(model, context)._replace(seen=torch.ones(2, 3, dtype=torch.bool))
    seen = frame([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], [0.0] * 3, [True, False, True])
    with torch.no_grad():
        after = observe(model.world, context, state, seen)
    changed = (after.hidden != state.hidden).any(-1)
    assert changed.tolist() == [[True, False, True]] * 2


def test_both_chiralities_observe_the_scene_and_its_mirror_image(model) -> None:
    """What one copy makes of a scene, the other makes of its mirror image."""
    context = crowd(model, EVERYBODY)
    across, state, other = (
        torch.tensor([1.0, -1.0]),
        *(model.world.initial(context.agents) for _ in range(2)),
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(3):
            position = 3 * torch.randn(5, 2, generator=generator)
            heading = torch.randn(5, generator=generator)
            valid = torch.ones(5, dtype=torch.bool)
            state = observe(model.world, context, state, Observation(position, heading, valid))
            mirrored = Observation(position * across, -heading, valid)
            other = observe(model.world, context, other, mirrored)
    torch.testing.assert_close(state.hidden, other.hidden.flip(0), atol=1e-5, rtol=1e-5)
    assert (state.hidden[0] - state.hidden[1]).abs().max() > 1e-3


def futures(model: PedestrianForecaster, context: SceneContext, state: State) -> Motion:
    with torch.no_grad():
        settled = settle(model.world, context, state)
        return imagine(model.world, context, settled, noise_of(context, 4, 6))


def test_imagined_futures_have_one_chirality_each_and_all_steps(model) -> None:
    context = crowd(model, EVERYBODY, pieces=4)
    motion = futures(model, context, any_state(model, context))
    assert motion.position.shape == motion.velocity.shape == motion.facing.shape == (4, 5, 6, 2)
    assert motion.yaw_rate.shape == (4, 5, 6)
    torch.testing.assert_close(motion.facing.norm(dim=-1), torch.ones(4, 5, 6))
    way = motion.position.diff(dim=2) / DT_S
    torch.testing.assert_close(way, motion.velocity[:, :, 1:], atol=1e-4, rtol=1e-4)
    assert motion.yaw_rate[:, :3].abs().max() == 0  # who walks has none


def test_an_intent_changes_hidden_states_alone(model) -> None:
    context = crowd(model, EVERYBODY)
    state = any_state(model, context)
    with torch.no_grad():
        begun = model.world.inject(state, torch.randn(2, 5, SMALL.intent))
    assert not torch.equal(begun.hidden, state.hidden)
    for name, value in state._asdict().items():
        assert name == "hidden" or getattr(begun, name) is value


def test_a_step_leaves_its_arguments_as_they_are(model) -> None:
    context = crowd(model, EVERYBODY, pieces=4)
    state = any_state(model, context)
    noise = noise_of(context, 2, 1)
    kept = [value.clone() for value in (state.hidden, *state.motion, noise.intent)]
    with torch.no_grad():
        around = surroundings(model.world, context, state)
        model.world.update(around, state, state.seen)
        model.world.act(around, state, noise.intent, noise.steps[0])
    for before, now in zip(kept, (state.hidden, *state.motion, noise.intent), strict=True):
        assert torch.equal(before, now)


def test_what_is_not_finite_stays_so(model) -> None:
    context = crowd(model, [PEDESTRIAN] * 3, pairs=False)
    state = any_state(model, context)
    state.hidden[:, 1] = torch.nan
    with torch.no_grad():
        around = surroundings(model.world, context, state)
        hidden = model.world.update(around, state, state.seen)
    assert hidden[:, 1].isnan().all()
    assert hidden[:, [0, 2]].isfinite().all()


@pytest.mark.parametrize(
    "slots", [SMALL.slots, TYPED, [["person_vehicle"], ["vehicle_any", "person_person"]]]
)
def test_pedestrians_that_meet_avoid_each_other_and_others_do_not(slots) -> None:
    """Without weights everybody goes on as before, straight into another."""
    model = network(replace(SMALL, slots=slots))
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    for kinds, avoids in (([PEDESTRIAN] * 2, True), ([PEDESTRIAN, CYCLIST], False)):
        context = crowd(model, kinds)
        still = any_state(model, context, copies=1)
        motion = Motion(
            torch.tensor([[[0.0, 0.0], [1.0, 0.1]]]),
            torch.tensor([[[2.0, 0.0], [-2.0, 0.0]]]),
            torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]]),
            torch.zeros(1, 2),
        )
        state, noise = still._replace(motion=motion), noise_of(context, 1, 1)
        with torch.no_grad():
            around = surroundings(model.world, context, state)
            after = model.world.act(around, state, noise.intent, noise.steps[0])
        assert torch.equal(after.velocity, motion.velocity) is not avoids


def test_more_edges_than_are_in_range_change_nothing(model) -> None:
    """Exported and compiled programs may be given any superset of the edges."""
    context = crowd(model, EVERYBODY, pieces=4)
    state, noise = any_state(model, context), noise_of(context, 2, 1)
    apart = state.motion._replace(position=2 * state.motion.position)
    state = state._replace(motion=apart)
    around = surroundings(model.world, context, state)
    every = torch.cat([all_others(5), all_others(5) + 5], 1)
    drives, many = context.agents.drives.repeat(2), []
    for few, relations in zip(around.edges.agents, SMALL.slots, strict=True):
        of_slot = [RELATIONS[name].connects(context.agents, *(every % 5)) for name in relations]
        pairs = every[:, torch.stack(of_slot).any(0)]
        radius = torch.where(drives[pairs].any(0), 10.0, 5.0)
        many.append(few._replace(source=pairs[0], target=pairs[1], radius=radius))
        assert len(few.source) < len(many[-1].source)
    wide = around._replace(edges=around.edges._replace(agents=tuple(many)))
    with torch.no_grad():
        for one, other in zip(
            (model.world.update(around, state, state.seen), *act(model, around, state, noise)),
            (model.world.update(wide, state, state.seen), *act(model, wide, state, noise)),
            strict=True,
        ):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def act(model: PedestrianForecaster, around, state: State, noise) -> Motion:
    return model.world.act(around, state, noise.intent, noise.steps[0])


def test_changes_of_motion_are_in_the_agents_frame(model) -> None:
    context = crowd(model, EVERYBODY)
    state, noise = any_state(model, context), noise_of(context, 2, 1)
    with torch.no_grad():
        change, velocity = model.world.intend(context.agents, state, noise.intent, noise.steps[0])
    more = dynamics.to_world(change, state.motion.facing, state.mirror)
    torch.testing.assert_close(velocity, state.motion.velocity + more)


def logits_of(goes: float, more: float) -> Tensor:
    """Outputs of the decision head with the logits ``goes``, and ``goes + more`` of not waiting."""
    return torch.tensor([goes, more + math.log(-math.expm1(-more))])  # the inverse of softplus


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_the_chances_of_decisions_by_hand() -> None:
    found = decision_chances(logits_of(0.0, 1.0))
    expected = [0.5, sigmoid(1) - 0.5, 1 - sigmoid(1)]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_a_decision_by_hand() -> None:
    """A draw z has the logit 1.702 z; a decision turns four times as fast as its chance."""
    logits = logits_of(0.0, 1.0)
    found = decision(logits, torch.tensor(0.0))
    assert found.tolist() == pytest.approx([0.5, sigmoid(4) - 0.5, 1 - sigmoid(4)], abs=1e-6)
    found = decision(logits, torch.tensor(2.0))
    goes, not_waits = sigmoid(4 * -3.404), sigmoid(4 * -2.404)
    assert found.tolist() == pytest.approx([goes, not_waits - goes, 1 - not_waits], abs=1e-6)
    far = decision(logits_of(0.0, 6.0), torch.tensor([-3.0, 2.0, 6.0]))
    torch.testing.assert_close(far, torch.eye(3), atol=1e-3, rtol=0)  # nearly one-hot


def test_chances_and_decisions_are_shares_in_the_order_of_the_draw() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(200, 1, 2, generator=generator)
    draw = torch.linspace(-4, 4, 101).expand(200, 101)
    for shares in (decision_chances(logits), decision(logits, draw)):
        assert (shares >= 0).all()
        torch.testing.assert_close(shares.sum(-1), torch.ones(shares.shape[:-1]))
    goes, _, waits = decision(logits, draw).unbind(-1)
    assert (goes.diff(dim=1) <= 0).all()
    assert (waits.diff(dim=1) >= 0).all()


def test_decisions_over_all_draws_are_as_frequent_as_their_chances() -> None:
    """To 0.02: the logistic function is not the normal one, and decisions turn with a width."""
    draw = torch.special.ndtri((torch.arange(2000) + 0.5) / 2000)
    for goes in (-4.0, -1.0, 0.0, 2.0):
        for more in (0.1, 1.0, 4.0):
            logits = logits_of(goes, more)
            found = decision(logits.expand(2000, 2), draw).mean(0)
            torch.testing.assert_close(found, decision_chances(logits), atol=0.02, rtol=0)


def test_the_first_latent_decides_and_the_decision_moves() -> None:
    """With heads of their biases alone; who goes accelerates, who waits loses speed."""
    model = network()
    with torch.no_grad():
        for head in (model.world.decision_head, model.world.action_head):
            for parameter in head.parameters():
                parameter.zero_()
        model.world.decision_head[-1].bias.copy_(logits_of(0.0, 4.0))
        actions = [[0.8, 0.4, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.5]]  # going, free, waiting
        model.world.action_head[-1].bias.copy_(torch.tensor(actions).flatten())
        context = crowd(model, [PEDESTRIAN])
        state, noise = any_state(model, context, copies=1), noise_of(context, 1, 1)
        motion = state.motion
        velocity = to_local(motion.velocity.unbind(-1), motion.facing.unbind(-1), state.mirror)
        slower = [-0.5 * DT_S * float(each) for each in velocity]
        expected = {0: [0.8 * DT_S, 0.4 * DT_S], 1: [0.0, 0.0], 2: slower}
        chances = model.world.chances(state)
        shares = torch.tensor([0.5, sigmoid(4) - 0.5, 1 - sigmoid(4)])
        torch.testing.assert_close(chances, shares.expand(1, 1, 3))
        for draw, made in ((-2.0, 0), (1.2, 1), (5.0, 2)):
            intent = noise.intent.clone()
            intent[..., 0] = draw
            change, _ = model.world.intend(context.agents, state, intent, noise.steps[0])
            assert change[0, 0].tolist() == pytest.approx(expected[made], abs=0.01)
        for known, made in ((0, 0), (1, 1), (2, 2), (-1, 2)):  # -1: decides by itself, to wait
            given = torch.tensor([[known]])
            change, _ = model.world.intend(context.agents, state, intent, noise.steps[0], given)
            assert change[0, 0].tolist() == pytest.approx(expected[made], abs=0.01)


def test_training_starts_near_constant_velocity_and_decisions_have_a_meaning() -> None:
    """Who goes comes to a walking pace, who waits comes to rest, and most are free."""
    model = PedestrianForecaster(ForecasterConfig())
    context = crowd(model, [PEDESTRIAN])
    state, noise = any_state(model, context, copies=1), noise_of(context, 1, 1)
    given = context.agents, state, noise.intent, noise.steps[0]
    motion = state.motion
    along, across = to_local(motion.velocity.unbind(-1), motion.facing.unbind(-1), state.mirror)
    rate = 1.4 * DT_S
    with torch.no_grad():
        assert model.world.chances(state)[0, 0, 1] > 0.7
        for known, gains in ((0, (1.25 - along, -across)), (1, (0.0, 0.0)), (2, (-along, -across))):
            change, _ = model.world.intend(*given, torch.tensor([[known]]))
            wanted = [rate * float(gain) for gain in gains]
            assert change[0, 0].tolist() == pytest.approx(wanted, abs=1e-6)


def test_the_filtered_velocity_moves_towards_the_new_one_by_the_gain(model) -> None:
    """The first velocity is taken as it is; a frame without the agent changes nothing."""
    who, world = agents(PEDESTRIAN), model.world
    with torch.no_grad():
        world.gain_head.weight.zero_()
        world.gain_head.bias.fill_(math.log(3))  # a gain of 3/4
        state = world.initial(who)
        found = []
        for x, seen in ((0.0, True), (0.5, True), (1.5, True), (9.0, False)):
            state = world.place(who, state, frame([[x, 0.0]], [0.0], [seen]))
            found.append(state.smoothed[0, 0].tolist())
    speeds = [0.5 / DT_S, 1.0 / DT_S]
    mean = 0.25 * speeds[0] + 0.75 * speeds[1]
    for got, expected in zip(found, [0.0, speeds[0], mean, mean], strict=True):
        assert got == pytest.approx([expected, 0.0], abs=1e-5)


def test_imagining_begins_at_filtered_velocities_that_companions_share() -> None:
    """A weight of a half for two people within range; vehicles keep their own velocity."""
    model = network()
    context = crowd(model, [PEDESTRIAN, PEDESTRIAN, VEHICLE])
    state, world = any_state(model, context, copies=2), model.world
    near = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]).expand(2, 3, 2)
    state = state._replace(motion=state.motion._replace(position=near))
    around = surroundings(world, context, state)
    with torch.no_grad():
        last = world.companion_head[-1]
        last.weight.zero_(), last.bias.zero_()
        begun = world.settle(around, state)
    radius = around.edges.agents[world.people].radius[0]
    share = 0.5 * (1 - (1 / radius) ** 2) ** 2
    one, other = state.smoothed[:, 0], state.smoothed[:, 1]
    expected = one + share * (other - one) / (1 + share)
    torch.testing.assert_close(begun.motion.velocity[:, 0], expected)
    torch.testing.assert_close(begun.motion.velocity[:, 2], state.motion.velocity[:, 2])
    torch.testing.assert_close(begun.smoothed, begun.motion.velocity)


def test_who_was_seen_once_draws_nobody() -> None:
    """Its velocity is not known, so it is no companion."""
    model = network()
    context = crowd(model, [PEDESTRIAN, PEDESTRIAN])
    state, world = any_state(model, context, copies=2), model.world
    near = torch.tensor([[0.0, 0.0], [1.0, 0.0]]).expand(2, 2, 2)
    steady = torch.tensor([[True, False]]).expand(2, 2)
    state = state._replace(motion=state.motion._replace(position=near), steady=steady)
    with torch.no_grad():
        begun = world.settle(surroundings(world, context, state), state)
    torch.testing.assert_close(begun.smoothed[:, 0], state.smoothed[:, 0])
    assert (begun.smoothed[:, 1] != state.smoothed[:, 1]).any()


def test_a_gap_of_several_steps_counts_as_several() -> None:
    """With a gain of a quarter, two steps at one velocity leave (3/4)^2 of the old one."""
    world = network().world
    torch.nn.init.zeros_(world.gain_head.weight)
    torch.nn.init.constant_(world.gain_head.bias, float(torch.tensor(1 / 3).log()))
    who = agents([PEDESTRIAN])
    state = world.initial(who)
    with torch.no_grad():
        for x, seen in ((0.0, True), (0.5, True), (9.0, False), (2.5, True)):
            state = world.place(who, state, frame([[x, 0.0]], [0.0], [seen]))
    before, after = 0.5 / DT_S, 1.0 / DT_S
    expected = after + 0.75**2 * (before - after)
    assert state.smoothed[0, 0].tolist() == pytest.approx([expected, 0.0], abs=1e-5)


def test_classes_of_decisions_by_hand() -> None:
    """Going, free, waiting: 0, 1, 2."""
    made = [Decision.UNKNOWN, Decision.FREE, Decision.GO, Decision.YIELD]
    made += [Decision.STEP_BACK, Decision.UNDECIDED]
    assert decision_class(torch.tensor(made)).tolist() == [-1, 1, 0, 2, 2, 2]


typed = pytest.mark.parametrize(
    "slots", [TYPED, [["person_vehicle"], ["person_person", "vehicle_any"]]]
)


@typed
def test_slots_of_relations_work_end_to_end(slots: list[list[str]]) -> None:
    sizes = replace(SMALL, slots=slots)
    model = network(sizes)
    graph = window_graph(window(street_scene(), 10, WindowSpec(5, 8)), model.config.graph)
    agent = graph["agent"]
    noise = window_noise(sizes, [0], [agent.num_nodes], samples=3, steps=8)
    parts, imagined = model.loss(graph, noise, LossConfig(), agent.future_valid)
    assert imagined.shape == (4, agent.num_nodes, 8, 2)
    assert imagined.isfinite().all()
    parts["loss"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def changed_slot(kinds: list[int], slot: int) -> tuple[Tensor, Tensor]:
    """Imagined positions with typed slots, before and after a slot's parameters change."""
    model = network(replace(SMALL, slots=TYPED))
    context = crowd(model, kinds, pieces=3)
    state = any_state(model, context)
    near = state.motion._replace(position=0.4 * state.motion.position)
    state = state._replace(motion=near, seen=torch.ones_like(state.seen))
    before = futures(model, context, state).position
    with torch.no_grad():
        for parameter in (layer := model.world.messages.agents[slot]).parameters():
            if parameter is not layer.out.bias:  # which those without neighbours get too
                parameter += 0.3
    return before, futures(model, context, state).position


def test_the_slot_of_vehicles_changes_nothing_for_people_without_vehicles_in_range() -> None:
    assert TYPED[1] == ["person_vehicle"]
    assert torch.equal(*changed_slot([PEDESTRIAN, PEDESTRIAN, CYCLIST], slot=1))
    before, after = changed_slot([PEDESTRIAN, PEDESTRIAN, VEHICLE], slot=1)
    assert (before - after)[:, :2].abs().amax((0, 2, 3)).min() > 1e-4


@pytest.mark.parametrize(
    ("kinds", "slot", "changes"),
    [
        ([PEDESTRIAN, VEHICLE], 0, [False, False]),
        ([PEDESTRIAN, CYCLIST], 0, [True, True]),
        ([PEDESTRIAN, VEHICLE], 1, [True, False]),
        ([PEDESTRIAN, VEHICLE], 2, [False, True]),
        ([EGO, VEHICLE], 2, [True, True]),
        ([EGO, VEHICLE], 0, [False, False]),
    ],
)
def test_a_slot_changes_only_the_receivers_of_its_relation(kinds, slot, changes) -> None:
    before, after = changed_slot(kinds, slot)
    # Later steps than the first may differ because another agent has moved differently.
    differs = (before - after)[:, :, :1].abs().amax((0, 2, 3)) > 1e-6
    assert differs.tolist() == changes


@pytest.mark.parametrize(
    "slots",
    [
        [],
        [["person_person", "person_vehicle"]],
        [["person_person"], ["person_vehicle"], ["vehicle_any"], ["person_person"]],
        [["person_person", "person_vehicle", "vehicle_any"], []],
        [["person_person", "person_vehicle", "vehicle_any", "person_horse"]],
    ],
    ids=["none", "missing", "twice", "empty", "unknown"],
)
def test_slots_that_do_not_name_each_relation_once_are_refused(slots: list[list[str]]) -> None:
    with pytest.raises(ForecastError, match=r"world_model\.slots is .*each of person_person, "):
        WorldModelConfig(slots=slots)


def test_people_hear_vehicles_in_a_slot_of_their_own() -> None:
    assert WorldModelConfig().slots == [["person_person", "vehicle_any"], ["person_vehicle"]]
    for together in ([list(RELATIONS)], [["vehicle_any"], ["person_vehicle", "person_person"]]):
        with pytest.raises(ForecastError, match="the same edge features in one slot"):
            WorldModelConfig(slots=together)


def test_relations_with_other_edge_features_cannot_share_a_slot(monkeypatch) -> None:
    other = RELATIONS["vehicle_any"]._replace(edges=lambda own, other, radius: (radius, radius))
    monkeypatch.setitem(RELATIONS, "vehicle_any", other)
    with pytest.raises(ForecastError, match="the same edge features in one slot"):
        WorldModelConfig()
    assert WorldModelConfig(slots=TYPED).slots == TYPED


@pytest.mark.parametrize("name", ["hidden", "messages", "map", "intent", "noise"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ForecastError, match=rf"world_model\.{name} is 0; 1 or more"):
        WorldModelConfig(**{name: 0})
