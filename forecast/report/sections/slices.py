"""The scores in every slice, those that were asked for first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.evaluation.output.cases import label_words
from forecast.evaluation.output.numbers import UNDEFINED, counted, interval, number, signed
from forecast.evaluation.output.pictures import worst_row
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.slices import (
    SLICINGS,
    UNKNOWN,
    Slicing,
    combinations,
    labels_of,
)
from forecast.evaluation.scoring.statistics import MIN_ROWS, scene_means
from forecast.report.baselines import BaselineMatch, matches, possible
from forecast.report.section import Block, Cell, Folded, FoldedTables, Section, Table, Text
from forecast.report.sections.gallery import worst_picture

Mask = NDArray[np.bool_]


def slices(result: EvaluationResult) -> Section:
    """The slicings that were asked for in full, with their combinations; then all others."""
    asked = [_full(result, name) for name in result.slices]
    if len(result.slices) > 1:
        asked.append(_combined(result))
    others = [name for name in SLICINGS if name not in result.slices]
    tables = [_short(result, name) for name in others if _is_scored(result, name)]
    blocks: list[Block] = [Text(_INTRODUCTION), *asked, *_of_fallback(result)]
    blocks += [FoldedTables(f"{len(tables)} other slicings", tuple(tables))] if asked else tables
    blocks += _unscored(result, [name for name in others if not _is_scored(result, name)])
    return Section("slices", "Slices", tuple(blocks), _all_data(result))


_INTRODUCTION = (
    "Situations are taken from the recording, the future included: they describe when a prediction "
    f"was made, and no predictor sees them. Slices of fewer than {MIN_ROWS} prediction times are "
    "counted but not scored. Small print: 95 % intervals from a bootstrap over scenes, where "
    "there are enough. --slices crossing,light shows these slicings and every combination of their "
    "labels in full, each with its worst case."
)
_GOOD = "Good: low errors in every row, and below 0 where a baseline's is subtracted."


@dataclass(frozen=True, eq=False)
class _Columns:
    """The columns of a table of slices."""

    result: EvaluationResult
    metrics: list[str]
    matches: list[BaselineMatch]

    @classmethod
    def of(cls, result: EvaluationResult) -> _Columns:
        """Those that have values in some row."""
        k = result.setting.samples
        wanted = ("top1_fde_m", f"min_fde_{k}_m", "miss_rate_final_2m", "coverage_90")
        held = possible(result, matches(k))[:2]
        return cls(
            result,
            [name for name in wanted if _has_values(result, name)],
            [match for match in held if _has_values(result, match.metric)],
        )

    @property
    def header(self) -> list[str]:
        """Names of the columns after that of the slice."""
        less = [f"{match.metric} minus {match.baseline}'s" for match in self.matches]
        return ["prediction times", *self.metrics, *less]

    def cells(self, inside: Mask) -> list[Cell]:
        """The cells of a slice after its name."""
        count = int(inside.sum())
        scenes = self.result.rows.scene_ids
        places = counted(len(np.unique(scenes[inside])), "scene")
        if count < MIN_ROWS:
            nothing = [Cell(UNDEFINED)] * (len(self.metrics) + len(self.matches))
            return [Cell(str(count), f"too few; {places}" if count else "none"), *nothing]
        values, baselines = self.result.values, self.result.baselines
        pairs = {
            match.metric: values[match.metric]
            - baselines[match.baseline].values[match.baseline_metric]
            for match in self.matches
        }
        found = self.result.estimates(inside, self.metrics)
        less = scene_means(pairs, scenes, inside)
        return [
            Cell(str(count), places),
            *(Cell(number(each.value), interval(each)) for each in found.values()),
            *(Cell(signed(each.value), interval(each, signed=True)) for each in less.values()),
        ]


def _has_values(result: EvaluationResult, metric: str) -> bool:
    return metric in result.values and not np.isnan(result.values[metric]).all()


def _masks(result: EvaluationResult, name: str) -> dict[str, Mask]:
    """The rows of each label that is known."""
    column = result.rows.labels[name]
    return {label: column == label for label in labels_of(name, column)}


def _is_scored(result: EvaluationResult, name: str) -> bool:
    """Whether some slice has enough rows."""
    return any(mask.sum() >= MIN_ROWS for mask in _masks(result, name).values())


def _short(result: EvaluationResult, name: str) -> Table:
    """The slices with enough rows; the others are counted in the caption."""
    masks, slicing = _masks(result, name), SLICINGS[name]
    scored = {label: mask for label, mask in masks.items() if mask.sum() >= MIN_ROWS}
    counts = {label: int(mask.sum()) for label, mask in masks.items() if label not in scored}
    few = [f"{label} {count}" for label, count in counts.items() if count]
    nobody = [label for label, count in counts.items() if not count]
    more = f" Too few to score: {', '.join(few)}." if few else ""
    caption = f"{_definition(slicing)}{_unknown(result, name)}{more}{_nobody(nobody)}"
    return _table(result, slicing, caption, scored)


def _nobody(labels: list[str]) -> str:
    """The labels that do not occur, as text."""
    return f" Nobody: {', '.join(labels)}." if labels else ""


def _definition(slicing: Slicing) -> str:
    weak = " Weak labels: free text about the whole scene." if slicing.weak else ""
    return f"{slicing.title}. {slicing.definition}{weak} {_GOOD}"


def _unknown(result: EvaluationResult, name: str) -> str:
    count = int((result.rows.labels[name] == UNKNOWN).sum())
    return f" Unknown: {count} ({SLICINGS[name].unknown})." if count else ""


def _table(
    result: EvaluationResult, slicing: Slicing, caption: str, masks: Mapping[str, Mask]
) -> Table:
    columns = _Columns.of(result)
    rows = tuple(
        (Cell(label, link=worst_picture(result, mask)), *columns.cells(mask))
        for label, mask in masks.items()
    )
    return Table(caption, (slicing.title, *columns.header), rows)


def _full(result: EvaluationResult, name: str) -> Table | Text:
    """A slicing that was asked for: every label that occurs, with its worst case."""
    masks = _masks(result, name)
    there = {label: mask for label, mask in masks.items() if mask.any()}
    nobody = _nobody([label for label in masks if label not in there])
    caption = f"{_definition(SLICINGS[name])}{_unknown(result, name)}{nobody}"
    return _with_worst(result, SLICINGS[name].title, caption, there)


def _combined(result: EvaluationResult) -> Table | Text:
    """Every combination of labels that occurs."""
    found = combinations(result.rows.labels, result.slices)
    there = {label_words(result.slices, labels): m for labels, m in found.items() if m.any()}
    empty = len(found) - len(there)
    unknown = len(result.rows) - sum(int(mask.sum()) for mask in there.values())
    title = " × ".join(SLICINGS[name].title for name in result.slices)  # noqa: RUF001
    caption = (
        f"{title}: every combination of labels. {_GOOD} Nobody is in {empty} of {len(found)} "
        f"combinations. A label is unknown for {counted(unknown, 'prediction time')}."
    )
    return _with_worst(result, title, caption, there)


def _with_worst(
    result: EvaluationResult, title: str, caption: str, masks: Mapping[str, Mask]
) -> Table | Text:
    """Rows with the worst case in the second column, which is in view on a phone too.

    Without rows, the caption alone.
    """
    if not masks:
        return Text(caption)
    columns = _Columns.of(result)
    rows = tuple(
        (Cell(label), _worst(result, mask), *columns.cells(mask)) for label, mask in masks.items()
    )
    return Table(caption, (title, "worst top1_fde_m", *columns.header), rows)


def _worst(result: EvaluationResult, inside: Mask) -> Cell:
    if not inside.any():
        return Cell("")
    error = result.values["top1_fde_m"][worst_row(result, inside)]
    return Cell(f"{error:.2f}", link=worst_picture(result, inside))


def _of_fallback(result: EvaluationResult) -> list[Table | Text]:
    """Those with a fallback beside the others, if there are any."""
    if not result.fallback.any():
        return []
    caption = (
        "Fallback. Pedestrians whose past is out of distribution get constant velocity instead of "
        f"the predictor's own futures; they are in all tables of this report. {_GOOD}"
    )
    masks = {"fallback": result.fallback, "own futures": ~result.fallback}
    return [_with_worst(result, "Fallback", caption, masks)]


def _unscored(result: EvaluationResult, names: list[str]) -> list[Folded]:
    """The slicings without a slice that has enough rows, as text."""
    if not names:
        return []
    lines = []
    for name in names:
        counts = {label: int(mask.sum()) for label, mask in _masks(result, name).items()}
        parts = [f"{label} {count}" for label, count in counts.items() if count]
        found = ", ".join(parts) or "nobody"
        lines.append(f"{SLICINGS[name].title}: {found}.{_unknown(result, name)}")
    return [Folded(f"{counted(len(names), 'slicing')} without anything to score", "\n".join(lines))]


def _all_data(result: EvaluationResult) -> dict[str, Any]:
    """All metrics by slicing and label; ``combinations`` holds those of the asked slicings."""
    data: dict[str, Any] = {}
    for name, slicing in SLICINGS.items():
        weak = {"weak": slicing.weak}
        data[name] = {
            label: _data(result, mask) | weak for label, mask in _masks(result, name).items()
        }
        unknown = _data(result, result.rows.labels[name] == UNKNOWN, suppressed=True)
        data[name]["unknown"] = unknown | weak | {"why": slicing.unknown}
    data["fallback"] = {"fallback": _data(result, result.fallback)}
    if len(result.slices) > 1:
        found = combinations(result.rows.labels, result.slices)
        data["combinations"] = {
            label_words(result.slices, labels): _data(result, mask)
            for labels, mask in found.items()
            if mask.any()
        }
    return data


def _data(result: EvaluationResult, inside: Mask, suppressed: bool = False) -> dict[str, Any]:
    """All metrics of a slice; none for the unknown label or with too few rows."""
    count = int(inside.sum())
    suppressed = suppressed or count < MIN_ROWS
    return {
        "n": count,
        "scenes": len(np.unique(result.rows.scene_ids[inside])),
        "suppressed": suppressed,
        "metrics": {} if suppressed else result.estimates(inside),
    }
