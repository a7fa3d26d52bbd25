"""Scenes on disk: prepared once, then opened in milliseconds and shared between processes.

A store is a folder::

    STORE/store.json            the manifest; written last, so a store that has it is complete
    STORE/scenes/<name>.arrow   one file per scene, mapped into memory when read

Every file is written under a temporary name and then moved into place, so no reader sees a part of
a file. A scene file holds the fingerprint of its source, so `prepare` can resume after a stop.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from forecast.datasets.manifest import (
    MANIFEST,
    SCENES,
    Manifest,
    SceneEntry,
    file_name,
    map_file,
    read_manifest,
    replace_file,
    scene_entry,
    sha256,
)
from forecast.datasets.progress import with_progress
from forecast.datasets.scene_file import SCHEMA_VERSION, SceneFile, decode, encode
from forecast.datasets.source import MENDED, SceneSource
from forecast.errors import ForecastError
from forecast.files import clear_leftovers
from forecast.parallel import Done, Workers, named
from forecast.scene import Scene

_PART_SUFFIXES = ("_train", "_val")


class SceneStore:
    """The scenes of a dataset on disk, by name.

    ``store[name]`` maps the scene's file into memory. The numeric arrays of the scene are read-only
    views of the file, so processes that read the same scene share its memory. A scene is checked
    against its content hash when it is first read, and then kept. A store can be pickled, and used
    after a fork.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        """Internal: use `SceneStore.open` or `prepare`."""
        self.path = path
        self._manifest = manifest
        self._opened: dict[str, Scene] = {}

    @classmethod
    def open(cls, path: Path | str) -> SceneStore:
        """Opens a store. Only its manifest is read here.

        Raises:
            ForecastError: There is no store, `prepare` did not finish, or another version of this
                package wrote it.
        """
        path = Path(path)
        return cls(path, read_manifest(path))

    def __reduce__(self) -> tuple[Any, ...]:
        return SceneStore.open, (self.path,)

    def __repr__(self) -> str:
        return f"SceneStore({str(self.path)!r}: {len(self)} scenes of {self.source})"

    def __len__(self) -> int:
        return len(self._manifest.scenes)

    def __iter__(self) -> Iterator[str]:
        return iter(self._manifest.scenes)

    def __contains__(self, name: object) -> bool:
        return name in self._manifest.scenes

    def __getitem__(self, name: str) -> Scene:
        """Reads the scene with a name.

        Raises:
            ForecastError: No scene has that name, or its file is missing or was changed.
        """
        if name not in self._opened:
            self._opened[name] = self._read(name)
        return self._opened[name]

    def _read(self, name: str) -> Scene:
        if name not in self:
            near = difflib.get_close_matches(str(name), list(self), n=1, cutoff=0.0)
            hint = f"; the closest name is '{near[0]}'" if near else "; the store is empty"
            raise ForecastError(f"{self.path}: no scene {name!r}{hint}")
        entry = self._manifest.scenes[name]
        path = self.path / SCENES / entry.file
        try:
            buffer = map_file(path)
        except OSError as error:
            raise ForecastError(f"{path}: cannot be read; run prepare again") from error
        if sha256(buffer) != entry.sha256:
            raise ForecastError(f"{path}: the file was changed after prepare; run prepare again")
        return decode(buffer, compared=True).scene

    @property
    def scene_names(self) -> list[str]:
        """Names of all scenes, in the source's order."""
        return list(self._manifest.scenes)

    @property
    def source(self) -> str:
        """Short name of the dataset."""
        return self._manifest.source

    @property
    def protocol(self) -> str:
        """The evaluation protocol of the dataset."""
        return self._manifest.protocol

    @property
    def dt_s(self) -> float:
        """Step length of every scene."""
        return self._manifest.dt_s

    @property
    def fingerprint(self) -> str:
        """Hash of everything that the scenes were made from."""
        return self._manifest.fingerprint

    @property
    def splits(self) -> dict[str, list[str]]:
        """Names of the scenes of each split."""
        return {
            split: [name for name in names if name in self]
            for split, names in self._manifest.splits.items()
        }

    @property
    def failed(self) -> dict[str, str]:
        """Scenes of the source that could not be prepared, with the reason."""
        return dict(self._manifest.failed)

    def failed_of(self, split: str) -> dict[str, str]:
        """Returns the failed scenes of a split, with the reason; none for a file of scene names."""
        belong = {**self._manifest.splits, "all": self._manifest.failed}.get(split, ())
        return {name: why for name, why in self.failed.items() if name in belong}

    @property
    def counts(self) -> dict[str, int]:
        """Totals over all scenes: steps, lanes, agents, and agents of each kind."""
        return _total(entry.counts for entry in self._manifest.scenes.values())

    @property
    def dropped(self) -> dict[str, int]:
        """Records that the source dropped, by reason, summed over all scenes."""
        return {why: count for why, count in self._records.items() if why not in MENDED}

    @property
    def mended(self) -> dict[str, int]:
        """Records that the source mended, by reason, summed over all scenes."""
        return {why: count for why, count in self._records.items() if why in MENDED}

    def records_of(self, scenes: Iterable[str]) -> dict[str, int]:
        """Records of some scenes that the source dropped or mended, by reason; 0 is left out."""
        total = _total(self._manifest.scenes[name].dropped for name in scenes)
        return {why: count for why, count in total.items() if count}

    @property
    def _records(self) -> dict[str, int]:
        return _total(entry.dropped for entry in self._manifest.scenes.values())

    def scenes_of(self, split: str) -> list[str]:
        """Returns the names of the scenes of a split.

        Args:
            split: A split of the source; or ``all``, every recording once (parts of a recording
                that is also there whole are left out); or a text file with one scene name a line.

        Raises:
            ForecastError: The split, or a name in the file, is unknown.
        """
        if split in self.splits:
            return self.splits[split]
        if split == "all":
            return [name for name in self if self.recording_of(name) == name]
        if Path(split).is_file():
            return self._listed_in(Path(split))
        raise ForecastError(
            f"{self.path}: split '{split}' is unknown; one of "
            f"{', '.join([*self._manifest.splits, 'all'])} or a file of scene names is needed"
        )

    def fit_scenes(self, split: str) -> list[str]:
        """Returns the scenes that may be trained on when ``split`` is scored; may be empty.

        For ``x_val`` and ``x_test`` these are ``x_train``; for ``val`` and ``test`` they are
        ``train``; otherwise they are all recordings of which no part is scored.
        """
        scored = self.scenes_of(split)
        head, _, last = split.rpartition("_")
        partner = f"{head}_train" if head else "train"
        if last in ("val", "test") and {split, partner} <= self.splits.keys():
            return [name for name in self.splits[partner] if name not in scored]
        recordings = {self.recording_of(name) for name in scored}
        return [name for name in self.scenes_of("all") if name not in recordings]

    def recording_of(self, name: str) -> str:
        """Returns the recording that a scene is a part of (``x`` of ``x_train``), or itself."""
        for suffix in _PART_SUFFIXES:
            whole = name.removesuffix(suffix)
            if whole != name and whole in self:
                return whole
        return name

    def leaked_scenes(self, names: Iterable[str], training: Iterable[str]) -> list[str]:
        """Returns the scenes that overlap the training scenes (train/test leakage).

        Args:
            names: Scenes to check.
            training: Scenes that a model was trained on.

        Returns:
            Those of ``names`` that are a training scene, a part of one, or the whole of one.
        """
        training = set(training)
        wholes = {self.recording_of(name) for name in training}

        def is_leaked(name: str) -> bool:
            whole = self.recording_of(name)
            return name in training or whole in training or (name == whole and name in wholes)

        return [name for name in names if is_leaked(name)]

    def _listed_in(self, file: Path) -> list[str]:
        try:
            names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise ForecastError(
                f"{file}: cannot be read ({error}); a text file of scene names in UTF-8 is needed"
            ) from None
        for number, name in enumerate(names, start=1):
            if name and name not in self:
                raise ForecastError(
                    f"{file}: line {number}: no scene '{name}' in {self.path}; "
                    "one name of the store a line is needed"
                )
        return list(dict.fromkeys(filter(None, names)))


