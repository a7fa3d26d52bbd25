"""Conflicts with the ego, and errors weighted by their cost for its planner."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from forecast.evaluation.output.numbers import counted, interval, number
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.rows import NEGLIGIBLE, WEIGHTED, matters_to_planner
from forecast.evaluation.scoring.statistics import MIN_ROWS, Estimate, scene_means
from forecast.models.metrics.criticality import (
    BRAKING_MPS2,
    CLEARANCE_M,
    CONFLICT_S,
    CONTACT_COST_M,
)
from forecast.report.section import Block, Cell, Section, Table, Text

_BINS_S = (0.0, 1.0, 2.0, 3.0, 5.0)


def criticality(result: EvaluationResult) -> Section:
    """How near people came to the ego, predicted conflicts, and planner-weighted errors."""
    if np.isnan(result.rows.quantities["encroachment_s"]).all():
        return Section("criticality", "Criticality", (Text("There is no ego in these data."),))
    columns = {name: _columns(scores) for name, scores in result.table.items()}
    blocks: tuple[Block, ...] = (
        _conflicts(result),
        _table(columns),
    )
    data = {name: dict(column) for name, column in columns.items()}
    return Section("criticality", "Criticality", blocks, data)


def _conflicts(result: EvaluationResult) -> Table:
    """How often pedestrian and ego came near each other in time."""
    names = ("time_to_collision_s", "encroachment_s")
    counts = [_counts(result.rows.quantities[name]) for name in names]
    rows = tuple((Cell(time), *(Cell(str(count[time])) for count in counts)) for time in counts[0])
    caption = (
        "Prediction times by their time to collision (TTC), when pedestrian and ego would touch if "
        "both kept their velocity, and by their post-encroachment time (PET), the least time "
        "between both being at the same place on their real paths within the horizon. Good is many "
        "rows with short times: the numbers below depend on them, and an evaluation with few says "
        "little about conflicts. Scores by TTC are under Slices."
    )
    return Table(caption, ("time", "TTC", "PET"), rows)


def _counts(times_s: NDArray[np.float64]) -> dict[str, int]:
    """Rows by time; each counts once."""
    edges = [*_BINS_S, np.inf]
    found = {
        f"{low:g} to {high:g} s" if high < np.inf else f"{low:g} s or more": int(
            ((times_s >= low) & (times_s < high)).sum()
        )
        for low, high in pairwise(edges)
    }
    unknown = int(np.isnan(times_s).sum())
    return {**found, "never": int(np.isinf(times_s).sum()), "not known": unknown}


_ROWS = {
    "conflict_missed": f"a real conflict (within {CONFLICT_S:g} s) that was not predicted",
    "conflict_false": "a predicted conflict where there was none",
    "plan_regret_m": "progress lost by braking by the prediction instead of the truth, all rows",
    WEIGHTED: "top1_fde_m, each pedestrian weighted by what an error costs the plan",
    "top1_fde_m": "the same without weights, for comparison",
}


def _columns(scores: EvaluationResult) -> Mapping[str, Estimate]:
    rows, values = scores.rows, scores.values
    names = ("conflict_missed", "conflict_false", "plan_regret_m", "top1_fde_m")
    plain = scores.estimates(names=names)
    weight = rows.quantities["planner_weight"]
    counts = matters_to_planner(weight)
    error = {WEIGHTED: values["top1_fde_m"]}
    weighted = scene_means(error, rows.scene_ids, counts, weight)[WEIGHTED]
    if weighted.n < MIN_ROWS:
        weighted = weighted._replace(value=np.nan, low=np.nan, high=np.nan)
    return plain | {WEIGHTED: weighted}


def _table(columns: Mapping[str, Mapping[str, Estimate]]) -> Table:
    first = next(iter(columns.values()))
    rows = tuple(
        (
            Cell(name, f"{words}; {_count(name, first[name])}"),
            *(_cell(column[name]) for column in columns.values()),
        )
        for name, words in _ROWS.items()
    )
    brakes = ", ".join(f"{braking:g}" for braking in BRAKING_MPS2)
    caption = (
        "Low is good in every row. A conflict is predicted with the probability that the samples "
        "give it. The plans are the ego's real path, braked by "
        f"{brakes} m/s²; a plan costs the metres it falls behind and up to {CONTACT_COST_M:g} m "
        f"for passing a pedestrian nearer than {CLEARANCE_M:g} m. A pedestrian's weight is how "
        "much the best plan's cost changes when its future is shifted by 1 m; under "
        f"{NEGLIGIBLE:g} m it does not count, and with fewer than {MIN_ROWS} that do, no weighted "
        "error is given."
    )
    return Table(caption, ("", *columns), rows)


def _count(name: str, found: Estimate) -> str:
    """Number of rows; for the weighted error also why it is not given."""
    few = name == WEIGHTED and found.n < MIN_ROWS
    why = f" that matter to the planner, too few: {MIN_ROWS} are needed" if few else ""
    return f"{counted(found.n, 'prediction time')}{why}"


def _cell(found: Estimate) -> Cell:
    return Cell(number(found.value), interval(found))
