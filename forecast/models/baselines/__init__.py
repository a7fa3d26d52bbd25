"""Baselines: predictors with few or no fitted parameters, listed beside every model.

All are `Predictor`s: they predict every agent of ``scene.present(at)`` from the steps up to ``at``
only. If an ``ego_plan`` is given, the ego follows it.
"""

from forecast.models.baselines.kalman import Kalman
from forecast.models.baselines.kmeans import KMeansResiduals
from forecast.models.baselines.registry import BASELINES, Examples, NamedPredictor
from forecast.models.baselines.simple import ConstantVelocity, Stationary
from forecast.models.baselines.smoothed import Companions, SmoothedVelocity

__all__ = [
    "BASELINES",
    "Companions",
    "ConstantVelocity",
    "Examples",
    "KMeansResiduals",
    "Kalman",
    "NamedPredictor",
    "SmoothedVelocity",
    "Stationary",
]
