"""Messages between agents and from the map, against sums by hand."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import silu

from forecast.datasets.windows import WindowSpec, window
from forecast.graphs import GraphConfig, MapKind, window_graph
from forecast.graphs.pieces import EDGES
from forecast.models.crossings import Crossings
from forecast.models.features import map_edges
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.models.message_passing import EdgeMessages, MapEncoder, Replayed, SceneEdges
from forecast.models.neighbors import Edges
from forecast.models.rollout import SceneContext, no_replayed
from forecast.models.types import State
from forecast.models.world_model import WorldModelConfig
from forecast.scene import AgentKind, Scene
from tests.models.crowds import SMALL, TYPED, any_state, crowd, network

SPEC = WindowSpec(history_steps=5, horizon_steps=8)
PEDESTRIAN, CYCLIST, VEHICLE, EGO = range(4)
CPU = torch.device("cpu")


def edges_of(pairs: list[tuple[int, int]]) -> Edges:
    """Edges (source, target), sorted by target."""
    source, target = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).t()
    return Edges(source, target, torch.full(source.shape, 5.0))


def random_messages(*sizes: int, dtype: torch.dtype = torch.float64) -> EdgeMessages:
    messages = EdgeMessages(*sizes).to(dtype)
    for parameter in messages.parameters():
        torch.nn.init.normal_(parameter)
    return messages


def test_the_weighted_mean_by_hand() -> None:
    """All projections are the identity, so that a message is a SiLU of a sum.

    The attention's logit is ln 3 for every message, so each weight is multiplied by 2 * 3/4.
    """
    messages = EdgeMessages(1, 1, 1, 1)
    for layer in (messages.source, messages.target, messages.edge, messages.out):
        torch.nn.init.ones_(layer.weight)
    torch.nn.init.zeros_(messages.source.bias)
    torch.nn.init.zeros_(messages.attention.weight)
    torch.nn.init.constant_(messages.attention.bias, math.log(3))
    torch.nn.init.constant_(messages.out.bias, 0.5)
    source, target = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.1], [0.2], [0.3]])
    edges = edges_of([(0, 0), (1, 0), (1, 2)])
    features, weight = torch.tensor([[0.01], [0.02], [0.03]]), torch.tensor([0.5, 0.25, 1.0])
    received = messages(messages.source(source), target, edges, features, weight)
    one, two, three = silu(torch.tensor([1.11, 2.12, 2.33])).tolist()
    expected = [0.5 + (0.75 * one + 0.375 * two) / 2.125, 0.5, 0.5 + 1.5 * three / 2.5]
    assert received.flatten().tolist() == pytest.approx(expected)


def test_attention_weighs_one_message_more_than_another() -> None:
    """The attention's logit is the message: SiLU of large sums is the sum, of small ones 0."""
    messages = EdgeMessages(1, 1, 1, 1)
    for layer in (messages.source, messages.attention, messages.out):
        torch.nn.init.ones_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    source = torch.tensor([[100.0], [-100.0]])
    edges = edges_of([(0, 0), (1, 0), (1, 1)])
    weight, none = torch.tensor([0.5, 0.5, 0.5]), torch.zeros(3, 1)
    received = messages(source, torch.zeros(2, 1), edges, none, weight)
    # 100 has attention 2, 0 has attention 1, so the mean is 100 * 1 / (1 + 1 + 0.5).
    assert received.flatten().tolist() == pytest.approx([40.0, 0.0])


def attended(messages: EdgeMessages, said: Tensor, weight: Tensor | float) -> Tensor:
    """Weights of messages ``[E, D]``, the attention included ``[E, 1]``."""
    return 2 * weight * messages.attention(said).sigmoid()


@pytest.mark.parametrize("crowd_size", [0, 1, 3, 1000])
def test_a_crowd_of_equal_messages_weighs_no_more_than_one(crowd_size: int) -> None:
    torch.manual_seed(0)
    messages = EdgeMessages(source=2, target=2, features=1, width=4).double()
    torch.nn.init.eye_(messages.out.weight)
    torch.nn.init.zeros_(messages.out.bias)
    projected, target, weight = torch.randn(1, 4).double(), torch.zeros(1, 2).double(), 0.5
    edges = edges_of([(0, 0)] * crowd_size)
    weights = torch.full((crowd_size,), weight).double()
    received = messages(projected, target, edges, torch.zeros(crowd_size, 1).double(), weights)
    total = crowd_size * attended(messages, silu(projected), weight)
    mean = silu(projected) * total / (1 + total)
    torch.testing.assert_close(received, mean)


