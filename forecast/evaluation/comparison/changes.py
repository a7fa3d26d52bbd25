"""What differs between two evaluations of the same windows, metric by metric.

What should be low is compared as it is. What should meet a value (coverage its level, collisions
the recorded world's) is compared by how far it is from there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.evaluation.output.saved import Evaluated, Pairs
from forecast.evaluation.scoring.ground_truth import RECORDED, RECORDED_METRICS
from forecast.evaluation.scoring.planner_weighting import WEIGHTED, of_concern
from forecast.evaluation.scoring.slices import SLICINGS, UNKNOWN
from forecast.evaluation.scoring.stability import DEFINITIONS as FLICKER
from forecast.evaluation.scoring.statistics import MIN_ROWS, Estimate, distance_change, scene_means
from forecast.models.metrics.registry import METRICS

LOST, WORSE, OPEN, BETTER = "lost", "worse", "undecided", "better"
NEW, STATED = "new", "stated"

VERDICTS = (LOST, WORSE, OPEN, BETTER, NEW, STATED)
"""In the order of tables: what B no longer has comes first, what is no better or worse last."""

WHOLE = ("all", "movers")
"""Where all metrics are compared; elsewhere is a slice."""

LESS, NEITHER = "less", ""
"""What good is, where it is no value to be met: less, or neither less nor more by itself."""

SLICE = "slice."
_LEAST = 0.01
"""Changes are shares of A's value, or of this if that is smaller."""

_SLICED = (
    *("top1_fde_m", "min_fde_", "miss_rate_final_2m", "energy_score_m", "conflict_missed"),
    *("coverage_90", "tube_coverage_90", "collision_rate_", "on_road_share"),
)
"""Beginnings of the metrics that are compared in slices."""

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Change:
    """How a metric differs from A to B.

    Attributes:
        where: ``all``, ``movers``, or a slice.
        metric: The metric.
        aim: What good is: `LESS`, the level to be met, ``recorded``, or `NEITHER`.
        before: A's mean over the paired rows; over its own where B has none.
        after: B's.
        counts: Values that A and that B have.
        difference: B less A, paired; where a value is to be met, how much farther B is from it.
        sampled: Whether there are rows behind it, so that chance can be told.
    """

    where: str
    metric: str
    aim: str
    before: float
    after: float
    counts: tuple[int, int]
    difference: Estimate
    sampled: bool = True

    @property
    def verdict(self) -> str:
        """`WORSE` or `BETTER` if the interval says so, else `OPEN`; or why that is not asked."""
        found, (before, after) = self.difference, self.counts
        if not before or not after:
            return NEW if after else LOST
        if not self.sampled or self.aim == NEITHER:
            return STATED
        if math.isnan(found.low) or found.low <= 0 <= found.high:
            return OPEN
        return WORSE if found.value > 0 else BETTER

    @property
    def share(self) -> float:
        """The difference as a share of A's value."""
        return self.difference.value / max(abs(self.before), _LEAST)


def compare(old: Evaluated, new: Evaluated, pairs: Pairs) -> list[Change]:
    """Every change, by verdict as in `VERDICTS`, slices last, the largest regression first.

    All metrics for everybody and for movers; in every slice of enough rows those of `_SLICED` of
    which both have values and a verdict can be given.
    """
    before = {name: column[pairs[0]] for name, column in old.columns.items()}
    after = {name: column[pairs[1]] for name, column in new.columns.items()}
    names = metrics(before) | metrics(after)
    everyone = np.ones(len(pairs[0]), bool)
    changes = _changes("all", everyone, names, before, after)
    changes += _changes("movers", before["mover"].astype(bool), names, before, after)
    asked = {one.metric for one in changes if one.verdict not in (LOST, NEW, STATED)}
    sliced = {n: aim for n, aim in names.items() if n in asked and n.startswith(_SLICED)}
    for where, inside in _slices(before).items():
        if inside.sum() >= MIN_ROWS:
            changes += _changes(where, inside, sliced, before, after)
    changes += [*_weighted(before, after), *_without_rows(old, new)]
    return sorted(changes, key=_rank)


