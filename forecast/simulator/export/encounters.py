"""Writes encounters of the simulated city: each moment under several plans of the ego.

Every plan is a dataset in nuScenes format of its own. The datasets have the same scenes, agents,
tokens and random numbers, so any difference between two of them is an effect of the plan.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from forecast.datasets.progress import with_progress
from forecast.errors import ForecastError, require
from forecast.files import completed
from forecast.parallel import Failed, Workers
from forecast.simulator.decisions import decisions
from forecast.simulator.encounters import (
    AS_IT_WENT,
    HISTORY_FRAMES,
    PLANS,
    branches,
    find_moments,
)
from forecast.simulator.export import tables
from forecast.simulator.export.dataset import (
    ENCOUNTERS,
    VERSION,
    EncodedRows,
    TableWriter,
    encoded,
    held_out,
    refuse_other_content,
    write_fixed,
    write_json,
    write_maps,
)
from forecast.simulator.export.recording import Recording, record
from forecast.simulator.export.sensors import TableRow
from forecast.simulator.map.places import build_place, location_of, map_name
from forecast.simulator.simulate import (
    FRAME_STEPS,
    FRAMES,
    Scenario,
    SimulationState,
    draw_scenario,
    simulate_frames,
)

_AT_ONCE = 256
"""Scenes that are handed to the workers at a time. How many have enough moments is not known."""
_MOVED_M = 0.05
"""Smaller differences between two plans are not listed."""


class _Moment(NamedTuple):
    """A moment of a scene: its number, and for each plan its rows and who is moved."""

    number: int
    rows: list[EncodedRows]
    note: dict[str, Any]


@dataclass(frozen=True)
class _Job:
    seed: int
    district: str
    plans: tuple[str, ...]


def write_encounters(
    out: Path,
    *,
    moments: int = 100,
    seed: int = 0,
    counterfactual: bool = False,
    district: str = "street",
    workers: Workers = Workers(),  # noqa: B008 (frozen)
) -> None:
    """Finds moments at which the ego's plan may matter, and writes each under every plan.

    A moment is a scene of 5 keyframes of history and 12 of future. ``out/went`` has the moments as
    they went. With ``counterfactual``, ``out/stop``, ``out/slow`` and ``out/hurry`` have the same
    moments with another plan of the ego from the fifth keyframe on. The table ``decision.json`` of
    a dataset has what each pedestrian has decided at each keyframe, and which crossing is on its
    way. ``out/encounters.json`` says who is moved by which plan, and by how much after 6 s.

    ``NuScenes("v1.0-town", out / "went")`` reads the tables. The last fifth of the moments is the
    split ``town_val``. The same arguments give the same bytes for any number of workers. The folder
    appears as a whole or not at all.

    Args:
        out: Folder to write. An earlier town in it is replaced.
        moments: Number of moments.
        seed: Seed of all random numbers.
        counterfactual: Whether to write the other plans.
        district: "street" or "shared_space"; see `write_town`.
        workers: The processes that simulate scenes.

    Raises:
        ForecastError: ``out`` holds something else, the district is unknown, or a number is out of
            range.
    """
    out = Path(out)
    require(moments >= 1, "scenes", moments, "at least 1")
    require(seed >= 0, "seed", seed, "at least 0")
    location_of(0, district)
    refuse_other_content(out)
    job = _Job(seed, district, PLANS if counterfactual else PLANS[:1])
    with completed(out) as folder:
        _write(folder, job, moments, workers)


def _write(folder: Path, job: _Job, moments: int, workers: Workers) -> None:
    versions = [folder / plan / VERSION for plan in job.plans]
    for version in versions:
        version.mkdir(parents=True)
    located, notes = {}, []
    with ExitStack() as files:
        writers = [TableWriter(version, files) for version in versions]
        found = files.enter_context(closing(_moments(job, moments, workers)))
        for moment in with_progress(found, moments, "encounters"):
            for writer, rows in zip(writers, moment.rows, strict=True):
                writer.extend(rows)
            located[moment.number] = location_of(_scene_of(moment.number), job.district)
            notes.append(moment.note)
    for version in versions:
        write_maps(version.parent, sorted(set(located.values())), job.seed)
        write_fixed(version, job.seed, located, _kept_out(list(located)))
    write_json(folder / ENCOUNTERS, {"frame_s": 0.5, "plans": job.plans, "moments": notes})


def _kept_out(numbers: list[int]) -> int:
    """Returns how many moments at the end are not for training; no scene is on both sides."""
    first = len(numbers) - held_out(numbers)
    while 0 < first < len(numbers) and _scene_of(numbers[first - 1]) == _scene_of(numbers[first]):
        first += 1
    return len(numbers) - first


def _scene_of(number: int) -> int:
    """Returns the number of the scene that a moment is of."""
    return number // FRAMES


def _moments(job: _Job, count: int, workers: Workers) -> Generator[_Moment, None, None]:
    """Yields the first moments of the scenes of the city, in order."""
    for first in range(0, sys.maxsize, _AT_ONCE):
        scenes = range(first, first + _AT_ONCE)
        for each in workers.map(partial(_of_scene, job), scenes, forked=True):
            if isinstance(each, Failed):
                raise ForecastError(f"scene {each.item}: {each.why}")
            yield from each.value[:count]
            count -= len(each.value)
            if count <= 0:
                return


def _of_scene(job: _Job, scene: int) -> list[_Moment]:
    """Returns the moments of one scene."""
    place, walls = build_place(location_of(scene, job.district), job.seed)
    scenario, start = draw_scenario(place, job.seed, scene)
    states = simulate_frames(scenario, start)
    moments = []
    for frame in find_moments(scenario, states):
        ways = branches(scenario, states, frame)
        made = {plan: record(scenario, ways[plan], walls) for plan in job.plans}
        number = scene * FRAMES + frame
        rows = [_rows(job, number, scenario, made[plan], ways[plan]) for plan in job.plans]
        note = {
            "scene": tables.scene_name(number),
            "same_until": HISTORY_FRAMES - 1,
            "moved_m": {
                plan: _moved(job, number, made[AS_IT_WENT], made[plan]) for plan in job.plans[1:]
            },
        }
        moments.append(_Moment(number, [encoded(each) for each in rows], note))
    return moments


def _rows(
    job: _Job,
    number: int,
    scenario: Scenario,
    recording: Recording,
    states: list[SimulationState],
) -> dict[str, list[TableRow]]:
    """Returns the rows of a moment under one plan, by table."""
    location = map_name(location_of(_scene_of(number), job.district), job.seed)
    rows = tables.scene_tables(recording, job.seed, number, location)
    known = [decisions(scenario, state) for state in states[::FRAME_STEPS]]
    made = np.stack([each.made for each in known], 1)
    crossings = np.stack([each.crossing for each in known], 1)
    rows["decision"] = [
        {
            "instance_token": tables.instance_token(job.seed, number, agent),
            "decisions": made[agent].tolist(),
            "crossings": crossings[agent].tolist(),
        }
        for agent in np.flatnonzero(recording.seen[: len(made)].any(1)).tolist()
    ]
    return rows


def _moved(job: _Job, number: int, one: Recording, other: Recording) -> dict[str, float]:
    """Returns how far apart the pedestrians of two plans are after 6 s, by instance token."""
    people = np.char.startswith(one.categories, "human.")
    both = people & one.seen[:, -1] & other.seen[:, -1]
    apart = np.hypot(*(other.poses[:, -1, :2] - one.poses[:, -1, :2]).T)
    return {
        tables.instance_token(job.seed, number, agent): round(float(apart[agent]), 3)
        for agent in np.flatnonzero(both & (apart > _MOVED_M)).tolist()
    }
