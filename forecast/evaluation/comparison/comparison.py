"""``forecast compare``: may a new predictor replace an old one?

Reads the folders of two evaluations, pairs their rows by scene, pedestrian and time, and compares
B with A: differences with intervals, overall and in every slice, regressions first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.evaluation.comparison.changes import (
    BETTER,
    LESS,
    LOST,
    NEITHER,
    NEW,
    OPEN,
    SLICE,
    STATED,
    WHOLE,
    WORSE,
    Change,
    compare,
    paired,
    small_slices,
)
from forecast.evaluation.output.folder import COMPARISON, whole_folder
from forecast.evaluation.output.numbers import counted, interval, number, signed
from forecast.evaluation.output.saved import SavedEvaluation, read_evaluation
from forecast.evaluation.scoring.slices import SLICINGS
from forecast.evaluation.scoring.statistics import MIN_ROWS
from forecast.evaluation.verdict.acceptance import FAIL, PASS, Acceptance, Outcome, judge

MOST_OPEN = 12
"""Number of the largest undecided changes that are listed, and again as many of slices."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What changes if B takes the place of A.

    Attributes:
        old: A.
        new: B.
        paired_rows: Number of paired rows.
        scenes: Number of scenes they are from.
        changes: Every change; metrics that B lacks and regressions come first.
        small: Slices with too few rows to compare, with their number of rows.
        before: Outcomes of A for its acceptance criteria.
        after: Outcomes of B for the same criteria.
    """

    old: SavedEvaluation
    new: SavedEvaluation
    paired_rows: int
    scenes: int
    changes: list[Change]
    small: Mapping[str, int]
    before: tuple[Outcome, ...]
    after: tuple[Outcome, ...]

    @classmethod
    def of(cls, old: SavedEvaluation, new: SavedEvaluation) -> Comparison:
        """Compares two evaluations; raises `ForecastError` if they are not of the same windows."""
        pairs = paired(old, new)
        return cls(
            old=old,
            new=new,
            paired_rows=len(pairs[0]),
            scenes=len(np.unique(old.columns["scene_id"])),
            changes=compare(old, new, pairs),
            small=small_slices(old),
            before=_outcomes(old.acceptance, old, pairs[0]),
            after=_outcomes(old.acceptance, new, pairs[1]),
        )

    @property
    def broken(self) -> list[str]:
        """The criteria that A meets and that B fails, or has fewer rows for."""
        return [
            one.criterion.id
            for one, two in zip(self.before, self.after, strict=True)
            if one.verdict == PASS and (two.verdict == FAIL or two.found.n < one.found.n)
        ]

    @property
    def lost_guarantees(self) -> list[str]:
        """The guarantees that hold for A and are broken for B."""
        held, now = self.old.guarantees, self.new.guarantees
        return [name for name in held if held[name] and now.get(name) is False]

    @property
    def largest_open(self) -> list[Change]:
        """The largest undecided changes: `MOST_OPEN` outside slices and as many in slices."""
        ranked = sorted(self.of_verdict(OPEN), key=lambda one: -abs(one.share))
        whole = [one for one in ranked if one.where in WHOLE]
        inside = [one for one in ranked if one.where not in WHOLE]
        return whole[:MOST_OPEN] + inside[:MOST_OPEN]

    def of_verdict(self, verdict: str) -> list[Change]:
        """The changes with one verdict, in their order."""
        return [change for change in self.changes if change.verdict == verdict]


RenderComparison = Callable[[Comparison], Mapping[str, str]]
"""Makes the texts of the page, by the name of their file."""


def run_comparison(
    a: Path, b: Path, *, out: Path | None = None, render: RenderComparison
) -> Comparison:
    """Compares B with A, prints the changes and writes them as a page.

    Args:
        a: Folder of the evaluation of the old predictor.
        b: That of the new one, on the same windows.
        out: New or empty folder for the page, or a comparison to be replaced; None: no page.
        render: Makes the page (`forecast.report.render_comparison`).

    Raises:
        ForecastError: A criterion that A met fails in B, or the two cannot be compared.
    """
    found = Comparison.of(read_evaluation(a), read_evaluation(b))
    if out is not None:
        with whole_folder(out, COMPARISON) as folder:
            for file, text in render(found).items():
                (folder / file).write_text(text, encoding="utf-8")
    print(_summary(found))
    print(table(found))
    print(_criteria(found))
    if found.broken:
        raise ForecastError(f"{b}: fails criteria that {a} meets: {', '.join(found.broken)}")
    return found


def _outcomes(
    acceptance: Acceptance, each: SavedEvaluation, rows: NDArray[np.int64]
) -> tuple[Outcome, ...]:
    wanted = {criterion.metric for criterion in acceptance.criteria}
    missing = dict.fromkeys(wanted - set(each.columns), np.full(len(rows), np.nan))
    columns = missing | {name: column[rows] for name, column in each.columns.items()}
    labels = {name: columns[SLICE + name] for name in SLICINGS}
    return judge(acceptance, columns["scene_id"], labels, columns)


def _summary(found: Comparison) -> str:
    old, new = found.old, found.new
    return (
        f"B {new.name} ({new.path}) minus A {old.name} ({old.path}): {found.paired_rows} paired "
        f"prediction times in {counted(found.scenes, 'scene')}; 95 % intervals over scenes. Lower "
        "is better, except for metrics with a target: their change is that of the distance from it"
    )


def table(found: Comparison) -> str:
    """All changes by verdict; of the undecided ones only the largest."""
    lines = []
    for verdict, words in _WORDS.items():
        changes = found.of_verdict(verdict)
        shown = found.largest_open if verdict == OPEN else changes
        largest = f"; the {len(shown)} largest" if len(shown) < len(changes) else ""
        lines.append(f"\n{verdict} ({len(changes)}){words}{largest}")
        lines += [_line(change) for change in shown]
    if found.small:
        few = ", ".join(f"{where} ({count})" for where, count in found.small.items())
        lines.append(f"\nnot compared, fewer than {MIN_ROWS} prediction times: {few}")
    return "\n".join(lines)


_WORDS = {
    LOST: ": A has it and B does not",
    WORSE: "",
    OPEN: ": the interval holds 0, or too few scenes",
    BETTER: "",
    NEW: ": B has it and A does not; no verdict",
    STATED: ": no verdict, as there are no rows or neither direction is better",
}


def _line(change: Change) -> str:
    values = f"{number(change.before):>8} -> {number(change.after):>8}"
    head = f"  {change.where:<38} {change.metric:<26} {values}"
    if math.isnan(change.difference.value):
        return head
    ends = interval(change.difference, signed=True)
    sure = f" ({ends})" if ends else " (no interval)" if change.sampled else ""
    target = "" if change.aim in (LESS, NEITHER) else f" from {change.aim}"
    rows = f", n = {rows_of(change)}" if change.sampled else ""
    return f"{head}  {signed(change.difference.value)}{target}{sure}{rows}"


def rows_of(change: Change) -> str:
    """The number of rows that both have, and A's own number if it is larger."""
    n, before = change.difference.n, change.counts[0]
    return str(n) if n >= before else f"{n} of A's {before}"


def _criteria(found: Comparison) -> str:
    """Criteria and guarantees whose outcome changed."""
    lines = [
        f"  {one.criterion.id}: {one.verdict} -> {two.verdict} ({one.criterion.demand}; "
        f"{number(one.found.value)} -> {number(two.found.value)}, n = {one.found.n})"
        for one, two in zip(found.before, found.after, strict=True)
        if one.verdict != two.verdict
    ]
    head = f"\nacceptance criteria of A: {len(found.before)}, {len(lines)} changed"
    lines += [f"guarantee that A gives and B does not: {name}" for name in found.lost_guarantees]
    return "\n".join([head, *lines])
