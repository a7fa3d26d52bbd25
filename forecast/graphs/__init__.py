"""Windows as torch-geometric graphs, and the data module that batches them."""

from forecast.graphs.hetero import GraphConfig, window_graph
from forecast.graphs.pieces import MapKind

__all__ = ["GraphConfig", "MapKind", "window_graph"]
