"""Which guarantees the predictor gives."""

from __future__ import annotations

from forecast.evaluation.audit.command import detail, outcome
from forecast.evaluation.result import EvaluationResult
from forecast.report.section import Cell, Section, Table, Text


def causality(result: EvaluationResult) -> Section:
    """The findings of an audit on some windows of this evaluation."""
    title = "Causality and protocol"
    if not result.findings:
        words = "Predictions from a file cannot be repeated: no guarantee was tested."
        return Section("causality", title, (Text(words),))
    rows = tuple(
        (
            Cell(finding.guarantee.words, finding.guarantee.id),
            Cell(outcome(finding), tone=_TONES[finding.held]),
            Cell("required" if finding.guarantee.required else "wished"),
            Cell(detail(finding).lstrip("; ")),
        )
        for finding in result.findings
    )
    caption = (
        "Tests on some windows in which the predictor gets the whole scene. Good is that "
        "everything holds. The scores of this report do not depend on it: predictors "
        "got no later frame."
    )
    data = {
        finding.guarantee.id: {
            "held": finding.held,
            "required": finding.guarantee.required,
            "windows": finding.windows,
            "worst_m": finding.worst_m,
        }
        for finding in result.findings
    }
    table = Table(caption, ("guarantee", "found", "kind", "tried"), rows, cards=True)
    return Section("causality", title, (table,), data)


_TONES = {True: "pass", False: "fail", None: "undecided"}
