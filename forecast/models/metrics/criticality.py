"""Time to collision, post-encroachment time, and the cost of prediction errors to a planner.

Positions are joint futures ``[K, N, T, 2]``, weights ``[K]`` sum to 1, the ego's real poses are
``[T, 3]`` (x_m, y_m, heading_rad) of its box's centre at the same steps. A pedestrian is a disc.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast import geometry
from forecast.models.machine_code import compiled, forget_older_code
from forecast.models.metrics.collision import distance_from_box, interpolate, interpolate_poses
from forecast.models.metrics.contact import encroachment, outside_box, turned, widened_box_entry

forget_older_code(Path(__file__).parent)

Floats = NDArray[np.float64]

RADIUS_M = 0.3
"""Radius of a pedestrian."""

CONFLICT_S = 3.0
"""A shorter post-encroachment time is a conflict."""

BRAKING_MPS2 = (0.0, 0.5, 1.0, 2.0, 4.0, 6.0)
"""Decelerations of the plans: each is the ego's real path, braked from its real speed."""

CONTACT_COST_M = 50.0
"""Price of a certain contact, as metres of lost progress."""

CLEARANCE_M = 1.0
"""Below this distance passing a pedestrian has a price."""

_NEVER_S = 1e6
"""Collisions later than this are reported as never: the relative velocity is 0 up to rounding."""

_EGO_SUBSTEPS, _WALKER_SUBSTEPS = 3, 2


def time_to_collision(
    offset_m: NDArray[Any],
    velocity_mps: NDArray[Any],
    ego_heading_rad: float,
    ego_size_m: tuple[float, float],
) -> NDArray[np.float64]:
    """Time until both would touch if they kept their velocities (Hayward, 1972).

    The same definition as the planner's: `forecast.models.metrics.contact`. Here the ego is its
    box widened by a pedestrian's radius on every side, so that its corners are square.

    Args:
        offset_m: Pedestrians relative to the centre of the ego ``[N, 2]``.
        velocity_mps: Their velocities relative to the ego's ``[N, 2]``.
        ego_heading_rad: The ego's heading.
        ego_size_m: Its length and width.

    Returns:
        Seconds ``[N]``: 0 for pedestrians who touch the ego now, inf for those who never will.
    """
    moves = np.concatenate([offset_m, velocity_mps], axis=-1, dtype=np.float64)
    half_x, half_y = (side / 2 for side in ego_size_m)
    found = _entries(moves, float(ego_heading_rad), half_x, half_y, RADIUS_M)
    return np.where(found < _NEVER_S, found, np.inf)


@compiled
def _entries(
    moves: Floats, heading_rad: float, half_x: float, half_y: float, radius: float
) -> Floats:
    """When points ``[N, 4]`` (x, y, dx, dy) enter the widened box of that heading ``[N]``."""
    cos, sin = math.cos(heading_rad), math.sin(heading_rad)
    found = np.empty(len(moves))
    for n in range(len(moves)):
        move = turned((moves[n, 0], moves[n, 1], moves[n, 2], moves[n, 3]), cos, sin)
        found[n] = widened_box_entry(move, half_x, half_y, radius)
    return found


def post_encroachment_time(
    positions_m: Tensor, ego: Tensor, ego_size_m: tuple[float, float], dt_s: float
) -> Tensor:
    """Least time between a pedestrian and the ego being at the same place.

    After Allen, Shin and Cooper, "Analysis of Traffic Conflicts and Collisions", TRR 667, 1978:
    the time between one leaving a place and the other coming to it. The same definition as the
    planner's: `forecast.models.metrics.contact`. Here both paths are sampled, interpolated linearly
    between steps, and every two instants at which box and disc would touch are compared; the
    result is a multiple of ``dt_s / 6``. The planner sweeps whole steps instead, which is exact in
    time and fast enough for a thousand plans.

    Returns:
        Seconds ``[K, N]``: 0 for a collision, inf where the paths do not meet.
    """
    poses = interpolate_poses(ego.to(positions_m), _EGO_SUBSTEPS)  # [S, 3]
    found = torch.full_like(positions_m[..., 0, 0], torch.inf)
    near = _near(positions_m, poses, ego_size_m, RADIUS_M)
    if not near.any():
        return found
    path = interpolate(positions_m[:, near], _WALKER_SUBSTEPS)  # [K, n, W, 2]
    times = (
        np.arange(path.shape[-2]) * dt_s / _WALKER_SUBSTEPS,
        np.arange(len(poses)) * dt_s / _EGO_SUBSTEPS,
    )
    half_size = (ego_size_m[0] / 2, ego_size_m[1] / 2)
    paths, ego_path = (value.double().cpu().numpy() for value in (path.flatten(0, 1), poses))
    gaps = _least_encroachment(paths, ego_path, times, half_size, RADIUS_M)
    found[:, near] = torch.as_tensor(gaps).view(path.shape[:2]).to(found)
    return found


