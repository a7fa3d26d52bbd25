"""``forecast evaluate``: from a store and a predictor's name to a folder of results."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec, protocol_of
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
from forecast.evaluation.recorded import RECORDED
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring import Sink, evaluate
from forecast.evaluation.writers import PredictionsWriter, write_metrics
from forecast.models.baselines import FLOORS, NamedPredictor


def run(
    *,
    store: Path,
    split: str,
    predictor: str,
    out: Path,
    render: Callable[[EvaluationResult], str],
    samples: int = 20,
    horizon_s: float | None = None,
    history_s: float | None = None,
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
        horizon_s: Time to predict; None: that of the store's protocol.
        history_s: Time from the first observed step to the current one; None: the protocol's.
        seed: Seed of everything random.

    Raises:
        ForecastError: Something the caller can mend; nothing is written then.
    """
    if samples < 1:
        raise ForecastError(f"samples is {samples}; at least 1 is needed")
    opened = SceneStore.open(store)
    task = _Task(opened, split, _spec(opened, history_s, horizon_s), samples, seed)
    known = training_examples(opened, split, task.spec)
    subject = build(predictor, known, samples, seed)
    floors, left_out = build_floors(known, samples, seed)
    is_floor = predictor in FLOORS
    name = subject.name if is_floor else _own_name(subject.name, {*floors, *left_out, RECORDED})
    with whole_folder(out) as folder:
        with PredictionsWriter(folder / PREDICTIONS_FILE) as writer:
            result = task.score(subject, name, writer.write)
        result = replace(
            result,
            floors={
                each: result if is_floor and each == name else task.score(floor, each)
                for each, floor in floors.items()
            },
            left_out=left_out,
            pictures=pictures(result, subject, opened, task.spec),
            command=_command(result, store, predictor, out),
        )
        write_metrics(result, folder / METRICS_FILE)
        (folder / REPORT_FILE).write_text(render(result), encoding="utf-8")
    print(table(result))
    return result


@dataclass(frozen=True, eq=False)
class _Task:
    """What every predictor of one run is scored on."""

    store: SceneStore
    split: str
    spec: WindowSpec
    samples: int
    seed: int

    def score(
        self, predictor: NamedPredictor, name: str, sink: Sink | None = None
    ) -> EvaluationResult:
        """Scores a predictor and lists it under a name."""
        scenes = tracked(self.store.scenes_of(self.split), name)
        result = evaluate(
            predictor,
            self.store,
            scenes,
            self.spec,
            self.samples,
            self.seed,
            split=self.split,
            sink=sink,
        )
        return replace(result, predictor=name)


def _own_name(name: str, taken: Collection[str]) -> str:
    """The name of trained weights, told apart from what else is in the tables."""
    return f"{name} (weights)" if name in taken else name


def _spec(store: SceneStore, history_s: float | None, horizon_s: float | None) -> WindowSpec:
    rules = protocol_of(store.protocol)
    history_s = rules.history_s if history_s is None else history_s
    horizon_s = rules.horizon_s if horizon_s is None else horizon_s
    for name, value, least in (("history_s", history_s, 0), ("horizon_s", horizon_s, 1)):
        steps = value / store.dt_s
        whole = math.isfinite(steps) and abs(steps - round(steps)) < 1e-6
        if not whole or not least <= round(steps) <= store.counts["steps"]:
            raise ForecastError(
                f"{name} is {value}; a multiple of the store's step of {store.dt_s} s is needed, "
                f"from {least} to {store.counts['steps']} steps"
            )
    return WindowSpec.of_protocol(store.protocol, store.dt_s, history_s, horizon_s)


def _command(result: EvaluationResult, store: Path, predictor: str, out: Path) -> str:
    """The command line that makes the same result."""
    setting = result.setting
    words = {
        "store": store,
        "split": setting.split,
        "predictor": predictor,
        "out": out,
        "samples": setting.samples,
        "horizon-s": setting.horizon_s,
        "history-s": setting.history_s,
        "seed": setting.seed,
    }
    options = [word for name, value in words.items() for word in (f"--{name}", f"{value}")]
    return shlex.join(["forecast", "evaluate", *options])
