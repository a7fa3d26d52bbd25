"""What an edit does to each agent, and how far futures are from the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.models.metrics.displacement import ade, fde, min_ade, min_fde
from forecast.scene import Prediction, Scene


def effects(before: Prediction, after: Prediction) -> dict[str, dict[str, float]]:
    """How far the same sample is from where it was, for each agent of both predictions.

    Both have common random numbers, so what differs is the effect of what was changed.

    Returns:
        By name: ``mean_m`` and ``largest_m``, mean and largest distance over the samples at the
        last step; ``share``, the weight of the samples that differ by more than 0.5 m there.
    """
    rows = {name: row for row, name in enumerate(before.agent_ids.tolist()) if before.valid[row]}
    found = {}
    for row, name in enumerate(after.agent_ids.tolist()):
        if not after.valid[row] or name not in rows:
            continue
        way = after.positions_m[:, row, -1] - before.positions_m[:, rows[name], -1]
        far = np.linalg.norm(way, axis=-1)
        found[name] = {
            "mean_m": float(after.weights @ far),
            "largest_m": float(far.max()),
            "share": float(after.weights @ (far > 0.5)),
        }
    return found


def displacement_errors(
    scene: Scene,
    at: int,
    prediction: Prediction,
    baselines: Mapping[str, Prediction],
    horizons_s: Sequence[float],
) -> dict[str, list[dict[str, Any]]]:
    """Errors of futures against what was recorded, for each agent that was seen long enough.

    Args:
        scene: The recording; a step of the prediction is a whole number of its steps.
        at: Index of the current step.
        prediction: The futures of a predictor.
        baselines: Those of others, by name.
        horizons_s: Times at which errors are measured.

    Returns:
        By name of the agent, a row for each horizon: ``horizon_s``; ``ade_m`` and ``fde_m`` of the
        most probable future; ``min_ade_m`` and ``min_fde_m`` of the best sample; ``baselines``,
        the FDE of each.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for horizon_s in horizons_s:
        steps = round(horizon_s / prediction.dt_s)
        rows, truth = _truth(scene, at, prediction, steps)
        names = prediction.agent_ids[rows].tolist()
        top = _best_guess(prediction, names, horizon_s)
        drawn = torch.from_numpy(prediction.positions_m[:, rows, :steps])
        count, weights = prediction.samples, torch.from_numpy(prediction.weights)
        columns = {
            "ade_m": ade(top, truth),
            "fde_m": fde(top, truth),
            "min_ade_m": min_ade(drawn, truth, count, weights),
            "min_fde_m": min_fde(drawn, truth, count, weights),
        }
        others = {
            baseline: fde(_best_guess(each, names, horizon_s), truth).tolist()
            for baseline, each in baselines.items()
        }
        for i, name in enumerate(names):
            row = {key: float(values[i]) for key, values in columns.items()}
            theirs = {key: values[i] for key, values in others.items()}
            found.setdefault(name, []).append({"horizon_s": horizon_s, **row, "baselines": theirs})
    return found


def _best_guess(made: Prediction, names: Sequence[str], until_s: float) -> torch.Tensor:
    """The most probable futures ``[N, T, 2]`` of agents by name, up to a time."""
    row_of = {name: row for row, name in enumerate(made.agent_ids.tolist())}
    rows = np.array([row_of[name] for name in names], np.int64)
    return torch.from_numpy(made.most_probable()[rows, : round(until_s / made.dt_s)])


def _truth(
    scene: Scene, at: int, prediction: Prediction, steps: int
) -> tuple[NDArray[np.int64], torch.Tensor]:
    """Rows of the predicted agents that were seen in all of the next steps, and their places."""
    tracks, every = scene.tracks, round(prediction.dt_s / scene.dt_s)
    times = at + every * np.arange(1, steps + 1)
    if times[-1] >= scene.steps:
        return np.zeros(0, np.int64), torch.zeros(0, steps, 2)
    row_of = {name: row for row, name in enumerate(tracks.agent_ids.tolist())}
    agents = np.array([row_of[name] for name in prediction.agent_ids.tolist()], np.int64)
    rows = np.flatnonzero(prediction.valid & tracks.valid[agents[:, None], times].all(axis=1))
    return rows, torch.from_numpy(tracks.positions_m[agents[rows, None], times])
