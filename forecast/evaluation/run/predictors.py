"""Opens the evaluated predictor by its name, and fits the baselines."""

from __future__ import annotations

import difflib
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

_IN_A_FILE = re.compile(r"(?:(.*)/)?([A-Za-z_]\w*)\.py(?::(\w+))?")
_TABLES = (".csv", ".tsv", ".txt", ".jsonl", ".pkl", ".npy", ".npz", ".feather", ".xlsx")
"""Suffixes of files in which predictions may be, but are not read."""

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
    if _IMPORTABLE.fullmatch(name) and ".py:" not in name:
        return _imported(name)
    path = Path(name)
    if path.suffix in SUFFIXES and _is_there(path):
        return read_predictions(path, store, store.scenes_of(split), spec.horizon_steps)
    from forecast import inference  # here, because its packages take seconds that baselines save

    if name not in inference.PACKAGED:
        _check_weights(name)
    return inference.load(name)


def _check_weights(name: str) -> None:
    """Refuses what is no weights file, in words on predictors."""
    from forecast import inference
    from forecast.inference.paths import is_file, nearest

    path, code = Path(name), _IN_A_FILE.fullmatch(name)
    if code:
        raise ForecastError(f"predictor '{name}' is Python code; {_as_module(*code.groups())}")
    if path.suffix in _TABLES and _is_there(path):
        raise ForecastError(
            f"{name}: predictions are read from {' and '.join(SUFFIXES)} files, not from "
            f"{path.suffix} files; write them as one"
        )
    if is_file(path / "interface.json"):  # its programs cannot be sent to worker processes
        weights = path / "weights.safetensors"
        raise ForecastError(f"{name}: is an exported model; give the weights in it, {weights}")
    if name and _is_there(path):
        return
    names = [*inference.PACKAGED, *BASELINES]
    near = nearest(path, names)
    if path.suffix or len(path.parts) > 1:
        advice = near or "give weights or predictions that are there, or module:name"
        raise ForecastError(f"{name}: no such file; {advice}")
    listed = ", ".join(names)
    advice = f"a file of weights or predictions, module:name or one of {listed} is needed"
    raise ForecastError(f"predictor '{name}' is unknown; {near or advice}")


def _is_there(path: Path) -> bool:
    """Whether there is anything at a path, also what may not be read."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def _as_module(folder: str | None, module: str, attribute: str | None) -> str:
    """What to name instead of a Python file."""
    where = f" with PYTHONPATH={folder or '.'}"
    return f"give module:name, such as {module}:{attribute or 'MyPredictor'}{where}"


def _imported(name: str) -> NamedPredictor:
    """A user's own predictor: an object, or a class or function that makes it."""
    module, _, attribute = name.partition(":")
    try:
        within = importlib.import_module(module)
    except Exception as error:  # a third party's code may raise anything
        words = " ".join(f"{type(error).__name__}: {error}".split())
        missing = getattr(error, "name", None) if isinstance(error, ImportError) else None
        own = missing is not None and f"{module}.".startswith(f"{missing}.")
        advice = "set PYTHONPATH to the folder that holds it" if own else "repair the module"
        raise ForecastError(f"predictor '{name}' cannot be imported: {words}; {advice}") from error
    if not hasattr(within, attribute):
        near = difflib.get_close_matches(attribute, dir(within), n=1)
        advice = f"did you mean '{module}:{near[0]}'?" if near else "give a name that it defines"
        words = f"module '{module}' has no '{attribute}'"
        raise ForecastError(f"predictor '{name}' cannot be imported: {words}; {advice}")
    made = found = getattr(within, attribute)
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
