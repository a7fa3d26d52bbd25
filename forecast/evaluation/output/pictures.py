"""Chooses the windows that the report shows as pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec, prediction_times
from forecast.evaluation.prediction_file.predictor import PredictionFilePredictor
from forecast.evaluation.prediction_file.reader import read_back
from forecast.evaluation.result import EvaluationResult, Picture
from forecast.evaluation.scoring.sample import EvaluationSample
from forecast.evaluation.scoring.slices import combinations
from forecast.evaluation.scoring.subject import Subject

TYPICAL, WORST = 3, 24


def pictures(
    result: EvaluationResult, store: SceneStore, spec: WindowSpec, predictions: Path
) -> tuple[Picture, ...]:
    """The movers nearest to the median top-1 FDE, then the worst rows; each pedestrian once.

    Then the worst row of each slice that was asked for and of fallbacks, where it is not there yet.

    Args:
        result: The scores, with the slicings that were asked for.
        store: Where the scenes are.
        spec: Window lengths.
        predictions: The scored predictions, as `PredictionsWriter` wrote them.
    """
    error = result.values["top1_fde_m"]
    movers = np.flatnonzero(result.rows.movers)
    middle = float(np.median(error[movers])) if len(movers) else 0.0
    typical = _distinct(result, movers[np.argsort(np.abs(error[movers] - middle))], TYPICAL)
    worst = list(_distinct(result, np.argsort(-error, kind="stable"), WORST))
    shown = [("typical", row) for row in typical] + [("worst", row) for row in worst]
    shown += [("slice", row) for row in worst_of_slices(result) if row not in set(worst)]
    rows = result.rows
    places = {(str(rows.scene_ids[row]), int(rows.at_us[row])) for _, row in shown}
    written = read_back(predictions, store, places, spec.horizon_steps)
    return tuple(_picture(why, row, result, written, store, spec) for why, row in shown)


def worst_of_slices(result: EvaluationResult) -> list[int]:
    """The worst row of each asked label, of each combination of them, and of the fallbacks."""
    labels, names = result.rows.labels, result.slices
    groups = [(name,) for name in names] + ([names] if len(names) > 1 else [])
    masks = [mask for group in groups for mask in combinations(labels, group).values()]
    masks.append(result.fallback)
    found = dict.fromkeys(worst_row(result, mask) for mask in masks if mask.any())
    return sorted(found, key=lambda row: -result.values["top1_fde_m"][row])


def worst_row(result: EvaluationResult, inside: NDArray[np.bool_]) -> int:
    """The row with the largest top-1 FDE among some (a mask ``[N]`` that is not empty)."""
    return int(np.where(inside, result.values["top1_fde_m"], -1.0).argmax())


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
    is_shown = sample.window.agent_ids == name
    # The file of predictions does not hold it, the rows do.
    prediction = replace(prediction, fallback=is_shown & result.fallback[row])
    agent = int(np.flatnonzero(is_shown)[0])
    return Picture(why, row, agent, sample.window, prediction)
