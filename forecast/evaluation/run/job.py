"""``forecast evaluate``: scores a predictor and all baselines on a store and writes the results."""

from __future__ import annotations

import math
import pickle
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import torch

from forecast.datasets.progress import with_progress
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
from forecast.evaluation.output.writers import write_metrics, write_rows
from forecast.evaluation.prediction_file.predictor import SUFFIXES
from forecast.evaluation.prediction_file.writer import PredictionsWriter, predictions_table
from forecast.evaluation.result import EvaluationResult, Setting
from forecast.evaluation.run.environment import Environment
from forecast.evaluation.run.merging import definitions, merge, setting_of
from forecast.evaluation.run.own_code import OwnCode, in_words, is_importable
from forecast.evaluation.run.own_metrics import OwnMetric, own_metrics
from forecast.evaluation.run.predictors import (
    build,
    build_baselines,
    own_predictor,
    training_examples,
)
from forecast.evaluation.run.provenance import not_scored
from forecast.evaluation.scoring.ground_truth import GROUND_TRUTH
from forecast.evaluation.scoring.scores import SceneScores, score_scene
from forecast.evaluation.scoring.slices import read_slices
from forecast.evaluation.scoring.subject import Subject
from forecast.evaluation.verdict.acceptance import EXAMPLE, Acceptance, judge, read_acceptance
from forecast.models.baselines import BASELINES, NamedPredictor
from forecast.parallel import Done, Outcome, Workers, named

RenderReport = Callable[[EvaluationResult], Mapping[str, str]]
"""Makes the texts of the report, by the name of their file."""

SceneTables = tuple[SceneScores, list[pa.Table]]
"""The scores of a scene, and the first predictor's predictions window by window."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is to be evaluated on what.

    Attributes:
        store: A store that ``forecast prepare`` wrote.
        split: A split of the store, ``all``, or a file of scene names.
        predictor: A baseline's name, a weights file, or another name that `predictors.build` takes.
        samples: Number of futures that the predictor is asked for.
        horizon_s: Time to predict; None: the horizon of the store's protocol.
        history_s: Time from the first observed step to the current one; None: the protocol's.
        seed: Seed of everything random.
        metrics: ``module:name`` of each metric of one's own; see
            `forecast.evaluation.run.own_metrics`.
    """

    store: Path
    split: str
    predictor: str
    samples: int = 20
    horizon_s: float | None = None
    history_s: float | None = None
    seed: int = 0
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks the numbers; raises `ForecastError`."""
        require(self.samples >= 1, "samples", self.samples, "at least 1")
        good = 0 <= self.seed < 2**32
        require(good, "seed", self.seed, "a whole number from 0 to 4294967295")

    @cached_property
    def own_metrics(self) -> dict[str, OwnMetric]:
        """The metrics of one's own by name, imported; raises `ForecastError`."""
        return own_metrics(self.metrics, definitions())


@dataclass(frozen=True, eq=False)
class Task:
    """What is done with every scene; it is sent to the worker processes.

    Attributes:
        store: The store of the scenes.
        predictors: By the name they are listed under; the first one's predictions are kept.
        spec: Window lengths and scoring rule.
        samples: Number of futures that the predictors are asked for.
        seed: Seed of everything random.
        own_metrics: Metrics beside the package's, by name.
    """

    store: SceneStore
    predictors: Mapping[str, NamedPredictor]
    spec: WindowSpec
    samples: int
    seed: int
    own_metrics: Mapping[str, OwnMetric]

    def score(self, name: str) -> SceneTables:
        """Scores a scene."""
        tables: list[pa.Table] = []
        scores = score_scene(
            self.predictors,
            # A store of its own, because a store keeps every scene it has read in memory.
            SceneStore.open(self.store.path)[name],
            self.spec,
            self.samples,
            self.seed,
            lambda sample, prediction: tables.append(predictions_table(sample, prediction)),
            self.own_metrics,
        )
        return scores, tables

    def score_all(
        self, scenes: Sequence[str], workers: Workers
    ) -> Iterator[Outcome[str, SceneTables]]:
        """Scores scenes in the given order and shows the progress."""
        if workers.ray or workers.count not in (None, 1):
            self._check_sendable()
        scored = workers.map(self.score, scenes, prepare=_one_thread)
        yield from with_progress(scored, len(scenes), f"evaluate {next(iter(self.predictors))}")

    def _check_sendable(self) -> None:
        """Refuses a predictor that cannot be sent to other processes."""
        name, predictor = next(iter(self.predictors.items()))
        try:
            pickle.dumps(predictor)
        except Exception as error:  # a third party's code may raise anything
            raise ForecastError(
                f"{name} cannot be sent to workers: {in_words(error)}; keep such things out of its "
                "attributes, or do without --workers and --ray"
            ) from error


