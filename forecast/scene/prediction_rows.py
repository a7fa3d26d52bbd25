"""Predictions as rows of a Parquet file, the form that ``forecast evaluate --predictor`` reads.

One row is one step of one future of one agent, in the world's frame. `PREDICTION_ROWS` has the
columns that an evaluation needs. `Prediction.save` adds the step length, the origin, and the arrays
that no row can hold (spread, fallback, positions now, tubes, modes). So `Prediction.load` gives
back the same.

Imported only when it is used, because it loads pyarrow.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forecast.errors import ForecastError, require
from forecast.files import completed
from forecast.scene.arguments import parse_list, real_number
from forecast.scene.modes import ModeSet
from forecast.scene.parsing import parse_names
from forecast.scene.tubes import Tubes

if TYPE_CHECKING:
    from forecast.scene.prediction import Prediction

MODE_SAMPLE = -1
"""``sample`` of the rows of a best guess that is not among the samples; their weight is 0."""

_NAME = pa.dictionary(pa.int32(), pa.string())
PREDICTION_ROWS = pa.schema(
    [
        ("scene_id", _NAME),
        ("agent_id", _NAME),
        ("at_us", pa.int64()),
        ("sample", pa.int32()),
        ("weight", pa.float64()),
        ("step", pa.int32()),
        ("x_m", pa.float64()),
        ("y_m", pa.float64()),
    ]
)
"""One row per agent, sample and step (from 1); positions in the world's frame."""

_ORIGIN = ["origin_x_m", "origin_y_m"]
"""Columns of the origin: a file has both or none."""

_UNREADABLE = (
    *(ValueError, TypeError, KeyError, AttributeError, IndexError),
    *(OSError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error),
)
"""What NumPy, `zipfile` and the types raise where arrays are not those that were written."""

_SAVED = pa.schema(
    [
        *PREDICTION_ROWS,
        ("dt_s", pa.float64()),
        *((name, pa.float64()) for name in _ORIGIN),
        ("arrays", pa.binary()),
    ]
)
"""``arrays`` holds further arrays of a prediction as an ``.npz`` file, in its first row only."""

_MODES = "modes."
_WEIGHT_ROUNDING = 1e-9


