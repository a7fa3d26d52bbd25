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
from torch._inductor import config
from torch.utils import _pytree as pytree

import forecast
from forecast import ForecastError, export
from forecast.cli import main
from forecast.export.folder import read
from forecast.export.formats import Onnx
from forecast.inference import Forecaster, Training
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.models.noise import keyed_noise
from forecast.models.programs import AXES, Program, captured, programs
from forecast.models.reactive import ReactiveRollout
from forecast.models.rollout import SceneContext, imagine, observe, settle
from forecast.models.types import Motion, Noise, Observation, Plan, State
from forecast.scene import AgentKind
from tests.models.crowds import DT_S, SMALL, TYPED, any_state, crowd
from tests.scenes import drive, street_scene

CONFIG = ForecasterConfig(world_model=SMALL)
STEPS, HISTORY = 3, 3
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


def history(agents: int) -> Iterable[Observation]:
    """Frames in which people walk, close by; some are not seen at first."""
    start, velocity = 3 * agents**0.5 * torch.rand(agents, 2), torch.randn(agents, 2)
    for step in range(HISTORY):
        place = start + DT_S * step * velocity
        seen = torch.arange(agents) % 3 <= step
        yield Observation(place, torch.atan2(*velocity.flip(-1).unbind(-1)), seen)


def observed(
    model: PedestrianForecaster, context: SceneContext, frames: Iterable[Observation]
) -> State:
    state = model.world.initial(context.agents)
    for frame in frames:
        state = observe(model.world, context, state, frame)
    return state


def drawn(agents: int, samples: int) -> Noise:
    names = [str(agent) for agent in range(agents)]
    noise = keyed_noise(CONFIG.world_model, names, samples, STEPS, seed=0)
    return noise if samples > 1 else noise.without_mode()


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
    """Both models encode, observe and imagine the same."""
    torch.manual_seed(agents)
    kinds = [agent % AgentKind.STATIC for agent in range(agents)]
    one, other = (crowd(each, kinds, pieces, pairs=pairs) for each in (ours, exported))
    torch.testing.assert_close(one.map.projected, other.map.projected, atol=CLOSE, rtol=0)
    torch.testing.assert_close(one.map.poses, other.map.poses, atol=CLOSE, rtol=0)
    frames = list(history(agents))
    before, after = observed(ours, one, frames), observed(exported, other, frames)
    torch.testing.assert_close(before.hidden, after.hidden, atol=CLOSE, rtol=0)
    for name in ("seen", "steady", "unseen_s", "mirror"):
        torch.testing.assert_close(getattr(before, name), getattr(after, name))
    assert_same_motion(before.motion, after.motion)
    times_s = one.agents.times_s(STEPS)
    sets = (ours.modes(one.agents, before, times_s), exported.modes(other.agents, after, times_s))
    for mine, theirs in zip(*sets, strict=True):
        torch.testing.assert_close(mine, theirs, atol=CLOSE, rtol=1e-5)
    noise = drawn(agents, samples)
    plan = Plan(torch.randn(STEPS, len(noise.mirror), 1, 3), one.agents.kind == AgentKind.EGO)
    for given in (None, plan):
        imagined = imagine(ours.world, one, settle(ours.world, one, before), noise, given)
        assert imagined.position.shape == (len(noise.mirror), agents, STEPS, 2)
        settled = settle(exported.world, other, after)
        assert_same_motion(imagined, imagine(exported.world, other, settled, noise, given))


@torch.inference_mode()
def assert_same_reactions(ours: PedestrianForecaster, exported: PedestrianForecaster) -> None:
    """Both models imagine the same reactions to plans, beside replayed agents."""
    kinds = [AgentKind.PEDESTRIAN] * 6 + [AgentKind.VEHICLE, AgentKind.EGO]
    context = crowd(ours, kinds, pieces=5)
    state, noise = any_state(ours, context), drawn(len(kinds), 4)
    here = state.motion.position[0]
    share = torch.linspace(0.2, 1.2, STEPS)[:, None]
    way = here[-1] + share * (here[:3] - here[-1])[:, None]
    plans = torch.cat([way, torch.zeros(3, STEPS, 1)], -1)
    one, other = (ReactiveRollout(each.world, context, state, noise) for each in (ours, exported))
    affected = one.affected(plans) > 0
    assert 0 < affected.sum() < affected.numel()
    torch.testing.assert_close(one.to(plans), other.to(plans), atol=CLOSE, rtol=1e-6)


