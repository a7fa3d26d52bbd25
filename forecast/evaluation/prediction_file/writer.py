"""Writes ``predictions.parquet``, window by window."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forecast.evaluation.scoring.sample import EvaluationSample
from forecast.scene import Prediction
from forecast.scene.prediction_rows import PREDICTION_ROWS, prediction_columns

PREDICTIONS_SCHEMA = pa.schema(
    [*PREDICTION_ROWS, ("truth_x_m", pa.float64()), ("truth_y_m", pa.float64())]
)
"""One row per window, scored agent, sample and step (from 1); positions in the world's frame.

See `PredictionsWriter` for what the rows hold and what they do not.
"""


class PredictionsWriter:
    """Writes predictions window by window, each as one row group of a Parquet file.

    The rows hold the raw futures of the evaluated predictor for the scored pedestrians, and the
    truth. Its top-1, mean, best-of-K, joint and distribution scores and the collisions of
    pedestrians can be computed from them. They do not hold the baselines' futures, the
    modes, or the ego and the map behind the other rates.

    A single best guess that is not among the samples has rows of its own: ``sample = -1``,
    ``weight = 0``. Top-1 scores use these rows where they exist, else the sample of the largest
    weight (the first of equal ones). They are no sample: leave them out of minima and counts.
    """

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, PREDICTIONS_SCHEMA, compression="zstd")

    def __enter__(self) -> PredictionsWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write_tables(self, tables: Iterable[pa.Table]) -> None:
        """Adds the rows of some windows; see `predictions_table`."""
        for table in tables:
            self._writer.write_table(table)


def predictions_table(sample: EvaluationSample, prediction: Prediction) -> pa.Table:
    """The rows of one window, in the order of agents, samples and steps."""
    columns = prediction_columns(prediction, sample.window.scored, sample.scene.id)
    truth = (sample.truth_m + sample.scene.origin_m)[:, None]  # [N, 1, T, 2]
    futures = len(columns["step"]) // (truth.size // 2)
    for axis, name in enumerate(("truth_x_m", "truth_y_m")):
        columns[name] = np.repeat(truth[..., axis], futures, axis=1).ravel()
    return pa.table(columns, schema=PREDICTIONS_SCHEMA)
