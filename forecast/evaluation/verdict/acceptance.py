"""Triggering conditions and acceptance criteria in the sense of ISO 21448, from a YAML file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.evaluation.output.numbers import counted
from forecast.evaluation.scoring.slices import SLICINGS
from forecast.evaluation.scoring.statistics import (
    MIN_SCENES,
    MOST_SCENES,
    Estimate,
    scene_means,
    scene_spread,
    scenes_for,
    scenes_without_event,
    with_exact_ends,
)
from forecast.models.metrics.registry import OF_EVERYBODY, is_rate

EXAMPLE = Path(__file__).with_name("acceptance.yaml")
"""The default criteria, for teams without their own."""

PASS, FAIL, NOT_DECIDED = "pass", "fail", "undecided"

EURO_NCAP = ("CPFA", "CPNA", "CPNCO", "CPLA", "CPTA")
"""Euro NCAP's pedestrian scenarios; tags that name the nearest analogue of a condition."""


@dataclass(frozen=True)
class Criterion:
    """One acceptance criterion: a limit on a metric in a situation.

    Attributes:
        id: Stable name.
        condition: The triggering condition in words.
        metric: The metric whose mean over the rows is compared with the limit.
        at_most: Upper limit; exactly one of the two limits is given.
        at_least: Lower limit.
        where: Labels that must all hold, by slicing.
        euro_ncap: Nearest Euro NCAP scenarios; tags only, their tests are not run.
        horizon_s: Horizon of the predictions that the limit is for; None: any.
    """

    id: str
    condition: str
    metric: str
    at_most: float | None = None
    at_least: float | None = None
    where: dict[str, str] = field(default_factory=dict)
    euro_ncap: list[str] = field(default_factory=list)
    horizon_s: float | None = None

    @property
    def demand(self) -> str:
        """Metric and limit, as text."""
        limit = f"at most {self.at_most:g}" if self.at_most is not None else ""
        return f"{self.metric} {limit or f'at least {self.at_least:g}'}"

    def margin(self, value: float) -> float:
        """How far a value is on the good side of the limit; below 0 it does not meet it."""
        if self.at_most is not None:
            return self.at_most - value
        return value - (self.at_least or 0.0)

    def is_for(self, horizon_s: float) -> bool:
        """Whether the limit is for predictions of a horizon."""
        return self.horizon_s is None or math.isclose(self.horizon_s, horizon_s, abs_tol=1e-6)


@dataclass(frozen=True)
class Missing:
    """What an undecided criterion still needs.

    Attributes:
        scenes: Scenes still needed; None where more than `MOST_SCENES` are.
        rows: Prediction times still needed.
        why: ``minimum``: the criteria demand them; ``interval``: the mean meets the limit, and with
            them its interval is expected to; ``undefined``: the metric has no value in any row;
            ``partly``: the predictor left it without a value in some rows, and their errors are
            unknown; ``horizon``: the limit is for predictions of another horizon.
        horizon_s: That horizon.
    """

    scenes: int | None
    rows: int
    why: str
    horizon_s: float | None = None

    @property
    def words(self) -> str:
        """What is needed, as text."""
        if self.why == "horizon":
            return f"predictions of {self.horizon_s:g} s"
        if self.why == "undefined":
            return "a predictor or data for which the metric is defined"
        if self.why == "partly":
            return f"values at the {counted(self.rows, 'prediction time')} that have none"
        if self.scenes is None:
            return f"more than {MOST_SCENES} scenes"
        times = f" with {counted(self.rows, 'prediction time')}" if self.rows else ""
        return f"{counted(self.scenes, 'more scene')}{times}"


