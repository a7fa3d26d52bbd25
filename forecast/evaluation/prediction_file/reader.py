"""Reads and checks files of predictions; every error is one line that names the row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forecast.datasets.store import SceneStore
from forecast.errors import ForecastError
from forecast.evaluation.prediction_file.predictor import (
    PredictionFilePredictor,
    PredictionFileWindow,
)
from forecast.scene import AgentKind, Scene, Tracks
from forecast.scene.agents import FASTEST_MPS
from forecast.scene.prediction_rows import MODE_SAMPLE

_TEXTS = ("scene_id", "agent_id")
_NUMBERS = ("at_us", "sample", "weight", "step", "x_m", "y_m")
_NEEDED = ("instance", "sample", "prediction", "probabilities")
_SUM_TOLERANCE, _SUM_ROUNDING = 0.02, 1e-6
_SLACK = 2.0
"""An agent may be predicted at this multiple of its recorded speed, also where that is faster than
`FASTEST_MPS`: some people in Stanford's data are on wheels."""

_ROUNDING_MPS = 0.5
"""A future at `FASTEST_MPS` exceeds it by rounding. Faster ones are in another frame or of other
agents."""


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a file in scored scenes.

    Attributes:
        path: The file.
        scene: A column ``[R]`` of the file, as the next ones are.
        name: The name of a row in messages.
        skipped: Of each prediction in another scene, the name of the scene or of the keyframe.
    """

    path: Path
    scene: NDArray[Any]
    agent: NDArray[Any]
    at_us: NDArray[np.int64]
    sample: NDArray[np.int64]
    weight: NDArray[np.float64]
    step: NDArray[np.int64]
    xy_m: NDArray[np.float64]
    name: Callable[[int], str]
    skipped: list[str]

    def __len__(self) -> int:
        return len(self.at_us)

    @cached_property
    def future(self) -> NDArray[np.int64]:
        """The future that each row belongs to: scene, time, agent and sample ``[R, 4]``."""
        scene, agent = (
            np.unique(names.astype(str), return_inverse=True)[1]
            for names in (self.scene, self.agent)
        )
        return np.stack([scene, self.at_us, agent, self.sample], axis=1)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """The rows in the order of their futures, step after step."""
        return np.lexsort((self.step, *self.future.T[::-1]))

    def refuse(self, bad: NDArray[np.bool_], words: Callable[[int], str]) -> None:
        """Raises `ForecastError` for the first bad row."""
        if bad.any():
            row = int(bad.argmax())
            raise self.error(row, words(row))

    def error(self, row: int, words: str) -> ForecastError:
        """The error of a row."""
        return ForecastError(
            f"{self.path}: {self.name(row)} ({self.scene[row]}, {self.agent[row]}, "
            f"{self.at_us[row]} us, sample {self.sample[row]}, step {self.step[row]}): {words}"
        )


def read_predictions(
    path: Path, store: SceneStore, scenes: list[str], horizon_steps: int
) -> PredictionFilePredictor:
    """Reads the predictions of another program.

    See `forecast.evaluation.prediction_file.predictor` for the formats.

    Args:
        path: A ``.parquet`` or ``.json`` file.
        store: The store they are scored on.
        scenes: The scored scenes.
        horizon_steps: Steps every prediction must have.

    Raises:
        ForecastError: Something in the file is wrong; the message names the row.
    """
    read = _from_json if path.suffix == ".json" else _from_parquet
    rows = read(path, store, scenes)
    if len(rows) == 0:
        raise ForecastError(_nothing_left(rows, store))
    _check_numbers(rows)
    _check_repeats(rows)
    start_m, fastest = _check_places(rows, store)
    windows, renormalised = _windows(rows, horizon_steps)
    _check_speeds(rows, start_m, fastest, store.dt_s)
    lengths = [window.samples for window in windows.values() if window.samples is not None]
    counts = {
        "read": sum(len(window.agent_ids) for window in windows.values()),
        "skipped": len(rows.skipped),
        "renormalised": renormalised,
        "padded": sum(int((each < each.max()).sum()) for each in lengths),
    }
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return PredictionFilePredictor(path.stem, windows, counts=counts, sha256=digest)


def read_back(
    path: Path, store: SceneStore, places: Collection[tuple[str, int]], horizon_steps: int
) -> PredictionFilePredictor:
    """Reads some windows of a file that `PredictionsWriter` wrote.

    Args:
        path: A ``.parquet`` file.
        store: The store it was predicted on.
        places: Scene and time of each wanted window.
        horizon_steps: Steps of every prediction.
    """
    scenes, times = [scene for scene, _ in places], [at_us for _, at_us in places]
    only = [("scene_id", "in", scenes), ("at_us", "in", times)]
    windows, _ = _windows(_from_parquet(path, store, scenes, only), horizon_steps)
    return PredictionFilePredictor(path.stem, windows)


def _from_parquet(
    path: Path, store: SceneStore, scenes: list[str], only: list[Any] | None = None
) -> _Rows:
    """The rows in some scenes that meet filters; see `pyarrow.parquet.read_table`."""
    try:
        table = pq.read_table(path, filters=only).unify_dictionaries()
    except (pa.ArrowException, OSError) as error:
        line = str(error).splitlines()[0]
        raise ForecastError(f"{path}: not a Parquet file that can be read: {line}") from error
    missing = [name for name in (*_TEXTS, *_NUMBERS) if name not in table.column_names]
    if missing:
        raise ForecastError(
            f"{path}: has no column '{missing[0]}'; {', '.join((*_TEXTS, *_NUMBERS))} are needed"
        )
    every = np.arange(len(table))
    wanted, named = set(scenes), _column(path, table, "scene_id", every)
    of_scored = np.fromiter((name in wanted for name in named), bool, len(table))
    others = table.filter(~of_scored).group_by(["scene_id", "agent_id", "at_us"]).aggregate([])
    table, numbers = table.filter(of_scored), every[of_scored]
    column = {name: _column(path, table, name, numbers) for name in (*_TEXTS, *_NUMBERS)}
    rows = _Rows(
        path=path,
        scene=column["scene_id"],
        agent=column["agent_id"],
        at_us=column["at_us"],
        sample=column["sample"],
        weight=column["weight"],
        step=column["step"],
        xy_m=np.stack([column["x_m"], column["y_m"]], axis=-1),
        name=lambda row: f"row {numbers[row]}",
        skipped=others["scene_id"].cast(pa.string()).to_pylist(),
    )
    if "dt_s" in table.column_names:
        dt_s = table["dt_s"].to_numpy()
        rows.refuse(
            ~(np.abs(dt_s - store.dt_s) < 1e-6),
            lambda row: f"dt_s is {dt_s[row]}; the store's {store.dt_s} s is needed: resample",
        )
    return rows


def _column(path: Path, table: pa.Table, name: str, numbers: NDArray[np.int64]) -> NDArray[Any]:
    """A column as an array ``[R]``; ``numbers [R]`` are those of its rows in the file."""
    wanted = np.int64 if name in ("at_us", "sample", "step") else np.float64
    column = table[name]
    if column.null_count:
        row = numbers[column.is_null().to_pylist().index(True)]
        raise ForecastError(f"{path}: row {row}: {name} is missing; fill it in")
    try:
        if name in _TEXTS:
            return np.array(column.cast(pa.string()).to_pylist(), dtype=object)
        return column.to_numpy().astype(wanted, casting="same_kind")
    except (pa.ArrowException, TypeError, ValueError) as error:
        kind = "text" if name in _TEXTS else np.dtype(wanted).name
        raise ForecastError(f"{path}: column {name} is {column.type}; {kind} is needed") from error


def _from_json(path: Path, store: SceneStore, scenes: list[str]) -> _Rows:
    """Every record (agent and sample token) in some scenes becomes K times T rows."""
    times = {
        token: (name, int(at_us)) for name in scenes for token, at_us in _keyframes(store[name])
    }
    records, skipped = _records(path, times)
    parts = [_record(f"{path}: record {each}", records[each], times) for each in records]
    owner = np.repeat(list(records), [len(part["step"]) for part in parts])
    column: dict[str, Any] = {
        name: np.concatenate([part[name] for part in parts]) if parts else np.zeros(0)
        for name in ("scene", "agent", "at_us", "sample", "weight", "step", "xy_m")
    }
    return _Rows(path=path, **column, name=lambda row: f"record {owner[row]}", skipped=skipped)


def _keyframes(scene: Scene) -> list[tuple[str, int]]:
    """Token and time of each keyframe that has a token."""
    pairs = zip(scene.frame_ids.tolist(), scene.timestamps_us.tolist(), strict=True)
    return [pair for pair in pairs if pair[0]]


def _records(path: Path, times: Collection[str]) -> tuple[dict[int, Any], list[str]]:
    """The records at scored keyframes by their place in the file, and the others' keyframes."""
    kept: dict[int, Any] = {}
    skipped: list[str] = []
    first: dict[tuple[str, str], int] = {}
    for index, record in enumerate(_listed(path)):
        where = f"{path}: record {index}"
        if not isinstance(record, dict) or any(name not in record for name in _NEEDED):
            raise ForecastError(f"{where}: {', '.join(_NEEDED)} are needed")
        instance, sample = (_name(where, record, name) for name in ("instance", "sample"))
        if sample not in times:
            skipped.append(sample)
            continue
        earlier = first.setdefault((instance, sample), index)
        if earlier != index:
            raise ForecastError(
                f"{where} repeats record {earlier} (instance '{instance}', sample '{sample}'): "
                "keep one"
            )
        kept[index] = {**record, "instance": instance, "sample": sample}
    return kept, skipped


