"""Scores predictors on all windows of a scene. Scenes are independent of each other."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.datasets.windows import WindowSpec, prediction_times
from forecast.errors import ForecastError
from forecast.evaluation.scoring import modes, stability
from forecast.evaluation.scoring.ground_truth import ground_truth_values, true_future
from forecast.evaluation.scoring.rows import Rows, joined, joined_rows
from forecast.evaluation.scoring.sample import EvaluationSample
from forecast.evaluation.scoring.situation import Situation
from forecast.evaluation.scoring.subject import Subject
from forecast.models.baselines import NamedPredictor
from forecast.models.metrics.displacement import displacement, sample_mean
from forecast.models.metrics.distribution import coverage, spread
from forecast.models.metrics.registry import METRICS, per_agent
from forecast.models.metrics.scored import Scored
from forecast.models.metrics.tubes import tube_areas, tube_coverage
from forecast.scene import Prediction, Scene, Tubes

CALIBRATION_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Nominal levels of the regions whose coverage is kept for every step."""

TUBE_LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Levels of the calibrated tubes whose coverage and area are kept for every step."""

JOINT_METRICS = tuple(
    name for name in METRICS if name.startswith("joint_") or name == "collision_rate_pedestrians"
)
"""Metrics that are not defined for pedestrians predicted one by one."""

Sink = Callable[[EvaluationSample, Prediction], None]
"""Receives every window with its prediction, to write or to keep."""

OwnMetrics = Mapping[str, Callable[[Scored], torch.Tensor]]
"""Metrics of one's own by name: values per scored agent ``[N]``."""


