"""Metrics: pure functions of arrays and the registry of their names.

The classes with state are in `forecast.models.metrics.classes`. They are not imported here, so that
the planner and the loss can use the functions without loading torchmetrics.
"""

from forecast.models.metrics.collision import ego_collision_rate, pairwise_collision_rate
from forecast.models.metrics.criticality import (
    conflict_false,
    conflict_missed,
    plan_regret,
    planner_weight,
    post_encroachment_time,
    time_to_collision,
)
from forecast.models.metrics.displacement import (
    ade,
    brier_min_fde,
    displacement,
    fde,
    jade,
    jfde,
    min_ade,
    min_fde,
    miss_rate_final,
    miss_rate_waymo,
    sample_mean,
)
from forecast.models.metrics.distribution import (
    LOG_DENSITY_FLOOR_NATS,
    MIN_SPREAD_M,
    coverage,
    credibility,
    energy_score,
    kde_nll,
    spread,
)
from forecast.models.metrics.map_compliance import on_road, on_road_share
from forecast.models.metrics.registry import METRICS, MetricSpec, per_agent, spec
from forecast.models.metrics.scored import Scored
from forecast.models.metrics.tubes import tube_areas, tube_coverage

__all__ = [
    "LOG_DENSITY_FLOOR_NATS",
    "METRICS",
    "MIN_SPREAD_M",
    "MetricSpec",
    "Scored",
    "ade",
    "brier_min_fde",
    "conflict_false",
    "conflict_missed",
    "coverage",
    "credibility",
    "displacement",
    "ego_collision_rate",
    "energy_score",
    "fde",
    "jade",
    "jfde",
    "kde_nll",
    "min_ade",
    "min_fde",
    "miss_rate_final",
    "miss_rate_waymo",
    "on_road",
    "on_road_share",
    "pairwise_collision_rate",
    "per_agent",
    "plan_regret",
    "planner_weight",
    "post_encroachment_time",
    "sample_mean",
    "spec",
    "spread",
    "time_to_collision",
    "tube_areas",
    "tube_coverage",
]
