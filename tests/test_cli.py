import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from forecast import ForecastError, __version__
from forecast.adaptation import AdaptConfig
from forecast.cli import main
from forecast.datasets.crowds.eth_ucy import RECORDINGS
from forecast.datasets.store import SceneStore
from forecast.evaluation.run.job import EvaluationConfig
from forecast.evaluation.verdict.verdict import Verdict, VerdictPart
from forecast.parallel import Workers
from forecast.report import render, render_adaptation, render_comparison
from forecast.visualization.training_pictures import BirdsEye, CalibrationCurve
from tests.streets import street_store

ROOT = Path(__file__).parents[1]
EVALUATE = ["evaluate", "--store", "s", "--split", "val", "--predictor", "kalman", "--out", "o"]


@pytest.fixture
def eth_ucy(tmp_path) -> Path:
    for folder, suffix in (("all", ""), ("train", "_train"), ("val", "_val")):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for recording in RECORDINGS:
            file = tmp_path / "data" / folder / f"{recording}{suffix}.txt"
            file.write_text("0 1 0.5 0.5\n10 1 1.0 0.5\n10 2 3.0 3.0\n")
    return tmp_path / "data"


@pytest.fixture
def asked(monkeypatch):
    """Puts a function that takes notes in place of a command's own; returns the notes."""

    def stand_in(
        module: str, function: str, raises: BaseException | None = None, gives: object = None
    ) -> list:
        notes = []

        def take(*args, **kwargs):
            notes.append((args, kwargs))
            if raises is not None:
                raise raises
            return gives

        made = ModuleType(module)
        setattr(made, function, take)
        monkeypatch.setitem(sys.modules, module, made)
        return notes

    return stand_in


