"""Training for real, on a small store: it learns, resumes bit for bit, leaves usable weights."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch_geometric.data import Batch

from forecast import cli, inference
from forecast.datasets.store import SceneStore, prepare
from forecast.datasets.windows import WindowSpec, window
from forecast.errors import ForecastError
from forecast.graphs import GraphConfig, window_graph
from forecast.graphs.augment import AugmentConfig
from forecast.graphs.datamodule import ForecastDataModule, SourceConfig
from forecast.inference import Source
from forecast.inference.weights import CHECKPOINT_KEY
from forecast.models.forecaster import ForecasterConfig
from forecast.models.losses import LossConfig
from forecast.models.world_model import WorldModelConfig
from forecast.scene import AgentKind, Predictor
from forecast.training.cli import main
from forecast.training.module import ForecastModule
from forecast.visualization.training_pictures import BirdsEye, CalibrationCurve
from tests.scenes import PlannedStreets, StreetSource, street_scene


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SceneStore:
    return prepare(StreetSource(), tmp_path_factory.mktemp("data") / "store")


def arguments(store: SceneStore, run: Path, *more: str) -> list[str]:
    return [
        f"--run={run}",
        f'--data.train=[{{"store": "{store.path}", "split": "train"}}]',
        f'--data.val={{"store": "{store.path}", "split": "val"}}',
        "--data.batch_size=4",
        "--data.windows_per_epoch=8",
        "--data.horizon_steps=4",
        "--model.samples=4",
        "--model.forecaster.world_model.hidden=16",
        "--trainer.accelerator=cpu",
        "--trainer.num_sanity_val_steps=0",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
        "--trainer.log_every_n_steps=1",
        *more,
    ]


def weights(run: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / name, weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def run(store: SceneStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    main(
        "fit",
        arguments(store, run, "--trainer.max_epochs=3"),
        callbacks=[BirdsEye(), CalibrationCurve()],
    )
    return run


@pytest.mark.slow
def test_a_run_leaves_its_configuration_curves_and_weights(run: Path) -> None:
    assert (run / "config.yaml").is_file()
    assert list(run.glob("events.out.tfevents.*"))
    last = {name: value for name, value in weights(run).items() if "action_head.2" in name}
    moved = [value.abs().sum() > 0 for value in last.values()]
    assert moved == [True, True]  # these start at zero


@pytest.mark.slow
def test_tensorboard_gets_scalars_and_figures(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run)).Reload()
    assert sorted(events.Tags()["images"]) == ["val/birds_eye", "val/calibration"]
    assert [each.step for each in events.Images("val/birds_eye")] == [2, 4, 6]
    assert [each.step for each in events.Images("val/calibration")] == [2, 4, 6]
    scalars = set(events.Tags()["scalars"])
    assert {"train/loss", "val/loss", "val/top1_fde_m", "val/min_ade_20_m"} <= scalars
    assert all(np.isfinite([e.value for e in events.Scalars(name)]).all() for name in scalars)
    for name in ("loss", "learning_rate", "gradient_norm", "windows_per_s"):
        steps = events.Scalars(f"step/{name}")
        assert [each.step for each in steps] == list(range(6)), name
        assert all(each.value > 0 for each in steps)


@pytest.mark.slow
def test_tensorboard_gets_the_hyper_parameters(run: Path) -> None:
    """The checkpoint has none of them, so it loads without running code (`weights`)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    events = EventAccumulator(str(run)).Reload()
    assert "hp_metric" not in events.Tags()["scalars"]
    content = events.PluginTagToContent("hparams")
    start = HParamsPluginData.FromString(content["_hparams_/session_start_info"])
    found = start.session_start_info.hparams
    assert found["model.optimizer.lr"].number_value == 2e-3
    assert found["data.batch_size"].number_value == 4
    assert found["data.train.0.split"].string_value == "train"
    experiment = HParamsPluginData.FromString(content["_hparams_/experiment"]).experiment
    assert "val/top1_fde_m" in [each.name.tag for each in experiment.metric_infos]
    assert weights(run)


class PowerCut(Callback):
    """Ends the process's training as an interrupt does, in the middle of the third epoch."""

    def on_train_batch_start(self, trainer, *_: object) -> None:
        if trainer.global_step == 5:
            raise RuntimeError("power cut")


