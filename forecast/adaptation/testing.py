"""Scores of a scene before it is learnt from, and the rows that tubes are fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecast.adaptation.config import AdaptConfig
from forecast.adaptation.lessons import Lesson, loss_on
from forecast.datasets.windows import Window
from forecast.inference.calibrate import SAMPLES, history_features
from forecast.inference.forecaster import Forecaster
from forecast.inference.weights import Training
from forecast.inference.windows import forecast_windows, observed
from forecast.models.calibration.conformal import MIN_WINDOWS, CalibrationScores, fit_tubes
from forecast.models.calibration.ood import HistoryFeatures, features, fit_ood
from forecast.models.forecaster import PedestrianForecaster
from forecast.scene import Prediction

LEVEL = 0.9
"""Level of the tubes whose coverage is reported."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What tubes and OOD detector are fitted on: N pedestrians of the windows of a scene.

    Attributes:
        scores: Distances of the truth from the prediction, of weights that had not learnt from it.
        features: Features of the histories ``[N, D]``, as recorded and with noise.
        dt_s: Step length of the scene.
    """

    scores: CalibrationScores
    features: HistoryFeatures
    dt_s: float


@dataclass(frozen=True)
class Tested:
    """Scores of a scene that the model has not learnt from.

    Attributes:
        loss: The loss of the training, in evaluation mode.
        loss_at_start: The same of the weights that the adaptation began with: what it would be
            without adapting.
        coverage_90: Share of the truths inside the 90 % tubes; None without tubes.
        truths: Number of pedestrians and steps behind that share.
        ood: Share of the histories that are out of distribution; 0 without a detector.
        windows: Number of windows.
    """

    loss: float
    loss_at_start: float
    coverage_90: float | None
    truths: int
    ood: float
    windows: int


def tested(
    forecaster: Forecaster, start: PedestrianForecaster, lesson: Lesson, config: AdaptConfig
) -> tuple[Tested, Rows]:
    """Scores a scene.

    Args:
        forecaster: The model, before it learns from the scene.
        start: The network that the adaptation began with.
        lesson: The scene.
        config: Number of windows, terms of the loss, seed.
    """
    # Tubes are for everybody who is seen, also for those who have just appeared.
    everybody = Lesson(lesson.scene, replace(lesson.spec, min_history_steps=1))
    cuts = everybody.spread(config.tested_windows)
    predictions = _raw(forecaster, lesson, cuts, config.seed)
    noise_m = forecaster.training.noise_m
    rows = [_rows(each, cut, noise_m) for each, cut in zip(predictions, cuts, strict=True)]
    inside = [
        _inside(forecaster.training, each, cut) for each, cut in zip(predictions, cuts, strict=True)
    ]
    joined = Rows(
        CalibrationScores.joined(each.scores for each in rows),
        HistoryFeatures.joined(each.features for each in rows),
        lesson.scene.dt_s,
    )
    hit, ood = np.concatenate(inside), forecaster.training.ood
    scored = lesson.spread(config.tested_windows)
    found = Tested(
        loss=loss_on(forecaster.model, scored, config.loss),
        loss_at_start=loss_on(start, scored, config.loss),
        coverage_90=float(hit.mean()) if len(hit) else None,
        truths=int((~np.isnan(joined.scores.distance)).sum()),
        ood=0.0 if ood is None else float(ood.is_ood(joined.features.recorded).mean()),
        windows=len(cuts),
    )
    return found, joined


def _raw(
    forecaster: Forecaster, lesson: Lesson, cuts: Sequence[Window], seed: int
) -> list[Prediction]:
    """Predictions of windows without tubes and fallback."""
    plain = replace(forecaster.training, calibration=None, ood=None)
    dt_s, count = lesson.scene.dt_s, len(cuts)
    return forecast_windows(
        forecaster.model,
        plain,
        cuts,
        [lesson.scene.origin_m] * count,
        samples=SAMPLES,
        seed=seed,
        horizon_s=lesson.spec.horizon_steps * dt_s,
        dts_s=[dt_s] * count,
    )


def _rows(prediction: Prediction, cut: Window, noise_m: float) -> Rows:
    scored, seen = cut.scored, observed(cut)
    truth = np.where(cut.future_valid[scored, :, None], cut.future_m[scored], np.nan)
    futures = prediction.positions_m[:, scored]
    scores = CalibrationScores.of(futures, seen.select(scored), truth, cut.scene_id)
    return Rows(scores, history_features(cut, noise_m), cut.dt_s)


def _inside(training: Training, prediction: Prediction, cut: Window) -> NDArray[np.bool_]:
    """Whether each known truth is inside the 90 % tube; empty without tubes that reach as far."""
    tubes, ood = training.calibration, training.ood
    if (
        tubes is None
        or LEVEL not in tubes.levels
        or not tubes.reach(cut.dt_s, cut.future_m.shape[1])
    ):
        return np.zeros(0, bool)
    seen = observed(cut)
    replaced = None if ood is None else ood.is_ood(features(seen))
    drawn = tubes.tubes(prediction.positions_m, seen, replaced)
    hit = drawn.contains(cut.future_m)[..., tubes.levels.index(LEVEL)]
    inside: NDArray[np.bool_] = hit[cut.future_valid & cut.scored[:, None]]
    return inside


def recalibrated(training: Training, rows: Sequence[Rows]) -> Training | None:
    """The same with tubes and OOD detector fitted on the rows of several scenes.

    Args:
        training: Training data and settings of the model.
        rows: The rows of each scene, with one step length.

    Returns:
        None if there are too few rows, or the tubes would reach less far than they do now.
    """
    scores = CalibrationScores.joined(each.scores for each in rows) if rows else None
    if scores is None or (~np.isnan(scores.distance)).sum(axis=0).min() < MIN_WINDOWS:
        return None
    times_s = rows[0].dt_s * np.arange(1, training.horizon_steps + 1)
    before = training.calibration
    if before is not None and times_s[-1] < before.times_s[-1]:
        return None
    found = HistoryFeatures.joined(each.features for each in rows)
    ood = fit_ood(found)
    tubes = fit_tubes(scores.with_ood(ood.is_ood(found.recorded)), times_s, SAMPLES)
    return replace(training, calibration=tubes, ood=ood)
