"""Random changes of a training window that leave it plausible."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from forecast import geometry
from forecast.datasets.windows import Window
from forecast.errors import require
from forecast.graphs.pieces import MapKind
from forecast.scene import AgentKind

_SOON_S = 3.0


@dataclass(frozen=True)
class AugmentConfig:
    """How training windows are varied. The model itself does not see position, rotation or hand.

    Attributes:
        scale: Distances and speeds grow or shrink by up to this share.
        reverse: Probability to play a window of pedestrians alone backwards.
        short_history: Probability that an agent's first observed steps are hidden.
        drop_agents: Probability that an agent is left out, for windows of several.
        drop_map: Probability that a window has no map; and of the others, that one of its kinds
            of pieces is missing.
        drop_pieces: Share of the pieces that are left out beside.
        shift_map_m: Standard deviation of a shift of the map against the agents. Together these
            keep a model of few scenes from telling by the map where it is and what happened there.
        far_m: Agents farther than this from every pedestrian, by the way they go in 3 s, are left
            out; they teach little.
    """

    scale: float = 0.15
    reverse: float = 0.5
    short_history: float = 0.2
    drop_agents: float = 0.1
    drop_map: float = 0.3
    drop_pieces: float = 0.3
    shift_map_m: float = 1.0
    far_m: float = 30.0

    def __post_init__(self) -> None:
        """Checks the values; raises `ForecastError`."""
        for name in ("reverse", "short_history", "drop_agents", "drop_map", "drop_pieces"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"augment.{name}", value, "a share between 0 and 1")
        require(0 <= self.scale < 1, "augment.scale", self.scale, "a share below 1")
        require(self.shift_map_m >= 0, "augment.shift_map_m", self.shift_map_m, "0 or more")
        require(self.far_m > 0, "augment.far_m", self.far_m, "a positive distance")


def augment_window(window: Window, config: AugmentConfig, rng: np.random.Generator) -> Window:
    """Plays backwards, leaves agents out and shortens histories, drawn from ``rng``."""
    if rng.random() < config.reverse:
        window = reverse(window)
    window = window.select(_near_people(window, config.far_m))
    window = _drop_agents(window, config.drop_agents, rng)
    return _shorten_history(window, config.short_history, rng)


def augment_graph(graph: HeteroData, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Scales a graph and varies its map in place, drawn from ``rng``.

    Distances and speeds are scaled; agents keep their size.
    """
    stretch = 1 + rng.uniform(-config.scale, config.scale)
    agent = graph["agent"]
    agent.position = agent.position * stretch
    agent.future = agent.future * stretch
    shift = torch.from_numpy(rng.normal(0, config.shift_map_m, 2).astype(np.float32))
    graph["map"].points = graph["map"].points * stretch + shift
    _drop_pieces(graph, config, rng)


def _drop_pieces(graph: HeteroData, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Hides map pieces from the agents."""
    kinds = np.where(
        rng.random() < config.drop_map, True, rng.random(len(MapKind)) < config.drop_map
    )
    hidden = kinds[graph["map"].kind.numpy()]
    hidden |= rng.random(graph["map"].num_nodes) < config.drop_pieces
    near = graph["map", "near", "agent"]
    near.edge_index = near.edge_index[:, torch.from_numpy(~hidden)[near.edge_index[0]]]


def reverse(window: Window) -> Window:
    """Plays a window backwards; windows with others than pedestrians stay as they are.

    So do those in which nobody would be left. What was ``history_steps`` before the end becomes the
    current step; agents not seen then leave.
    """
    seen = window.valid[:, ::-1][:, window.history_steps - 1]
    if (window.kinds != AgentKind.PEDESTRIAN).any() or not seen.any():
        return window
    window = window.select(seen)
    valid = window.valid[:, ::-1]
    positions = window.positions_m[:, ::-1]
    headings = geometry.motion_headings(positions, valid, observed=window.history_steps) * valid
    return replace(
        window,
        positions_m=np.ascontiguousarray(positions),
        headings_rad=headings,
        valid=np.ascontiguousarray(valid),
        scored=valid.all(axis=1),
    )


def _near_people(window: Window, far_m: float) -> NDArray[np.bool_]:
    """Agents that are or soon can be within ``far_m`` of a pedestrian ``[A]``."""
    history = window.history_steps
    past, valid = window.positions_m[:, :history], window.valid[:, :history]
    velocity, _ = geometry.backward_velocity(past, valid, window.dt_s)
    soon = _SOON_S * np.linalg.norm(velocity[:, -1], axis=-1)
    now = past[:, -1]
    people = now[window.kinds == AgentKind.PEDESTRIAN]
    distance = np.linalg.norm(now[:, None] - people[None], axis=-1)
    near: NDArray[np.bool_] = (distance <= far_m + soon[:, None]).any(axis=1)
    return near


def _drop_agents(window: Window, share: float, rng: np.random.Generator) -> Window:
    keep = rng.random(len(window.kinds)) >= share
    return window.select(keep) if keep.any() else window


def _shorten_history(window: Window, share: float, rng: np.random.Generator) -> Window:
    agents, history = len(window.kinds), window.history_steps
    first = rng.integers(0, history, agents) * (rng.random(agents) < share)
    hidden = np.arange(window.valid.shape[1]) < first[:, None]
    valid = window.valid & ~hidden
    return replace(
        window,
        positions_m=np.where(valid[..., None], window.positions_m, np.float32(0)),
        headings_rad=np.where(valid, window.headings_rad, np.float32(0)),
        valid=valid,
    )
