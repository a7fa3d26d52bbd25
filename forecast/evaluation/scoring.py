"""Scores a predictor on the windows of a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec, origins
from forecast.errors import ForecastError
from forecast.evaluation import selected
from forecast.evaluation.case import Case
from forecast.evaluation.provenance import provenance_of, scenes_learnt_from
from forecast.evaluation.recorded import recorded
from forecast.evaluation.result import (
    CALIBRATION_LEVELS,
    MOVER_DISPLACEMENT_M,
    TUBE_LEVELS,
    EvaluationResult,
    Rows,
    Setting,
)
from forecast.models.baselines import NamedPredictor
from forecast.models.metrics.displacement import displacement, sample_mean
from forecast.models.metrics.distribution import coverage
from forecast.models.metrics.registry import METRICS, per_agent
from forecast.models.metrics.scored import Scored
from forecast.models.metrics.tubes import tube_areas, tube_coverage
from forecast.scene import Prediction, Tubes

Array = TypeVar("Array", bound=NDArray[Any])

Sink = Callable[[Case, Prediction], None]
"""Takes every window with its prediction, to write or to keep."""


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

    The predictor sees the last ``spec.history_steps`` steps of a scene and nothing of what
    follows. Predictors of equally weighted samples are asked a second time for
    `selected.OVERSAMPLING` times as many, for the selected scores.

    Args:
        predictor: Any predictor with a name.
        store: Where the scenes are.
        scene_names: The scenes to score; gone through once.
        spec: Window lengths and scoring rule.
        samples: Futures asked of the predictor.
        seed: Seed of everything random.
        split: What the scenes are called in the result.
        sink: Called with every window and its prediction.

    Raises:
        ForecastError: Nobody is scored in the scenes, or a prediction does not fit its window.
    """
    if samples < 1:
        raise ForecastError(f"samples is {samples}; at least 1 is needed")
    scenes, parts, dropped = [], [], Counter[str]()
    for name in scene_names:
        scenes.append(name)
        scene = store[name]
        found = origins(scene, spec)
        dropped.update(found.dropped)
        for at in found.steps:
            case = Case.at(scene, int(at), spec, found.scored[:, at])
            parts.append(_score(case, predictor, samples, seed, sink))
    if not parts:
        raise ForecastError(_nobody(store, split or ", ".join(scenes), spec, dropped))
    model = provenance_of(predictor)
    return EvaluationResult(
        predictor=predictor.name,
        setting=_setting(store, split, tuple(scenes), spec, samples, seed),
        rows=_joined_rows(parts),
        values=_joined([part.values for part in parts]),
        definitions={name: metric.definition for name, metric in METRICS.items()}
        | selected.definitions(samples),
        errors_m=_joined([part.errors_m for part in parts]),
        coverage=np.concatenate([part.coverage for part in parts]),
        tube_coverage=np.concatenate([part.tube_coverage for part in parts]),
        tube_area_m2=np.concatenate([part.tube_area_m2 for part in parts]),
        dropped=dict(dropped),
        recorded=_joined([part.recorded for part in parts]),
        model=model,
        scenes_learnt_from=scenes_learnt_from(store, scenes, model),
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """The scores of one window, named as in `EvaluationResult`."""

    rows: Rows
    values: Mapping[str, NDArray[np.float64]]
    recorded: Mapping[str, NDArray[np.float64]]
    errors_m: Mapping[str, NDArray[np.float32]]
    coverage: NDArray[np.float32]
    tube_coverage: NDArray[np.float32]
    tube_area_m2: NDArray[np.float32]


def _score(
    case: Case, predictor: NamedPredictor, samples: int, seed: int, sink: Sink | None
) -> _Part:
    prediction = case.predict(predictor, samples, seed)
    if sink is not None:
        sink(case, prediction)
    who, truth = case.window.scored, case.truth_m
    ego, ego_size_m = case.ego or (None, None)
    scored = Scored.of(
        prediction, who, truth, ego=ego, ego_size_m=ego_size_m, lane_map=case.window.lane_map
    )
    values = _arrays(per_agent(scored))
    if selected.are_equal_draws(prediction):
        many = case.predict(predictor, samples * selected.OVERSAMPLING, seed)
        values |= selected.scores(many, who, truth, samples)
    else:
        values |= selected.undefined(len(truth), samples)
    actual = _arrays(recorded(scored))
    return _Part(
        rows=_rows(case),
        values=values,
        recorded=actual,
        errors_m=_errors(scored),
        coverage=_coverage(scored),
        tube_coverage=_of_tubes(scored, tube_coverage),
        tube_area_m2=_of_tubes(scored, tube_areas),
    )


def _arrays(values: Mapping[str, torch.Tensor]) -> dict[str, NDArray[np.float64]]:
    return {name: value.double().numpy() for name, value in values.items()}


def _rows(case: Case) -> Rows:
    window, tracks = case.window, case.scene.tracks
    here = window.positions_m[window.scored, window.history_steps - 1]
    travelled = np.hypot(*(case.truth_m[:, -1] - here).T)
    count = len(travelled)
    return Rows(
        scene_ids=np.full(count, window.scene_id),
        agent_ids=window.agent_ids[window.scored],
        categories=tracks.categories[case.scene.present(window.at)][window.scored],
        at=np.full(count, window.at),
        at_us=np.full(count, window.at_us),
        movers=travelled > MOVER_DISPLACEMENT_M,
    )


def _errors(scored: Scored) -> dict[str, NDArray[np.float32]]:
    """Displacement errors by step ``[N, T]``; see `EvaluationResult.errors_m`."""
    mean = sample_mean(scored.samples_m, scored.weights)
    errors = {
        "top1": displacement(scored.mode_m, scored.truth_m),
        "mean": displacement(mean, scored.truth_m),
        "best": displacement(scored.samples_m, scored.truth_m).amin(0),
    }
    return {name: error.float().numpy() for name, error in errors.items()}


def _coverage(scored: Scored) -> NDArray[np.float32]:
    levels = [coverage(scored.credibility, level, scored.weights) for level in CALIBRATION_LEVELS]
    return torch.stack(levels, dim=-1).float().numpy()


def _of_tubes(
    scored: Scored, function: Callable[[Tubes | None, torch.Tensor, float], torch.Tensor]
) -> NDArray[np.float32]:
    """A function of the tubes at each step and level ``[N, T, 4]``."""
    levels = [function(scored.tubes, scored.truth_m, level) for level in TUBE_LEVELS]
    return torch.stack(levels, dim=-1).float().numpy()


def _joined_rows(parts: list[_Part]) -> Rows:
    columns = (column.name for column in fields(Rows))
    return Rows(
        **{name: np.concatenate([getattr(p.rows, name) for p in parts]) for name in columns}
    )


def _joined(parts: list[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _setting(
    store: SceneStore,
    split: str,
    scenes: tuple[str, ...],
    spec: WindowSpec,
    samples: int,
    seed: int,
) -> Setting:
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


def _nobody(store: SceneStore, split: str, spec: WindowSpec, dropped: Mapping[str, int]) -> str:
    """Says why there is nothing to score."""
    if dropped.get("future_incomplete"):
        seconds = spec.horizon_steps * store.dt_s
        return (
            f"{store.path}: split '{split}': no pedestrian is seen for all of the {seconds:g} s "
            "that follow an origin; choose a shorter horizon or another split"
        )
    return (
        f"{store.path}: split '{split}': no pedestrian is seen for "
        f"{spec.min_history_steps} consecutive steps; choose another split"
    )
