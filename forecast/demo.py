"""``forecast demo``: runs every step once on the simulated city, in minutes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.store import SceneStore, prepare
from forecast.evaluation import EvaluationConfig, run_evaluation
from forecast.inference import load
from forecast.planning import EgoState, candidates
from forecast.report import render
from forecast.scene import AgentKind, Scene
from forecast.simulator import VERSION, write_town
from forecast.training.cli import main as train
from forecast.visualization.training_pictures import BirdsEye, CalibrationCurve

_CONFIG = Path(__file__).with_suffix(".yaml")
_PLANS = 1000
_DRIVES_MPS = 2.0


def run_demo(out: Path, *, scenes: int = 10, training: Sequence[str] = ()) -> None:
    """Simulates a city, prepares it, continues training, evaluates, reports and ranks plans.

    Args:
        out: Folder that gets ``town/``, ``store/``, ``model/`` (TensorBoard, checkpoints) and
            ``evaluation/`` (metrics.json, predictions.parquet, report.html). An existing city is
            used again, and so is a model that was trained to the end.
        scenes: Number of scenes of the city.
        training: Further arguments for ``forecast fit``.
    """
    town, store, run, result = (out / name for name in ("town", "store", "model", "evaluation"))
    _print_step(1, f"a simulated town of {scenes} scenes in nuScenes format -> {town}")
    if not town.is_dir():
        write_town(town, scenes=scenes, seed=0)
    _print_step(2, f"its scenes as a store -> {store}")
    prepare(NuScenesSource(town, VERSION), store)
    _print_step(3, f"about a minute of further training of the packaged weights -> {run}")
    train(
        "fit",
        [*_training_arguments(store, run), *training],
        callbacks=[BirdsEye(), CalibrationCurve()],
    )
    _print_step(4, f"scored beside the baselines, with a report -> {result}")
    weights = str(run / "checkpoints" / "last.ckpt")
    config = EvaluationConfig(store, split="town_val", predictor=weights)
    run_evaluation(config, result, render=render)
    _print_step(5, f"{_PLANS} plans of the car ranked, where it comes closest to a pedestrian")
    print(f"\n{_best_plan(weights, SceneStore.open(store))}")
    print(f"\nopen {result / 'report.html'}; training curves: tensorboard --logdir {run}")


def _print_step(step: int, what: str) -> None:
    print(f"\n[{step}/5] {what}", file=sys.stderr, flush=True)


def _best_plan(weights: str, store: SceneStore) -> str:
    """The plan ranked first in a scene of the validation split, in words."""
    scene = store[store.scenes_of("town_val")[0]]
    at = _closest_encounter(scene)
    plans = candidates(EgoState.of(scene, at), _PLANS, scene.lane_map, dt_s=scene.dt_s)
    ranking = load(weights).rank_plans(scene, at, plans)
    best, lead = ranking.best, ranking.best_lead
    partners = ranking.partners(best)
    whom = partners[0].agent_id if partners else "nobody"
    surely = "surely" if lead is not None and lead.real else "not surely"
    return (
        f"{scene.id}, {at * scene.dt_s:g} s: the best of {len(plans)} plans drives "
        f"{ranking.progress_m[best]:.0f} m in {plans.shape[1] * scene.dt_s:g} s; probability of a "
        f"collision {ranking.collision_probability[best]:.0%}, at most "
        f"{ranking.collision_high[best]:.0%}; closest to {whom}; {surely} better than the second"
    )


def _closest_encounter(scene: Scene) -> int:
    """The step at which a pedestrian is closest to the moving ego."""
    tracks = scene.tracks
    (ego,) = np.flatnonzero(tracks.kinds == AgentKind.EGO)
    people = tracks.kinds == AgentKind.PEDESTRIAN
    distance = np.linalg.norm(tracks.positions_m[people] - tracks.positions_m[ego], axis=-1)
    distance[~tracks.valid[people]] = np.inf
    step_m = np.linalg.norm(np.diff(tracks.positions_m[ego], axis=0, prepend=np.nan), axis=-1)
    drives = step_m / scene.dt_s > _DRIVES_MPS
    return int(np.where(drives, distance.min(axis=0, initial=np.inf), np.inf)[1:].argmin()) + 1


def _training_arguments(store: Path, out: Path) -> list[str]:
    """The packaged configuration with the paths of this run."""
    return [
        f"--config={_CONFIG}",
        "--data.train=" + json.dumps([{"store": str(store), "split": "town_train"}]),
        "--data.val=" + json.dumps({"store": str(store), "split": "town_val"}),
        f"--run={out}",
        "--ckpt_path=last",  # begins, goes on, or has nothing to do
    ]