def _listed(path: Path) -> list[Any]:
    """The list that a JSON file holds."""
    try:
        content = json.loads(path.read_bytes())  # bytes, because json finds out the encoding
    except (OSError, ValueError, RecursionError) as error:
        raise ForecastError(f"{path}: not JSON that can be read: {error}") from error
    if isinstance(content, dict):
        content = content.get("predictions", content.get("results"))
    if not isinstance(content, list):
        raise ForecastError(
            f"{path}: holds no list; records of {', '.join(_NEEDED)} are needed, as a list or "
            "under 'predictions'"
        )
    return content


def _name(where: str, record: Mapping[str, Any], key: str) -> str:
    """A record's text; whole numbers are taken too."""
    value = record[key]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ForecastError(f"{where}: {key} is {str(value)[:40]}; a name is needed")
    return str(value)


def _record(
    where: str, record: Any, times: Mapping[str, tuple[str, int]]
) -> dict[str, NDArray[Any]]:
    futures, weights = _modes(where, record)
    scene, at_us = times[record["sample"]]
    samples, steps = futures.shape[:2]
    count = samples * steps
    return {
        "scene": np.full(count, scene, object),
        "agent": np.full(count, record["instance"], object),
        "at_us": np.full(count, at_us, np.int64),
        "sample": np.repeat(np.arange(samples), steps),
        "weight": np.repeat(weights, steps),
        "step": np.tile(np.arange(1, steps + 1), samples),
        "xy_m": futures.reshape(-1, 2),
    }


