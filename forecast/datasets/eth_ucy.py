"""The ETH and UCY pedestrian recordings (Pellegrini et al. 2009, Lerner et al. 2007).

Text files with one row ``frame  pedestrian  x_m  y_m`` per person and annotated frame; 10 frames
are 0.4 s. A folder holds ``all/`` (whole recordings) and ``train/``, ``val/`` (each recording cut
in time). There are no vehicles and no map.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.scene import AgentKind, Scene

RECORDINGS = {
    "biwi_eth": "eth",
    "biwi_hotel": "hotel",
    "crowds_zara01": "zara",
    "crowds_zara02": "zara",
    "crowds_zara03": "zara",
    "students001": "university",
    "students003": "university",
    "uni_examples": "university",
}
"""The recordings and their sites."""

FOLDS = {
    "eth": ["biwi_eth"],
    "hotel": ["biwi_hotel"],
    "univ": ["students001", "students003"],
    "zara1": ["crowds_zara01"],
    "zara2": ["crowds_zara02"],
}
"""The recordings each leave-one-out fold is tested on."""

_FRAMES_PER_STEP = 10
_US_PER_FRAME = 40_000
_PARTS = {"train": "_train", "val": "_val", "all": ""}
"""Folder -> what its file names end with."""


class EthUcySource:
    """Scenes of the ETH/UCY recordings.

    Whole recordings carry their own name (``biwi_eth``), the parts ``biwi_eth_train`` and
    ``biwi_eth_val``. The splits of a fold f are ``f_train`` and ``f_val`` (those parts of every
    recording that is not tested in it) and ``f_test``; ``all_recordings`` is all whole ones.
    """

    name = "eth_ucy"
    protocol = "eth-ucy-v1"
    dt_s = 0.4

    def __init__(self, dataroot: Path | str) -> None:
        """Checks that every file is there.

        Args:
            dataroot: Folder that holds ``all/``, ``train/`` and ``val/``.

        Raises:
            ForecastError: A folder or file is missing.
        """
        self._files = {
            f"{recording}{suffix}": Path(dataroot) / folder / f"{recording}{suffix}.txt"
            for folder, suffix in reversed(_PARTS.items())
            for recording in RECORDINGS
        }
        for path in self._files.values():
            if not path.is_file():
                raise ForecastError(
                    f"{path}: no such file; give a folder with all/, train/ and val/ of the "
                    f"{len(RECORDINGS)} ETH/UCY recordings"
                )

    def fingerprint(self) -> str:
        """A hash of all files."""
        digest = hashlib.sha256(self.protocol.encode())
        for name, path in self._files.items():
            digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def scene_names(self) -> list[str]:
        """The whole recordings, then their parts."""
        return list(self._files)

    def splits(self) -> dict[str, list[str]]:
        """The leave-one-out folds, and ``all_recordings``."""
        splits = {}
        for fold, tested in FOLDS.items():
            others = [recording for recording in RECORDINGS if recording not in tested]
            splits[f"{fold}_train"] = [f"{recording}_train" for recording in others]
            splits[f"{fold}_val"] = [f"{recording}_val" for recording in others]
            splits[f"{fold}_test"] = tested
        return splits | {"all_recordings": list(RECORDINGS)}

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        """Reads one recording or part; no record is ever left out.

        Frames nobody was annotated in are steps nobody is seen at.

        Raises:
            ForecastError: The name is unknown, or a row is wrong; the message names its line.
        """
        if name not in self._files:
            raise ForecastError(
                f"scene '{name}' is unknown; one of {', '.join(self._files)} is needed"
            )
        return self._scene(name, _read_rows(self._files[name])), {}

    def _scene(self, name: str, rows: _Rows) -> Scene:
        persons, agent = np.unique(rows.persons, return_inverse=True)
        start = int(rows.frames.min())
        step = (rows.frames - start) // _FRAMES_PER_STEP
        positions = np.full((len(persons), step.max() + 1, 2), np.nan)
        positions[agent, step] = rows.xy_m
        frame_ids = np.full(step.max() + 1, "", "<U20")
        frame_ids[step] = rows.frames.astype(np.str_)
        scene = Scene.from_arrays(
            positions,
            np.full(len(persons), AgentKind.PEDESTRIAN),
            self.dt_s,
            agent_ids=[str(person) for person in persons],
            start_us=start * _US_PER_FRAME,
            id=name,
            location=RECORDINGS[name.removesuffix("_train").removesuffix("_val")],
        )
        return replace(scene, frame_ids=frame_ids)


@dataclass(frozen=True)
class _Rows:
    """The rows of a file: frames and persons ``[N]``, positions ``[N, 2]``."""

    frames: NDArray[np.int64]
    persons: NDArray[np.int64]
    xy_m: NDArray[np.float64]


def _read_rows(path: Path) -> _Rows:
    numbers, values = [], []
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            frame, person, x, y = map(float, line.split())
        except ValueError:
            raise ForecastError(
                f"{path}: line {number} is '{line.strip()}'; four numbers "
                "'frame pedestrian x_m y_m' are needed"
            ) from None
        numbers.append(number)
        values.append((frame, person, x, y))
    if not values:
        raise ForecastError(f"{path}: the file has no row; at least one is needed")
    lines, table = np.array(numbers), np.array(values)
    _check(path, lines, ~np.isfinite(table).all(axis=1), "a value is not finite; repair it")
    fraction = (table[:, :2] % 1 != 0).any(axis=1)
    _check(path, lines, fraction, "frame and pedestrian must be whole numbers; repair them")
    frames, persons = table[:, :2].astype(np.int64).T
    _check(
        path,
        lines,
        frames % _FRAMES_PER_STEP != 0,
        f"the frame is not a multiple of {_FRAMES_PER_STEP} (10 frames = 0.4 s); resample the file",
    )
    _, first, row = np.unique(table[:, :2], axis=0, return_index=True, return_inverse=True)
    again = first[row.reshape(-1)] != np.arange(len(table))
    _check(path, lines, again, "the pedestrian is in this frame already; keep one of the rows")
    return _Rows(frames, persons, table[:, 2:])


def _check(path: Path, lines: NDArray[np.int64], bad: NDArray[np.bool_], problem: str) -> None:
    if bad.any():
        raise ForecastError(f"{path}: line {lines[bad][0]}: {problem}")
