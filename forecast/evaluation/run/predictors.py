"""Opens the evaluated predictor by its name, and fits the baselines."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec, prediction_times, window
from forecast.errors import ForecastError, require
from forecast.evaluation.prediction_file.predictor import SUFFIXES
from forecast.evaluation.prediction_file.reader import read_predictions
from forecast.evaluation.run.own_code import OwnCode, imported, in_words, is_importable
from forecast.models.baselines import BASELINES, Examples, NamedPredictor
from forecast.scene import Predictor

FEW_FUTURES = 5
"""k-means is also listed with this many futures, as a baseline for predictors of few modes."""

_IN_A_FILE = re.compile(r"(?:(.*)/)?([A-Za-z_]\w*)\.py(?::(\w+))?")
_TABLES = (".csv", ".tsv", ".txt", ".jsonl", ".pkl", ".npy", ".npz", ".feather", ".xlsx")
"""Suffixes of files in which predictions may be, but are not read."""

_MOST_EXAMPLES = 10_000
"""More windows do not change the baselines, only the time to fit them."""


def training_examples(store: SceneStore, split: str, spec: WindowSpec) -> Examples | None:
    """Windows that the baselines may be fitted on; of evenly picked moments if there are many.

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
    positions, valid = positions[::every], valid[::every]
    moment = np.repeat(np.arange(len(valid)), [len(each) for each in valid])
    return Examples(
        np.concatenate(positions), np.concatenate(valid), spec.history_steps, store.dt_s, moment
    )


def build(
    name: str, store: SceneStore, split: str, spec: WindowSpec, samples: int, seed: int
) -> NamedPredictor:
    """The predictor of a name on the command line.

    Args:
        name: A key of `BASELINES`; the name of packaged weights; a weights file; a file of
            predictions (``.parquet``, ``.json``; see
            `forecast.evaluation.prediction_file.predictor`); or ``package.module:name`` of your own
            `Predictor`; see `own_predictor`.
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
    if is_importable(name):
        return own_predictor(name)[0]
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
    elsewhere = folder is not None and Path(folder).resolve() != Path.cwd()
    where = f" with PYTHONPATH={folder}" if elsewhere else ""
    return f"give module:name, such as {module}:{attribute or 'MyPredictor'}{where}"


def own_predictor(source: str) -> tuple[NamedPredictor, OwnCode]:
    """A predictor of one's own: an object, or what a class or a function returns.

    Without a ``name`` it gets that of its class.

    Args:
        source: ``module:name``.

    Raises:
        ForecastError: It cannot be imported or made, or has not the method of `Predictor`.
    """
    found, code = imported("predictor", source)
    made = found
    if isinstance(found, type) or not isinstance(found, Predictor):
        if not callable(found) or inspect.isbuiltin(found):
            what = f"is of type {type(found).__name__}"
            raise ForecastError(f"predictor '{source}' {what}; {_NEEDED}")
        try:
            made = found()
        except (Exception, SystemExit) as error:  # a third party's code may raise anything
            raise ForecastError(
                f"predictor '{source}' cannot be made: {in_words(error)}; a class or function is "
                "called without arguments"
            ) from error
    _check_protocol(source, made)
    return cast(NamedPredictor, made), code


_SIGNATURE = inspect.signature(Predictor.predict)
_PLAIN = _SIGNATURE.replace(
    parameters=[each.replace(annotation=each.empty) for each in _SIGNATURE.parameters.values()],
    return_annotation=_SIGNATURE.empty,
)
_NEEDED = f"an object with def predict{_PLAIN} -> Prediction is needed"


def _check_protocol(source: str, made: Any) -> None:
    """Refuses what cannot be called as `Predictor.predict`; gives it a name if it has none."""
    if not callable(getattr(made, "predict", None)):
        raise ForecastError(f"predictor '{source}' has no method predict; {_NEEDED}")
    takes = _signature(made.predict)
    wanted = _SIGNATURE.parameters.values()
    options = {each.name: None for each in wanted if each.kind == each.KEYWORD_ONLY}
    anything = any(each.kind == each.VAR_KEYWORD for each in takes.parameters.values())
    if missing := [name for name in options if name not in takes.parameters and not anything]:
        raise ForecastError(f"predictor '{source}' takes no {', '.join(missing)}; {_NEEDED}")
    try:
        takes.bind(None, None, **options)
    except TypeError as error:
        raise ForecastError(f"predictor '{source}': predict: {error}; {_NEEDED}") from error
    if not hasattr(made, "name"):
        _give_name(source, made)
    good = isinstance(made.name, str) and made.name != ""
    require(good, f"the name of predictor '{source}'", repr(made.name), "a text for the tables")


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """The parameters of a function; those of `Predictor.predict` where they cannot be read."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # some compiled functions
        return _SIGNATURE.replace(parameters=list(_SIGNATURE.parameters.values())[1:])


def _give_name(source: str, made: Any) -> None:
    try:
        object.__setattr__(made, "name", type(made).__name__)  # also where it is frozen
    except (AttributeError, TypeError) as error:
        raise ForecastError(
            f"predictor '{source}' has no name and takes none; give it an attribute name for the "
            "tables"
        ) from error


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
