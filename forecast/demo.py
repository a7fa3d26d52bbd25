"""``forecast demo``: every step once, on the simulated city, in minutes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.store import prepare
from forecast.datasets.town import VERSION, write_town
from forecast.evaluation import run as evaluate
from forecast.report import render
from forecast.training.cli import main as train

_CONFIG = Path(__file__).with_suffix(".yaml")


def run(out: Path, *, scenes: int = 10, training: Sequence[str] = ()) -> None:
    """Generates a town, prepares it, trains on from the packaged weights, evaluates, reports.

    Args:
        out: Folder that gets ``town/``, ``store/``, ``model/`` (TensorBoard, checkpoints) and
            ``evaluation/`` (metrics.json, predictions.parquet, report.html). What a finished step
            left there is used again.
        scenes: Size of the town.
        training: Further words for ``forecast fit``.
    """
    town, store, run, result = (out / name for name in ("town", "store", "model", "evaluation"))
    _say(1, f"a simulated town of {scenes} scenes in nuScenes format -> {town}")
    if not town.is_dir():
        write_town(town, scenes=scenes, seed=0)
    _say(2, f"its scenes as a store -> {store}")
    prepare(NuScenesSource(town, VERSION), store)
    _say(3, f"about a minute of training, from the packaged weights on -> {run}")
    train("fit", [*_training_arguments(store, run), *training])
    _say(4, f"scored beside the floors, with a report -> {result}")
    weights = str(run / "checkpoints" / "last.ckpt")
    evaluate(store=store, split="town_val", predictor=weights, out=result, render=render)
    print(f"\nopen {result / 'report.html'}; training curves: tensorboard --logdir {run}")


def _say(step: int, what: str) -> None:
    print(f"\n[{step}/4] {what}", file=sys.stderr, flush=True)


def _training_arguments(store: Path, out: Path) -> list[str]:
    """The packaged configuration with the places of this run."""
    return [
        f"--config={_CONFIG}",
        "--data.train=" + json.dumps([{"store": str(store), "split": "town_train"}]),
        "--data.val=" + json.dumps({"store": str(store), "split": "town_val"}),
        f"--run={out}",
    ]
