"""``forecast compare``: may a new predictor replace an old one?

Reads the folders of two evaluations, pairs their rows by scene, pedestrian and time, and compares
B with A: the headline errors first, then all differences with intervals, overall and in every
slice, regressions first.

The answer is `WORSE` if a headline error is worse: its whole interval is beyond the margin, or B
does not have it in all rows of A; or if a safety metric is worse, B fails an acceptance criterion
that A meets, or breaks a required guarantee that A gives. It is `OPEN` if that is not known: an
interval of a headline error is partly beyond the margin, there are too few scenes for one, B lacks
another metric in rows of A, such a criterion is no longer decided, such a guarantee could not be
tried for B, or B was trained on scenes that are scored. Else it is `BETTER`: no worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.evaluation.audit.guarantees import CHECKS
from forecast.evaluation.comparison.changes import (
    BETTER,
    LOST,
    NEW,
    OPEN,
    SAME,
    SLICE,
    STATED,
    WHOLE,
    WORSE,
    Change,
    compare,
    paired,
    rank,
    small_slices,
)
from forecast.evaluation.comparison.correction import CORRECTED, corrected
from forecast.evaluation.comparison.headline import headline_changes, is_safety, judged
from forecast.evaluation.comparison.words import change_words, reason, rows_of, size
from forecast.evaluation.output.folder import COMPARISON, whole_folder
from forecast.evaluation.output.numbers import counted, interval, number
from forecast.evaluation.output.saved import SavedEvaluation, read_evaluation
from forecast.evaluation.scoring.slices import SLICINGS
from forecast.evaluation.scoring.statistics import MIN_ROWS
from forecast.evaluation.verdict.acceptance import (
    FAIL,
    NOT_DECIDED,
    PASS,
    Acceptance,
    Outcome,
    judge,
)

MOST_OPEN = 12
"""Number of the largest undecided changes that are listed, and again as many of slices."""


_REASONS = 4
"""Number of headline errors that the answer names, and again as many safety metrics."""

_ANSWERS = {WORSE: "B is worse", OPEN: "undecided whether B is worse"}

WHOM = {"all": "everybody", "movers": "movers"}
"""Who is in each of the subsets `WHOLE`."""


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
        margin: Share of A's value by which a headline error of B may be worse.
    """

    old: SavedEvaluation
    new: SavedEvaluation
    paired_rows: int
    scenes: int
    changes: list[Change]
    small: Mapping[str, int]
    before: tuple[Outcome, ...]
    after: tuple[Outcome, ...]
    margin: float = 0.0

    @classmethod
    def of(cls, old: SavedEvaluation, new: SavedEvaluation, margin: float = 0.0) -> Comparison:
        """Compares two evaluations; raises `ForecastError` if they are not of the same windows."""
        require(0 <= margin < math.inf, "margin", f"{100 * margin:g} %", "0 or more per cent")
        pairs = paired(old, new)
        return cls(
            old=old,
            new=new,
            paired_rows=len(pairs[0]),
            scenes=len(np.unique(old.columns["scene_id"])),
            changes=corrected(compare(old, new, pairs)),
            small=small_slices(old),
            before=_outcomes(old.acceptance, old, pairs[0]),
            after=_outcomes(old.acceptance, new, pairs[1]),
            margin=margin,
        )

    @property
    def headlines(self) -> dict[str, list[Change]]:
        """The changes of the headline errors, by title; see `headline_changes`."""
        return headline_changes(self.changes)

    @property
    def answer(self) -> str:
        """`WORSE`, `OPEN` or `BETTER`, as this file says at its top."""
        for answer in (WORSE, OPEN):
            if self._judged(answer) or self._other_reasons(answer):
                return answer
        return BETTER

    @property
    def sentence(self) -> str:
        """The answer with its reasons, in one line."""
        answer = self.answer
        allowed = f"at most {100 * self.margin:g} % worse" if self.margin else ""
        if answer == BETTER:
            kinds = f"better, the same or {allowed}" if allowed else "better or the same"
            safety = "no safety metric is shown to be worse"
            return f"B is no worse: every headline error is {kinds}, and {safety}"
        reasons = self._judged(answer) + self._other_reasons(answer)
        margin = f" (allowed: {allowed})" if allowed else ""
        return f"{_ANSWERS[answer]}: {'; '.join(reasons)}{margin}"

    def _judged(self, answer: str) -> list[str]:
        """The headline errors with one answer and their change, the largest regression first."""
        chosen = [
            (rank(one), f"{title} of {WHOM[one.where]} {reason(one)}")
            for title, changes in self.headlines.items()
            for one in changes
            if judged(one, self.margin) == answer
        ]
        return _first([words for _, words in sorted(chosen)])

    def _other_reasons(self, answer: str) -> list[str]:
        """Why the answer is `WORSE` or `OPEN`, apart from the headline errors."""
        if answer == WORSE:
            named = {
                "safety metrics are worse": self.harmed,
                "fails criteria that A meets": self.broken,
                "breaks guarantees that A gives": self.lost_required,
            }
        else:
            named = {
                "lacks metrics that A has, or has them for fewer prediction times": self.lost,
                "no longer surely meets criteria that A meets": self.unsure,
                "guarantees that A gives were not tried": self.untried,
            }
        reasons = [f"{words}: {', '.join(names)}" for words, names in named.items() if names]
        if answer == OPEN and self.new.learnt:
            reasons.append(f"B was trained on {len(self.new.learnt)} of the scored scenes")
        return reasons

    @property
    def harmed(self) -> list[str]:
        """The safety metrics in which B is worse, with the size of their changes."""
        worse = filter(is_safety, self.of_verdict(WORSE))
        return _first([f"{one.metric} of {WHOM[one.where]} {size(one)}" for one in worse])

    @property
    def lost(self) -> list[str]:
        """The metrics that B lacks in any row in which A has them, and that can get a verdict."""
        return list(dict.fromkeys(one.metric for one in self.of_verdict(LOST) if one.decidable))

    @property
    def broken(self) -> list[str]:
        """The criteria that A meets and that B fails, or has fewer rows for."""
        return [
            one.criterion.id
            for one, two in zip(self.before, self.after, strict=True)
            if one.verdict == PASS and (two.verdict == FAIL or two.found.n < one.found.n)
        ]

    @property
    def unsure(self) -> list[str]:
        """The criteria that A meets and that are not decided for B, on as many rows."""
        pairs = zip(self.before, self.after, strict=True)
        open_now = [
            o.criterion.id for o, t in pairs if (o.verdict, t.verdict) == (PASS, NOT_DECIDED)
        ]
        return [name for name in open_now if name not in self.broken]

    @property
    def lost_required(self) -> list[str]:
        """Those of `lost_guarantees` without which scores mean little."""
        required = {guarantee.id for guarantee, _ in CHECKS if guarantee.required}
        return [name for name in self.lost_guarantees if name in required]

    @property
    def untried(self) -> list[str]:
        """The required guarantees that hold for A and could not be tried for B."""
        held, now = self.old.guarantees, self.new.guarantees
        required = {guarantee.id for guarantee, _ in CHECKS if guarantee.required}
        return [name for name in held if held[name] and name in required and now.get(name) is None]

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


