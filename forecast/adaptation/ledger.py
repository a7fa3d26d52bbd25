"""What an adaptation did, scene by scene, and the folder that keeps it.

The folder holds::

    FOLDER/ledger.jsonl        the header, then one entry for each scene or undoing
    FOLDER/states/00012.pt     everything after scene 12, to go on from or to go back to
    FOLDER/scenes/00012.arrow  scene 12, if a later state needs it
    FOLDER/rows/00012.npz      what tubes are fitted on, from scene 12
    FOLDER/report.html         the page of `forecast adapt`; report.json has its numbers

The ledger is written last. So what a killed run has left beyond its last entry is not used.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import torch

from forecast.adaptation.gate import Change
from forecast.adaptation.testing import Rows, Tested
from forecast.datasets.scene_file import SceneFile, decode, encode
from forecast.errors import ForecastError
from forecast.files import completed
from forecast.models.calibration.conformal import CalibrationScores
from forecast.models.calibration.ood import HistoryFeatures
from forecast.scene import Scene

LEARNT, HELD_OUT = "learnt", "held out"
ROLLED_BACK, REFUSED = "rolled back", "refused"
"""What was done with a scene."""

_LEDGER = "ledger.jsonl"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What an adaptation begins with.

    Attributes:
        weights_sha256: Hash of the weights that the model came from.
        old: Hashes of the scenes of the old data.
        config: The configuration as plain values.
        version: Version of this package.
        torch: Version of torch.
    """

    weights_sha256: str
    old: list[str]
    config: dict[str, Any]
    version: str
    torch: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What was done with one scene.

    Attributes:
        number: Number of the scene, from 1 on.
        scene: Its name.
        sha256: Hash of its content.
        store: Path of the store that it came from; "" for a scene in memory.
        fingerprint: Fingerprint of that store; the hash of the content for a scene in memory.
        done: `LEARNT`, `HELD_OUT`, `ROLLED_BACK` or `REFUSED`.
        why: The reason, for the last two.
        test: Its scores before it was learnt from; None without a pedestrian to score, for a scene
            that cannot have happened as recorded, and for one that was taken before.
        old: The change of the held-out old data in this step.
        new: The change of the held-out scenes of the stream in this step.
        since_start: The change of the held-out old data since the weights that the model came from.
        before_sha256: Hash of the weights that predict, before.
        after_sha256: The same after.
        calibrated_on: Number of scenes that tubes and OOD detector are now fitted on: the latest
            ones with the step of the newest. 0 while they are those that the model came with.
        seconds: Processor time that it took, which other programs do not lengthen.
    """

    number: int
    scene: str
    sha256: str
    store: str
    fingerprint: str
    done: str
    why: str = ""
    test: Tested | None = None
    old: Change | None = None
    new: Change | None = None
    since_start: Change | None = None
    before_sha256: str
    after_sha256: str
    calibrated_on: int
    seconds: float


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """The state after an earlier scene was gone back to.

    Attributes:
        undone_to: Number of that scene; 0 for the weights that the model came from.
    """

    undone_to: int


class Ledger:
    """The ledger and the states of an adaptation.

    Args:
        folder: Where they are or will be.
        header: What the adaptation begins with.

    Attributes:
        lines: All entries, those of undone scenes too.

    Raises:
        ForecastError: The folder is that of another adaptation, or its ledger is damaged.
    """

    def __init__(self, folder: Path, header: Header) -> None:
        self.folder, self.header = folder, header
        self.lines: list[Entry | Undone] = []
        path = folder / _LEDGER
        if path.is_file():
            found, self.lines = read_ledger(path)
            different = _differences(found, header)
            if different:
                raise ForecastError(
                    f"{path}: this adaptation began with other {different}; go on with the same, "
                    "or choose another --out"
                )

    @property
    def entries(self) -> list[Entry]:
        """The entries that count, in order: those of undone scenes are left out."""
        kept: list[Entry] = []
        for line in self.lines:
            kept = kept[: line.undone_to] if isinstance(line, Undone) else [*kept, line]
        return kept

    def append(self, line: Entry | Undone) -> None:
        """Adds an entry; it counts once it is on the disk."""
        lines = [self.header, *self.lines, line]
        with completed(self.folder / _LEDGER) as file:
            file.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in lines))
        self.lines.append(line)

    def write_scene(self, number: int, scene: Scene, rows: Rows) -> None:
        """Keeps a scene and its rows."""
        with completed(self._path("scenes", number, "arrow")) as file:
            file.write_bytes(encode(SceneFile(scene, "", {})).to_pybytes())
        content = io.BytesIO()
        scores = rows.scores
        arrays = {name: getattr(scores, name) for name in scores.__dataclass_fields__}
        np.savez(content, **rows.features._asdict(), dt_s=rows.dt_s, **arrays)
        with completed(self._path("rows", number, "npz")) as file:
            file.write_bytes(content.getvalue())

    def read_scene(self, number: int) -> Scene:
        """A kept scene; raises `ForecastError` if it is missing or damaged."""
        return decode(pa.py_buffer(self._read("scenes", number, "arrow"))).scene

    def read_rows(self, number: int) -> Rows:
        """The rows of a kept scene; raises `ForecastError` if they are missing."""
        with np.load(io.BytesIO(self._read("rows", number, "npz")), allow_pickle=False) as found:
            arrays = dict(found)
        found = HistoryFeatures(*(arrays.pop(name) for name in HistoryFeatures._fields))
        dt_s = float(arrays.pop("dt_s"))
        return Rows(CalibrationScores(**arrays), found, dt_s)

    def write_state(self, number: int, state: Mapping[str, Any]) -> None:
        """Keeps the state after a scene: tensors and plain values."""
        content = io.BytesIO()
        torch.save(dict(state), content)
        with completed(self._path("states", number, "pt")) as file:
            file.write_bytes(content.getvalue())

    def read_state(self, number: int) -> dict[str, Any]:
        """The state after a scene; raises `ForecastError` if it is missing."""
        content = io.BytesIO(self._read("states", number, "pt"))
        state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
        return state

    def _path(self, kind: str, number: int, suffix: str) -> Path:
        return self.folder / kind / f"{number:05d}.{suffix}"

    def _read(self, kind: str, number: int, suffix: str) -> bytes:
        path = self._path(kind, number, suffix)
        try:
            return path.read_bytes()
        except OSError:
            raise ForecastError(
                f"{path}: cannot be read, so the adaptation cannot go on from there; adapt again "
                "with another --out"
            ) from None


def read_ledger(path: Path) -> tuple[Header, list[Entry | Undone]]:
    """Reads a ledger.

    Args:
        path: The file ``ledger.jsonl``.

    Raises:
        ForecastError: It is missing or not a ledger of this version.
    """
    try:
        first, *rest = path.read_bytes().splitlines()
        return msgspec.json.decode(first, type=Header), [_line(each) for each in rest]
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise ForecastError(
            f"{path}: not a ledger of 'forecast adapt' ({error}); give its ledger.jsonl"
        ) from None


def _line(content: bytes) -> Entry | Undone:
    if content.startswith(b'{"undone_to"'):
        return msgspec.json.decode(content, type=Undone)
    return msgspec.json.decode(content, type=Entry)


def _differences(found: Header, wanted: Header) -> str:
    """The names of what differs between two headers."""
    names = {"weights_sha256": "weights", "old": "old data", "config": "settings"}
    names |= {"version": "version of the package", "torch": "version of torch"}
    # Through JSON, because a configuration in memory may hold tuples or other plain forms.
    one, other = (msgspec.json.decode(msgspec.json.encode(each)) for each in (found, wanted))
    return ", ".join(text for name, text in names.items() if one[name] != other[name])