def _one_thread() -> None:
    """Several processes already use all cores."""
    torch.set_num_threads(1)


@dataclass(frozen=True, eq=False)
class ScoredScenes:
    """The scores of some scenes.

    Attributes:
        parts: The scores of each scene.
        failed: Scenes that could not be scored, with the reason.
    """

    parts: list[SceneScores]
    failed: dict[str, str]


@dataclass(frozen=True, eq=False)
class Job:
    """An evaluation with everything opened and fitted, ready to run.

    Attributes:
        config: What was asked for.
        task: What is done with every scene.
        scenes: The scenes of the split.
        baselines: Names of the baselines among the task's predictors.
        left_out: Baselines that cannot be evaluated, with the reason.
        own_predictor: The file of a predictor of one's own, else None.
    """

    config: EvaluationConfig
    task: Task
    scenes: tuple[str, ...]
    baselines: tuple[str, ...]
    left_out: Mapping[str, str]
    own_predictor: OwnCode | None

    @classmethod
    def of(cls, config: EvaluationConfig) -> Job:
        """Opens the store, loads the predictor and fits the baselines; raises `ForecastError`."""
        store, samples, seed = SceneStore.open(config.store), config.samples, config.seed
        spec = _spec(store, config.history_s, config.horizon_s)
        for metric in config.own_metrics.values():
            metric.try_out(samples, spec.horizon_steps, store.dt_s)
        own, code = _own(config.predictor)  # before the baselines, whose fit takes longer
        known = training_examples(store, config.split, spec)
        baselines, left_out = build_baselines(known, samples, seed)
        name = f"kmeans_{samples}" if config.predictor == "kmeans" else config.predictor
        subject = baselines.get(name) if own is None else own
        subject = subject or build(config.predictor, store, config.split, spec, samples, seed)
        taken = {*baselines, *left_out, GROUND_TRUTH}
        listed = subject.name
        if listed in taken and config.predictor not in BASELINES:
            listed = f"{listed} ({_origin(config.predictor)})"
        others = {each: baseline for each, baseline in baselines.items() if each != listed}
        task = Task(store, {listed: subject} | others, spec, samples, seed, config.own_metrics)
        scenes = tuple(store.scenes_of(config.split))
        return cls(config, task, scenes, tuple(baselines), left_out, code)

    @cached_property
    def subject(self) -> Subject:
        """The evaluated predictor."""
        return Subject.of(next(iter(self.task.predictors.values())))

    def setting(self, scenes: tuple[str, ...]) -> Setting:
        """What is evaluated on what, with these scenes."""
        task = self.task
        numbers = task.spec, task.samples, task.seed
        return setting_of(task.store, self.config.split, scenes, *numbers)

    def score(
        self, scenes: Sequence[str], workers: Workers, writer: PredictionsWriter
    ) -> ScoredScenes:
        """Scores every predictor on scenes in one pass, and writes the first one's predictions."""
        found = ScoredScenes([], {})
        for each in self.task.score_all(scenes, workers):
            if isinstance(each, Done):
                part, predictions = each.value
                found.parts.append(part)
                writer.write_tables(predictions)
            elif self.subject.stored is not None:  # a file of predictions must be complete
                raise each.why
            else:
                found.failed[each.item] = str(each.why)
        return found

    def result(
        self, scored: ScoredScenes, predictions: Path, slices: tuple[str, ...] = ()
    ) -> EvaluationResult:
        """The result on all scenes of the split.

        Args:
            scored: The scores of each scene.
            predictions: The file of predictions that was written during scoring.
            slices: See `EvaluationResult.slices`.
        """
        store = self.task.store
        failed = store.failed_of(self.config.split) | scored.failed
        if not scored.parts:
            raise ForecastError(f"{store.path}: no scene can be scored: {named(failed)}")
        there = tuple(scene for scene in self.scenes if scene not in failed)
        setting = self.setting(there)
        task = self.task
        results = merge(scored.parts, task.predictors, setting, store, failed, task.own_metrics)
        result = replace(next(iter(results.values())), slices=slices)
        return replace(
            result,
            baselines={each: results[each] for each in self.baselines},
            left_out=self.left_out,
            own_predictor=self.own_predictor,
            pictures=pictures(result, store, self.task.spec, predictions),
            environment=Environment.of(store, there),
            findings=self._findings(there),
        )

    def _findings(self, scenes: Sequence[str]) -> tuple[Finding, ...]:
        """The audit's findings; none where predictions are stored in a file."""
        if self.subject.stored is not None:
            return ()
        task = self.task
        return audit(self.subject.predictor, task.store, scenes, task.spec, task.seed)


