"""`metrics.json` and `predictions.parquet`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forecast import __version__
from forecast.evaluation.result import CALIBRATION_LEVELS, TUBE_LEVELS, EvaluationResult, Mean
from forecast.evaluation.scoring.ground_truth import RECORDED
from forecast.evaluation.scoring.sample import Case
from forecast.scene import Prediction

MODE_SAMPLE = -1
"""``sample`` of the rows that hold a single best guess outside the samples; their weight is 0."""

_NAME = pa.dictionary(pa.int32(), pa.string())
PREDICTIONS_SCHEMA = pa.schema(
    [
        ("scene_id", _NAME),
        ("agent_id", _NAME),
        ("at_us", pa.int64()),
        ("sample", pa.int32()),
        ("weight", pa.float64()),
        ("step", pa.int32()),
        ("x_m", pa.float64()),
        ("y_m", pa.float64()),
        ("truth_x_m", pa.float64()),
        ("truth_y_m", pa.float64()),
    ]
)
"""One row per window, scored agent, sample and step (from 1); positions in the world's frame.

See `PredictionsWriter` for what the rows hold and what they do not.
"""


def write_metrics(result: EvaluationResult, path: Path) -> None:
    """Writes the numbers; the same result gives the same bytes."""
    text = json.dumps(metrics_document(result), indent=2, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def metrics_document(result: EvaluationResult) -> dict[str, Any]:
    """The content of ``metrics.json``; a metric that is not defined is None.

    ``per_step`` holds, for each predicted time, the coverage of the samples' regions, and the
    coverage and area of the calibrated tubes, by their level in per cent; and, root mean square,
    the spread of the samples about their mean (sharpness) and the error of that mean.

    ``n`` beside the means holds the number of values behind each. ``model`` says what the
    predictor was made from (None if it does not know), and ``scenes_learnt_from`` which of the
    scored scenes it has learnt from.
    """
    setting = result.setting
    return {
        "protocol": setting.protocol_label,
        "split": setting.split,
        "predictor": result.predictor,
        "horizon_s": setting.horizon_s,
        "history_s": setting.history_s,
        "samples": setting.samples,
        "seed": setting.seed,
        "counts": {
            "scenes": len(setting.scenes),
            "origins": len(result.rows),
            "movers": int(result.rows.movers.sum()),
            "dropped": dict(result.dropped),
            "failed_scenes": dict(result.failed),
        },
        **_scores(result.means, result.rows.movers),
        "per_step": per_step(result),
        RECORDED: _scores(result.recorded_means, result.rows.movers),
        "floors": {
            name: {**_scores(floor.means, floor.rows.movers), "per_step": per_step(floor)}
            for name, floor in result.floors.items()
        },
        "floors_left_out": dict(result.left_out),
        "store": {"source": setting.source, "fingerprint": setting.fingerprint},
        "model": result.model,
        "scenes_learnt_from": list(result.scenes_learnt_from),
        "definitions": dict(result.definitions),
        "forecast_version": __version__,
    }


def _scores(
    means: Callable[[NDArray[Any] | None], dict[str, Mean]], of_movers: NDArray[np.bool_]
) -> dict[str, Any]:
    everyone, movers = means(None), means(of_movers)
    return {
        "all": _values(everyone),
        "movers": _values(movers),
        "n": {"all": _counts(everyone), "movers": _counts(movers)},
    }


def per_step(result: EvaluationResult) -> dict[str, Any]:
    """``per_step`` of `metrics_document`, of all rows and of movers."""
    kept = [CALIBRATION_LEVELS.index(level) for level in TUBE_LEVELS]
    tables = {
        "coverage": result.coverage[..., kept],
        "tube_coverage": result.tube_coverage,
        "tube_area_m2": result.tube_area_m2,
    }
    rows = {"all": np.ones(len(result.rows), bool), "movers": result.rows.movers}
    return {
        "times_s": [round(float(time), 6) for time in result.times_s],
        **{
            which: {
                **{name: _by_level(values[subset]) for name, values in tables.items()},
                "spread_rms_m": _rms(result.spread_m[subset]),
                "mean_error_rms_m": _rms(result.errors_m["mean"][subset]),
            }
            for which, subset in rows.items()
        },
    }


def _by_level(values: NDArray[np.float32]) -> dict[str, list[float | None]]:
    """Means over the rows of ``[N, T, Q]``, by level; None where there is no value."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0, dtype=np.float64)
    return {
        f"{100 * level:g}": [
            float(total[step, place] / n) if (n := count[step, place]) else None
            for step in range(values.shape[1])
        ]
        for place, level in enumerate(TUBE_LEVELS)
    }


