"""Text files with one row ``frame  person  x_m  y_m`` per person and annotated frame."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.scene import AgentKind, Scene


@dataclass(frozen=True)
class AnnotationRows:
    """The rows of a file, as columns.

    Attributes:
        frames: Frame numbers of the file ``[N]``.
        persons: Numbers of the persons ``[N]``.
        xy_m: Positions ``[N, 2]``.
        frames_per_step: Difference of the frame numbers of two successive steps.
    """

    frames: NDArray[np.int64]
    persons: NDArray[np.int64]
    xy_m: NDArray[np.float64]
    frames_per_step: int

    def select(self, kept: NDArray[np.bool_]) -> AnnotationRows:
        """Returns the rows that a mask ``[N]`` selects."""
        return replace(
            self, frames=self.frames[kept], persons=self.persons[kept], xy_m=self.xy_m[kept]
        )

    def scene(self, name: str, location: str, dt_s: float) -> Scene:
        """Builds a scene of pedestrians, without a map and without recorded headings.

        Nobody is seen at a step whose frame has no row.

        Args:
            name: Name of the scene.
            location: Where it was recorded.
            dt_s: Step length.
        """
        persons, agent = np.unique(self.persons, return_inverse=True)
        start = int(self.frames.min())
        step = (self.frames - start) // self.frames_per_step
        positions = np.full((len(persons), step.max() + 1, 2), np.nan)
        positions[agent, step] = self.xy_m
        frame_ids = np.full(step.max() + 1, "", "<U20")
        frame_ids[step] = self.frames.astype(np.str_)
        scene = Scene.from_arrays(
            positions,
            np.full(len(persons), AgentKind.PEDESTRIAN),
            dt_s,
            agent_ids=[str(person) for person in persons],
            start_us=round(start / self.frames_per_step * dt_s * 1e6),
            id=name,
            location=location,
        )
        return replace(scene, frame_ids=frame_ids)


def hash_of(prefix: str, files: Mapping[str, Path]) -> str:
    """Returns a hash of a text and of all files with their names."""
    digest = hashlib.sha256(prefix.encode())
    for name, path in files.items():
        digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def read_rows_file(path: Path, frames_per_step: int) -> AnnotationRows:
    """Reads a file of rows.

    Args:
        path: The file.
        frames_per_step: Difference of the frame numbers of two successive steps.

    Raises:
        ForecastError: A row is wrong. The message names its line.
    """
    lines, table = _numbers(path)
    _check(path, lines, ~np.isfinite(table).all(axis=1), "a value is not finite; repair it")
    fraction = (table[:, :2] % 1 != 0).any(axis=1)
    _check(path, lines, fraction, "frame and pedestrian must be whole numbers; repair them")
    frames, persons = table[:, :2].astype(np.int64).T
    problem = (
        f"the frame is not a multiple of {frames_per_step} ({frames_per_step} frames = 0.4 s); "
        "resample the file"
    )
    _check(path, lines, frames % frames_per_step != 0, problem)
    _, first, row = np.unique(table[:, :2], axis=0, return_index=True, return_inverse=True)
    repeated = first[row.reshape(-1)] != np.arange(len(table))
    _check(path, lines, repeated, "the pedestrian is in this frame already; keep one of the rows")
    return AnnotationRows(frames, persons, table[:, 2:], frames_per_step)


def _numbers(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Returns line numbers ``[N]`` and the four numbers of each row ``[N, 4]``."""
    lines, values = [], []
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
        lines.append(number)
        values.append((frame, person, x, y))
    if not values:
        raise ForecastError(f"{path}: the file has no row; at least one is needed")
    return np.array(lines), np.array(values)


def _check(path: Path, lines: NDArray[np.int64], bad: NDArray[np.bool_], problem: str) -> None:
    """Raises `ForecastError` with the first bad line, if there is one."""
    if bad.any():
        raise ForecastError(f"{path}: line {lines[bad][0]}: {problem}")
