"""Writes the simulated city as a dataset in nuScenes format, or as a counterfactual pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from forecast.datasets.progress import with_progress
from forecast.errors import ForecastError
from forecast.files import completed
from forecast.parallel import Failed, Workers
from forecast.simulator.encounters import PLANS
from forecast.simulator.export import tables
from forecast.simulator.export.map_expansion import map_expansion
from forecast.simulator.export.recording import Recording, degrade, record
from forecast.simulator.export.sensors import FULL_RATE, LIDAR_KEYFRAMES, Sensor, TableRow
from forecast.simulator.map.places import DISTRICTS, build_place, location_of, map_name
from forecast.simulator.simulate import (
    EGO_PLANS,
    FRAME_STEPS,
    FRAMES,
    Scenario,
    SimulationState,
    draw_scenario,
    simulate_frames,
    with_ego_plan,
)

VERSION = "v1.0-town"
FACTUAL, COUNTERFACTUAL, PAIRS = "factual", "counterfactual", "counterfactual.json"
ENCOUNTERS = "encounters.json"
_TOWNS = (
    {VERSION: True, "maps": False},
    {PAIRS: True, FACTUAL: False, COUNTERFACTUAL: False},
    {ENCOUNTERS: True, **dict.fromkeys(PLANS, False)},
)
"""What the folder of a town may hold, and whether it must."""
_FORK_FRAMES = (4, 17)
"""Range of keyframes at which a counterfactual can diverge; the last one is excluded."""
_REACTS_M = 0.5
"""A pedestrian has reacted if the final position differs by more than this."""


@dataclass(frozen=True)
class _Job:
    """The options of `write_town`."""

    seed: int
    counterfactual: bool
    district: str
    full_rate: bool
    noise_m: float
    gap_share: float

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """The sensors of the dataset."""
        return FULL_RATE if self.full_rate else LIDAR_KEYFRAMES


EncodedRows = dict[str, bytes]
"""Encoded rows of a scene by table, without the brackets of the JSON list."""


def write_town(
    out: Path,
    *,
    scenes: int = 10,
    seed: int = 0,
    counterfactual: bool = False,
    district: str = "street",
    workers: Workers = Workers(),  # noqa: B008 (frozen)
    full_rate: bool = False,
    noise_m: float = 0.0,
    gap_share: float = 0.0,
) -> None:
    """Simulates a city and writes it so that ``nuscenes-devkit`` opens it.

    ``NuScenes("v1.0-town", out)`` reads the tables. The splits ``town_train`` and ``town_val`` (the
    last fifth of the scenes) are custom splits of the devkit. The same arguments give the same
    bytes for any number of workers. The folder appears as a whole or not at all.

    With ``counterfactual`` there are two datasets, ``out/factual`` and ``out/counterfactual``. They
    have the same scenes, agents, random numbers and tokens. From some keyframe on, the ego of the
    counterfactual drives by another plan, and all others react to it. ``out/counterfactual.json``
    has the plan of each scene, and ``same_until``, the index of the last common keyframe.

    Args:
        out: Folder to write. An earlier town in it is replaced.
        scenes: Number of scenes of 20 s.
        seed: Seed of all random numbers.
        counterfactual: Whether to write the pair.
        district: "street", or "shared_space" for a campus, a car park and a warehouse without
            kerbs and lanes.
        workers: The processes that simulate scenes.
        full_rate: Whether to write sample_data and ego poses of all sensors of nuScenes at their
            own rates, and not only the lidar's keyframes.
        noise_m: Standard deviation of the error of annotated coordinates. 0: no error.
        gap_share: Share of the annotations that are missing in gaps, as with a tracker.

    Raises:
        ForecastError: ``out`` holds something else, the district is unknown, or a number is out of
            range.
    """
    out = Path(out)
    location_of(0, district)  # refuses an unknown one
    for name, value, least in (("scenes", scenes, 1), ("seed", seed, 0)):
        if value < least:
            raise ForecastError(f"{name} is {value}; at least {least} is needed")
    if not noise_m >= 0 or not 0 <= gap_share < 1:
        raise ForecastError(
            f"noise_m is {noise_m} and gap_share {gap_share}; noise_m >= 0 and "
            "0 <= gap_share < 1 are needed"
        )
    refuse_other_content(out)
    job = _Job(seed, counterfactual, district, full_rate, noise_m, gap_share)
    with completed(out) as folder:
        folder.mkdir()
        _write(folder, job, scenes, workers)


def simulate_scene(seed: int, scene: int, district: str = "street") -> Recording:
    """Simulates and records one scene of the dataset with a seed and a kind of district."""
    place, walls = build_place(location_of(scene, district), seed)
    scenario, state = draw_scenario(place, seed, scene)
    return record(scenario, simulate_frames(scenario, state), walls)


def simulate_pair(
    seed: int, scene: int, district: str = "street"
) -> tuple[Recording, Recording, dict[str, Any]]:
    """Simulates and records one scene twice: as it goes, and with another plan of the ego.

    Returns:
        The two recordings and the scene's entry in ``counterfactual.json``.
    """
    place, walls = build_place(location_of(scene, district), seed)
    scenario, state = draw_scenario(place, seed, scene)
    states = simulate_frames(scenario, state)
    other, note = _counterfactual_states(scenario, states, np.random.default_rng([seed, scene, 1]))
    note = {"scene": tables.scene_name(scene), **note}
    return record(scenario, states, walls), record(scenario, other, walls), note


def _counterfactual_states(
    scenario: Scenario, states: list[SimulationState], rng: np.random.Generator
) -> tuple[list[SimulationState], dict[str, Any]]:
    """Returns the states with another plan of the ego, and the note on it.

    Plans and fork times are tried in random order until a pedestrian reacts. If nobody reacts to
    any of them, the result is the one that moves the ego farthest from its factual end.
    """
    farthest = -1.0
    for fork in rng.choice(np.arange(*_FORK_FRAMES), 2, replace=False).tolist():
        for plan in rng.permutation(list(EGO_PLANS)).tolist():
            at = fork * FRAME_STEPS
            rest = simulate_frames(with_ego_plan(scenario, plan), states[at], FRAMES - fork)
            moved = rest[-1].pedestrians.positions_m - states[-1].pedestrians.positions_m
            ego = rest[-1].vehicles.poses[0, :2] - states[-1].vehicles.poses[0, :2]
            reacts = bool((np.hypot(*moved.T) > _REACTS_M).any())
            distance = np.inf if reacts else float(np.hypot(*ego))
            if distance > farthest:
                farthest = distance
                best = states[:at] + rest, {"same_until": fork, "plan": plan}
            if reacts:
                return best
    return best


def _encoded_scene(job: _Job, scene: int) -> tuple[list[EncodedRows], dict[str, Any] | None]:
    """Returns the rows of a scene for each dataset, and its note for ``counterfactual.json``."""
    if job.counterfactual:
        factual, other, note = simulate_pair(job.seed, scene, job.district)
        return [_encoded(job, scene, recording) for recording in (factual, other)], note
    return [_encoded(job, scene, simulate_scene(job.seed, scene, job.district))], None


def _encoded(job: _Job, scene: int, recording: Recording) -> EncodedRows:
    if job.noise_m > 0 or job.gap_share > 0:
        rng = np.random.default_rng([job.seed, scene, 2])
        recording = degrade(recording, job.noise_m, job.gap_share, rng)
    location = map_name(location_of(scene, job.district), job.seed)
    return encoded(tables.scene_tables(recording, job.seed, scene, location, job.sensors))


def encoded(rows: Mapping[str, list[TableRow]]) -> EncodedRows:
    """Returns the rows of each table as JSON, without the brackets of the list."""
    encode = msgspec.json.Encoder().encode
    return {name: b",\n".join(map(encode, table)) for name, table in rows.items()}


def refuse_other_content(out: Path) -> None:
    """Raises `ForecastError` if a folder holds anything but an earlier town."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ForecastError(f"{out}: is a file; name a new or empty folder for the town")
    found = {path.name for path in out.iterdir()}
    for parts in _TOWNS:
        needed = {name for name, must in parts.items() if must}
        if not found or (needed <= found and found <= set(parts)):
            return
    other = sorted(found - set().union(*_TOWNS)) or sorted(found)
    raise ForecastError(
        f"{out}: holds '{other[0]}', which is not part of a town; name a new or empty folder"
    )


