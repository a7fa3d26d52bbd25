"""nuScenes: the JSON file of the prediction challenge, a list of the devkit's predictions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from forecast.adapters.paths import Paths
from forecast.errors import require
from forecast.files import completed
from forecast.scene import Prediction, Scene

MOST_MODES = 25
"""Highest number of modes that the devkit accepts."""

_STEPS, _DT_S = 12, 0.5


def challenge_records(
    prediction: Prediction, scene: Scene, sample_token: str, *, modes: int = 10
) -> list[dict[str, Any]]:
    """One record per predicted agent except the ego, as the challenge's evaluation reads them.

    Args:
        prediction: 6 s at 2 Hz; else as for `forecast.adapters.paths.Paths.of`.
        scene: The scene of the prediction.
        sample_token: Token of the keyframe (`Scene.frame_ids`).
        modes: Highest number of futures of each agent; at most 25.

    Raises:
        ForecastError: Horizon or modes do not fit the challenge, or as for
            `forecast.adapters.paths.Paths.of`.
    """
    require(1 <= modes <= MOST_MODES, "modes", modes, f"1 to {MOST_MODES}")
    horizon = (prediction.steps, prediction.dt_s)
    good = prediction.steps == _STEPS and abs(prediction.dt_s - _DT_S) < 1e-6
    require(good, "steps and dt_s", horizon, f"{(_STEPS, _DT_S)}, 6 s at 2 Hz,")
    found = Paths.of(prediction, scene, modes)
    return [_record(found, agent, sample_token) for agent in range(len(found.agent_ids))]


def _record(found: Paths, agent: int, sample_token: str) -> dict[str, Any]:
    poses, weights = found.of_agent(agent)
    return {
        "instance": str(found.agent_ids[agent]),
        "sample": sample_token,
        "prediction": poses[:, 1:, :2].tolist(),
        "probabilities": weights.tolist(),
    }


def write_challenge(path: str | Path, records: Iterable[dict[str, Any]]) -> None:
    """Writes the file to submit.

    Args:
        path: The file.
        records: The records of all keyframes.

    Raises:
        ForecastError: The file cannot be written.
    """
    with completed(Path(path)) as file:
        file.write_text(json.dumps(list(records)), encoding="utf-8")