@settings(max_examples=15)
@given(nodes=st.integers(1, 5), count=st.integers(0, 9), seed=st.integers(0, 1000))
def test_messages_and_their_gradients_are_those_of_a_loop_over_edges(
    nodes: int, count: int, seed: int
) -> None:
    torch.manual_seed(seed)
    messages = random_messages(3, 2, 4, 5)
    source, target, features, weight, out = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((nodes, 3), (nodes, 2), (count, 4), (count,), (nodes, 5))
    )
    ends = torch.randint(nodes, (2, count))
    ends = ends[:, ends[1].sort(stable=True).indices]
    edges = Edges(*ends, torch.ones(count))
    share = weight.square()
    found = messages(messages.source(source), target, edges, features, share)
    rows = []
    for node in range(nodes):
        total, weights = torch.zeros(5, dtype=torch.float64), torch.ones((), dtype=torch.float64)
        for edge in range(count):
            if int(ends[1, edge]) == node:
                heard = messages.source(source[ends[0, edge]]) + messages.target(target[node])
                said = silu(heard + messages.edge(features[edge]))
                attention = attended(messages, said, share[edge])
                total, weights = total + attention * said, weights + attention
        rows.append(messages.out(total / weights))
    expected = torch.stack(rows)
    torch.testing.assert_close(found, expected)
    inputs = [source, target, features, weight, *messages.parameters()]
    gradients = (
        torch.autograd.grad(
            (value * out).sum(),
            inputs,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        for value in (found, expected)
    )
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def nowhere(rows: int) -> Crossings:
    """Nobody comes to a crosswalk."""
    return Crossings(*torch.zeros(len(Crossings._fields), rows))


class Received(NamedTuple):
    """Messages to the agents of a scene.

    Attributes:
        all: All slots' and the map's ``[S * N, (slots + 1) * D]``.
        slots: The same by slot, the map's last.
    """

    all: Tensor
    slots: tuple[Tensor, ...]


def received(
    model: PedestrianForecaster,
    context: SceneContext,
    state: State,
    hidden: Tensor,
    visible: Tensor | None = None,
) -> Received:
    world, sizes = model.world, model.config.world_model
    table = world.table(context.agents, state, state.seen if visible is None else visible)
    around = context.edges(state.motion, world.graph.vehicle_ahead_s)
    others = no_replayed(sizes.messages, len(sizes.slots), CPU)
    ahead = world.conflicts(table, context.map, around.lanes)
    given = context.map, around, others, nowhere(len(hidden)), ahead
    found, _ = world.messages(table, hidden, *given)
    return Received(found, found.split(sizes.messages, dim=1))


def car_and_walker(distance_m: float, speed_mps: float) -> Scene:
    """A car straight west of a standing person, driving east; the distance is that at step 4."""
    steps = torch.arange(13.0)
    car = [[-distance_m + 0.5 * speed_mps * (t - 4), 0.0] for t in steps.tolist()]
    kinds = [AgentKind.PEDESTRIAN, AgentKind.VEHICLE]
    return Scene.from_arrays([[[0.0, 0.0]] * 13, car], kinds, dt_s=0.5)


@pytest.mark.parametrize(
    ("distance_m", "speed_mps", "in_range"),
    [(59, 10, True), (61, 10, False), (9, 0, True), (11, 0, False)],
)
def test_a_vehicle_is_in_range_from_as_far_as_it_goes_in_five_seconds(
    distance_m, speed_mps, in_range
) -> None:
    torch.manual_seed(0)
    model = PedestrianForecaster(ForecasterConfig())
    torch.nn.init.normal_(model.world.action_head[-1].weight)
    scene = car_and_walker(distance_m, speed_mps)
    graph = window_graph(window(scene, 4, SPEC), GraphConfig())
    context = model.context(graph)
    state = model.observe(context, graph)
    near = model.near_traffic(context, state)
    assert near.tolist() == [in_range and speed_mps > 0, False]
    hidden = torch.ones(4, 64)
    beside = received(model, context, state, hidden).all
    alone = received(model, context, state, hidden, torch.zeros_like(state.seen)).all
    assert torch.equal(beside[::2], alone[::2]) is not in_range


@pytest.mark.parametrize("slots", [SMALL.slots, TYPED])
def test_an_agent_with_nobody_in_range_gets_the_biases_of_the_last_layers(slots) -> None:
    model = network(WorldModelConfig(16, 8, 8, slots=slots))
    context = crowd(model, [PEDESTRIAN, VEHICLE, CYCLIST], pieces=4, pairs=False)
    state = any_state(model, context)
    found = received(model, context, state, torch.randn(6, 16)).all
    layers = [*model.world.messages.agents, model.world.messages.map]
    biases = torch.cat([layer.out.bias for layer in layers])
    torch.testing.assert_close(found, biases.expand(6, -1))


def test_agents_that_are_not_visible_send_nothing() -> None:
    model = network()
    context = crowd(model, [PEDESTRIAN] * 4)
    state, hidden = any_state(model, context), torch.randn(8, 16)
    nobody_visible = torch.zeros(2, 4, dtype=torch.bool)
    found = received(model, context, state, hidden, nobody_visible).slots[0]
    torch.testing.assert_close(found, model.world.messages.agents[0].out.bias.expand(8, -1))
    first = nobody_visible.index_fill(1, torch.tensor(0), True)
    changed = hidden.view(2, 4, 16).clone()
    changed[:, 1:] += 1  # of senders that are not visible, but it is their own embedding as well
    one, other = (
        received(model, context, state, each.reshape(8, 16), first).slots[0].view(2, 4, 8)
        for each in (hidden.view(2, 4, 16), changed)
    )
    assert torch.equal(one[:, 0], other[:, 0])
    assert not torch.equal(one[:, 1:], other[:, 1:])


def test_copies_of_a_scene_exchange_no_messages() -> None:
    model = network()
    context = crowd(model, [PEDESTRIAN, VEHICLE, PEDESTRIAN, EGO], pieces=5)
    state, hidden = any_state(model, context, copies=3), torch.randn(12, 16)
    together = received(model, context, state, hidden).all.view(3, 4, -1)
    for copy in range(3):
        alone = State(
            *(value[copy : copy + 1] for value in (state.hidden,)),
            type(state.motion)(*(value[copy : copy + 1] for value in state.motion)),
            *(value[copy : copy + 1] for value in state[2:]),
        )
        found = received(model, context, alone, hidden.view(3, 4, 16)[copy]).all
        torch.testing.assert_close(found, together[copy], atol=1e-6, rtol=1e-5)


def test_each_relation_has_a_slot_of_its_own_if_wanted() -> None:
    """What a person in a crowd of people and vehicles gets, slot by slot."""
    model = network(WorldModelConfig(16, 8, 8, slots=TYPED))
    kinds = [PEDESTRIAN, CYCLIST, VEHICLE, EGO]
    context, hidden = crowd(model, kinds), torch.randn(4, 16)
    state = any_state(model, context, copies=1)._replace(seen=torch.ones(1, 4, dtype=torch.bool))
    motion = state.motion._replace(position=torch.arange(8.0).view(1, 4, 2) / 4)
    state = state._replace(motion=motion)
    everybody = received(model, context, state, hidden)
    nothing = [layer.out.bias for layer in model.world.messages.agents]
    for receiver, slots in enumerate([(0, 1), (0, 1), (2,), (2,)]):
        for slot in range(3):
            silent = torch.equal(everybody.slots[slot][receiver], nothing[slot])
            assert silent is (slot not in slots)
    only_people = torch.tensor([[True, True, False, False]])
    found = received(model, context, state, hidden, only_people)
    assert torch.equal(found.slots[0], everybody.slots[0])
    assert torch.equal(found.slots[1], nothing[1].expand(4, -1))
    assert not torch.equal(found.slots[2][2], everybody.slots[2][2])


def test_replayed_agents_send_the_messages_that_they_sent_in_the_scene() -> None:
    model = network(WorldModelConfig(16, 8, 8, slots=TYPED))
    context = crowd(model, [PEDESTRIAN, VEHICLE, PEDESTRIAN, EGO, CYCLIST], pieces=6)
    state, hidden = any_state(model, context, copies=1), torch.randn(5, 16)
    expected = received(model, context, state, hidden).all
    world = model.world
    table = world.table(context.agents, state, state.seen)
    around = context.edges(state.motion, world.graph.vehicle_ahead_s)
    rest = torch.arange(1, 5)
    ahead = world.conflicts(table, context.map, around.lanes)
    replayed = Replayed(
        table.rows(rest),
        ahead.rows(rest),
        world.messages.project(hidden[1:]),
        state.motion.velocity[0, 1:],
        context.agents.pedestrian[1:],
    )
    assert torch.equal(replayed.positions(), state.motion.position[0, 1:])

    def of_first(edges: Edges) -> Edges:
        return Edges(*(value[edges.target == 0] for value in edges))

    agents = tuple(of_first(each) for each in around.agents)
    some = SceneEdges(agents, *map(of_first, (around.map, around.crossings, around.lanes)))
    assert len(torch.cat([edges.source for edges in some.agents])) > 0
    first = table.rows(torch.tensor([0]))
    found, _ = world.messages(
        first, hidden[:1], context.map, some, replayed, nowhere(1), ahead.rows(torch.tensor([0]))
    )
    torch.testing.assert_close(found, expected[:1], atol=1e-6, rtol=1e-5)


def pieces_of_all_kinds() -> tuple[Tensor, Tensor, Tensor]:
    """Points, kinds and links of eight curved map pieces."""
    generator = torch.Generator().manual_seed(1)
    points = 8 * torch.randn(8, 1, 2, generator=generator)
    points = points + torch.randn(8, 5, 2, generator=generator).cumsum(1)
    kind = torch.arange(8) % len(MapKind)
    return points, kind, torch.tensor([[0, 1, 2, 5], [4, 2, 3, 0]])


def mirror_image(points: Tensor, kind: Tensor) -> Tensor:
    """The same pieces with left and right exchanged; the inside of areas stays on the left."""
    points = points * torch.tensor([1.0, -1.0])
    return torch.where(torch.isin(kind, torch.tensor(EDGES))[:, None, None], points.flip(1), points)


def test_mirrored_embeddings_are_those_of_the_mirrored_map() -> None:
    torch.manual_seed(0)
    encoder, (points, kind, follows) = MapEncoder(5, 8), pieces_of_all_kinds()
    both, middle, direction = encoder(points, kind, follows)
    other, mirrored_middle, mirrored_direction = encoder(mirror_image(points, kind), kind, follows)
    torch.testing.assert_close(other, both.flip(0), atol=1e-5, rtol=1e-5)
    across = torch.tensor([1.0, -1.0])
    torch.testing.assert_close(mirrored_middle, middle * across)
    torch.testing.assert_close(mirrored_direction, direction * across)
    assert (both[0] - both[1]).abs().amax(-1).min() > 1e-3


def test_a_map_piece_points_along_its_lane_or_to_the_inside_of_its_area() -> None:
    line = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    kind = torch.arange(len(MapKind))
    _, middle, direction = MapEncoder(3, 4)(line.expand(6, 3, 2), kind, torch.zeros(2, 0).long())
    assert middle.tolist() == [[1.0, 0.0]] * 6
    assert direction.tolist() == [[1.0, 0.0], *[[0.0, 1.0]] * 3, *[[1.0, 0.0]] * 2]


def test_embeddings_of_the_map_do_not_change_when_it_is_moved_and_turned() -> None:
    torch.manual_seed(0)
    encoder, (points, kind, follows) = MapEncoder(5, 8), pieces_of_all_kinds()
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    before, after = (encoder(p, kind, follows)[0] for p in (points, points @ turn + 30))
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)


