"""The same scenes through every way in and out: the futures and metrics must be the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import forecast
from forecast import AgentKind, Forecaster, Prediction, Scene
from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.store import prepare
from forecast.datasets.tracks.source import TracksSource
from forecast.inference import Frame

from .kills import run_to_end
from .relations import largest_m, rows_of
from .traffic import HISTORY, random_scene, small_forecaster, write_nuscenes, write_tracks

AT, SAMPLES, HORIZON_S = 8, 4, 4.0
_FINE = 5
"""Frames at 10 Hz for one at 2 Hz."""

Way = Callable[[Scene], Prediction]


@dataclass
class Difference:
    """How far the futures of one way are from those of `Scene.from_arrays`.

    Attributes:
        within_m: What is promised.
        each_m: The largest difference in each scene.
    """

    within_m: float
    each_m: list[float]


def door_scene(seed: int) -> Scene:
    """Traffic without a map, with the ego at every step and names as nuScenes tables give them."""
    scene = random_scene(seed)
    tracks = scene.tracks
    ego = tracks.kinds == AgentKind.EGO
    names = [f"{scene.id}-{agent}" for agent in range(len(tracks))]
    names[int(np.flatnonzero(ego)[0])] = "ego"
    valid = tracks.valid | ego[:, None]
    return Scene.from_arrays(
        np.where(valid[..., None], tracks.positions_m, _filled(tracks.positions_m, tracks.valid)),
        tracks.kinds,
        scene.dt_s,
        valid=valid,
        headings_rad=tracks.headings_rad,
        agent_ids=names,
        id=scene.id,
    )


def _filled(positions_m: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Positions with gaps filled in a straight line."""
    steps, filled = np.arange(positions_m.shape[1]), positions_m.copy()
    for agent, seen in enumerate(valid):
        for axis in (0, 1):
            filled[agent, :, axis] = np.interp(steps, steps[seen], positions_m[agent, seen, axis])
    return filled


def predicted(model: Forecaster, scene: Scene) -> Prediction:
    """The prediction that is compared."""
    return model.predict(scene, AT, horizon_s=HORIZON_S, samples=SAMPLES, seed=1)


def streamed(model: Forecaster, scene: Scene, frames_a_step: int) -> Prediction:
    """The prediction of a stream; between two steps, agents move in a straight line."""
    stream, tracks = model.stream(), scene.tracks
    for number in range((AT + 1 - HISTORY) * frames_a_step, AT * frames_a_step + 1):
        step, part = divmod(number, frames_a_step)
        after = min(step + 1, scene.steps - 1) if part else step
        seen = tracks.valid[:, step] & tracks.valid[:, after]
        share = part / frames_a_step
        here, there = (tracks.positions_m[seen, each].astype(float) for each in (step, after))
        frame = Frame(
            int(scene.timestamps_us[0]) + number * 500_000 // frames_a_step,
            tracks.agent_ids[seen],
            tracks.kinds[seen],
            here + share * (there - here),
            tracks.headings_rad[seen, step],
            tracks.sizes_m[seen],
        )
        stream.observe(frame)
    return stream.predict(horizon_s=HORIZON_S, samples=SAMPLES, seed=1)


def measure(work: Path, count: int) -> dict[str, Difference]:
    """The differences of all ways.

    Args:
        work: A folder for files.
        count: Number of scenes.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    scenes, model = [door_scene(seed) for seed in range(count)], small_forecaster()
    ways = {**_readers(work, scenes, model), **_runners(work, model)}
    found = {name: Difference(within, []) for name, (within, _) in ways.items()}
    for scene in scenes:
        expected = predicted(model, scene)
        for name, (_, way) in ways.items():
            found[name].each_m.append(_difference_m(expected, way(scene)))
    return found


def _difference_m(expected: Prediction, made: Prediction) -> float:
    rows = rows_of(made, expected)
    return largest_m(expected.world_positions_m(), made.world_positions_m()[:, rows])


def _readers(work: Path, scenes: list[Scene], model: Forecaster) -> dict[str, tuple[float, Way]]:
    """Ways in; the world of a store has another origin, and float32 rounds otherwise there."""
    write_tracks(work / "tracks.csv", scenes, ["all"] * len(scenes))
    write_nuscenes(work / "nuscenes", scenes)
    source = NuScenesSource(work / "nuscenes", "v1.0-traffic", with_map=False)
    tables = prepare(source, work / "tables")
    tracks = prepare(TracksSource(work / "tracks.csv"), work / "tracks")
    fine = lambda scene: streamed(model, scene, _FINE)  # noqa: E731
    return {
        "a table of tracks, prepared": (1e-3, lambda scene: predicted(model, tracks[scene.id])),
        "nuScenes tables, prepared": (1e-3, lambda scene: predicted(model, tables[scene.id])),
        "a stream at 2 Hz": (1e-4, lambda scene: streamed(model, scene, 1)),
        "a stream at 10 Hz": (1e-4, fine),
        "`predict_many`": (
            1e-3,
            lambda scene: model.predict_many(
                [(scene, AT), (scene, AT - 1)], horizon_s=HORIZON_S, samples=SAMPLES, seed=1
            )[0],
        ),
    }


def _runners(work: Path, model: Forecaster) -> dict[str, tuple[float, Way]]:
    """Other programs for the same network."""
    model.save(weights := work / "small.safetensors")
    words = ["export", "--weights", str(weights), "--out", str(work / "onnx"), "--format", "onnx"]
    run_to_end(words, work / "log")
    exported = forecast.load(work / "onnx")
    return {
        "exported to ONNX Runtime": (1e-3, lambda scene: predicted(exported, scene)),
    }


def same_metrics(work: Path, shards: int = 3) -> list[str]:
    """Files that differ between one evaluation and the same in shards, merged."""
    store, log = work / "tables", work / "log"
    kalman = ["--store", str(store), "--predictor", "kalman"]
    scored = [*kalman, "--split", "all", "--samples", "5", "--horizon-s", "2"]
    run_to_end(["evaluate", *scored, "--out", str(work / "one")], log)
    parts = [str(work / f"shard-{number}") for number in range(shards)]
    for number, part in enumerate(parts, start=1):
        run_to_end(["evaluate", *scored, "--shard", f"{number}/{shards}", "--out", part], log)
    run_to_end(["merge", *parts[::-1], *kalman, "--out", str(work / "merged")], log)
    names = ("metrics.json", "rows.parquet", "predictions.parquet")
    pairs = {
        name: [(work / each / name).read_bytes() for each in ("one", "merged")] for name in names
    }
    return [name for name, (one, other) in pairs.items() if one != other]


def table(found: dict[str, Difference]) -> str:
    """The Markdown table of all ways."""
    lines = ["| way | scenes | promised | largest | median |", "|---" * 5 + "|"]
    for name, each in found.items():
        values = (each.within_m, max(each.each_m), float(np.median(each.each_m)))
        cells = " | ".join(
            f"{1e3 * value:.2g} mm" if value else "the same bits" for value in values
        )
        lines.append(f"| {name} | {len(each.each_m)} | {cells} |")
    return "\n".join(lines)
