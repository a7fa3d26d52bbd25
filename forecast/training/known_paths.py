"""Recorded paths that agents of a training batch follow, so that people learn to react to them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from forecast.models.types import Plan
from forecast.scene import AgentKind


def known_paths(batch: HeteroData, share: float, draw: float) -> Plan | None:
    """Recorded paths that agents follow: none, those of the egos, or those of all vehicles.

    In windows under two plans it is always the ego, because only the plan has an effect.

    Args:
        batch: A batch of training graphs.
        share: Probability that vehicles follow their paths; half of the time the egos only.
        draw: A random number, uniform between 0 and 1.
    """
    agent = batch["agent"]
    # Kinds are ordered, and EGO comes after VEHICLE.
    least = AgentKind.EGO if draw < share / 2 else AgentKind.VEHICLE
    follows = (agent.kind >= least) & (draw < share)
    paired = batch.twin | batch.twin.roll(1)
    follows = torch.where(paired[agent.batch], agent.kind >= AgentKind.EGO, follows)
    return _true_paths(batch, follows) if follows.any() else None


def _true_paths(batch: HeteroData, agents: Tensor) -> Plan:
    """The recorded paths of some agents ``[N]``, without those with an incomplete future."""
    agent = batch["agent"]
    poses = torch.cat([agent.future, agent.future_heading[..., None]], -1)  # [N, T, 3]
    return Plan(poses.transpose(0, 1)[:, None], agents & agent.future_valid.all(-1))
