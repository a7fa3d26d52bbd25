"""Merges the scores of scenes, in any order and from any process, into a result per predictor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec
from forecast.errors import ForecastError
from forecast.evaluation.result import EvaluationResult, Setting
from forecast.evaluation.run.own_metrics import OwnMetric
from forecast.evaluation.run.provenance import (
    counts_of_file,
    hash_of_file,
    provenance_of,
    scenes_learnt_from,
)
from forecast.evaluation.scoring import modes, stability
from forecast.evaluation.scoring.rows import joined, joined_rows
from forecast.evaluation.scoring.scores import (
    SceneScores,
    Sink,
    joined_scores,
    score_scene,
)
from forecast.models.baselines import NamedPredictor
from forecast.models.metrics.registry import METRICS


def evaluate(
    predictor: NamedPredictor,
    store: SceneStore,
    scene_names: Iterable[str],
    spec: WindowSpec,
    samples: int,
    seed: int,
    *,
    split: str = "",
    sink: Sink | None = None,
) -> EvaluationResult:
    """Scores a predictor on every window of some scenes.

    The predictor gets the last ``spec.history_steps`` steps of a scene and no later step.

    Args:
        predictor: Any predictor with a name.
        store: The store of the scenes.
        scene_names: The scenes to score; iterated once.
        spec: Window lengths and scoring rule.
        samples: Number of futures that the predictor is asked for.
        seed: Seed of everything random.
        split: Name of the scenes in the result.
        sink: Called with every window and its prediction.

    Raises:
        ForecastError: Nobody is scored in the scenes, or a prediction does not fit its window.
    """
    predictors = {predictor.name: predictor}
    names = list(scene_names)
    parts = [score_scene(predictors, store[name], spec, samples, seed, sink) for name in names]
    setting = setting_of(store, split, tuple(names), spec, samples, seed)
    return merge(parts, predictors, setting, store)[predictor.name]


def merge(
    parts: Iterable[SceneScores],
    predictors: Mapping[str, NamedPredictor],
    setting: Setting,
    store: SceneStore,
    failed: Mapping[str, str] = MappingProxyType({}),
    own_metrics: Mapping[str, OwnMetric] = MappingProxyType({}),
) -> dict[str, EvaluationResult]:
    """Joins the scores of scenes into one result per predictor.

    Args:
        parts: The scores of each scene of ``setting.scenes`` once, in any order.
        predictors: The scored predictors, by the name they are listed under.
        setting: What was scored on what; its scenes set the order of the rows.
        store: The store of the scenes.
        failed: Scenes of the split that could not be scored, with the reason.
        own_metrics: Metrics among the scores that are not the package's, by name.

    Raises:
        ForecastError: A scene is missing or present twice, or nobody is scored in any.
    """
    by_scene = _each_once(parts, setting.scenes)
    dropped = Counter[str]()
    for part in by_scene:
        dropped.update(part.dropped)
    scored = [part for part in by_scene if part.rows is not None]
    if not scored:
        raise ForecastError(_nobody(store, setting, dropped))
    rows = joined_rows([part.rows for part in scored if part.rows is not None])
    ground_truth = joined([part.ground_truth for part in scored])
    results = {}
    for name, predictor in predictors.items():
        scores = joined_scores([part.scores[name] for part in scored])
        model = provenance_of(predictor)
        results[name] = EvaluationResult(
            predictor=name,
            setting=setting,
            rows=rows,
            values=scores.values,
            definitions=definitions(own_metrics),
            own_metrics=own_metrics,
            ground_truth=ground_truth,
            errors_m=scores.errors_m,
            coverage=scores.coverage,
            spread_m=scores.spread_m,
            tube_coverage=scores.tube_coverage,
            tube_area_m2=scores.tube_area_m2,
            fallback=scores.fallback,
            timing=scores.timing,
            dropped=dict(dropped),
            prepared=store.records_of(setting.scenes),
            failed=dict(failed),
            model=model,
            scenes_learnt_from=scenes_learnt_from(store, setting.scenes, model),
            predictions_file=counts_of_file(predictor),
            predictions_sha256=hash_of_file(predictor),
        )
    return results


def definitions(
    own_metrics: Mapping[str, OwnMetric] = MappingProxyType({}),
) -> dict[str, str]:
    """One line on each metric of a result, in the order of the report; one's own come last."""
    return (
        {name: metric.definition for name, metric in METRICS.items()}
        | modes.definitions()
        | stability.DEFINITIONS
        | {name: own.spec.definition for name, own in own_metrics.items()}
    )


def setting_of(
    store: SceneStore,
    split: str,
    scenes: tuple[str, ...],
    spec: WindowSpec,
    samples: int,
    seed: int,
) -> Setting:
    """What is evaluated on what."""
    return Setting(
        source=store.source,
        fingerprint=store.fingerprint,
        protocol=store.protocol,
        off_protocol=not spec.is_official(store.protocol, store.dt_s),
        split=split,
        scenes=scenes,
        dt_s=store.dt_s,
        history_s=round((spec.history_steps - 1) * store.dt_s, 6),
        horizon_s=round(spec.horizon_steps * store.dt_s, 6),
        samples=samples,
        seed=seed,
    )


def _each_once(parts: Iterable[SceneScores], scenes: tuple[str, ...]) -> list[SceneScores]:
    """The parts in the order of the scenes."""
    found: dict[str, SceneScores] = {}
    for part in parts:
        if part.scene_id in found or part.scene_id not in scenes:
            raise ForecastError(
                f"merge: {part.scene_id} is there twice or not among the scenes; give each once"
            )
        found[part.scene_id] = part
    missing = [scene for scene in scenes if scene not in found]
    if missing:
        raise ForecastError(f"merge: {missing[0]} is missing; give the scores of every scene")
    return [found[scene] for scene in scenes]


def _nobody(store: SceneStore, setting: Setting, dropped: Mapping[str, int]) -> str:
    """Why there is nothing to score."""
    split = setting.split or ", ".join(setting.scenes)
    if dropped.get("future_incomplete"):
        return (
            f"{store.path}: split '{split}': no pedestrian is seen for all of the "
            f"{setting.horizon_s:g} s that follow a prediction time; choose a shorter horizon or "
            "another split"
        )
    return (
        f"{store.path}: split '{split}': no pedestrian is seen for enough consecutive steps; "
        "choose another split"
    )
