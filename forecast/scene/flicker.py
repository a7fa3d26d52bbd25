"""Flicker: how far forecasts of the same moment move from one prediction to the next.

A planner that follows a flickering forecast brakes and releases in turn. Some change is expected,
because every prediction uses newer observations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.scene.between_steps import between_steps
from forecast.scene.prediction import Prediction


def path_flicker_m(
    earlier_m: NDArray[Any], later_m: NDArray[Any], steps_passed: int
) -> NDArray[Any]:
    """Mean distance in metres of two predicted paths of the same agents over their common times.

    Args:
        earlier_m: Paths of the earlier prediction ``[A, T, 2]``.
        later_m: Paths of the later prediction ``[A, T', 2]``, in the same frame.
        steps_passed: Steps from the earlier prediction time to the later one.

    Returns:
        ``[A]``; the precision is that of the paths.
    """
    common = min(earlier_m.shape[1] - steps_passed, later_m.shape[1])
    same_times_m = earlier_m[:, steps_passed : steps_passed + common]
    return np.linalg.norm(later_m[:, :common] - same_times_m, axis=-1).mean(axis=-1)


def flicker(earlier: Prediction, later: Prediction) -> dict[str, float]:
    """Flicker of the single best guesses (`Prediction.most_probable`) of two predictions.

    Args:
        earlier: A prediction.
        later: One of the same or a later time, with the same step length.

    Returns:
        Metres by the name of each agent that both predict.

    Raises:
        ForecastError: The predictions have no time in common, or different steps.
    """
    same = abs(earlier.dt_s - later.dt_s) < 1e-9
    require(same, "dt_s of the later prediction", later.dt_s, f"{earlier.dt_s}")
    passed = (later.at_us - earlier.at_us) / (earlier.dt_s * 1e6)
    # The times of the later prediction, which may lie between the steps of the earlier one.
    at = passed + np.arange(1, later.steps + 1)
    at = at[at <= earlier.steps + 1e-6]
    require(passed >= 0 and len(at) > 0, "steps in common", len(at), "at least 1")
    rows = [
        {name: row for row, name in enumerate(p.agent_ids.tolist()) if p.valid[row]}
        for p in (earlier, later)
    ]
    names = [name for name in rows[0] if name in rows[1]]
    before_m, after_m = (
        p.most_probable()[[row[name] for name in names]] + p.origin_m
        for p, row in zip((earlier, later), rows, strict=True)
    )
    same_times_m = between_steps(before_m, before_m[:, 0], at, axis=1)
    return dict(zip(names, path_flicker_m(same_times_m, after_m, 0).tolist(), strict=True))
