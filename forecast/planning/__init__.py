"""Candidate plans, how close they come to imagined agents, and which plan to drive."""

from forecast.planning.candidates import MotionLimits, candidates, feasible
from forecast.planning.clearance import Clearance, ClearanceConfig, clearance
from forecast.planning.ego import EgoState
from forecast.planning.futures import Futures
from forecast.planning.ranking import CostConfig, Ranking, rank
from forecast.planning.risk import Lead
from forecast.planning.road import RoadUse, road_use

__all__ = [
    "Clearance",
    "ClearanceConfig",
    "CostConfig",
    "EgoState",
    "Futures",
    "Lead",
    "MotionLimits",
    "Ranking",
    "RoadUse",
    "candidates",
    "clearance",
    "feasible",
    "rank",
    "road_use",
]
