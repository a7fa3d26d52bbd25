"""Opens the evaluated predictor by its name, and fits the baselines."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import cast

import numpy as np

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec, prediction_times, window
from forecast.errors import ForecastError
from forecast.evaluation.prediction_file.predictor import SUFFIXES
from forecast.evaluation.prediction_file.reader import read_predictions
from forecast.models.baselines import BASELINES, Examples, NamedPredictor
from forecast.scene import Predictor

FEW_FUTURES = 5
"""k-means is also listed with this many futures, as a baseline for predictors of few modes."""

_IMPORTABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

_MOST_EXAMPLES = 10_000
"""More windows do not change the baselines, only the time to fit them."""


def training_examples(store: SceneStore, split: str, spec: WindowSpec) -> Examples | None:
    """Windows that the baselines may be fitted on, evenly picked if there are many.

    Returns:
        None where the store has no scene outside the scored ones.
    """
    positions, valid = [], []
    for name in store.fit_scenes(split):
        found = prediction_times(store[name], spec)
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


def build(
    name: str, store: SceneStore, split: str, spec: WindowSpec, samples: int, seed: int
) -> NamedPredictor:
    """The predictor of a name on the command line.

    Args:
        name: A key of `BASELINES`; the name of packaged weights; a weights file; a file of
            predictions (``.parquet``, ``.json``; see
            `forecast.evaluation.prediction_file.predictor`); or ``package.module:name`` of your own
            `Predictor`.
        store: The store it is scored on; baselines are fitted on its other scenes.
        split: The scored scenes.
        spec: Window lengths.
        samples: Number of futures of a baseline that has a fixed number.
        seed: Seed of a baseline's fit.

    Raises:
        ForecastError: There is no such predictor, or it cannot be built.
    """
    if name in BASELINES:
        return BASELINES[name](training_examples(store, split, spec), samples, seed)
    if _IMPORTABLE.fullmatch(name):
        return _imported(name)
    if Path(name).suffix in SUFFIXES and Path(name).exists():
        return read_predictions(Path(name), store, store.scenes_of(split), spec.horizon_steps)
    from forecast import inference  # here, because its packages take seconds that baselines save

    if name not in inference.PACKAGED and not Path(name).is_file():
        if Path(name).suffix or len(Path(name).parts) > 1:
            raise ForecastError(f"{name}: no such file; give weights or predictions that are there")
        names = ", ".join([*inference.PACKAGED, *BASELINES])
        raise ForecastError(
            f"predictor '{name}' is unknown; a file of weights or predictions, module:name or one "
            f"of {names} is needed"
        )
    return inference.load(name)


def _imported(name: str) -> NamedPredictor:
    """A user's own predictor: an object, or a class or function that makes it."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ForecastError(f"predictor '{name}' cannot be imported: {error}") from error
    made = found
    if isinstance(found, type) or not isinstance(found, Predictor):
        try:
            made = found()
        except Exception as error:  # a third party's code may raise anything
            words = " ".join(f"{type(error).__name__}: {error}".split())
            raise ForecastError(f"predictor '{name}' cannot be made: {words}") from error
    if not isinstance(made, Predictor):
        raise ForecastError(f"predictor '{name}' has no predict; see forecast.scene.Predictor")
    if not hasattr(made, "name"):
        raise ForecastError(f"predictor '{name}' has no name; give it one for the tables")
    return cast(NamedPredictor, made)


def build_baselines(
    known: Examples | None, samples: int, seed: int
) -> tuple[dict[str, NamedPredictor], dict[str, str]]:
    """All baselines by their listed name, k-means with few and with ``samples`` futures.

    Returns:
        The baselines, and those that cannot be built with the reason.
    """
    wanted = [(name, samples) for name in BASELINES if name != "kmeans"]
    wanted += [("kmeans", k) for k in sorted({FEW_FUTURES, samples})]
    built: dict[str, NamedPredictor] = {}
    left_out: dict[str, str] = {}
    for name, k in wanted:
        try:
            baseline = BASELINES[name](known, k, seed)
            built[baseline.name] = baseline
        except ForecastError as error:
            left_out[f"{name}_{k}"] = str(error)
    return built, left_out
