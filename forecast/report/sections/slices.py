"""The scores in every slice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.evaluation.output.numbers import UNDEFINED, counted, interval, number, signed
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.slices import SLICINGS, UNKNOWN, Slicing
from forecast.evaluation.scoring.statistics import MIN_ROWS, scene_means
from forecast.report.baselines import BaselineMatch, matches, possible
from forecast.report.section import Block, Cell, Section, Table, Text


def slices(result: EvaluationResult) -> Section:
    """One table for each slicing, with every known label, also those without rows."""
    blocks: list[Block] = [Text(_INTRODUCTION)]
    data: dict[str, Any] = {}
    for name, slicing in SLICINGS.items():
        labels = _labels(result.rows.labels[name], slicing)
        blocks.append(_table(result, name, slicing, labels))
        data[name] = {label: _data(result, name, label) for label in labels}
        data[name]["unknown"] = _data(result, name, UNKNOWN) | {"why": slicing.unknown}
    return Section("slices", "Slices", tuple(blocks), data)


_INTRODUCTION = (
    "Situations are taken from the recording, the future included: they describe when a prediction "
    f"was made, and no predictor sees them. Slices of fewer than {MIN_ROWS} prediction times are "
    "counted but not scored. Small print: 95 % intervals from a bootstrap over scenes, where "
    "there are enough."
)


def _labels(column: NDArray[np.str_], slicing: Slicing) -> list[str]:
    """The known labels in the order of the report, then all others that occur."""
    there = set(np.unique(column).tolist()) - {UNKNOWN}
    return [*slicing.labels, *sorted(there - set(slicing.labels))]


def _table(result: EvaluationResult, name: str, slicing: Slicing, labels: list[str]) -> Table:
    column = result.rows.labels[name]
    held = [
        match
        for match in possible(result, matches(result.setting.samples))[:2]
        if not np.isnan(result.values[match.metric]).all()
    ]
    metrics = _metrics(result)
    header = [slicing.title, "prediction times", *metrics]
    header += [f"{match.metric} minus {match.baseline}'s" for match in held]
    rows = [_row(result, column == label, label, metrics, held) for label in labels]
    unknown = int((column == UNKNOWN).sum())
    if unknown:
        why = Cell("unknown", slicing.unknown)
        rows.append((why, Cell(str(unknown)), *_nothing(len(metrics) + len(held))))
    weak = " Weak labels: free text about the whole scene." if slicing.weak else ""
    caption = (
        f"{slicing.title}. {slicing.definition}{weak} Good: low errors in every row, and below 0 "
        "where a baseline's is subtracted."
    )
    return Table(caption, tuple(header), tuple(rows))


def _metrics(result: EvaluationResult) -> list[str]:
    k = result.setting.samples
    wanted = ("top1_fde_m", f"min_fde_{k}_m", "miss_rate_final_2m", "coverage_90")
    known = (name for name in wanted if name in result.values)
    return [name for name in known if not np.isnan(result.values[name]).all()]


def _row(
    result: EvaluationResult,
    inside: NDArray[np.bool_],
    label: str,
    metrics: list[str],
    held: list[BaselineMatch],
) -> tuple[Cell, ...]:
    count = int(inside.sum())
    if count < MIN_ROWS:
        few = Cell(str(count), "too few" if count else "none")
        return Cell(label), few, *_nothing(len(metrics) + len(held))
    scenes = result.rows.scene_ids
    found = scene_means({name: result.values[name] for name in metrics}, scenes, inside)
    pairs = {
        match.metric: result.values[match.metric]
        - result.baselines[match.baseline].values[match.baseline_metric]
        for match in held
    }
    less, places = scene_means(pairs, scenes, inside), len(np.unique(scenes[inside]))
    return (
        Cell(label),
        Cell(str(count), counted(places, "scene")),
        *(Cell(number(each.value), interval(each)) for each in found.values()),
        *(Cell(signed(each.value), interval(each, signed=True)) for each in less.values()),
    )


def _nothing(count: int) -> list[Cell]:
    return [Cell(UNDEFINED)] * count


def _data(result: EvaluationResult, name: str, label: str) -> dict[str, Any]:
    """All metrics of a slice; none for the unknown label or with too few rows."""
    inside = result.rows.labels[name] == label
    count = int(inside.sum())
    suppressed = count < MIN_ROWS or label == UNKNOWN
    return {
        "n": count,
        "scenes": len(np.unique(result.rows.scene_ids[inside])),
        "weak": SLICINGS[name].weak,
        "suppressed": suppressed,
        "metrics": {} if suppressed else result.estimates(inside),
    }
