"""The graph of a window with the seed of its futures: as recorded, or varied for training."""

from __future__ import annotations

import numpy as np
import torch
from torch_geometric.data import HeteroData

from forecast.datasets.windows import Window, window_seed
from forecast.graphs.augment import AugmentConfig, augment_graph, augment_window
from forecast.graphs.config import GraphConfig
from forecast.graphs.hetero import window_graph


def recorded_graph(window: Window, graph: GraphConfig) -> HeteroData:
    """The graph of a window as recorded, with a seed of its own ``seed [1]``.

    Args:
        window: Any window.
        graph: Ranges of the graph.
    """
    return _seeded(window_graph(window, graph), window_seed(0, window.scene_id, window.at))


def varied_graph(
    window: Window,
    graph: GraphConfig,
    config: AugmentConfig,
    seed: int,
    *,
    twin: bool = False,
    weight: float = 1.0,
) -> HeteroData:
    """The graph of an augmented window, with ``seed [1]``, ``twin [1]`` and ``weight [1]``.

    Args:
        window: A training window.
        graph: Ranges of the graph.
        config: The changes.
        seed: Seed of the changes and of the noise of the futures.
        twin: Whether the next graph of the batch is the same window under another plan.
        weight: How much the window counts in the loss.
    """
    rng = np.random.default_rng(seed)
    config = config.drawn(rng)
    made = window_graph(augment_window(window, config, rng), graph, follows_records=True)
    augment_graph(made, config, rng)
    made.twin = torch.tensor([twin])
    made.weight = torch.tensor([weight])
    return _seeded(made, seed)


def _seeded(graph: HeteroData, seed: int) -> HeteroData:
    """Adds the seed of the noise of the window's futures to its graph, ``seed [1]``."""
    graph.seed = torch.tensor([seed])
    return graph
