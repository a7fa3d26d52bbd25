"""`Window` -> ``HeteroData``: agents and lanes as nodes, candidate neighbours as edges.

The edges here are candidates: all pairs that can come within interaction range before the horizon
ends, if nobody goes faster on average than now plus a stated slack. The model keeps, at every
observed or imagined step, those that are within range at that step
(`forecast.models.edges.edges_in_range`), so the graph follows the imagined positions without a
new neighbour search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
        vehicle_radius_m: Range of interaction where a vehicle or the ego takes part, standing.
        vehicle_ahead_s: The range grows by the way that the faster vehicle goes in this time.
        map_radius_m: Range within which an agent sees map pieces; 0 for a model without a map.
        piece_m: Lines of the map are cut into pieces of about this length.
        piece_points: Points per map piece P.
        slack_mps: How much faster than now people may go on average, for the reach of candidates.
        vehicle_slack_mps: The same for vehicles.
    """

    agent_radius_m: float = 5.0
    vehicle_radius_m: float = 10.0
    vehicle_ahead_s: float = 3.0
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
        for name in ("vehicle_ahead_s", "map_radius_m", "slack_mps", "vehicle_slack_mps"):
            require(getattr(self, name) >= 0, f"graph.{name}", getattr(self, name), "0 or more")
        require(self.piece_points >= 2, "graph.piece_points", self.piece_points, "2 or more")


def window_graph(
    window: Window, config: GraphConfig, ego_plan: NDArray[np.float32] | None = None
) -> HeteroData:
    """Builds the graph of a window.

    Args:
        window: What was seen, and what then happened.
        config: Ranges.
        ego_plan: Poses ``[T, 3]`` the ego will take, or of several plans ``[..., T, 3]``; widens
            what it can reach.

    Returns:
        The graph, as follows.

    Nodes ``agent``: ``position [A, H, 2]``, ``heading [A, H]``, ``valid [A, H]``, ``kind [A]``,
    ``size [A, 3]``, ``dt [A]``; and as targets ``future [A, T, 2]``, ``future_heading [A, T]``,
    ``future_valid [A, T]``, ``scored [A]``. Nodes ``map``: ``points [M, P, 2]``, ``kind [M]``
    (`MapKind`). Edges ``agent near agent`` with ``radius [E]`` and ``map near agent`` (candidates),
    ``map next map`` (pieces that follow each other). Candidates are sorted by their second agent.
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

    position = window.positions_m[:, history - 1]
    past, valid = window.positions_m[:, :history], window.valid[:, :history]
    steps = window.positions_m.shape[1] - history
    speed, reach = speed_and_reach(past, valid, window.kinds, window.dt_s, steps, config, ego_plan)
    pairs, radius = _agent_pairs(position, reach, speed, window.kinds, config)
    near = data["agent", "near", "agent"]
    near.edge_index = torch.from_numpy(pairs)
    near.radius = torch.from_numpy(radius)
    _add_map(data, window.lane_map, position, reach, config)
    return data


def speed_and_reach(
    positions_m: NDArray[Any],
    valid: NDArray[np.bool_],
    kinds: NDArray[np.int8],
    dt_s: float,
    steps: int,
    config: GraphConfig,
    ego_plan: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Speeds to reckon with, and how far agents can get in some steps.

    Args:
        positions_m: History ``[A, H, 2]``.
        valid: Where it is known ``[A, H]``.
        kinds: `AgentKind` values ``[A]``.
        dt_s: Step length.
        steps: Steps ahead.
        config: How much faster than now agents may go.
        ego_plan: Poses ``[..., T, 3]`` the ego may take.

    Returns:
        Speeds in m/s and distances in m ``[A]``.
    """
    slack = np.where(kinds >= AgentKind.VEHICLE, config.vehicle_slack_mps, config.slack_mps)
    speed = _speed_since_last_seen(positions_m, valid, dt_s) + slack
    reach = speed * steps * dt_s
    if ego_plan is not None:
        is_ego = kinds == AgentKind.EGO
        fastest, farthest = _along(ego_plan[..., :2], positions_m[is_ego, -1][0], dt_s)
        speed[is_ego] = np.maximum(speed[is_ego], fastest)
        reach[is_ego] = np.maximum(reach[is_ego], farthest)
    return speed.astype(np.float32), reach.astype(np.float32)


