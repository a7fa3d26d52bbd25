"""Triggering conditions in the sense of ISO 21448, with their acceptance criteria."""

from __future__ import annotations

import numpy as np

from forecast.evaluation.output.numbers import counted, interval, number
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.verdict.acceptance import FAIL, Criterion, Outcome
from forecast.report.section import Block, Cell, Section, Table, Text
from forecast.report.sections.gallery import worst_picture


def triggering(result: EvaluationResult) -> Section:
    """A table of condition, count, result, criterion and verdict."""
    blocks: list[Block] = []
    if not result.acceptance:
        words = (
            "These criteria are the package's example. Copy "
            "forecast/evaluation/verdict/acceptance.yaml, set your own limits and pass it with "
            "--acceptance."
        )
        blocks.append(Text(words, "open"))
    blocks.append(_table(result))
    data = {
        "source": result.acceptance,
        "sha256": result.acceptance_sha256,
        "minimum_rows": result.minimum_rows,
        "minimum_scenes": result.minimum_scenes,
        "criteria": [_data(each) for each in result.outcomes],
    }
    return Section("triggering", "Triggering conditions", tuple(blocks), data)


def _table(result: EvaluationResult) -> Table:
    caption = (
        "Conditions that may trigger a hazard, and what is demanded of the prediction in them "
        "(ISO 21448). Pass: the whole 95 % interval meets the criterion. Fail: the mean does not. "
        f"Too few: neither, or fewer than {counted(result.minimum_rows, 'prediction time')} or "
        f"{counted(result.minimum_scenes, 'scene')}, as the criteria demand. Good is pass "
        "everywhere. Euro NCAP's names are the nearest analogues: their tests were not run."
    )
    header = (
        "condition",
        "verdict",
        "found",
        "criterion",
        "prediction times",
        "scenes",
        "Euro NCAP",
    )
    ranked = sorted(result.outcomes, key=lambda outcome: outcome.verdict != FAIL)
    return Table(caption, header, tuple(_row(result, each) for each in ranked), cards=True)


def _row(result: EvaluationResult, outcome: Outcome) -> tuple[Cell, ...]:
    criterion, found = outcome.criterion, outcome.found
    where = ", ".join(f"{name}: {label}" for name, label in criterion.where.items())
    return (
        Cell(criterion.condition, where or "all prediction times", link=_worst(result, criterion)),
        Cell(outcome.verdict, tone=outcome.verdict.replace(" ", "-")),
        Cell(number(found.value), interval(found)),
        Cell(criterion.demand),
        Cell(str(found.n)),
        Cell(str(found.scenes)),
        Cell(" ".join(criterion.euro_ncap)),
    )


def _worst(result: EvaluationResult, criterion: Criterion) -> str:
    """The worst picture of the condition."""
    inside = np.ones(len(result.rows), bool)
    for name, label in criterion.where.items():
        inside &= result.rows.labels[name] == label
    return worst_picture(result, inside)


def _data(outcome: Outcome) -> dict[str, object]:
    criterion = outcome.criterion
    return {
        "id": criterion.id,
        "condition": criterion.condition,
        "where": criterion.where,
        "metric": criterion.metric,
        "at_most": criterion.at_most,
        "at_least": criterion.at_least,
        "euro_ncap": criterion.euro_ncap,
        "found": outcome.found,
        "verdict": outcome.verdict,
    }
