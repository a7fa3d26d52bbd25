"""Ranges of the graph."""

from __future__ import annotations

from dataclasses import dataclass

from forecast.errors import require


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
