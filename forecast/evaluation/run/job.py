"""``forecast evaluate``: from a store and a predictor's name to a folder of results."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec, protocol_of
from forecast.errors import ForecastError, require
from forecast.evaluation.audit.guarantees import Finding, audit
from forecast.evaluation.output.console import table
from forecast.evaluation.output.folder import (
    METRICS_FILE,
    PREDICTIONS_FILE,
    ROWS_FILE,
    whole_folder,
)
from forecast.evaluation.output.pictures import pictures
from forecast.evaluation.output.writers import PredictionsWriter, write_metrics, write_rows
from forecast.evaluation.prediction_file.predictor import FiledPredictor
from forecast.evaluation.result import EvaluationResult, Setting
from forecast.evaluation.run.environment import Environment
from forecast.evaluation.run.merging import definitions, merge, setting_of
from forecast.evaluation.run.passes import Task, passes
from forecast.evaluation.run.predictors import build, build_floors, training_examples
from forecast.evaluation.run.provenance import not_scored
from forecast.evaluation.scoring.ground_truth import RECORDED
from forecast.evaluation.scoring.scores import SceneScores
from forecast.evaluation.verdict.acceptance import EXAMPLE, Acceptance, judge, read_acceptance
from forecast.models.baselines import FLOORS, NamedPredictor
from forecast.parallel import Done, Workers, named

Render = Callable[[EvaluationResult], Mapping[str, str]]
"""Makes the texts of the report, by the name of their file."""


@dataclass(frozen=True)
class Asked:
    """What is to be evaluated on what.

    Attributes:
        store: A store that ``forecast prepare`` wrote.
        split: A split of the store, ``all``, or a file of scene names.
        predictor: A floor's name, a weights file, or what else `predictors.build` takes.
        samples: Futures asked of the predictor.
        horizon_s: Time to predict; None: that of the store's protocol.
        history_s: Time from the first observed step to the current one; None: the protocol's.
        seed: Seed of everything random.
    """

    store: Path
    split: str
    predictor: str
    samples: int = 20
    horizon_s: float | None = None
    history_s: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the numbers; raises `ForecastError`."""
        require(self.samples >= 1, "samples", self.samples, "at least 1")
        good = 0 <= self.seed < 2**32
        require(good, "seed", self.seed, "a whole number from 0 to 4294967295")


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of some scenes.

    Attributes:
        parts: Those of each scene.
        failed: Scenes that could not be scored, with the reason.
    """

    parts: list[SceneScores]
    failed: dict[str, str]


@dataclass(frozen=True, eq=False)
class Job:
    """An evaluation that is ready to be done.

    Attributes:
        asked: What was asked for.
        task: What is done with every scene.
        scenes: The scenes of the split.
        floors: Names of the floors among the task's predictors.
        left_out: Floors that cannot be evaluated, with the reason.
    """

    asked: Asked
    task: Task
    scenes: tuple[str, ...]
    floors: tuple[str, ...]
    left_out: Mapping[str, str]

    @classmethod
    def of(cls, asked: Asked) -> Job:
        """Opens the store, loads the predictor and fits the floors; raises `ForecastError`."""
        store, samples, seed = SceneStore.open(asked.store), asked.samples, asked.seed
        spec = _spec(store, asked.history_s, asked.horizon_s)
        known = training_examples(store, asked.split, spec)
        floors, left_out = build_floors(known, samples, seed)
        name = f"kmeans_{samples}" if asked.predictor == "kmeans" else asked.predictor
        subject = floors.get(name)
        subject = subject or build(asked.predictor, store, asked.split, spec, samples, seed)
        listed = _listed_name(subject, asked.predictor in FLOORS, {*floors, *left_out, RECORDED})
        predictors = {listed: subject} | {each: f for each, f in floors.items() if each != listed}
        task = Task(store, predictors, spec, samples, seed)
        return cls(asked, task, tuple(store.scenes_of(asked.split)), tuple(floors), left_out)

    @property
    def subject(self) -> NamedPredictor:
        """What was asked to be evaluated."""
        return next(iter(self.task.predictors.values()))

    def setting(self, scenes: tuple[str, ...]) -> Setting:
        """What is evaluated on what, if it is these scenes."""
        task = self.task
        asked = task.spec, task.samples, task.seed
        return setting_of(task.store, self.asked.split, scenes, *asked)

    def score(self, scenes: Sequence[str], workers: Workers, writer: PredictionsWriter) -> Scored:
        """Scores every predictor on scenes in one pass, and writes the first one's predictions."""
        found = Scored([], {})
        for each in passes(self.task, scenes, workers):
            if isinstance(each, Done):
                part, predictions = each.value
                found.parts.append(part)
                writer.write_tables(predictions)
            elif isinstance(self.subject, FiledPredictor):
                raise each.why
            else:
                found.failed[each.item] = str(each.why)
        return found

    def result(self, scored: Scored, predictions: Path) -> EvaluationResult:
        """What was found in all scenes of the split, with all that is told beside scores.

        Args:
            scored: The scores of each scene.
            predictions: What was written while they were scored.
        """
        store = self.task.store
        failed = store.failed_of(self.asked.split) | scored.failed
        if not scored.parts:
            raise ForecastError(f"{store.path}: no scene can be scored: {named(failed)}")
        there = tuple(scene for scene in self.scenes if scene not in failed)
        setting = self.setting(there)
        results = merge(scored.parts, self.task.predictors, setting, store, failed)
        result = next(iter(results.values()))
        return replace(
            result,
            floors={each: results[each] for each in self.floors},
            left_out=self.left_out,
            pictures=pictures(result, store, self.task.spec, predictions),
            environment=Environment.of(store, there),
            findings=_findings(self.subject, store, there, self.task.spec, self.task.seed),
        )


