"""The floors: predictors that learn little or nothing, to be printed beside every model.

All are `Predictor`s: they predict every agent of ``scene.present(at)`` from the steps up to ``at``
alone, and the ego follows ``ego_plan`` where one is given.
"""

from forecast.models.baselines.kalman import Kalman
from forecast.models.baselines.kmeans import KMeansResiduals
from forecast.models.baselines.registry import FLOORS, Examples, NamedPredictor
from forecast.models.baselines.simple import ConstantVelocity, Stationary

__all__ = [
    "FLOORS",
    "ConstantVelocity",
    "Examples",
    "KMeansResiduals",
    "Kalman",
    "NamedPredictor",
    "Stationary",
]
