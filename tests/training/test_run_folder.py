"""What may start in the folder of a run, and the configurations that it keeps."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from forecast import cli, inference
from forecast.datasets.store import SceneStore, prepare
from forecast.errors import ForecastError
from forecast.training.cli import main
from forecast.training.run_folder import checkpoint_of, require_unfinished
from tests.scenes import StreetSource
from tests.training.test_training import arguments

SHORT = ["--trainer.limit_val_batches=0", "--model.optimizer.warmup=0.5"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SceneStore:
    return prepare(StreetSource(), tmp_path_factory.mktemp("data") / "store")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_a_finished_run_goes_on_along_the_longer_schedule(store, tmp_path: Path, capsys) -> None:
    run, every = tmp_path / "run", ["--data.batch_size=1", "--trainer.log_every_n_steps=2"]
    last = run / "checkpoints" / "last.ckpt"

    def fit(epochs: int, *more: str) -> int:
        words = arguments(store, run, *SHORT, *every, f"--trainer.max_epochs={epochs}", *more)
        return cli.main(["fit", *words])

    assert fit(2) == 0
    first = (run / "config.yaml").read_bytes()
    before, said = contents(run), capsys.readouterr().err
    assert said.splitlines()[-1].startswith(
        f"warning: {last} is not calibrated: its predictions have "
    )
    assert f"run 'forecast calibrate --weights {last} --store S" in said

    assert fit(2, f"--ckpt_path={last}") == 0
    assert contents(run) == before
    assert capsys.readouterr().err == (
        f"{last}: nothing is left to train and nothing was written: epochs done 2, "
        "--trainer.max_epochs 2; give a larger number to go on\n"
    )

    assert fit(3, f"--ckpt_path={last}") == 0
    assert torch.load(last, weights_only=True)["global_step"] == 24
    assert (run / "config.yaml").read_bytes() == first
    second = yaml.safe_load((run / "config_2.yaml").read_text())
    assert (second["trainer"]["max_epochs"], second["ckpt_path"]) == (3, str(last))
    rates = EventAccumulator(str(run)).Reload().Scalars("step/learning_rate")
    assert [each.step for each in rates] == list(range(1, 24, 2))
    for each in rates[8:]:  # the fall of a cycle of 24 steps, from step 11 on
        fall = (1 + math.cos(math.pi * (each.step - 11) / 12)) / 2
        lowest = 2e-3 / 25 / 1e4
        assert each.value == pytest.approx(lowest + (2e-3 - lowest) * fall, rel=1e-4)


def test_what_is_trained_after_the_last_validation_is_kept(store, tmp_path: Path, capsys) -> None:
    run, every = tmp_path / "run", ["--data.batch_size=8", "--trainer.check_val_every_n_epoch=2"]

    def fit(epochs: int, *more: str) -> int:
        words = ["--trainer.limit_val_batches=1", f"--trainer.max_epochs={epochs}", *more]
        return cli.main(["fit", *arguments(store, run, *every, *words)])

    assert fit(3) == 0
    middle, last = sorted((run / "checkpoints").iterdir())
    assert torch.load(middle, weights_only=True)["global_step"] == 2
    assert torch.load(last, weights_only=True)["global_step"] == 3
    before = contents(run)
    for epochs, checkpoint in ((2, middle), (3, last)):
        capsys.readouterr()
        assert fit(epochs, f"--ckpt_path={checkpoint}") == 0
        assert f"epochs done {epochs}, --trainer.max_epochs {epochs}" in capsys.readouterr().err
    assert contents(run) == before


@pytest.mark.slow
def test_a_try_has_curves_and_a_picture_and_touches_no_run(store, tmp_path: Path, capsys) -> None:
    run, tried = tmp_path / "run", tmp_path / "run_try"
    words = [f"--data.store={store.path}", *arguments(store, run, "--data.batch_size=32")]
    words += [
        f"--run={run}/",
        "--try",
        "--trainer.max_epochs=9",
        "--trainer.enable_progress_bar=true",
    ]
    for _ in range(2):  # the second one replaces the first
        assert cli.main(["fit", *words]) == 0
        said = capsys.readouterr()
        assert "step/loss=" in said.out + said.err
        assert not run.exists()
        (events,) = tried.glob("events.out.tfevents.*")
    found = EventAccumulator(str(events)).Reload()
    assert sorted(found.Tags()["images"]) == ["val/birds_eye", "val/calibration"]
    assert len(found.Scalars("step/loss")) == 20
    assert len(found.Scalars("val/top1_fde_m")) == 1
    config = yaml.safe_load((tried / "config.yaml").read_text())
    assert (config["data"]["store"], config["data"]["train"]) == (str(store.path), [])
    (tried / "config.yaml").write_text("try: false")
    before = contents(tried)
    assert cli.main(["fit", *words]) == 1
    assert f"--run {tried}: holds a run already" in capsys.readouterr().err
    assert contents(tried) == before


def test_a_try_is_for_fit_and_starts_anew(store, tmp_path: Path) -> None:
    with pytest.raises(ForecastError, match="--try: is for fit; leave it out of validate"):
        main("validate", arguments(store, tmp_path / "run", "--try"))
    with pytest.raises(ForecastError, match=r"--try: starts anew; leave out --ckpt_path a\.ckpt"):
        main("fit", arguments(store, tmp_path / "run", "--try", "--ckpt_path=a.ckpt"))


@pytest.mark.parametrize(
    "words",
    [["--trainer.max_epochs=-1"], ["--trainer.max_epochs=null", "--trainer.max_time=1:0:0:0"]],
)
def test_a_training_without_an_end_is_refused_before_anything_is_written(
    store, tmp_path: Path, words
) -> None:
    run = tmp_path / "run"
    expected = r"--trainer.max_epochs is (-1|None); a number of epochs, which the schedule"
    with pytest.raises(ForecastError, match=expected):
        main("fit", arguments(store, run, *words))
    assert not run.exists()


def test_a_folder_with_a_run_is_refused_before_anything_is_written(store, tmp_path, capsys) -> None:
    run, last = tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.ckpt"
    run.mkdir()
    (run / "config.yaml").write_text("a: 1")
    assert cli.main(["fit", *arguments(store, run)]) == 1
    says = f"error: --run {run}: holds a run already; give another folder, or "
    assert capsys.readouterr().err == f"{says}delete the folder\n"
    last.parent.mkdir()
    torch.save({"state_dict": {}}, last)
    (run / "config.yaml").unlink()  # the checkpoint alone is a run as well
    assert cli.main(["fit", *arguments(store, run)]) == 1
    assert capsys.readouterr().err == f"{says}give --ckpt_path {last} to go on with it\n"
    assert sorted(contents(run)) == ["checkpoints/last.ckpt"]


def test_the_checkpoint_of_another_run_is_refused_where_a_run_is(store, tmp_path: Path) -> None:
    batches = {"epoch_loop.batch_progress": {"is_last_batch": False}}
    progress = {"fit_loop": {"epoch_progress": {"current": {"processed": 1}}, **batches}}
    saved = {"state_dict": {}, "forecast": {}, "optimizer_states": [], "global_step": 2}
    torch.save({**saved, "loops": progress}, tmp_path / "other.ckpt")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("a: 1")
    words = arguments(store, run, f"--ckpt_path={tmp_path / 'other.ckpt'}")
    with pytest.raises(ForecastError, match="holds a run already"):
        main("fit", words)
    assert contents(run) == {"config.yaml": b"a: 1"}


@pytest.mark.slow
def test_validation_leaves_the_configuration_of_the_run(store, tmp_path: Path) -> None:
    run = tmp_path / "run"
    main("fit", arguments(store, run, *SHORT, "--trainer.max_epochs=1"))
    before = (run / "config.yaml").read_bytes()
    last = f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    main("validate", arguments(store, run, last, "--trainer.limit_val_batches=1"))
    assert (run / "config.yaml").read_bytes() == before
    assert [path.name for path in run.glob("*.yaml") if "config" in path.name] == ["config.yaml"]


def test_a_checkpoint_that_cannot_be_used_says_what_to_name(store, tmp_path: Path) -> None:
    """Each before any file of the run is made."""
    checkpoints = tmp_path / "before" / "checkpoints"
    checkpoints.mkdir(parents=True)
    last = checkpoints / "last.ckpt"
    torch.save({"state_dict": {}, "forecast": {}, "optimizer_states": []}, last)
    torch.save({"state_dict": {}, "forecast": {}}, tmp_path / "bare.ckpt")
    town, run = inference.PACKAGED["town"], tmp_path / "run"
    weights = "holds weights, not the state of a training run; give a .ckpt, or start from these "
    for command, given, words in [
        ("fit", "town", f"{weights}weights with --model.start_from town"),
        ("test", town, f"{weights}weights with --model.start_from {town}"),
        ("fit", tmp_path / "before", f"is the folder of a training run; give a file in it: {last}"),
        ("fit", checkpoints, f"is a folder; give a file in it: {last}"),
        ("validate", checkpoints / "lst.ckpt", f"is no such weights file; did you mean {last}?"),
        ("fit", tmp_path / "absent.ckpt", "is no such weights file; give a .ckpt"),
        (
            "fit",
            tmp_path / "bare.ckpt",
            "holds no state of the optimiser, so training cannot",
        ),
        ("fit", "best", "which checkpoint is the best is known only while training; give a file"),
        ("validate", "last", f"there is no such checkpoint in {run}; give a file"),
        ("fit", "hpc", f"there is no such checkpoint in {run}; give a file"),
    ]:
        with pytest.raises(ForecastError) as error:
            main(command, arguments(store, run, f"--ckpt_path={given}"))
        assert str(error.value).startswith(f"--ckpt_path {given}: ")
        assert words in str(error.value)
        assert "\n" not in str(error.value)
        assert not run.exists()


def test_lightnings_words_mean_files_of_the_run(tmp_path: Path) -> None:
    assert checkpoint_of("last", "fit", tmp_path) is None  # nothing there: the run begins
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    torch.save({"state_dict": {}, "forecast": {}, "optimizer_states": []}, last)
    for command in ("fit", "validate", "test"):
        assert checkpoint_of("last", command, tmp_path) == last
    with pytest.raises(ForecastError, match=rf"best: .*; give a file, such as {last}"):
        checkpoint_of("best", "test", tmp_path)
    last.write_bytes(last.read_bytes()[:100])
    with pytest.raises(ForecastError, match=r"last\.ckpt: .* its 100 bytes are damaged or cut off"):
        checkpoint_of("last", "fit", tmp_path)


def test_an_unreadable_checkpoint_is_refused_before_anything_is_made(store, tmp_path) -> None:
    (tmp_path / "broken.ckpt").write_text("no checkpoint")
    words = arguments(store, tmp_path / "run", f"--ckpt_path={tmp_path / 'broken.ckpt'}")
    with pytest.raises(ForecastError, match="not a checkpoint of 'forecast fit'"):
        main("fit", words)
    assert not (tmp_path / "run").exists()


# --- configurations that are not to be trusted, and impossible ones


def configured(store, tmp_path: Path, text: str | bytes, *more: str) -> list[str]:
    """Arguments with a configuration file."""
    path = tmp_path / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return arguments(store, tmp_path / "run", f"--config={path}", *more)


CALLBACK = "trainer:\n  callbacks:\n    - class_path: {}\n"
RUNS = CALLBACK.format("pytorch_lightning.callbacks.LambdaCallback")
RUNS += "      init_args: {setup: os.system}\n"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (RUNS, "pytorch_lightning.callbacks.LambdaCallback"),
        (CALLBACK.format("planted.Callback"), "planted.Callback"),
        (CALLBACK.format("pytorch_lightning.callbacks.model_checkpoint.os.system"), "posix.system"),
        (CALLBACK.format("subprocess.Popen"), "subprocess.Popen"),
        ("trainer:\n  logger:\n    class_path: planted.Logger\n", "planted.Logger"),
        ("trainer:\n  strategy:\n    class_path: planted.Strategy\n", "planted.Strategy"),
    ],
)
def test_a_configuration_names_no_code_of_others(
    store, tmp_path: Path, monkeypatch, text: str, named: str
) -> None:
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ForecastError, match=f"it names {named}, which would be run") as error:
        main("fit", configured(store, tmp_path, text))
    assert "give --trust-config if you trust it" in str(error.value)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "run").exists()


def test_a_trusted_configuration_may_name_any_code(store, tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(
        "from pytorch_lightning import Callback as Base\n"
        "class Callback(Base):\n"
        "    def setup(self, *_, **__): raise SystemExit(77)\n"
    )
    words = configured(store, tmp_path, CALLBACK.format("planted.Callback"), "--trust-config")
    path = f"{tmp_path}:{Path(__file__).parents[2]}"
    command = [sys.executable, "-m", "forecast", "fit", *words]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True)
    assert done.returncode == 77, done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"trainer:\n  max_epochs: \xff\n", "--config: 'utf-8' codec can't decode byte 0xff"),
        ("data: {batch_size: -1}", "batch_size is -1; 1 or more is needed"),
        ("data: {num_workers: -1}", "num_workers is -1; 0 or more is needed"),
        ("trainer: {max_epochs: -5}", "--trainer: `max_epochs` must be a non-negative integer"),
        ("trainer: {accelerator: bogus}", "--trainer: You selected an invalid accelerator name"),
        ("trainer: {devices: 0}", "--trainer: `Trainer(devices="),
        ("trainer: {check_val_every_n_epoch: 0}", "check_val_every_n_epoch is 0; 1 or more is"),
        ("trainer: {limit_train_batches: -1.0}", "--trainer: You have passed invalid value -1.0"),
        ("seed_everything: -4", "--seed_everything is -4; 0 to 4294967295 is needed"),
        (
            CALLBACK.format("pytorch_lightning.callbacks.ModelCheckpoint")
            + "    - class_path: pytorch_lightning.callbacks.ModelCheckpoint\n",
            "--trainer: Found more than one stateful callback of type `ModelCheckpoint`",
        ),
    ],
)
def test_an_impossible_configuration_is_one_line(
    store, tmp_path: Path, capsys, text: str | bytes, words: str
) -> None:
    given = configured(store, tmp_path, text)
    options = [
        each
        for each in given
        if not any(key in each and key in str(text) for key in ("batch_size", "accelerator"))
    ]
    assert cli.main(["fit", *options]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert words in error
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_does_not_say_how_far_it_is(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    content = {"state_dict": {}, "forecast": {}, "optimizer_states": [], "loops": []}
    torch.save(content, path)
    with pytest.raises(ForecastError, match="does not say how far its training has come"):
        require_unfinished(path, {"max_epochs": 3, "max_steps": -1})
