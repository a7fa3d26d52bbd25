"""`Window` -> ``HeteroData``: agents and lanes as nodes, candidate neighbours as edges.

The edges here are candidates: all pairs that can come within interaction range before the horizon
ends, if nobody goes faster on average than now plus a stated slack. The model keeps, at every
observed or imagined step, those that are within range at that step
(`forecast.models.encoder.edges_in_range`), so the graph follows the imagined positions without a
new neighbour search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from forecast import geometry
from forecast.datasets.windows import Window
from forecast.errors import require
from forecast.graphs.pieces import MapPieces, cut_map
from forecast.scene import AgentKind, LaneMap


@dataclass(frozen=True)
class GraphConfig:
    """Ranges of the graph.

    Attributes:
        agent_radius_m: Range of interaction between pedestrians and cyclists.
        vehicle_radius_m: Range of interaction where a vehicle or the ego takes part.
        map_radius_m: Range within which an agent sees map pieces; 0 for a model without a map.
        piece_m: Lines of the map are cut into pieces of about this length.
        piece_points: Points per map piece P.
        slack_mps: How much faster than now people may go on average, for the reach of candidates.
        vehicle_slack_mps: The same for vehicles.
    """

    agent_radius_m: float = 5.0
    vehicle_radius_m: float = 15.0
    map_radius_m: float = 10.0
    piece_m: float = 10.0
    piece_points: int = 5
    slack_mps: float = 1.5
    vehicle_slack_mps: float = 4.0

    def __post_init__(self) -> None:
        """Checks the values; raises `ForecastError`."""
        for name in ("agent_radius_m", "vehicle_radius_m", "piece_m"):
            value = getattr(self, name)
            require(value > 0, f"graph.{name}", value, "a positive length")
        for name in ("map_radius_m", "slack_mps", "vehicle_slack_mps"):
            require(getattr(self, name) >= 0, f"graph.{name}", getattr(self, name), "0 or more")
        require(self.piece_points >= 2, "graph.piece_points", self.piece_points, "2 or more")


def window_graph(
    window: Window, config: GraphConfig, ego_plan: NDArray[np.float32] | None = None
) -> HeteroData:
    """Builds the graph of a window.

    Args:
        window: What was seen, and what then happened.
        config: Ranges.
        ego_plan: Poses ``[T, 3]`` the ego will take; widens what it can reach.

    Returns:
        The graph, as follows.

    Nodes ``agent``: ``position [A, H, 2]``, ``heading [A, H]``, ``valid [A, H]``, ``kind [A]``,
    ``size [A, 3]``, ``dt [A]``; and as targets ``future [A, T, 2]``, ``future_heading [A, T]``,
    ``future_valid [A, T]``, ``scored [A]``. Nodes ``map``: ``points [M, P, 2]``, ``kind [M]``
    (`MapKind`). Edges ``agent near agent`` with ``radius [E]`` and ``map near agent`` (candidates),
    ``map next map`` (pieces that follow each other).
    Only ``future*`` and ``scored`` depend on what follows the current step.
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
    agent.future = torch.from_numpy(window.future_m)
    agent.future_heading = torch.from_numpy(window.headings_rad[:, history:])
    agent.future_valid = torch.from_numpy(window.future_valid)
    agent.scored = torch.from_numpy(window.scored)

    position, reach = _reach(window, config, ego_plan)
    pairs, radius = _agent_pairs(position, reach, window.kinds, config)
    data["agent", "near", "agent"].edge_index = torch.from_numpy(pairs)
    data["agent", "near", "agent"].radius = torch.from_numpy(radius)
    _add_map(data, window.lane_map, position, reach, config)
    return data


def _reach(
    window: Window, config: GraphConfig, ego_plan: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Current positions ``[A, 2]`` and how far each agent can get before the horizon ``[A]``."""
    history = window.history_steps
    steps = window.positions_m.shape[1] - history
    past, valid = window.positions_m[:, :history], window.valid[:, :history]
    velocity, _ = geometry.backward_velocity(past, valid, window.dt_s)
    drives = window.kinds >= AgentKind.VEHICLE
    slack = np.where(drives, config.vehicle_slack_mps, config.slack_mps)
    reach = (np.linalg.norm(velocity[:, -1], axis=-1) + slack) * steps * window.dt_s
    position = past[:, -1]
    if ego_plan is not None:
        away = np.linalg.norm(ego_plan[None, :, :2] - position[:, None], axis=-1).max(axis=1)
        reach = np.where(window.kinds == AgentKind.EGO, np.maximum(reach, away), reach)
    return position, reach.astype(np.float32)


def radii(
    kinds_a: NDArray[np.int8], kinds_b: NDArray[np.int8], config: GraphConfig
) -> NDArray[np.float32]:
    """Interaction range of pairs of agents by their kinds, in metres."""
    large = (kinds_a >= AgentKind.VEHICLE) | (kinds_b >= AgentKind.VEHICLE)
    return np.where(large, config.vehicle_radius_m, config.agent_radius_m).astype(np.float32)


def _agent_pairs(
    position: NDArray[np.float32],
    reach: NDArray[np.float32],
    kinds: NDArray[np.int8],
    config: GraphConfig,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Ordered pairs of agents that can come within range ``[2, E]``, and their ranges ``[E]``."""
    distance = np.linalg.norm(position[:, None] - position[None], axis=-1)
    limit = radii(kinds[:, None], kinds[None], config)
    near = (distance < limit + reach[:, None] + reach[None]) & ~np.eye(len(kinds), dtype=bool)
    return np.stack(np.nonzero(near)), limit[near]


def _add_map(
    data: HeteroData,
    lane_map: LaneMap | None,
    position: NDArray[np.float32],
    reach: NDArray[np.float32],
    config: GraphConfig,
) -> None:
    """Adds the map pieces that an agent can come to see, and the pairs (piece, agent)."""
    pieces = MapPieces.none(config.piece_points)
    if lane_map is not None and config.map_radius_m:
        pieces = cut_map(lane_map, config.piece_m, config.piece_points)
    distance = np.linalg.norm(pieces.points_m.mean(axis=1)[:, None] - position[None], axis=-1)
    near = distance < config.map_radius_m + reach[None]
    seen = near.any(axis=1)
    pieces = pieces.select(seen)
    data["map"].num_nodes = len(pieces.points_m)
    data["map"].points = torch.from_numpy(pieces.points_m)
    data["map"].kind = torch.from_numpy(pieces.kinds)
    data["map", "next", "map"].edge_index = torch.from_numpy(pieces.follows)
    data["map", "near", "agent"].edge_index = torch.from_numpy(np.stack(np.nonzero(near[seen])))
