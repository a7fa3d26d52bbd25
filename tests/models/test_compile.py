"""Compiled programs against the definition, and when which of them runs."""

from __future__ import annotations

import ast
import copy
import pickle
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._inductor import config
from torch.utils import _pytree as pytree

from forecast.models import compile as compiling
from forecast.models.compile import SETTING, accelerate, has_compiler, wanted
from forecast.models.features import AgentTable
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.message_passing import Replayed
from forecast.models.reactive import ReactiveRollout
from forecast.models.rollout import imagine, settle, surroundings
from forecast.models.types import Motion
from forecast.models.world_model import Surroundings, WorldModel
from tests.models.crowds import SMALL, any_state, crowd, network, no_lanes, noise_of

ROOT = Path(__file__).parents[2]
CLOSE = 1e-5


class Compiled(NamedTuple):
    """A network whose steps are compiled, and the same network as defined.

    Attributes:
        fast: Compiled.
        plain: As defined, with the same weights.
        cache: Where the programs are kept.
        output: What compiling printed on stderr.
        warned: Warnings while compiling, which Python prints there too.
    """

    fast: PedestrianForecaster
    plain: PedestrianForecaster
    cache: Path
    output: str
    warned: list[warnings.WarningMessage]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Compiles one small configuration; takes about a minute."""
    if not has_compiler():
        pytest.skip("no C++ compiler")
    cache, fast = tmp_path_factory.mktemp("cache"), network()
    with pytest.MonkeyPatch.context() as patch, Output() as output:
        switch_on(patch, cache)
        with warnings.catch_warnings(record=True) as warned:
            accelerate(fast.world)
    return Compiled(fast, network(), cache, output.text(), warned)


class Output:
    """Collects what is printed on stderr; for fixtures that outlive a test's own capture."""

    def __enter__(self) -> Output:
        self._parts: list[str] = []
        self._usual, sys.stderr = sys.stderr, self  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        sys.stderr = self._usual

    def write(self, text: str) -> int:
        self._parts.append(text)
        return len(text)

    def flush(self) -> None:
        pass

    def text(self) -> str:
        return "".join(self._parts)


def switch_on(patch: pytest.MonkeyPatch, cache: Path) -> None:
    patch.setenv(SETTING, "on")
    patch.setenv("XDG_CACHE_HOME", str(cache))


def is_compiled(world: WorldModel) -> bool:
    return {"update", "act"} <= set(vars(world))


def assert_close(one: Any, other: Any, tolerance: float = CLOSE) -> None:
    """Two trees of tensors are the same to a tolerance, in absolute terms up to 1."""
    leaves = zip(pytree.tree_leaves(one), pytree.tree_leaves(other), strict=True)
    for found, expected in leaves:
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def some_replayed(model: PedestrianForecaster, count: int, seed: int) -> Replayed:
    generator = torch.Generator().manual_seed(seed)

    def draw(*more: int) -> Tensor:
        return torch.randn(count, *more, generator=generator)

    facing = torch.nn.functional.normalize(draw(2), dim=-1)
    columns = [3 * draw(), 3 * draw(), *facing.unbind(-1), draw().sign(), draw(), draw()]
    seen, bodies, ego = (draw() > -1).float(), 0.3 * draw().abs(), (draw() > 0).float()
    half_length, half_width = 1 + draw().abs(), 0.5 + 0.3 * draw().abs()
    gains = 2 * draw()
    table = AgentTable(*columns, draw().abs(), bodies, seen, half_length, half_width, gains, ego)
    return Replayed(
        table,
        no_lanes(count),
        tuple(draw(SMALL.messages) for _ in model.world.messages.agents),
        draw(2),
        draw() > 0,
    )