def run_evaluation(
    config: EvaluationConfig,
    out: Path,
    *,
    render: RenderReport,
    workers: Workers = Workers(),  # noqa: B008 (frozen)
    acceptance: Path | None = None,
    slices: str | None = None,
) -> EvaluationResult:
    """Evaluates a predictor and all baselines, writes the results and prints the table.

    ``out`` gets ``metrics.json``, ``predictions.parquet``, ``rows.parquet`` and the files of
    ``render``, all or none of them. The numbers do not depend on ``workers``. A scene that cannot
    be scored is left out and named in the results. A predictor from a file must cover all scenes.

    Args:
        config: What is evaluated on what.
        out: New or empty folder, or an evaluation to replace.
        render: Makes the report (`forecast.report.render`).
        workers: Where scenes are scored.
        acceptance: A YAML file of acceptance criteria; None: the package's example.
        slices: Slicings to show in full, with every combination of their labels, such as
            ``crossing,light``; None: none.

    Raises:
        ForecastError: The user can correct something; nothing is written then. Also after writing
            the results, if a scene could not be scored.
    """

    def score(job: Job, writer: PredictionsWriter) -> ScoredScenes:
        return job.score(job.scenes, workers, writer)

    return evaluated(
        config,
        score,
        render=render,
        out=out,
        workers=workers,
        acceptance=acceptance,
        slices=slices,
    )


def evaluated(
    config: EvaluationConfig,
    score: Callable[[Job, PredictionsWriter], ScoredScenes],
    *,
    render: RenderReport,
    out: Path,
    workers: Workers = Workers(),  # noqa: B008 (frozen)
    acceptance: Path | None,
    slices: str | None = None,
) -> EvaluationResult:
    """Does what `run_evaluation` does, with scores from any source.

    Args:
        config: What is evaluated on what.
        score: Returns the scores of all scenes, and writes the predictions in their order.
        render: As `run_evaluation`.
        out: As `run_evaluation`.
        workers: The workers named in the reported command line.
        acceptance: As `run_evaluation`.
        slices: As `run_evaluation`.
    """
    shown = () if slices is None else read_slices(slices)
    known = definitions(config.own_metrics)
    criteria = read_acceptance(acceptance or EXAMPLE, known)
    job = Job.of(config)
    with whole_folder(out) as folder:
        with PredictionsWriter(folder / PREDICTIONS_FILE) as writer:
            scored = score(job, writer)
        result = job.result(scored, folder / PREDICTIONS_FILE, shown)
        result = replace(result, command=_command(result, config, out, workers, acceptance))
        result = _with_outcomes(criteria, result, str(acceptance or ""))
        _write(result, render, folder)
    print(table(result))
    if result.failed:
        raise ForecastError(f"{not_scored(result)}; {out} is about the others")
    return result


def _with_outcomes(criteria: Acceptance, result: EvaluationResult, source: str) -> EvaluationResult:
    """The result with the outcomes of the acceptance criteria."""
    rows = result.rows.scene_ids, result.rows.labels, result.values
    return replace(
        result,
        outcomes=judge(criteria, *rows, result.setting.horizon_s),
        acceptance=source,
        acceptance_sha256=criteria.sha256,
        minimum_rows=criteria.minimum_rows,
        minimum_scenes=criteria.minimum_scenes,
    )


def _write(result: EvaluationResult, render: RenderReport, folder: Path) -> None:
    write_metrics(result, folder / METRICS_FILE)
    write_rows(result, folder / ROWS_FILE)
    for file, text in render(result).items():
        (folder / file).write_text(text, encoding="utf-8")


def _own(name: str) -> tuple[NamedPredictor, OwnCode] | tuple[None, None]:
    """A predictor of one's own and its file; None for the others."""
    return own_predictor(name) if is_importable(name) else (None, None)


def _origin(predictor: str) -> str:
    """Where a predictor is from, to tell it from a baseline of the same name."""
    if is_importable(predictor):
        return "own"
    return "file" if Path(predictor).suffix in SUFFIXES else "weights"


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
    config: EvaluationConfig,
    out: Path,
    workers: Workers,
    acceptance: Path | None,
) -> str:
    """The command line that makes the same result in the same way."""
    setting = result.setting
    words = {
        "store": config.store,
        "split": setting.split,
        "predictor": config.predictor,
        "out": out,
        "samples": setting.samples,
        "horizon-s": setting.horizon_s,
        "history-s": setting.history_s,
        "seed": setting.seed,
        **({} if workers.count is None else {"workers": workers.count}),
        **({"ray": workers.ray} if workers.ray else {}),
        **({} if acceptance is None else {"acceptance": acceptance}),
        **({"slices": ",".join(result.slices)} if result.slices else {}),
    }
    named = [*words.items(), *(("metric", each) for each in config.metrics)]
    options = [word for name, value in named for word in (f"--{name}", f"{value}")]
    return shlex.join(["forecast", "evaluate", *options])
