"""Which guarantees the predictor gives."""

from __future__ import annotations

from forecast.evaluation.audit.command import detail, verdict
from forecast.evaluation.result import EvaluationResult
from forecast.report.section import Cell, Section, Table, Text


def causality(result: EvaluationResult) -> Section:
    """What an audit on some windows of this evaluation found."""
    title = "Causality and protocol"
    if not result.findings:
        words = "Predictions from a file cannot be asked again: no guarantee was tried."
        return Section("causality", title, (Text(words),))
    rows = tuple(
        (
            Cell(finding.guarantee.words, finding.guarantee.id),
            Cell(verdict(finding), tone=_TONES[finding.held]),
            Cell("required" if finding.guarantee.required else "wished"),
            Cell(detail(finding).lstrip("; ")),
        )
        for finding in result.findings
    )
    caption = (
        "What was tried on some windows with the whole scene at hand. Good is that everything "
        "holds. The scores of this report do not rest on it: predictors were shown no later frame."
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


_TONES = {True: "pass", False: "fail", None: "too-few"}