def _modes(where: str, record: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Futures ``[K, T, 2]`` and weights ``[K]`` of a record; a batch axis of 1 is dropped."""
    try:
        futures = np.array(record["prediction"], np.float64)
        weights = np.array(record["probabilities"], np.float64)
    except (TypeError, ValueError, OverflowError):
        words = "prediction and probabilities must be numbers [K, T, 2] and [K]"
        raise ForecastError(f"{where}: {words}") from None
    if futures.ndim == 4 and len(futures) == 1:
        futures = futures[0]
    if weights.ndim == 2 and len(weights) == 1:
        weights = weights[0]
    if futures.ndim != 3 or futures.shape[-1] != 2 or weights.shape != futures.shape[:1]:
        raise ForecastError(
            f"{where}: prediction has shape {list(futures.shape)} and probabilities "
            f"{list(weights.shape)}; [K, T, 2] and [K] are needed"
        )
    return futures, weights


def _nothing_left(rows: _Rows, store: SceneStore) -> str:
    """Why a file holds no prediction in the scored scenes."""
    if not rows.skipped:
        return f"{rows.path}: holds no prediction; predict every scored pedestrian"
    known = {token for name in store for token, _ in _keyframes(store[name])} | set(store)
    inside = sum(name in known for name in rows.skipped)
    return (
        f"{rows.path}: none of its {len(rows.skipped)} predictions is in a scored scene: {inside} "
        f"are in other scenes of {store.path}, {len(rows.skipped) - inside} in none of it, such as "
        f"'{rows.skipped[0]}'; score the split that they are of"
    )


def _check_numbers(rows: _Rows) -> None:
    rows.refuse(
        ~np.isfinite(rows.xy_m).all(axis=1),
        lambda row: f"the position is {rows.xy_m[row].tolist()}; finite metres are needed",
    )
    rows.refuse(
        ~(np.isfinite(rows.weight) & (rows.weight >= 0)),
        lambda row: f"the weight is {rows.weight[row]}; a number from 0 to 1 is needed",
    )


def _check_repeats(rows: _Rows) -> None:
    """Refuses two rows of the same step of the same future."""
    order = rows.order
    keys = np.column_stack([rows.future, rows.step])[order]
    again = np.flatnonzero((keys[1:] == keys[:-1]).all(axis=1))
    if len(again):
        place = again[order[again + 1].argmin()]
        first, second = (int(order[each]) for each in (place, place + 1))
        raise rows.error(second, f"repeats {rows.name(first)} (scene_id to step): keep one")


def _check_places(
    rows: _Rows, store: SceneStore
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Checks that times and agents exist.

    Returns:
        The position of each row's agent at the prediction time ``[R, 2]``, and its highest accepted
        speed in m/s ``[R]``.
    """
    names, which = np.unique(rows.scene.astype(str), return_inverse=True)
    problem = np.zeros(len(rows), np.int8)
    fastest, start_m = np.zeros(len(rows)), np.zeros((len(rows), 2))
    for index, name in enumerate(names.tolist()):
        mine = np.flatnonzero(which == index)
        problem[mine], start_m[mine], fastest[mine] = _places(rows, mine, store, name)
    for code, words in (
        (1, "that is no step of the scene; other clock or other dt?"),
        (2, "the scene has no such agent"),
        (3, "the agent is not seen then; predict only agents that are seen"),
    ):
        rows.refuse(problem == code, lambda row, words=words: words)  # type: ignore[misc]
    return start_m, fastest


def _check_speeds(
    rows: _Rows, start_m: NDArray[np.float64], fastest: NDArray[np.float64], dt_s: float
) -> None:
    """Checks that no step of a future is faster than accepted.

    Args:
        rows: The rows.
        start_m: See `_check_places`.
        fastest: See there.
        dt_s: Step length.
    """
    order = rows.order
    begins = rows.step[order] == 1
    before = np.where(begins[:, None], start_m[order], np.roll(rows.xy_m[order], 1, axis=0))
    speed = np.zeros(len(rows))
    speed[order] = np.hypot(*(rows.xy_m[order] - before).T) / dt_s
    what = {True: "the agent, where it is when predicted", False: "the step before"}
    rows.refuse(
        speed > fastest,
        lambda row: (
            f"the position lies {speed[row] * dt_s:.1f} m from {what[bool(rows.step[row] == 1)]}: "
            f"{speed[row]:.1f} m/s, more than the {fastest[row]:.1f} m/s that such an agent is "
            "held to; metres in the world's frame and steps in their order are needed"
        ),
    )


def _places(
    rows: _Rows, mine: NDArray[np.int64], store: SceneStore, name: str
) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64]]:
    """Error codes of some rows of a scene (0: none), the agents' positions and accepted speeds."""
    scene = store[name]
    stamps, agents = scene.timestamps_us, scene.tracks.agent_ids
    step = np.clip(np.searchsorted(stamps, rows.at_us[mine]), 0, len(stamps) - 1)
    order = np.argsort(agents)
    named = rows.agent[mine].astype(str)
    place = order[np.clip(np.searchsorted(agents[order], named), 0, len(agents) - 1)]
    here = scene.tracks.positions_m[place, step] + scene.origin_m
    seen = scene.tracks.valid[place, step]
    problems = [stamps[step] != rows.at_us[mine], agents[place] != named, ~seen]
    problem = np.select(problems, [1, 2, 3], 0)
    return problem.astype(np.int8), here, _fastest(scene.tracks, scene.dt_s)[place]


