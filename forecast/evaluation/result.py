"""What an evaluation found: one row for every pedestrian scored at every origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.windows import Window
from forecast.evaluation.audit.guarantees import Finding
from forecast.evaluation.run.environment import Environment
from forecast.evaluation.scoring.statistics import Estimate, scene_means
from forecast.evaluation.verdict.acceptance import Outcome
from forecast.scene import Prediction

CALIBRATION_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Nominal levels of the regions whose coverage is kept for every step."""

TUBE_LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Levels of the calibrated tubes whose coverage and area are kept for every step."""

MOVER_DISPLACEMENT_M = 1.0
"""Who is displaced by more than this over the horizon is a mover."""


QUANTITIES = {
    "speed_mps": "speed of the last observed step",
    "travelled_m": "displacement over the horizon",
    "observed_steps": "consecutive observed steps up to the origin",
    "ego_distance_m": "distance of the ego's centre at the origin",
    "time_to_collision_s": "time to collision with the ego if both kept their velocity; inf: never",
    "encroachment_s": "least time between pedestrian and ego being at the same place of their real "
    "paths; inf: never",
    "planner_weight": "how much the ego's best plan costs more or less if the pedestrian's future "
    "is shifted by 1 m",
}
"""The numbers that describe the situation of a row."""


@dataclass(frozen=True)
class Setting:
    """What was evaluated on what; equal settings make results comparable.

    Attributes:
        source: Short name of the dataset.
        fingerprint: Hash of the store's content.
        protocol: Name of the protocol; a key of `forecast.datasets.windows.PROTOCOLS`.
        off_protocol: Whether the windows are not those of the protocol, which makes the scores
            incomparable to others of its name.
        split: What was scored, as it was asked for.
        scenes: Names of the scored scenes.
        dt_s: Step length.
        history_s: Time from the first observed step to the current one.
        horizon_s: Time from the current step to the last predicted one.
        samples: Futures asked of the predictor.
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


@dataclass(frozen=True, eq=False)
class Rows:
    """Who was scored, where and when; all ``[N]``.

    Attributes:
        scene_ids: Scene.
        agent_ids: Pedestrian.
        categories: The dataset's own category of the pedestrian.
        at: Index of the origin's step in the scene.
        at_us: Time of the origin.
        frame_ids: The dataset's own name of the origin's step (nuScenes: sample token).
        movers: Whether the pedestrian's displacement over the horizon exceeds
            `MOVER_DISPLACEMENT_M`.
        labels: Slice of each row, by the name of the slicing; see
            `forecast.evaluation.scoring.slices`.
        quantities: Numbers that describe the row's situation, by name, NaN where unknown; see
            `QUANTITIES`.
    """

    scene_ids: NDArray[np.str_]
    agent_ids: NDArray[np.str_]
    categories: NDArray[np.str_]
    at: NDArray[np.int64]
    at_us: NDArray[np.int64]
    frame_ids: NDArray[np.str_]
    movers: NDArray[np.bool_]
    labels: Mapping[str, NDArray[np.str_]]
    quantities: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        """Number of rows N."""
        return len(self.at)


class Mean(NamedTuple):
    """A mean and the number of values behind it; NaN and 0 where the metric is not defined."""

    value: float
    n: int


@dataclass(frozen=True, eq=False)
class Picture:
    """One pedestrian's window with what was predicted in it, to be drawn.

    Attributes:
        why: Why it is shown.
        row: Index of the pedestrian in `EvaluationResult.rows`.
        agent: Index of the pedestrian in the window and in the prediction.
        window: What was seen and what then happened.
        prediction: What was predicted.
    """

    why: str
    row: int
    agent: int
    window: Window
    prediction: Prediction