def _speed_since_last_seen(
    positions_m: NDArray[Any], valid: NDArray[np.bool_], dt_s: float
) -> NDArray[Any]:
    """Mean speed from the last seen step to the current one ``[A]``; 0 where there is none."""
    gone = 1 + valid[:, -2::-1].argmax(axis=1) if valid.shape[1] > 1 else np.ones(len(valid), int)
    before = (np.arange(len(valid)), valid.shape[1] - 1 - gone)
    way = np.linalg.norm(positions_m[:, -1] - positions_m[before], axis=-1)
    return np.where(valid[:, -1] & valid[before], way / (gone * dt_s), 0)


def _along(paths: NDArray[np.float32], start: NDArray[Any], dt_s: float) -> tuple[float, float]:
    """Highest speed on paths ``[..., T, 2]`` from a start ``[2]``, and how far away they lead."""
    away = paths - start
    steps = np.diff(np.concatenate([np.zeros_like(away[..., :1, :]), away], axis=-2), axis=-2)
    fastest, farthest = (float(np.linalg.norm(each, axis=-1).max()) for each in (steps, away))
    return fastest / dt_s, farthest


def standing_ranges(
    kinds_a: NDArray[np.int8], kinds_b: NDArray[np.int8], config: GraphConfig
) -> NDArray[np.float32]:
    """Interaction range of pairs of agents by their kinds, if vehicles stand, in metres."""
    drives = (kinds_a >= AgentKind.VEHICLE) | (kinds_b >= AgentKind.VEHICLE)
    return np.where(drives, config.vehicle_radius_m, config.agent_radius_m).astype(np.float32)


def ways_ahead(
    kinds: NDArray[np.int8], speeds_mps: NDArray[np.float32], config: GraphConfig
) -> NDArray[np.float32]:
    """By how much each agent's ranges grow with its speed ``[A]``; only those of vehicles do."""
    return config.vehicle_ahead_s * np.where(kinds >= AgentKind.VEHICLE, speeds_mps, 0)


def _agent_pairs(
    position: NDArray[np.float32],
    reach: NDArray[np.float32],
    speed: NDArray[np.float32],
    kinds: NDArray[np.int8],
    config: GraphConfig,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Ordered pairs of agents that can come within range ``[2, E]``, and their ranges ``[E]``.

    The ranges are those of standing vehicles; a pair is kept by its largest range.
    """
    distance = geometry.distances(position, position)
    limit = standing_ranges(kinds[:, None], kinds, config)
    ahead = ways_ahead(kinds, speed, config)
    largest = limit + np.maximum(ahead[:, None], ahead)
    near = (distance < largest + reach[:, None] + reach) & ~np.eye(len(kinds), dtype=bool)
    target, source = np.nonzero(near)  # both are symmetric
    return np.stack([source, target]), limit[near]


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
    near = geometry.distances(position, pieces.middles_m) < config.map_radius_m + reach[:, None]
    seen = near.any(axis=0)
    pieces = pieces.select(seen)
    nodes = data["map"]
    nodes.num_nodes = len(pieces.points_m)
    nodes.points = torch.from_numpy(pieces.points_m)
    nodes.kind = torch.from_numpy(pieces.kinds)
    data["map", "next", "map"].edge_index = torch.from_numpy(pieces.follows)
    agent, piece = np.nonzero(near[:, seen])
    data["map", "near", "agent"].edge_index = torch.from_numpy(np.stack([piece, agent]))
