"""An evaluation, or a comparison of two, as a page that a person can read, print and sign."""

from forecast.report.comparison import render_comparison
from forecast.report.page import render

__all__ = ["render", "render_comparison"]