@dataclass(frozen=True, eq=False)
class Timing:
    """What predicting cost on the machine of the evaluation; no two runs measure the same.

    Attributes:
        seconds: Wall-clock time of each prediction ``[W]``.
        agents: Agents predicted in it ``[W]``.
        peak_memory_mb: Most memory any process of the evaluation held, NaN where unknown.
        threads: Threads that a prediction could use.
    """

    seconds: NDArray[np.float64]
    agents: NDArray[np.int64]
    peak_memory_mb: float
    threads: int


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Scores of one predictor, and of the floors on the same windows.

    Attributes:
        predictor: Its name; a floor of this name is this very predictor.
        setting: What was evaluated on what.
        rows: Who was scored.
        values: Each metric's value in each row ``[N]``; NaN where it is not defined.
        definitions: One line on each metric.
        recorded: Values ``[N]`` of the recorded world for the metrics whose value it sets; see
            `forecast.evaluation.scoring.ground_truth`.
        errors_m: Displacement error at each step ``[N, T]`` of ``top1``, ``mean`` and ``best``
            (the nearest of all samples at that step).
        coverage: Share of the truth inside the predicted region at each step and each of
            `CALIBRATION_LEVELS` ``[N, T, Q]``; NaN where the samples have no density.
        spread_m: Root mean square distance of the samples from their mean at each step
            ``[N, T]``; NaN for a single sample.
        tube_coverage: Whether the truth is inside the calibrated tube at each step and each of
            `TUBE_LEVELS` ``[N, T, 4]``; NaN where there is none.
        tube_area_m2: Areas of these tubes ``[N, T, 4]``.
        timing: What the predictions cost.
        dropped: Pedestrian steps that are seen but not scored, by reason.
        failed: Scenes that were asked for and could not be scored, with the reason; they are not
            among ``setting.scenes``.
        floors: Results of the floors by name.
        left_out: Floors that could not be evaluated, and why.
        pictures: Windows to look at.
        command: The command that makes this result again, where there is one.
        model: What the predictor was made from, where it says so; see
            `forecast.evaluation.run.provenance.Traceable`.
        scenes_learnt_from: The scored scenes that the predictor has learnt from.
        environment: The software and the data it ran on, where that was recorded.
        findings: Which guarantees the predictor gives, as far as they were audited.
        outcomes: How the predictor stands to the acceptance criteria.
        acceptance: Where those criteria are from; "": the package's example.
        acceptance_sha256: Hash of the file they are from.
        minimum_rows: Rows below which a criterion is not decided.
        minimum_scenes: Scenes below which a criterion is not decided.
    """

    predictor: str
    setting: Setting
    rows: Rows
    values: Mapping[str, NDArray[np.float64]]
    definitions: Mapping[str, str]
    recorded: Mapping[str, NDArray[np.float64]]
    errors_m: Mapping[str, NDArray[np.float32]]
    coverage: NDArray[np.float32]
    spread_m: NDArray[np.float32]
    tube_coverage: NDArray[np.float32]
    tube_area_m2: NDArray[np.float32]
    timing: Timing
    dropped: Mapping[str, int]
    failed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    floors: Mapping[str, EvaluationResult] = field(default_factory=lambda: MappingProxyType({}))
    left_out: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    pictures: tuple[Picture, ...] = ()
    command: str = ""
    model: Mapping[str, Any] | None = None
    scenes_learnt_from: tuple[str, ...] = ()
    environment: Environment | None = None
    findings: tuple[Finding, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    acceptance: str = ""
    acceptance_sha256: str = ""
    minimum_rows: int = 0
    minimum_scenes: int = 0

    def estimates(self, subset: NDArray[Any] | None = None) -> dict[str, Estimate]:
        """`means` with 95 % intervals from a bootstrap over scenes."""
        return scene_means(self.values, self.rows.scene_ids, subset)

    def differences(
        self, other: EvaluationResult, subset: NDArray[Any] | None = None
    ) -> dict[str, Estimate]:
        """Means of this predictor's values less another's on the same rows, paired row by row."""
        pairs = {name: values - other.values[name] for name, values in self.values.items()}
        return scene_means(pairs, self.rows.scene_ids, subset)

    def means(self, subset: NDArray[Any] | None = None) -> dict[str, Mean]:
        """The mean of every metric over the rows in which it is defined.

        Args:
            subset: Indices or mask of the rows that count; default: all of them.
        """
        return _means(self.values, subset)

    def recorded_means(self, subset: NDArray[Any] | None = None) -> dict[str, Mean]:
        """The recorded world's means of the metrics in `recorded`; see `means`."""
        return _means(self.recorded, subset)

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Time of each predicted step after the origin ``[T]``."""
        return self.setting.dt_s * np.arange(1, self.coverage.shape[1] + 1)

    @property
    def table(self) -> dict[str, EvaluationResult]:
        """The predictor and, after it, the floors, by name."""
        others = {name: floor for name, floor in self.floors.items() if name != self.predictor}
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
