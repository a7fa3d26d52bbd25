"""Trained weights at work: predict."""

from forecast.inference.forecaster import Forecaster, load
from forecast.inference.weights import PACKAGED, Source, Training, read_weights
from forecast.inference.windows import observed, predict_window

__all__ = [
    "PACKAGED",
    "Forecaster",
    "Source",
    "Training",
    "load",
    "observed",
    "predict_window",
    "read_weights",
]
