"""The software an evaluation ran on, and hashes of the data it read."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from forecast import __version__
from forecast.datasets.store import SceneStore

_PACKAGE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Environment:
    """What is needed, besides the command, to get the same numbers again.

    Attributes:
        version: Version of this package.
        commit: Git commit of the code; "" outside a checkout.
        dirty: Whether the code differed from that commit.
        python: Version of Python.
        machine: System, processor and the cores that this process may use.
        lock: Installed packages, ``name==version`` each.
        tables_sha256: Hash of the scored scenes without their maps.
        maps_sha256: Hash of their maps.
        split_sha256: Hash of their names.
    """

    version: str
    commit: str
    dirty: bool
    python: str
    machine: str
    lock: tuple[str, ...]
    tables_sha256: str
    maps_sha256: str
    split_sha256: str

    @classmethod
    def of(cls, store: SceneStore, scenes: Sequence[str]) -> Environment:
        """The environment of this process and of some scenes of a store."""
        commit, dirty = git_state(_PACKAGE)
        tables, maps = _data_hashes(store, scenes)
        return cls(
            version=__version__,
            commit=commit,
            dirty=dirty,
            python=platform.python_version(),
            machine=_machine(),
            lock=_lock(),
            tables_sha256=tables,
            maps_sha256=maps,
            split_sha256=hashlib.sha256("\n".join(scenes).encode()).hexdigest(),
        )


def git_state(folder: Path) -> tuple[str, bool]:
    """Commit of a checkout and whether it was changed since; ``("", False)`` outside a checkout.

    Changes outside ``folder`` and untracked files do not count.
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return "", False
    commit = _git(folder, "rev-parse", "HEAD") or ""
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return commit, bool(changes)


def _git(folder: Path, *words: str) -> str | None:
    """The output of git; None if it fails or is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _machine() -> str:
    processor = _processor() or "processor not known"
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    cores = len(affinity(0)) if affinity else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {processor}, {cores} cores"


def _processor() -> str:
    """The processor's name; on Linux only a file holds it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _lock() -> tuple[str, ...]:
    found = {f"{each.metadata['Name']}=={each.version}" for each in metadata.distributions()}
    return tuple(sorted(found, key=str.lower))


def _data_hashes(store: SceneStore, scenes: Sequence[str]) -> tuple[str, str]:
    """Hashes of the scenes' tracks and of their maps, with one scene in memory at a time."""
    tables, maps = hashlib.sha256(), hashlib.sha256()
    for name in scenes:
        scene = SceneStore.open(store.path)[name]
        parts = (scene.id, scene.location, scene.description, scene.dt_s, scene.headings_recorded)
        _feed(tables, [*parts, scene.timestamps_us, scene.origin_m, scene.frame_ids, scene.tracks])
        _feed(maps, [scene.id, scene.lane_map])
    return tables.hexdigest(), maps.hexdigest()


def _feed(digest: Any, values: Sequence[Any]) -> None:
    """Adds arrays, dataclasses of arrays and plain values to a hash, with their lengths."""
    for value in values:
        if isinstance(value, np.ndarray):
            text = value.dtype.kind == "U"
            data = "\0".join(value.tolist()).encode() if text else np.ascontiguousarray(value)
            digest.update(f"{value.shape}{value.dtype.kind};".encode())
            digest.update(data)
        elif hasattr(value, "__dataclass_fields__"):
            _feed(digest, [getattr(value, field.name) for field in fields(value)])
        else:
            digest.update(f"{value!r};".encode())
