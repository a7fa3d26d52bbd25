"""A forecaster whose network runs as exported programs; all else is as it was."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.utils import _pytree as pytree

from forecast.export.formats import Run
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.programs import Program, programs


class ExportedModel(PedestrianForecaster):
    """A network that imagines with exported programs; on a processor and without gradients.

    The loop, the search for neighbours and the controls are those of the package; the programs take
    the place of the verbs they were made of.

    Args:
        model: The network they were made of.
        runs: The programs by name.
    """

    def __init__(self, model: PedestrianForecaster, runs: Mapping[str, Run]) -> None:
        super().__init__(model.config)
        self.load_state_dict(model.state_dict())
        verbs = {name: _Verb(program, runs[name]) for name, program in programs(self).items()}
        vars(self)["encode"] = verbs["map"]
        for name in ("update", "inject", "act"):
            setattr(self.world, name, verbs[name])


class _Verb:
    """A program called as the verb it was made of."""

    def __init__(self, program: Program, run: Run) -> None:
        self.run, self.result = run, pytree.tree_structure(program.outputs)

    def __call__(self, *arguments: object) -> object:
        leaves: list[Tensor] = pytree.tree_leaves(arguments)
        return pytree.tree_unflatten(self.run(leaves), self.result)