def prepare(
    source: SceneSource,
    out: Path | str,
    *,
    strict: bool = False,
    workers: Workers = Workers(),  # noqa: B008 (frozen)
) -> SceneStore:
    """Writes every scene of a source into a store, or updates a store.

    Scenes that are already there from the same source are kept. Scenes that the source no longer
    has are removed. The result does not depend on ``workers``.

    If a scene cannot be read, the other scenes are still written. `SceneStore.failed` names the
    failed scene, and the next `prepare` tries it again.

    Args:
        source: The dataset.
        out: Folder of the store: new, empty, or a store.
        strict: Whether a scene that cannot be read is an error, once the others are written.
        workers: The processes that read scenes.

    Returns:
        The store.

    Raises:
        ForecastError: ``out`` holds something else, the disk or the source fails, no scene can be
            read, or with ``strict`` one cannot.
    """
    out = Path(out)
    try:
        _check_splits(source)
        _claim(out)
        fingerprint = source.fingerprint()
        entries = _kept_scenes(source, out, fingerprint)
        missing = [name for name in source.scene_names() if name not in entries]
        written, failed = _write_scenes(source, out, fingerprint, missing, workers)
        entries |= written
        if entries or not failed:
            _finish(source, out, fingerprint, entries, failed)
    except OSError as error:
        raise ForecastError(
            f"{error.filename or out}: {error.strerror or error}; "
            "check the path, its permissions and the free space"
        ) from error
    if failed and (strict or not entries):
        raise ForecastError(
            f"{out}: {len(failed)} of {len(source.scene_names())} scenes could not be prepared: "
            f"{named(failed)}; repair them and run prepare again"
            f"{' (the other scenes are written)' if entries else ''}"
        )
    return SceneStore.open(out)


