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
from forecast.evaluation.scoring.slices import SLICINGS
from forecast.evaluation.scoring.statistics import Estimate, scene_means

EXAMPLE = Path(__file__).with_name("acceptance.yaml")
"""The default criteria, for teams without their own."""

PASS, FAIL, TOO_FEW = "pass", "fail", "too few"

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
    """

    id: str
    condition: str
    metric: str
    at_most: float | None = None
    at_least: float | None = None
    where: dict[str, str] = field(default_factory=dict)
    euro_ncap: list[str] = field(default_factory=list)

    @property
    def demand(self) -> str:
        """Metric and limit, as text."""
        limit = f"at most {self.at_most:g}" if self.at_most is not None else ""
        return f"{self.metric} {limit or f'at least {self.at_least:g}'}"


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


@dataclass(frozen=True)
class Outcome:
    """The outcome of one criterion.

    Attributes:
        criterion: The criterion.
        found: The metric's mean with its interval.
        verdict: `PASS`, `FAIL` or `TOO_FEW`.
    """

    criterion: Criterion
    found: Estimate
    verdict: str


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
    except (msgspec.DecodeError, ValueError) as error:
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


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    criteria: list[_StrictCriterion]
    minimum_rows: int
    minimum_scenes: int

    def plain(self) -> Acceptance:
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
) -> tuple[Outcome, ...]:
    """Decides the criteria on the rows of an evaluation.

    A criterion passes if the whole 95 % interval meets it, and fails if the mean does not. It stays
    undecided (too few) otherwise, and with fewer rows or scenes than demanded.

    Args:
        acceptance: The criteria.
        scene_ids: Scene of each row ``[N]``.
        labels: Slice of each row ``[N]``, by slicing.
        values: Metrics of each row ``[N]``, by name.
    """
    outcomes = []
    for criterion in acceptance.criteria:
        inside = np.ones(len(scene_ids), bool)
        for name, label in criterion.where.items():
            inside &= labels[name] == label
        column = {criterion.metric: values[criterion.metric]}
        found = scene_means(column, scene_ids, inside)[criterion.metric]
        outcomes.append(Outcome(criterion, found, _verdict(criterion, acceptance, found)))
    return tuple(outcomes)


def _verdict(criterion: Criterion, acceptance: Acceptance, found: Estimate) -> str:
    enough = found.n >= acceptance.minimum_rows and found.scenes >= acceptance.minimum_scenes
    if not enough or np.isnan([found.low, found.high]).any():
        return TOO_FEW
    if criterion.at_most is not None:
        met, surely = found.value <= criterion.at_most, found.high <= criterion.at_most
    else:
        limit = criterion.at_least or 0.0
        met, surely = found.value >= limit, found.low >= limit
    return (PASS if surely else TOO_FEW) if met else FAIL
