"""An evaluation as a page that a person can read, print and sign."""

from forecast.report.page import render

__all__ = ["render"]
