"""Every metric, beside the floors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from forecast.evaluation.numbers import number
from forecast.evaluation.recorded import RECORDED, RECORDED_METRICS
from forecast.evaluation.result import EvaluationResult, Mean
from forecast.models.metrics.registry import METRICS, TUBE_METRICS
from forecast.report.section import Cell, Section, Table, Text


def scores(result: EvaluationResult) -> Section:
    """One table for all and one for the movers."""
    everyone, movers = len(result.rows), int(result.rows.movers.sum())
    blocks: list[Text | Table] = [
        _table(result, None, f"All {everyone} origins."),
        _table(result, result.rows.movers, f"The {movers} origins of movers."),
    ]
    blocks += [Text(f"{name} is left out: {why}") for name, why in result.left_out.items()]
    return Section("scores", "Scores beside the floors", tuple(blocks))


def _table(result: EvaluationResult, subset: NDArray[np.bool_] | None, whom: str) -> Table:
    means = {name: scores.means(subset) for name, scores in result.table.items()}
    columns, world = list(means.values()), result.recorded_means(subset)
    rows = tuple(
        (*_row(metric, definition, columns), _reference(world.get(metric)))
        for metric, definition in result.definitions.items()
        if metric not in TUBE_METRICS or any(column[metric].n for column in columns)
    )
    caption = (
        f"{whom} The best of each row is bold: the lowest, for coverage the nearest to its level. "
        "Collisions and time on the road have no best: they should be as frequent as in the "
        "recorded world, whose own rates are in the last column. All were measured in this run on "
        "the same windows. Raw samples are as drawn; selected ones are chosen from many and say "
        "less about the distribution."
    )
    return Table(caption, ("metric", *means, RECORDED), rows)


def _reference(mean: Mean | None) -> Cell:
    """The recorded world's value, where it is the one to reach."""
    return Cell("" if mean is None else number(mean.value))


def _row(metric: str, definition: str, columns: Sequence[Mapping[str, Mean]]) -> tuple[Cell, ...]:
    values = [column[metric] for column in columns]
    target = METRICS[metric].target if metric in METRICS else None
    gaps = [abs(value - (target or 0.0)) for value, _ in values]
    best = min((gap for gap in gaps if not math.isnan(gap)), default=math.nan)
    counts = {n for _, n in values if n}
    ranked = metric not in RECORDED_METRICS
    name = Cell(metric, definition)
    return name, *(
        Cell(number(mean.value), _count(mean, counts), ranked and gap == best)
        for mean, gap in zip(values, gaps, strict=True)
    )


def _count(mean: Mean, counts: set[int]) -> str:
    """The number of values, where it is not the same in all columns."""
    return f"n = {mean.n}" if mean.n and len(counts) > 1 else ""
