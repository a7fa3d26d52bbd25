"""Writes ``predictions.parquet``, window by window."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forecast.evaluation.scoring.sample import EvaluationSample
from forecast.scene import Prediction

MODE_SAMPLE = -1
"""``sample`` of the rows of a best guess that is not among the samples; their weight is 0."""

_NAME = pa.dictionary(pa.int32(), pa.string())
PREDICTIONS_SCHEMA = pa.schema(
    [
        ("scene_id", _NAME),
        ("agent_id", _NAME),
        ("at_us", pa.int64()),
        ("sample", pa.int32()),
        ("weight", pa.float64()),
        ("step", pa.int32()),
        ("x_m", pa.float64()),
        ("y_m", pa.float64()),
        ("truth_x_m", pa.float64()),
        ("truth_y_m", pa.float64()),
    ]
)
"""One row per window, scored agent, sample and step (from 1); positions in the world's frame.

See `PredictionsWriter` for what the rows hold and what they do not.
"""


class PredictionsWriter:
    """Writes predictions window by window, each as one row group of a Parquet file.

    The rows hold the raw futures of the evaluated predictor for the scored pedestrians, and the
    truth. Its top-1, mean, best-of-K, joint and distribution scores and the collisions of
    pedestrians can be computed from them. They do not hold the baselines' futures, the further
    samples behind the selected scores, or the ego and the map behind the other rates.

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
    scored = sample.window.scored
    futures, weights = prediction.positions_m[:, scored], prediction.weights
    numbers = np.arange(len(weights))
    if prediction.mode_m is not None:
        futures = np.concatenate([prediction.mode_m[None, scored], futures])
        weights = np.concatenate([[0.0], weights])
        numbers = np.concatenate([[MODE_SAMPLE], numbers])
    shape = (int(scored.sum()), len(weights), prediction.steps)
    world = futures.swapaxes(0, 1) + prediction.origin_m  # [N, K, T, 2]
    truth = np.broadcast_to(sample.truth_m[:, None] + sample.scene.origin_m, world.shape)

    def column(values: Any) -> NDArray[Any]:
        return np.broadcast_to(values, shape).ravel()

    agent = column(np.arange(shape[0], dtype=np.int32)[:, None, None])
    columns = [
        pa.DictionaryArray.from_arrays(np.zeros_like(agent), [sample.scene.id]),
        pa.DictionaryArray.from_arrays(agent, sample.window.agent_ids[scored].tolist()),
        column(sample.window.at_us),
        column(numbers[:, None].astype(np.int32)),
        column(weights[:, None]),
        column(np.arange(1, shape[2] + 1, dtype=np.int32)),
        *(column(positions[..., axis]) for positions in (world, truth) for axis in (0, 1)),
    ]
    return pa.table(columns, schema=PREDICTIONS_SCHEMA)
