"""The machine code against the tensor operations that say what it computes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.dispatcher import Dispatcher
from torch import Tensor

from forecast.datasets.windows import WindowSpec, window
from forecast.graphs import GraphConfig, window_graph
from forecast.models import edges, encoder, kernels, kinematics, reactions, runs, world_model
from forecast.models.edges import in_machine_code
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.models.kinematics import pass_by
from forecast.models.noise import keyed_noise
from forecast.scene import Scene
from tests.scenes import mirrored, street_scene

SPEC = WindowSpec(history_steps=5, horizon_steps=8)
USERS = (edges, encoder, kinematics, runs, world_model)


@pytest.fixture
def by_tensors(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Everything by tensor operations, gradients or not."""
    for module in USERS:
        monkeypatch.setattr(module, "in_machine_code", lambda values: False)
    return monkeypatch


def lively(seed: int) -> PedestrianForecaster:
    """A network whose last layers say something too."""
    torch.manual_seed(seed)
    model = PedestrianForecaster(ForecasterConfig()).eval()
    for last in (model.world.intend[-1], model.world.decide[-1]):
        torch.nn.init.normal_(last.weight, std=0.3)
    return model


def futures(model: PedestrianForecaster, scene: Scene) -> Tensor:
    graph = window_graph(window(scene, 4, SPEC), GraphConfig())
    names = [str(n) for n in range(len(graph["agent"].kind))]
    noise = keyed_noise(model.config.world_model, names, 3, 8, 0)
    with torch.no_grad():
        return model(graph, noise)


@pytest.mark.parametrize("seed", range(4))
def test_imagined_futures_are_those_of_tensors(seed: int, by_tensors: pytest.MonkeyPatch) -> None:
    model, scene = lively(seed), street_scene(seed)
    scenes = scene, mirrored(scene)
    expected = [futures(model, each) for each in scenes]
    by_tensors.undo()
    for each, there in zip(scenes, expected, strict=True):
        torch.testing.assert_close(futures(model, each), there, atol=1e-4, rtol=1e-5)


def reacting(model: PedestrianForecaster, scene: Scene) -> Tensor:
    """What people do if the ego drives straight to where somebody is now, whoever it is."""
    graph = window_graph(window(scene, 4, SPEC), GraphConfig())
    names = [str(n) for n in range(len(graph["agent"].kind))]
    noise = keyed_noise(model.config.world_model, names, 3, 8, 0).drawn()
    with torch.no_grad():
        context = model.context(graph)
        people = reactions.Reactions(model.world, context, model.observe(context, graph), noise)
        here = people.states[0].motion.position[0]
        ego = here[people.ego]
        way = torch.linspace(0.2, 1.2, 8)[:, None] * (here - ego)[:, None]
        plans = torch.cat([ego + way, torch.zeros(len(here), 8, 1)], -1)
        assert (people.concerned(plans) > 0).any()
        return people.to(plans)


@pytest.mark.parametrize("seed", range(4))
def test_reactions_are_those_of_tensors(seed: int, by_tensors: pytest.MonkeyPatch) -> None:
    model, scene = lively(seed), street_scene(seed)
    expected = reacting(model, scene)
    by_tensors.undo()
    torch.testing.assert_close(reacting(model, scene), expected, atol=1e-4, rtol=1e-5)


def test_machine_code_is_for_the_processor_without_gradients() -> None:
    values = torch.zeros(3)
    assert not in_machine_code(values)
    with torch.no_grad():
        assert in_machine_code(values)
        assert not in_machine_code(values.double())
        assert not in_machine_code(values.to("meta"))
        with torch.autocast("cpu"):
            assert not in_machine_code(values)


def test_no_sum_changes_its_order() -> None:
    """Which form of a loop runs depends on where arrays lie, so a new order is a new prediction."""
    loops = [each for each in vars(kernels).values() if isinstance(each, Dispatcher)]
    assert len(loops) > 5
    for loop in loops:
        assert "reassoc" not in loop.targetoptions["fastmath"]


@settings(max_examples=30)
@given(
    people=st.integers(0, 6),
    meetings=st.integers(0, 12),
    spread_m=st.sampled_from([0.0, 0.2, 2.0]),
    seed=st.integers(0, 2**16),
)
def test_people_pass_by_as_in_tensors(
    people: int, meetings: int, spread_m: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    position = spread_m * torch.randn(people, 2, generator=generator)
    velocity = torch.randn(people, 2, generator=generator)
    dt_s = torch.full((people,), 0.5)
    drawn = torch.randint(0, max(people, 1), (2, meetings), generator=generator)
    one, other = drawn[:, (drawn[0] != drawn[1]) & (people > 1)]
    expected = pass_by(position, velocity, dt_s, (one, other), 0.25)
    before = velocity.clone()
    values = kernels.arrays(position, velocity, dt_s, one, other)
    found = kernels.pass_by(*values, 0.25, kinematics.ROUNDS, kinematics.SOONEST, kinematics.TINY)
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(velocity, before)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_a_state_recurs_as_in_torch(scale: float) -> None:
    torch.manual_seed(0)
    cell = torch.nn.GRUCell(5, 7)
    taken, before = scale * torch.randn(11, 5), torch.randn(11, 7)
    gates = taken @ cell.weight_ih.t(), before @ cell.weight_hh.t()
    found = kernels.recur(*kernels.arrays(*gates, cell.bias_ih, cell.bias_hh, before))
    expected = cell(taken, before).detach()
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=2e-6, rtol=0)


def test_what_is_not_finite_stays_so() -> None:
    broken = torch.tensor([[float("nan"), 0.0, 0.0]])
    bias, before = torch.zeros(3), torch.zeros(1, 1)
    after = kernels.recur(*kernels.arrays(broken, broken, bias, bias, before))
    assert after != after
