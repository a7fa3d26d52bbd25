"""Flicker: whether predictions hold from one step to the next."""

from __future__ import annotations

from forecast.evaluation.output.numbers import UNDEFINED, interval, number
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.stability import DEFINITIONS
from forecast.evaluation.scoring.statistics import Estimate, scene_means
from forecast.report.section import Cell, Section, Table


def stability(result: EvaluationResult) -> Section:
    """How far consecutive predictions of the same times lie apart."""
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
        "Metres between what was said of a time and what is said of it one step later, each "
        "pedestrian that was predicted twice in a row. Low is good, but not by itself: who stands "
        "still in every prediction flickers least. With few samples part of the second row is the "
        "chance of drawing them."
    )
    table = Table(caption, ("", *found), rows)
    return Section("stability", "Stability", (table,), found)


def _cell(estimate: Estimate) -> Cell:
    if estimate.n == 0:
        return Cell(UNDEFINED)
    return Cell(number(estimate.value), interval(estimate) or f"n = {estimate.n}")
