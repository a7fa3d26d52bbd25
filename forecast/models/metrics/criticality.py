"""How near a pedestrian and the ego vehicle come, in time, and what an error costs the planner.

Positions are joint futures ``[K, N, T, 2]``, weights ``[K]`` sum to 1, the ego's real poses are
``[T, 3]`` (x_m, y_m, heading_rad) of its box's centre at the same steps. A pedestrian is a disc.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast import geometry
from forecast.models.metrics.collision import interpolate, interpolate_poses

Floats = NDArray[np.float64]

RADIUS_M = 0.3
"""Radius of a pedestrian."""

CONFLICT_S = 3.0
"""A shorter post-encroachment time is a conflict."""

BRAKING_MPS2 = (0.0, 0.5, 1.0, 2.0, 4.0, 6.0)
"""The plans: the ego's real path, braked from its real speed by so much."""

CONTACT_COST_M = 50.0
"""A certain contact costs a plan as much as this progress lost."""

CLEARANCE_M = 1.0
"""A plan that passes nearer than this begins to cost."""

_EGO_SUBSTEPS, _WALKER_SUBSTEPS = 3, 2


def time_to_collision(
    offset_m: NDArray[Any],
    velocity_mps: NDArray[Any],
    ego_heading_rad: float,
    ego_size_m: tuple[float, float],
) -> NDArray[np.float64]:
    """Time until both would touch if they kept their velocities (Hayward, 1972).

    The ego is its box, widened by a pedestrian's radius on every side.

    Args:
        offset_m: Pedestrians relative to the centre of the ego ``[N, 2]``.
        velocity_mps: Their velocities relative to the ego's ``[N, 2]``.
        ego_heading_rad: The ego's heading.
        ego_size_m: Its length and width.

    Returns:
        Seconds ``[N]``: 0 for who touches already, inf for who never will.
    """
    turn = np.asarray(-ego_heading_rad, np.float64)
    place: Floats = geometry.rotate(np.asarray(offset_m, np.float64), turn)
    speed: Floats = geometry.rotate(np.asarray(velocity_mps, np.float64), turn)
    reach = np.array(ego_size_m) / 2 + RADIUS_M
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ends = np.stack([(-reach - place) / speed, (reach - place) / speed])  # [2, N, 2]
    inside = np.abs(place) <= reach
    still = speed == 0
    enter = np.where(still, np.where(inside, -np.inf, np.inf), ends.min(0)).max(-1)
    leave = np.where(still, np.where(inside, np.inf, -np.inf), ends.max(0)).min(-1)
    return np.where((enter <= leave) & (leave >= 0), np.maximum(enter, 0), np.inf)


def post_encroachment_time(
    positions_m: Tensor, ego: Tensor, ego_size_m: tuple[float, float], dt_s: float
) -> Tensor:
    """Least time between a pedestrian and the ego being at the same place.

    After Allen, Shin and Cooper, "Analysis of Traffic Conflicts and Collisions", TRR 667, 1978:
    the time between one leaving a place and the other coming to it. Here the place is where the
    ego's box touches the pedestrian's disc on their paths, each filled in linearly between steps;
    the result is a multiple of ``dt_s / 6``.

    Returns:
        Seconds ``[K, N]``: 0 for a collision, inf where the paths do not meet.
    """
    poses = interpolate_poses(ego.to(positions_m), _EGO_SUBSTEPS)  # [S, 3]
    found = torch.full_like(positions_m[..., 0, 0], torch.inf)
    near = _near(positions_m, poses, ego_size_m, RADIUS_M)
    if not near.any():
        return found
    path = interpolate(positions_m[:, near], _WALKER_SUBSTEPS)  # [K, n, W, 2]
    gap = _clearance(path[..., None, :], poses, ego_size_m)  # [K, n, W, S]
    walker_s = torch.arange(path.shape[-2]).to(gap) * dt_s / _WALKER_SUBSTEPS
    ego_s = torch.arange(len(poses)).to(gap) * dt_s / _EGO_SUBSTEPS
    apart = (walker_s[:, None] - ego_s).abs()
    found[:, near] = torch.where(gap <= 0, apart, torch.inf).amin((-1, -2))
    return found


def conflict_missed(pet_s: Tensor, weights: Tensor, true_pet_s: Tensor) -> Tensor:
    """Probability that a real conflict was not predicted.

    Args:
        pet_s: Predicted post-encroachment times ``[K, N]``.
        weights: ``[K]``.
        true_pet_s: Those of the recorded world ``[N]``.

    Returns:
        ``[N]``; NaN for who had no conflict: a time of at most `CONFLICT_S`.
    """
    predicted = weights.to(pet_s) @ (pet_s <= CONFLICT_S).to(pet_s)
    return torch.where(true_pet_s <= CONFLICT_S, 1 - predicted, torch.nan)


def conflict_false(pet_s: Tensor, weights: Tensor, true_pet_s: Tensor) -> Tensor:
    """Probability of a predicted conflict where there was none; see `conflict_missed`."""
    predicted = weights.to(pet_s) @ (pet_s <= CONFLICT_S).to(pet_s)
    return torch.where(true_pet_s <= CONFLICT_S, torch.nan, predicted)