def _rms(values: NDArray[np.float32]) -> list[float | None]:
    """Root mean square over the rows of ``[N, T]``; None where there is no value."""
    squares = np.square(values, dtype=np.float64)
    known = ~np.isnan(squares)
    total = np.where(known, squares, 0).sum(axis=0)
    pairs = zip(total.tolist(), known.sum(axis=0).tolist(), strict=True)
    return [math.sqrt(part / count) if count else None for part, count in pairs]


def _values(means: Mapping[str, Mean]) -> dict[str, float | None]:
    return {name: None if math.isnan(mean.value) else mean.value for name, mean in means.items()}


def _counts(means: Mapping[str, Mean]) -> dict[str, int]:
    return {name: mean.n for name, mean in means.items()}


def write_rows(result: EvaluationResult, path: Path) -> None:
    """Writes ``rows.parquet``: for the predictor and every floor, what `rows_table` says."""
    first, *others = (rows_table(each) for each in result.table.values())
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        for table in (first, *others):
            writer.write_table(table)


def rows_table(result: EvaluationResult) -> pa.Table:
    """A row for every pedestrian scored at every origin, by scene, window and agent.

    Columns: ``predictor, scene_id, sample_token, at, at_us, agent_id, category, mover``; the
    quantities of `QUANTITIES`; ``slice.<name>`` for each slicing ("" where unknown); every metric
    of the predictor by its own name; ``recorded.<metric>``, the recorded world's value where that
    is the one to reach; ``error_top1_<t>s_m`` at each predicted step. NaN: not defined.
    """
    rows = result.rows
    names = {
        "predictor": np.full(len(rows), result.predictor),
        "scene_id": rows.scene_ids,
        "sample_token": rows.frame_ids,
        "agent_id": rows.agent_ids,
        "category": rows.categories,
        **{f"slice.{name}": labels for name, labels in rows.labels.items()},
    }
    numbers = {
        "at": rows.at,
        "at_us": rows.at_us,
        "mover": rows.movers,
        **rows.quantities,
        **result.values,
        **{f"{RECORDED}.{name}": values for name, values in result.recorded.items()},
        **{
            f"error_top1_{time:g}s_m": result.errors_m["top1"][:, step]
            for step, time in enumerate(result.times_s)
        },
    }
    texts = {name: pa.array(column.tolist()).dictionary_encode() for name, column in names.items()}
    return pa.table(texts | {name: pa.array(column) for name, column in numbers.items()})


class PredictionsWriter:
    """Writes predictions window by window, each as one row group of a Parquet file.

    The rows are the raw futures of the evaluated predictor for the scored pedestrians, and the
    truth. From them follow its top-1, mean, best-of-K, joint and distribution scores and the
    collisions of pedestrians. What they do not hold: the floors' futures, the further draws behind
    the selected scores, and the ego and the map behind the other rates.

    Where the predictor names a single best guess that is not among its samples, that has rows of
    its own: ``sample = -1, weight 0``. Top-1 scores are theirs; elsewhere the heaviest sample's,
    the first of equal ones. They are no sample: leave them out of minima and of the samples' count.
    """

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, PREDICTIONS_SCHEMA, compression="zstd")

    def __enter__(self) -> PredictionsWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write_tables(self, tables: Iterable[pa.Table]) -> None:
        """Adds the rows of some windows; see `predictions_table`."""
        for table in tables:
            self._writer.write_table(table)


def predictions_table(case: Case, prediction: Prediction) -> pa.Table:
    """The rows of one window, in the order of agents, samples and steps."""
    who = case.window.scored
    futures, weights = prediction.positions_m[:, who], prediction.weights
    samples = np.arange(len(weights))
    if prediction.mode_m is not None:
        futures = np.concatenate([prediction.mode_m[None, who], futures])
        weights = np.concatenate([[0.0], weights])
        samples = np.concatenate([[MODE_SAMPLE], samples])
    shape = (int(who.sum()), len(weights), prediction.steps)
    world = futures.swapaxes(0, 1) + prediction.origin_m  # [N, K, T, 2]
    truth = np.broadcast_to(case.truth_m[:, None] + case.scene.origin_m, world.shape)

    def column(values: Any) -> NDArray[Any]:
        return np.broadcast_to(values, shape).ravel()

    agent = column(np.arange(shape[0], dtype=np.int32)[:, None, None])
    columns = [
        pa.DictionaryArray.from_arrays(np.zeros_like(agent), [case.scene.id]),
        pa.DictionaryArray.from_arrays(agent, case.window.agent_ids[who].tolist()),
        column(case.window.at_us),
        column(samples[:, None].astype(np.int32)),
        column(weights[:, None]),
        column(np.arange(1, shape[2] + 1, dtype=np.int32)),
        *(column(positions[..., axis]) for positions in (world, truth) for axis in (0, 1)),
    ]
    return pa.table(columns, schema=PREDICTIONS_SCHEMA)
