"""What the world was (`Scene`) and what it may become (`Prediction`)."""

from forecast.scene.agents import AgentKind, Tracks
from forecast.scene.lanes import LaneMap, Polygons, Polylines
from forecast.scene.prediction import Grid, IncrementalPredictor, Prediction, Predictor
from forecast.scene.scene import Scene
from forecast.scene.tubes import Tubes

__all__ = [
    "AgentKind",
    "Grid",
    "IncrementalPredictor",
    "LaneMap",
    "Polygons",
    "Polylines",
    "Prediction",
    "Predictor",
    "Scene",
    "Tracks",
    "Tubes",
]