@dataclass(frozen=True)
class DecisionRule:
    """The one rule by which criteria are decided, and its text.

    Attributes:
        minimum_rows: With fewer rows a criterion is not decided.
        minimum_scenes: With fewer scenes a criterion is not decided.
    """

    minimum_rows: int
    minimum_scenes: int

    METHOD = (
        "Scenes still needed are estimated from the present spread between scenes, as if the mean "
        "stayed as it is: until the half width of the interval, Student's t times that spread "
        "over the square root of the number of scenes, is within the limit. The interval of a rate "
        "that is 0 in every row of S scenes ends at 1 - 0.025^(1/S) (Clopper and Pearson); that of "
        "a rate that is 1 in every row begins at 0.025^(1/S)."
    )

    @property
    def scenes(self) -> int:
        """The scenes that a decision needs: what is demanded, at least those of an interval."""
        return max(self.minimum_scenes, MIN_SCENES)

    @property
    def words(self) -> str:
        """The rule as text."""
        short = [counted(self.minimum_rows, "prediction time")] if self.minimum_rows else []
        why = "" if self.scenes == self.minimum_scenes else ", which an interval needs"
        short.append(f"{counted(self.scenes, 'scene')}{why}")
        return (
            f"Undecided: fewer than {' or '.join(short)}; or the mean meets the limit but a part "
            "of its 95 % interval does not; or it would pass, but the predictor left the metric "
            "without a value somewhere; or the limit is for another horizon. Otherwise pass: the "
            "whole interval meets the limit; fail: the mean does not meet it, wherever its "
            "interval ends."
        )

    def decide(self, criterion: Criterion, found: Estimate) -> str:
        """`PASS`, `FAIL` or `NOT_DECIDED`."""
        ends = [criterion.margin(end) for end in (found.value, found.low, found.high)]
        enough = found.n >= self.minimum_rows and found.scenes >= self.scenes
        if not enough or np.isnan(ends).any():
            return NOT_DECIDED
        if ends[0] < 0:
            return FAIL
        return PASS if min(ends) >= 0 else NOT_DECIDED

    def missing(self, criterion: Criterion, found: Estimate, spread: float) -> Missing:
        """What an undecided criterion needs; see `METHOD`.

        Args:
            criterion: The criterion.
            found: The metric's mean.
            spread: Its spread between scenes; see `scene_spread`. NaN where it is not known.
        """
        rows = max(0, self.minimum_rows - found.n)
        per_scene = found.n / found.scenes if found.n else math.inf
        minimum = max(0, self.scenes - found.scenes, math.ceil(rows / per_scene))
        margin = criterion.margin(found.value)
        if math.isnan(spread) or not margin >= 0:
            return Missing(minimum, rows, "minimum")
        never = spread == 0 and found.value in (0, 1) and is_rate(criterion.metric)
        total = scenes_without_event(margin) if never else scenes_for(margin, spread)
        if total is None:
            return Missing(None, rows, "interval")
        more = max(total - found.scenes, 0 if minimum else 1)
        return (
            Missing(minimum, rows, "minimum") if minimum >= more else Missing(more, 0, "interval")
        )


