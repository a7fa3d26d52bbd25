"""The network as programs of plain tensors: its verbs, with every size that varies left open.

A step is a program, a horizon a loop over it: of any number of steps, and a plan is revealed step
by step. In what order the programs are called stands in `forecast.export.model`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.models.kinematics import Motion, choose
from forecast.models.state import Context, EncodedMap, Frame, State
from forecast.models.world_model import WorldModel

Tensors = tuple[Tensor, ...]

AXES = {
    "N": "agents",
    "E": "pairs of agents that may come into range, sorted by the second",
    "M": "map pieces",
    "L": "pairs of map pieces of which the second goes on where the first ends",
    "Q": "pairs of a map piece and an agent that may come to see it, sorted by the agent",
    "S": "imagined futures",
}
"""What varies from call to call; every other axis has one size for good."""


@dataclass(frozen=True)
class Value:
    """An input or an output of a program.

    Attributes:
        name: What it is called in `forecast.models.state`, or in `forecast.graphs.window_graph`.
        axes: Its sizes; those that vary by their letter in `AXES`.
        dtype: Type of its numbers.
    """

    name: str
    axes: tuple[int | str, ...]
    dtype: torch.dtype = torch.float32

    @property
    def varying(self) -> dict[int, str]:
        """Letters of the axes that vary, by their place."""
        return {place: axis for place, axis in enumerate(self.axes) if isinstance(axis, str)}

    def example(self) -> Tensor:
        """Zeros of this form; no two letters have the same size."""
        sizes = {letter: 5 + place for place, letter in enumerate(AXES)}
        shape = [sizes[axis] if isinstance(axis, str) else axis for axis in self.axes]
        return torch.zeros(shape, dtype=self.dtype)

    def described(self) -> dict[str, Any]:
        """As plain values."""
        dtype = str(self.dtype).removeprefix("torch.")
        return {"name": self.name, "shape": list(self.axes), "dtype": dtype}


@dataclass(frozen=True)
class Program:
    """A verb of the network, as a function of tensors.

    Attributes:
        verb: What it computes; takes the inputs in their order and returns the outputs.
        inputs: What it takes.
        outputs: What it returns.
    """

    verb: nn.Module
    inputs: list[Value]
    outputs: list[Value]

    def examples(self) -> Tensors:
        """Inputs of some size."""
        return tuple(value.example() for value in self.inputs)


def programs(model: PedestrianForecaster) -> dict[str, Program]:
    """The programs of a network by name, in the order they are called."""
    form, world = _Form(model.config), model.world
    context, seen, imagined = form.context(), form.state(2), form.state("S")
    observe, begin = [*context, *seen, *form.frame()], [*seen, *form.future()]
    imagine = [*context, *imagined, *form.future(), *form.step()]
    return {
        "map": Program(_Map(model), form.pieces(), form.encoded_map()),
        "observe": Program(_Observe(world), observe, _after(seen)),
        "begin": Program(_Begin(world), begin, _after(imagined)),
        "imagine": Program(_Imagine(world), imagine, _after(imagined[:MOVING])),
    }


def context_tensors(context: Context) -> Tensors:
    """A context as programs take it."""
    told, poses = context.map.told, context.map.poses
    agents = context.kind, context.size, context.dt, context.pairs, context.radius
    return *agents, _by_hand(told), poses, context.map_pairs


def context_of(values: Tensors) -> Context:
    """Inverse of `context_tensors`."""
    kind, size, dt, pairs, radius, told, poses, map_pairs = values
    pieces = EncodedMap(told.flatten(0, 1), poses)
    return Context(kind, size, dt, pairs, radius, pieces, map_pairs)


def state_tensors(state: State) -> Tensors:
    """A state as programs take it: what a step changes (`MOVING`), the rest, but for the hand."""
    motion = state.motion
    moving = state.hidden, motion.position, motion.velocity, motion.facing, motion.yaw_rate
    return *moving, state.seen, state.steady, state.unseen_s


def state_of(values: Tensors, hand: Tensor) -> State:
    """Inverse of `state_tensors`, with a hand ``[S]``."""
    hidden, position, velocity, facing, yaw_rate, seen, steady, unseen_s = values
    motion = Motion(position, velocity, facing, yaw_rate)
    return State(hidden, motion, seen, steady, unseen_s, hand[:, None])


MOVING = 5
"""So many tensors of a state change in an imagined step."""

_CONTEXT, _STATE = 8, 8


class _Map(nn.Module):
    """Takes in a map."""

    def __init__(self, model: PedestrianForecaster) -> None:
        super().__init__()
        self.model = model

    def forward(self, *values: Tensor) -> Tensors:
        encoded = self.model.encode(*values)
        return _by_hand(encoded.told), encoded.poses


class _Observe(nn.Module):
    """Filters a frame."""

    def __init__(self, world: WorldModel) -> None:
        super().__init__()
        self.world = world

    def forward(self, *values: Tensor) -> Tensors:
        context, before, frame = _split(values)
        state = state_of(before, _both_hands(before))
        return state_tensors(self.world.observe(context, state, Frame(*frame)))


class _Begin(nn.Module):
    """Gives every future its hand and its agents their intents."""

    def __init__(self, world: WorldModel) -> None:
        super().__init__()
        self.world = world

    def forward(self, *values: Tensor) -> Tensors:
        seen, (intent, hand) = values[:_STATE], values[_STATE:]
        state = state_of(seen, _both_hands(seen)).seen_with(hand)
        return state_tensors(self.world.intend_to(state, intent))


class _Imagine(nn.Module):
    """Moves every future on by a step and lets its agents look around."""

    def __init__(self, world: WorldModel) -> None:
        super().__init__()
        self.world = world

    def forward(self, *values: Tensor) -> Tensors:
        context, moving, (intent, hand, noise, pose, follows) = _split(values)
        state = state_of(moving, hand)
        before, free = state.motion, self.world.move(context, state, intent, noise)
        planned = self.world.follow(context, before, pose)
        state = replace(state, motion=choose(follows.expand_as(state.seen), planned, free))
        return state_tensors(self.world.notice(context, state, before.velocity))[:MOVING]


def _split(values: Tensors) -> tuple[Context, Tensors, Tensors]:
    """A context, the tensors of a state, and what follows them."""
    end = _CONTEXT + _STATE
    return context_of(values[:_CONTEXT]), values[_CONTEXT:end], values[end:]


def _by_hand(told: Tensor) -> Tensor:
    """What map pieces tell ``[2 * M, D]`` as ``[2, M, D]``."""
    return told.view(2, -1, told.shape[-1])


def _both_hands(values: Tensors) -> Tensor:
    """A world observed with either hand: left, right."""
    return values[0].new_tensor([1.0, -1.0])


def _after(values: list[Value]) -> list[Value]:
    return [replace(value, name=f"{value.name}_after") for value in values]


class _Form:
    """What the programs of a network of some sizes take."""

    def __init__(self, config: ForecasterConfig) -> None:
        self._points, self._sizes = config.graph.piece_points, config.world_model

    def pieces(self) -> list[Value]:
        points = Value("points", ("M", self._points, 2))
        return [points, Value("piece_kind", ("M",), torch.int64), _pairs("next", "L")]

    def encoded_map(self) -> list[Value]:
        return [Value("told", (2, "M", self._sizes.messages)), Value("poses", (4, "M"))]

    def context(self) -> list[Value]:
        agents = [Value("kind", ("N",), torch.int64), Value("size", ("N", 3)), Value("dt", ("N",))]
        near = [_pairs("pairs", "E"), Value("radius", ("E",))]
        return [*agents, *near, *self.encoded_map(), _pairs("map_pairs", "Q")]

    def state(self, copies: int | str) -> list[Value]:
        each = (copies, "N")
        vectors = {"hidden": self._sizes.hidden, "position": 2, "velocity": 2, "facing": 2}
        return [
            *(Value(name, (*each, size)) for name, size in vectors.items()),
            Value("yaw_rate", each),
            *(Value(name, each, torch.bool) for name in ("seen", "steady")),
            Value("unseen_s", each),
        ]

    def frame(self) -> list[Value]:
        pose = [Value("frame_position", ("N", 2)), Value("frame_heading", ("N",))]
        return [*pose, Value("frame_valid", ("N",), torch.bool)]

    def future(self) -> list[Value]:
        return [Value("intent", ("S", "N", self._sizes.intent)), Value("hand", ("S",))]

    def step(self) -> list[Value]:
        noise = Value("noise", ("S", "N", self._sizes.noise))
        return [noise, Value("pose", ("S", "N", 3)), Value("follows", ("N",), torch.bool)]


def _pairs(name: str, axis: str) -> Value:
    return Value(name, (2, axis), torch.int64)
