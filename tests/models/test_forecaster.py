"""The contract of the model: shapes, symmetries, causality, gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch

from forecast.datasets.windows import WindowSpec, window
from forecast.graphs import window_graph
from forecast.models.features import RELATIONS
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.models.losses import LossConfig
from forecast.models.noise import keyed_noise, window_noise
from forecast.models.types import Plan
from forecast.models.world_model import WorldModelConfig
from forecast.scene import AgentKind, Scene
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


def test_an_untrained_model_is_constant_velocity() -> None:
    scene = Scene.from_arrays([[[0.7 * t, 0.2 * t] for t in range(12)]], [0], dt_s=0.5)
    future = futures(PedestrianForecaster(CONFIG), scene, at=6)
    steps = torch.arange(7, 15)[:, None]
    torch.testing.assert_close(future[:, 0], (steps * torch.tensor([0.7, 0.2])).expand(4, 8, 2))


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
    assert torch.equal(before[:, others, : change_at + 1], after[:, others, : change_at + 1])
    if change_at < 7:
        assert not torch.equal(before[:, others], after[:, others])
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
    model(graph, noise).square().sum().backward()
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
    learns = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learns == {name for name, weight in model.named_parameters() if weight.grad is not None}
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