def scene_of(
    model: PedestrianForecaster,
    kinds: list[int],
    pieces: int,
    copies: int,
    replayed: int,
    seed: int,
) -> tuple[Surroundings, Any, Any]:
    """Surroundings, state and noise of any scene; replayed agents send messages to all."""
    context = crowd(model, kinds, pieces, seed=seed)
    state = any_state(model, context, copies, seed=seed)
    around = surroundings(model.world, context, state)
    if replayed:
        others, rows = some_replayed(model, replayed, seed), copies * len(kinds)
        edges = []
        for near in around.edges.agents:
            target, source = torch.cartesian_prod(torch.arange(rows), torch.arange(replayed)).t()
            target, source = (
                torch.cat([near.target, target]),
                torch.cat([near.source, rows + source]),
            )
            radius = torch.cat([near.radius, torch.full((rows * replayed,), 6.0)])
            order = target.sort(stable=True).indices
            edges.append(
                near._replace(source=source[order], target=target[order], radius=radius[order])
            )
        around = around._replace(replayed=others, edges=around.edges._replace(agents=tuple(edges)))
    return around, state, noise_of(context, copies, 1, seed)


def step(world: WorldModel, around: Surroundings, state: Any, noise: Any) -> tuple[Tensor, Motion]:
    """Both programs of a step."""
    hidden = world.update(around, state, state.seen)
    after = state._replace(hidden=hidden)
    return hidden, world.act(around, after, noise.intent, noise.steps[0])


@pytest.mark.slow
@settings(max_examples=60)
@given(
    kinds=st.lists(st.integers(0, 3), min_size=1, max_size=7),
    pieces=st.sampled_from([0, 1, 6]),
    copies=st.integers(1, 5),
    replayed=st.sampled_from([0, 1, 5]),
    seed=st.integers(0, 2**16),
)
def test_a_compiled_step_is_that_of_the_definition(
    compiled: Compiled, kinds: list[int], pieces: int, copies: int, replayed: int, seed: int
) -> None:
    scene = scene_of(compiled.plain, kinds, pieces, copies, replayed, seed)
    with torch.inference_mode():
        found, expected = (step(each.world, *scene) for each in (compiled.fast, compiled.plain))
    assert isinstance(found[1], Motion)
    assert_close(found, expected)


@pytest.mark.slow
@torch.inference_mode()
def test_a_compiled_step_takes_a_scene_without_agents(compiled: Compiled) -> None:
    for copies in (1, 2):
        scene = scene_of(compiled.plain, [], 3, copies, 0, 0)
        hidden, motion = step(compiled.fast.world, *scene)
        assert hidden.shape == (copies, 0, SMALL.hidden)
        assert motion.position.shape == (copies, 0, 2)


@pytest.mark.slow
@torch.inference_mode()
def test_compiled_futures_and_reactions_are_those_of_the_definition(compiled: Compiled) -> None:
    kinds = [0, 0, 1, 2, 3, 0, 0]
    context = crowd(compiled.plain, kinds, pieces=6)
    state, noise = any_state(compiled.plain, context), noise_of(context, 4, 6)
    worlds = compiled.fast.world, compiled.plain.world
    found, expected = (
        imagine(world, context, settle(world, context, state), noise) for world in worlds
    )
    assert_close(found, expected, 1e-4)
    here = state.motion.position[0]
    share = torch.linspace(0.2, 1.2, 6)[:, None]
    way = here[4] + share * (here[:3] - here[4])[:, None]
    plans = torch.cat([way, torch.zeros(3, 6, 1)], -1)
    found, expected = (ReactiveRollout(world, context, state, noise).to(plans) for world in worlds)
    assert_close(found, expected, 1e-4)


@pytest.mark.slow
@torch.inference_mode()
def test_what_is_not_finite_stays_so_in_compiled_steps(compiled: Compiled) -> None:
    around, state, noise = scene_of(compiled.plain, [0, 0, 0], 0, 2, 0, 0)
    state.hidden[:, 1] = torch.nan
    found, expected = (
        step(each.world, around, state, noise) for each in (compiled.fast, compiled.plain)
    )
    assert torch.equal(found[0].isnan(), expected[0].isnan())
    assert found[0][:, 1].isnan().all()


@pytest.mark.slow
def test_with_gradients_the_definition_runs(compiled: Compiled) -> None:
    world = compiled.fast.world
    scene = scene_of(compiled.plain, [0, 0, 2], 3, 2, 0, 0)
    hidden, motion = step(world, *scene)
    expected = step(compiled.plain.world, *scene)
    assert torch.equal(hidden, expected[0])
    (hidden.sum() + motion.position.sum()).backward()
    grads = [world.cell.weight_hh.grad, world.action_head[0].weight.grad]
    world.zero_grad()
    assert all(grad is not None and grad.isfinite().all() and grad.any() for grad in grads)