def test_links_pass_messages_both_ways() -> None:
    torch.manual_seed(0)
    encoder, (points, kind, _) = MapEncoder(5, 8), pieces_of_all_kinds()
    alone, linked, back = (
        encoder(points, kind, torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).t())[0]
        for pairs in ([], [[0, 1]], [[1, 0]])
    )
    changed = (alone != linked).any(-1).any(0)
    assert changed.tolist() == [True, True, *[False] * 6]
    torch.testing.assert_close(linked, back)


def test_an_agent_with_a_mirrored_frame_receives_messages_from_the_mirrored_map() -> None:
    model = network()
    context = crowd(model, [PEDESTRIAN, VEHICLE], pieces=4)
    state, hidden = any_state(model, context), torch.randn(4, 16)
    found = received(model, context, state, hidden).slots[-1]
    layer = model.world.messages.map
    table = model.world.table(context.agents, state, state.seen)
    assert table.mirror.tolist() == [1, 1, -1, -1]
    for row in range(4):
        own = table.rows(torch.full((4,), row))
        features, weight = map_edges(own, context.map.poses, torch.full((4,), 10.0))
        said = context.map.projected[int(row >= 2)] + layer.target(hidden[row])
        messages = silu(said + layer.edge(features))
        shares = attended(layer, messages, weight[:, None])
        expected = layer.out((shares * messages).sum(0) / (1 + shares.sum()))
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-5)