@compiled
def _least_encroachment(
    paths: Floats,
    poses: Floats,
    times: tuple[Floats, Floats],
    half_size: tuple[float, float],
    radius: float,
) -> Floats:
    """Least encroachment ``[M]`` of paths ``[M, W, 2]`` and poses ``[S, 3]`` with their times."""
    (walker_s, ego_s), (half_x, half_y) = times, half_size
    found = np.full(len(paths), np.inf)
    for s in range(len(poses)):
        cos, sin = math.cos(poses[s, 2]), math.sin(poses[s, 2])
        for m in range(len(paths)):
            for w in range(paths.shape[1]):
                x, y = paths[m, w, 0] - poses[s, 0], paths[m, w, 1] - poses[s, 1]
                apart = outside_box(cos * x + sin * y, cos * y - sin * x, half_x, half_y)
                if apart <= radius:  # sampled: the ego covers the place at this instant alone
                    gap = encroachment(walker_s[w], ego_s[s], ego_s[s])
                    found[m] = min(found[m], gap)
    return found


def conflict_missed(pet_s: Tensor, weights: Tensor, true_pet_s: Tensor) -> Tensor:
    """Probability that a real conflict was not predicted.

    Args:
        pet_s: Predicted post-encroachment times ``[K, N]``.
        weights: ``[K]``.
        true_pet_s: Those of the recorded world ``[N]``.

    Returns:
        ``[N]``; NaN for pedestrians without a conflict: a time of at most `CONFLICT_S`.
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
    """Cost of choosing a plan by the prediction of one pedestrian instead of the truth.

    The plans are the ego's real path, braked by `BRAKING_MPS2`. The cost of a plan is the progress
    it loses in metres, plus `CONTACT_COST_M` times the expected nearness, which is 1 for a contact
    and falls to 0 at a clearance of `CLEARANCE_M`. The regret is the true cost of the plan that is
    best by the prediction, less the true cost of the truly best plan.

    Source: Philion, Kar and Fidler, "Learning to Evaluate Perception Models Using Planner-Centric
    Metrics", CVPR 2020.

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
    """How much the best plan's cost depends on a pedestrian, that is how much an error matters.

    The largest change of the least cost (see `plan_regret`) when the pedestrian's future is
    shifted by 1 m along either axis of the ego's first pose. The idea of weighting errors by the
    sensitivity of the plan's cost is Ivanovic and Pavone's, "Injecting Planning-Awareness into
    Prediction and Detection Evaluation", IV 2022.

    Returns:
        Metres of progress per metre of shift ``[N]``; 0 for pedestrians without influence.
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
        gap = distance_from_box(positions_m[:, near, None], plans, ego_size_m) - RADIUS_M
        # [K, n, P, T]
        nearness = (1 - gap / CLEARANCE_M).clamp(0, 1).amax(-1)
        costs[near] += CONTACT_COST_M * torch.einsum("k,knp->np", weights.to(nearness), nearness)
    return costs


def _near(
    positions_m: Tensor, poses: Tensor, ego_size_m: tuple[float, float], reach_m: float
) -> Tensor:
    """Which agents ``[N]`` may come within reach of the ego, by the box around its path."""
    margin = float(np.hypot(*ego_size_m)) / 2 + reach_m
    low, high = poses[:, :2].amin(0) - margin, poses[:, :2].amax(0) + margin
    return ((positions_m >= low) & (positions_m <= high)).all(-1).any(-1).any(0)
