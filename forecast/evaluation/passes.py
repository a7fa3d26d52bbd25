"""One pass over the scenes of an evaluation, in this process or in several."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import pyarrow as pa
import torch

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec
from forecast.errors import ForecastError
from forecast.evaluation.console import tracked
from forecast.evaluation.scoring import SceneScores, score_scene
from forecast.evaluation.writers import predictions_table
from forecast.models.baselines import NamedPredictor

Scored = tuple[SceneScores, list[pa.Table]]
"""The scores of a scene, and the first predictor's predictions window by window."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is done with every scene.

    Attributes:
        store: Where the scenes are.
        predictors: By the name they are listed under; the first one's predictions are kept.
        spec: Window lengths and scoring rule.
        samples: Futures asked of the predictors.
        seed: Seed of everything random.
    """

    store: SceneStore
    predictors: Mapping[str, NamedPredictor]
    spec: WindowSpec
    samples: int
    seed: int

    def score(self, name: str) -> Scored:
        """Scores a scene."""
        tables: list[pa.Table] = []
        scores = score_scene(
            self.predictors,
            SceneStore.open(self.store.path)[name],  # one of its own: a store keeps what it reads
            self.spec,
            self.samples,
            self.seed,
            lambda case, prediction: tables.append(predictions_table(case, prediction)),
        )
        return scores, tables


def passes(task: Task, scenes: Sequence[str], workers: int) -> Iterator[Scored]:
    """Scores every scene, in the order given, and tells the progress.

    Raises:
        ForecastError: A worker was killed.
    """
    label = next(iter(task.predictors)) + " and the floors"
    if workers == 1:
        yield from tracked(map(task.score, scenes), len(scenes), label)
        return
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    try:
        with ProcessPoolExecutor(workers, context, _start_worker, (task,)) as pool:
            yield from tracked(pool.map(_work, scenes), len(scenes), label)
    except BrokenProcessPool as error:
        raise ForecastError(
            f"a worker was killed, perhaps for want of memory; evaluate with fewer than {workers} "
            "workers"
        ) from error


_task: Task
"""What a worker process works on; set by `_start_worker`."""


def _start_worker(task: Task) -> None:
    global _task
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the workers
    torch.set_num_threads(1)
    _task = task


def _work(scene: str) -> Scored:
    return _task.score(scene)
