"""``forecast evaluate``: from a store and a predictor's name to a folder of results."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec, protocol_of
from forecast.errors import ForecastError, require
from forecast.evaluation.acceptance import EXAMPLE, Acceptance, judge, read_acceptance
from forecast.evaluation.audit import Finding, audit
from forecast.evaluation.console import table
from forecast.evaluation.environment import Environment
from forecast.evaluation.filed import FiledPredictor
from forecast.evaluation.merging import definitions, merge, setting_of
from forecast.evaluation.output import METRICS_FILE, PREDICTIONS_FILE, ROWS_FILE, whole_folder
from forecast.evaluation.passes import Task, passes
from forecast.evaluation.pictures import pictures
from forecast.evaluation.predictors import build, build_floors, training_examples
from forecast.evaluation.provenance import not_scored
from forecast.evaluation.recorded import RECORDED
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring import SceneScores
from forecast.evaluation.writers import PredictionsWriter, write_metrics, write_rows
from forecast.models.baselines import FLOORS, NamedPredictor
from forecast.parallel import Done, Workers, named

Render = Callable[[EvaluationResult], Mapping[str, str]]
"""Makes the texts of the report, by the name of their file."""


def run(
    *,
    store: Path,
    split: str,
    predictor: str,
    out: Path,
    render: Render,
    samples: int = 20,
    horizon_s: float | None = None,
    history_s: float | None = None,
    seed: int = 0,
    workers: Workers = Workers(),  # noqa: B008 (frozen)
    acceptance: Path | None = None,
) -> EvaluationResult:
    """Evaluates a predictor and all floors, writes the results and prints the table.

    ``out`` gets ``metrics.json``, ``predictions.parquet``, ``rows.parquet`` and what ``render``
    makes, all or none of them. The numbers do not depend on ``workers``. A scene that cannot be
    scored is left out and named in all of them, unless the predictor is a file: that must be whole.

    Args:
        store: A store that ``forecast prepare`` wrote.
        split: A split of the store, ``all``, or a file of scene names.
        predictor: A floor's name, a weights file, or what else `predictors.build` takes.
        out: New or empty folder, or an evaluation to be replaced.
        render: Makes the report (`forecast.report.render`).
        samples: Futures asked of the predictor.
        horizon_s: Time to predict; None: that of the store's protocol.
        history_s: Time from the first observed step to the current one; None: the protocol's.
        seed: Seed of everything random.
        workers: Where scenes are scored.
        acceptance: A YAML file of acceptance criteria; None: the package's example.

    Raises:
        ForecastError: Something the caller can mend; nothing is written then. Also, once the
            results are written, if a scene could not be scored.
    """
    require(samples >= 1, "samples", samples, "at least 1")
    require(0 <= seed < 2**32, "seed", seed, "a whole number from 0 to 4294967295")
    criteria = read_acceptance(acceptance or EXAMPLE, definitions(samples))
    opened = SceneStore.open(store)
    spec = _spec(opened, history_s, horizon_s)
    floors, left_out = build_floors(training_examples(opened, split, spec), samples, seed)
    subject = floors.get(f"kmeans_{samples}" if predictor == "kmeans" else predictor)
    subject = subject or build(predictor, opened, split, spec, samples, seed)
    name = _listed_name(subject, predictor in FLOORS, {*floors, *left_out, RECORDED})
    predictors = {name: subject} | {each: f for each, f in floors.items() if each != name}
    task = Task(opened, predictors, spec, samples, seed)
    with whole_folder(out) as folder:
        results = _scored(task, split, workers, folder)
        result = _described(results, task, floors, left_out, folder)
        result = replace(
            result, command=_command(result, store, predictor, out, workers, acceptance)
        )
        result = _held_to(criteria, result, str(acceptance or ""))
        _write(result, render, folder)
    print(table(result))
    if result.failed:
        raise ForecastError(f"{not_scored(result)}; {out} is about the others")
    return result


def _described(
    results: dict[str, EvaluationResult],
    task: Task,
    floors: Iterable[str],
    left_out: Mapping[str, str],
    folder: Path,
) -> EvaluationResult:
    """The first predictor's result, with those of the floors and all that is told beside scores."""
    name, subject = next(iter(task.predictors.items()))
    scenes = results[name].setting.scenes
    return replace(
        results[name],
        floors={each: results[each] for each in floors},
        left_out=left_out,
        pictures=pictures(results[name], task.store, task.spec, folder / PREDICTIONS_FILE),
        environment=Environment.of(task.store, scenes),
        findings=_findings(subject, task.store, scenes, task.spec, task.seed),
    )


def _scored(task: Task, split: str, workers: Workers, folder: Path) -> dict[str, EvaluationResult]:
    """Scores every predictor in one pass, and writes the first one's predictions."""
    parts: list[SceneScores] = []
    failed = task.store.failed_of(split)
    scenes = task.store.scenes_of(split)
    with PredictionsWriter(folder / PREDICTIONS_FILE) as writer:
        for each in passes(task, scenes, workers):
            if isinstance(each, Done):
                part, predictions = each.value
                parts.append(part)
                writer.write_tables(predictions)
            elif isinstance(next(iter(task.predictors.values())), FiledPredictor):
                raise each.why
            else:
                failed[each.item] = str(each.why)
    if not parts:
        raise ForecastError(f"{task.store.path}: no scene can be scored: {named(failed)}")
    there = tuple(scene for scene in scenes if scene not in failed)
    setting = setting_of(task.store, split, there, task.spec, task.samples, task.seed)
    return merge(parts, task.predictors, setting, task.store, failed)


def _held_to(criteria: Acceptance, result: EvaluationResult, source: str) -> EvaluationResult:
    """The result with what became of the acceptance criteria."""
    return replace(
        result,
        outcomes=judge(criteria, result.rows.scene_ids, result.rows.labels, result.values),
        acceptance=source,
        acceptance_sha256=criteria.sha256,
        minimum_rows=criteria.minimum_rows,
        minimum_scenes=criteria.minimum_scenes,
    )


def _write(result: EvaluationResult, render: Render, folder: Path) -> None:
    write_metrics(result, folder / METRICS_FILE)
    write_rows(result, folder / ROWS_FILE)
    for file, text in render(result).items():
        (folder / file).write_text(text, encoding="utf-8")


def _findings(
    subject: NamedPredictor, store: SceneStore, scenes: Sequence[str], spec: WindowSpec, seed: int
) -> tuple[Finding, ...]:
    """What an audit finds; nothing where predictions come from a file."""
    if isinstance(subject, FiledPredictor):
        return ()
    return audit(subject, store, scenes, spec, seed)


def _listed_name(subject: NamedPredictor, is_floor: bool, taken: Collection[str]) -> str:
    """The predictor's name; that of trained weights told apart from what else is in the tables."""
    return f"{subject.name} (weights)" if not is_floor and subject.name in taken else subject.name


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


def _command(
    result: EvaluationResult,
    store: Path,
    predictor: str,
    out: Path,
    workers: Workers,
    acceptance: Path | None,
) -> str:
    """The command line that makes the same result, in the same way."""
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
        **({} if workers.count is None else {"workers": workers.count}),
        **({"ray": workers.ray} if workers.ray else {}),
        **({} if acceptance is None else {"acceptance": acceptance}),
    }
    options = [word for name, value in words.items() for word in (f"--{name}", f"{value}")]
    return shlex.join(["forecast", "evaluate", *options])
