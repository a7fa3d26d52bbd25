"""Every metric, beside the floors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from forecast.evaluation.numbers import UNDEFINED, interval, number, signed
from forecast.evaluation.recorded import RECORDED, RECORDED_METRICS
from forecast.evaluation.result import EvaluationResult, Mean
from forecast.evaluation.statistics import MIN_SCENES, Estimate
from forecast.models.metrics.registry import METRICS
from forecast.report.section import Cell, Section, Table, Text


def scores(result: EvaluationResult) -> Section:
    """One table for all and one for the movers."""
    everyone, movers = len(result.rows), int(result.rows.movers.sum())
    blocks: list[Text | Table] = [
        _table(result, None, f"All {everyone} origins."),
        _table(result, result.rows.movers, f"The {movers} origins of movers."),
    ]
    blocks += [_differences(result, floor) for floor in _floors(result)]
    blocks += [Text(f"{name} is left out: {why}") for name, why in result.left_out.items()]
    return Section("scores", "Scores beside the floors", tuple(blocks), _data(result))


def _data(result: EvaluationResult) -> dict[str, object]:
    groups = {"all": None, "movers": result.rows.movers}
    return {
        "definitions": dict(result.definitions),
        "recorded": {name: result.recorded_means(who) for name, who in groups.items()},
        **{
            predictor: {name: scores.estimates(who) for name, who in groups.items()}
            for predictor, scores in result.table.items()
        },
        "differences": {
            floor: result.differences(result.floors[floor], result.rows.movers)
            for floor in _floors(result)
        },
    }


def _floors(result: EvaluationResult) -> list[str]:
    return [name for name in result.floors if name != result.predictor]


def _differences(result: EvaluationResult, floor: str) -> Table:
    """The predictor less a floor, row by row, on movers."""
    found = result.differences(result.floors[floor], result.rows.movers)
    shown = {
        name: each
        for name, each in found.items()
        if each.n and (name not in METRICS or METRICS[name].lower_is_better)
    }
    rows = tuple(
        (
            Cell(name),
            Cell(signed(each.value)),
            Cell(interval(each, signed=True) or UNDEFINED),
            Cell(str(each.n)),
        )
        for name, each in shown.items()
        if name not in RECORDED_METRICS
    )
    caption = (
        f"{result.predictor} less {floor}, paired by origin, movers, with 95 % intervals from a "
        "bootstrap over scenes. Good is below 0, interval and all."
    )
    return Table(caption, ("metric", "difference", "95 % interval", "origins"), rows)


def _table(result: EvaluationResult, subset: NDArray[np.bool_] | None, whom: str) -> Table:
    means = {name: scores.estimates(subset) for name, scores in result.table.items()}
    columns, world = list(means.values()), result.recorded_means(subset)
    rows = tuple(
        (*_row(metric, definition, columns), _reference(world.get(metric)))
        for metric, definition in result.definitions.items()
    )
    caption = (
        f"{whom} The best of each row is bold: the lowest, for coverage the nearest to its level. "
        "Collisions and time on the road have no best: they should be as frequent as in the "
        "recorded world, whose own rates are in the last column. All were measured in this run on "
        "the same windows. Raw samples are as drawn; selected ones are chosen from many and say "
        "less about the distribution. Small print: 95 % intervals from a bootstrap over scenes, "
        f"given from {MIN_SCENES} scenes on."
    )
    return Table(caption, ("metric", *means, RECORDED), rows)


def _reference(mean: Mean | None) -> Cell:
    """The recorded world's value, where it is the one to reach."""
    return Cell("" if mean is None else number(mean.value))


def _row(
    metric: str, definition: str, columns: Sequence[Mapping[str, Estimate]]
) -> tuple[Cell, ...]:
    values = [column[metric] for column in columns]
    target = METRICS[metric].target if metric in METRICS else None
    gaps = [abs(each.value - (target or 0.0)) for each in values]
    best = min((gap for gap in gaps if not math.isnan(gap)), default=math.nan)
    counts = {each.n for each in values if each.n}
    ranked = metric not in RECORDED_METRICS
    name = Cell(metric, definition)
    return name, *(
        Cell(number(each.value), _note(each, counts), ranked and gap == best)
        for each, gap in zip(values, gaps, strict=True)
    )


def _note(found: Estimate, counts: set[int]) -> str:
    """The interval, and the number of values where it is not the same in all columns."""
    count = f"n = {found.n}" if found.n and len(counts) > 1 else ""
    return "; ".join(filter(None, [interval(found), count]))
