"""Writes ``metrics.json`` and ``rows.parquet``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forecast import __version__
from forecast.evaluation.result import EvaluationResult, Mean
from forecast.evaluation.scoring.ground_truth import GROUND_TRUTH
from forecast.evaluation.scoring.scores import CALIBRATION_LEVELS, TUBE_LEVELS


def write_metrics(result: EvaluationResult, path: Path) -> None:
    """Writes the numbers; the same result gives the same bytes."""
    text = json.dumps(metrics_document(result), indent=2, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def metrics_document(result: EvaluationResult) -> dict[str, Any]:
    """The content of ``metrics.json``; a metric that is not defined is None.

    ``per_step`` holds, for each predicted time, the coverage of the samples' regions, and the
    coverage and area of the calibrated tubes, by their level in per cent. It also holds the root
    mean squares of the spread of the samples about their mean (sharpness) and of that mean's error.

    ``n`` beside the means holds the number of values behind each. ``counts.dropped`` are pedestrian
    steps that are not scored, ``counts.prepared`` records that were dropped or mended before, when
    the scored scenes were prepared. ``model`` says what the
    predictor was made from (None if unknown). ``scenes_learnt_from`` names the scored scenes that
    it was trained on. ``predictions_file`` counts the predictions of a file that were read, skipped
    or changed, ``predictions_sha256`` is its hash (None for other predictors). ``own_predictor``
    and ``own_metrics`` name the files of the user's own code.
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
            "fallback": int(result.fallback.sum()),
            "dropped": dict(result.dropped),
            "prepared": dict(result.prepared),
            "failed_scenes": dict(result.failed),
        },
        **_scores(result.means, result.rows.movers),
        "per_step": per_step(result),
        GROUND_TRUTH: _scores(result.ground_truth_means, result.rows.movers),
        "floors": {
            name: {**_scores(each.means, each.rows.movers), "per_step": per_step(each)}
            for name, each in result.baselines.items()
        },
        "floors_left_out": dict(result.left_out),
        "store": {"source": setting.source, "fingerprint": setting.fingerprint},
        "model": result.model,
        "scenes_learnt_from": list(result.scenes_learnt_from),
        "predictions_file": result.predictions_file or None,
        "predictions_sha256": result.predictions_sha256 or None,
        "definitions": dict(result.definitions),
        **own_code_data(result),
        "forecast_version": __version__,
    }


def own_code_data(result: EvaluationResult) -> dict[str, Any]:
    """The user's own code that took part: file and hash of the predictor and of each metric."""
    code = result.own_predictor
    return {
        "own_predictor": None if code is None else asdict(code),
        "own_metrics": {name: metric.facts() for name, metric in result.own_metrics.items()},
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
    """Writes ``rows.parquet``: `rows_table` of the predictor and of every baseline."""
    first, *others = (rows_table(each) for each in result.table.values())
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        for table in (first, *others):
            writer.write_table(table)


def rows_table(result: EvaluationResult) -> pa.Table:
    """A row for every pedestrian scored at every prediction time, by scene, window and agent.

    Columns: ``predictor, scene_id, sample_token, at, at_us, agent_id, category, mover, fallback``;
    the quantities of `QUANTITIES`; ``slice.<name>`` for each slicing ("" where unknown); every
    metric of the predictor by its own name; ``recorded.<metric>``, the ground truth's value where
    that is the target; ``error_top1_<t>s_m`` at each predicted step. NaN: not defined.
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
        "fallback": result.fallback,
        **rows.quantities,
        **result.values,
        **{f"{GROUND_TRUTH}.{name}": values for name, values in result.ground_truth.items()},
        **{
            f"error_top1_{time:g}s_m": result.errors_m["top1"][:, step]
            for step, time in enumerate(result.times_s)
        },
    }
    texts = {name: pa.array(column.tolist()).dictionary_encode() for name, column in names.items()}
    return pa.table(texts | {name: pa.array(column) for name, column in numbers.items()})
