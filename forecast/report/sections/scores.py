"""Every metric, beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from forecast.evaluation.output.numbers import counted, interval, number, signed
from forecast.evaluation.result import EvaluationResult, Mean
from forecast.evaluation.scoring.ground_truth import GROUND_TRUTH, GROUND_TRUTH_METRICS
from forecast.evaluation.scoring.modes import definitions as mode_definitions
from forecast.evaluation.scoring.statistics import MIN_SCENES, Estimate
from forecast.models.metrics.registry import METRICS, TUBE_METRICS
from forecast.report.best import RULE, Specs, best_columns
from forecast.report.section import Cell, Section, Table, Text

_OPTIONAL = {*TUBE_METRICS, *mode_definitions()}
"""Metrics of tubes and modes are left out where no predictor has these."""


def scores(result: EvaluationResult) -> Section:
    """One table for all rows and one for the movers."""
    everyone, movers = len(result.rows), int(result.rows.movers.sum())
    blocks: list[Text | Table] = [
        _table(result, None, f"All prediction times: {everyone}."),
        _table(result, result.rows.movers, f"Movers: {counted(movers, 'prediction time')}."),
    ]
    if _baselines(result):
        blocks.append(_differences(result))
    blocks += [Text(f"{name} is left out: {why}") for name, why in result.left_out.items()]
    return Section("scores", "Scores beside the baselines", tuple(blocks), _data(result))


def _data(result: EvaluationResult) -> dict[str, object]:
    groups = {"all": None, "movers": result.rows.movers}
    return {
        "definitions": dict(result.definitions),
        "recorded": {name: result.ground_truth_means(who) for name, who in groups.items()},
        **{
            predictor: {name: scores.estimates(who) for name, who in groups.items()}
            for predictor, scores in result.table.items()
        },
        "differences": {
            name: result.differences(result.baselines[name], result.rows.movers)
            for name in _baselines(result)
        },
    }


def _baselines(result: EvaluationResult) -> list[str]:
    return [name for name in result.baselines if name != result.predictor]


def _differences(result: EvaluationResult) -> Table:
    """The predictor minus each baseline, row by row, on movers."""
    columns = {
        name: result.differences(result.baselines[name], result.rows.movers)
        for name in _baselines(result)
    }
    shown = [
        name
        for name in result.definitions
        if (name not in result.specs or result.specs[name].lower_is_better)
        and name not in GROUND_TRUTH_METRICS
        and any(column[name].n for column in columns.values())
    ]
    rows = tuple(
        (Cell(name), *(_difference(column[name]) for column in columns.values())) for name in shown
    )
    caption = (
        f"{result.predictor} minus each baseline, paired by prediction time, movers, with 95 % "
        "intervals from a bootstrap over scenes. Good: the whole interval is below 0."
    )
    return Table(caption, ("metric", *(f"minus {name}" for name in columns)), rows)


def _difference(found: Estimate) -> Cell:
    return Cell(signed(found.value), interval(found, signed=True))


def _table(result: EvaluationResult, subset: NDArray[np.bool_] | None, whom: str) -> Table:
    means = {name: scores.estimates(subset) for name, scores in result.table.items()}
    world = result.ground_truth_means(subset)
    rows = tuple(
        (
            Cell(metric, definition),
            *score_cells(metric, means, result.specs),
            _reference(world.get(metric)),
        )
        for metric, definition in result.definitions.items()
        if metric not in _OPTIONAL or any(column[metric].n for column in means.values())
    )
    caption = (
        f"{whom} Good is to beat every baseline. {RULE} "
        "Collisions and time on the road have no best: they should be as frequent as in the "
        "recorded world, whose own rates are in the last column. All were measured in this run on "
        "the same windows. Samples say how likely futures are; modes cover them with "
        "few. Small print: 95 % intervals from a bootstrap over scenes, "
        f"given from {MIN_SCENES} scenes on."
    )
    return Table(caption, ("metric", *means, GROUND_TRUTH), rows)


def _reference(mean: Mean | None) -> Cell:
    """The ground truth's value, where it is the target."""
    return Cell("" if mean is None else number(mean.value))


def score_cells(
    metric: str, columns: Mapping[str, Mapping[str, Estimate]], specs: Specs = METRICS
) -> tuple[Cell, ...]:
    """The cells of a metric, one for each predictor; see `best_columns` for the bold ones.

    Args:
        metric: The metric.
        columns: The means of every predictor of the table, by predictor and metric.
        specs: See `EvaluationResult.specs`.
    """
    values = {name: column[metric] for name, column in columns.items()}
    counts = {each.n for each in values.values() if each.n}
    best = best_columns(metric, columns, specs)
    return tuple(
        Cell(number(each.value), _note(each, counts), name in best) for name, each in values.items()
    )


def _note(found: Estimate, counts: set[int]) -> str:
    """The interval, and the number of values where it is not the same in all columns."""
    count = f"n = {found.n}" if found.n and len(counts) > 1 else ""
    return "; ".join(filter(None, [interval(found), count]))
