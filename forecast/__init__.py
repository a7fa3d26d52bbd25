"""Pedestrian trajectory forecasting for autonomous driving."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from forecast.errors import ForecastError, ForecastWarning
from forecast.scene import AgentKind, LaneMap, Prediction, Predictor, Scene

if TYPE_CHECKING:
    from forecast.datasets.store import SceneStore
    from forecast.inference import Forecaster, load

__version__ = "0.1.0"

__all__ = [
    "AgentKind",
    "ForecastError",
    "ForecastWarning",
    "Forecaster",
    "LaneMap",
    "Prediction",
    "Predictor",
    "Scene",
    "SceneStore",
    "load",
]

_LAZY = {
    "Forecaster": "forecast.inference",
    "SceneStore": "forecast.datasets.store",
    "load": "forecast.inference",
}
"""Names that bring torch or pyarrow with them: imported when first used."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'forecast' has no attribute '{name}'")
    return getattr(import_module(_LAZY[name]), name)
