"""Scores predictors on the windows of a scene; scenes are independent of each other."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.datasets.windows import WindowSpec, origins
from forecast.errors import ForecastError
from forecast.evaluation.prediction_file.predictor import FiledPredictor
from forecast.evaluation.result import (
    CALIBRATION_LEVELS,
    MOVER_DISPLACEMENT_M,
    TUBE_LEVELS,
    Rows,
    Timing,
)
from forecast.evaluation.scoring import selected, stability
from forecast.evaluation.scoring.ground_truth import recorded
from forecast.evaluation.scoring.sample import Case
from forecast.evaluation.scoring.situation import Surroundings
from forecast.evaluation.scoring.slices import label
from forecast.models.baselines import NamedPredictor
from forecast.models.metrics.criticality import planner_weight
from forecast.models.metrics.displacement import displacement, sample_mean
from forecast.models.metrics.distribution import coverage, spread
from forecast.models.metrics.registry import METRICS, per_agent
from forecast.models.metrics.scored import Scored
from forecast.models.metrics.tubes import tube_areas, tube_coverage
from forecast.scene import Prediction, Scene, Tubes

Array = TypeVar("Array", bound=NDArray[Any])

Sink = Callable[[Case, Prediction], None]
"""Takes every window with its prediction, to write or to keep."""


JOINT_METRICS = tuple(
    name for name in METRICS if name.startswith("joint_") or name == "collision_rate_pedestrians"
)
"""What cannot be said of pedestrians that are predicted one by one."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one predictor on some rows, named as in `EvaluationResult`."""

    values: Mapping[str, NDArray[np.float64]]
    errors_m: Mapping[str, NDArray[np.float32]]
    coverage: NDArray[np.float32]
    spread_m: NDArray[np.float32]
    tube_coverage: NDArray[np.float32]
    tube_area_m2: NDArray[np.float32]
    timing: Timing


@dataclass(frozen=True, eq=False)
class SceneScores:
    """What there is to know of one scene.

    Attributes:
        scene_id: The scene.
        rows: Who was scored; None if nobody was.
        recorded: Values of the recorded world.
        scores: Scores by predictor; empty if nobody was scored.
        dropped: Pedestrian steps that are not scored, by reason.
    """

    scene_id: str
    rows: Rows | None
    recorded: Mapping[str, NDArray[np.float64]]
    scores: Mapping[str, Scores]
    dropped: Mapping[str, int]


def score_scene(
    predictors: Mapping[str, NamedPredictor],
    scene: Scene,
    spec: WindowSpec,
    samples: int,
    seed: int,
    sink: Sink | None = None,
) -> SceneScores:
    """Scores predictors on every window of a scene, in one pass.

    Args:
        predictors: By the name they are listed under.
        scene: The scene.
        spec: Window lengths and scoring rule.
        samples: Futures asked of the predictors.
        seed: Seed of everything random.
        sink: Called with every window and the first predictor's prediction.

    Raises:
        ForecastError: A prediction does not fit its window.
    """
    if samples < 1:
        raise ForecastError(f"samples is {samples}; at least 1 is needed")
    found = origins(scene, spec)
    cases = [Case.at(scene, int(at), spec, found.scored[:, at]) for at in found.steps]
    if not cases:
        return SceneScores(scene.id, None, {}, {}, found.dropped)
    scores = {}
    for order, (name, predictor) in enumerate(predictors.items()):
        scores[name] = _scores(cases, predictor, samples, seed, None if order else sink)
    return SceneScores(
        scene_id=scene.id,
        rows=joined_rows([_rows(case) for case in cases]),
        recorded=joined([_arrays(recorded(_truth_alone(case))) for case in cases]),
        scores=scores,
        dropped=found.dropped,
    )


def _scores(
    cases: list[Case], predictor: NamedPredictor, samples: int, seed: int, sink: Sink | None
) -> Scores:
    parts: list[Scores] = []
    before: dict[str, tuple[Case, Prediction]] = {}
    _warm_up(cases, predictor, samples, seed)
    for case, asked, agent in _questions(cases, predictor):
        rising = case.predict_rising(asked, [samples, samples * selected.OVERSAMPLING], seed)
        start = time.perf_counter()
        prediction = next(rising)
        seconds = time.perf_counter() - start
        if sink is not None:
            sink(case, prediction)
        scored = scored_of(case, prediction)
        values = (
            _arrays(per_agent(scored))
            | _selected(case, prediction, rising, samples)
            | stability.flicker(before.get(agent), case, prediction)
        )
        if agent:
            values |= {name: np.full(1, np.nan) for name in JOINT_METRICS}
        parts.append(
            Scores(
                values=values,
                errors_m=_errors(scored),
                coverage=_coverage(scored),
                spread_m=spread(scored.samples_m, scored.weights).float().numpy(),
                tube_coverage=_of_tubes(scored, tube_coverage),
                tube_area_m2=_of_tubes(scored, tube_areas),
                timing=Timing(
                    np.array([seconds]),
                    np.array([len(prediction.valid)]),
                    peak_memory_mb(),
                    torch.get_num_threads(),
                ),
            )
        )
        before[agent] = (case, prediction)
    return joined_scores(parts)


def _warm_up(cases: list[Case], predictor: NamedPredictor, samples: int, seed: int) -> None:
    """Asks the first question once untimed, so that no time is that of compiling or loading."""
    case, asked, _ = next(_questions(cases, predictor))
    case.predict(asked, samples, seed)