def usage_error(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


# --- prepare


def test_prepare_writes_a_store_and_says_what_is_in_it(eth_ucy, tmp_path, capsys):
    out = tmp_path / "store"
    words = ["prepare", "--source", "eth_ucy", "--dataroot", str(eth_ucy), "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{out}: 24 scenes of eth_ucy, 48 steps"
    assert said[1] == "agents:  48 (pedestrian 48)"
    assert said[2] == "lanes:   0"
    assert "univ_train 6, univ_val 6, univ_test 2" in said[3]
    assert said[4] == "dropped: nothing"
    assert said[5] == "mended:  nothing"
    assert len(said) == 6
    assert len(SceneStore.open(out)) == 24


def test_prepare_hands_the_number_of_workers_on(eth_ucy, tmp_path, capsys):
    words = ["prepare", "--source", "eth_ucy", "--dataroot", str(eth_ucy)]
    assert main([*words, "--out", str(tmp_path / "one")]) == 0
    assert main([*words, "--out", str(tmp_path / "two"), "--workers", "2"]) == 0
    one, two = (tmp_path / name / "store.json" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert main([*words, "--out", str(tmp_path / "three"), "--workers", "0"]) == 1
    assert "error: workers is 0; at least 1 is needed" in capsys.readouterr().err


def test_prepare_reads_nuscenes_with_and_without_its_map(nuscenes_root, tmp_path, capsys):
    words = ["prepare", "--source", "nuscenes", "--dataroot", str(nuscenes_root)]
    words += ["--version", "v1.0-mini", "--out"]
    assert main([*words, str(tmp_path / "with")]) == 0
    said = capsys.readouterr().out
    assert "10 scenes of nuscenes, 404 steps" in said
    assert "pedestrian 227" in said
    assert "mini_train 8, mini_val 2" in said
    assert main([*words, str(tmp_path / "without"), "--no-map"]) == 0
    assert "lanes:   0" in capsys.readouterr().out
    assert SceneStore.open(tmp_path / "with")["scene-0103"].lane_map is not None
    assert SceneStore.open(tmp_path / "without")["scene-0103"].lane_map is None


def test_prepare_reads_any_crowd_and_says_what_a_step_is(tmp_path, capsys):
    rows = "".join(f"{t},1,{0.05 * t:.3f},0\n" for t in range(60))
    (tmp_path / "plaza.csv").write_text(f"frame,id,x,y\n{rows}")
    words = ["prepare", "--source", "crowd", "--dataroot", str(tmp_path / "plaza.csv")]
    assert main([*words, "--out", str(tmp_path / "out")]) == 1
    assert "give --frame-s" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "out"), "--frame-s", "0.04"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("1 scenes of crowd, 6 steps")
    assert said[-2:] == ["dropped: nothing", "mended:  nothing"]
    rows = "".join(f"{t} 1 {0.5 * t} 0\n" for t in range(6))
    (tmp_path / "plaza.csv").write_text(rows)
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "step:    the usual difference of a person's frame numbers is taken for 0.4 s" in said


@pytest.mark.parametrize("frame", [10**7, 10**10, 10**30])
def test_one_wrong_frame_number_is_one_line(tmp_path, capsys, frame):
    """It would make millions of steps, and take all memory."""
    rows = [f"{10 * step} {person} {step} {person}" for person in (1, 2) for step in range(50)]
    (tmp_path / "crowd").mkdir()
    (tmp_path / "crowd" / "a.txt").write_text("\n".join([*rows, f"{frame} 1 3 3"]))
    words = ["prepare", "--source", "crowd", "--dataroot", tmp_path / "crowd"]
    assert main([*map(str, words), "--out", str(tmp_path / "store")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "s from the first to the last record; at most" in error or "the latest time is" in error


def test_prepare_reads_a_table_of_tracks_with_a_map(tmp_path, capsys):
    rows = "".join(f"a,1,pedestrian,{t / 10},{0.1 * t:.2f},0\n" for t in range(41))
    (tmp_path / "tracks.csv").write_text(f"scene,agent_id,kind,t_s,x_m,y_m\n{rows}")
    (tmp_path / "map.json").write_text(
        '{"type": "FeatureCollection", "features": [{"properties": {"layer": "lane"}, '
        '"geometry": {"type": "LineString", "coordinates": [[0, 5], [40, 5]]}}]}'
    )
    words = ["prepare", "--source", "tracks", "--dataroot", str(tmp_path / "tracks.csv")]
    words += ["--map", str(tmp_path / "map.json"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("1 scenes of tracks, 9 steps")
    assert said[2:4] == ["lanes:   1", "splits:  all 1"]


@pytest.mark.parametrize(
    ("source", "extra", "message"),
    [
        ("eth_ucy", ["--frame-s", "0.1"], "--frame-s is for --source crowd"),
        ("tracks", ["--frame-s", "0.1"], "--frame-s is for --source crowd"),
        ("nuscenes", ["--map", "m"], "--map is for --source crowd and tracks"),
        ("tracks", ["--version", "v1"], "--version is for --source nuscenes"),
    ],
)
def test_options_of_other_sources_are_refused(capsys, source, extra, message):
    words = ["prepare", "--source", source, "--dataroot", "d", "--out", "o", *extra]
    assert message in usage_error(capsys, *words)


def test_a_failure_is_one_line_and_code_1(tmp_path, capsys):
    words = ["prepare", "--source", "eth_ucy", "--dataroot", str(tmp_path), "--out", "store"]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {tmp_path}/all/biwi_eth.txt: no such file; give a")
    assert captured.err.count("\n") == 1


def test_nuscenes_needs_a_version(capsys):
    words = ["prepare", "--source", "nuscenes", "--dataroot", "d", "--out", "o"]
    assert "--version is needed with --source nuscenes" in usage_error(capsys, *words)


@pytest.mark.parametrize(
    "extra",
    [
        ["--no-map"],
        ["--version", "v1.0-mini"],
        ["--ego-channel", "LIDAR_TOP"],
        ["--categories", "a.yaml"],
    ],
)
def test_options_of_nuscenes_are_refused_elsewhere(capsys, extra):
    words = ["prepare", "--source", "eth_ucy", "--dataroot", "d", "--out", "o", *extra]
    assert f"{extra[0]} is for --source nuscenes" in usage_error(capsys, *words)


def test_prepare_leaves_a_bad_scene_out_unless_strict(nuscenes_root, tmp_path, capsys):
    version = tmp_path / "data" / "v1.0-mini"
    shutil.copytree(nuscenes_root / "v1.0-mini", version)
    samples = json.loads((version / "sample.json").read_text())
    scenes = json.loads((version / "scene.json").read_text())
    bad = next(scene["token"] for scene in scenes if scene["name"] == "scene-0061")
    for sample in samples:
        sample["timestamp"] *= 1000 if sample["scene_token"] == bad else 1
    (version / "sample.json").write_text(json.dumps(samples))
    words = ["prepare", "--source", "nuscenes", "--dataroot", str(tmp_path / "data")]
    words += ["--version", "v1.0-mini", "--no-map", "--out", str(tmp_path / "store")]
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{tmp_path / 'store'}: 9 scenes of nuscenes, ")
    assert said[3] == "ego:     pose at the key frames of LIDAR_TOP"
    assert "mini_train 7, mini_val 2" in said[4]
    assert said[7].startswith("left out: 1 of 10 scenes: scene-0061 (")
    assert said[7].endswith("nanoseconds? microseconds are needed)")
    assert main([*words, "--strict"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1 of 10 scenes could not be prepared: scene-0061 (" in captured.err


# --- the other commands: what they are handed


def test_town(asked):
    notes = asked("forecast.simulator", "write_town")
    assert main(["town", "--out", "city"]) == 0
    words = ["--scenes", "3", "--seed", "7", "--workers", "2", "--counterfactual", "--full-rate"]
    words += ["--district", "shared_space"]
    assert main(["town", "--out", "city", *words]) == 0
    plain = {
        "counterfactual": False,
        "district": "street",
        "workers": Workers(),
        "full_rate": False,
    }
    asked_for = {"counterfactual": True, "workers": Workers(2), "full_rate": True}
    asked_for["district"] = "shared_space"
    assert notes == [
        ((Path("city"),), {"scenes": 10, "seed": 0, **plain}),
        ((Path("city"),), {"scenes": 3, "seed": 7, **asked_for}),
    ]


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_training_gets_every_word_as_it_is(asked, command):
    notes = asked("forecast.training.cli", "main")
    words = ["--config", "a.yaml", "--trainer.max_epochs=2", "--help"]
    assert main([command, *words]) == 0
    (((name, given), options),) = notes
    assert (name, given) == (command, words)
    assert [type(each) for each in options["callbacks"]] == [BirdsEye, CalibrationCurve]


def test_evaluate(asked):
    notes = asked("forecast.evaluation", "run_evaluation")
    config = EvaluationConfig(
        store=Path("s"),
        split="val",
        predictor="kalman",
        samples=20,
        horizon_s=None,
        history_s=None,
        seed=0,
    )
    given = {"render": render, "workers": Workers(), "acceptance": None, "slices": None}
    assert main(EVALUATE) == 0
    more = ["--samples", "5", "--horizon-s", "3", "--history-s", "1.5", "--seed", "9"]
    where = ["--workers", "2", "--ray", "10.0.0.1:6379"]
    where += ["--metric", "mine:late", "--metric", "mine:near"]
    shown = ["--acceptance", "ours.yaml", "--slices", "crossing,light"]
    assert main([*EVALUATE, *more, *where, *shown]) == 0
    metrics = ("mine:late", "mine:near")
    other = replace(config, samples=5, horizon_s=3.0, history_s=1.5, seed=9, metrics=metrics)
    changed = {"workers": Workers(2, "10.0.0.1:6379"), "acceptance": Path("ours.yaml")}
    changed["slices"] = "crossing,light"
    assert notes == [((config, Path("o")), given), ((other, Path("o")), given | changed)]


def test_evaluate_a_shard(asked):
    notes = asked("forecast.evaluation", "run_shard")
    more = ["--samples", "5", "--horizon-s", "3", "--history-s", "1.5", "--seed", "9"]
    assert main([*EVALUATE, *more, "--workers", "2", "--shard", "2/8"]) == 0
    want = EvaluationConfig(Path("s"), "val", "kalman", 5, horizon_s=3.0, history_s=1.5, seed=9)
    assert notes == [((want, "2/8", Path("o"), Workers(2)), {})]


@pytest.mark.parametrize(("tone", "code"), [("good", 0), ("bad", 3), ("open", 4)])
def test_a_gate_turns_the_verdict_into_the_exit_code(asked, monkeypatch, capsys, tone, code):
    asked("forecast.evaluation", "run_evaluation")
    verdict = Verdict((VerdictPart("calibration", tone, "words"),))
    monkeypatch.setattr("forecast.evaluation.verdict.verdict.verdict_of", lambda result: verdict)
    assert main(EVALUATE) == 0
    assert capsys.readouterr().err == ""
    assert main([*EVALUATE, "--gate"]) == code
    assert capsys.readouterr().err == f"gate: exit code {code}. {verdict.sentence}\n"
    asked("forecast.evaluation", "merge_shards")
    merge = ["merge", "a", "--store", "s", "--predictor", "p", "--out", "o"]
    assert main(merge) == 0
    assert main([*merge, "--gate"]) == code


@pytest.mark.slow
def test_a_gate_closes_after_the_files_are_written(tmp_path, capsys):
    store = street_store(tmp_path / "store")
    words = ["evaluate", "--store", str(store.path), "--split", "all", "--predictor", "stationary"]
    words += ["--horizon-s", "2", "--samples", "2", "--gate", "--out", str(tmp_path / "out")]
    criteria = "minimum_rows: 1\nminimum_scenes: 5\ncriteria:\n"
    criteria += "  - {id: all, condition: any, metric: top1_fde_m, at_most: 0.001}\n"
    (tmp_path / "ours.yaml").write_text(criteria)
    assert main([*words, "--acceptance", str(tmp_path / "ours.yaml")]) == 3
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files >= {"metrics.json", "rows.parquet", "report.html", "report.json"}
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "gate: exit code 3. Not acceptable: acceptance criteria."


def test_merge(asked):
    notes = asked("forecast.evaluation", "merge_shards")
    words = ["merge", "a", "b", "--store", "s", "--predictor", "p", "--out", "o"]
    given = {"store": Path("s"), "predictor": "p", "out": Path("o"), "render": render}
    assert main(words) == 0
    shown = ["--slices", "light", "--metric", "mine:late"]
    assert main([*words, "--acceptance", "ours.yaml", *shown]) == 0
    shards, other = [Path("a"), Path("b")], {"acceptance": Path("ours.yaml"), "slices": "light"}
    assert notes == [
        ((shards,), {**given, "acceptance": None, "slices": None, "metrics": []}),
        ((shards,), {**given, **other, "metrics": ["mine:late"]}),
    ]


def test_calibrate(asked):
    notes = asked("forecast.inference.calibrate", "calibrate_weights")
    words = ["calibrate", "--weights", "w", "--store", "s", "--split", "val", "--out", "o"]
    assert main(words) == 0
    assert main([*words, "--seed", "3"]) == 0
    given = {"weights": Path("w"), "store": Path("s"), "split": "val", "out": Path("o"), "seed": 0}
    assert notes == [((), given), ((), {**given, "seed": 3})]


def test_adapt(asked, capsys):
    notes = asked("forecast.adaptation.command", "run_adapt")
    words = ["adapt", "--weights", "town", "--store", "a", "--old", "b", "--out", "o.safetensors"]
    assert main(words) == 0
    more = ["--split", "x", "--store", "c", "--split", "y", "--old-split", "z", "--seed", "3"]
    assert main([*words, *more, "--replay", "l"]) == 0
    assert main([*words, "--undo-to", "12"]) == 0
    plain, replay, undo = (given for _, given in notes)
    assert plain == {
        "weights": "town",
        "stream": [(Path("a"), "all")],
        "old": [(Path("b"), "all")],
        "out": Path("o.safetensors"),
        "config": AdaptConfig(),
        "replay": None,
        "undo_to": None,
        "render": render_adaptation,
    }
    assert replay["stream"] == [(Path("a"), "x"), (Path("c"), "y")]
    assert (replay["old"], replay["replay"]) == ([(Path("b"), "z")], Path("l"))
    assert (replay["config"].seed, undo["undo_to"]) == (3, 12)
    assert "not allowed with" in usage_error(capsys, *words, "--replay", "l", "--undo-to", "1")
    assert "--split is needed once" in usage_error(capsys, *words, "--store", "c", "--split", "x")


def test_export(asked, capsys):
    notes = asked("forecast.export", "run")
    words = ["export", "--weights", "town", "--out", "o"]
    assert main(words) == 0
    assert main([*words, "--format", "onnx"]) == 0
    given = {"weights": Path("town"), "out": Path("o")}
    assert notes == [((), {**given, "form": "aoti"}), ((), {**given, "form": "onnx"})]
    assert "invalid choice: 'tflite'" in usage_error(capsys, *words, "--format", "tflite")


RENDER = ["render", "--store", "s", "--scene", "a", "--out", "o.mp4"]


def test_render(asked):
    notes = asked("forecast.visualization.film.command", "run_render")
    film = ModuleType("film")
    film.Question = lambda *values: values
    sys.modules["forecast.visualization.film.command"].Shot = lambda *values: values
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "forecast.visualization.film.film", film)
        assert main(RENDER) == 0
        more = ["--at", "6", "--plan", "brake", "keep", "--fps", "5", "--width", "640"]
        assert main([*RENDER, *more, "--seed", "3"]) == 0
        assert main(["render", "--town", "7", "--to", "9", "--modes", "5", "--out", "o.gif"]) == 0
    usual = {"width_px": None, "fps": None}
    recorded = (Path("s"), "a", None, "town", None, 0.0, None, (), (6.0, 20, 0, None))
    imagined = (Path("s"), "a", None, "town", 6.0, 0.0, None, ("brake", "keep"), (6.0, 20, 3, None))
    city = (None, None, 7, "town", None, 0.0, 9.0, (), (6.0, 20, 0, 5))
    assert notes == [
        ((recorded, Path("o.mp4")), usual),
        ((imagined, Path("o.mp4")), {"width_px": 640, "fps": 5}),
        ((city, Path("o.gif")), usual),
    ]


def test_audit(asked):
    notes = asked("forecast.evaluation.audit.command", "run_audit")
    words = ["audit", "--predictor", "kalman", "--store", "s"]
    assert main(words) == 0
    assert main([*words, "--split", "val", "--windows", "3", "--seed", "2", "--require"]) == 0
    assert main([*words, "--require", "frame,placebo"]) == 0
    given = {"predictor": "kalman", "store": Path("s")}
    usual = given | {"split": "all", "windows": 6, "seed": 0}
    other = given | {"split": "val", "windows": 3, "seed": 2}
    assert notes == [
        ((), usual | {"also_required": None}),
        ((), other | {"also_required": "every"}),
        ((), usual | {"also_required": "frame,placebo"}),
    ]


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ("better", 0, ""),
        ("worse", 1, "error: new compared with old: words\n"),
        ("undecided", 4, "undecided: new compared with old: words\n"),
    ],
)
def test_compare(asked, capsys, answer, code, said):
    found = SimpleNamespace(answer=answer, sentence="words")
    notes = asked("forecast.evaluation.comparison.comparison", "run_comparison", gives=found)
    assert main(["compare", "old", "new"]) == code
    assert capsys.readouterr().err == said
    assert main(["compare", "old", "new", "--out", "page", "--margin", "5"]) == code
    folders, given = (Path("old"), Path("new")), {"render": render_comparison}
    other = {"out": Path("page"), "margin": 0.05}
    assert notes == [(folders, given | {"out": None, "margin": 0.0}), (folders, given | other)]


def test_demo(asked):
    notes = asked("forecast.demo", "run_demo")
    assert main(["demo"]) == 0
    assert main(["demo", "--out", "here"]) == 0
    assert notes == [((Path("demo"),), {}), ((Path("here"),), {})]


def test_a_failure_of_any_command_is_one_line(asked, capsys):
    asked("forecast.demo", "run_demo", raises=ForecastError("demo: no room; free some"))
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == "error: demo: no room; free some\n"


def test_an_error_of_the_system_is_one_line(asked, capsys):
    asked("forecast.demo", "run_demo", raises=PermissionError(13, "Permission denied", "demo/town"))
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == "error: demo/town: Permission denied; check the path\n"


def test_an_interrupt_is_one_line_and_code_130(asked, capsys):
    asked("forecast.demo", "run_demo", raises=KeyboardInterrupt())
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_fault_of_the_program_itself_is_not_hidden(asked):
    asked("forecast.demo", "run_demo", raises=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["demo"])


# --- usage


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: command"),
        (["predict"], "invalid choice: 'predict'"),
        (["evaluate", "--store", "s"], "required: --split, --predictor, --out"),
        (["prepare", "--source", "av2", "--dataroot", "d", "--out", "o"], "invalid choice: 'av2'"),
        ([*EVALUATE, "--shard", "1/2", "--acceptance", "a"], "--acceptance is for merge"),
        ([*EVALUATE, "--shard", "1/2", "--gate"], "--gate is for merge"),
        (["town", "--out", "o", "--scenes", "many"], "invalid int value: 'many'"),
        (["render", "--out", "o.mp4"], "one of --store, --scene FILE and --town SEED is needed"),
        ([*RENDER, "--town", "1"], "one of --store, --scene FILE and --town SEED is needed"),
        ([*RENDER, "--plan", "brake"], "--plan is for --at"),
        ([*RENDER, "--at", "5", "--to", "6"], "--from and --to are for a film without --at"),
        ([*RENDER, "--at", "5", "--plan", "fly"], "invalid choice: 'fly'"),
    ],
)
def test_wrong_usage_is_code_2(capsys, words, message):
    assert message in usage_error(capsys, *words)


def test_help_names_every_command_and_loads_nothing_heavy():
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "forecast", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert "argparse" in loaded
    assert not loaded & {"torch", "pyarrow", "scipy", "matplotlib"}, "a heavy import has crept in"
    assert run.returncode == 0
    commands = ("prepare", "town", "fit", "validate", "test", "evaluate", "calibrate", "audit")
    for command in (*commands, "merge", "compare", "export", "adapt", "render", "demo"):
        assert f"\n    {command} " in run.stdout


def test_the_module_passes_the_exit_code_on(tmp_path):
    words = ["prepare", "--source", "eth_ucy", "--dataroot", str(tmp_path), "--out", "store"]
    run = subprocess.run(
        [sys.executable, "-m", "forecast", *words], capture_output=True, text=True, cwd=ROOT
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("error: ")


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"forecast {__version__}\n"
