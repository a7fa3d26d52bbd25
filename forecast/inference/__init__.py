"""Trained weights as a `Predictor`; streams, interactive worlds, ranking of plans, calibration."""

from forecast.datasets.learnt_from import Source
from forecast.inference.forecaster import Forecaster, load
from forecast.inference.recording import Frame
from forecast.inference.stream import Stream
from forecast.inference.weights import PACKAGED, Training
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
]
