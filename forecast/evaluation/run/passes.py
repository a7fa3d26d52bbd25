"""One pass over the scenes of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import torch

from forecast.datasets.progress import with_progress
from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec
from forecast.evaluation.output.writers import predictions_table
from forecast.evaluation.scoring.scores import SceneScores, score_scene
from forecast.models.baselines import NamedPredictor
from forecast.parallel import Outcome, Workers

SceneTables = tuple[SceneScores, list[pa.Table]]
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

    def score(self, name: str) -> SceneTables:
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


def passes(
    task: Task, scenes: Sequence[str], workers: Workers
) -> Iterator[Outcome[str, SceneTables]]:
    """Scores every scene, in the order given, and tells the progress."""
    scored = workers.map(task.score, scenes, prepare=_one_thread)
    yield from with_progress(scored, len(scenes), f"evaluate {next(iter(task.predictors))}")


def _one_thread() -> None:
    """Several processes fill the machine without threads."""
    torch.set_num_threads(1)
