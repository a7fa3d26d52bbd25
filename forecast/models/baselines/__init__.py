"""Baselines: predictors with few or no fitted parameters, listed beside every model.

All are `Predictor`s: they predict every agent of ``scene.present(at)`` from the steps up to ``at``
only. If an ``ego_plan`` is given, the ego follows it.
"""

from forecast.models.baselines.kalman import Kalman
from forecast.models.baselines.kmeans import KMeansResiduals
from forecast.models.baselines.registry import BASELINES, Examples, NamedPredictor
from forecast.models.baselines.simple import ConstantVelocity, Stationary

__all__ = [
    "BASELINES",
    "ConstantVelocity",
    "Examples",
    "KMeansResiduals",
    "Kalman",
    "NamedPredictor",
    "Stationary",
]
