"""Trained weights at work: predict, stream, imagine, rank plans."""

from forecast.inference.forecaster import Forecaster, load
from forecast.inference.stream import Frame, Stream
from forecast.inference.weights import PACKAGED, Source, Training, read_weights
from forecast.inference.windows import observed, predict_window
from forecast.inference.world import World
from forecast.scene.flicker import flicker

__all__ = [
    "PACKAGED",
    "Forecaster",
    "Frame",
    "Source",
    "Stream",
    "Training",
    "World",
    "flicker",
    "load",
    "observed",
    "predict_window",
    "read_weights",
]
