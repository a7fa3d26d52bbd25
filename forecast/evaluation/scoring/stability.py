"""Flicker: how far a prediction moves from one step to the next, where both speak of one time.

A planner that follows a prediction brakes and lets go as it flickers. Some change is due, because
a step more was seen: compare with the floors, and with the error at the same time ahead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.evaluation.scoring.sample import Case
from forecast.scene import Prediction

DEFINITIONS = {
    "flicker_top1_m": "distance between the top-1 predictions of one step and the step before, "
    "for the same times, mean over them",
    "flicker_mean_m": "distance between the samples' means of one step and the step before, for "
    "the same times, mean over them",
}
"""What the values of `flicker` mean."""


def flicker(
    before: tuple[Case, Prediction] | None, case: Case, prediction: Prediction
) -> dict[str, NDArray[np.float64]]:
    """How far the predictions of the scored pedestrians moved since the step before.

    Args:
        before: The window scored before this one in the same scene, and its prediction.
        case: The window.
        prediction: What is predicted in it.

    Returns:
        Metres ``[N]`` by name; NaN for who was not scored one step before, and where two
        predictions of a single step have no time in common.
    """
    scored = case.window.agent_ids[case.window.scored]
    values = {name: np.full(len(scored), np.nan) for name in DEFINITIONS}
    if before is None or before[0].window.at + 1 != case.window.at or prediction.steps < 2:
        return values
    earlier = before[1]
    _, old, new = np.intersect1d(earlier.agent_ids, scored, return_indices=True)
    twice = before[0].window.scored[old]
    old, new = old[twice], new[twice]
    paths: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {
        "flicker_top1_m": (earlier.most_probable(), prediction.most_probable()),
        "flicker_mean_m": (earlier.mean(), prediction.mean()),
    }
    rows = np.flatnonzero(case.window.scored)[new]
    for name, (then, now) in paths.items():
        moved = np.linalg.norm(now[rows, :-1] - then[old, 1:], axis=-1)
        values[name][new] = moved.mean(axis=-1)
    return values
