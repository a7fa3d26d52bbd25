"""Scores any `Predictor` on the windows of a store: `evaluate`, and `run` with floors and files."""

from forecast.evaluation.job import run
from forecast.evaluation.result import EvaluationResult, Mean, Picture, Rows, Setting
from forecast.evaluation.scoring import evaluate

__all__ = ["EvaluationResult", "Mean", "Picture", "Rows", "Setting", "evaluate", "run"]
