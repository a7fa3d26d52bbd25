"""How often imagined pedestrians collide with each other or with the ego vehicle.

Positions are joint futures ``[K, N, T, 2]``, weights ``[K]`` sum to 1. Motion between two steps is
linear; collisions before the first predicted step are not counted. Each rate is one value per
agent, so that means over agents can be formed later.
"""

from __future__ import annotations

import torch
from torch import Tensor

from forecast import geometry
from forecast.models.metrics.chunks import map_rows


def pairwise_collision_rate(
    positions_m: Tensor, weights: Tensor, threshold_m: float = 0.2
) -> Tensor:
    """Probability that an agent comes within ``threshold_m`` of another of the N agents.

    Centres are compared within the same joint sample, at their closest approach at or between
    steps. Pass ``truth[None]`` with weight 1 for the rate of the recorded world.

    Returns:
        Share of the samples by weight ``[N]``; 0 for a lone agent.
    """
    agents, steps = positions_m.shape[1:3]
    first, second = torch.triu_indices(agents, agents, offset=1, device=positions_m.device)

    def hit(part: Tensor) -> Tensor:  # [k, N, T, 2] -> [k, N]
        close = _closest_approach(part[:, first] - part[:, second]) < threshold_m
        meetings = part.new_zeros(len(part), agents)
        meetings.index_add_(1, first, close.to(part)).index_add_(1, second, close.to(part))
        return (meetings > 0).to(part)

    hits = map_rows(hit, positions_m, values_per_row=len(first) * steps * 2)
    return weights.to(hits) @ hits


def _closest_approach(gap_m: Tensor) -> Tensor:
    """Smallest length ``[...]`` of a vector ``[..., T, 2]`` that changes linearly between steps."""
    x, y = gap_m.unbind(-1)  # sums over an axis of 2 cost several times as much
    dx, dy = x.diff(dim=-1), y.diff(dim=-1)
    start_x, start_y = x[..., :-1], y[..., :-1]
    smallest = torch.finfo(gap_m.dtype).tiny
    share = -(start_x * dx + start_y * dy) / (dx.square() + dy.square()).clamp_min(smallest)
    share = share.clamp(0, 1)
    nearest = (start_x + share * dx).square() + (start_y + share * dy).square()
    first = x[..., :1].square() + y[..., :1].square()
    return torch.cat([first, nearest], dim=-1).amin(-1).sqrt()


def ego_collision_rate(
    positions_m: Tensor,
    weights: Tensor,
    ego: Tensor,
    ego_size_m: tuple[float, float],
    *,
    radius_m: float = 0.3,
    substeps: int = 1,
) -> Tensor:
    """Probability that an agent, a disc, touches the ego vehicle's oriented box.

    Args:
        positions_m: Joint futures ``[K, N, T, 2]``.
        weights: ``[K]``.
        ego: Poses ``[T, 3]`` (x_m, y_m, heading_rad) of the box's centre at the same steps.
        ego_size_m: Length and width of the box.
        radius_m: Radius of the disc.
        substeps: Checks per step: between two steps all poses are interpolated linearly.

    Returns:
        Share of the samples by weight in which they touch at any check ``[N]``.
    """
    poses = interpolate_poses(ego.to(positions_m), substeps)
    apart = distance_from_box(interpolate(positions_m, substeps), poses, ego_size_m)
    hits = (apart <= radius_m).any(-1).to(positions_m)
    return weights.to(hits) @ hits


def distance_from_box(points_m: Tensor, poses: Tensor, size_m: tuple[float, float]) -> Tensor:
    """Distance ``[...]`` of points ``[..., 2]`` from a box at poses ``[..., 3]``; 0 inside.

    Args:
        points_m: Points; they broadcast against the poses.
        poses: Poses (x_m, y_m, heading_rad) of the box's centre.
        size_m: Length and width of the box.
    """
    local = geometry.to_frame(points_m, poses[..., :2], poses[..., 2])
    outside = (local.abs() - local.new_tensor(size_m) / 2).clamp_min(0)
    return torch.linalg.vector_norm(outside, dim=-1)


def interpolate_poses(poses: Tensor, substeps: int) -> Tensor:
    """Interpolates poses ``[T, 3]`` (x_m, y_m, heading_rad) linearly; turns take the short way."""
    turns = geometry.wrap_angle(poses[:, 2].diff())
    heading = torch.cat([poses[:1, 2], poses[:1, 2] + turns.cumsum(0)])
    return interpolate(torch.cat([poses[:, :2], heading[:, None]], -1), substeps)


def interpolate(values: Tensor, substeps: int) -> Tensor:
    """Interpolates ``[..., T, D]`` linearly to ``[..., (T - 1) * substeps + 1, D]``."""
    share = torch.arange(substeps).to(values)[:, None] / substeps
    filled = values[..., :-1, None, :] + share * values.diff(dim=-2)[..., None, :]
    return torch.cat([filled.flatten(-3, -2), values[..., -1:, :]], dim=-2)