class CutAtSeven(PowerCut):
    """The same at step 7."""

    def on_train_batch_start(self, trainer, *_: object) -> None:
        if trainer.global_step == 7:
            raise RuntimeError("power cut")


@pytest.mark.slow
def test_resuming_a_broken_run_gives_the_weights_of_an_unbroken_one(
    store: SceneStore, run: Path, tmp_path: Path
) -> None:
    epochs = "--trainer.max_epochs=3"
    cut = "--trainer.callbacks+=tests.training.test_training.PowerCut"
    with pytest.raises(RuntimeError, match="power cut"):
        main("fit", arguments(store, tmp_path, epochs, cut, "--trust-config"))
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 4
    main("fit", arguments(store, tmp_path, epochs, f"--ckpt_path={last}"))
    expected, resumed = weights(run), weights(tmp_path)
    for name, value in expected.items():
        assert torch.equal(resumed[name], value), name


@pytest.mark.slow
def test_a_run_broken_within_an_epoch_goes_on_with_the_rest_of_it(
    store: SceneStore, tmp_path: Path
) -> None:
    """Validated after each half of an epoch of four steps, cut in the second half of the second."""
    words = [
        "--trainer.max_epochs=2",
        "--data.windows_per_epoch=16",
        "--trainer.val_check_interval=0.5",
    ]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    main("fit", arguments(store, whole, *words))
    cut = "--trainer.callbacks+=tests.training.test_training.CutAtSeven"
    with pytest.raises(RuntimeError, match="power cut"):
        main("fit", arguments(store, broken, *words, cut, "--trust-config"))
    last = broken / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 6
    main("fit", arguments(store, broken, *words, f"--ckpt_path={last}"))
    expected, resumed = weights(whole), weights(broken)
    for name, value in expected.items():
        assert torch.equal(resumed[name], value), name


def windows_of(*twin: bool) -> Batch:
    """A batch of windows of a street, each with or without ``twin`` set."""
    graphs = []
    for flag in twin:
        graph = window_graph(window(street_scene(), 10, WindowSpec(5, 8)), GraphConfig())
        graph.twin = torch.tensor([flag])
        graphs.append(graph)
    return Batch.from_data_list(graphs)


def test_the_ego_of_a_pair_always_follows_its_path_and_others_by_chance() -> None:
    """A single window, a pair, a single one, and a pair at the end."""
    batch = windows_of(False, True, False, False, True, False)
    agent, module = batch["agent"], ForecastModule(plan_share=0.5)
    ego, vehicles = (agent.kind >= kind for kind in (AgentKind.EGO, AgentKind.VEHICLE))
    paired = torch.tensor([False, True, True, False, True, True])[agent.batch]
    torch.manual_seed(0)
    seen = []
    for _ in range(400):
        plan = module._known_paths(batch)
        assert torch.equal(plan.follows[paired], ego[paired])
        assert torch.equal(plan.poses[:, 0, paired, :2].transpose(0, 1), agent.future[paired])
        ways = {"none": torch.zeros_like(ego), "ego": ego, "vehicles": vehicles}
        seen += [
            name for name, way in ways.items() if torch.equal(plan.follows[~paired], way[~paired])
        ]
    shares = [seen.count(name) / 400 for name in ("none", "ego", "vehicles")]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.08)


def test_the_ego_of_a_pair_follows_its_path_even_if_no_other_ever_does() -> None:
    batch, module = windows_of(True, False), ForecastModule(plan_share=0.0)
    plan = module._known_paths(batch)
    assert torch.equal(plan.follows, batch["agent"].kind == AgentKind.EGO)
    assert module._known_paths(windows_of(False, False)) is None


