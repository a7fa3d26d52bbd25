"""Reads an evaluation back from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.evaluation.output.folder import DOCUMENT_FILE, METRICS_FILE, ROWS_FILE
from forecast.evaluation.verdict.acceptance import Acceptance, Criterion


@dataclass(frozen=True, eq=False)
class SavedEvaluation:
    """An evaluation, read back from its folder.

    Attributes:
        path: The folder.
        name: The predictor.
        setting: What was evaluated on what.
        acceptance: Its acceptance criteria.
        columns: Every column of its rows ``[N]``.
        summary: Numbers without rows, by name; see `_summary`.
        guarantees: Whether each guarantee of the audit held; None: not tested.
        command: The command that made it; "" if there is none.
        model: What the predictor was made from, if it says so.
        own_metrics: What each metric of one's own is, by name; see `OwnMetric.facts`.
        learnt: The scored scenes that the predictor was trained on.
    """

    path: Path
    name: str
    setting: Mapping[str, Any]
    acceptance: Acceptance
    columns: Mapping[str, NDArray[Any]]
    summary: Mapping[str, float]
    guarantees: Mapping[str, bool | None]
    command: str
    model: Mapping[str, Any] | None
    own_metrics: Mapping[str, Mapping[str, Any]]
    learnt: tuple[str, ...]


_UNREADABLE = (
    OSError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
    pa.ArrowException,
)
"""What reading damaged or foreign files raises."""


def read_evaluation(folder: Path) -> SavedEvaluation:
    """Reads what ``forecast evaluate`` wrote; raises `ForecastError` if it is incomplete."""
    try:
        document = json.loads((folder / DOCUMENT_FILE).read_text(encoding="utf-8"))["sections"]
        data = {name: section["data"] for name, section in document.items()}
        name = data["verdict"]["predictor"]
        rows = pq.read_table(folder / ROWS_FILE, filters=[("predictor", "=", name)])
        return SavedEvaluation(
            path=folder,
            name=name,
            setting=data["protocol"]["setting"],
            acceptance=_acceptance(data["triggering"]),
            columns={name: _column(rows[name]) for name in rows.column_names},
            summary=_summary(name, data),
            guarantees={name: found["held"] for name, found in data["causality"].items()},
            command=data["provenance"]["command"],
            model=data["provenance"]["model"],
            # older versions did not write it
            own_metrics=data["provenance"].get("own_metrics", {}),
            learnt=tuple(json.loads((folder / METRICS_FILE).read_text())["scenes_learnt_from"]),
        )
    except _UNREADABLE as error:
        raise ForecastError(
            f"{folder}: not a whole evaluation ({type(error).__name__}); run forecast evaluate "
            "--out there again"
        ) from error


def _acceptance(source: Mapping[str, Any]) -> Acceptance:
    known = {field.name for field in fields(Criterion)}
    criteria = [
        Criterion(**{name: value for name, value in each.items() if name in known})
        for each in source["criteria"]
    ]
    return Acceptance(criteria, source["minimum_rows"], source["minimum_scenes"])


def _summary(name: str, data: Mapping[str, Any]) -> dict[str, float]:
    """Coverage of regions and tubes at the last step, latency and memory; NaN: undefined."""
    steps = data["calibration"][name]["all"]
    found = {
        f"{what}_{level}_final": values[-1]
        for what in ("coverage", "tube_coverage")
        for level, values in steps[what].items()
    }
    latency = data["cost"]["latency_s"][name]
    found |= {f"latency_{which}_s": latency[which] for which in ("median", "p95")}
    found["peak_memory_mb"] = data["cost"]["peak_memory_mb"]
    return {name: float("nan") if value is None else value for name, value in found.items()}


def _column(column: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_dictionary(column.type):
        return np.array(column.cast(pa.string()).to_pylist(), np.str_)
    return column.to_numpy()
