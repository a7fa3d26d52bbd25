"""Exported programs against the network they were made of, in both formats."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forecast.export.programs import AXES, programs
from forecast.models.kinematics import Motion
from forecast.models.state import Context, Frame, Noise, Plan, State

import forecast
from forecast import ForecastError, export
from forecast.export.folder import read
from forecast.export.formats import Onnx, captured
from forecast.graphs import MapKind
from forecast.inference import Forecaster, Training
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.models.noise import keyed_noise
from forecast.models.world_model import WorldModelConfig
from forecast.scene import AgentKind
from tests.scenes import street_scene

CONFIG = ForecasterConfig(world_model=WorldModelConfig(hidden=16, messages=8, map=8))
STEPS, HISTORY, DT_S = 3, 3, 0.5
CLOSE = 1e-5


@pytest.fixture
def forecaster() -> Forecaster:
    torch.manual_seed(0)
    model = PedestrianForecaster(CONFIG)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return Forecaster(model, Training(CONFIG, 5, 8, [0.5]), name="test")


def skip_without(form: str) -> None:
    """Skips the test where a format cannot be written or run."""
    if form == "aoti" and shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("no C++ compiler")
    for package in ("onnxscript", "onnxruntime") if form == "onnx" else ():
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def every_pair(sources: int, targets: int) -> torch.Tensor:
    target, source = torch.meshgrid(torch.arange(targets), torch.arange(sources), indexing="ij")
    return torch.stack([source.flatten(), target.flatten()])


def crowd(model: PedestrianForecaster, agents: int, pieces: int, pairs: bool) -> Context:
    """A context of a crowd of all kinds of agents, on a map of lanes and edges in a row."""
    near = every_pair(agents, agents)
    near = near[:, near[0] != near[1]] if pairs else near[:, :0]
    row = torch.arange(pieces)
    with torch.inference_mode():
        lanes = model.encode(
            8 * torch.randn(pieces, 1, 2) + torch.randn(pieces, CONFIG.graph.piece_points, 2),
            row % len(MapKind),
            torch.stack([row[:-1], row[1:]]),
        )
    return Context(
        torch.arange(agents) % AgentKind.STATIC,
        torch.rand(agents, 3) + 0.5,
        torch.full((agents,), DT_S),
        near,
        torch.full(near.shape[1:], 6.0),
        lanes,
        every_pair(pieces, agents) if pairs else torch.zeros(2, 0, dtype=torch.int64),
    )


def history(agents: int) -> Iterable[Frame]:
    """Frames in which people walk, close by; some are not seen at first."""
    start, velocity = 3 * agents**0.5 * torch.rand(agents, 2), torch.randn(agents, 2)
    for step in range(HISTORY):
        place = start + DT_S * step * velocity
        seen = torch.arange(agents) % 3 <= step
        yield Frame(place, torch.atan2(*velocity.flip(-1).unbind(-1)), seen)


def observed(model: PedestrianForecaster, context: Context, frames: Iterable[Frame]) -> State:
    state = model.world.initial(context)
    for frame in frames:
        state = model.world.observe(context, state, frame)
    return state


def drawn(agents: int, samples: int) -> Noise:
    names = [str(agent) for agent in range(agents)]
    noise = keyed_noise(CONFIG.world_model, names, samples, STEPS, seed=0)
    return noise if samples > 1 else noise.drawn()


def assert_same_motion(one: Motion, other: Motion) -> None:
    for name in ("position", "velocity", "facing", "yaw_rate"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=CLOSE, rtol=0)


@torch.inference_mode()
def assert_same(
    ours: PedestrianForecaster,
    exported: PedestrianForecaster,
    agents: int,
    *,
    pieces: int = 9,
    pairs: bool = True,
    samples: int = 4,
) -> None:
    """Both models see, believe and imagine the same."""
    torch.manual_seed(agents)
    one = crowd(ours, agents, pieces, pairs)
    torch.manual_seed(agents)
    other = crowd(exported, agents, pieces, pairs)
    torch.testing.assert_close(one.map.told, other.map.told, atol=CLOSE, rtol=0)
    torch.testing.assert_close(one.map.poses, other.map.poses, atol=CLOSE, rtol=0)
    frames = list(history(agents))
    before, after = observed(ours, one, frames), observed(exported, other, frames)
    torch.testing.assert_close(before.hidden, after.hidden, atol=CLOSE, rtol=0)
    for name in ("seen", "steady", "unseen_s", "hand"):
        torch.testing.assert_close(getattr(before, name), getattr(after, name))
    assert_same_motion(before.motion, after.motion)
    noise = drawn(agents, samples)
    plan = Plan(torch.randn(STEPS, len(noise.hand), 1, 3), one.kind == AgentKind.EGO)
    for told in (None, plan):
        imagined = ours.world.imagine(one, before, noise, told)
        assert imagined.position.shape == (len(noise.hand), agents, STEPS, 2)
        assert_same_motion(imagined, exported.world.imagine(other, after, noise, told))


def assert_same_prediction(one: Forecaster, other: Forecaster) -> None:
    scene, plan = street_scene(), np.stack([np.arange(8.0), np.zeros(8), np.zeros(8)], -1)
    for given in (scene, replace(scene, lane_map=None)):
        before, after = (
            each.predict(given, 10, horizon_s=4.0, samples=3, ego_plan=plan)
            for each in (one, other)
        )
        np.testing.assert_allclose(before.positions_m, after.positions_m, atol=CLOSE, rtol=1e-6)


@pytest.mark.slow
def test_programs_of_a_model_without_a_map_have_the_same_form(forecaster: Forecaster) -> None:
    bare = replace(CONFIG, graph=replace(CONFIG.graph, map_radius_m=0))
    imagine = programs(PedestrianForecaster(bare))["imagine"]
    whole = programs(forecaster.model)["imagine"]
    assert (imagine.inputs, imagine.outputs) == (whole.inputs, whole.outputs)
    exported = captured(imagine)
    assert len(exported.graph_signature.user_inputs) == len(imagine.inputs)


@pytest.mark.slow
@pytest.mark.parametrize("form", export.FORMATS)
def test_an_exported_model_is_the_same_model(
    form: str, forecaster: Forecaster, tmp_path: Path
) -> None:
    skip_without(form)
    forecaster.save(tmp_path / "weights.safetensors")
    export.run(weights=tmp_path / "weights.safetensors", out=tmp_path / "small", form=form)
    loaded = forecast.load(tmp_path / "small")
    assert loaded.name == "small"
    assert loaded.provenance() == forecaster.provenance()
    for agents in (1, 2, 7, 64):
        assert_same(forecaster.model, loaded.model, agents)
    assert_same(forecaster.model, loaded.model, 7, pieces=0)
    assert_same(forecaster.model, loaded.model, 64, pairs=False)
    assert_same(forecaster.model, loaded.model, 1, pieces=0, pairs=False, samples=1)
    assert_same_prediction(forecaster, loaded)


def test_the_interface_says_what_programs_take(
    forecaster: Forecaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Onnx, "write", lambda self, program, path: path.touch())
    forecaster.save(tmp_path / "weights.safetensors")
    export.run(weights=tmp_path / "weights.safetensors", out=tmp_path / "small", form="onnx")
    interface = json.loads((tmp_path / "small" / "interface.json").read_text())
    assert interface["axes"] == AXES
    found = programs(forecaster.model)
    assert list(interface["programs"]) == list(found) == ["map", "observe", "begin", "imagine"]
    for name, program in interface["programs"].items():
        assert (tmp_path / "small" / program["file"]).is_file()
        outputs = found[name].verb(*found[name].examples())
        for value, tensor in zip(program["outputs"], outputs, strict=True):
            fixed = [n for n in value["shape"] if isinstance(n, int)]
            assert len(value["shape"]) == tensor.ndim
            assert [n for n in tensor.shape if n in fixed] == fixed
            assert f"torch.{value['dtype']}" == str(tensor.dtype)


def test_no_folder_of_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ForecastError, match="not a folder of 'forecast export'"):
        forecast.load(tmp_path)


def test_programs_of_another_torch_are_refused(tmp_path: Path) -> None:
    interface = {"format": "aoti", "torch": "1.0", "programs": {}}
    (tmp_path / "interface.json").write_text(json.dumps(interface))
    with pytest.raises(ForecastError, match=r"its torch is 1\.0; .* export again"):
        read(tmp_path)


def test_programs_run_on_the_processor_alone(tmp_path: Path) -> None:
    with pytest.raises(ForecastError, match="device is cuda; cpu is needed"):
        forecast.load(tmp_path, device="cuda")


def test_what_is_not_installed_is_named(
    forecaster: Forecaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    begin = programs(forecaster.model)["begin"]
    for call in (lambda: Onnx().write(begin, tmp_path / "f"), lambda: Onnx().read(tmp_path / "f")):
        with pytest.raises(ForecastError, match=r"installed; pip install forecast\[export\]"):
            call()


def test_without_a_compiler_one_line_says_so(
    forecaster: Forecaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/nowhere/c++",))
    begin = programs(forecaster.model)["begin"]
    with pytest.raises(ForecastError, match=r"there is no C\+\+ compiler; install g\+\+"):
        export.FORMATS["aoti"].write(begin, tmp_path / "begin.pt2")
