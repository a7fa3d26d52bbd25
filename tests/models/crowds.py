"""Random contexts, states and noise of a scene, without a dataset."""

from __future__ import annotations

import torch
from torch import Tensor

from forecast.graphs import GraphConfig, MapKind
from forecast.graphs.conflicts import CONFLICTS
from forecast.models.crossings import Conflicts
from forecast.models.features import RELATIONS
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.models.rollout import SceneContext
from forecast.models.types import Agents, Motion, Noise, State
from forecast.models.world_model import WorldModelConfig
from forecast.scene import AgentKind

DT_S = 0.5
SMALL = WorldModelConfig(hidden=16, messages=8, map=8)
TYPED = [[name] for name in RELATIONS]
"""A slot for each relation."""


def network(
    sizes: WorldModelConfig = SMALL, graph: GraphConfig | None = None, seed: int = 0
) -> PedestrianForecaster:
    """A network with random weights everywhere, also where training starts at zero."""
    torch.manual_seed(seed)
    model = PedestrianForecaster(ForecasterConfig(graph or GraphConfig(), sizes))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def every_pair(sources: int, targets: int) -> Tensor:
    """All pairs (source, target), sorted by target ``[2, sources * targets]``."""
    target, source = torch.meshgrid(torch.arange(targets), torch.arange(sources), indexing="ij")
    return torch.stack([source.flatten(), target.flatten()])


def all_others(agents: int) -> Tensor:
    """All pairs (source, target) of two different agents, sorted by target."""
    pairs = every_pair(agents, agents)
    return pairs[:, pairs[0] != pairs[1]]


def crowd(
    model: PedestrianForecaster,
    kinds: list[int],
    pieces: int = 0,
    *,
    pairs: bool = True,
    seed: int = 0,
) -> SceneContext:
    """The context of agents of some kinds, on a map of lanes and edges in a row.

    Args:
        model: The network that encodes the map.
        kinds: `AgentKind` values.
        pieces: Number of map pieces.
        pairs: Whether all pairs are candidates, or none.
        seed: Seed of sizes and the map.
    """
    generator = torch.Generator().manual_seed(seed)
    kind, row = torch.tensor(kinds, dtype=torch.long), torch.arange(pieces)
    agents = len(kinds)
    near = all_others(agents) if pairs else torch.zeros(2, 0, dtype=torch.long)
    drives = kind >= AgentKind.VEHICLE
    with torch.no_grad():
        lanes = model.encode(
            8 * torch.randn(pieces, 1, 2, generator=generator)
            + torch.randn(pieces, model.config.graph.piece_points, 2, generator=generator),
            row % len(MapKind),
            torch.stack([row[:-1], row[1:]]),
            some_conflicts(pieces, generator),
        )
    return SceneContext.of(
        model.world,
        Agents(kind, torch.rand(agents, 3, generator=generator) + 0.5, torch.full((agents,), DT_S)),
        (near, torch.where(drives[near].any(0), 10.0, 5.0)),
        lanes,
        every_pair(pieces, agents) if pairs else torch.zeros(2, 0, dtype=torch.long),
    )


def no_lanes(rows: int, dtype: torch.dtype = torch.float32) -> Conflicts:
    """Nobody drives on a lane."""
    points = torch.zeros(rows, CONFLICTS, dtype=dtype)
    return Conflicts(points, points, points, points, points[:, 0])


def some_conflicts(pieces: int, generator: torch.Generator) -> Tensor:
    """Random conflict points near the origin ``[pieces, K, 4]``."""
    values = torch.randn(pieces, CONFLICTS, 4, generator=generator)
    return torch.cat(
        [10 + 5 * values[..., :1], 4 * values[..., 1:3], values[..., 3:].sigmoid()], -1
    )


def any_state(
    model: PedestrianForecaster, context: SceneContext, copies: int = 2, *, seed: int = 0
) -> State:
    """A random state of a context's agents in S copies; some are not seen."""
    generator = torch.Generator().manual_seed(seed)
    shape, hidden = (copies, len(context.agents.kind)), model.config.world_model.hidden

    def draw(*more: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(*shape, *more, generator=generator)

    facing = torch.nn.functional.normalize(draw(2), dim=-1)
    motion = Motion(draw(2, scale=4.0), draw(2), facing, draw(scale=0.3))
    seen, steady = draw() > -1.0, draw() > -0.5
    mirror = torch.tensor([1.0, -1.0]).repeat(copies)[:copies, None].expand(shape).contiguous()
    return State(draw(hidden), motion, draw(2), draw(2), seen, steady, draw().abs(), mirror)


def noise_of(context: SceneContext, copies: int, steps: int, seed: int = 0) -> Noise:
    """Random numbers of S futures of T steps, in both chiralities."""
    generator = torch.Generator().manual_seed(seed)
    agents = len(context.agents.kind)
    return Noise(
        torch.randn(copies, agents, SMALL.intent, generator=generator),
        torch.randn(steps, copies, agents, SMALL.noise, generator=generator),
        torch.tensor([1.0, -1.0]).repeat(copies)[:copies],
        torch.zeros(copies, agents, 2),
    )
