"""Chooses the windows that the report shows as pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec, prediction_times
from forecast.evaluation.prediction_file.predictor import PredictionFilePredictor
from forecast.evaluation.prediction_file.reader import read_back
from forecast.evaluation.result import EvaluationResult, Picture
from forecast.evaluation.scoring.sample import EvaluationSample
from forecast.evaluation.scoring.subject import Subject

TYPICAL, WORST = 3, 24


def pictures(
    result: EvaluationResult, store: SceneStore, spec: WindowSpec, predictions: Path
) -> tuple[Picture, ...]:
    """The movers nearest to the median top-1 FDE, then the worst rows; each pedestrian once.

    Args:
        result: The scores.
        store: Where the scenes are.
        spec: Window lengths.
        predictions: The scored predictions, as `PredictionsWriter` wrote them.
    """
    error = result.values["top1_fde_m"]
    movers = np.flatnonzero(result.rows.movers)
    middle = float(np.median(error[movers])) if len(movers) else 0.0
    typical = _distinct(result, movers[np.argsort(np.abs(error[movers] - middle))], TYPICAL)
    worst = _distinct(result, np.argsort(-error, kind="stable"), WORST)
    shown = [("typical", row) for row in typical] + [("worst", row) for row in worst]
    rows = result.rows
    places = {(str(rows.scene_ids[row]), int(rows.at_us[row])) for _, row in shown}
    written = read_back(predictions, store, places, spec.horizon_steps)
    return tuple(_picture(why, row, result, written, store, spec) for why, row in shown)


def _distinct(result: EvaluationResult, rows: NDArray[np.int64], count: int) -> Iterable[int]:
    """The first ``count`` rows of different pedestrians."""
    first: dict[tuple[str, str], int] = {}
    for row in rows.tolist():
        who = (str(result.rows.scene_ids[row]), str(result.rows.agent_ids[row]))
        first.setdefault(who, row)
        if len(first) == count:
            break
    return first.values()


def _picture(
    why: str,
    row: int,
    result: EvaluationResult,
    written: PredictionFilePredictor,
    store: SceneStore,
    spec: WindowSpec,
) -> Picture:
    scene, at = store[str(result.rows.scene_ids[row])], int(result.rows.at[row])
    name = str(result.rows.agent_ids[row])
    sample = EvaluationSample.at(scene, at, spec, prediction_times(scene, spec).scored[:, at])
    subject = Subject.of(written.alone(name))
    prediction = sample.predict(subject, result.setting.samples, result.setting.seed)
    agent = int(np.flatnonzero(sample.window.agent_ids == name)[0])
    return Picture(why, row, agent, sample.window, prediction)
