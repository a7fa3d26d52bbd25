"""Augmentation: random changes of a training window that keep it plausible."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from forecast import geometry
from forecast.datasets.windows import Window, with_headings_of_motion
from forecast.errors import require
from forecast.graphs.pieces import MapKind
from forecast.scene import AgentKind
from forecast.scene.agents import Decision

_SOON_S = 5.0
"""Agents count as near a pedestrian if they can be near it within this time: as far ahead as the
range of vehicles reaches (`GraphConfig.vehicle_ahead_s`)."""
_PACE_CHANGE_S = (0.5, 3.0)
"""Range of the time that a pedestrian needs to slow down or to speed up."""


@dataclass(frozen=True)
class AugmentConfig:
    """How training windows are varied.

    Position, rotation and mirror image are not varied, because the model does not depend on them.
    ``drop_map``, ``drop_pieces`` and ``shift_map_m`` prevent the model from memorising scenes: with
    few scenes, the map alone identifies a scene and what happened there.

    Attributes:
        scale: Distances and speeds are multiplied by a random factor between ``1 / (1 + scale)``
            and ``1 + scale``.
        reverse: Probability that a window of pedestrians only is played backwards.
        slow_down: Probability that a pedestrian slows down or stops on its way.
        speed_up: Probability that a pedestrian is slow or stands at first, and then takes up its
            recorded pace.
        wander: Upper limit of the random changes of a pedestrian's direction (in rad) and of the
            logarithm of its pace, as a standard deviation after one second. Each pedestrian has a
            random level below the limit.
        noise_m: Upper limit of the standard deviation of the noise of observed positions. Each
            window has a random level below the limit. Future positions get no noise.
        short_history: Probability that an agent's first observed steps are hidden.
        drop_agents: Probability that an agent other than the ego is left out. If no agent would be
            left, all stay.
        heading_noise_rad: Upper limit of the standard deviation of the noise of vehicles' observed
            headings. Each window has a random level below the limit.
        drop_map: Probability that a window has no map. In the other windows, it is the probability
            that a kind of map piece is missing.
        drop_pieces: Share of the remaining pieces that are left out.
        hide_lights: Probability that a window's map does not say which crosswalks have lights.
        shift_map_m: Standard deviation of a shift of the map relative to the agents.
        as_recorded: Probability that scale, slow_down, speed_up, wander and noise_m do not change a
            window.
        most_agents: Number of agents to keep in a window with more agents: those nearest to a
            random pedestrian, and the ego. People in a crowd move alike, so a few of each crowd are
            enough. None keeps all.
        far_m: Agents other than the ego that are farther than this from every pedestrian, after
            subtracting the distance that they go in 5 s, are left out, because they hardly
            influence pedestrians.
    """

    scale: float = 0.15
    reverse: float = 0.5
    slow_down: float = 0.0
    speed_up: float = 0.0
    wander: float = 0.0
    noise_m: float = 0.0
    short_history: float = 0.2
    drop_agents: float = 0.1
    heading_noise_rad: float = 0.0
    drop_map: float = 0.3
    drop_pieces: float = 0.3
    hide_lights: float = 0.3
    shift_map_m: float = 1.0
    as_recorded: float = 0.0
    most_agents: int | None = None
    far_m: float = 30.0

    def __post_init__(self) -> None:
        """Checks the values; raises `ForecastError`."""
        for name in (
            "reverse",
            "slow_down",
            "speed_up",
            "short_history",
            "drop_agents",
            "drop_map",
            "drop_pieces",
            "hide_lights",
            "as_recorded",
        ):
            value = getattr(self, name)
            require(0 <= value <= 1, f"augment.{name}", value, "a share between 0 and 1")
        for name in ("scale", "wander", "noise_m", "heading_noise_rad", "shift_map_m"):
            require(getattr(self, name) >= 0, f"augment.{name}", getattr(self, name), "0 or more")
        both = self.slow_down + self.speed_up
        require(both <= 1, "augment.slow_down + augment.speed_up", both, "a share between 0 and 1")
        require(self.far_m > 0, "augment.far_m", self.far_m, "a positive distance")
        most = self.most_agents
        require(most is None or most >= 1, "augment.most_agents", most, "1 or more, or none")

    def drawn(self, rng: np.random.Generator) -> AugmentConfig:
        """The configuration for one window; see ``as_recorded``."""
        if self.as_recorded == 0 or rng.random() >= self.as_recorded:
            return self
        return replace(self, scale=0.0, slow_down=0.0, speed_up=0.0, wander=0.0, noise_m=0.0)


def augment_window(window: Window, config: AugmentConfig, rng: np.random.Generator) -> Window:
    """Varies motion and the direction of time, leaves out agents and steps, and adds noise.

    Args:
        window: A training window.
        config: The changes.
        rng: Source of the random numbers.
    """
    if config.most_agents is not None and len(window.kinds) > config.most_agents:
        window = window.select(_nearest(window, config.most_agents, rng))
    window = _change_pace(window, config.slow_down, config.speed_up, rng)
    if config.wander > 0:
        window = _wander(window, config.wander, rng)
    if rng.random() < config.reverse:
        window = reverse(window)
    window = window.select(_near_people(window, config.far_m))
    window = _drop_agents(window, config.drop_agents, rng)
    window = _shorten_history(window, config.short_history, rng)
    return with_noise(with_headings_of_motion(window), config.noise_m, rng)


def augment_graph(graph: HeteroData, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Scales a graph, turns vehicles a little and varies its map, in place.

    Distances and speeds are scaled; agents keep their size.

    Args:
        graph: The graph of a training window.
        config: The changes.
        rng: Source of the random numbers.
    """
    stretch = (1 + config.scale) ** rng.uniform(-1, 1)
    agent = graph["agent"]
    agent.position = agent.position * stretch
    agent.future = agent.future * stretch
    _blur_headings(graph, config, rng)
    shift = torch.from_numpy(rng.normal(0, config.shift_map_m, 2).astype(np.float32))
    nodes = graph["map"]
    nodes.points = nodes.points * stretch + shift
    along, place, chance = nodes.conflicts.split([1, 2, 1], -1)
    nodes.conflicts = torch.cat([along * stretch, place * stretch + shift, chance], -1)
    if rng.random() < config.hide_lights:
        signalled = nodes.kind == MapKind.SIGNALLED_CROSSING
        nodes.kind = torch.where(signalled, int(MapKind.CROSSING), nodes.kind)
    _drop_pieces(graph, config, rng)


