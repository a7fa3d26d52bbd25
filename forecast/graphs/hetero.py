"""`Window` -> ``HeteroData``: agents and map pieces as nodes, neighbour candidates as edges."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from forecast.datasets.windows import Window
from forecast.graphs.candidates import Reach, agent_candidates, map_candidates, reach, with_paths
from forecast.graphs.config import GraphConfig
from forecast.graphs.pieces import MapPieces, cut_map


def window_graph(
    window: Window,
    config: GraphConfig,
    ego_plan: NDArray[np.float32] | None = None,
    *,
    follows_records: bool = False,
) -> HeteroData:
    """Builds the graph of a window.

    Args:
        window: History and future of the agents of a scene.
        config: Ranges.
        ego_plan: Poses ``[T, 3]`` that the ego will follow, or those of several plans
            ``[..., T, 3]``. They add candidates along the plans.
        follows_records: Whether vehicles may follow their recorded futures, as in training. These
            add other agents along the way as candidates. Map pieces stay the same, so that they
            are varied alike under every plan.

    Returns:
        The graph, as follows.

    Nodes ``agent``: ``position [A, H, 2]``, ``heading [A, H]``, ``valid [A, H]``, ``kind [A]``,
    ``size [A, 3]``, ``dt [A]``, ``heading_known [A]``; and as targets ``future [A, T, 2]``,
    ``future_heading [A, T]``, ``future_valid [A, T]``, ``scored [A]``, ``decision [A, H + T]``
    (`forecast.scene.agents.Decision`). Nodes ``map``:
    ``points [M, P, 2]``, ``kind [M]`` (`MapKind`), ``conflicts [M, K, 4]``
    (`forecast.graphs.conflicts.conflict_points`). Edges: ``agent near agent`` with
    ``radius [E]`` (candidates), ``map near agent`` (candidates), and ``map next map`` (the second
    piece starts where the first ends). Candidates are sorted by target. Only ``future*``,
    ``scored``, later steps of ``decision`` and, with ``follows_records``, candidates among agents
    depend on the future.
    """
    history = window.history_steps
    data = HeteroData()
    agent = data["agent"]
    agent.num_nodes = len(window.kinds)
    agent.position = torch.from_numpy(window.positions_m[:, :history])
    agent.heading = torch.from_numpy(window.headings_rad[:, :history])
    agent.valid = torch.from_numpy(window.valid[:, :history])
    agent.kind = torch.from_numpy(window.kinds.astype(np.int64))
    agent.size = torch.from_numpy(np.ascontiguousarray(window.sizes_m))
    agent.dt = torch.full((len(window.kinds),), window.dt_s)
    agent.heading_known = torch.from_numpy(window.heading_known)
    agent.future = torch.from_numpy(window.future_m)
    agent.future_heading = torch.from_numpy(window.headings_rad[:, history:])
    agent.future_valid = torch.from_numpy(window.future_valid)
    agent.decision = torch.from_numpy(window.decisions.astype(np.int64))
    agent.scored = torch.from_numpy(window.scored)

    past, valid = window.positions_m[:, :history], window.valid[:, :history]
    steps = window.positions_m.shape[1] - history
    within = reach(past, valid, window.kinds, window.dt_s, steps, config, ego_plan)
    meets = _along_records(window, within) if follows_records else within
    pairs, radius = agent_candidates(window.kinds, past[:, -1], meets, config)
    near = data["agent", "near", "agent"]
    near.edge_index = torch.from_numpy(pairs)
    near.radius = torch.from_numpy(radius)
    pieces = MapPieces.none(config.piece_points)
    if window.lane_map is not None and config.map_radius_m:
        pieces = cut_map(window.lane_map, config.piece_m, config.piece_points)
    _add_map(data, pieces, map_candidates(pieces, past[:, -1], within, config))
    return data


def _along_records(window: Window, within: Reach) -> Reach:
    """Bounds that also hold for vehicles that follow their recorded futures."""
    now = window.history_steps - 1
    paths, known = window.positions_m[:, now:], window.valid[:, now:]
    return with_paths(within, window.kinds, paths, known, window.dt_s)


def _add_map(data: HeteroData, pieces: MapPieces, pairs: NDArray[np.int64]) -> None:
    """Adds the map pieces that are candidates of an agent, and the pairs (piece, agent)."""
    kept = np.zeros(len(pieces.points_m), bool)
    kept[pairs[0]] = True
    seen, index = pieces.select(kept), np.cumsum(kept) - 1
    nodes = data["map"]
    nodes.num_nodes = len(seen.points_m)
    nodes.points = torch.from_numpy(seen.points_m)
    nodes.kind = torch.from_numpy(seen.kinds)
    nodes.conflicts = torch.from_numpy(seen.conflicts)
    data["map", "next", "map"].edge_index = torch.from_numpy(seen.follows)
    near = np.stack([index[pairs[0]], pairs[1]])
    data["map", "near", "agent"].edge_index = torch.from_numpy(near)