def _write(folder: Path, job: _Job, scenes: int, workers: Workers) -> None:
    """Simulates the scenes, and writes each as soon as it and all scenes before it are done."""
    roots = [folder / FACTUAL, folder / COUNTERFACTUAL] if job.counterfactual else [folder]
    numbers = range(scenes)
    located = {scene: location_of(scene, job.district) for scene in numbers}
    for root in roots:
        write_maps(root, DISTRICTS[job.district][:scenes], job.seed)
        write_fixed(root / VERSION, job.seed, located, held_out(list(numbers)), job.sensors)
    notes = []
    with ExitStack() as files:
        writers = [TableWriter(root / VERSION, files) for root in roots]
        done = _all_scenes(job, scenes, workers)
        for rows, note in with_progress(done, scenes, "town"):
            for writer, encoded in zip(writers, rows, strict=True):
                writer.extend(encoded)
            notes.append(note)
    if job.counterfactual:
        write_json(folder / PAIRS, {"frame_s": 0.5, "scenes": notes})


def _all_scenes(
    job: _Job, scenes: int, workers: Workers
) -> Iterator[tuple[list[EncodedRows], dict[str, Any] | None]]:
    """Yields the result of `_encoded_scene` for each scene, in order."""
    for each in workers.map(partial(_encoded_scene, job), range(scenes), forked=True):
        if isinstance(each, Failed):
            raise ForecastError(f"scene {each.item}: {each.why}")
        yield each.value