def _questions(
    cases: list[Case], predictor: NamedPredictor
) -> Iterator[tuple[Case, NamedPredictor, str]]:
    """What is asked of whom: window by window, or one pedestrian at a time.

    The last item names the pedestrian where a file has weights for each, "" otherwise.
    """
    if not (isinstance(predictor, FiledPredictor) and predictor.is_marginal):
        yield from ((case, predictor, "") for case in cases)
        return
    for case in cases:
        for lone in case.alone():
            agent = str(lone.window.agent_ids[lone.window.scored][0])
            yield lone, predictor.alone(agent), agent


def _selected(
    case: Case, prediction: Prediction, further: Iterator[Prediction], samples: int
) -> dict[str, NDArray[np.float64]]:
    """Scores of futures selected from the next prediction, which has more samples."""
    if not selected.are_equal_draws(prediction):
        return selected.undefined(len(case.truth_m), samples)
    many = next(further)
    if many.samples != samples * selected.OVERSAMPLING:  # a file has no more to give
        return selected.undefined(len(case.truth_m), samples)
    return selected.scores(many, case.window.scored, case.truth_m, samples)


def scored_of(case: Case, prediction: Prediction) -> Scored:
    """A prediction beside what happened to the scored pedestrians."""
    ego, ego_size_m = case.ego or (None, None)
    return Scored.of(
        prediction,
        case.window.scored,
        case.truth_m,
        ego=ego,
        ego_size_m=ego_size_m,
        lane_map=case.window.lane_map,
        headings_rad=case.headings_rad,
        speed_mps=Surroundings(case).speed_mps,
    )


def _truth_alone(case: Case) -> Scored:
    """The recorded world as if it were predicted."""
    truth = torch.as_tensor(case.truth_m, dtype=torch.float64)
    ego, ego_size_m = case.ego or (None, None)
    return Scored(
        samples_m=truth[None],
        weights=torch.ones(1, dtype=torch.float64),
        mode_m=truth,
        truth_m=truth,
        dt_s=case.window.dt_s,
        ego=None if ego is None else torch.as_tensor(ego, dtype=torch.float64),
        ego_size_m=ego_size_m,
        lane_map=case.window.lane_map,
    )


def _arrays(values: Mapping[str, torch.Tensor]) -> dict[str, NDArray[np.float64]]:
    return {name: value.double().numpy() for name, value in values.items()}


def _rows(case: Case) -> Rows:
    window, scene = case.window, case.scene
    surroundings = Surroundings(case)
    count = len(surroundings)
    return Rows(
        scene_ids=np.full(count, window.scene_id),
        agent_ids=window.agent_ids[window.scored],
        categories=scene.tracks.categories[surroundings.agents],
        at=np.full(count, window.at),
        at_us=np.full(count, window.at_us),
        frame_ids=np.full(count, scene.frame_ids[window.at]),
        movers=surroundings.travelled_m > MOVER_DISPLACEMENT_M,
        labels=label(surroundings),
        quantities=_quantities(surroundings),
    )


def _quantities(surroundings: Surroundings) -> dict[str, NDArray[np.float64]]:
    """Numbers that describe the situation of each row; see `result.QUANTITIES`."""
    scored = _truth_alone(surroundings.case)
    weight = torch.full_like(scored.truth_m[:, 0, 0], torch.nan)
    if scored.ego is not None and scored.ego_size_m is not None:
        weight = planner_weight(scored.truth_m, scored.ego, scored.ego_size_m, scored.dt_s)
    return {
        "speed_mps": surroundings.speed_mps,
        "travelled_m": surroundings.travelled_m,
        "observed_steps": surroundings.past_steps.astype(np.float64),
        "ego_distance_m": surroundings.ego_distance_m,
        "time_to_collision_s": surroundings.time_to_collision_s,
        "encroachment_s": scored.true_encroachment_s.numpy(),
        "planner_weight": weight.numpy(),
    }


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


def peak_memory_mb() -> float:
    """The most memory this process has held so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1024**2 if sys.platform == "darwin" else most / 1024


def joined_scores(parts: list[Scores]) -> Scores:
    """Scores of several sets of rows, one after the other."""
    return Scores(
        values=joined([part.values for part in parts]),
        errors_m=joined([part.errors_m for part in parts]),
        coverage=np.concatenate([part.coverage for part in parts]),
        spread_m=np.concatenate([part.spread_m for part in parts]),
        tube_coverage=np.concatenate([part.tube_coverage for part in parts]),
        tube_area_m2=np.concatenate([part.tube_area_m2 for part in parts]),
        timing=Timing(
            np.concatenate([part.timing.seconds for part in parts]),
            np.concatenate([part.timing.agents for part in parts]),
            max(part.timing.peak_memory_mb for part in parts),
            max(part.timing.threads for part in parts),
        ),
    )


def joined_rows(parts: list[Rows]) -> Rows:
    """Several sets of rows, one after the other."""
    columns: dict[str, Any] = {}
    for column in fields(Rows):
        values = [getattr(part, column.name) for part in parts]
        several = isinstance(values[0], Mapping)
        columns[column.name] = joined(values) if several else np.concatenate(values)
    return Rows(**columns)


def joined(parts: list[Mapping[str, Array]]) -> dict[str, Array]:
    """Columns of several sets of rows, one set after the other, by name."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
