"""The values that the network passes around: scene constants, state, observations, noise.

All are named tuples of tensors. `torch.utils._pytree.tree_map` selects, stacks and moves them
without naming their fields, and compiled and exported programs take them as inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from forecast.scene import AgentKind

AGENT_KINDS = 4
"""Pedestrian, cyclist, vehicle, ego: the values of `AgentKind` that move."""

TRAITS = 3 + AGENT_KINDS
"""Number of constant features of an agent: step length, length, width, kind."""

Tree = TypeVar("Tree", bound=tuple[Any, ...])


class Motion(NamedTuple):
    """Kinematic state of agents; any leading shape.

    Attributes:
        position: ``[..., 2]`` in metres.
        velocity: ``[..., 2]`` in m/s over the last step.
        facing: Unit vector ``[..., 2]``: the x axis of the agent's own frame.
        yaw_rate: ``[...]`` in rad/s over the last step.
    """

    position: Tensor
    velocity: Tensor
    facing: Tensor
    yaw_rate: Tensor


class State(NamedTuple):
    """The recurrent state of N agents in S copies of a scene.

    Attributes:
        hidden: Recurrent state ``[S, N, D]``.
        motion: Kinematic state, shapes ``[S, N, ...]``.
        velocity_before: Velocity one step earlier ``[S, N, 2]``.
        smoothed: Velocity of the past, filtered: where imagined futures of people start
            ``[S, N, 2]``. While imagining it stays, unless a control moves the person.
        seen: Whether the agent was ever observed ``[S, N]``.
        steady: Whether its velocity is known, that is, observed at two steps ``[S, N]``.
        unseen_s: Time since the last observation in seconds ``[S, N]``.
        mirror: Chirality of the agent's frame: its y axis points left (1) or right (-1)
            ``[S, N]``. A copy with -1 is processed as its mirror image.
    """

    hidden: Tensor
    motion: Motion
    velocity_before: Tensor
    smoothed: Tensor
    seen: Tensor
    steady: Tensor
    unseen_s: Tensor
    mirror: Tensor

    def with_mirror(self, mirror: Tensor) -> State:
        """S' copies of a state observed in both chiralities (S = 2), each of a given chirality.

        Args:
            mirror: 1 or -1 ``[S']``, or for each agent ``[S', N]``.
        """
        agents = self.seen.shape[1]
        by_agent = (mirror if mirror.ndim == 2 else mirror[:, None]).expand(-1, agents).contiguous()
        # Row 0 of the observed state has chirality 1, row 1 has -1 (`WorldModel.initial`).
        copy, agent = (by_agent < 0).long(), torch.arange(agents, device=mirror.device)
        return tree_map(lambda value: value[copy, agent], self)._replace(mirror=by_agent)

    def select(self, agents: Tensor) -> State:
        """The state of some agents, by mask ``[N]``."""
        return tree_map(lambda value: value[:, agents], self)

    def rows(self, at: Tensor) -> State:
        """One copy (S = 1) of some agents of some copies, by index ``[R]`` in ``[S * N]``."""
        return tree_map(lambda value: value.flatten(0, 1)[at][None], self)

    def append(self, others: State) -> State:
        """These agents followed by others, in the same copies."""
        return tree_map(lambda mine, theirs: torch.cat([mine, theirs], 1), self, others)


def stack(trees: list[Tree], dim: int) -> Tree:
    """Stacks values of the same structure along a new dimension."""
    return tree_map(lambda *values: torch.stack(values, dim), *trees)


def concatenate(trees: list[Tree]) -> Tree:
    """Joins values of the same structure along their first dimension."""
    return tree_map(lambda *values: torch.cat(values), *trees)


class EncodedMap(NamedTuple):
    """Encoded map pieces; constant over all steps.

    Attributes:
        projected: Source projections of M pieces, of the map and of its mirror image
            ``[2, M, D]``.
        poses: x and y of each middle point in metres, then x and y of a unit vector ``[4, M]``. The
            vector is the direction of traffic on a lane, points to the inside of an area at its
            edge, and leads along the way over a crosswalk.
        crossings: Half the length of the way over a crosswalk in metres, 0 for other pieces; and
            1 if it is known to have lights ``[2, M]``.
        lanes: Points of lanes in metres, in driving direction ``[M, P, 2]``; infinitely far away
            for other pieces.
        conflicts: Where the lanes ahead meet crosswalks ``[M, K, 4]``, see
            `forecast.graphs.conflicts.conflict_points`.
    """

    projected: Tensor
    poses: Tensor
    crossings: Tensor
    lanes: Tensor
    conflicts: Tensor


class Agents(NamedTuple):
    """Constants of N agents.

    Attributes:
        kind: `AgentKind` values ``[N]``.
        size: Length, width, height in metres ``[N, 3]``.
        dt: Step length in seconds ``[N]``.
    """

    kind: Tensor
    size: Tensor
    dt: Tensor

    @property
    def pedestrian(self) -> Tensor:
        """Which agents are pedestrians ``[N]``."""
        return self.kind == int(AgentKind.PEDESTRIAN)

    @property
    def drives(self) -> Tensor:
        """Which agents move like vehicles ``[N]``."""
        return self.kind >= int(AgentKind.VEHICLE)

    @property
    def body_radius_m(self) -> Tensor:
        """Radius of a disc of about each agent's size ``[N]``."""
        return 0.5 * self.size[:, :2].mean(-1)

    @property
    def traits(self) -> Tensor:
        """Step length, size and kind of each agent as features ``[N, TRAITS]``."""
        kinds = self.kind[:, None] == torch.arange(AGENT_KINDS, device=self.kind.device)
        return torch.cat([self.dt[:, None], torch.log1p(self.size[:, :2]), kinds.to(self.size)], -1)

    def times_s(self, steps: int) -> Tensor:
        """Times of the next steps from now on ``[N, steps]``."""
        return self.dt[:, None] * torch.arange(1, steps + 1, device=self.dt.device)

    def select(self, agents: Tensor) -> Agents:
        """Some of the agents, by mask ``[N]`` or index ``[N']``."""
        return Agents(*(value[agents] for value in self))