def write_maps(root: Path, places: Sequence[str], seed: int) -> None:
    """Writes the maps of some places into a dataset."""
    folder = root / "maps" / "expansion"
    folder.mkdir(parents=True)
    for place in places:
        name = map_name(place, seed)
        write_json(folder / f"{name}.json", map_expansion(build_place(place, seed)[0], seed))
        mask = tables.map_row(name, seed, [])["filename"]
        # The devkit opens a raster mask for every map. Nothing here uses it, so it is blank.
        Image.fromarray(np.zeros((1, 1), np.uint8)).save(root / mask)


def write_fixed(
    folder: Path,
    seed: int,
    located: Mapping[int, str],
    kept_out: int,
    sensors: tuple[Sensor, ...] = LIDAR_KEYFRAMES,
) -> None:
    """Writes the tables that do not depend on the simulation, and the splits.

    Args:
        folder: The version folder; it is made.
        seed: Seed of the dataset.
        located: Place of each scene by its number, in order.
        kept_out: Number of scenes at the end that are not for training.
        sensors: The sensors of the dataset.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.fixed_tables(sensors).items():
        write_json(folder / f"{name}.json", rows)
    write_json(folder / "map.json", [
        tables.map_row(map_name(place, seed), seed, [s for s in located if located[s] == place])
        for place in dict.fromkeys(located.values())
    ])  # fmt: skip
    names = [tables.scene_name(scene) for scene in located]
    train = len(names) - kept_out
    write_json(folder / "splits.json", {"town_train": names[:train], "town_val": names[train:]})


def held_out(scenes: Sequence[int]) -> int:
    """Returns how many scenes at the end are not for training: a fifth, at least one of two."""
    return max(round(0.2 * len(scenes)), 1) if len(scenes) > 1 else 0


def write_json(path: Path, value: Any) -> None:
    """Writes a value as a JSON file."""
    path.write_bytes(msgspec.json.encode(value))


class TableWriter:
    """Appends rows to the tables on disk scene by scene, so that no table is ever in memory."""

    def __init__(self, folder: Path, files: ExitStack) -> None:
        self._folder, self._files = folder, files
        self._add: dict[str, Callable[[bytes], object]] = {}
        self._begun: set[str] = set()

    def extend(self, rows: EncodedRows) -> None:
        """Appends rows to their tables."""
        for name, encoded in rows.items():
            if name not in self._add:
                file = self._files.enter_context((self._folder / f"{name}.json").open("wb"))
                file.write(b"[\n")
                self._files.callback(file.write, b"\n]\n")
                self._add[name] = file.write
            if encoded:
                self._add[name](b",\n" + encoded if name in self._begun else encoded)
                self._begun.add(name)