class Gradients(Callback):
    """Collects the size of every gradient of each step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor | None]] = []

    def on_after_backward(self, trainer: Trainer, module: LightningModule) -> None:
        each = module.forecaster.named_parameters()
        self.steps.append(
            {name: None if p.grad is None else p.grad.abs().sum() for name, p in each}
        )


def test_every_weight_learns_from_pairs_of_windows(tmp_path: Path) -> None:
    paths = [str(prepare(PlannedStreets(pace), tmp_path / str(pace)).path) for pace in (1.0, 0.0)]
    source = SourceConfig(paths[0], "train", plans=paths[1:])
    data = ForecastDataModule(
        [source], SourceConfig(paths[0], "val"), batch_size=2, windows_per_epoch=4
    )
    sizes = WorldModelConfig(hidden=16, messages=8, map=8)
    loss = LossConfig(effect=1.0, placebo=0.1, decision=0.3)
    torch.manual_seed(0)
    module = ForecastModule(ForecasterConfig(world_model=sizes), loss, samples=4)
    for parameter in module.forecaster.parameters():  # also where training starts at zero
        torch.nn.init.normal_(parameter, std=0.2)
    gradients = Gradients()
    trainer = Trainer(
        max_steps=2, limit_val_batches=0, callbacks=[gradients], accelerator="cpu", barebones=True
    )
    trainer.fit(module, data)
    assert len(gradients.steps) == 2
    for step in gradients.steps:
        for name, size in step.items():
            assert size is not None, name
            assert size.isfinite(), name
            # The people of these streets walk at one velocity, so nobody is drawn to another.
            assert size > 0 or name.startswith("world.companion_head"), name


def test_a_batch_knows_no_path_or_the_egos_or_those_of_all_vehicles() -> None:
    batch = windows_of(False)
    agent, module = batch["agent"], ForecastModule(plan_share=0.5)
    torch.manual_seed(0)
    known = [module._known_paths(batch) for _ in range(400)]
    plans = [plan for plan in known if plan is not None]
    assert 160 < len(plans) < 240
    ego, vehicles = (agent.kind >= kind for kind in (AgentKind.EGO, AgentKind.VEHICLE))
    assert vehicles.sum() > ego.sum() > 0
    egos = sum(torch.equal(plan.follows, ego) for plan in plans)
    assert 70 < egos < 130
    assert egos + sum(torch.equal(plan.follows, vehicles) for plan in plans) == len(plans)
    for plan in plans[:10]:
        torch.testing.assert_close(plan.poses[:, 0, :, :2].transpose(0, 1), agent.future)


@pytest.mark.slow
def test_weights_load_as_a_predictor(store: SceneStore, run: Path) -> None:
    forecaster = inference.load(run / "checkpoints" / "last.ckpt")
    assert isinstance(forecaster, Predictor)
    learnt_from = Source(store.fingerprint, ["street-0", "street-1"])
    assert forecaster.training.learnt_from == {str(store.path): learnt_from}
    assert forecaster.training.dts_s == [0.5]
    prediction = forecaster.predict(store["street-2"], 10, horizon_s=2.0, samples=5)
    assert prediction.positions_m.shape == (5, 6, 4, 2)


def test_a_resumed_run_remembers_what_was_learnt_before() -> None:
    module = ForecastModule()
    before = {"old": {"fingerprint": "f", "scenes": ["a"]}}
    known = {"config": asdict(module.config), "learnt_from": before}
    module.on_load_checkpoint({CHECKPOINT_KEY: known})
    now = {"old": Source("f", ["b"]), "new": Source("g", ["c"])}
    module._trainer = SimpleNamespace(
        datamodule=SimpleNamespace(
            train_spec=WindowSpec(5, 12),
            dts_s=lambda: [0.5],
            augment=AugmentConfig(noise_m=0.03),
            learnt_from=lambda: now,
        )
    )
    saved: dict[str, Any] = {}
    module.on_save_checkpoint(saved)
    assert saved[CHECKPOINT_KEY]["noise_m"] == 0.03
    assert saved[CHECKPOINT_KEY]["learnt_from"] == {
        "old": {"fingerprint": "f", "scenes": ["a", "b"]},
        "new": {"fingerprint": "g", "scenes": ["c"]},
    }


@pytest.mark.slow
def test_an_evaluation_says_once_that_weights_are_not_calibrated(
    store: SceneStore, run: Path, tmp_path: Path, capsys
) -> None:
    last, out = run / "checkpoints" / "last.ckpt", tmp_path / "out"
    words = ["--store", str(store.path), "--split", "val", "--predictor", str(last), "--out", out]
    more = ["--horizon-s", "1", "--samples", "2"]
    assert cli.main(["evaluate", *map(str, words), *more]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "calibrat" in line]
    assert len(said) == 1
    assert said[0].startswith(f"warning: {last} is not calibrated: ")


@pytest.mark.slow
def test_another_configuration_is_refused(store: SceneStore, run: Path, tmp_path: Path) -> None:
    last = run / "checkpoints" / "last.ckpt"
    other = "--model.forecaster.world_model.hidden=24"
    with pytest.raises(ForecastError, match=r"world_model\.hidden 16 instead of 24"):
        main("fit", arguments(store, tmp_path, other, f"--ckpt_path={last}"))


def test_a_folder_that_cannot_be_made_is_refused(store: SceneStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ForecastError, match=r"file/run: .*; give a folder to write"):
        main("fit", arguments(store, tmp_path / "file" / "run"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--model.optimizer.warmup=0", "optimizer.warmup is 0.0; a share between 0 and 1"),
        ("--model.samples=1", "samples is 1; for two energy scores 4 or more"),
        ("--model.loss.best_of=-1", "loss.best_of is -1.0; 0 or more"),
        ("--model.forecaster.graph.piece_points=1", "graph.piece_points is 1; 2 or more"),
        ("--model.forecaster.graph.piece_m=0", "graph.piece_m is 0.0; a length up"),
        ("--model.forecaster.world_model.intent=0", "world_model.intent is 0; 1 or more"),
        ("--data.augment.scale=-1", "augment.scale is -1.0; 0 or more"),
        ("--data.augment.reverse=1.5", "augment.reverse is 1.5; a share between 0 and 1"),
        ("--data.history_steps=1", "history_steps is 1; 2 or more"),
        ("--data.windows_per_epoch=3", "windows_per_epoch is 3; at least one batch of 4"),
        ("--trainer.devices=3", "batch_size is 4; a multiple of 3, the number of processes"),
    ],
)
def test_values_that_make_no_sense_are_refused(store, tmp_path, capsys, word, message) -> None:
    with pytest.raises((ForecastError, SystemExit)) as error:
        main("fit", arguments(store, tmp_path / "run", word))
    assert message in str(error.value) + capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_interrupt_is_one_line_and_code_130(store: SceneStore, tmp_path: Path) -> None:
    run, endless = tmp_path / "run", "--trainer.max_epochs=100000"
    command = [sys.executable, "-m", "forecast", "fit", *arguments(store, run, endless)]
    # A job started in the background is born deaf to interrupts, and so are its children.
    heed = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    try:
        while not list(run.glob("checkpoints/last.ckpt")):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    assert weights(run)


def test_an_unknown_key_is_refused(store: SceneStore, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main("fit", arguments(store, tmp_path, "--model.forecaster.world_model.depth=3"))
    assert stop.value.code == 2
    assert "depth" in capsys.readouterr().err


@pytest.mark.slow
def test_training_goes_on_from_other_weights_and_says_what_they_knew(
    store: SceneStore, run: Path, tmp_path: Path
) -> None:
    before = tmp_path / "before.safetensors"
    inference.load(run / "checkpoints" / "last.ckpt").save(before)
    words = [
        f"--model.start_from={before}",
        "--trainer.max_epochs=1",
        "--trainer.limit_val_batches=0",
    ]
    main("fit", arguments(store, tmp_path / "run", *words, "--model.optimizer.lr=1e-12"))
    after = tmp_path / "run" / "checkpoints" / "last.ckpt"
    for name, value in weights(run).items():
        torch.testing.assert_close(weights(tmp_path / "run")[name], value, atol=1e-6, rtol=0)
    known = inference.load(after).training.learnt_from
    assert known[f"{before}: {store.path}"] == known[str(store.path)]


@pytest.mark.slow
def test_weights_of_another_configuration_are_no_start(
    store: SceneStore, run: Path, tmp_path: Path
) -> None:
    words = [
        f"--model.start_from={run / 'checkpoints' / 'last.ckpt'}",
        "--model.forecaster.world_model.hidden=24",
    ]
    with pytest.raises(ForecastError, match=r"start_from .*world_model\.hidden 16 instead of 24"):
        main("fit", arguments(store, tmp_path, *words))
