"""Writes the simulated city as a nuScenes-format dataset, or as a pair of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from forecast.datasets.progress import with_progress
from forecast.errors import ForecastError
from forecast.parallel import Failed, Workers
from forecast.simulator.export import tables
from forecast.simulator.export.map_expansion import map_expansion
from forecast.simulator.export.recording import Recording, degrade, record
from forecast.simulator.export.sensors import FULL_RATE, LIDAR_KEYFRAMES
from forecast.simulator.map import layouts as places
from forecast.simulator.map import surfaces as ground
from forecast.simulator.map.district import District, build_district
from forecast.simulator.simulate import (
    EGO_PLANS,
    FRAME_STEPS,
    FRAMES,
    Setting,
    World,
    run,
    set_scene,
    with_ego_plan,
)

VERSION = "v1.0-town"
FACTUAL, COUNTERFACTUAL, PAIRS = "factual", "counterfactual", "counterfactual.json"
_FORK_FRAMES = (4, 17)
"""A counterfactual parts from the factual at one of these keyframes, the last one excluded."""
_REACTS_M = 0.5
"""A person who ends up this far from where they would have been has reacted."""


@dataclass(frozen=True)
class _Job:
    """What is written; see `write_town`."""

    seed: int
    counterfactual: bool
    full_rate: bool
    noise_m: float
    gap_share: float


_Blobs = dict[str, bytes]
"""Encoded rows of a scene by table, without the brackets."""


def write_town(
    out: Path,
    *,
    scenes: int = 10,
    seed: int = 0,
    counterfactual: bool = False,
    workers: Workers = Workers(),  # noqa: B008 (frozen)
    full_rate: bool = False,
    noise_m: float = 0.0,
    gap_share: float = 0.0,
) -> None:
    """Simulates a city and writes it so that ``nuscenes-devkit`` opens it.

    ``NuScenes("v1.0-town", out)`` reads the tables; the splits ``town_train`` and ``town_val`` (the
    last fifth of the scenes) are custom splits of the devkit. The same arguments give the same
    bytes, whatever the number of workers. The folder appears whole or not at all.

    With ``counterfactual`` there are two datasets, ``out/factual`` and ``out/counterfactual``: the
    same scenes, people, luck and tokens, but from some keyframe on the ego drives by another plan,
    and everybody reacts to that. ``out/counterfactual.json`` lists for each scene the plan and
    ``same_until``, the index of the last keyframe before they part.

    Args:
        out: Folder to write; an earlier town in it is replaced.
        scenes: Number of scenes of 20 s.
        seed: Seed of everything.
        counterfactual: Whether to write the pair.
        workers: Where scenes are simulated.
        full_rate: Whether to write sample_data and ego poses of all of nuScenes' sensors at their
            own rates, not only the lidar's keyframes.
        noise_m: Standard deviation of the error of annotated coordinates; 0 for the truth.
        gap_share: Share of the annotations that are missing, in gaps, as a tracker loses people.

    Raises:
        ForecastError: ``out`` holds something else, or a number makes no sense.
    """
    out = Path(out)
    for name, value, least in (("scenes", scenes, 1), ("seed", seed, 0)):
        if value < least:
            raise ForecastError(f"{name} is {value}; at least {least} is needed")
    if not noise_m >= 0 or not 0 <= gap_share < 1:
        raise ForecastError(
            f"noise_m is {noise_m} and gap_share {gap_share}; noise_m >= 0 and "
            "0 <= gap_share < 1 are needed"
        )
    _refuse_strangers(out)
    job = _Job(seed, counterfactual, full_rate, noise_m, gap_share)
    with _whole_or_not(out) as partial:
        _write(partial, job, scenes, workers)


def location_of(scene: int) -> str:
    """Where the scene with a number happens."""
    return places.LOCATIONS[scene % len(places.LOCATIONS)]


def simulate_scene(seed: int, scene: int) -> Recording:
    """Runs one scene of the dataset with that seed."""
    district, walls = _place(location_of(scene), seed)
    setting, world = set_scene(district, seed, scene)
    return record(setting, run(setting, world), walls)


def simulate_pair(seed: int, scene: int) -> tuple[Recording, Recording, dict[str, Any]]:
    """Runs one scene as it goes, and again with another plan of the ego.

    Returns:
        The two recordings and the scene's entry in ``counterfactual.json``.
    """
    district, walls = _place(location_of(scene), seed)
    setting, world = set_scene(district, seed, scene)
    worlds = run(setting, world)
    other, note = _other_course(setting, worlds, np.random.default_rng([seed, scene, 1]))
    note = {"scene": tables.scene_name(scene), **note}
    return record(setting, worlds, walls), record(setting, other, walls), note


def _other_course(
    setting: Setting, worlds: list[World], rng: np.random.Generator
) -> tuple[list[World], dict[str, Any]]:
    """The worlds with another ego plan: the first one tried that makes a person move otherwise.

    If none does, the one that leads the ego farthest away.
    """
    farthest = -1.0
    for fork in rng.choice(np.arange(*_FORK_FRAMES), 2, replace=False).tolist():
        for plan in rng.permutation(list(EGO_PLANS)).tolist():
            at = fork * FRAME_STEPS
            rest = run(with_ego_plan(setting, plan), worlds[at], FRAMES - fork)
            moved = rest[-1].people.positions_m - worlds[-1].people.positions_m
            ego = rest[-1].traffic.poses[0, :2] - worlds[-1].traffic.poses[0, :2]
            reacts = bool((np.hypot(*moved.T) > _REACTS_M).any())
            distance = np.inf if reacts else float(np.hypot(*ego))
            if distance > farthest:
                farthest = distance
                best = worlds[:at] + rest, {"same_until": fork, "plan": plan}
            if reacts:
                return best
    return best


@cache
def _place(location: str, seed: int) -> tuple[District, Any]:
    """A district and its buildings."""
    district = build_district(places.layout(location, seed))
    return district, ground.buildings(district)


def _encoded_scene(job: _Job, scene: int) -> tuple[list[_Blobs], dict[str, Any] | None]:
    """The rows a scene adds to each dataset, and its note for the pair."""
    if job.counterfactual:
        factual, other, note = simulate_pair(job.seed, scene)
        return [_encoded(job, scene, recording) for recording in (factual, other)], note
    return [_encoded(job, scene, simulate_scene(job.seed, scene))], None


def _encoded(job: _Job, scene: int, recording: Recording) -> _Blobs:
    if job.noise_m > 0 or job.gap_share > 0:
        rng = np.random.default_rng([job.seed, scene, 2])
        recording = degrade(recording, job.noise_m, job.gap_share, rng)
    sensors = FULL_RATE if job.full_rate else LIDAR_KEYFRAMES
    rows = tables.scene_tables(recording, job.seed, scene, location_of(scene), sensors)
    encode = msgspec.json.Encoder().encode
    return {name: b",\n".join(map(encode, table)) for name, table in rows.items()}


def _refuse_strangers(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ForecastError(f"{out}: is a file; name a new or empty folder for the town")
    found = {path.name for path in out.iterdir()}
    for needed, ours in ((VERSION, {VERSION, "maps"}), (PAIRS, {FACTUAL, COUNTERFACTUAL, PAIRS})):
        if not found or (needed in found and found <= ours):
            return
    other = sorted(found - {VERSION, "maps", FACTUAL, COUNTERFACTUAL, PAIRS}) or sorted(found)
    raise ForecastError(
        f"{out}: holds '{other[0]}', which is no part of a town; name a new or empty folder"
    )


@contextmanager
def _whole_or_not(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place when the work is done."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        partial.mkdir()
        yield partial
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(folder: Path, job: _Job, scenes: int, workers: Workers) -> None:
    """Simulates the scenes and writes each as soon as it and all before it are done."""
    roots = [folder / FACTUAL, folder / COUNTERFACTUAL] if job.counterfactual else [folder]
    for root in roots:
        _write_maps(root, scenes, job.seed)
        _write_fixed(root / VERSION, job, scenes)
    notes = []
    with ExitStack() as files:
        streams = [_Streams(root / VERSION, files) for root in roots]
        done = _all_scenes(job, scenes, workers)
        for blobs, note in with_progress(done, scenes, "town"):
            for stream, blob in zip(streams, blobs, strict=True):
                stream.extend(blob)
            notes.append(note)
    if job.counterfactual:
        _write_json(folder / PAIRS, {"frame_s": 0.5, "scenes": notes})


def _all_scenes(
    job: _Job, scenes: int, workers: Workers
) -> Iterator[tuple[list[_Blobs], dict[str, Any] | None]]:
    """What `_encoded_scene` gives for each scene, in order."""
    for each in workers.map(partial(_encoded_scene, job), range(scenes), forked=True):
        if isinstance(each, Failed):
            raise ForecastError(f"scene {each.item}: {each.why}")
        yield each.value


def _write_maps(root: Path, scenes: int, seed: int) -> None:
    """Writes the maps of the locations in use."""
    folder = root / "maps" / "expansion"
    folder.mkdir(parents=True)
    for location in places.LOCATIONS[:scenes]:
        expansion = map_expansion(_place(location, seed)[0], seed)
        _write_json(folder / f"{location}.json", expansion)
        mask = tables.map_row(location, seed, [])["filename"]
        # The devkit opens a raster mask for every map; nothing here uses it, so it is blank.
        Image.fromarray(np.zeros((1, 1), np.uint8)).save(root / mask)


def _write_fixed(folder: Path, job: _Job, scenes: int) -> None:
    """Writes the tables that do not depend on what happens, and the splits."""
    folder.mkdir()
    sensors = FULL_RATE if job.full_rate else LIDAR_KEYFRAMES
    for name, rows in tables.fixed_tables(sensors).items():
        _write_json(folder / f"{name}.json", rows)
    _write_json(folder / "map.json", [
        tables.map_row(location, job.seed, [s for s in range(scenes) if location_of(s) == location])
        for location in places.LOCATIONS[:scenes]
    ])  # fmt: skip
    held_out = max(round(0.2 * scenes), 1) if scenes > 1 else 0
    names = [tables.scene_name(scene) for scene in range(scenes)]
    splits = {"town_train": names[: scenes - held_out], "town_val": names[scenes - held_out :]}
    _write_json(folder / "splits.json", splits)


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(msgspec.json.encode(value))


class _Streams:
    """JSON lists on disk that grow scene by scene, so that no table is ever held in memory."""

    def __init__(self, folder: Path, files: ExitStack) -> None:
        self._folder, self._files = folder, files
        self._add: dict[str, Callable[[bytes], object]] = {}
        self._begun: set[str] = set()

    def extend(self, blobs: _Blobs) -> None:
        for name, blob in blobs.items():
            if name not in self._add:
                file = self._files.enter_context((self._folder / f"{name}.json").open("wb"))
                file.write(b"[\n")
                self._files.callback(file.write, b"\n]\n")
                self._add[name] = file.write
            if blob:
                self._add[name](b",\n" + blob if name in self._begun else blob)
                self._begun.add(name)