@pytest.mark.slow
def test_in_training_all_numbers_of_the_state_need_gradients_and_lie_alike() -> None:
    """So `torch.compile` makes one version of the network, whatever step the state is from."""
    model = network()
    context = crowd(model, [0, 0, 2, 3])
    state = any_state(model, context)
    state = state._replace(mirror=state.mirror[:, :1].expand_as(state.mirror))
    around = surroundings(model.world, context, state)
    seen: list[Tensor] = []

    def update(around: Surroundings, state: Any, visible: Tensor) -> Tensor:
        seen.extend(pytree.tree_leaves(state))
        return model.world.update(around, state, visible)

    found = compiling._with_whole_gradients(update, around, state, state.seen)
    assert torch.equal(found, model.world.update(around, state, state.seen))
    numbers = [value for value in seen if value.is_floating_point()]
    assert len(numbers) < len(seen)
    assert all(value.requires_grad and value.is_contiguous() for value in numbers)
    found.sum().backward()
    assert all(value.grad is None for value in pytree.tree_leaves(state))


def test_in_lower_precision_the_definition_runs(compiled: Compiled) -> None:
    scene = scene_of(compiled.plain, [0, 0, 2], 3, 2, 0, 0)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found, expected = (step(each.world, *scene) for each in (compiled.fast, compiled.plain))
        for one, other in zip(pytree.tree_leaves(found), pytree.tree_leaves(expected), strict=True):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)


@pytest.mark.slow
def test_in_double_precision_the_definition_runs(compiled: Compiled) -> None:
    def to_double(tree: Any) -> Any:
        return pytree.tree_map(
            lambda value: value.double() if value.is_floating_point() else value, tree
        )

    fast, scene = network(), to_double(scene_of(compiled.plain, [0, 0, 2], 3, 2, 0, 0))
    with pytest.MonkeyPatch.context() as patch:
        switch_on(patch, compiled.cache)
        accelerate(fast.world)
    fast.double()
    with torch.inference_mode():
        found, expected = (step(each.world, *scene) for each in (fast, network().double()))
    assert found[0].dtype == torch.float64
    assert_close(found, expected)


@pytest.mark.slow
def test_new_weights_take_effect(compiled: Compiled) -> None:
    """A step takes the weights as they are now."""
    scene, other = scene_of(compiled.plain, [0, 0, 2], 3, 2, 0, 0), network(seed=1)
    fast = network()
    with pytest.MonkeyPatch.context() as patch:
        switch_on(patch, compiled.cache)
        accelerate(fast.world)
    fast.load_state_dict(other.state_dict())
    with torch.inference_mode():
        assert_close(step(fast.world, *scene), step(other.world, *scene))


def compilations(patch: pytest.MonkeyPatch) -> list[Path]:
    """Where packages are written from now on; writing one is an error."""
    seen: list[Path] = []

    def refuse(program: Any, path: Path, *, with_weights: bool) -> None:
        seen.append(path)
        raise AssertionError("compiled again")

    patch.setattr(compiling, "write_package", refuse)
    return seen


