"""Trained weights at work: predict, imagine, rank plans."""

from forecast.inference.forecaster import Forecaster, load
from forecast.inference.weights import PACKAGED, Source, Training, read_weights
from forecast.inference.windows import observed, predict_window
from forecast.inference.world import World

__all__ = [
    "PACKAGED",
    "Forecaster",
    "Source",
    "Training",
    "World",
    "load",
    "observed",
    "predict_window",
    "read_weights",
]
