"""Films of the street of `tests.scenes`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forecast.models.baselines import Kalman
from forecast.scene import Prediction, Scene
from forecast.scene.tubes import Tubes
from forecast.visualization.film.film import Film, Question, imagined_film, recorded_film
from tests.scenes import street_scene

ASKED = Question(horizon_s=3.0, samples=4)


class Calibrated(Kalman):
    """Adds circles of 1 m for each step ahead, but not for agent 0, who gets a fallback."""

    def predict(self, scene: Scene, at: int, **options) -> Prediction:
        made = super().predict(scene, at, **options)
        agents, steps = made.positions_m.shape[1:3]
        shape = np.tile(np.eye(2), (agents, steps, 1, 1))
        scale = np.tile(np.arange(1.0, steps + 1)[:, None], (agents, 1, 1))
        known = np.isin(made.agent_ids, ["1", "2"])
        tubes = Tubes(made.mode_m.astype(np.float64), shape, scale, (0.9,), known)
        return replace(made, tubes=tubes, fallback=made.agent_ids == "0")


def recorded(
    scene: Scene | None = None,
    start_s: float = 2.0,
    stop_s: float = 4.0,
    predictor: Kalman = Kalman(),  # noqa: B008 (frozen)
) -> Film:
    scene = street_scene() if scene is None else scene
    return recorded_film(predictor, "kalman", scene, start_s, stop_s, ASKED)


def imagined(
    *plans: str,
    at_s: float = 5.0,
    predictor: Kalman = Kalman(),  # noqa: B008 (frozen)
) -> Film:
    return imagined_film(predictor, "kalman", street_scene(), at_s, ASKED, plans)
