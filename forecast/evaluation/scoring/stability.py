"""Flicker of the scored pedestrians; see `forecast.scene.flicker`.

Some flicker is expected, because every step brings a new observation. Compare it with the
baselines' and with the error at the same time ahead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.evaluation.scoring.sample import EvaluationSample
from forecast.scene import Prediction
from forecast.scene.flicker import path_flicker_m

DEFINITIONS = {
    "flicker_top1_m": "distance between the top-1 predictions of one step and the step before, "
    "for the same times, mean over them",
    "flicker_mean_m": "distance between the samples' means of one step and the step before, for "
    "the same times, mean over them",
}
"""What the values of `flicker_scores` mean."""


def flicker_scores(
    before: tuple[EvaluationSample, Prediction] | None,
    sample: EvaluationSample,
    prediction: Prediction,
) -> dict[str, NDArray[np.float64]]:
    """How far the predictions of the scored pedestrians moved since the step before.

    Args:
        before: The evaluation sample before this one in the same scene, and its prediction.
        sample: The evaluation sample.
        prediction: The prediction in it.

    Returns:
        Metres ``[N]`` by metric name. NaN for pedestrians that were not scored one step before,
        and where predictions of a single step have no time in common.
    """
    scored = sample.window.agent_ids[sample.window.scored]
    values = {name: np.full(len(scored), np.nan) for name in DEFINITIONS}
    if before is None or before[0].window.at + 1 != sample.window.at or prediction.steps < 2:
        return values
    earlier = before[1]
    _, old, new = np.intersect1d(earlier.agent_ids, scored, return_indices=True)
    scored_twice = before[0].window.scored[old]
    old, new = old[scored_twice], new[scored_twice]
    rows = np.flatnonzero(sample.window.scored)[new]
    paths: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {
        "flicker_top1_m": (earlier.most_probable(), prediction.most_probable()),
        "flicker_mean_m": (earlier.mean(), prediction.mean()),
    }
    for name, (then_m, now_m) in paths.items():
        values[name][new] = path_flicker_m(then_m[old], now_m[rows], steps_passed=1)
    return values