def _check_splits(source: SceneSource) -> None:
    names = set(source.scene_names())
    for split, members in source.splits().items():
        unknown = [name for name in members if name not in names]
        if unknown:
            raise ForecastError(
                f"{source.name}: split '{split}' names scene '{unknown[0]}', which the source "
                "does not have; repair the split"
            )


def _claim(out: Path) -> None:
    """Makes the folders. Refuses a folder that holds something other than a store."""
    if out.is_dir() and not (out / MANIFEST).is_file():
        other = [p.name for p in out.iterdir() if p.name != SCENES and p.name[0] != "."]
        if other:
            raise ForecastError(
                f"{out}: holds '{min(other)}' and is not a store; give a new or empty folder"
            )
    (out / SCENES).mkdir(parents=True, exist_ok=True)
    for folder in (out, out / SCENES):
        clear_leftovers(folder)


def _kept_scenes(source: SceneSource, out: Path, fingerprint: str) -> dict[str, SceneEntry]:
    """Returns the entries of the scenes that need not be read again."""
    try:
        manifest = read_manifest(out)
        known = manifest.scenes if manifest.fingerprint == fingerprint else {}
    except ForecastError:
        known = {}
    entries = {
        name: _kept(out / SCENES / file_name(name), fingerprint, known.get(name))
        for name in source.scene_names()
    }
    return {name: entry for name, entry in entries.items() if entry is not None}


def _kept(path: Path, fingerprint: str, known: SceneEntry | None) -> SceneEntry | None:
    try:
        buffer = map_file(path)
        if known is not None:
            return known if sha256(buffer) == known.sha256 else None
        file = decode(buffer)
    except (OSError, ForecastError):
        return None
    return scene_entry(file, buffer) if file.fingerprint == fingerprint else None


def _write_scenes(
    source: SceneSource, out: Path, fingerprint: str, names: list[str], workers: Workers
) -> tuple[dict[str, SceneEntry], dict[str, str]]:
    """Returns the entries of the written scenes, and the reasons of the failed ones, by name."""
    written: dict[str, SceneEntry] = {}
    failed: dict[str, str] = {}
    if names:
        (out / MANIFEST).unlink(missing_ok=True)
    write = partial(_write_scene, source, out, fingerprint)
    for each in with_progress(workers.map(write, names, forked=True), len(names), "prepare"):
        if isinstance(each, Done):
            written[each.item] = each.value
        else:
            failed[each.item] = str(each.why)
    return written, failed


def _write_scene(source: SceneSource, out: Path, fingerprint: str, name: str) -> SceneEntry:
    scene, dropped = source.read(name)
    if scene.id != name or scene.dt_s != source.dt_s:
        raise ForecastError(
            f"{source.name}: scene '{name}' was read as '{scene.id}' with dt_s {scene.dt_s}; "
            f"that name and {source.dt_s} are needed"
        )
    file = SceneFile(scene, fingerprint, dropped)
    buffer = encode(file)
    replace_file(out / SCENES / file_name(name), buffer)
    return scene_entry(file, buffer)


def _finish(
    source: SceneSource,
    out: Path,
    fingerprint: str,
    entries: dict[str, SceneEntry],
    failed: dict[str, str],
) -> None:
    """Writes the manifest, then removes the files that no longer belong to the store."""
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        source=source.name,
        protocol=source.protocol,
        dt_s=source.dt_s,
        fingerprint=fingerprint,
        splits=source.splits(),
        scenes={name: entries[name] for name in source.scene_names() if name in entries},
        failed=failed,
    )
    replace_file(out / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    belongs = {entry.file for entry in entries.values()}
    for path in (out / SCENES).iterdir():
        if path.suffix in (".arrow", ".tmp") and path.name not in belongs:
            path.unlink()


def _total(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)
