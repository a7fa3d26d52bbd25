"""``forecast evaluate``: from a store and a predictor's name to a folder of results."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec
from forecast.errors import ForecastError
from forecast.evaluation.console import table, tracked
from forecast.evaluation.output import (
    METRICS_FILE,
    PREDICTIONS_FILE,
    REPORT_FILE,
    whole_folder,
)
from forecast.evaluation.pictures import pictures
from forecast.evaluation.predictors import build, build_floors, training_examples
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring import Sink, evaluate
from forecast.evaluation.writers import PredictionsWriter, write_metrics
from forecast.models.baselines import NamedPredictor


def run(
    *,
    store: Path,
    split: str,
    predictor: str,
    out: Path,
    render: Callable[[EvaluationResult], str],
    samples: int = 20,
    horizon_s: float = 6.0,
    history_s: float = 2.0,
    seed: int = 0,
) -> EvaluationResult:
    """Evaluates a predictor and all floors, writes the results and prints the table.

    ``out`` gets ``metrics.json``, ``predictions.parquet`` and ``report.html``, all or none of them.

    Args:
        store: A store that ``forecast prepare`` wrote.
        split: A split of the store, ``all``, or a file of scene names.
        predictor: A floor's name or a weights file.
        out: New or empty folder, or an evaluation to be replaced.
        render: Makes the report's page (`forecast.report.render`).
        samples: Futures asked of the predictor.
        horizon_s: Time to predict.
        history_s: Time from the first observed step to the current one.
        seed: Seed of everything random.

    Raises:
        ForecastError: Something the caller can mend; nothing is written then.
    """
    opened = SceneStore.open(store)
    spec = _spec(opened, history_s, horizon_s)
    if samples < 1:
        raise ForecastError(f"samples is {samples}; at least 1 is needed")
    scenes = opened.scenes_of(split)
    known = training_examples(opened, split, spec)
    subject = build(predictor, known, samples, seed)

    def score(what: NamedPredictor, sink: Sink | None = None) -> EvaluationResult:
        names = tracked(scenes, what.name)
        return evaluate(what, opened, names, spec, samples, seed, split=split, sink=sink)

    with whole_folder(out) as folder:
        with PredictionsWriter(folder / PREDICTIONS_FILE) as writer:
            result = score(subject, writer.write)
        floors, left_out = build_floors(known, samples, seed)
        result = replace(
            result,
            floors={
                name: result if name == result.predictor else score(floor)
                for name, floor in floors.items()
            },
            left_out=left_out,
            pictures=pictures(result, subject, opened, spec),
            command=_command(
                {
                    "store": store,
                    "split": split,
                    "predictor": predictor,
                    "out": out,
                    "samples": samples,
                    "horizon-s": horizon_s,
                    "history-s": history_s,
                    "seed": seed,
                }
            ),
        )
        write_metrics(result, folder / METRICS_FILE)
        (folder / REPORT_FILE).write_text(render(result), encoding="utf-8")
    print(table(result))
    return result


def _spec(store: SceneStore, history_s: float, horizon_s: float) -> WindowSpec:
    for name, value in (("history_s", history_s), ("horizon_s", horizon_s)):
        steps = value / store.dt_s
        if not (steps >= 0 and abs(steps - round(steps)) < 1e-6):
            raise ForecastError(
                f"{name} is {value}; a multiple of the store's step of {store.dt_s} s is needed"
            )
    return WindowSpec.of_protocol(store.protocol, store.dt_s, history_s, horizon_s)


def _command(words: dict[str, object]) -> str:
    """The command line that makes the same result."""
    options = [word for name, value in words.items() for word in (f"--{name}", f"{value}")]
    return shlex.join(["forecast", "evaluate", *options])
