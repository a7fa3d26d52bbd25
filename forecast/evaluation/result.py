"""`EvaluationResult`: the scores of a predictor and of the baselines, with everything reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.windows import Window
from forecast.evaluation.audit.guarantees import Finding
from forecast.evaluation.run.environment import Environment
from forecast.evaluation.run.own_code import OwnCode
from forecast.evaluation.run.own_metrics import OwnMetric
from forecast.evaluation.scoring.rows import Rows
from forecast.evaluation.scoring.scores import Timing
from forecast.evaluation.scoring.statistics import Estimate, scene_means, with_exact_ends
from forecast.evaluation.verdict.acceptance import Outcome
from forecast.models.metrics.registry import METRICS, MetricSpec, is_rate
from forecast.scene import Prediction


@dataclass(frozen=True)
class Setting:
    """What was evaluated on what; equal settings make results comparable.

    Attributes:
        source: Short name of the dataset.
        fingerprint: Hash of the store's content.
        protocol: Name of the protocol; a key of `forecast.datasets.windows.PROTOCOLS`.
        off_protocol: Whether the windows are not those of the protocol, which makes the scores
            incomparable to others of that name.
        split: The scored split, as it was named by the user.
        scenes: Names of the scored scenes.
        dt_s: Step length.
        history_s: Time from the first observed step to the current one.
        horizon_s: Time from the current step to the last predicted one.
        samples: Number of futures that the predictor was asked for.
        seed: Seed that the seeds of all windows are derived from.
    """

    source: str
    fingerprint: str
    protocol: str
    off_protocol: bool
    split: str
    scenes: tuple[str, ...]
    dt_s: float
    history_s: float
    horizon_s: float
    samples: int
    seed: int

    @property
    def protocol_label(self) -> str:
        """The protocol's name, marked where the windows are not its own."""
        return f"{self.protocol} (off-protocol)" if self.off_protocol else self.protocol


class Mean(NamedTuple):
    """A mean and the number of values behind it; NaN and 0 where the metric is not defined."""

    value: float
    n: int


