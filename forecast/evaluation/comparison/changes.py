"""Pairs the rows of two evaluations of the same windows and compares them metric by metric.

Metrics that should be low are compared directly. Metrics with a target (coverage its level,
collisions the ground truth's rate) are compared by their distance from the target.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.evaluation.output.saved import SavedEvaluation
from forecast.evaluation.scoring.ground_truth import GROUND_TRUTH, GROUND_TRUTH_METRICS
from forecast.evaluation.scoring.rows import WEIGHTED, matters_to_planner
from forecast.evaluation.scoring.slices import SLICINGS, UNKNOWN
from forecast.evaluation.scoring.stability import DEFINITIONS as FLICKER
from forecast.evaluation.scoring.statistics import MIN_ROWS, Estimate, distance_change, scene_means
from forecast.models.metrics.registry import METRICS

LOST, WORSE, OPEN, BETTER, SAME = "lost", "worse", "undecided", "better", "same"
NEW, STATED = "new", "stated"

VERDICTS = (LOST, WORSE, OPEN, BETTER, SAME, NEW, STATED)
"""In the order of tables: metrics that B lacks come first, metrics without better or worse last."""

WHOLE = ("all", "movers")
"""The subsets in which all metrics are compared; every other subset is a slice."""

LESS, MORE, NEITHER = "less", "more", ""
"""Aims of metrics without a target: lower or higher is better, or neither."""

SLICE = "slice."
_LEAST = 0.01
"""Relative changes are divided by A's value, or by this if A's value is smaller."""

_SLICED = (
    *("top1_fde_m", "min_fde_", "miss_rate_final_2m", "energy_score_m", "conflict_missed"),
    *("coverage_90", "tube_coverage_90", "collision_rate_", "on_road_share"),
)
"""Prefixes of the metrics that are compared in slices."""

Columns = Mapping[str, NDArray[Any]]

_KEY = ("scene_id", "agent_id", "at_us")
_SAME = ("fingerprint", "protocol", "history_s", "horizon_s", "samples")

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Indices of A's rows and of the matching rows of B, both ``[P]``."""


@dataclass(frozen=True)
class Change:
    """How a metric differs from A to B.

    Attributes:
        where: ``all``, ``movers``, or a slice.
        metric: The metric.
        aim: What good is: `LESS`, `MORE`, the target level, ``recorded`` (the ground truth), or
            `NEITHER`.
        before: A's mean over the paired rows, or over its own rows where B has none.
        after: B's mean, likewise.
        counts: Number of values of A and of B.
        difference: B minus A, paired; for metrics with a target, how much farther B is from it.
        sampled: Whether it is a mean of rows, so that it has an interval.
        same: Whether A and B have the same value in every row.
        by_chance: Whether chance may explain it among so many changes; see `corrected`.
    """

    where: str
    metric: str
    aim: str
    before: float
    after: float
    counts: tuple[int, int]
    difference: Estimate
    sampled: bool = True
    same: bool = False
    by_chance: bool = False

    @property
    def verdict(self) -> str:
        """`WORSE` or `BETTER` if the interval excludes 0, else `OPEN`; or why neither applies.

        `LOST` if B lacks the metric in any row in which A has it: B may lack it where it is bad.
        """
        found, before = self.difference, self.counts[0]
        if not before:
            return NEW
        if found.n < before:
            return LOST
        if not self.decidable:
            return STATED
        if self.same:
            return SAME
        if math.isnan(found.low) or found.low <= 0 <= found.high or self.by_chance:
            return OPEN
        return WORSE if self.share > 0 else BETTER

    @property
    def decidable(self) -> bool:
        """Whether it can be better or worse: it is a mean of rows, and one direction is better."""
        return self.sampled and self.aim != NEITHER

    @property
    def share(self) -> float:
        """How much worse B is, as a share of A's value; below 0 it is better."""
        sign = -1 if self.aim == MORE else 1
        return sign * self.difference.value / max(abs(self.before), _LEAST)


