"""What the world model passes around: what is known, what is seen, what is believed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from forecast.models.kinematics import Motion
from forecast.scene import AgentKind

AGENT_KINDS = 4
"""Pedestrian, cyclist, vehicle, ego: the values of `AgentKind` that move."""

TRAITS = 3 + AGENT_KINDS
"""Numbers that describe an agent whatever it does."""


@dataclass(frozen=True)
class EncodedMap:
    """Map pieces as agents see them; the same at every step.

    Attributes:
        told: What the pieces tell who looks with the left hand, then who looks with the right one
            (`forecast.models.kinematics`) ``[2 * M, D]``.
        poses: Middle points, and unit vectors of traffic flow, or towards the inside of an area:
            four numbers each ``[4, M]``.
    """

    told: Tensor
    poses: Tensor


@dataclass(frozen=True)
class Context:
    """What stays the same while the world moves on.

    Attributes:
        kind: `AgentKind` values ``[N]``.
        size: Length, width, height in metres ``[N, 3]``.
        dt: Step length in seconds ``[N]``.
        pairs: Candidate agent pairs (source, target) ``[2, E]``, sorted by target.
        radius: Their ranges in metres ``[E]``.
        map: Encoded map pieces.
        map_pairs: Candidate (piece, agent) pairs ``[2, E]``, sorted by agent.
    """

    kind: Tensor
    size: Tensor
    dt: Tensor
    pairs: Tensor
    radius: Tensor
    map: EncodedMap
    map_pairs: Tensor

    def select(self, agents: Tensor) -> Context:
        """The world of some agents alone, by mask ``[N]``."""
        new_index = agents.cumsum(0) - 1
        both = agents[self.pairs].all(0)
        seen = agents[self.map_pairs[1]]
        piece, agent = self.map_pairs[:, seen]
        return Context(
            self.kind[agents],
            self.size[agents],
            self.dt[agents],
            new_index[self.pairs[:, both]],
            self.radius[both],
            self.map,
            torch.stack([piece, new_index[agent]]),
        )

    def rows(self, agents: Tensor) -> Context:
        """Rows ``[R]`` that stand for agents, an agent as often as wanted; nobody near them."""
        nothing = self.pairs[:, :0]
        of = self.kind[agents], self.size[agents], self.dt[agents]
        return Context(*of, nothing, self.radius[:0], self.map, nothing)

    @cached_property
    def people_pairs(self) -> Tensor:
        """The candidate pairs of two pedestrians, each once ``[2, E']``."""
        people = (self.kind[self.pairs] == AgentKind.PEDESTRIAN).all(0)
        return self.pairs[:, people & (self.pairs[0] < self.pairs[1])]

    @cached_property
    def drives(self) -> Tensor:
        """Agents that move like vehicles ``[N]``."""
        return self.kind >= AgentKind.VEHICLE

    @cached_property
    def has_vehicles(self) -> bool:
        """Whether anybody moves like a vehicle."""
        return bool(self.drives.any())

    @cached_property
    def reach_m(self) -> Tensor:
        """Radius of a disc about each agent's size ``[N]``."""
        return 0.5 * self.size[:, :2].mean(-1)

    @cached_property
    def traits(self) -> Tensor:
        """Step length, size and kind of each agent as features ``[TRAITS, N]``."""
        kinds = nn.functional.one_hot(self.kind, AGENT_KINDS)
        size = torch.log1p(self.size[:, :2])
        return torch.cat([self.dt[None], size.t(), kinds.t().to(size.dtype)])


@dataclass(frozen=True)
class Frame:
    """What is seen at one step.

    Attributes:
        position: ``[N, 2]``.
        heading: ``[N]``.
        valid: Which agents are seen ``[N]``.
    """

    position: Tensor
    heading: Tensor
    valid: Tensor


@dataclass(frozen=True)
class State:
    """What the model believes of S copies of the world.

    Attributes:
        hidden: ``[S, N, D]``.
        motion: Kinematic state, shapes ``[S, N, ...]``.
        seen: Whether the agent was ever seen ``[S, N]``.
        steady: Whether its velocity is known ``[S, N]``.
        unseen_s: Time since it was last seen ``[S, N]``.
        hand: With which hand the network looks at each copy, 1 or -1 ``[S, 1]``; where there are
            several worlds side by side, at each of its agents ``[S, N]``.
    """

    hidden: Tensor
    motion: Motion
    seen: Tensor
    steady: Tensor
    unseen_s: Tensor
    hand: Tensor

    def seen_with(self, hand: Tensor) -> State:
        """Copies of a world observed with both hands (S = 2), one for each given hand.

        Args:
            hand: 1 or -1 ``[S]``, or for each agent ``[S, N]``.
        """
        by_agent = hand if hand.ndim == 2 else hand[:, None]
        copy = (by_agent < 0).long().expand(-1, self.seen.shape[1])
        agent = torch.arange(self.seen.shape[1], device=hand.device)
        return State(
            self.hidden[copy, agent],
            self.motion.map(lambda value: value[copy, agent]),
            self.seen[copy, agent],
            self.steady[copy, agent],
            self.unseen_s[copy, agent],
            by_agent,
        )

    def select(self, agents: Tensor) -> State:
        """What is believed of some agents, by mask ``[N]``."""
        return State(
            self.hidden[:, agents],
            self.motion.map(lambda value: value[:, agents]),
            self.seen[:, agents],
            self.steady[:, agents],
            self.unseen_s[:, agents],
            self.hand,
        )

    def rows(self, at: Tensor) -> State:
        """What is believed of some agents of some copies, by index ``[R]`` in ``[S * N]``."""

        def of(values: Tensor) -> Tensor:
            return values.flatten(0, 1)[at][None]

        return State(
            of(self.hidden),
            self.motion.map(of),
            of(self.seen),
            of(self.steady),
            of(self.unseen_s),
            of(self.hand.expand_as(self.seen)),
        )

    def beside(self, others: State) -> State:
        """These agents and then others, in the same copies of the world."""
        mine, theirs = self.motion, others.motion
        return State(
            torch.cat([self.hidden, others.hidden], 1),
            Motion(
                torch.cat([mine.position, theirs.position], 1),
                torch.cat([mine.velocity, theirs.velocity], 1),
                torch.cat([mine.facing, theirs.facing], 1),
                torch.cat([mine.yaw_rate, theirs.yaw_rate], 1),
            ),
            torch.cat([self.seen, others.seen], 1),
            torch.cat([self.steady, others.steady], 1),
            torch.cat([self.unseen_s, others.unseen_s], 1),
            self.hand,
        )

    def joined(self, position: Tensor, velocity: Tensor, facing: Tensor) -> State:
        """With one more agent, last, the same ``[2]`` in all copies; its hidden state is empty."""
        motion, none = self.motion, self.hidden.new_zeros(())
        yes = self.seen.new_ones(())
        return State(
            with_agent(self.hidden, none),
            Motion(
                with_agent(motion.position, position),
                with_agent(motion.velocity, velocity),
                with_agent(motion.facing, facing),
                with_agent(motion.yaw_rate, none),
            ),
            with_agent(self.seen, yes),
            with_agent(self.steady, yes),
            with_agent(self.unseen_s, none),
            self.hand,
        )


def with_agent(values: Tensor, value: Tensor) -> Tensor:
    """Values ``[S, N, ...]`` with one more agent, last, of which all copies have one value."""
    return torch.cat([values, value.expand(len(values), 1, *values.shape[2:])], 1)


@dataclass(frozen=True)
class Noise:
    """The random numbers of imagined futures.

    Attributes:
        intent: Standard normal ``[S, N, I]``.
        steps: Standard normal ``[T, S, N, J]``.
        hand: With which hand each future is imagined: 1 or -1, equally likely ``[S]``; of several
            worlds side by side ``[S, N]``, the same for all agents of one.
    """

    intent: Tensor
    steps: Tensor
    hand: Tensor

    def to(self, device: torch.device) -> Noise:
        """The same numbers on another device."""
        return Noise(self.intent.to(device), self.steps.to(device), self.hand.to(device))

    def drawn(self) -> Noise:
        """That of the samples alone, without the mode's two futures in front."""
        return Noise(self.intent[2:], self.steps[:, 2:], self.hand[2:])

    def select(self, agents: Tensor) -> Noise:
        """That of some agents, by mask ``[N]``."""
        return Noise(self.intent[:, agents], self.steps[:, :, agents], self.hand)

    def split(self, first: int, at_once: int) -> Iterator[Noise]:
        """That of the futures from ``first`` on, at most so many at once."""
        for start in range(first, len(self.hand), at_once):
            part = slice(start, start + at_once)
            yield Noise(self.intent[part], self.steps[:, part], self.hand[part])

    def repeated(self, times: int) -> Noise:
        """The same futures several times over, one set after the other."""
        return Noise(
            self.intent.repeat(times, 1, 1),
            self.steps.repeat(1, times, 1, 1),
            self.hand.repeat(times),
        )


@dataclass(frozen=True)
class Plan:
    """Poses some agents are known to take, revealed step by step.

    Attributes:
        poses: x, y, heading ``[T, S or 1, N or 1, 3]``.
        follows: Which agents follow theirs ``[N]``.
    """

    poses: Tensor
    follows: Tensor
