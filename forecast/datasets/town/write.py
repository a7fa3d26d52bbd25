"""Writes the simulated city as a nuScenes-format dataset."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from forecast.datasets.town import places, tables
from forecast.datasets.town.maps import map_expansion
from forecast.datasets.town.recording import Recording, record
from forecast.datasets.town.simulate import FRAMES, frames, set_scene
from forecast.datasets.town.streets import District, build_district
from forecast.errors import ForecastError

VERSION = "v1.0-town"
_TOP_LEVEL = {VERSION, "maps"}


def write_town(out: Path, *, scenes: int = 10, seed: int = 0) -> None:
    """Simulates a city and writes it so that ``nuscenes-devkit`` opens it.

    ``NuScenes("v1.0-town", out)`` reads the tables; the splits ``town_train`` and ``town_val`` (the
    last fifth of the scenes) are custom splits of the devkit. The same arguments give the same
    bytes. The folder appears whole or not at all.

    Args:
        out: Folder to write; an earlier town in it is replaced.
        scenes: Number of scenes of 20 s.
        seed: Seed of everything.

    Raises:
        ForecastError: ``out`` holds something else, or a number makes no sense.
    """
    out = Path(out)
    if scenes < 1:
        raise ForecastError(f"scenes is {scenes}; at least 1 is needed")
    if seed < 0:
        raise ForecastError(f"seed is {seed}; 0 or more is needed")
    _refuse_strangers(out)
    with _whole_or_not(out) as partial:
        districts = _write_maps(partial, scenes, seed)
        _write_tables(partial / VERSION, districts, scenes, seed)


def location_of(scene: int) -> str:
    """Where the scene with a number happens."""
    return places.LOCATIONS[scene % len(places.LOCATIONS)]


def simulate_scene(district: District, seed: int, scene: int) -> Recording:
    """Runs one scene of the dataset with that seed."""
    setting, world = set_scene(district, seed, scene)
    return record(setting, list(frames(setting, world, FRAMES)))


def _refuse_strangers(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ForecastError(f"{out}: is a file; name a new or empty folder for the town")
    found = {path.name for path in out.iterdir()}
    if found and not (VERSION in found and found <= _TOP_LEVEL):
        other = sorted(found - _TOP_LEVEL) or sorted(found)
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


def _write_maps(root: Path, scenes: int, seed: int) -> list[District]:
    """Writes the maps of the locations in use and returns their districts, in that order."""
    folder = root / "maps" / "expansion"
    folder.mkdir(parents=True)
    districts = []
    for location in places.LOCATIONS[:scenes]:
        district = build_district(places.layout(location, seed))
        expansion = map_expansion(district, seed)
        (folder / f"{location}.json").write_bytes(msgspec.json.encode(expansion))
        mask = tables.map_row(location, seed, [])["filename"]
        # The devkit opens a raster mask for every map; nothing here uses it, so it is blank.
        Image.fromarray(np.zeros((1, 1), np.uint8)).save(root / mask)
        districts.append(district)
    return districts


def _write_tables(folder: Path, districts: list[District], scenes: int, seed: int) -> None:
    folder.mkdir()
    for name, rows in tables.fixed_tables().items():
        _write_json(folder / f"{name}.json", rows)
    _write_json(folder / "map.json", [
        tables.map_row(location, seed, [s for s in range(scenes) if location_of(s) == location])
        for location in places.LOCATIONS[:scenes]
    ])  # fmt: skip
    with ExitStack() as files:
        streams: dict[str, _RowStream] = {}
        for scene in range(scenes):
            district = districts[scene % len(places.LOCATIONS)]
            recording = simulate_scene(district, seed, scene)
            added = tables.scene_tables(recording, seed, scene, location_of(scene))
            for name, rows in added.items():
                if name not in streams:
                    streams[name] = files.enter_context(_RowStream(folder / f"{name}.json"))
                streams[name].extend(rows)
    held_out = max(round(0.2 * scenes), 1) if scenes > 1 else 0
    names = [tables.scene_name(scene) for scene in range(scenes)]
    splits = {"town_train": names[: scenes - held_out], "town_val": names[scenes - held_out :]}
    _write_json(folder / "splits.json", splits)


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(msgspec.json.encode(value))


class _RowStream:
    """A JSON list on disk that grows row by row, so that no table is ever held in memory."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._lead = b"[\n"

    def extend(self, rows: Iterable[tables.Row]) -> None:
        for row in rows:
            self._file.write(self._lead + msgspec.json.encode(row))
            self._lead = b",\n"

    def __enter__(self) -> _RowStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.write(b"\n]\n" if self._lead == b",\n" else b"[]\n")
        self._file.close()
