"""A GPU imagines, ranks and learns the same as the processor, but for rounding."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import forecast
from forecast.inference import Forecaster
from forecast.planning import EgoState, candidates
from forecast.training.cli import main
from tests.scenes import drive, street_scene
from tests.streets import street_store

ACCELERATORS = {"cpu": "cpu", "cuda": "gpu"}
"""Lightning's names of the devices."""

TOLERANCE_M = 1e-3
AT = 10

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU: torch.cuda.is_available() is False"
)


@pytest.fixture(scope="module")
def models() -> dict[str, Forecaster]:
    return {device: forecast.load("town", device=device) for device in ACCELERATORS}


@pytest.mark.parametrize("with_plan", [False, True])
def test_a_gpu_predicts_the_futures_of_the_processor(models, with_plan) -> None:
    scene = street_scene()
    plan = drive(scene, AT, 12) if with_plan else None
    cpu, cuda = (model.predict(scene, AT, samples=20, ego_plan=plan) for model in models.values())
    assert cpu.agent_ids.tolist() == cuda.agent_ids.tolist()
    for name in ("positions_m", "mode_m"):
        ours, theirs = getattr(cuda, name), getattr(cpu, name)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE_M)


def test_a_gpu_ranks_plans_as_the_processor_does(models) -> None:
    scene = street_scene()
    plans = candidates(EgoState.of(scene, AT), 30, scene.lane_map)
    cpu, cuda = (
        model.rank_plans(scene, AT, plans, samples=20, react=len(plans))
        for model in models.values()
    )
    assert cpu.reactive.all()
    assert cuda.reactive.all()
    np.testing.assert_allclose(cuda.distance_mean_m, cpu.distance_mean_m, atol=TOLERANCE_M)
    np.testing.assert_allclose(cuda.collision_probability, cpu.collision_probability, atol=0.05)
    rises = np.diff(cpu.cost[cuda.order])  # plans may only change places with their equals
    assert rises.min() > -0.01 * np.ptp(cpu.cost)


def test_a_training_step_on_a_gpu_has_the_loss_of_one_on_the_processor(models, tmp_path) -> None:
    store = street_store(tmp_path / "store").path
    sizes = json.dumps(asdict(models["cpu"].training.config))
    losses = {}
    for device, accelerator in ACCELERATORS.items():
        arguments = [
            f"--run={tmp_path / device}",
            f'--data.train=[{{"store": "{store}", "split": "train"}}]',
            f'--data.val={{"store": "{store}", "split": "val"}}',
            "--data.batch_size=4",
            "--data.windows_per_epoch=4",  # a single step
            "--model.start_from=town",
            f"--model.forecaster={sizes}",
            f"--trainer.accelerator={accelerator}",
            "--trainer.devices=1",
            "--trainer.max_epochs=1",
            "--trainer.limit_val_batches=0",
            "--trainer.enable_progress_bar=false",
            "--trainer.enable_model_summary=false",
        ]
        main("fit", arguments)
        losses[device] = train_loss(tmp_path / device)
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-3)


def train_loss(run: Path) -> float:
    """The loss of a run's only step."""
    (event,) = EventAccumulator(str(run)).Reload().Scalars("train/loss")
    return event.value
