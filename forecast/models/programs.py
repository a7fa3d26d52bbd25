"""The network's verbs as programs: functions of flat lists of tensors of any size.

One step is a pair of programs, and the rollout loop (`forecast.models.rollout`) calls them for any
number of steps. So a plan can be revealed step by step. The search for neighbours is outside of the
programs, because the number of edges depends on data. Edges may include pairs out of range: their
weight is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as export_config
from torch.utils import _pytree as pytree

from forecast.graphs.conflicts import CONFLICTS
from forecast.models.crossings import Conflicts
from forecast.models.features import AgentTable
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.message_passing import Replayed, SceneEdges
from forecast.models.modes import MODE_COUNTS
from forecast.models.neighbors import Edges
from forecast.models.types import Agents, EncodedMap, Motion, Observation, State
from forecast.models.world_model import Surroundings, WorldModel

AXES = {
    "N": "agents",
    "S": "copies of the scene: 2 while observing (one for each chirality), then imagined futures",
    "E": "edges between agents, sorted by target; more letters for more slots of relations",
    "F": "edges of the second slot of relations",
    "G": "edges of the third slot of relations",
    "Q": "edges from map pieces to agents, sorted by agent",
    "C": "edges from ways over crosswalks to agents, sorted by agent",
    "V": "edges from lanes to vehicles, sorted by vehicle",
    "M": "map pieces",
    "L": "pairs of map pieces of which the second goes on where the first ends",
    "R": "replayed agents, whose motion is given; usually none",
    "T": "steps of the mode sets",
}
"""Axes with a size that varies from call to call. Every other axis has a fixed size."""

_SMALL_PRODUCT = 12
"""Matrix products over at most this many columns are written as sums; see `_small_product`."""


@dataclass(frozen=True)
class Array:
    """Shape and type of a tensor.

    Attributes:
        axes: Sizes of the axes; an axis that varies is given by its letter in `AXES`.
        dtype: Type of its numbers.
    """

    axes: tuple[int | str, ...]
    dtype: torch.dtype = torch.float32

    def example(self) -> Tensor:
        """Zeros of this shape and type."""
        # Export would take axes of equal size for the same axis, so every letter has another size.
        sizes = {letter: 5 + place for place, letter in enumerate(AXES)}
        shape = [sizes[axis] if isinstance(axis, str) else axis for axis in self.axes]
        return torch.zeros(shape, dtype=self.dtype)

    def varying(self) -> dict[int, Any]:
        """Axes that vary, by their index, as `torch.export` takes them."""
        return dict.fromkeys(self.letters(), torch.export.Dim.DYNAMIC)

    def letters(self) -> dict[int, str]:
        """Letters of the axes that vary, by their index."""
        return {at: axis for at, axis in enumerate(self.axes) if isinstance(axis, str)}

    def described(self, name: str) -> dict[str, Any]:
        """Name, shape and type as values that JSON can hold."""
        dtype = str(self.dtype).removeprefix("torch.")
        return {"name": name, "shape": list(self.axes), "dtype": dtype}


# The named tuples below hold arrays where they hold tensors elsewhere, hence `Any`.
def _floats(*axes: int | str) -> Any:
    return Array(axes)


def _indices(*axes: int | str) -> Any:
    return Array(axes, torch.int64)


def _flags(*axes: int | str) -> Any:
    return Array(axes, torch.bool)


@dataclass(frozen=True)
class Program:
    """A verb of the network.

    Attributes:
        module: The module that holds the weights.
        verb: The function that it computes.
        inputs: Arguments by name, in order; trees of `Array`.
        outputs: The result; a tree of `Array`.
    """

    module: nn.Module
    verb: Callable[..., Any]
    inputs: dict[str, Any]
    outputs: Any

    def arrays(self) -> list[Array]:
        """The inputs in the order of the flat list."""
        return pytree.tree_leaves(tuple(self.inputs.values()))

    @property
    def returns(self) -> int:
        """Number of tensors in the result."""
        return len(pytree.tree_leaves(self.outputs))

    def interface(self) -> dict[str, list[dict[str, Any]]]:
        """Names, shapes and types of the flat inputs and outputs."""
        inputs = [array for name, tree in self.inputs.items() for array in _named(name, tree)]
        return {"inputs": inputs, "outputs": _named("after", self.outputs)}

    def flat(self) -> nn.Module:
        """The program as a module of flat tensors that holds the weights."""
        return _Flat(self)

    def with_weights(self) -> nn.Module:
        """The program as a module that takes the weights before all other inputs."""
        return _WithWeights(self)

    def weights(self) -> list[Tensor]:
        """The weights in the order that `with_weights` takes them."""
        return [value.detach() for value in self.module.parameters()]


def _named(name: str, tree: Any) -> list[dict[str, Any]]:
    leaves, _ = pytree.tree_flatten_with_path(tree)
    return [array.described(name + pytree.keystr(path)) for path, array in leaves]


class _Flat(nn.Module):
    def __init__(self, program: Program) -> None:
        super().__init__()
        self.module, self.verb = program.module, program.verb
        self.spec = pytree.tree_structure(tuple(program.inputs.values()))

    def forward(self, *flat: Tensor) -> tuple[Tensor, ...]:
        result = self.verb(*pytree.tree_unflatten(list(flat), self.spec))
        return tuple(pytree.tree_leaves(result))


class _WithWeights(nn.Module):
    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = _Flat(program)
        self.names = [name for name, _ in self.program.named_parameters()]

    def forward(self, weights: list[Tensor], *flat: Tensor) -> tuple[Tensor, ...]:
        values = dict(zip(self.names, weights, strict=True))
        result: tuple[Tensor, ...] = torch.func.functional_call(self.program, values, flat)
        return result


def step_programs(world: WorldModel) -> dict[str, Program]:
    """The two programs of a step, by name: ``update`` and ``act``."""
    config = world.config
    state, visible = _state(config.hidden), _flags("S", "N")
    given = {"around": _surroundings(world), "state": state}
    drawn = {"intent": _intent(world), "noise": _floats("S", "N", config.noise)}
    return {
        "update": Program(world, world.update, {**given, "visible": visible}, state.hidden),
        "act": Program(world, world.act, {**given, **drawn}, state.motion),
    }


def programs(model: PedestrianForecaster) -> dict[str, Program]:
    """All programs of a network, by name, in the order in which they are called.

    ``map`` encodes the map. ``place`` and ``update`` observe a frame. ``modes`` gives the mode sets
    after it. When a rollout begins, ``settle`` gives people the velocities to start with, and
    ``inject`` adds the latent intents. ``update`` and ``act`` in turn imagine the steps. In the
    state that ``update`` then gets, agents with a plan have the velocity of the step to come.
    """
    world, sizes, points = model.world, model.config.world_model, model.config.graph.piece_points
    pieces = {"points": _floats("M", points, 2), "kind": _indices("M"), "follows": _indices(2, "L")}
    pieces["conflicts"] = _floats("M", CONFLICTS, 4)
    state, seen = _state(sizes.hidden), Observation(_floats("N", 2), _floats("N"), _flags("N"))
    placed = {"agents": _agents(), "state": state, "observation": seen}
    decoded = {"agents": _agents(), "state": state, "times_s": _floats("N", "T")}
    settled = {"around": _surroundings(world), "state": state}
    injected = {"state": state, "intent": _intent(world)}
    steps = step_programs(world)
    return {
        "map": Program(model, model.encode, pieces, _map(sizes.messages, points)),
        "place": Program(world, world.place, placed, state),
        "update": steps["update"],
        "modes": Program(model.modes, model.modes.forward, decoded, _modes()),
        "settle": Program(world, world.settle, settled, state),
        "inject": Program(world, world.inject, injected, state),
        "act": steps["act"],
    }


def _intent(world: WorldModel) -> Any:
    return _floats("S", "N", world.config.intent)


def _modes() -> Any:
    paths, logits = (("S", "N", "T", 2), ("S", "N"))
    return [(_floats(count, *paths), _floats(count, *logits)) for count in MODE_COUNTS]


def _agents() -> Agents:
    return Agents(_indices("N"), _floats("N", 3), _floats("N"))


def _map(width: int, points: int) -> EncodedMap:
    poses, crossings, lanes = _floats(4, "M"), _floats(2, "M"), _floats("M", points, 2)
    return EncodedMap(_floats(2, "M", width), poses, crossings, lanes, _floats("M", CONFLICTS, 4))


def _state(hidden: int) -> State:
    vector, scalar, flag = _floats("S", "N", 2), _floats("S", "N"), _flags("S", "N")
    motion = Motion(vector, vector, vector, scalar)
    return State(_floats("S", "N", hidden), motion, vector, vector, flag, flag, scalar, scalar)


def _surroundings(world: WorldModel) -> Surroundings:
    width, slots = world.config.messages, len(world.config.slots)
    axes = [*"EFG"[:slots], "Q", "C", "V"]
    edges = [Edges(_indices(each), _indices(each), _floats(each)) for each in axes]
    points = _floats("R", CONFLICTS)
    replayed = Replayed(
        AgentTable(*(_floats("R") for _ in AgentTable._fields)),
        Conflicts(points, points, points, points, _floats("R")),
        tuple(_floats("R", width) for _ in range(slots)),
        _floats("R", 2),
        _flags("R"),
    )
    scene = SceneEdges(tuple(edges[:slots]), *edges[slots:])
    pieces = _map(width, world.graph.piece_points)
    return Surroundings(_agents(), pieces, scene, replayed)


def captured(program: Program, *, with_weights: bool) -> torch.export.ExportedProgram:
    """The graph of a program, for inputs of any size, 0 and 1 included.

    Args:
        program: A program.
        with_weights: Whether the graph takes the weights as inputs; otherwise it contains them.
    """
    arrays = program.arrays()
    inputs: tuple[Any, ...] = tuple(array.example() for array in arrays)
    varying: Any = tuple(array.varying() for array in arrays)
    module = program.flat()
    if with_weights:
        module, weights = program.with_weights(), program.weights()
        inputs, varying = (weights, *inputs), ([None] * len(weights), varying)
    else:
        varying = (varying,)
    # By default, export adds guards against sizes 0 and 1. A scene without edges, or with a single
    # agent, has such sizes.
    any_size = export_config.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]
    with torch.no_grad(), any_size:
        found = torch.export.export(module.eval(), inputs, dynamic_shapes=varying, strict=False)
        return found.run_decompositions(_decompositions())


def _decompositions() -> Any:
    """Decompositions of matrix products that let the compiler fuse them with other operators.

    By default, each product is a call of a library, and its result is written to memory. Products
    with few columns (edge features by their weights) become sums within the loop over edges. The
    bias of a layer is added in the loop that uses the layer's result.
    """
    table, aten = torch.export.default_decompositions(), torch.ops.aten
    table[aten.mm.default] = _small_product
    # Written as ``torch.mm(a, b) + bias``, the compiler's own pattern would turn it into one call
    # again, with a copy of the bias for every row. Subtracting the negative avoids that pattern.
    table[aten.addmm.default] = lambda bias, a, b: torch.mm(a, b) - (-bias)
    return table


def _small_product(a: Tensor, b: Tensor) -> Tensor:
    """``a [E, D] @ b [D, F]`` as a sum of D outer products; D is fixed and small."""
    inner = a.shape[1]
    if not isinstance(inner, int) or inner > _SMALL_PRODUCT:
        return NotImplemented
    b = _realized(b)
    terms = [a[:, k, None] * b[k] for k in range(inner)]
    return sum(terms[1:], terms[0])


def _realized(weights: Tensor) -> Tensor:
    """A copy of transposed weights row by row, so that the loop reads whole vectors of them.

    The compiler would otherwise read from the original, number by number, in every iteration. It
    removes a plain copy, but not one that `as_strided` is applied to.
    """
    return weights.contiguous().as_strided(weights.shape, (weights.shape[1], 1))