def prediction_columns(
    prediction: Prediction, agents: NDArray[np.bool_], scene_id: str
) -> dict[str, Any]:
    """The columns of `PREDICTION_ROWS`, in the order of agents, samples and steps.

    Args:
        prediction: The prediction.
        agents: Mask of the N agents to write ``[A]``.
        scene_id: Name of the scene.
    """
    futures, weights = prediction.positions_m[:, agents], prediction.weights
    numbers = np.arange(len(weights))
    if prediction.mode_m is not None:
        futures = np.concatenate([prediction.mode_m[None, agents], futures])
        weights = np.concatenate([[0.0], weights])
        numbers = np.concatenate([[MODE_SAMPLE], numbers])
    shape = (int(agents.sum()), len(weights), prediction.steps)
    world = futures.swapaxes(0, 1) + prediction.origin_m  # [N, K, T, 2]

    def column(values: Any) -> NDArray[Any]:
        return np.broadcast_to(values, shape).ravel()

    agent = column(np.arange(shape[0], dtype=np.int32)[:, None, None])
    names = prediction.agent_ids[agents].tolist()
    return {
        "scene_id": pa.DictionaryArray.from_arrays(np.zeros_like(agent), [scene_id]),
        "agent_id": pa.DictionaryArray.from_arrays(agent, names),
        "at_us": column(prediction.at_us),
        "sample": column(numbers[:, None].astype(np.int32)),
        "weight": column(weights[:, None]),
        "step": column(np.arange(1, shape[2] + 1, dtype=np.int32)),
        "x_m": column(world[..., 0]),
        "y_m": column(world[..., 1]),
    }


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Writes predictions; see `forecast.scene.prediction.save_predictions`."""
    good = path.suffix == ".parquet" and path.parent.is_dir()
    require(good, "path", path, "a name that ends in .parquet, in a folder that is there,")
    places: set[tuple[str, int]] = set()
    with completed(path) as file, pq.ParquetWriter(file, _SAVED, compression="zstd") as writer:
        for prediction in parse_list("predictions", predictions):
            _check(prediction, places)
            places.add((prediction.scene_id, prediction.at_us))
            if prediction.valid.any():
                writer.write_table(_table(prediction))


def _check(prediction: Prediction, places: set[tuple[str, int]]) -> None:
    """Refuses a prediction that the rows of the file would not tell apart from another."""
    scene_id, at_us = prediction.scene_id, prediction.at_us
    parse_names(f"{scene_id} at {at_us} us", prediction.agent_ids[prediction.valid])
    if not scene_id:
        raise ForecastError(
            "scene_id is ''; the name of the predicted scene is needed: "
            "dataclasses.replace(prediction, scene_id=…)"
        )
    if (scene_id, at_us) in places:
        raise ForecastError(
            f"{scene_id} at {at_us} us: there are two predictions; one is needed, or two files"
        )


def _table(prediction: Prediction) -> pa.Table:
    """The rows of a prediction."""
    columns = prediction_columns(prediction, prediction.valid, prediction.scene_id)
    rows = len(columns["step"])
    x_m, y_m = prediction.origin_m
    columns |= {
        "dt_s": np.full(rows, prediction.dt_s),
        "origin_x_m": np.full(rows, x_m),
        "origin_y_m": np.full(rows, y_m),
        "arrays": pa.array([_packed(prediction), *[None] * (rows - 1)], pa.binary()),
    }
    return pa.table(columns, schema=_SAVED)


def _packed(prediction: Prediction) -> bytes | None:
    """What no row can hold of the predicted agents, as an ``.npz`` file, or None.

    It also holds the agents' names, because the rows of a file may be put in another order.
    """
    kept, tubes = prediction.valid, prediction.tubes
    fields = {name: getattr(prediction, name) for name in ("spread_m", "fallback", "now_m")}
    arrays: dict[str, Any] = {
        name: value[kept] for name, value in fields.items() if value is not None
    }
    if tubes is not None:
        own = vars(tubes.select(kept))
        arrays |= {f"tubes.{name}": np.asarray(value) for name, value in own.items()}
    for modes in prediction.mode_sets:
        own = vars(modes.select(kept))
        arrays |= {f"{_MODES}{modes.count}.{name}": value for name, value in own.items()}
    if not arrays:
        return None
    file = io.BytesIO()
    np.savez(file, agent_ids=prediction.agent_ids[kept], **arrays)
    return file.getvalue()


def _unpacked(
    packed: NDArray[Any], agent_ids: NDArray[np.str_], refused: ForecastError
) -> dict[str, Any]:
    """The fields of a prediction that `_packed` wrote.

    Args:
        packed: The column ``arrays`` of its rows.
        agent_ids: Its agents, in the order of the rows.
        refused: Raised if the column holds something else.
    """
    contents = [content for content in packed if content is not None]
    if not contents:
        return {}
    try:
        with np.load(io.BytesIO(contents[0])) as file:
            fields: dict[str, Any] = dict(file)
        if np.array_equal(fields.pop("agent_ids"), agent_ids):
            return _as_fields(fields)
    except _UNREADABLE:
        pass
    raise refused


def _as_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a prediction as its fields; raises one of `_UNREADABLE` if some are missing."""
    names = [name for name in fields if name.startswith("tubes.")]
    own = {name.removeprefix("tubes."): fields.pop(name) for name in names}
    if own:
        levels = tuple(own.pop("levels").tolist())
        fields["tubes"] = Tubes(**own, levels=levels)
    counts = {int(name.split(".")[1]) for name in fields if name.startswith(_MODES)}
    fields["mode_sets"] = tuple(
        ModeSet(*(fields.pop(f"{_MODES}{count}.{name}") for name in ModeSet.__annotations__))
        for count in sorted(counts)
    )
    return fields


def read_predictions(path: Path, dt_s: float | None) -> Iterator[dict[str, Any]]:
    """Reads predictions; see `forecast.scene.prediction.load_predictions`.

    Yields:
        The fields of each `Prediction`, in the order of the file.
    """
    if dt_s is not None:
        real_number("dt_s", dt_s, "a step in seconds")
    require(path.is_file(), str(path), "no file", "a .parquet file")  # pyarrow reads folders too
    try:
        table = pq.read_table(path).unify_dictionaries()
    except (pa.ArrowException, OSError) as error:
        line = str(error).splitlines()[0]
        raise ForecastError(f"{path}: not a Parquet file that can be read: {line}") from None
    origin = _ORIGIN if any(name in table.column_names for name in _ORIGIN) else []
    for name in (names := [*PREDICTION_ROWS.names, *origin]):
        if name not in table.column_names or table[name].null_count:
            needed = ", ".join(names)
            raise ForecastError(
                f"{path}: column '{name}' is missing or not full; {needed} are needed"
            )
    columns = {
        name: _array(path, table, name) for name in _SAVED.names if name in table.column_names
    }
    _check_step(path, columns, dt_s)
    for rows in _groups(columns["scene_id"], columns["at_us"]):
        yield _fields(path, {name: values[rows] for name, values in columns.items()})