def paired(old: SavedEvaluation, new: SavedEvaluation) -> Pairs:
    """Matches the rows of A and B of the same pedestrian at the same time.

    Raises:
        ForecastError: The two were not scored on the same windows.
    """
    for name in _SAME:
        if old.setting[name] != new.setting[name]:
            raise ForecastError(
                f"{new.path}: {name} is {new.setting[name]}, that of {old.path} is "
                f"{old.setting[name]}; evaluate both on the same windows"
            )
    _refuse_other_metrics(old, new)
    keys = [
        {key: row for row, key in enumerate(zip(*(each.columns[k] for k in _KEY), strict=True))}
        for each in (old, new)
    ]
    if keys[0].keys() != keys[1].keys():
        strange = next(iter(keys[0].keys() ^ keys[1].keys()))
        raise ForecastError(
            f"{new.path}: scored on other windows than {old.path}: only one has {strange[0]}, "
            f"{strange[1]} at {strange[2]} us; evaluate both on the same split"
        )
    order = list(keys[0])
    first, second = (np.array([each[key] for key in order], np.int64) for each in keys)
    return first, second


def _refuse_other_metrics(old: SavedEvaluation, new: SavedEvaluation) -> None:
    """Raises `ForecastError` if a metric of one's own is not from the same file in both."""
    for name in filter(new.own_metrics.__contains__, old.own_metrics):
        files = [
            f"{each.own_metrics[name]['source']} of SHA-256 {each.own_metrics[name]['sha256'][:12]}"
            for each in (new, old)
        ]
        if files[0] != files[1]:
            raise ForecastError(
                f"{new.path}: metric {name} is {files[0]}, that of {old.path} is {files[1]}; "
                "evaluate both with the same file"
            )


def compare(old: SavedEvaluation, new: SavedEvaluation, pairs: Pairs) -> list[Change]:
    """Every change, by verdict as in `VERDICTS`, slices last, the largest regression first.

    All metrics are compared for all rows and for movers. In every slice with enough rows, those of
    `_SLICED` are compared that both evaluations have and that can get a verdict.
    """
    before = {name: column[pairs[0]] for name, column in old.columns.items()}
    after = {name: column[pairs[1]] for name, column in new.columns.items()}
    own = {**old.own_metrics, **new.own_metrics}
    names = metrics(before, own) | metrics(after, own)
    everyone = np.ones(len(pairs[0]), bool)
    changes = _changes("all", everyone, names, before, after)
    changes += _changes("movers", before["mover"].astype(bool), names, before, after)
    judged = {one.metric for one in changes if one.verdict not in (LOST, NEW, STATED)}
    sliced = {n: aim for n, aim in names.items() if n in judged and n.startswith(_SLICED)}
    for where, inside in _slices(before).items():
        if inside.sum() >= MIN_ROWS:
            changes += _changes(where, inside, sliced, before, after)
    changes += [*_weighted(before, after), *_without_rows(old, new)]
    return sorted(changes, key=rank)


def rank(one: Change) -> tuple[int, bool, float]:
    """Sorts changes by verdict as in `VERDICTS`, slices last, the largest regression first."""
    share = 0.0 if math.isnan(one.share) else one.share
    return VERDICTS.index(one.verdict), one.where not in WHOLE, -share


def small_slices(old: SavedEvaluation) -> dict[str, int]:
    """Slices with too few rows to compare, and their number of rows."""
    counts = {where: int(inside.sum()) for where, inside in _slices(old.columns).items()}
    return {where: count for where, count in counts.items() if count < MIN_ROWS}


OwnMetricFacts = Mapping[str, Mapping[str, Any]]
"""What each metric of one's own is; see `SavedEvaluation.own_metrics`."""


def metrics(columns: Columns, own: OwnMetricFacts = MappingProxyType({})) -> dict[str, str]:
    """The metrics among the columns of rows, with their aim; see `Change.aim`."""
    numbers = [name for name, column in columns.items() if column.dtype.kind == "f"]
    return {name: _aim(name, own) for name in numbers if name in own or _is_metric(name)}


def _is_metric(name: str) -> bool:
    return name in METRICS or name in FLICKER or name.startswith(("modes_", "selected_"))