def assert_same_prediction(one: Forecaster, other: Forecaster) -> None:
    scene = street_scene()
    plan = drive(scene, 10, 8)
    for given in (scene, replace(scene, lane_map=None)):
        before, after = (
            each.predict(given, 10, horizon_s=4.0, samples=3, ego_plan=plan)
            for each in (one, other)
        )
        np.testing.assert_allclose(before.positions_m, after.positions_m, atol=CLOSE, rtol=1e-6)
        before, after = (each.predict(given, 10, horizon_s=4.0, samples=2) for each in (one, other))
        np.testing.assert_allclose(before.modes_m, after.modes_m, atol=CLOSE, rtol=1e-6)


@pytest.mark.slow
def test_programs_of_a_model_without_a_map_have_the_same_form(forecaster: Forecaster) -> None:
    bare = replace(CONFIG, graph=replace(CONFIG.graph, map_radius_m=0))
    without, whole = programs(PedestrianForecaster(bare)), programs(forecaster.model)
    for name, program in whole.items():
        assert (without[name].inputs, without[name].outputs) == (program.inputs, program.outputs)
    update = without["update"]
    exported = captured(update, with_weights=False)
    assert len(exported.graph_signature.user_inputs) == len(update.arrays())


@pytest.mark.parametrize("slots", [SMALL.slots, TYPED])
def test_programs_have_edges_for_each_slot_of_relations(slots: list[list[str]]) -> None:
    sizes = replace(SMALL, slots=slots)
    for name, program in programs(PedestrianForecaster(replace(CONFIG, world_model=sizes))).items():
        letters = {each for array in program.arrays() for each in array.letters().values()}
        assert letters <= set(AXES), name
        expected = set("EFG"[: len(slots)]) if name in ("update", "settle", "act") else set()
        assert {"E", "F", "G"} & letters == expected, name


def test_a_program_takes_its_weights_first_if_wanted() -> None:
    sizes = replace(SMALL, slots=TYPED)
    program = programs(PedestrianForecaster(replace(CONFIG, world_model=sizes)))["update"]
    graph = captured(program, with_weights=True).graph_signature
    assert len(graph.user_inputs) == len(program.weights()) + len(program.arrays())
    assert len(graph.user_outputs) == program.returns


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
    assert_same_reactions(forecaster.model, loaded.model)
    assert_same_prediction(forecaster, loaded)
    assert_same_places(forecaster.model, tmp_path / "small", form)


def assert_same_places(model: PedestrianForecaster, folder: Path, form: str) -> None:
    """The program for other languages that places observed agents; Python runs the function."""
    context = crowd(model, [0, 1, 2, 3, 0])
    state = any_state(model, context)
    (seen,) = (frame for frame in list(history(5))[:1])
    inputs = pytree.tree_leaves((context.agents, state, seen))
    interface = json.loads((folder / "interface.json").read_text())["programs"]["place"]
    names = [array["name"] for array in interface["inputs"]]
    file, outputs = folder / interface["file"], len(interface["outputs"])
    run = export.FORMATS[form].read(file, names, outputs)
    expected = pytree.tree_leaves(model.world.place(context.agents, state, seen))
    for value, wanted in zip(run(inputs), expected, strict=True):
        torch.testing.assert_close(value, wanted, atol=CLOSE, rtol=1e-6)


def test_the_interface_says_what_programs_take(
    forecaster: Forecaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Onnx, "write", lambda self, program, path: path.touch())
    forecaster.save(tmp_path / "weights.safetensors")
    export.run(weights=tmp_path / "weights.safetensors", out=tmp_path / "small", form="onnx")
    interface = json.loads((tmp_path / "small" / "interface.json").read_text())
    assert interface["axes"] == AXES
    found = programs(forecaster.model)
    names = ["map", "place", "update", "modes", "settle", "inject", "act"]
    assert list(interface["programs"]) == list(found) == names
    for name, program in interface["programs"].items():
        assert (tmp_path / "small" / program["file"]).is_file()
        outputs = found[name].flat()(*(array.example() for array in found[name].arrays()))
        for value, tensor in zip(program["outputs"], outputs, strict=True):
            for axis, size in zip(value["shape"], tensor.shape, strict=True):
                assert isinstance(axis, str) or axis == size
            assert f"torch.{value['dtype']}" == str(tensor.dtype)