def _array(path: Path, table: pa.Table, name: str) -> NDArray[Any]:
    kind = _SAVED.field(name).type
    kind = pa.string() if kind == _NAME else kind
    try:
        return np.asarray(table[name].cast(kind).to_numpy())
    except (pa.ArrowException, UnicodeDecodeError):
        found, needed = table[name].type, f"{kind} in UTF-8" if kind == pa.string() else kind
        raise ForecastError(f"{path}: column {name} is {found}; {needed} is needed") from None


def _check_step(path: Path, columns: dict[str, NDArray[Any]], dt_s: float | None) -> None:
    """Puts the step length into the columns of a file that does not have it."""
    needed = "a step in seconds"
    if dt_s is not None:
        require(0 < real_number("dt_s", dt_s, needed) < math.inf, "dt_s", dt_s, f"{needed} above 0")
    if "dt_s" not in columns:
        if dt_s is None:
            raise ForecastError(f"{path}: has no column dt_s; give dt_s, the step in seconds")
        columns["dt_s"] = np.full(len(columns["step"]), dt_s)
    for found in np.unique(columns["dt_s"]).tolist():
        require(0 < found < math.inf, f"{path}: dt_s", found, f"{needed} above 0")
        same = dt_s is None or abs(found - dt_s) < _WEIGHT_ROUNDING
        require(same, f"{path}: dt_s", found, f"{dt_s} as asked, or no dt_s,")


def _groups(scenes: NDArray[Any], at_us: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows of each scene and time, in the order in which these first come."""
    codes, times = (np.unique(values, return_inverse=True)[1] for values in (scenes, at_us))
    keys = codes * (times.max(initial=0) + 1) + times
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))[group]
    order = np.argsort(rank, kind="stable")
    return np.split(order, np.cumsum(np.bincount(rank))[:-1]) if len(order) else []


def _fields(path: Path, rows: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """The fields of the prediction of one scene and time."""
    scene_id, at_us = str(rows["scene_id"][0]), int(rows["at_us"][0])
    names, first, agent = np.unique(
        rows["agent_id"].astype(np.str_), return_index=True, return_inverse=True
    )
    agent = np.argsort(np.argsort(first))[agent]
    samples, sample = np.unique(rows["sample"], return_inverse=True)
    shape = len(names), len(samples), int(rows["step"].max())
    place = (agent * shape[1] + sample) * shape[2] + rows["step"] - 1
    has_mode = bool(samples[0] == MODE_SAMPLE)
    whole = len(place) == math.prod(shape) and np.array_equal(np.sort(place), np.arange(len(place)))
    if not whole or samples.tolist() != list(range(-has_mode, len(samples) - has_mode)):
        raise ForecastError(
            f"{path}: {scene_id} at {at_us} us: every agent needs the same samples from 0 on, each "
            "with every step from 1 on, once"
        )
    order = np.argsort(place)
    weights = rows["weight"][order].reshape(shape)[:, has_mode:]
    if np.ptp(weights, axis=(0, 2)).max() > _WEIGHT_ROUNDING:
        raise ForecastError(
            f"{path}: {scene_id} at {at_us} us: agents have sample weights of their own; joint "
            "futures are needed, with one weight for each sample"
        )
    _check_constant(path, rows)
    world = np.stack([rows["x_m"], rows["y_m"]], axis=-1)[order].reshape(*shape, 2)
    origin = np.round(world.mean(axis=(0, 1, 2)))
    if "origin_x_m" in rows:
        origin = np.array([rows["origin_x_m"][0], rows["origin_y_m"][0]])
    local = (world - origin).astype(np.float32).swapaxes(0, 1)
    agent_ids = names[np.argsort(first)]
    refused = ForecastError(
        f"{path}: {scene_id} at {at_us} us: column arrays does not fit the rows, which were put in "
        "another order or changed; leave the column out"
    )
    return {
        "positions_m": local[has_mode:],
        "mode_m": local[0] if has_mode else None,
        "weights": weights[0, :, 0],
        "agent_ids": agent_ids,
        "valid": np.ones(len(names), bool),
        "at_us": at_us,
        "dt_s": float(rows["dt_s"][0]),
        "origin_m": origin,
        "scene_id": scene_id,
        **_unpacked(rows.get("arrays", np.array([])), agent_ids, refused),
    }


def _check_constant(path: Path, rows: dict[str, NDArray[Any]]) -> None:
    """Refuses a prediction whose rows have different step lengths or origins."""
    for name in ("dt_s", *_ORIGIN):
        found = np.unique(rows.get(name, np.array([])))
        item = f"{path}: {rows['scene_id'][0]} at {rows['at_us'][0]} us: {name}"
        require(len(found) <= 1, item, found[:2].tolist(), "the same value in all rows")