def _aim(name: str, own: OwnMetricFacts) -> str:
    if name in GROUND_TRUTH_METRICS:
        return GROUND_TRUTH
    target = METRICS[name].target if name in METRICS else own.get(name, {}).get("target")
    if target is not None:
        return f"{target:g}"
    if own.get(name, {}).get("higher_is_better"):
        return MORE
    return NEITHER if name.startswith("tube_area") else LESS


def _slices(columns: Columns) -> dict[str, NDArray[np.bool_]]:
    """The rows of each slice that occurs."""
    return {
        f"{name}: {label}": columns[SLICE + name] == label
        for name in SLICINGS
        for label in np.unique(columns[SLICE + name]).tolist()
        if label != UNKNOWN
    }


def _changes(
    where: str,
    inside: NDArray[np.bool_],
    names: Mapping[str, str],
    before: Columns,
    after: Columns,
) -> list[Change]:
    """Changes of the metrics that A or B has in a subset."""
    nothing = np.full(len(inside), np.nan)
    values = {n: (before.get(n, nothing)[inside], after.get(n, nothing)[inside]) for n in names}
    scenes = before["scene_id"][inside]
    less = scene_means({name: two - one for name, (one, two) in values.items()}, scenes)
    changes = []
    for name, (one, two) in values.items():
        target = _target(name, names[name], before, after, inside)
        found = less[name]
        if target is not None:
            found = distance_change(one - target, two - target, scenes)
        counts = int((~np.isnan(one)).sum()), int((~np.isnan(two)).sum())
        if any(counts):
            aim = NEITHER if names[name] == GROUND_TRUTH and target is None else names[name]
            same = np.array_equal(one, two, equal_nan=True)
            means = _means(one, two)
            changes.append(Change(where, name, aim, *means, counts, found, same=same))
    return changes


def _target(
    name: str, aim: str, before: Columns, after: Columns, inside: NDArray[np.bool_]
) -> NDArray[Any] | None:
    """The target of each row's value on average; None without target or where it is unknown.

    Evaluations of older versions do not hold the ground truth's values.
    """
    if aim == GROUND_TRUTH:
        known = before.get(f"{GROUND_TRUTH}.{name}", after.get(f"{GROUND_TRUTH}.{name}"))
        return None if known is None else known[inside]
    return None if aim in (LESS, MORE, NEITHER) else np.full(int(inside.sum()), float(aim))


def _means(one: NDArray[Any], two: NDArray[Any]) -> tuple[float, float]:
    """Means over the rows that both have; if there are none, each over its own."""
    known = ~np.isnan(one), ~np.isnan(two)
    both = known[0] & known[1]
    kept = (both, both) if both.any() else known
    first, second = (
        float(values[which].mean()) if which.any() else math.nan
        for values, which in zip((one, two), kept, strict=True)
    )
    return first, second


def _weighted(before: Columns, after: Columns) -> Iterable[Change]:
    """`WEIGHTED`, if enough pedestrians matter to the planner."""
    weight = before["planner_weight"]
    inside = matters_to_planner(weight)
    if inside.sum() < MIN_ROWS:
        return
    columns = {"a": before["top1_fde_m"], "b": after["top1_fde_m"]}
    columns["less"] = columns["b"] - columns["a"]
    found = scene_means(columns, before["scene_id"], inside, weight)
    one, two = found["a"], found["b"]
    yield Change("all", WEIGHTED, LESS, one.value, two.value, (one.n, two.n), found["less"])


def _without_rows(old: SavedEvaluation, new: SavedEvaluation) -> Iterable[Change]:
    """Numbers that are no means of rows; they have no interval."""
    for name in {**old.summary, **new.summary}:
        one, two = (each.summary.get(name, math.nan) for each in (old, new))
        counts = int(not math.isnan(one)), int(not math.isnan(two))
        if any(counts):
            aim = METRICS[name.removesuffix("_final")].target if "coverage" in name else None
            gap = two - one if aim is None else abs(two - aim) - abs(one - aim)
            found = Estimate(gap, math.nan, math.nan, min(counts), 0)
            words = LESS if aim is None else f"{aim:g}"
            yield Change("all", name, words, one, two, counts, found, sampled=False)
