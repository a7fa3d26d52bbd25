"""Chooses the windows that a report shows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec, origins
from forecast.evaluation.case import Case
from forecast.evaluation.result import EvaluationResult, Picture
from forecast.models.baselines import NamedPredictor

TYPICAL, WORST = 3, 24


def pictures(
    result: EvaluationResult, predictor: NamedPredictor, store: SceneStore, spec: WindowSpec
) -> tuple[Picture, ...]:
    """The movers nearest the median top-1 FDE, then the worst of all; each pedestrian once.

    Nothing is kept while scoring: the windows are predicted again, with the same seeds.
    """
    error = result.values["top1_fde_m"]
    movers = np.flatnonzero(result.rows.movers)
    middle = float(np.median(error[movers])) if len(movers) else 0.0
    typical = _distinct(result, movers[np.argsort(np.abs(error[movers] - middle))], TYPICAL)
    worst = _distinct(result, np.argsort(-error, kind="stable"), WORST)
    shown = [("typical", row) for row in typical] + [("worst", row) for row in worst]
    return tuple(_picture(why, row, result, predictor, store, spec) for why, row in shown)


def _distinct(result: EvaluationResult, rows: NDArray[np.int64], count: int) -> Iterable[int]:
    """The first rows, as many as ``count``, of different pedestrians."""
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
    predictor: NamedPredictor,
    store: SceneStore,
    spec: WindowSpec,
) -> Picture:
    scene, at = store[str(result.rows.scene_ids[row])], int(result.rows.at[row])
    case = Case.at(scene, at, spec, origins(scene, spec).scored[:, at])
    prediction = case.predict(predictor, result.setting.samples, result.setting.seed)
    agent = int(np.flatnonzero(case.window.agent_ids == result.rows.agent_ids[row])[0])
    return Picture(why, row, agent, case.window, prediction)
