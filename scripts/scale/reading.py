"""Cost of `forecast prepare`, beside that of the devkit, which only opens the same dataset."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tables import run

from forecast.datasets.store import SceneStore
from forecast.simulator.export.dataset import VERSION
from scale.measure import Cost, cost_of

SCENES, SEED = 850, 2
FEWER = (25, 100)
"""Scenes of smaller cities, to measure the growth of the cost."""
_OPEN = "from nuscenes import NuScenes; NuScenes({version!r}, {dataroot!r}, verbose=False)"


@dataclass(frozen=True)
class Reading:
    """The measured values.

    Attributes:
        tables_bytes: Size of the tables.
        costs: Cost of each way, by name.
        by_scenes: Processor time of `prepare` by number of scenes.
        store: The prepared store.
    """

    tables_bytes: int
    costs: dict[str, Cost]
    by_scenes: dict[int, float]
    store: SceneStore


def city(work: Path, scenes: int) -> Path:
    """A simulated city at nuScenes' full rates; it is made unless it exists."""
    dataroot = work / f"city_{scenes}"
    if not dataroot.is_dir():
        words = ["--scenes", str(scenes), "--seed", str(SEED), "--workers", "2", "--full-rate"]
        run("town", "--out", str(dataroot), *words)
    return dataroot


def measure(work: Path) -> Reading:
    """Opens and prepares the city; the files are in the page cache for all ways alike."""
    dataroot, out = city(work, SCENES), work / "store"
    tables = sorted((dataroot / VERSION).glob("*.json"))
    size = sum(len(path.read_bytes()) for path in tables)
    shutil.rmtree(out, ignore_errors=True)
    costs = {
        "`nuscenes.NuScenes(…)` opens it": cost_of("-c", _open(dataroot)),
        "`forecast prepare`, all of it": _prepare(dataroot, out),
        "the same again: nothing has changed": _prepare(dataroot, out),
        "`forecast prepare --workers 2`": _first(dataroot, work / "store_2", "--workers", "2"),
    }
    fewer = {count: _first(city(work, count), work / f"store_{count}") for count in FEWER}
    by_scenes = {count: cost.processor_s for count, cost in fewer.items()}
    by_scenes[SCENES] = costs["`forecast prepare`, all of it"].processor_s
    return Reading(size, costs, by_scenes, SceneStore.open(out))


def _open(dataroot: Path) -> str:
    return _OPEN.format(version=VERSION, dataroot=str(dataroot))


def _prepare(dataroot: Path, out: Path, *words: str) -> Cost:
    source = ["--source", "nuscenes", "--version", VERSION, "--dataroot", str(dataroot)]
    return cost_of("-m", "forecast", "prepare", *source, "--out", str(out), *words)


def _first(dataroot: Path, out: Path, *words: str) -> Cost:
    shutil.rmtree(out, ignore_errors=True)
    return _prepare(dataroot, out, *words)


def table(found: Reading) -> str:
    """The Markdown table."""
    size = f"{SCENES} scenes, {found.tables_bytes / 1e9:.1f} GB of tables"
    lines = [f"| {size} | clock | processors | peak memory |", "|---|---|---|---|"]
    lines += [f"| {name} | {cost.cells()} |" for name, cost in found.costs.items()]
    return "\n".join(lines)
