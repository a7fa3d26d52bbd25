"""Windows as torch-geometric graphs, and the data module that batches them."""

from forecast.graphs.hetero import GraphConfig, window_graph

__all__ = ["GraphConfig", "window_graph"]
