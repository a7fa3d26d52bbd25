"""Pedestrian trajectory forecasting for autonomous driving."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from forecast.errors import ForecastError, ForecastWarning
from forecast.scene import (
    AgentKind,
    Grid,
    LaneMap,
    Prediction,
    Predictor,
    Scene,
    load_predictions,
    save_predictions,
)

if TYPE_CHECKING:
    from forecast.adaptation import Adapter
    from forecast.datasets.store import SceneStore
    from forecast.inference import Forecaster, Frame, Stream, World, load
    from forecast.planning import CostConfig, EgoState, Ranking
    from forecast.planning.candidates import candidates
    from forecast.visualization.plot import plot

__version__ = "0.1.0"

__all__ = [
    "Adapter",
    "AgentKind",
    "CostConfig",
    "EgoState",
    "ForecastError",
    "ForecastWarning",
    "Forecaster",
    "Frame",
    "Grid",
    "LaneMap",
    "Prediction",
    "Predictor",
    "Ranking",
    "Scene",
    "SceneStore",
    "Stream",
    "World",
    "candidates",
    "load",
    "load_predictions",
    "open_store",
    "plot",
    "save_predictions",
]

_LAZY = {
    "Adapter": "forecast.adaptation",
    "CostConfig": "forecast.planning",
    "EgoState": "forecast.planning",
    "Forecaster": "forecast.inference",
    "Frame": "forecast.inference",
    "Ranking": "forecast.planning",
    "SceneStore": "forecast.datasets.store",
    "Stream": "forecast.inference",
    "World": "forecast.inference",
    "candidates": "forecast.planning",
    "load": "forecast.inference",
    "plot": "forecast.visualization.plot",
}
"""Names that bring torch, pyarrow or matplotlib with them: imported when first used."""


def open_store(path: Path | str) -> SceneStore:
    """Opens a store of ``forecast prepare``; ``store[name]`` is a scene. See `SceneStore.open`."""
    from forecast.datasets.store import SceneStore

    return SceneStore.open(path)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'forecast' has no attribute '{name}'")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """All public names, also those that are imported when first used, and loaded parts."""
    parts = [name for name, value in globals().items() if isinstance(value, ModuleType)]
    return sorted({*__all__, *parts, *(name for name in globals() if name.startswith("__"))})
