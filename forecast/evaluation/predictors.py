"""Builds the predictor that is asked for, and the floors that stand beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec, origins, window
from forecast.errors import ForecastError
from forecast.models.baselines import FLOORS, Examples, NamedPredictor

FEW_FUTURES = 5
"""k-means is shown with this many futures too: a floor for predictors of few modes."""

_MOST_EXAMPLES = 10_000
"""More windows do not change the floors, only the time it takes to fit them."""


def training_examples(store: SceneStore, split: str, spec: WindowSpec) -> Examples | None:
    """Windows the floors may learn from when ``split`` is scored, evenly picked if there are many.

    Returns:
        None where the store has no scene that may be learned from.
    """
    positions, valid = [], []
    for name in store.fit_scenes(split):
        found = origins(store[name], spec)
        for at in found.steps:
            cut = window(store[name], int(at), spec, found.scored[:, at])
            positions.append(cut.positions_m[cut.scored])
            valid.append(cut.valid[cut.scored])
    if not positions:
        return None
    every = -(-sum(map(len, valid)) // _MOST_EXAMPLES)
    return Examples(
        np.concatenate(positions)[::every],
        np.concatenate(valid)[::every],
        spec.history_steps,
        store.dt_s,
    )


def build(name: str, known: Examples | None, samples: int, seed: int) -> NamedPredictor:
    """A floor by its name, or trained weights by their file.

    Args:
        name: A key of `FLOORS`, the name of packaged weights or the path of a weights file.
        known: What a floor may learn from.
        samples: Futures of a floor that has a fixed number of them.
        seed: Seed of the fit.

    Raises:
        ForecastError: There is no such floor or file, or it cannot be built.
    """
    if name in FLOORS:
        return FLOORS[name](known, samples, seed)
    from forecast import inference  # the model's packages take seconds that floors need not wait

    if name not in inference.PACKAGED and not Path(name).exists():
        names = ", ".join([*inference.PACKAGED, *FLOORS])
        raise ForecastError(
            f"predictor '{name}' is unknown; a weights file or one of {names} is needed"
        )
    return inference.load(name)


def build_floors(
    known: Examples | None, samples: int, seed: int
) -> tuple[dict[str, NamedPredictor], dict[str, str]]:
    """All floors by the name they are listed under, k-means with few and with ``samples`` futures.

    Returns:
        The floors, and those that cannot be built with the reason.
    """
    wanted = [(name, samples) for name in FLOORS if name != "kmeans"]
    wanted += [("kmeans", k) for k in sorted({FEW_FUTURES, samples})]
    built: dict[str, NamedPredictor] = {}
    left_out: dict[str, str] = {}
    for name, k in wanted:
        try:
            floor = FLOORS[name](known, k, seed)
            built[floor.name] = floor
        except ForecastError as error:
            left_out[f"{name}_{k}"] = str(error)
    return built, left_out