def plan_regret(
    positions_m: Tensor,
    weights: Tensor,
    truth_m: Tensor,
    ego: Tensor,
    ego_size_m: tuple[float, float],
    dt_s: float,
) -> Tensor:
    """What it costs to choose a plan by the prediction of one pedestrian instead of the truth.

    The plans are the ego's real path, braked by `BRAKING_MPS2`. A plan costs the progress it
    loses in metres, and `CONTACT_COST_M` times the expected nearness: 1 for a contact, falling to
    0 at a clearance of `CLEARANCE_M`. The regret is the true cost of the plan that the prediction
    favours less that of the best plan; after Philion, Kar and Fidler, "Learning to Evaluate
    Perception Models Using Planner-Centric Metrics", CVPR 2020.

    Returns:
        Metres of progress ``[N]``, at least 0; each pedestrian on its own.
    """
    plans, lost = braked_plans(ego.to(positions_m), dt_s)
    expected = _plan_costs(positions_m, weights, plans, lost, ego_size_m)
    true = _plan_costs(truth_m[None], weights.new_ones(1), plans, lost, ego_size_m)
    return true.gather(1, expected.argmin(1, keepdim=True))[:, 0] - true.amin(1)


def planner_weight(
    truth_m: Tensor, ego: Tensor, ego_size_m: tuple[float, float], dt_s: float
) -> Tensor:
    """How much the best plan's cost depends on a pedestrian: how much an error there matters.

    The largest change of the least cost (see `plan_regret`) when the pedestrian's future is
    shifted by 1 m along either axis of the ego's first pose. The idea of weighting errors by the
    sensitivity of the plan's cost is Ivanovic and Pavone's, "Injecting Planning-Awareness into
    Prediction and Detection Evaluation", IV 2022.

    Returns:
        Metres of progress per metre of shift ``[N]``; 0 for who is of no concern.
    """
    plans, lost = braked_plans(ego.to(truth_m), dt_s)
    ways = truth_m.new_tensor([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    shifts = geometry.rotate(ways, ego[0, 2].to(truth_m).expand(len(ways)))
    one = truth_m.new_ones(1)
    least = torch.stack(
        [_plan_costs(truth_m[None] + s, one, plans, lost, ego_size_m).amin(1) for s in shifts]
    )
    return (least[1:] - least[:1]).abs().amax(0)


def braked_plans(ego: Tensor, dt_s: float) -> tuple[Tensor, Tensor]:
    """The ego's real path at lower and lower speed.

    Args:
        ego: Real poses ``[T, 3]``.
        dt_s: Step length.

    Returns:
        Poses ``[P, T, 3]``, one plan for each of `BRAKING_MPS2`, and the progress that each loses
        in metres ``[P]``.
    """
    step = torch.linalg.vector_norm(ego[1:, :2] - ego[:-1, :2], dim=-1)
    along = torch.cat([step.new_zeros(1), step.cumsum(0)])  # [T]
    time = torch.arange(1, len(ego)).to(ego) * dt_s
    braking = ego.new_tensor(BRAKING_MPS2)[:, None] * time * dt_s
    travelled = torch.cat(
        [step.new_zeros(len(BRAKING_MPS2), 1), (step - braking).clamp_min(0).cumsum(1)], 1
    )
    unwrapped = torch.cat(
        [ego[:1, 2], ego[:1, 2] + geometry.wrap_angle(ego[:, 2].diff()).cumsum(0)]
    )
    columns = [ego[:, 0], ego[:, 1], unwrapped]
    poses = [
        np.interp(travelled.cpu().numpy(), along.cpu().numpy(), column.cpu().numpy())
        for column in columns
    ]
    plans = torch.as_tensor(np.stack(poses, -1)).to(ego)
    return plans, along[-1] - travelled[:, -1]


def _plan_costs(
    positions_m: Tensor,
    weights: Tensor,
    plans: Tensor,
    lost_m: Tensor,
    ego_size_m: tuple[float, float],
) -> Tensor:
    """Cost ``[N, P]`` of plans ``[P, T, 3]`` for each pedestrian of ``[K, N, T, 2]`` alone."""
    costs = lost_m.expand(positions_m.shape[1], -1).clone()
    near = _near(positions_m, plans.flatten(0, 1), ego_size_m, RADIUS_M + CLEARANCE_M)
    if near.any():
        gap = _clearance(positions_m[:, near, None], plans, ego_size_m)  # [K, n, P, T]
        nearness = (1 - gap / CLEARANCE_M).clamp(0, 1).amax(-1)
        costs[near] += CONTACT_COST_M * torch.einsum("k,knp->np", weights.to(nearness), nearness)
    return costs


def _near(
    positions_m: Tensor, poses: Tensor, ego_size_m: tuple[float, float], reach_m: float
) -> Tensor:
    """Who ``[N]`` may come within reach of the ego: a quick look at the box around its path."""
    margin = float(np.hypot(*ego_size_m)) / 2 + reach_m
    low, high = poses[:, :2].amin(0) - margin, poses[:, :2].amax(0) + margin
    return ((positions_m >= low) & (positions_m <= high)).all(-1).any(-1).any(0)


def _clearance(points_m: Tensor, poses: Tensor, ego_size_m: tuple[float, float]) -> Tensor:
    """Distance ``[...]`` of discs at points ``[..., 2]`` from the ego's box at poses ``[..., 3]``.

    Not above 0 where they touch.
    """
    local = geometry.to_frame(points_m, poses[..., :2], poses[..., 2])
    outside = (local.abs() - local.new_tensor(ego_size_m) / 2).clamp_min(0)
    return torch.linalg.vector_norm(outside, dim=-1) - RADIUS_M
