"""The recorded ground truth, scored like a prediction.

How often people come close to each other or to a car, and how much they walk on the road, depends
on the place. A predictor should match the recorded rates; lower is not better.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from forecast.evaluation.scoring.sample import EvaluationSample
from forecast.models.metrics.registry import per_agent
from forecast.models.metrics.scored import Scored

GROUND_TRUTH = "recorded"
"""Name of the ground truth beside the predictors in tables, ``metrics.json`` and columns."""

GROUND_TRUTH_METRICS = ("collision_rate_pedestrians", "collision_rate_ego", "on_road_share")
"""The metrics whose target is the value of the ground truth."""


def true_future(sample: EvaluationSample) -> Scored:
    """The true future as a prediction of one sample."""
    truth = torch.as_tensor(sample.truth_m, dtype=torch.float64)
    ego, ego_size_m = sample.ego or (None, None)
    return Scored(
        samples_m=truth[None],
        weights=torch.ones(1, dtype=torch.float64),
        mode_m=truth,
        truth_m=truth,
        dt_s=sample.window.dt_s,
        ego=None if ego is None else torch.as_tensor(ego, dtype=torch.float64),
        ego_size_m=ego_size_m,
        lane_map=sample.window.lane_map,
    )


def ground_truth_values(scored: Scored) -> dict[str, Tensor]:
    """Values ``[N]`` of `GROUND_TRUTH_METRICS`, with the true future as the only sample."""
    truth = scored.truth_m
    world = replace(scored, samples_m=truth[None], weights=torch.ones(1).to(truth), mode_m=truth)
    return per_agent(world, GROUND_TRUTH_METRICS)
