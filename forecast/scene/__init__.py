"""Recorded scenes (`Scene`) and their possible futures (`Prediction`)."""

from forecast.scene.agents import AgentKind, Tracks
from forecast.scene.grid import Grid
from forecast.scene.lanes import LaneMap, Polygons, Polylines
from forecast.scene.modes import ModeSet
from forecast.scene.prediction import (
    Prediction,
    Predictor,
    load_predictions,
    save_predictions,
)
from forecast.scene.scene import Scene
from forecast.scene.tubes import Tubes

__all__ = [
    "AgentKind",
    "Grid",
    "LaneMap",
    "ModeSet",
    "Polygons",
    "Polylines",
    "Prediction",
    "Predictor",
    "Scene",
    "Tracks",
    "Tubes",
    "load_predictions",
    "save_predictions",
]