def run_evaluation(
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
        store: As `Asked`.
        split: As `Asked`.
        predictor: As `Asked`.
        out: New or empty folder, or an evaluation to be replaced.
        render: Makes the report (`forecast.report.render`).
        samples: As `Asked`.
        horizon_s: As `Asked`.
        history_s: As `Asked`.
        seed: As `Asked`.
        workers: Where scenes are scored.
        acceptance: A YAML file of acceptance criteria; None: the package's example.

    Raises:
        ForecastError: Something the caller can mend; nothing is written then. Also, once the
            results are written, if a scene could not be scored.
    """
    asked = Asked(store, split, predictor, samples, horizon_s, history_s, seed)

    def score(job: Job, writer: PredictionsWriter) -> Scored:
        return job.score(job.scenes, workers, writer)

    return reported(asked, score, render=render, out=out, workers=workers, acceptance=acceptance)


def reported(
    asked: Asked,
    score: Callable[[Job, PredictionsWriter], Scored],
    *,
    render: Render,
    out: Path,
    workers: Workers = Workers(),  # noqa: B008 (frozen)
    acceptance: Path | None,
) -> EvaluationResult:
    """Writes what `run` does, with scores from anywhere.

    Args:
        asked: What is evaluated on what.
        score: Gives the scores of all scenes, and writes the predictions in their order.
        render: As `run`.
        out: As `run`.
        workers: Those that the command line names.
        acceptance: As `run`.
    """
    criteria = read_acceptance(acceptance or EXAMPLE, definitions(asked.samples))
    job = Job.of(asked)
    with whole_folder(out) as folder:
        with PredictionsWriter(folder / PREDICTIONS_FILE) as writer:
            scored = score(job, writer)
        result = job.result(scored, folder / PREDICTIONS_FILE)
        result = replace(result, command=_command(result, asked, out, workers, acceptance))
        result = _held_to(criteria, result, str(acceptance or ""))
        _write(result, render, folder)
    print(table(result))
    if result.failed:
        raise ForecastError(f"{not_scored(result)}; {out} is about the others")
    return result


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
    result: EvaluationResult, asked: Asked, out: Path, workers: Workers, acceptance: Path | None
) -> str:
    """The command line that makes the same result, in the same way."""
    setting = result.setting
    words = {
        "store": asked.store,
        "split": setting.split,
        "predictor": asked.predictor,
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