def _blur_headings(graph: HeteroData, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Adds noise to the headings of vehicles. Those of people follow from their movement."""
    agent = graph["agent"]
    noise = rng.uniform(0, config.heading_noise_rad) * rng.standard_normal(agent.heading.shape)
    drives = (agent.kind >= AgentKind.VEHICLE)[:, None]
    agent.heading = agent.heading + drives * torch.from_numpy(noise.astype(np.float32))


def _drop_pieces(graph: HeteroData, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Removes the edges of some map pieces; the pieces stay as nodes."""
    kinds = np.where(
        rng.random() < config.drop_map, True, rng.random(len(MapKind)) < config.drop_map
    )
    nodes, near = graph["map"], graph["map", "near", "agent"]
    shown = ~kinds[nodes.kind.numpy()]
    shown &= rng.random(nodes.num_nodes) >= config.drop_pieces
    left, following = torch.from_numpy(shown), graph["map", "next", "map"]
    near.edge_index = near.edge_index[:, left[near.edge_index[0]]]
    following.edge_index = following.edge_index[:, left[following.edge_index].all(dim=0)]


def _nearest(window: Window, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of the agents nearest to a random pedestrian, itself included, and of the ego.

    They are in ascending order.
    """
    now = window.positions_m[:, window.history_steps - 1]
    centre = rng.choice(np.flatnonzero(window.kinds == AgentKind.PEDESTRIAN))
    apart = np.linalg.norm(now - now[centre], axis=-1)
    nearest = np.argsort(apart, kind="stable")[:count]
    return np.union1d(nearest, np.flatnonzero(window.kinds == AgentKind.EGO))


def _change_pace(
    window: Window, slow_down: float, speed_up: float, rng: np.random.Generator
) -> Window:
    """Changes the pace of some of the pedestrians that are observed at every step.

    They stay on their path. Within a random time in `_PACE_CHANGE_S`, from a random step on, the
    pace falls linearly to a uniformly random share of the recorded pace, or rises from such a share
    to all of it. What they decided is then unknown.
    """
    agents, steps = window.valid.shape
    draw = rng.random((agents, 1))
    may = (window.valid.all(axis=1) & (window.kinds == AgentKind.PEDESTRIAN))[:, None]
    slows, hastens = may & (draw < slow_down), may & (draw >= 1 - speed_up)
    begin, share = rng.uniform(0, steps - 2, (agents, 1)), rng.uniform(0, 1, (agents, 1))
    done = (np.arange(steps - 1) - begin) * window.dt_s / rng.uniform(*_PACE_CHANGE_S, (agents, 1))
    missing = (1 - share) * np.where(hastens, 1 - done.clip(0, 1), done.clip(0, 1))
    rows = (slows | hastens).any(axis=1).nonzero()[0][:, None]
    # The time warp: at step t the pedestrian is where it was recorded at step when[t].
    when = np.insert((1 - missing[rows[:, 0]]).cumsum(axis=1), 0, 0, axis=1)
    before = when.astype(np.int64).clip(0, steps - 2)
    rest = (when - before)[..., None].astype(np.float32)
    positions, decisions = window.positions_m.copy(), window.decisions.copy()
    way = window.positions_m[rows, before] * (1 - rest)
    positions[rows[:, 0]] = way + window.positions_m[rows, before + 1] * rest
    decisions[rows[:, 0]] = Decision.UNKNOWN
    return replace(window, positions_m=positions, decisions=decisions)


def _wander(window: Window, most: float, rng: np.random.Generator) -> Window:
    """Changes direction and pace of the pedestrians observed at every step, as a random walk.

    The size of the changes differs between pedestrians, so a model can estimate it from the
    history. Positions at the current step do not change.
    """
    agents, steps = window.valid.shape
    now = window.history_steps - 1
    level = rng.uniform(0, most, (agents, 1)) * np.sqrt(window.dt_s)
    turn, faster = (level * rng.standard_normal((2, agents, steps - 1))).cumsum(axis=-1)
    ways = np.exp(faster)[..., None] * geometry.rotate(np.diff(window.positions_m, axis=1), turn)
    paths = np.insert(ways.cumsum(axis=1), 0, 0, axis=1)
    paths += (window.positions_m[:, now] - paths[:, now])[:, None]
    chosen = window.valid.all(axis=1) & (window.kinds == AgentKind.PEDESTRIAN)
    positions = np.where(chosen[:, None, None], paths, window.positions_m).astype(np.float32)
    return replace(window, positions_m=positions)


def reverse(window: Window) -> Window:
    """Plays a window backwards.

    The step that was ``history_steps`` before the end becomes the current step. Agents not observed
    then are left out. Vehicles do not drive backwards, so a window with agents other than
    pedestrians is returned as it is. So is a window without any agent at the new current step.

    Args:
        window: A training window.
    """
    seen = window.valid[:, ::-1][:, window.history_steps - 1]
    if (window.kinds != AgentKind.PEDESTRIAN).any() or not seen.any():
        return window
    window = window.select(seen)
    valid = np.ascontiguousarray(window.valid[:, ::-1])
    backwards = replace(
        window,
        positions_m=np.ascontiguousarray(window.positions_m[:, ::-1]),
        valid=valid,
        scored=valid.all(axis=1),
        decisions=np.full_like(window.decisions, Decision.UNKNOWN),
    )
    return with_headings_of_motion(backwards)


def with_noise(window: Window, most_m: float, rng: np.random.Generator) -> Window:
    """Adds noise of a random level to the observed positions.

    Observed headings of people follow from the noisy positions, as they do in use; those of later
    steps, which are learnt from, do not.

    Args:
        window: Any window.
        most_m: Upper limit of the standard deviation of the noise.
        rng: Source of the random numbers.
    """
    history = window.history_steps
    seen = window.valid[:, :history, None]
    noise = rng.uniform(0, most_m) * rng.standard_normal(window.positions_m[:, :history].shape)
    positions, headings = window.positions_m.copy(), window.headings_rad
    positions[:, :history] += (noise * seen).astype(np.float32)
    noisy = with_headings_of_motion(replace(window, positions_m=positions))
    both = np.concatenate([noisy.headings_rad[:, :history], headings[:, history:]], axis=1)
    return replace(noisy, headings_rad=both)


def _near_people(window: Window, far_m: float) -> NDArray[np.bool_]:
    """The ego, and agents within ``far_m`` of a pedestrian now or after `_SOON_S` ``[A]``."""
    history = window.history_steps
    past, valid = window.positions_m[:, :history], window.valid[:, :history]
    velocity, _ = geometry.backward_velocity(past, valid, window.dt_s)
    soon = _SOON_S * np.linalg.norm(velocity[:, -1], axis=-1)
    now = past[:, -1]
    apart = geometry.distances(now, now[window.kinds == AgentKind.PEDESTRIAN])
    near: NDArray[np.bool_] = (apart <= far_m + soon[:, None]).any(axis=1)
    return near | (window.kinds == AgentKind.EGO)


def _drop_agents(window: Window, share: float, rng: np.random.Generator) -> Window:
    keep = (rng.random(len(window.kinds)) >= share) | (window.kinds == AgentKind.EGO)
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