@dataclass(frozen=True, eq=False)
class Picture:
    """One pedestrian's window with its prediction, to be drawn.

    Attributes:
        why: Why it is shown.
        row: Index of the pedestrian in `EvaluationResult.rows`.
        agent: Index of the pedestrian in the window and in the prediction.
        window: The observed history and the true future.
        prediction: The prediction.
    """

    why: str
    row: int
    agent: int
    window: Window
    prediction: Prediction


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Scores of one predictor, and of the baselines on the same windows.

    Attributes:
        predictor: Its name; a baseline of this name is the same predictor.
        setting: What was evaluated on what.
        rows: The scored pedestrians.
        values: Each metric's value in each row ``[N]``; NaN where it is not defined.
        definitions: One line on each metric.
        ground_truth: Values ``[N]`` of the recorded ground truth, for the metrics whose target
            it is; see `forecast.evaluation.scoring.ground_truth`.
        errors_m: Displacement error at each step ``[N, T]`` of ``top1``, ``mean`` and ``best``
            (the nearest of all samples at that step).
        coverage: Share of the truth inside the predicted region at each step and each of
            `CALIBRATION_LEVELS` ``[N, T, Q]``; NaN where the samples state no region.
        spread_m: Root mean square distance of the samples from their mean at each step
            ``[N, T]``; NaN for a single sample.
        tube_coverage: Whether the truth is inside the calibrated tube at each step and each of
            `TUBE_LEVELS` ``[N, T, 4]``; NaN without tubes.
        tube_area_m2: Areas of these tubes ``[N, T, 4]``.
        fallback: Whether the futures of a row ``[N]`` are constant velocity instead of the
            predictor's own; see `Prediction.fallback`. False where the predictor does not say.
        timing: Latency and memory of the predictions.
        dropped: Pedestrian steps that are seen but not scored, by reason.
        prepared: Records of the scored scenes that were dropped or mended when they were prepared,
            by reason.
        failed: Scenes of the split that could not be scored, with the reason; they are not among
            ``setting.scenes``.
        baselines: Results of the baselines by name.
        left_out: Baselines that could not be evaluated, and why.
        pictures: Windows to show in the report.
        slices: Slicings to show in full, with the combinations of their labels.
        command: The command that makes this result again, where there is one.
        model: What the predictor was made from, where it says so; see
            `forecast.evaluation.scoring.subject.Traceable`.
        scenes_learnt_from: The scored scenes that the predictor was trained on.
        predictions_file: Counts of a file of predictions; see `PredictionFilePredictor.counts`.
            Empty for other predictors.
        predictions_sha256: Hash of that file; "" for other predictors.
        own_metrics: The metrics that are not the package's, by name.
        own_predictor: The file of a predictor that is not the package's, else None.
        environment: The software and the data it ran on, where known.
        findings: Which guarantees the audit found to hold.
        outcomes: Pass or fail of each acceptance criterion.
        acceptance: File of the criteria; "": the package's example.
        acceptance_sha256: Hash of that file.
        minimum_rows: With fewer rows a criterion is not decided.
        minimum_scenes: With fewer scenes a criterion is not decided.
    """

    predictor: str
    setting: Setting
    rows: Rows
    values: Mapping[str, NDArray[np.float64]]
    definitions: Mapping[str, str]
    ground_truth: Mapping[str, NDArray[np.float64]]
    errors_m: Mapping[str, NDArray[np.float32]]
    coverage: NDArray[np.float32]
    spread_m: NDArray[np.float32]
    tube_coverage: NDArray[np.float32]
    tube_area_m2: NDArray[np.float32]
    fallback: NDArray[np.bool_]
    timing: Timing
    dropped: Mapping[str, int]
    prepared: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    failed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    baselines: Mapping[str, EvaluationResult] = field(default_factory=lambda: MappingProxyType({}))
    left_out: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    pictures: tuple[Picture, ...] = ()
    slices: tuple[str, ...] = ()
    command: str = ""
    model: Mapping[str, Any] | None = None
    scenes_learnt_from: tuple[str, ...] = ()
    predictions_file: Mapping[str, int] = field(default_factory=dict)
    predictions_sha256: str = ""
    own_metrics: Mapping[str, OwnMetric] = field(default_factory=lambda: MappingProxyType({}))
    own_predictor: OwnCode | None = None
    environment: Environment | None = None
    findings: tuple[Finding, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    acceptance: str = ""
    acceptance_sha256: str = ""
    minimum_rows: int = 0
    minimum_scenes: int = 0

    @property
    def specs(self) -> Mapping[str, MetricSpec]:
        """What the metrics are, those of one's own too; without those of modes and flicker."""
        return {**METRICS, **{name: own.spec for name, own in self.own_metrics.items()}}

    def estimates(
        self, subset: NDArray[Any] | None = None, names: Iterable[str] | None = None
    ) -> dict[str, Estimate]:
        """`means` with 95 % intervals from a bootstrap over scenes.

        Args:
            subset: Indices or mask of the rows that count; default: all of them.
            names: The metrics; default: all of them.
        """
        columns = {name: self.values[name] for name in (self.values if names is None else names)}
        found = scene_means(columns, self.rows.scene_ids, subset)
        return {
            name: with_exact_ends(each) if is_rate(name) else each for name, each in found.items()
        }

    def differences(
        self, other: EvaluationResult, subset: NDArray[Any] | None = None
    ) -> dict[str, Estimate]:
        """Means of this predictor's values minus another's on the same rows, paired row by row."""
        pairs = {name: values - other.values[name] for name, values in self.values.items()}
        return scene_means(pairs, self.rows.scene_ids, subset)

    def means(self, subset: NDArray[Any] | None = None) -> dict[str, Mean]:
        """The mean of every metric over the rows in which it is defined.

        Args:
            subset: Indices or mask of the rows that count; default: all of them.
        """
        return _means(self.values, subset)

    def ground_truth_means(self, subset: NDArray[Any] | None = None) -> dict[str, Mean]:
        """The ground truth's means of the metrics in `ground_truth`; see `means`."""
        return _means(self.ground_truth, subset)

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Seconds from the prediction time to each predicted step ``[T]``."""
        return self.setting.dt_s * np.arange(1, self.coverage.shape[1] + 1)

    @property
    def table(self) -> dict[str, EvaluationResult]:
        """The predictor and, after it, the baselines, by name."""
        others = {name: each for name, each in self.baselines.items() if name != self.predictor}
        return {self.predictor: self, **others}


def _means(
    metrics: Mapping[str, NDArray[np.float64]], subset: NDArray[Any] | None
) -> dict[str, Mean]:
    return {
        name: mean(values if subset is None else values[subset]) for name, values in metrics.items()
    }


def mean(values: NDArray[Any]) -> Mean:
    """Mean of the values that are not NaN."""
    known = values[~np.isnan(values)]
    return Mean(float(known.mean()) if len(known) else float("nan"), len(known))
