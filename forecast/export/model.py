"""A forecaster that runs exported programs instead of the network's own functions."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.utils import _pytree as pytree

from forecast.export.formats import Run
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.programs import Program, programs


class ExportedModel(PedestrianForecaster):
    """A network that runs exported programs, on a processor and without gradients.

    The programs replace the functions from which they were made. The rollout loop, the search for
    neighbours and the controls are those of the package. So is `WorldModel.place`,
    which costs little; its program serves callers in other languages.

    Args:
        model: The network from which the programs were made.
        runs: The programs by name.
    """

    def __init__(self, model: PedestrianForecaster, runs: Mapping[str, Run]) -> None:
        super().__init__(model.config)
        self.load_state_dict(model.state_dict())
        verbs = {name: _Verb(program, runs[name]) for name, program in programs(self).items()}
        vars(self)["encode"] = verbs["map"]
        vars(self.modes)["forward"] = verbs["modes"]
        for name in ("update", "settle", "inject", "act"):
            setattr(self.world, name, verbs[name])


class _Verb:
    """A program with the signature of the function from which it was made."""

    def __init__(self, program: Program, run: Run) -> None:
        self.run, self.result = run, pytree.tree_structure(program.outputs)

    def __call__(self, *arguments: object) -> object:
        leaves: list[Tensor] = pytree.tree_leaves(arguments)
        return pytree.tree_unflatten(self.run(leaves), self.result)
