"""`Window` -> ``HeteroData``: agents and lanes as nodes, candidate neighbours as edges.

The edges here are candidates: all pairs that can come within interaction range before the horizon
ends, if nobody goes faster on average than now plus a stated slack. The model keeps, at every
observed or imagined step, those that are within range at that step
(`forecast.models.encoder.edges_in_range`), so the graph follows the imagined positions without a
new neighbour search.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from forecast import geometry
from forecast.datasets.windows import Window
from forecast.errors import require
from forecast.scene import AgentKind, LaneMap


@dataclass(frozen=True)
class GraphConfig:
    """Ranges of the graph.

    Attributes:
        agent_radius_m: Range of interaction between pedestrians and cyclists.
        vehicle_radius_m: Range of interaction where a vehicle or the ego takes part.
        lane_radius_m: Range within which an agent sees lane pieces; 0 for a model without a map.
        lane_piece_m: Lanes are cut into pieces of about this length.
        lane_points: Points per lane piece P.
        slack_mps: How much faster than now people may go on average, for the reach of candidates.
        vehicle_slack_mps: The same for vehicles.
    """

    agent_radius_m: float = 5.0
    vehicle_radius_m: float = 15.0
    lane_radius_m: float = 12.0
    lane_piece_m: float = 12.0
    lane_points: int = 5
    slack_mps: float = 1.5
    vehicle_slack_mps: float = 4.0

    def __post_init__(self) -> None:
        """Checks the values; raises `ForecastError`."""
        for name in ("agent_radius_m", "vehicle_radius_m", "lane_piece_m"):
            value = getattr(self, name)
            require(value > 0, f"graph.{name}", value, "a positive length")
        for name in ("lane_radius_m", "slack_mps", "vehicle_slack_mps"):
            require(getattr(self, name) >= 0, f"graph.{name}", getattr(self, name), "0 or more")
        require(self.lane_points >= 2, "graph.lane_points", self.lane_points, "2 or more")


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
    ``future_valid [A, T]``, ``scored [A]``. Nodes ``lane``: ``points [L, P, 2]``. Edges
    ``agent near agent`` and ``lane near agent`` (candidates), ``lane next lane`` (traffic flow).
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
    data["agent", "near", "agent"].edge_index = _agent_pairs(position, reach, window.kinds, config)
    points, follows = _lane_pieces(window.lane_map, position, reach, config)
    data["lane"].num_nodes = len(points)
    data["lane"].points = torch.from_numpy(points)
    data["lane", "next", "lane"].edge_index = torch.from_numpy(follows)
    data["lane", "near", "agent"].edge_index = _lane_pairs(points, position, reach, config)
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
) -> torch.Tensor:
    """Ordered pairs of different agents that can come within range ``[2, E]``."""
    distance = np.linalg.norm(position[:, None] - position[None], axis=-1)
    limit = radii(kinds[:, None], kinds[None], config) + reach[:, None] + reach[None]
    near = (distance < limit) & ~np.eye(len(kinds), dtype=bool)
    return torch.from_numpy(np.stack(np.nonzero(near)))


def _lane_pairs(
    points: NDArray[np.float32],
    position: NDArray[np.float32],
    reach: NDArray[np.float32],
    config: GraphConfig,
) -> torch.Tensor:
    """Pairs (lane piece, agent) that can come within range ``[2, E]``."""
    middle = points.mean(axis=1)
    distance = np.linalg.norm(middle[:, None] - position[None], axis=-1)
    near = distance < config.lane_radius_m + reach[None]
    return torch.from_numpy(np.stack(np.nonzero(near)))


def _lane_pieces(
    lane_map: LaneMap | None,
    position: NDArray[np.float32],
    reach: NDArray[np.float32],
    config: GraphConfig,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Lane pieces ``[L, P, 2]`` near any agent, and which follows which ``[2, E]``."""
    empty = np.zeros((0, config.lane_points, 2), np.float32), np.zeros((2, 0), np.int64)
    if lane_map is None or not len(lane_map) or not len(position) or not config.lane_radius_m:
        return empty
    pieces, follows = cut_lanes(lane_map, config.lane_piece_m, config.lane_points)
    distance = np.linalg.norm(pieces.mean(axis=1)[:, None] - position[None], axis=-1)
    keep = (distance < config.lane_radius_m + reach[None]).any(axis=1)
    renamed = np.cumsum(keep) - 1
    kept_links = follows[:, keep[follows].all(axis=0)]
    return pieces[keep], renamed[kept_links]


@lru_cache(maxsize=2048)
def cut_lanes(
    lane_map: LaneMap, piece_m: float, points: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Cuts centre lines into pieces of about equal length; kept for the maps used last.

    Args:
        lane_map: A map with lanes.
        piece_m: Wanted length of a piece.
        points: Points per piece P.

    Returns:
        Pieces ``[L, P, 2]`` and links ``[2, E]``: traffic flows from the first to the second.
    """
    pieces: list[NDArray[np.float64]] = []
    first, last, links = [], [], []
    for line in lane_map.centerlines:
        count = max(1, round(geometry.polyline_length(line) / piece_m))
        dense = geometry.resample_polyline(line, count * (points - 1) + 1)
        start = len(pieces)
        pieces += [dense[i * (points - 1) :][:points] for i in range(count)]
        first.append(start)
        last.append(start + count - 1)
        links += [(start + i, start + i + 1) for i in range(count - 1)]
    links += [(last[a], first[b]) for a, b in lane_map.successors]
    flow = np.array(links, np.int64).reshape(-1, 2).T
    return np.asarray(pieces, np.float32), flow