def _rank(one: Change) -> tuple[int, bool, float]:
    share = 0.0 if math.isnan(one.share) else one.share
    return VERDICTS.index(one.verdict), one.where not in WHOLE, -share


def small_slices(old: Evaluated) -> dict[str, int]:
    """Slices of too few rows to compare anything in, and how many they have."""
    counts = {where: int(inside.sum()) for where, inside in _slices(old.columns).items()}
    return {where: count for where, count in counts.items() if count < MIN_ROWS}


def metrics(columns: Columns) -> dict[str, str]:
    """The metrics among the columns of rows, and what is good in each; see `Change.aim`."""
    numbers = [name for name, column in columns.items() if column.dtype.kind == "f"]
    return {name: _aim(name) for name in numbers if _is_metric(name)}


def _is_metric(name: str) -> bool:
    return name in METRICS or name in FLICKER or name.startswith("selected_")


def _aim(name: str) -> str:
    if name in RECORDED_METRICS:
        return RECORDED
    target = METRICS[name].target if name in METRICS else None
    if target is not None:
        return f"{target:g}"
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
    """Changes of the metrics that A or B has inside."""
    nothing = np.full(len(inside), np.nan)
    values = {n: (before.get(n, nothing)[inside], after.get(n, nothing)[inside]) for n in names}
    scenes = before["scene_id"][inside]
    less = scene_means({name: two - one for name, (one, two) in values.items()}, scenes)
    changes = []
    for name, (one, two) in values.items():
        met = _met(name, names[name], before, after, inside)
        found = less[name] if met is None else distance_change(one - met, two - met, scenes)
        counts = int((~np.isnan(one)).sum()), int((~np.isnan(two)).sum())
        if any(counts):
            aim = NEITHER if names[name] == RECORDED and met is None else names[name]
            changes.append(Change(where, name, aim, *_means(one, two), counts, found))
    return changes


def _met(
    name: str, aim: str, before: Columns, after: Columns, inside: NDArray[np.bool_]
) -> NDArray[Any] | None:
    """The value that each row's should meet on average; None where there is none or it is unknown.

    Evaluations written before the recorded world's values were kept do not know them.
    """
    if aim == RECORDED:
        known = before.get(f"{RECORDED}.{name}", after.get(f"{RECORDED}.{name}"))
        return None if known is None else known[inside]
    return None if aim in (LESS, NEITHER) else np.full(int(inside.sum()), float(aim))


def _means(one: NDArray[Any], two: NDArray[Any]) -> tuple[float, float]:
    """Means over the rows that both have; where there are none, each over its own."""
    known = ~np.isnan(one), ~np.isnan(two)
    both = known[0] & known[1]
    kept = (both, both) if both.any() else known
    first, second = (
        float(values[which].mean()) if which.any() else math.nan
        for values, which in zip((one, two), kept, strict=True)
    )
    return first, second


def _weighted(before: Columns, after: Columns) -> Iterable[Change]:
    """`WEIGHTED`, if enough pedestrians are of concern to the planner."""
    weight = before["planner_weight"]
    inside = of_concern(weight)
    count = int(inside.sum())
    if count < MIN_ROWS:
        return
    columns = {"a": before["top1_fde_m"], "b": after["top1_fde_m"]}
    columns["less"] = columns["b"] - columns["a"]
    found = scene_means(columns, before["scene_id"], inside, weight)
    means = found["a"].value, found["b"].value
    yield Change("all", WEIGHTED, LESS, *means, (count, count), found["less"])


def _without_rows(old: Evaluated, new: Evaluated) -> Iterable[Change]:
    """What there are only two numbers of; chance cannot be told."""
    for name in {**old.summary, **new.summary}:
        one, two = (each.summary.get(name, math.nan) for each in (old, new))
        counts = int(not math.isnan(one)), int(not math.isnan(two))
        if any(counts):
            aim = METRICS[name.removesuffix("_final")].target if "coverage" in name else None
            gap = two - one if aim is None else abs(two - aim) - abs(one - aim)
            found = Estimate(gap, math.nan, math.nan, min(counts), 0)
            words = LESS if aim is None else f"{aim:g}"
            yield Change("all", name, words, one, two, counts, found, sampled=False)