@dataclass(frozen=True)
class Acceptance:
    """The criteria of a team.

    Attributes:
        criteria: The criteria.
        minimum_rows: With fewer rows a criterion is not decided.
        minimum_scenes: With fewer scenes a criterion is not decided.
        sha256: Hash of their file; "" without file.
    """

    criteria: list[Criterion]
    minimum_rows: int
    minimum_scenes: int
    sha256: str = ""

    @property
    def rule(self) -> DecisionRule:
        """How the criteria are decided."""
        return DecisionRule(self.minimum_rows, self.minimum_scenes)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one criterion.

    Attributes:
        criterion: The criterion.
        found: The metric's mean with its interval.
        verdict: `PASS`, `FAIL` or `NOT_DECIDED`.
        missing: What would decide it; None where it is decided.
    """

    criterion: Criterion
    found: Estimate
    verdict: str
    missing: Missing | None = None


def read_acceptance(path: Path, metrics: Collection[str]) -> Acceptance:
    """Reads criteria.

    Args:
        path: A YAML file; see the packaged ``acceptance.yaml``.
        metrics: Known metric names.

    Raises:
        ForecastError: The file cannot be read or holds something unknown.
    """
    try:
        content = path.read_bytes()
        acceptance = msgspec.yaml.decode(content, type=_Strict).plain()
    except OSError as error:
        raise ForecastError(f"{path}: {error.strerror}; give a file of criteria") from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        line = " ".join(str(error).split())
        raise ForecastError(f"{path}: {line}; see acceptance.yaml of the package") from None
    known = replace(acceptance, sha256=hashlib.sha256(content).hexdigest())
    return checked(known, str(path), metrics)


class _StrictCriterion(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    condition: str
    metric: str
    at_most: float | None = None
    at_least: float | None = None
    where: dict[str, str] = {}
    euro_ncap: list[str] = []
    horizon_s: float | None = None


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    criteria: list[_StrictCriterion]
    minimum_rows: int
    minimum_scenes: int
    horizon_s: float | None = None

    def plain(self) -> Acceptance:
        for each in self.criteria:
            if each.horizon_s is None:
                each.horizon_s = self.horizon_s
        criteria = [Criterion(**msgspec.structs.asdict(each)) for each in self.criteria]
        return Acceptance(criteria, self.minimum_rows, self.minimum_scenes)


def checked(acceptance: Acceptance, source: str, metrics: Collection[str]) -> Acceptance:
    """The criteria, if all are valid; else raises `ForecastError` that names the first invalid one.

    Args:
        acceptance: The criteria.
        source: Their file, for the message.
        metrics: Known metric names.
    """
    for name in ("minimum_rows", "minimum_scenes"):
        if getattr(acceptance, name) < 0:
            raise ForecastError(f"{source}: {name} is {getattr(acceptance, name)}; 0 or more")
    names = [criterion.id for criterion in acceptance.criteria]
    for criterion in acceptance.criteria:
        problem = _problem(criterion, metrics)
        if names.count(criterion.id) > 1:
            problem = "the id is there twice; give each criterion its own"
        if problem:
            raise ForecastError(f"{source}: criterion '{criterion.id}': {problem}")
    return acceptance


def _problem(criterion: Criterion, metrics: Collection[str]) -> str:
    """The error of a criterion; "" if it is valid."""
    if criterion.metric not in metrics:
        return f"metric '{criterion.metric}' is unknown; one of the report's metrics is needed"
    if (criterion.at_most is None) == (criterion.at_least is None):
        return "exactly one of at_most and at_least is needed"
    limit = criterion.at_least if criterion.at_most is None else criterion.at_most
    if limit is None or not math.isfinite(limit):
        return f"the limit is {limit}; a finite number is needed"
    if criterion.horizon_s is not None and not 0 < criterion.horizon_s < math.inf:
        return f"horizon_s is {criterion.horizon_s}; a number of seconds above 0 is needed"
    for name, label in criterion.where.items():
        if name not in SLICINGS:
            return f"slicing '{name}' is unknown; one of {', '.join(SLICINGS)} is needed"
        labels = SLICINGS[name].labels
        if label not in labels and not SLICINGS[name].more:
            return f"{name} has no label '{label}'; one of {', '.join(labels)} is needed"
    strange = [tag for tag in criterion.euro_ncap if tag not in EURO_NCAP]
    if strange:
        return f"euro_ncap '{strange[0]}' is unknown; one of {', '.join(EURO_NCAP)} is needed"
    return ""


def judge(
    acceptance: Acceptance,
    scene_ids: NDArray[np.str_],
    labels: Mapping[str, NDArray[np.str_]],
    values: Mapping[str, NDArray[np.float64]],
    horizon_s: float,
) -> tuple[Outcome, ...]:
    """Decides the criteria on the rows of an evaluation; see `DecisionRule`.

    Args:
        acceptance: The criteria.
        scene_ids: Scene of each row ``[N]``.
        labels: Slice of each row ``[N]``, by slicing.
        values: Metrics of each row ``[N]``, by name.
        horizon_s: Horizon of the predictions.
    """
    outcomes = []
    for criterion in acceptance.criteria:
        inside = np.ones(len(scene_ids), bool)
        for name, label in criterion.where.items():
            inside &= labels[name] == label
        column = values[criterion.metric]
        found = scene_means({criterion.metric: column}, scene_ids, inside)[criterion.metric]
        if is_rate(criterion.metric):
            found = with_exact_ends(found)
        verdict, missing = acceptance.rule.decide(criterion, found), None
        if verdict == NOT_DECIDED:
            spread = scene_spread(column, scene_ids, inside)
            missing = acceptance.rule.missing(criterion, found, spread)
            if np.isnan(column).all():
                missing = replace(missing, why="undefined")
        holes = int(np.isnan(column[inside]).sum())
        if verdict == PASS and holes and criterion.metric in OF_EVERYBODY:
            verdict, missing = NOT_DECIDED, Missing(0, holes, "partly")
        if not criterion.is_for(horizon_s):
            verdict, missing = NOT_DECIDED, Missing(0, 0, "horizon", criterion.horizon_s)
        outcomes.append(Outcome(criterion, found, verdict, missing))
    return tuple(outcomes)
