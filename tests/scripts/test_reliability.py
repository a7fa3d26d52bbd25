"""Small numbers of what scripts/reliability does in large ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast import Forecaster, ForecastError
from scripts.faults import doors, guided, inputs, kills, relations, stream
from scripts.faults.traffic import random_scene, small_forecaster

WAYS_IN = (
    "tracks (CSV)",
    "crowd recordings",
    "nuScenes tables",
    "nuScenes map expansions",
    "GeoJSON maps",
    "stores, opened",
    "stores, prepared again",
    "weights",
    "descriptions in weights",
    "prediction files, bytes",
    "prediction files, values",
    "challenge submissions",
    "acceptance criteria",
    "kinds of categories",
    "training configurations",
    "`Scene.from_arrays`",
    "frames of a stream",
    "plans of the ego",
    "messages to the viewer",
)


@pytest.fixture(scope="module")
def model() -> Forecaster:
    return small_forecaster()


@pytest.fixture(scope="module")
def ways_in(tmp_path_factory) -> dict[str, inputs.Try]:
    return inputs.ways_in(inputs.Material.of(tmp_path_factory.mktemp("inputs") / "work"))


@pytest.mark.slow
def test_every_way_in_is_tried(ways_in) -> None:
    assert tuple(ways_in) == WAYS_IN
    for name, read in ways_in.items():
        assert inputs.tried(read, inputs.Mutator(None)) == "taken", name


@pytest.mark.slow
@pytest.mark.parametrize("name", WAYS_IN)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_mutated_input_is_taken_or_refused_in_one_line(ways_in, name, seed) -> None:
    assert inputs.tried(ways_in[name], inputs.Mutator(seed)) in ("taken", "refused")


def test_faults_of_inputs_are_found_and_counted(tmp_path: Path) -> None:
    def read(change: inputs.Mutator) -> None:
        number = int(change.rng.integers(1000)) if change.changes else 0
        if number % 3 == 1:
            raise ForecastError("refused")
        if number % 3 == 2:
            raise KeyError(number)

    found = inputs.tally(read, 30, tmp_path / "progress")
    assert found.taken + found.refused + len(found.faults) == 30
    assert found.taken > 0
    assert found.refused > 0
    assert all("KeyError in test_reliability.py" in fault for fault in found.faults)
    assert len(found.faults) > 0
    assert "taken" in inputs.table({"some": found})


def test_a_fuzzer_starts_from_every_good_input_of_a_kind() -> None:
    read = []

    def attempt(change) -> None:
        name = change.one_of(["a.json", "b.json"])
        read.append((name, change.document([name])))

    seeds = guided.good_inputs(attempt)
    assert seeds == [b'\x00["a.json"]', b'\x01["b.json"]']
    for data in seeds:
        attempt(guided.Fuzzed(data))
    assert read[2:] == read[:2]
    attempt(guided.Fuzzed(b"\x03{\xff"))
    assert read[-1] == ("b.json", "{\ufffd".encode())


@pytest.mark.slow
def test_kinds_that_a_fuzzer_makes_are_ways_in(ways_in) -> None:
    assert set(guided.KINDS) < set(ways_in)
    for kind in guided.KINDS:
        first, *others = guided.good_inputs(ways_in[kind])
        assert inputs.tried(ways_in[kind], guided.Fuzzed(first)) == "taken", kind
        for data in others:
            assert inputs.tried(ways_in[kind], guided.Fuzzed(data)) in ("taken", "refused"), kind


@pytest.mark.slow
def test_a_fuzzer_reaches_the_package(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed")
    found = guided.campaign("kinds of categories", tmp_path / "work", runs=200)
    assert found.outcome.taken + found.outcome.refused >= 200
    assert not found.outcome.faults
    assert found.branches > 10
    assert "kinds of categories" in guided.table({"kinds of categories": found})


@pytest.mark.parametrize("relation", relations.RELATIONS, ids=lambda each: each.name)
def test_what_must_not_matter_does_not(model, relation) -> None:
    found = {relation.name: [0.0]}
    for seed in range(1000, 1003):
        scene, rng = random_scene(seed), np.random.default_rng(seed)
        given_one = relations.predicted(model, scene)
        found[relation.name].append(relation.differences_m(scene, given_one, model, rng))
    assert max(found[relation.name]) <= relation.within_m


def test_a_relation_that_does_not_hold_is_named() -> None:
    found = {each.name: [0.0, each.within_m] for each in relations.RELATIONS}
    assert relations.broken(found) == []
    found[relations.RELATIONS[1].name].append(0.5)
    (wrong,) = relations.broken(found)
    assert "0.5 m in traffic-2" in wrong


@pytest.mark.parametrize("rate", [1, 5])
def test_a_stream_predicts_what_the_scene_gives(model, rate) -> None:
    for seed in range(2000, 2004):
        scene = doors.door_scene(seed)
        expected, made = doors.predicted(model, scene), doors.streamed(model, scene, rate)
        assert doors._difference_m(expected, made) <= 1e-4  # agents are in another order


@pytest.mark.slow
def test_tables_and_tracks_give_the_same_futures(model, tmp_path: Path) -> None:
    scenes = [doors.door_scene(seed) for seed in range(3000, 3004)]
    for name, (within_m, way) in doors._readers(tmp_path, scenes, model).items():
        away = [doors._difference_m(doors.predicted(model, scene), way(scene)) for scene in scenes]
        assert max(away) <= within_m, name


@pytest.mark.slow
def test_a_stream_keeps_its_memory_and_its_pace(model) -> None:
    ticks = stream.measure(model, minutes=0.4)
    assert ticks.names > 10
    assert max(ticks.different_m) == 0
    assert stream.growth(ticks) < 0.02  # a short run: an allocator takes memory by the megabyte
    assert "ticks" in stream.table(ticks, 0.4)


@pytest.mark.slow
def test_a_killed_command_leaves_the_old_output_or_the_whole(tmp_path: Path) -> None:
    out = tmp_path / "work" / "out"

    def town(seed: int) -> list[str]:
        return ["town", "--scenes", "1", "--seed", str(seed), "--out", str(out)]

    found = kills.killed(kills.Command("town", town(0), out, town(1)), 6)
    assert found.kills == 6
    assert sum(found.found.values()) == 6
    assert found.ended >= 1


def test_a_half_output_is_found(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "half").write_text("ha")
    command = kills.Command("write", [], out)
    with pytest.raises(ForecastError, match=r"after a kill .*out holds other \['half'\]"):
        kills._state(command, {}, {}, {"half": "hash of the whole"})
