"""The contract of the model: shapes, symmetries, causality, gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, HeteroData

from forecast.datasets.windows import WindowSpec, window
from forecast.graphs import window_graph
from forecast.models.features import RELATIONS
from forecast.models.forecaster import (
    ForecasterConfig,
    PedestrianForecaster,
    known_decisions,
    twins,
)
from forecast.models.losses import LossConfig
from forecast.models.noise import keyed_noise, window_noise
from forecast.models.types import Plan
from forecast.models.world_model import WorldModelConfig
from forecast.scene import AgentKind, Scene
from forecast.scene.agents import Decision
from tests.scenes import mirrored, moved, street_scene

SPEC = WindowSpec(history_steps=5, horizon_steps=8)
CONFIG = ForecasterConfig(world_model=WorldModelConfig(hidden=16, messages=8, map=8))


@pytest.fixture(scope="module")
def model() -> PedestrianForecaster:
    """A model with random weights everywhere, also where training starts at zero."""
    torch.manual_seed(0)
    model = PedestrianForecaster(CONFIG)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def futures(
    model: PedestrianForecaster,
    scene: Scene,
    at: int = 10,
    plan: Plan | None = None,
    mirror: int = 1,
) -> torch.Tensor:
    cut = window(scene, at, SPEC)
    noise = keyed_noise(CONFIG.world_model, cut.agent_ids.tolist(), 3, 8, seed=1)
    noise = noise._replace(mirror=mirror * noise.mirror)
    with torch.inference_mode():
        return model(window_graph(cut, CONFIG.graph), noise, plan)


def test_the_most_probable_future_of_an_untrained_model_is_constant_velocity() -> None:
    scene = Scene.from_arrays([[[0.7 * t, 0.2 * t] for t in range(12)]], [0], dt_s=0.5)
    future = futures(PedestrianForecaster(CONFIG), scene, at=6)
    steps = torch.arange(7, 15)[:, None]
    expected = steps * torch.tensor([0.7, 0.2])
    torch.testing.assert_close(future[0, 0], expected, atol=0.02, rtol=0)


@settings(max_examples=10)
@given(angle=st.floats(-3, 3), x=st.floats(-50, 50), y=st.floats(-50, 50))
def test_moving_the_scene_moves_the_forecast(model, angle: float, x: float, y: float) -> None:
    scene = street_scene()
    forecast = futures(model, scene).numpy()
    cos, sin = np.cos(angle), np.sin(angle)
    expected = forecast @ np.array([[cos, sin], [-sin, cos]]) + [x, y]
    np.testing.assert_allclose(futures(model, moved(scene, angle, (x, y))), expected, atol=2e-3)


def test_mirroring_the_scene_mirrors_the_forecast(model) -> None:
    scene = street_scene()
    forecast = futures(model, scene)
    seen_in_a_mirror = futures(model, mirrored(scene), mirror=-1)
    expected = forecast * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(seen_in_a_mirror, expected, atol=1e-4, rtol=0)
    # The mode is the mean of both chiralities.
    mode = futures(model, mirrored(scene))[0]
    torch.testing.assert_close(mode, expected[0], atol=1e-4, rtol=0)
    same_chirality = futures(model, mirrored(scene))[1:]
    assert (same_chirality - expected[1:]).abs().max() > 1e-2


def test_reordering_agents_reorders_the_forecast(model) -> None:
    scene = street_scene()
    order = np.random.default_rng(0).permutation(len(scene.tracks))
    shuffled = replace(scene, tracks=scene.tracks.select(order))
    names = scene.tracks.agent_ids[scene.present(10)].tolist()
    place = [names.index(n) for n in shuffled.tracks.agent_ids[shuffled.present(10)]]
    torch.testing.assert_close(
        futures(model, shuffled), futures(model, scene)[:, place], atol=1e-4, rtol=0
    )


def test_scenes_of_a_batch_do_not_touch_each_other(model) -> None:
    cuts = [window(street_scene(seed), 10, SPEC) for seed in (0, 1)]
    graphs = [window_graph(cut, CONFIG.graph) for cut in cuts]
    batch = Batch.from_data_list(graphs)
    names = [name for cut in cuts for name in cut.agent_ids.tolist()]
    noise = keyed_noise(CONFIG.world_model, names, 3, 8, seed=1)
    with torch.inference_mode():
        together = model(batch, noise)
    alone = torch.cat([futures(model, street_scene(seed)) for seed in (0, 1)], dim=1)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


def test_an_agent_out_of_reach_changes_nothing(model) -> None:
    scene = street_scene()
    tracks = scene.tracks
    tracks.positions_m[1] += 500
    kept = np.arange(len(tracks)) != 1
    alone = replace(scene, tracks=tracks.select(kept))
    with_far = futures(model, scene)[:, [0, 2, 3, 4, 5]]
    torch.testing.assert_close(futures(model, alone), with_far, atol=1e-4, rtol=0)


def test_a_neighbour_within_reach_matters(model) -> None:
    positions = np.array([[[0, 0]] * 12, [[2, 0]] * 12])
    scene = Scene.from_arrays(positions, [0, 0], dt_s=0.5)
    alone = Scene.from_arrays(positions[:1], [0], dt_s=0.5)
    both = futures(model, scene)[:, 0]
    assert (both - futures(model, alone)[:, 0]).abs().max() > 1e-3


@pytest.mark.parametrize("change_at", [0, 3, 7])
def test_people_do_not_react_to_a_plan_before_it_unfolds(model, change_at: int) -> None:
    scene = street_scene()
    present = scene.present(10)
    kind = scene.tracks.kinds[present]
    start = scene.tracks.positions_m[present[kind == AgentKind.PEDESTRIAN], 10].mean(0)
    poses = torch.zeros(8, 1, 1, 3)
    poses[..., :2] = torch.from_numpy(start)
    changed = poses.clone()
    changed[change_at:, ..., 0] += 3.0
    follows = torch.from_numpy(kind == AgentKind.EGO)
    before = futures(model, scene, plan=Plan(poses, follows))
    after = futures(model, scene, plan=Plan(changed, follows))
    others = ~follows
    assert torch.equal(before[:, others, :change_at], after[:, others, :change_at])
    assert not torch.equal(before[:, others, change_at], after[:, others, change_at])
    torch.testing.assert_close(after[0, follows, :, 0], changed[:, 0, 0, 0][None])


def test_people_near_moving_traffic_weigh_more() -> None:
    # A car drives towards the first person, 15 m away; the other two are far from everybody.
    ways = [[0.0, 0.1], [500.0, 0.7], [600.0, -0.4], [-15.0, 3.0]]
    paths = [[[start + step * t, 3.0 * (start < 0)] for t in range(19)] for start, step in ways]
    scene = Scene.from_arrays(paths, [0, 0, 0, AgentKind.VEHICLE], dt_s=0.5)
    graph = window_graph(window(scene, 6, SPEC), CONFIG.graph)
    graph["agent"].future += torch.tensor([1.0, 2.0, 3.0, 0.0])[:, None, None]  # errors to tell
    counted = graph["agent"].future_valid
    model = PedestrianForecaster(CONFIG)
    noise = window_noise(CONFIG.world_model, [0], [4], samples=2, steps=8)

    def mode_error(traffic: float, who: list[bool]) -> float:
        config, only = LossConfig(vehicles=0, traffic=traffic), torch.tensor(who)[:, None]
        return float(model.loss(graph, noise, config, counted & only)[0]["mode"].detach())

    everybody = [True, True, True, False]
    alone = mode_error(1.0, [True, False, False, False])
    others = mode_error(1.0, [False, True, True, False])
    assert mode_error(1.0, everybody) == pytest.approx((alone + 2 * others) / 3, rel=1e-4)
    assert mode_error(3.0, everybody) == pytest.approx((3 * alone + 2 * others) / 5, rel=1e-4)


def random_model(config: ForecasterConfig = CONFIG) -> PedestrianForecaster:
    torch.manual_seed(0)
    model = PedestrianForecaster(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def test_every_weight_gets_a_gradient() -> None:
    model = random_model()
    graph = window_graph(window(street_scene(), 10, SPEC), CONFIG.graph)
    noise = window_noise(CONFIG.world_model, [0], [graph["agent"].num_nodes], samples=2, steps=8)
    context = model.context(graph)
    state = model.observe(context, graph)
    modes = sum(paths.square().sum() + p.sum() for paths, p in model.mode_sets(context, state, 8))
    (model.futures(context, state, noise).square().sum() + modes).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("slots", [CONFIG.world_model.slots, [[name] for name in RELATIONS]])
def test_gradients_of_the_training_loss_are_finite_for_every_weight(slots) -> None:
    sizes = replace(CONFIG.world_model, slots=slots)
    model = random_model(replace(CONFIG, world_model=sizes)).train()
    graph = window_graph(window(street_scene(), 10, SPEC), CONFIG.graph)
    agent = graph["agent"]
    noise = window_noise(sizes, [0], [agent.num_nodes], samples=4, steps=8)
    counted = agent.future_valid
    model.loss(graph, noise, LossConfig(best_of=0.1), counted)[0]["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad, name
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_gradients_are_finite_where_agents_stand_in_one_place() -> None:
    """Zero distances and zero velocities are where norms have no gradient."""
    model = random_model()
    kinds = [AgentKind.PEDESTRIAN, AgentKind.PEDESTRIAN, AgentKind.VEHICLE]
    scene = Scene.from_arrays(np.zeros((3, 20, 2)), kinds, dt_s=0.5)
    graph = window_graph(window(scene, 10, SPEC), CONFIG.graph)
    noise = window_noise(CONFIG.world_model, [0], [3], samples=2, steps=8)
    counted = graph["agent"].future_valid
    model.loss(graph, noise, LossConfig(), counted)[0]["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def of_agents(kinds: list[AgentKind], *, twin: bool) -> HeteroData:
    graph = HeteroData()
    graph["agent"].kind, graph["agent"].num_nodes = torch.tensor(kinds), len(kinds)
    graph.twin = torch.tensor([twin])
    return graph


def test_twins_are_the_same_agents_of_a_graph_and_the_next() -> None:
    """A pair of graphs of three agents, a graph of two, and a pair of graphs of two."""
    three, two, one = [AgentKind.EGO, 0, 0], [0, 0], [0]
    batch = Batch.from_data_list(
        [
            of_agents(three, twin=True),
            of_agents(three, twin=False),
            of_agents(two, twin=False),
            of_agents(two, twin=True),
            of_agents(two, twin=False),
        ]
    )
    assert twins(batch).tolist() == [[0, 1, 2, 8, 9], [3, 4, 5, 10, 11]]
    batch = Batch.from_data_list([of_agents(one, twin=False), of_agents(two, twin=False)])
    assert twins(batch) is None


def test_graphs_that_say_nothing_of_twins_have_none() -> None:
    graph = window_graph(window(street_scene(), 10, SPEC), CONFIG.graph)
    assert twins(Batch.from_data_list([graph, graph])) is None


def test_the_first_half_of_the_samples_knows_the_decisions_of_each_step() -> None:
    graph = window_graph(window(street_scene(), 10, SPEC), CONFIG.graph)
    agents, now = len(graph["agent"].kind), SPEC.history_steps - 1
    graph["agent"].decision = torch.full((agents, now + 1 + 8), int(Decision.UNKNOWN))
    graph["agent"].decision[0, now:] = torch.tensor([1, 1, 2, 2, 4, 0, 0, 0, 1])
    noise = window_noise(CONFIG.world_model, [0], [agents], samples=5, steps=8)
    given = known_decisions(graph, noise)
    assert given.shape == (8, 7, agents)
    assert given[:, 2:5, 0].T.tolist() == [[0, 2, 2, 2, 1, 1, 1, 0]] * 3  # at the end of each step
    assert (given[:, [0, 1, 5, 6]] == -1).all()
    assert (given[..., 1:] == -1).all()


def test_decisions_are_given_in_training_only() -> None:
    torch.manual_seed(0)
    model = PedestrianForecaster(CONFIG)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    graph = window_graph(window(street_scene(), 10, SPEC), CONFIG.graph)
    agent = graph["agent"]
    agent.decision = torch.where(agent.kind == AgentKind.PEDESTRIAN, 2, -1)[:, None].repeat(1, 13)
    noise = window_noise(CONFIG.world_model, [0], [len(agent.kind)], samples=4, steps=8)
    given = graph, noise, LossConfig(), agent.future_valid
    with torch.no_grad():
        taught, own = (model.train(mode).loss(*given)[1] for mode in (True, False))
    rest = [0, 3, 4]  # the mode and the second half
    torch.testing.assert_close(taught[rest], own[rest])
    assert not torch.allclose(taught[1:3], own[1:3])


def paired_street(moves_m: float) -> Batch:
    """Twice the same window; in the second, pedestrians are farther east, and others much more."""
    graphs = [window_graph(window(street_scene(), 10, SPEC), CONFIG.graph) for _ in range(2)]
    for graph, twin in zip(graphs, (True, False), strict=True):
        graph.twin = torch.tensor([twin])
    agent = graphs[1]["agent"]
    way = torch.where(agent.kind == AgentKind.PEDESTRIAN, moves_m, 30.0)
    agent.future = agent.future + way[:, None, None] * torch.tensor([1.0, 0.0])
    return Batch.from_data_list(graphs)


def paired_loss(batch: Batch, config: LossConfig, counted: torch.Tensor) -> dict[str, float]:
    torch.manual_seed(0)
    model, agents = PedestrianForecaster(CONFIG), batch["agent"].ptr.diff().tolist()
    noise = window_noise(CONFIG.world_model, [7, 7], agents, samples=4, steps=8)
    with torch.no_grad():
        parts, _ = model.loss(batch, noise, config, counted)
    return {name: value.item() for name, value in parts.items()}


def test_the_error_of_the_effect_is_that_of_pedestrians_and_has_a_weight() -> None:
    """An untrained model keeps velocities and sees no effect: the error is all of it, squared."""
    batch = paired_street(moves_m=3.0)
    counted = batch["agent"].future_valid
    plain = paired_loss(batch, LossConfig(), counted)
    assert plain["effect"] == pytest.approx(9.0, rel=1e-4)
    assert plain["placebo"] == plain["decision"] == 0
    weighed = paired_loss(batch, LossConfig(effect=2.0, placebo=5.0, decision=5.0), counted)
    assert weighed["loss"] == pytest.approx(plain["loss"] + 2 * 9.0, rel=1e-4)
    nobody = paired_loss(batch, LossConfig(effect=2.0), torch.zeros_like(counted))
    assert nobody["effect"] == nobody["placebo"] == 0
    batch.twin = torch.zeros_like(batch.twin)
    assert paired_loss(batch, LossConfig(effect=2.0), counted)["effect"] == 0


def test_windows_count_as_much_as_their_weights_say() -> None:
    """Every term by the factor; a window that does not count leaves the share of the other."""
    batch = paired_street(moves_m=3.0)
    batch["agent"].decision[:] = Decision.GO
    counted = batch["agent"].future_valid
    plain = paired_loss(batch, LossConfig(), counted)
    batch.weight = torch.tensor([0.5, 0.5])
    halved = paired_loss(batch, LossConfig(), counted)
    for name in ("effect", "decision", "energy_score", "mode", "modes"):
        assert halved[name] == pytest.approx(0.5 * plain[name], rel=1e-4)
    parts = []
    for weights in ((1.0, 0.0), (0.0, 1.0)):
        batch.weight = torch.tensor(weights)
        parts.append(paired_loss(batch, LossConfig(), counted)["energy_score"])
    assert sum(parts) == pytest.approx(plain["energy_score"], rel=1e-4)
    assert parts[0] != pytest.approx(parts[1], rel=1e-2)


def test_whom_the_plan_does_not_move_should_not_be_moved() -> None:
    """The second graph alone has noise of other seeds, so imagined futures of a network differ."""
    batch = paired_street(moves_m=0.0)
    counted, sizes = batch["agent"].future_valid, batch["agent"].ptr.diff().tolist()
    model, config = random_model(), LossConfig(placebo=2.0)
    noise = window_noise(CONFIG.world_model, [7, 8], sizes, samples=4, steps=8)
    with torch.no_grad():
        parts, futures = model.loss(batch, noise, config, counted)
        plain, _ = model.loss(batch, noise, LossConfig(), counted)
    people = batch["agent"].kind[: sizes[0]] == AgentKind.PEDESTRIAN
    one, other = futures[1:].split(sizes, 1)
    mask = counted[: sizes[0]].float()
    change = ((other - one).square().sum(-1) * mask).sum(-1) / mask.sum(-1)
    expected = change.mean(0)[people].mean()
    assert expected > 1e-3
    torch.testing.assert_close(parts["placebo"], expected)
    torch.testing.assert_close(parts["loss"], plain["loss"] + 2 * expected)


def test_the_loss_of_decisions_counts_later_steps() -> None:
    """A decision head with chances of a half for going, and about a quarter for each other."""
    graph = window_graph(window(street_scene(), 10, SPEC), CONFIG.graph)
    agent, model = graph["agent"], random_model()
    head = model.world.decision_head[-1]
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([0.0, np.log(2)]))  # not waiting: ln 3, so 3/4
    noise = window_noise(CONFIG.world_model, [0], [agent.num_nodes], samples=2, steps=8)

    def loss() -> float:
        with torch.no_grad():
            parts, _ = model.loss(graph, noise, LossConfig(), agent.future_valid)
        return parts["decision"].item()

    assert (agent.decision == Decision.UNKNOWN).all()
    assert loss() == 0
    agent.decision[:, :5] = Decision.GO  # what was decided until now
    assert loss() == 0
    agent.decision[0, 5], agent.decision[0, 12] = Decision.GO, Decision.YIELD  # next, and the end
    assert loss() == pytest.approx((np.log(2) + np.log(4)) / 2, rel=1e-5)
    agent.decision[1, 7] = Decision.FREE
    assert loss() == pytest.approx((np.log(2) + 2 * np.log(4)) / 3, rel=1e-5)


def test_later_decisions_are_judged_by_what_was_seen_until_then() -> None:
    """At a step, the head hears all frames until then, and none after it."""
    cut = window(street_scene(), 10, SPEC)
    graph, later = (window_graph(cut, CONFIG.graph) for _ in range(2))
    model = random_model()
    after = torch.arange(8) >= 3
    later["agent"].future = later["agent"].future + 5 * after[:, None]
    noise = window_noise(CONFIG.world_model, [0], [graph["agent"].num_nodes], samples=2, steps=8)

    def loss(graph: HeteroData, step: int) -> float:
        agent = graph["agent"]
        agent.decision = torch.full_like(agent.decision, Decision.UNKNOWN)
        agent.decision[:3, step] = Decision.GO
        with torch.no_grad():
            parts, _ = model.loss(graph, noise, LossConfig(), agent.future_valid)
        return parts["decision"].item()

    for step, same in ((5, True), (8, True), (9, False), (12, False)):
        assert (loss(graph, step) == loss(later, step)) is same, step


def test_a_map_out_of_range_changes_nothing(model) -> None:
    """Messages from the map are then as without one."""
    scene = street_scene()
    far = replace(scene, lane_map=moved(scene, 0.0, (5000.0, 0.0)).lane_map)
    bare = replace(scene, lane_map=None)
    graphs = [window_graph(window(each, 10, SPEC), CONFIG.graph) for each in (far, bare)]
    noise = window_noise(CONFIG.world_model, [0], [len(graphs[0]["agent"].dt)], samples=2, steps=8)
    with torch.no_grad():
        assert torch.equal(*(model(graph, noise) for graph in graphs))


def test_more_candidates_than_come_into_range_change_nothing(model) -> None:
    cut = window(street_scene(), 10, SPEC)
    wide = replace(CONFIG.graph, slack_mps=50.0, vehicle_slack_mps=50.0)
    few, many = (window_graph(cut, config) for config in (CONFIG.graph, wide))
    edge = "map", "near", "agent"
    assert few[edge].edge_index.shape[1] < many[edge].edge_index.shape[1]
    noise = window_noise(CONFIG.world_model, [0], [few["agent"].num_nodes], samples=2, steps=8)
    with torch.no_grad():
        torch.testing.assert_close(model(few, noise), model(many, noise), atol=1e-4, rtol=0)


def test_a_model_without_a_map_neither_sees_nor_learns_from_one() -> None:
    config = replace(CONFIG, graph=replace(CONFIG.graph, map_radius_m=0))
    model = random_model(config)
    with_map, bare = street_scene(), replace(street_scene(), lane_map=None)
    graphs = [window_graph(window(each, 10, SPEC), config.graph) for each in (with_map, bare)]
    noise = window_noise(config.world_model, [0], [len(graphs[0]["agent"].dt)], samples=2, steps=8)
    futures = [model(graph, noise) for graph in graphs]
    assert torch.equal(*futures)
    futures[0].square().sum().backward()
    rollout = [each for each in model.named_parameters() if not each[0].startswith("modes.")]
    learns = {name for name, parameter in rollout if parameter.requires_grad}
    assert learns == {name for name, weight in rollout if weight.grad is not None}
    assert not any(name.startswith(("map.", "world.messages.map.")) for name in learns)


def test_people_alone_walk_as_they_do_beside_a_car_that_is_far_away(model) -> None:
    people = Scene.from_arrays([[[0.7 * t, 0.2 * t] for t in range(20)]], [0], dt_s=0.5)
    car = [[500.0 + 2 * t, 0.0] for t in range(20)]
    beside = Scene.from_arrays(
        [people.tracks.positions_m[0], car], [0, AgentKind.VEHICLE], dt_s=0.5
    )
    torch.testing.assert_close(futures(model, people), futures(model, beside)[:, :1])


def test_windows_side_by_side_are_imagined_as_if_alone(model) -> None:
    scenes = [street_scene(seed) for seed in range(3)]
    graphs = [window_graph(window(scene, 10, SPEC), CONFIG.graph) for scene in scenes]
    sizes = [graph["agent"].num_nodes for graph in graphs]
    with torch.inference_mode():
        noise = window_noise(CONFIG.world_model, [5, 6, 7], sizes, samples=6, steps=8)
        together = model(Batch.from_data_list(graphs), noise).split(sizes, dim=1)
        for seed, graph, size, beside in zip([5, 6, 7], graphs, sizes, together, strict=True):
            alone = model(graph, window_noise(CONFIG.world_model, [seed], [size], 6, 8))
            torch.testing.assert_close(beside, alone, atol=1e-4, rtol=0)


def test_it_learns_in_bfloat16_what_it_learns_in_single_precision() -> None:
    torch.manual_seed(0)
    model = PedestrianForecaster(CONFIG)
    graph = window_graph(window(street_scene(), 10, SPEC), CONFIG.graph)
    noise = window_noise(CONFIG.world_model, [0], [graph["agent"].num_nodes], samples=4, steps=8)
    counted, losses, ways = graph["agent"].future_valid, [], []
    for precise in (True, False):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
            loss = model.loss(graph, noise, LossConfig(), counted)[0]["loss"]
        loss.backward()
        losses.append(loss.item())
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        ways.append(torch.cat(gradients))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert torch.nn.functional.cosine_similarity(*ways, dim=0) > 0.98
