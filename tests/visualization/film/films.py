"""Films of the street of `tests.scenes`."""

from __future__ import annotations

from forecast.models.baselines import Kalman
from forecast.scene import Scene
from forecast.visualization.film.film import Film, Question, imagined_film, recorded_film
from tests.scenes import street_scene

ASKED = Question(horizon_s=3.0, samples=4)


def recorded(scene: Scene | None = None, start_s: float = 2.0, stop_s: float = 4.0) -> Film:
    scene = street_scene() if scene is None else scene
    return recorded_film(Kalman(), "kalman", scene, start_s, stop_s, ASKED)


def imagined(*plans: str, at_s: float = 5.0) -> Film:
    return imagined_film(Kalman(), "kalman", street_scene(), at_s, ASKED, plans)
