"""An `EvaluationResult` as one self-contained HTML page, and as JSON of the same content."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from forecast.evaluation.output.folder import DOCUMENT_FILE, REPORT_FILE
from forecast.evaluation.result import EvaluationResult
from forecast.report.document import document
from forecast.report.section import Section
from forecast.report.sections import SECTIONS
from forecast.report.style import css_variables


def render(result: EvaluationResult) -> dict[str, str]:
    """The files of the report: ``report.html`` and ``report.json``, by name."""
    sections = [section(result) for section in SECTIONS]
    title = f"{result.predictor} on {result.setting.split}"
    return {REPORT_FILE: page(title, sections), DOCUMENT_FILE: document(title, sections)}


def page(title: str, sections: Sequence[Section]) -> str:
    """The page with all sections, styles and drawings inside; it loads nothing."""
    environment = Environment(
        loader=PackageLoader("forecast", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        title=title,
        sections=sections,
        light=css_variables(dark=False),
        dark=css_variables(dark=True),
    )
