"""The manifest of a store, and how the files of a store are read and written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import quote

import msgspec
import numpy as np
import pyarrow as pa

from forecast.datasets.scene_file import SCHEMA_VERSION, SceneFile
from forecast.errors import ForecastError, require
from forecast.files import completed
from forecast.scene import AgentKind

MANIFEST = "store.json"
SCENES = "scenes"

_LONGEST_NAME = 200
"""Characters of a file's name after which a hash stands for the rest; systems allow 255 bytes."""


class SceneEntry(msgspec.Struct, frozen=True):
    """The manifest's entry of one scene.

    Attributes:
        file: Name of its file.
        sha256: Hash of the file's content.
        counts: Numbers of steps, lanes, agents, and agents of each kind.
        dropped: Records that the source dropped or mended, by reason.
    """

    file: str
    sha256: str
    counts: dict[str, int]
    dropped: dict[str, int]


class _SchemaVersion(msgspec.Struct, frozen=True):
    schema_version: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of a store.

    Attributes:
        schema_version: `scene_file.SCHEMA_VERSION` of its files.
        source: Short name of the dataset.
        protocol: The evaluation protocol of the dataset.
        dt_s: Step length of every scene.
        fingerprint: Hash of everything that the scenes were made from.
        splits: Names of the scenes of each split, failed ones included.
        scenes: All scenes by name, in the source's order.
        failed: Scenes of the source that could not be prepared, by name, with the reason.
    """

    schema_version: int
    source: str
    protocol: str
    dt_s: float
    fingerprint: str
    splits: dict[str, list[str]]
    scenes: dict[str, SceneEntry]
    failed: dict[str, str] = {}


def read_manifest(path: Path) -> Manifest:
    """Reads the manifest of the store at ``path``.

    Raises:
        ForecastError: There is no store, it is not complete, or another version wrote it.
    """
    file = path / MANIFEST
    if not file.is_file():
        if (path / SCENES).is_dir():
            raise ForecastError(f"{path}: prepare did not finish; run it again to resume")
        raise ForecastError(
            f"{path}: not a store ({MANIFEST} is missing); make one with 'forecast prepare'"
        )
    try:
        content = file.read_bytes()
        version = msgspec.json.decode(content, type=_SchemaVersion).schema_version
        if version != SCHEMA_VERSION:
            raise ForecastError(
                f"{path}: the store has schema version {version}, this package reads "
                f"{SCHEMA_VERSION}; prepare it again"
            )
        manifest = msgspec.json.decode(content, type=Manifest)
    except (OSError, msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ForecastError(f"{file}: cannot be read ({error}); run prepare again") from error
    _check(manifest, file)
    return manifest


def _check(manifest: Manifest, file: Path) -> None:
    """Refuses a manifest whose scenes have other files than `prepare` gives them.

    So no manifest leads to a file outside its store.
    """
    for name, entry in manifest.scenes.items():
        good = name != "" and entry.file == file_name(name)
        need = f"'{file_name(name)}'; run prepare again, since that"
        require(good, f"{file}: the file of scene '{name}'", f"'{entry.file}'", need)


def scene_entry(file: SceneFile, buffer: pa.Buffer) -> SceneEntry:
    """Returns the manifest's entry of a scene file.

    Args:
        file: The content of the file.
        buffer: Its bytes.
    """
    tracks, lane_map = file.scene.tracks, file.scene.lane_map
    kinds = np.bincount(tracks.kinds, minlength=len(AgentKind))
    counts = {
        "steps": tracks.steps,
        "lanes": 0 if lane_map is None else len(lane_map),
        "agents": len(tracks),
        **{kind.name.lower(): int(kinds[kind]) for kind in AgentKind},
    }
    return SceneEntry(file_name(file.scene.id), sha256(buffer), counts, file.dropped)


def file_name(scene: str) -> str:
    """Returns the name of a scene's file. Any scene name gives a valid file name."""
    name = quote(scene, safe="")
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(scene.encode()).hexdigest()[:16]}"
    return name + ".arrow"


def map_file(path: Path) -> pa.Buffer:
    """Maps the content of a file into memory. No file handle stays open."""
    with pa.memory_map(str(path)) as file:
        return file.read_buffer()


def sha256(buffer: pa.Buffer) -> str:
    """Returns the hash of some bytes in hex."""
    return hashlib.sha256(buffer).hexdigest()


def replace_file(path: Path, content: pa.Buffer | bytes) -> None:
    """Writes a file of a store atomically: no reader ever sees a part of it.

    What killed runs have left beside it stays: `clear_leftovers` is called once for a store.
    """
    with completed(path, clear=False) as temporary:
        temporary.write_bytes(content)
