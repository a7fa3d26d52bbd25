"""An evaluation, a comparison of two, or an adaptation, as a page to read, print and sign."""

from forecast.report.adaptation import render_adaptation
from forecast.report.comparison import render_comparison
from forecast.report.page import render

__all__ = ["render", "render_adaptation", "render_comparison"]