def _first(reasons: list[str]) -> list[str]:
    """The first reasons, and how many there are beyond them."""
    more = [f"and {len(reasons) - _REASONS} more"] if len(reasons) > _REASONS else []
    return reasons[:_REASONS] + more


RenderComparison = Callable[[Comparison], Mapping[str, str]]
"""Makes the texts of the page, by the name of their file."""


def run_comparison(
    a: Path, b: Path, *, out: Path | None = None, margin: float = 0.0, render: RenderComparison
) -> Comparison:
    """Compares B with A, prints the changes and writes them as a page.

    The caller decides what follows from `Comparison.answer`.

    Args:
        a: Folder of the evaluation of the old predictor.
        b: That of the new one, on the same windows.
        out: New or empty folder for the page, or a comparison to be replaced; None: no page.
        margin: Share of A's value by which a headline error of B may be worse.
        render: Makes the page (`forecast.report.render_comparison`).

    Raises:
        ForecastError: The two cannot be compared.
    """
    found = Comparison.of(read_evaluation(a), read_evaluation(b), margin)
    if out is not None:
        with whole_folder(out, COMPARISON) as folder:
            for file, text in render(found).items():
                (folder / file).write_text(text, encoding="utf-8")
    print(_summary(found))
    print(headline_table(found))
    print(f"\n{found.sentence}")
    print(_criteria(found))
    print(table(found))
    return found


