"""Windows as torch-geometric graphs: candidates, map pieces, augmentation and the data module."""

from forecast.graphs.config import GraphConfig
from forecast.graphs.hetero import window_graph
from forecast.graphs.pieces import MapKind

__all__ = ["GraphConfig", "MapKind", "window_graph"]