@dataclass(frozen=True, eq=False)
class Timing:
    """What predicting cost on the machine of the evaluation; it differs from run to run.

    Attributes:
        seconds: Wall-clock time of each prediction ``[W]``.
        agents: Agents predicted in it ``[W]``.
        peak_memory_mb: Largest memory of any process of the evaluation, NaN where unknown.
        threads: Threads that a prediction could use.
    """

    seconds: NDArray[np.float64]
    agents: NDArray[np.int64]
    peak_memory_mb: float
    threads: int

    @classmethod
    def joined(cls, parts: list[Timing]) -> Timing:
        """The costs of several sets of predictions."""
        return cls(
            np.concatenate([part.seconds for part in parts]),
            np.concatenate([part.agents for part in parts]),
            max(part.peak_memory_mb for part in parts),
            max(part.threads for part in parts),
        )


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one predictor on some rows, named as in `EvaluationResult`."""

    values: Mapping[str, NDArray[np.float64]]
    errors_m: Mapping[str, NDArray[np.float32]]
    coverage: NDArray[np.float32]
    spread_m: NDArray[np.float32]
    tube_coverage: NDArray[np.float32]
    tube_area_m2: NDArray[np.float32]
    fallback: NDArray[np.bool_]
    timing: Timing


@dataclass(frozen=True, eq=False)
class SceneScores:
    """The scores of one scene.

    Attributes:
        scene_id: The scene.
        rows: The scored pedestrians; None if there are none.
        ground_truth: Values of the recorded ground truth, by metric.
        scores: Scores by predictor; empty if nobody was scored.
        dropped: Pedestrian steps that are not scored, by reason.
    """

    scene_id: str
    rows: Rows | None
    ground_truth: Mapping[str, NDArray[np.float64]]
    scores: Mapping[str, Scores]
    dropped: Mapping[str, int]


def score_scene(
    predictors: Mapping[str, NamedPredictor],
    scene: Scene,
    spec: WindowSpec,
    samples: int,
    seed: int,
    sink: Sink | None = None,
    own_metrics: OwnMetrics = MappingProxyType({}),
) -> SceneScores:
    """Scores predictors on every window of a scene, in one pass.

    Args:
        predictors: By the name they are listed under.
        scene: The scene.
        spec: Window lengths and scoring rule.
        samples: Number of futures that the predictors are asked for.
        seed: Seed of everything random.
        sink: Called with every window and the first predictor's prediction.
        own_metrics: Metrics beside those of the registry, by name.

    Raises:
        ForecastError: A prediction does not fit its window, or a metric of one's own fails.
    """
    if samples < 1:
        raise ForecastError(f"samples is {samples}; at least 1 is needed")
    found = prediction_times(scene, spec)
    items = [EvaluationSample.at(scene, int(at), spec, found.scored[:, at]) for at in found.steps]
    if not items:
        return SceneScores(scene.id, None, {}, {}, found.dropped)
    scores = {}
    for order, (name, predictor) in enumerate(predictors.items()):
        subject = Subject.of(predictor)
        kept = None if order else sink
        scores[name] = _scores(items, subject, samples, seed, kept, own_metrics)
    return SceneScores(
        scene_id=scene.id,
        rows=joined_rows([Rows.of(item) for item in items]),
        ground_truth=joined([_arrays(ground_truth_values(true_future(item))) for item in items]),
        scores=scores,
        dropped=found.dropped,
    )


def _scores(
    items: list[EvaluationSample],
    subject: Subject,
    samples: int,
    seed: int,
    sink: Sink | None,
    own_metrics: OwnMetrics,
) -> Scores:
    parts: list[Scores] = []
    before: dict[str, tuple[EvaluationSample, Prediction]] = {}
    _warm_up(items, subject, samples, seed)
    for item, agent_subject, agent in _prediction_tasks(items, subject):
        start = time.perf_counter()
        prediction = item.predict(agent_subject, samples, seed)
        seconds = time.perf_counter() - start
        if sink is not None:
            sink(item, prediction)
        scored = scored_of(item, prediction)
        values = (
            _arrays(per_agent(scored))
            | _arrays({name: function(scored) for name, function in own_metrics.items()})
            | modes.mode_scores(prediction, item.window.scored, item.truth_m)
            | stability.flicker_scores(before.get(agent), item, prediction)
        )
        if not subject.is_joint:
            values |= {name: np.full(1, np.nan) for name in JOINT_METRICS}
        fallback = _fallback(item, prediction)
        parts.append(_part(scored, values, fallback, seconds, len(prediction.valid)))
        before[agent] = (item, prediction)
    return joined_scores(parts)


def _fallback(item: EvaluationSample, prediction: Prediction) -> NDArray[np.bool_]:
    """See `EvaluationResult.fallback`."""
    scored = item.window.scored
    known = prediction.fallback
    return np.zeros(int(scored.sum()), bool) if known is None else known[scored]


def _part(
    scored: Scored,
    values: Mapping[str, NDArray[np.float64]],
    fallback: NDArray[np.bool_],
    seconds: float,
    agents: int,
) -> Scores:
    """The scores of one prediction."""
    return Scores(
        values=values,
        errors_m=_errors(scored),
        coverage=_coverage(scored),
        spread_m=spread(scored.samples_m, scored.weights).float().numpy(),
        tube_coverage=_of_tubes(scored, tube_coverage),
        tube_area_m2=_of_tubes(scored, tube_areas),
        fallback=fallback,
        timing=Timing(
            np.array([seconds]), np.array([agents]), peak_memory_mb(), torch.get_num_threads()
        ),
    )


def _warm_up(items: list[EvaluationSample], subject: Subject, samples: int, seed: int) -> None:
    """Predicts the first window once untimed, so that no time includes compiling or loading."""
    item, agent_subject, _ = next(_prediction_tasks(items, subject))
    item.predict(agent_subject, samples, seed)


def _prediction_tasks(
    items: list[EvaluationSample], subject: Subject
) -> Iterator[tuple[EvaluationSample, Subject, str]]:
    """What is predicted, and by which subject: window by window, or one pedestrian at a time.

    The last item names the pedestrian where each has sample weights of its own, else "".
    """
    if subject.is_joint:
        yield from ((item, subject, "") for item in items)
        return
    for item in items:
        for single in item.one_per_pedestrian():
            agent = str(single.window.agent_ids[single.window.scored][0])
            yield single, subject.alone(agent), agent


def scored_of(item: EvaluationSample, prediction: Prediction) -> Scored:
    """A prediction beside the true futures of the scored pedestrians."""
    ego, ego_size_m = item.ego or (None, None)
    return Scored.of(
        prediction,
        item.window.scored,
        item.truth_m,
        ego=ego,
        ego_size_m=ego_size_m,
        lane_map=item.window.lane_map,
        headings_rad=item.headings_rad,
        speed_mps=Situation(item).speed_mps,
    )


def _arrays(values: Mapping[str, torch.Tensor]) -> dict[str, NDArray[np.float64]]:
    return {name: value.double().numpy() for name, value in values.items()}


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
    """The largest memory this process has held so far."""
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
        fallback=np.concatenate([part.fallback for part in parts]),
        timing=Timing.joined([part.timing for part in parts]),
    )
