"""Pedestrian trajectory forecasting for autonomous driving."""

from forecast.errors import ForecastError
from forecast.scene import AgentKind, LaneMap, Prediction, Predictor, Scene

__version__ = "0.1.0"

__all__ = ["AgentKind", "ForecastError", "LaneMap", "Prediction", "Predictor", "Scene"]
