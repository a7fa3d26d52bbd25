"""Fits tubes and the OOD detector on scenes that the model was not trained on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from forecast.datasets.learnt_from import Source
from forecast.datasets.progress import with_progress
from forecast.datasets.store import SceneStore
from forecast.datasets.windows import Window, WindowSpec, prediction_times, window, window_seed
from forecast.errors import ForecastError, ForecastWarning
from forecast.files import completed
from forecast.graphs.augment import with_noise
from forecast.inference.forecaster import Forecaster, load
from forecast.inference.paths import is_folder
from forecast.inference.windows import observed, predict_window
from forecast.models.calibration.conformal import CalibrationScores, fit_tubes
from forecast.models.calibration.ood import HistoryFeatures, features, fit_ood

SAMPLES = 20
"""Number of futures that tubes are calibrated for: the default number of a prediction."""

_NAMES_SHOWN = 3


def calibrate_weights(
    *, weights: Path, store: Path, split: str, out: Path, seed: int = 0
) -> Forecaster:
    """Writes calibrated weights and prints a summary; the command ``forecast calibrate``.

    Args:
        weights: A weights file.
        store: A store of scenes.
        split: A split of the store: scenes that the model was not trained on.
        out: The safetensors file to write.
        seed: Seed of the samples.

    Raises:
        ForecastError: An argument is wrong, or a scene cannot be used; no file is written then.
    """
    if out.suffix != ".safetensors":
        raise ForecastError(f"--out {out}: a name that ends in .safetensors is needed")
    if is_folder(out):
        raise ForecastError(f"--out {out}: is a folder; give a file to write")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ForecastWarning)  # they are not calibrated yet
        forecaster = load(weights)
    with completed(out) as file:  # before the long work, where nothing can be written there
        forecaster = calibrated(forecaster, SceneStore.open(store), split, seed=seed)
        forecaster.save(file)
    print(summary(forecaster))
    return forecaster


def calibrated(
    forecaster: Forecaster, store: SceneStore, split: str, *, samples: int = SAMPLES, seed: int = 0
) -> Forecaster:
    """The same model with tubes and OOD detector fitted on a split.

    Every pedestrian observed at a step counts, with every known step of the horizon. Pedestrians
    that leave the view early or have just appeared are included, because planners ask about them.

    Args:
        forecaster: A trained model; an earlier calibration is replaced.
        store: The store of the scenes.
        split: A split of the store, ``all``, or a file of scene names.
        samples: Number of futures that the tubes are computed from.
        seed: Seed of the samples.

    Raises:
        ForecastError: The model was trained on a scene of the split, or with another step length
            than the store's, or there are too few windows.
    """
    names = store.scenes_of(split)
    _check_not_trained_on(forecaster, store, split, names)
    training = forecaster.training
    forecaster.step_s(f"{store.path}", store.dt_s)
    spec = WindowSpec(
        training.history_steps, training.horizon_steps, min_history_steps=1, full_future=False
    )
    scenes = with_progress(names, len(names), f"calibrate {forecaster.name}")
    windows = [
        each for name in scenes for each in _windows(forecaster, store, name, spec, samples, seed)
    ]
    if not windows:
        raise ForecastError(f"{store.path}: split '{split}': it has no pedestrians; choose another")
    found = HistoryFeatures.joined(each for _, each in windows)
    ood = fit_ood(found)
    joined = CalibrationScores.joined(scores for scores, _ in windows)
    times_s = store.dt_s * np.arange(1, spec.horizon_steps + 1)
    fitted = replace(
        training,
        calibrated_on={str(store.path): Source(store.fingerprint, names)},
        calibration=fit_tubes(joined.with_ood(ood.is_ood(found.recorded)), times_s, samples),
        ood=ood,
    )
    return Forecaster(forecaster.model, fitted, forecaster.name)


def _check_not_trained_on(
    forecaster: Forecaster, store: SceneStore, split: str, names: list[str]
) -> None:
    trained = [
        name
        for source in forecaster.training.learnt_from.values()
        if source.fingerprint == store.fingerprint
        for name in source.scenes
    ]
    known = store.leaked_scenes(names, trained)
    if known:
        shown = ", ".join(known[:_NAMES_SHOWN]) + (", …" if len(known) > _NAMES_SHOWN else "")
        raise ForecastError(
            f"{store.path}: split '{split}': the model was trained on {len(known)} of its "
            f"{len(names)} scenes ({shown}); calibrate on other scenes"
        )


def _windows(
    forecaster: Forecaster, store: SceneStore, name: str, spec: WindowSpec, samples: int, seed: int
) -> Iterator[tuple[CalibrationScores, HistoryFeatures]]:
    """Calibration scores and OOD features of the scored pedestrians, for each window of a scene."""
    scene = store[name]
    found = prediction_times(scene, spec)
    for at in found.steps.tolist():
        cut = window(scene, at, spec, found.scored[:, at])
        futures = predict_window(
            forecaster.model,
            cut,
            scene.origin_m,
            samples=samples,
            seed=window_seed(seed, name, at),
        ).positions_m
        scored, seen = cut.scored, observed(cut)
        truth = np.where(cut.future_valid[scored, :, None], cut.future_m[scored], np.nan)
        scores = CalibrationScores.of(futures[:, scored], seen.select(scored), truth, name)
        yield scores, history_features(cut, forecaster.training.noise_m)


def history_features(cut: Window, noise_m: float) -> HistoryFeatures:
    """OOD features of the scored pedestrians of a window, as recorded and with noise.

    Args:
        cut: The window.
        noise_m: Upper limit of the standard deviation of the noise; see `Training.noise_m`.
    """
    rng = np.random.default_rng(window_seed(0, cut.scene_id, cut.at))
    noisy = with_noise(cut, noise_m, rng)
    return HistoryFeatures(*(features(observed(each))[cut.scored] for each in (cut, noisy)))


def summary(forecaster: Forecaster) -> str:
    """Summary of a calibration in a few lines; "" for weights without one."""
    tubes, ood = forecaster.training.calibration, forecaster.training.ood
    if tubes is None or ood is None:
        return ""
    pooled = [name for name, radii in tubes.groups.items() if radii.pooled]
    across = zip(tubes.levels, tubes.across_scenes, tubes.made_at, strict=False)
    measured = ", ".join(
        f"{level:.0%} tubes contain {share:.1%}, so fitted at {made_at:.1%}"
        for level, share, made_at in across
    )
    return "\n".join(
        [
            f"calibrated on {ood.windows} windows of a pedestrian in {tubes.scenes} scenes, "
            f"up to {tubes.times_s[-1]:g} s",
            f"in left-out scenes: {measured or 'too few to measure, so fitted at their own level'}",
            f"too few windows of their own, so pooled: {', '.join(pooled) or 'no group'}",
            f"constant velocity above an OOD score of {ood.threshold:.2f}, "
            f"the {ood.quantile:.1%} quantile",
        ]
    )
