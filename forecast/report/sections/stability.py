"""Flicker: how much predictions change from one step to the next."""

from __future__ import annotations

from forecast.evaluation.output.numbers import UNDEFINED, interval, number
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.stability import DEFINITIONS
from forecast.evaluation.scoring.statistics import Estimate, scene_means
from forecast.report.section import Cell, Section, Table


def stability(result: EvaluationResult) -> Section:
    """Mean distance of consecutive predictions of the same times."""
    found = {
        name: scene_means(
            {metric: scores.values[metric] for metric in DEFINITIONS}, scores.rows.scene_ids
        )
        for name, scores in result.table.items()
    }
    rows = tuple(
        (Cell(metric, words), *(_cell(column[metric]) for column in found.values()))
        for metric, words in DEFINITIONS.items()
    )
    caption = (
        "Metres between the prediction for a time and the one for the same time made one step "
        "later, for each pedestrian that was predicted twice in a row. Low is good, but not by "
        "itself: a prediction of standing still flickers least. With few samples, part of the "
        "second row comes from their random draw."
    )
    table = Table(caption, ("", *found), rows)
    return Section("stability", "Stability", (table,), found)


def _cell(estimate: Estimate) -> Cell:
    if estimate.n == 0:
        return Cell(UNDEFINED)
    return Cell(number(estimate.value), interval(estimate) or f"n = {estimate.n}")