@pytest.mark.slow
def test_programs_are_kept_and_not_compiled_twice(
    compiled: Compiled, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = sorted(path.relative_to(compiled.cache) for path in compiled.cache.rglob("*.so"))
    assert [path.name for path in kept] == ["act.so", "update.so"]
    assert {path.parts[0] for path in kept} == {"forecast"}
    assert len({path.parent for path in kept}) == 1
    left = {path.name for path in (compiled.cache / kept[0].parent).iterdir()}
    assert left == {"act.so", "update.so"}  # nothing else stays behind
    switch_on(monkeypatch, compiled.cache)
    again = network(seed=5)  # weights are arguments, so other weights need no other program
    assert compilations(monkeypatch) == []
    accelerate(again.world)
    assert is_compiled(again.world)
    assert capsys.readouterr().err == ""
    scene = scene_of(again, [0, 2], 2, 2, 0, 0)
    with torch.inference_mode():
        assert_close(step(again.world, *scene), step(network(seed=5).world, *scene))


@pytest.mark.slow
def test_compiling_says_one_line_that_names_the_setting(compiled: Compiled) -> None:
    (line,) = (line for line in compiled.output.splitlines() if line.startswith("forecast: "))
    assert f"{SETTING}=off" in line


@pytest.mark.slow
def test_compiling_says_nothing_else(compiled: Compiled) -> None:
    assert [str(each.message) for each in compiled.warned] == []


@pytest.mark.slow
def test_another_configuration_has_another_program(compiled: Compiled, monkeypatch) -> None:
    switch_on(monkeypatch, compiled.cache)
    seen = compilations(monkeypatch)
    wider = network(SMALL.__class__(hidden=24, messages=8, map=8))
    with pytest.raises(AssertionError, match="compiled again"):
        accelerate(wider.world)
    assert len(seen) == 1


@pytest.mark.slow
def test_two_threads_at_once_get_the_same_bits(compiled: Compiled) -> None:
    scenes = [scene_of(compiled.plain, [0, 0, 1, 2, 3] * 4, 6, 4, 0, seed) for seed in range(4)]
    start = threading.Barrier(2)

    def repeat(_: int) -> list[Any]:
        start.wait()
        with torch.inference_mode():
            return [step(compiled.fast.world, *scene) for scene in scenes * 25]

    with torch.inference_mode():
        expected = [step(compiled.fast.world, *scene) for scene in scenes] * 25
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(repeat, range(2)):
            for one, other in zip(
                pytree.tree_leaves(found), pytree.tree_leaves(expected), strict=True
            ):
                assert torch.equal(one, other)


@pytest.mark.slow
def test_results_stay_when_the_program_runs_again(compiled: Compiled) -> None:
    """Results are no views of memory that the next call writes."""
    one, other = (scene_of(compiled.plain, [0, 0, 2], 3, 2, 0, seed) for seed in range(2))
    with torch.inference_mode():
        first = step(compiled.fast.world, *one)
        kept = pytree.tree_map(torch.clone, first)
        step(compiled.fast.world, *other)
    for now, before in zip(pytree.tree_leaves(first), pytree.tree_leaves(kept), strict=True):
        assert torch.equal(now, before)


@pytest.mark.slow
def test_a_copy_gives_the_same(compiled: Compiled) -> None:
    scene, twin = scene_of(compiled.plain, [0, 0, 2], 3, 2, 0, 0), copy.deepcopy(compiled.fast)
    with torch.inference_mode():
        assert_close(step(twin.world, *scene), step(compiled.fast.world, *scene))


@pytest.mark.slow
def test_a_copy_has_weights_of_its_own(compiled: Compiled) -> None:
    """Training goes on from copies."""
    twin, other = copy.deepcopy(compiled.fast), network(seed=1)
    twin.load_state_dict(other.state_dict())
    scene = scene_of(other, [0, 0, 2], 3, 2, 0, 0)
    with torch.inference_mode():
        assert_close(step(twin.world, *scene), step(other.world, *scene))
    twin.zero_grad()
    hidden, _ = step(twin.world, *scene)
    hidden.sum().backward()
    assert twin.world.cell.weight_hh.grad is not None


@pytest.mark.slow
def test_a_compiled_network_is_carried_to_another_process(compiled: Compiled) -> None:
    twin = pickle.loads(pickle.dumps(compiled.fast))
    scene = scene_of(compiled.plain, [0, 0, 2], 3, 2, 0, 0)
    with torch.inference_mode():
        assert_close(step(twin.world, *scene), step(compiled.plain.world, *scene))


@pytest.mark.slow
def test_a_compiled_step_leaks_no_memory(compiled: Compiled) -> None:
    resource = pytest.importorskip("resource")
    scene = scene_of(compiled.plain, [0] * 40, 6, 8, 0, 0)

    def grown(calls: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with torch.inference_mode():
            for _ in range(calls):
                step(compiled.fast.world, *scene)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    grown(20)
    assert grown(200) < 20_000  # kilobytes; a call's results alone are 40 kB


@pytest.mark.parametrize("value", ["off", "OFF", "0", "no"])
def test_it_can_be_switched_off(
    value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    switch_on(monkeypatch, tmp_path)
    monkeypatch.setenv(SETTING, value)
    seen, model = compilations(monkeypatch), network()
    assert not wanted()
    accelerate(model.world)
    assert not is_compiled(model.world)
    assert (seen, list(tmp_path.iterdir())) == ([], [])


def test_it_is_on_where_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING)
    monkeypatch.setattr(compiling, "has_compiler", lambda: True)
    assert wanted()


def test_without_a_compiler_the_definition_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    switch_on(monkeypatch, tmp_path)
    monkeypatch.setattr(compiling, "has_compiler", lambda: False)
    seen, model = compilations(monkeypatch), network()
    accelerate(model.world)
    assert not is_compiled(model.world)
    assert (seen, list(tmp_path.iterdir())) == ([], [])
    scene = scene_of(model, [0, 2], 2, 2, 0, 0)
    with torch.inference_mode():
        assert_close(step(model.world, *scene), step(network().world, *scene))


def test_a_compiler_that_is_not_there_is_found_out() -> None:
    with config.patch({"cpp.cxx": ("/nowhere/c++",)}):
        assert not has_compiler()


def test_on_another_device_the_definition_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    switch_on(monkeypatch, tmp_path)
    seen, model = compilations(monkeypatch), network().to("meta")
    accelerate(model.world)
    assert not is_compiled(model.world)
    assert seen == []


def test_a_cache_that_cannot_be_written_leaves_the_definition(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Home folders of containers are often read-only."""
    if not has_compiler():
        pytest.skip("no C++ compiler")
    (tmp_path / "file").write_text("")
    switch_on(monkeypatch, tmp_path / "file")
    model = network()
    accelerate(model.world)
    assert not is_compiled(model.world)


def test_a_compiler_that_fails_leaves_the_definition(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A compiler is there, but not what it needs, such as headers."""

    def fails(program: Any, path: Path, *, with_weights: bool) -> None:
        raise RuntimeError("C++ compile error")

    switch_on(monkeypatch, tmp_path)
    monkeypatch.setattr(compiling, "has_compiler", lambda: True)
    monkeypatch.setattr(compiling, "write_package", fails)
    model = network()
    accelerate(model.world)
    assert not is_compiled(model.world)


DEFINITION = (
    "types",
    "neighbors",
    "features",
    "message_passing",
    "dynamics",
    "world_model",
    "rollout",
    "reactive",
    "losses",
    "noise",
    "forecaster",
)
"""Modules that say what the network computes."""

FAST = {"forecast.models.compile", "forecast.models.programs"}
"""Modules that make it fast."""


def imports_of(source: str) -> set[str]:
    """Every module a source imports; ``from a import b`` gives ``a`` and ``a.b``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("name", DEFINITION)
def test_the_definition_imports_nothing_that_makes_it_fast(name: str) -> None:
    source = (ROOT / "forecast" / "models" / f"{name}.py").read_text(encoding="utf-8")
    assert imports_of(source) & FAST == set()


def test_the_definition_loads_nothing_that_makes_it_fast() -> None:
    """Not by way of another module either."""
    names = ", ".join(f"forecast.models.{name}" for name in DEFINITION)
    script = f"import {names}, sys\nprint(*sorted(set(sys.modules) & {FAST}))"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert run.stdout.split() == []


def test_no_gradient_is_written_by_hand() -> None:
    for path in sorted((ROOT / "forecast").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {each.split(".")[-1] for each in imports_of(path.read_text(encoding="utf-8"))}
        written = {"register_autograd", "once_differentiable", "save_for_backward"} & names
        assert not written, path
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = {ast.unparse(base) for base in node.bases}
                assert not any(base.endswith("autograd.Function") for base in bases), path
                assert "Function" not in bases, path


def test_the_check_for_imports_finds_what_it_is_for() -> None:
    for source in (
        "from forecast.models.compile import accelerate",
        "from forecast.models import programs",
        "def f():\n    import forecast.models.compile",
    ):
        assert imports_of(source) & FAST
    assert not imports_of("from forecast.models.types import Noise") & FAST
