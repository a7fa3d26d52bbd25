"""Ranges of the graph."""

from __future__ import annotations

from dataclasses import dataclass

from forecast.errors import require

_MOST = 1000.0
"""Largest range in metres, seconds or metres per second; beyond it, all agents are candidates."""


@dataclass(frozen=True)
class GraphConfig:
    """Ranges of the graph.

    Attributes:
        agent_radius_m: Range of messages between pedestrians and cyclists.
        vehicle_radius_m: Range of messages from or to a vehicle or the ego, at rest.
        vehicle_ahead_s: That range grows by the distance the faster vehicle drives in this time.
        map_radius_m: Range of messages from map pieces; 0 for a model without a map.
        piece_m: Lines of the map are cut into pieces of about this length.
        piece_points: Points per map piece P.
        slack_mps: How much faster than now people may go on average, in the search for candidates.
        vehicle_slack_mps: The same for vehicles.
    """

    agent_radius_m: float = 5.0
    vehicle_radius_m: float = 10.0
    vehicle_ahead_s: float = 5.0
    map_radius_m: float = 10.0
    piece_m: float = 10.0
    piece_points: int = 5
    slack_mps: float = 1.5
    vehicle_slack_mps: float = 4.0

    def __post_init__(self) -> None:
        """Checks the values; raises `ForecastError`."""
        for name in ("agent_radius_m", "vehicle_radius_m", "piece_m"):
            value = getattr(self, name)
            require(0 < value <= _MOST, f"graph.{name}", value, f"a length up to {_MOST:g} m")
        for name in ("vehicle_ahead_s", "map_radius_m", "slack_mps", "vehicle_slack_mps"):
            value = getattr(self, name)
            require(0 <= value <= _MOST, f"graph.{name}", value, f"0 to {_MOST:g}")
        require(self.piece_points >= 2, "graph.piece_points", self.piece_points, "2 or more")
