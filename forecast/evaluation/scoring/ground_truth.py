"""The recorded world, put through the metrics of behaviour.

How often people come close to each other or to a car, and how much they walk on the road, is a
property of the place: a predictor should do so as often as they did, not as seldom as possible.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from forecast.models.metrics.registry import per_agent
from forecast.models.metrics.scored import Scored

RECORDED = "recorded"
"""What the recorded world is called beside the predictors."""

RECORDED_METRICS = ("collision_rate_pedestrians", "collision_rate_ego", "on_road_share")
"""The metrics whose value to reach is that of the recorded world."""


def recorded(scored: Scored) -> dict[str, Tensor]:
    """Values ``[N]`` of `RECORDED_METRICS` for the truth as the only sample."""
    truth = scored.truth_m
    world = replace(scored, samples_m=truth[None], weights=torch.ones(1).to(truth), mode_m=truth)
    return per_agent(world, RECORDED_METRICS)