class Observation(NamedTuple):
    """Agents observed at one step.

    Attributes:
        position: ``[N, 2]`` in metres.
        heading: ``[N]`` in radians.
        valid: Which agents are observed ``[N]``.
    """

    position: Tensor
    heading: Tensor
    valid: Tensor


class Noise(NamedTuple):
    """The random numbers of S imagined futures of T steps.

    Attributes:
        intent: Standard normal, one draw per agent and future ``[S, N, I]``.
        steps: Standard normal, one draw per agent, future and step ``[T, S, N, J]``.
        mirror: Chirality of each future: 1 or -1, equally likely ``[S]``. For a batch of scenes it
            is ``[S, N]``, with one value for all agents of a scene.
        turn: Cosine and sine of the angle by which an agent with an unknown heading is turned
            ``[S, N, 2]``. Both are 0 in the futures of the mode: there it has no direction.
    """

    intent: Tensor
    steps: Tensor
    mirror: Tensor
    turn: Tensor

    @classmethod
    def joined(cls, scenes: list[Noise]) -> Noise:
        """The noise of several scenes with the same seed, the agents of one after the other."""
        intent, steps, _, turn = zip(*scenes, strict=True)
        return cls(torch.cat(intent, 1), torch.cat(steps, 2), scenes[0].mirror, torch.cat(turn, 1))

    def to(self, device: torch.device) -> Noise:
        """The same numbers on another device."""
        return Noise(*(value.to(device) for value in self))

    def without_mode(self) -> Noise:
        """Noise of the samples alone, without the two futures of the mode at the start."""
        return self.part(slice(2, None))

    def part(self, futures: slice) -> Noise:
        """Noise of some of the futures."""
        parts = (self.intent[futures], self.steps[:, futures])
        return Noise(*parts, self.mirror[futures], self.turn[futures])

    def split(self, at_once: int) -> Iterator[Noise]:
        """Noise of the futures in parts of at most ``at_once``."""
        for start in range(0, len(self.mirror), at_once):
            yield self.part(slice(start, start + at_once))


class Plan(NamedTuple):
    """Poses that some agents follow, revealed step by step.

    Attributes:
        poses: x, y, heading ``[T, S or 1, N or 1, 3]``.
        follows: Which agents follow their poses ``[N]``.
    """

    poses: Tensor
    follows: Tensor