def _fastest(tracks: Tracks, dt_s: float) -> NDArray[np.float64]:
    """The highest accepted speed of each agent ``[A]``; see `_SLACK`."""
    steps_m = np.diff(tracks.positions_m.astype(np.float64), axis=1)
    both = tracks.valid[:, 1:] & tracks.valid[:, :-1]
    recorded = np.where(both, np.hypot(*np.moveaxis(steps_m, -1, 0)), 0.0).max(axis=1, initial=0)
    usual = [FASTEST_MPS[AgentKind(kind)] + _ROUNDING_MPS for kind in tracks.kinds.tolist()]
    return np.maximum(usual, _SLACK * recorded / dt_s)


def _windows(
    rows: _Rows, horizon_steps: int
) -> tuple[dict[tuple[str, int], PredictionFileWindow], int]:
    """The rows by window; checks that every agent has samples 0 to K - 1 and steps 1 to T.

    Returns:
        The windows, and how many predictions had weights that did not sum to 1.
    """
    order = rows.order
    future = rows.future[order]
    starts = _starts(future)
    _check_steps(rows, order, starts, horizon_steps)
    heads = order[starts]  # [F] the first row of each future
    xy = rows.xy_m[order].reshape(len(heads), horizon_steps, 2)
    weight = rows.weight[order].reshape(len(heads), horizon_steps)
    uneven = np.zeros(len(rows), bool)
    uneven[heads] = np.ptp(weight, axis=1) > 1e-9
    rows.refuse(uneven, lambda row: "its weight changes from step to step; give it one")
    of_agent = np.append(_starts(future[starts][:, :3]), len(heads))
    found: dict[tuple[str, int], list[tuple[str, Any, Any, Any]]] = {}
    renormalised = 0
    for begin, end in pairwise(of_agent):
        row = int(heads[begin])
        has_mode = rows.sample[row] == MODE_SAMPLE
        first = begin + int(has_mode)
        total = float(weight[first:end, 0].sum())
        _check_samples(rows, heads[first:end], row, total)
        renormalised += abs(total - 1) > _SUM_ROUNDING
        mode = xy[begin] if has_mode else None
        entry = (rows.agent[row], xy[first:end], weight[first:end, 0] / total, mode)
        found.setdefault((str(rows.scene[row]), int(rows.at_us[row])), []).append(entry)
    windows = {place: _window(place, entries) for place, entries in found.items()}
    return windows, int(renormalised)