def test_a_stopped_export_leaves_no_folder(
    forecaster: Forecaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecaster.save(tmp_path / "weights.safetensors")
    out = tmp_path / "small"
    words = ["export", "--weights", str(tmp_path / "weights.safetensors"), "--out", str(out)]
    monkeypatch.setattr(Onnx, "write", lambda self, program, path: path.touch())
    assert main([*words, "--format", "onnx"]) == 0
    before = sorted(path.name for path in out.iterdir())
    assert len(before) == 9

    def stopped(self: Onnx, program: Program, path: Path) -> None:
        assert not path.is_relative_to(out)
        if path.stem == "update":
            raise KeyboardInterrupt
        path.touch()

    monkeypatch.setattr(Onnx, "write", stopped)
    assert main([*words, "--format", "onnx"]) == 130
    assert sorted(path.name for path in out.iterdir()) == before  # the earlier export
    shutil.rmtree(out)
    assert main([*words, "--format", "onnx"]) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("PytorchStreamWriter failed writing file data/0:\nfile write failed"),
        OSError(28, "No space left on device"),
    ],
)
def test_an_export_on_a_full_disk_is_one_line(
    forecaster: Forecaster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    def full(self: Onnx, program: Program, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(Onnx, "write", full)
    forecaster.save(tmp_path / "w.safetensors")
    words = ["export", "--weights", tmp_path / "w.safetensors", "--out", tmp_path / "out"]
    assert main([*map(str, words), "--format", "onnx"]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "programs" not in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {tmp_path / 'out'}")
    assert "fail" in lines[0] or "No space left on device; check the path" in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_an_export_shows_progress(
    forecaster: Forecaster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Onnx, "write", lambda self, program, path: path.touch())
    forecaster.save(tmp_path / "weights.safetensors")
    out = tmp_path / "small"
    for _ in range(2):  # the second replaces the first
        export.run(weights=tmp_path / "weights.safetensors", out=out, form="onnx")
        shown = capsys.readouterr()
        lines = [f"export {out}: {done} of 7 programs" for done in range(1, 8)]
        assert shown.err.splitlines() == lines
        assert f"{out / 'map.onnx'}: 4 inputs, 5 outputs" in shown.out.splitlines()


def test_an_export_replaces_nothing_else(
    forecaster: Forecaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Onnx, "write", lambda self, program, path: path.touch())
    forecaster.save(tmp_path / "weights.safetensors")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "detector.onnx").touch()
    for name, message in (
        ("mine", "holds 'notes.txt', which is no part of an exported model; give a new or empty"),
        ("models", "is not empty and has no interface.json, so it is no exported model"),
        ("weights.safetensors", "is a file; give a new folder"),
        ("weights.safetensors/program", "is a file, and a folder is needed; check the path"),
    ):
        with pytest.raises(ForecastError, match=message):
            export.run(weights=tmp_path / "weights.safetensors", out=tmp_path / name, form="onnx")


def test_no_folder_of_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ForecastError, match="not a folder of 'forecast export'"):
        forecast.load(tmp_path)


def test_programs_of_another_torch_are_refused(tmp_path: Path) -> None:
    interface = {"format": "aoti", "torch": "1.0", "programs": {}}
    (tmp_path / "interface.json").write_text(json.dumps(interface))
    with pytest.raises(ForecastError, match=r"its torch is 1\.0; .* export again"):
        read(tmp_path)


def test_an_incomplete_folder_says_what_is_missing(
    forecaster: Forecaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Onnx, "write", lambda self, program, path: path.write_bytes(b"cut"))
    forecaster.save(tmp_path / "weights.safetensors")
    out = tmp_path / "small"
    export.run(weights=tmp_path / "weights.safetensors", out=out, form="onnx")
    pytest.importorskip("onnxruntime")
    with pytest.raises(ForecastError, match=r"map\.onnx: cannot be read \(.*\); export again"):
        forecast.load(out)
    (out / "act.onnx").unlink()
    with pytest.raises(ForecastError, match=r"small: is an exported model without act\.onnx; exp"):
        forecast.load(out)
    (out / "interface.json").unlink()
    with pytest.raises(ForecastError) as error:
        forecast.load(out)
    weights = out / "weights.safetensors"
    assert str(error.value) == (
        f"{out}: is an incomplete exported model; export again, or give {weights}"
    )
    with pytest.raises(ForecastError, match="is one program of an exported model; give its f"):
        forecast.load(out / "map.onnx")


def test_programs_run_on_the_processor_alone(tmp_path: Path) -> None:
    with pytest.raises(ForecastError, match="device is cuda; cpu is needed"):
        forecast.load(tmp_path, device="cuda")


def test_what_is_not_installed_is_named(
    forecaster: Forecaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    inject, file = programs(forecaster.model)["inject"], tmp_path / "f"
    for call in (lambda: Onnx().write(inject, file), lambda: Onnx().read(file, [], 1)):
        with pytest.raises(ForecastError, match=r"installed; pip install forecast\[export\]"):
            call()


def test_without_a_compiler_one_line_says_so(forecaster: Forecaster, tmp_path: Path) -> None:
    inject = programs(forecaster.model)["inject"]
    no_compiler = config.patch({"cpp.cxx": ("/nowhere/c++",)})
    with (
        no_compiler,
        pytest.raises(ForecastError, match=r"there is no C\+\+ compiler; install g\+\+"),
    ):
        export.FORMATS["aoti"].write(inject, tmp_path / "inject.pt2")
