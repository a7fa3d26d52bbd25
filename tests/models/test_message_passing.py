"""Who notices whom, and what an encounter looks like."""

from __future__ import annotations

import math

import pytest
import torch

from forecast.datasets.windows import WindowSpec, window
from forecast.graphs import GraphConfig, window_graph
from forecast.models.edges import Edges, Ends
from forecast.models.encoder import Messages, encounter_features
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.scene import AgentKind, Scene

SPEC = WindowSpec(history_steps=5, horizon_steps=8)


def car_and_walker(distance_m: float, speed_mps: float) -> Scene:
    """A car straight west of a standing person, driving east; the distance is that at step 4."""
    steps = torch.arange(13.0)
    car = [[-distance_m + 0.5 * speed_mps * (t - 4), 0.0] for t in steps.tolist()]
    kinds = [AgentKind.PEDESTRIAN, AgentKind.VEHICLE]
    return Scene.from_arrays([[[0.0, 0.0]] * 13, car], kinds, dt_s=0.5)


@pytest.mark.parametrize(
    ("distance_m", "speed_mps", "noticed"),
    [(39, 10, True), (41, 10, False), (9, 0, True), (11, 0, False)],
)
def test_a_vehicle_is_noticed_from_as_far_as_it_goes_in_three_seconds(
    distance_m, speed_mps, noticed
):
    torch.manual_seed(0)
    model = PedestrianForecaster(ForecasterConfig())
    torch.nn.init.normal_(model.world.decide[-1].weight)
    scene = car_and_walker(distance_m, speed_mps)
    graph = window_graph(window(scene, 4, SPEC), GraphConfig())
    context = model.context(graph)
    state = model.observe(context, graph)
    near = model.world.interaction.near_traffic(context, state)
    assert near.tolist() == [noticed and speed_mps > 0, False]
    hidden = torch.ones(4, 64)
    seen, _ = model.world.interaction(context, state, hidden, state.seen)
    alone, _ = model.world.interaction(context, state, hidden, torch.zeros_like(state.seen))
    assert torch.equal(seen[::2], alone[::2]) is not noticed


def test_encounters_by_hand():
    x, y, distance, still, bodies = (torch.full((3,), v) for v in (4.0, 3.0, 5.0, 0.0, 1.0))
    closing = torch.tensor([-2.0, 2.0, 0.0])  # towards, away, at rest
    now, nearest, soon = encounter_features(x, y, distance, closing, still, bodies)
    assert now.tolist() == pytest.approx([math.exp(-4)] * 3, rel=1e-5)
    assert nearest[0].item() == pytest.approx(math.exp(-2), rel=1e-2)  # 3 m aside, after 2 s
    assert nearest[1:].tolist() == pytest.approx([math.exp(-4)] * 2, rel=1e-5)
    assert soon.tolist() == pytest.approx([1 / 3, 1, 1], rel=1e-2)


@pytest.mark.parametrize("crowd", [0, 1, 3, 1000])
def test_a_crowd_that_says_the_same_says_it_no_louder_than_one(crowd: int):
    torch.manual_seed(0)
    messages = Messages(source=2, target=2, edge=1, hidden=4)
    torch.nn.init.eye_(messages.out.weight)
    torch.nn.init.zeros_(messages.out.bias)
    told, target, fade = torch.randn(1, 4), torch.zeros(1, 2), 0.5
    ends = Ends(torch.zeros(crowd, dtype=torch.long), 1, ascending=True)
    edges = Edges(ends, ends, torch.ones(crowd))
    heard = messages(told, target, edges, torch.zeros(1, crowd), torch.full((crowd,), fade))
    said = torch.nn.functional.silu(told) * crowd * fade / (1 + crowd * fade)
    torch.testing.assert_close(heard, said)