def _outcomes(
    acceptance: Acceptance, each: SavedEvaluation, rows: NDArray[np.int64]
) -> tuple[Outcome, ...]:
    wanted = {criterion.metric for criterion in acceptance.criteria}
    missing = dict.fromkeys(wanted - set(each.columns), np.full(len(rows), np.nan))
    columns = missing | {name: column[rows] for name, column in each.columns.items()}
    labels = {name: columns[SLICE + name] for name in SLICINGS}
    return judge(acceptance, columns["scene_id"], labels, columns, each.setting["horizon_s"])


def _summary(found: Comparison) -> str:
    old, new = found.old, found.new
    return (
        f"B {new.name} ({new.path}) minus A {old.name} ({old.path}): {found.paired_rows} paired "
        f"prediction times in {counted(found.scenes, 'scene')}; 95 % intervals over scenes. Lower "
        "is better, except for metrics with a target: their change is that of the distance from "
        f"it. {CORRECTED}"
    )


def headline_table(found: Comparison) -> str:
    """The headline errors of everybody and of movers, with the size of each change."""
    lines = []
    for where, whom in WHOM.items():
        rows = {
            title: one
            for title, changes in found.headlines.items()
            for one in changes
            if one.where == where
        }
        n = max((one.counts[0] for one in rows.values()), default=0)
        head = f"headline errors of {whom} ({n})"
        lines.append(f"\n{head:<32}{'A':>8}{'B':>9}   verdict    change (95 % interval)")
        lines += [
            f"  {title:<30}{number(one.before):>8}{number(one.after):>9}   {one.verdict:<9}  "
            f"{change_words(one)}"
            for title, one in rows.items()
        ]
    return "\n".join(lines)


def table(found: Comparison) -> str:
    """All changes by verdict; of the undecided ones only the largest."""
    lines = []
    for verdict, words in _WORDS.items():
        changes = found.of_verdict(verdict)
        shown = found.largest_open if verdict == OPEN else [] if verdict == SAME else changes
        largest = f"; the {len(shown)} largest" if 0 < len(shown) < len(changes) else ""
        sides = f": {leanings(changes)}" if verdict == OPEN and changes else ""
        lines.append(f"\n{verdict} ({len(changes)}{sides}){words}{largest}")
        lines += [_line(change) for change in shown]
    if found.small:
        few = ", ".join(f"{where} ({count})" for where, count in found.small.items())
        lines.append(f"\nnot compared, fewer than {MIN_ROWS} prediction times: {few}")
    return "\n".join(lines)


_WORDS = {
    LOST: ": B lacks it in rows in which A has it",
    WORSE: "",
    OPEN: ": the interval holds 0, too few scenes, or chance may explain it",
    BETTER: "",
    SAME: ": every value is the same",
    NEW: ": B has it and A does not; no verdict",
    STATED: ": no verdict, as there are no rows or neither direction is better",
}


def leanings(changes: Sequence[Change]) -> str:
    """How many changes are toward the worse and toward the better, as text."""
    worse = sum(change.share > 0 for change in changes)
    better = sum(change.share < 0 for change in changes)
    return f"{worse} toward worse, {better} toward better"


def _line(change: Change) -> str:
    values = f"{number(change.before):>8} -> {number(change.after):>8}"
    head = f"  {change.where:<38} {change.metric:<26} {values}"
    if math.isnan(change.difference.value):
        return head
    ends = interval(change.difference, signed=True)
    sure = f" ({ends})" if ends else " (no interval)" if change.sampled else ""
    rows = f", n = {rows_of(change)}" if change.sampled else ""
    return f"{head}  {size(change)}{sure}{rows}"


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
