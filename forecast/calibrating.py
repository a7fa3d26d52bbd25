"""Fits tubes and what is familiar on scenes that a model has not learnt from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecast import inference
from forecast.datasets.progress import with_progress
from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec, prediction_times, window, window_seed
from forecast.errors import ForecastError
from forecast.inference import Forecaster, Source, observed, predict_window
from forecast.models import familiarity
from forecast.models.calibration import Scores
from forecast.models.calibration import fit as fit_tubes

SAMPLES = 20
"""Futures that tubes are calibrated for, as many as a prediction has by default."""

_NAMES_SHOWN = 3


def run(*, weights: Path, store: Path, split: str, out: Path, seed: int = 0) -> Forecaster:
    """Writes calibrated weights and says what was found; ``forecast calibrate``.

    Args:
        weights: A weights file.
        store: A store of scenes.
        split: Of the store: scenes the model has not learnt from.
        out: The safetensors file to write.
        seed: Seed of the samples.

    Raises:
        ForecastError: Something the caller can mend; no file is written then.
    """
    if out.suffix != ".safetensors":
        raise ForecastError(f"--out {out}: a name that ends in .safetensors is needed")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ForecastError(f"--out {out}: {error.strerror}; give a file to write") from None
    forecaster = calibrated(inference.load(weights), SceneStore.open(store), split, seed=seed)
    forecaster.save(out)
    print(summary(forecaster))
    return forecaster


def calibrated(
    forecaster: Forecaster, store: SceneStore, split: str, *, samples: int = SAMPLES, seed: int = 0
) -> Forecaster:
    """The same model with tubes and familiarity fitted on a split.

    Every pedestrian seen at a step counts, with all that is known of the horizon: who leaves the
    view before its end, or has only just come into it, is among those a planner asks about too.

    Args:
        forecaster: A trained model; an earlier calibration is replaced.
        store: Where the scenes are.
        split: A split of the store, ``all``, or a file of scene names.
        samples: Futures the tubes are taken from.
        seed: Seed of the samples.

    Raises:
        ForecastError: The model learnt from a scene of the split or not with the store's step
            length, or there are too few windows.
    """
    names = store.scenes_of(split)
    _refuse_learnt(forecaster, store, split, names)
    training = forecaster.training
    forecaster.check_step(f"{store.path}", store.dt_s)
    spec = WindowSpec(
        training.history_steps, training.horizon_steps, min_history_steps=1, full_future=False
    )
    scenes = with_progress(names, len(names), f"calibrate {forecaster.name}")
    windows = [
        each for name in scenes for each in _windows(forecaster, store, name, spec, samples, seed)
    ]
    if not windows:
        raise ForecastError(f"{store.path}: split '{split}': nobody walks there; choose another")
    features = np.concatenate([found for _, found in windows])
    familiar = familiarity.fit(features)
    scores = Scores.joined(found for found, _ in windows).marked(familiar.is_odd(features))
    times_s = store.dt_s * np.arange(1, spec.horizon_steps + 1)
    fitted = replace(
        training,
        calibrated_on={str(store.path): Source(store.fingerprint, names)},
        calibration=fit_tubes(scores, times_s, samples),
        familiarity=familiar,
    )
    return Forecaster(forecaster.model, fitted, forecaster.name)


def _refuse_learnt(forecaster: Forecaster, store: SceneStore, split: str, names: list[str]) -> None:
    learnt = [
        name
        for source in forecaster.training.learnt_from.values()
        if source.fingerprint == store.fingerprint
        for name in source.scenes
    ]
    known = store.leaked_scenes(names, learnt)
    if known:
        shown = ", ".join(known[:_NAMES_SHOWN]) + (", …" if len(known) > _NAMES_SHOWN else "")
        raise ForecastError(
            f"{store.path}: split '{split}': the model learnt from {len(known)} of its "
            f"{len(names)} scenes ({shown}); calibrate on scenes it has not seen"
        )


def _windows(
    forecaster: Forecaster, store: SceneStore, name: str, spec: WindowSpec, samples: int, seed: int
) -> Iterator[tuple[Scores, NDArray[np.float64]]]:
    """Scores and features of the scored people of each window of one scene."""
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
        who, seen = cut.scored, observed(cut)
        truth = np.where(cut.future_valid[who, :, None], cut.future_m[who], np.nan)
        scores = Scores.of(futures[:, who], seen.select(who), truth, name)
        yield scores, familiarity.features(seen)[who]


def summary(forecaster: Forecaster) -> str:
    """What a calibration found, in a few lines; "" for weights without one."""
    tubes, familiar = forecaster.training.calibration, forecaster.training.familiarity
    if tubes is None or familiar is None:
        return ""
    pooled = [name for name, radii in tubes.groups.items() if radii.pooled]
    across = zip(tubes.levels, tubes.across_scenes, tubes.made_at, strict=False)
    measured = ", ".join(
        f"{level:.0%} tubes hold {share:.1%}, so made at {made_at:.1%}"
        for level, share, made_at in across
    )
    return "\n".join(
        [
            f"calibrated on {familiar.windows} windows of a pedestrian in {tubes.scenes} scenes, "
            f"up to {tubes.times_s[-1]:g} s",
            f"in scenes left out: {measured or 'too few to tell, so made as they are'}",
            f"too few windows of their own, so pooled: {', '.join(pooled) or 'no group'}",
            f"constant velocity beyond a familiarity score of {familiar.threshold:.2f}, "
            f"the {familiar.quantile:.1%} quantile",
        ]
    )