def _starts(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Start indices of runs of equal rows of sorted keys ``[R, C]``."""
    change = np.ones(len(keys), bool)
    change[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    return np.flatnonzero(change)


def _check_steps(
    rows: _Rows, order: NDArray[np.int64], starts: NDArray[np.int64], horizon_steps: int
) -> None:
    """Checks that every future has each step from 1 to the horizon once."""
    length = np.diff(np.append(starts, len(order)))
    expected = np.arange(len(order)) - np.repeat(starts, length) + 1
    wrong = np.zeros(len(rows), bool)
    wrong[order] = (rows.step[order] != expected) | (expected > horizon_steps)
    short = np.zeros(len(rows), bool)
    short[order[starts + length - 1]] = length < horizon_steps
    rows.refuse(
        wrong | short,
        lambda row: f"steps 1 to {horizon_steps}, each once, are needed of every sample",
    )


def _check_samples(rows: _Rows, heads: NDArray[np.int64], row: int, total: float) -> None:
    """Checks that an agent's samples count from 0 and that their weights sum to 1."""
    if rows.sample[heads].tolist() != list(range(len(heads))) or len(heads) == 0:
        raise rows.error(row, "the agent's samples must be numbered from 0 on")
    if abs(total - 1) > _SUM_TOLERANCE + _SUM_ROUNDING:
        raise rows.error(
            row, f"the agent's weights sum to {total:.6f}; 1 is needed, give or take rounding (2 %)"
        )


def _window(
    place: tuple[str, int], entries: list[tuple[str, Any, Any, Any]]
) -> PredictionFileWindow:
    agents, futures, weights, modes = zip(*entries, strict=True)
    if len({mode is None for mode in modes}) > 1:
        raise ForecastError(
            f"{place[0]} at {place[1]} us: some agents have a best guess (sample {MODE_SAMPLE}), "
            "others none; give it for all or for none"
        )
    samples = np.array([len(each) for each in weights])
    missing = samples.max() - samples
    return PredictionFileWindow(
        agent_ids=np.array(agents, np.str_),
        positions_m=np.stack(
            [
                np.pad(each, ((0, more), (0, 0), (0, 0)), mode="edge")
                for each, more in zip(futures, missing, strict=True)
            ]
        ),
        weights=np.stack(
            [np.pad(each, (0, more)) for each, more in zip(weights, missing, strict=True)]
        ),
        mode_m=None if modes[0] is None else np.stack(modes),
        samples=samples if missing.any() else None,
    )
