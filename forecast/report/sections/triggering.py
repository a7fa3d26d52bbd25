"""Triggering conditions in the sense of ISO 21448, with their acceptance criteria."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from forecast.evaluation.output.numbers import interval, number
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.verdict.acceptance import FAIL, Criterion, DecisionRule, Outcome
from forecast.report.section import Block, Cell, Section, Table, Text
from forecast.report.sections.gallery import worst_picture


def triggering(result: EvaluationResult) -> Section:
    """A table of condition, count, result, criterion and verdict."""
    blocks: list[Block] = []
    if not result.acceptance:
        words = (
            "These criteria are the package's example, for predictions of 6 s. Copy "
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
    rule = DecisionRule(result.minimum_rows, result.minimum_scenes)
    caption = (
        "Conditions that may trigger a hazard, and what is demanded of the prediction in them "
        f"(ISO 21448). {rule.words} Good is pass everywhere. {rule.METHOD} Euro NCAP's names are "
        "the nearest analogues: their tests were not run."
    )
    header = (
        "condition",
        "verdict",
        "still needed",
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
        Cell(outcome.verdict, tone=outcome.verdict),
        _missing(outcome),
        Cell(number(found.value), interval(found)),
        Cell(criterion.demand),
        Cell(str(found.n)),
        Cell(str(found.scenes)),
        Cell(" ".join(criterion.euro_ncap)),
    )


def _missing(outcome: Outcome) -> Cell:
    """What an undecided criterion needs, and why."""
    missing = outcome.missing
    if missing is None:
        return Cell("")
    fails = missing.why != "horizon" and outcome.criterion.margin(outcome.found.value) < 0
    then = "; at this mean it fails then" if fails else ""
    return Cell(missing.words, f"{_WHY[missing.why]}{then}")


_WHY = {
    "minimum": "the minimum",
    "interval": "for an interval within the limit",
    "undefined": "it has no value in any row",
    "partly": "errors where it has no value are unknown",
    "horizon": "the limit is for that horizon",
}


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
        "horizon_s": criterion.horizon_s,
        "found": outcome.found,
        "verdict": outcome.verdict,
        "missing": None if outcome.missing is None else asdict(outcome.missing),
    }
