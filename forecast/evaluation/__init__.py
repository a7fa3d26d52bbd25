"""Scores any `Predictor` on the windows of a store: `evaluate`, and `run` with floors and files."""

from forecast.evaluation.job import run
from forecast.evaluation.merging import evaluate, merge
from forecast.evaluation.result import EvaluationResult, Mean, Picture, Rows, Setting

__all__ = ["EvaluationResult", "Mean", "Picture", "Rows", "Setting", "evaluate", "merge", "run"]
