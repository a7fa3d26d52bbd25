"""What an evaluation left in its folder, and which rows of two of them belong together."""

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
from forecast.evaluation.output.folder import DOCUMENT_FILE, ROWS_FILE
from forecast.evaluation.verdict.acceptance import Acceptance, Criterion

_KEY = ("scene_id", "agent_id", "at_us")
_SAME = ("fingerprint", "protocol", "history_s", "horizon_s", "samples")

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Indices of A's rows and of the rows of B that belong to them, both ``[P]``."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What an evaluation left in its folder.

    Attributes:
        path: The folder.
        name: The predictor.
        setting: What was evaluated on what.
        acceptance: The criteria it was held to.
        columns: Every column of its rows ``[N]``.
        summary: Numbers without rows, by name; see `_summary`.
        guarantees: Whether each guarantee of the audit held; None: not tried.
        command: The command that made it; "" if there is none.
        model: What the predictor was made from, if it says so.
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


def read_evaluation(folder: Path) -> Evaluated:
    """Reads what ``forecast evaluate`` wrote; raises `ForecastError` if it is not there."""
    try:
        document = json.loads((folder / DOCUMENT_FILE).read_text(encoding="utf-8"))["sections"]
        data = {name: section["data"] for name, section in document.items()}
        name = data["verdict"]["predictor"]
        rows = pq.read_table(folder / ROWS_FILE, filters=[("predictor", "=", name)])
        return Evaluated(
            path=folder,
            name=name,
            setting=data["protocol"]["setting"],
            acceptance=_acceptance(data["triggering"]),
            columns={name: _column(rows[name]) for name in rows.column_names},
            summary=_summary(name, data),
            guarantees={name: found["held"] for name, found in data["causality"].items()},
            command=data["provenance"]["command"],
            model=data["provenance"]["model"],
        )
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
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
    """Coverage of regions and tubes at the last step, by level, and what predicting cost.

    NaN: not defined.
    """
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


def paired(old: Evaluated, new: Evaluated) -> Pairs:
    """Rows of A and of B that are of the same pedestrian at the same time.

    Raises:
        ForecastError: The two were not scored on the same windows.
    """
    for name in _SAME:
        if old.setting[name] != new.setting[name]:
            raise ForecastError(
                f"{new.path}: {name} is {new.setting[name]}, that of {old.path} is "
                f"{old.setting[name]}; evaluate both on the same windows"
            )
    keys = [
        {key: row for row, key in enumerate(zip(*(each.columns[k] for k in _KEY), strict=True))}
        for each in (old, new)
    ]
    if keys[0].keys() != keys[1].keys():
        strange = next(iter(keys[0].keys() ^ keys[1].keys()))
        raise ForecastError(
            f"{new.path}: scored on other windows than {old.path}: only one has {strange[0]}, "
            f"{strange[1]} at {strange[2]} us; evaluate both on the same split"
        )
    order = list(keys[0])
    first, second = (np.array([each[key] for key in order], np.int64) for each in keys)
    return first, second
