"""An `EvaluationResult` as one self-contained HTML page."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from forecast.evaluation.result import EvaluationResult
from forecast.report.sections import SECTIONS
from forecast.report.style import css_variables


def render(result: EvaluationResult) -> str:
    """The page: all sections, styles and drawings inside, nothing loaded from elsewhere."""
    environment = Environment(
        loader=PackageLoader("forecast", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        title=f"{result.predictor} on {result.setting.split}",
        sections=[section(result) for section in SECTIONS],
        light=css_variables(dark=False),
        dark=css_variables(dark=True),
    )
