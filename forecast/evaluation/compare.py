"""``forecast compare``: may a new predictor replace an old one?

Reads the folders of two evaluations, pairs their rows by scene, pedestrian and time, and compares
B with A: differences with intervals, overall and in every slice, regressions first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.evaluation.acceptance import FAIL, PASS, Acceptance, Criterion, Outcome, judge
from forecast.evaluation.numbers import interval, number, signed
from forecast.evaluation.output import COMPARISON, DOCUMENT_FILE, ROWS_FILE, whole_folder
from forecast.evaluation.recorded import RECORDED_METRICS
from forecast.evaluation.slices import SLICINGS, UNKNOWN
from forecast.evaluation.statistics import Estimate, scene_means
from forecast.models.metrics.registry import METRICS, TUBE_METRICS

MIN_ROWS = 30
"""Slices with fewer rows are left out."""

WORSE, OPEN, BETTER = "worse", "undecided", "better"
_KEY = ("scene_id", "agent_id", "at_us")
_SAME = ("fingerprint", "protocol", "history_s", "horizon_s", "samples")
_SLICE = "slice."


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What an evaluation left in its folder.

    Attributes:
        path: The folder.
        name: The predictor.
        setting: What was evaluated on what.
        acceptance: The criteria it was held to.
        columns: Every column of its rows ``[N]``.
        command: The command that made it; "" if there is none.
        model: What the predictor was made from, if it says so.
    """

    path: Path
    name: str
    setting: Mapping[str, Any]
    acceptance: Acceptance
    columns: Mapping[str, NDArray[Any]]
    command: str
    model: Mapping[str, Any] | None

    @property
    def metrics(self) -> list[str]:
        """Metrics of the rows for which less is better.

        Those are not a tube's area alone, nor what should be as frequent as in the recorded world.
        """
        numbers = [name for name, column in self.columns.items() if column.dtype.kind == "f"]
        listed = {name for name, spec in METRICS.items() if spec.lower_is_better}
        listed -= {*TUBE_METRICS, *RECORDED_METRICS}
        return [name for name in numbers if name in listed or name.startswith("selected_")]


@dataclass(frozen=True)
class Change:
    """How a metric differs from A to B.

    Attributes:
        where: ``all``, ``movers``, or a slice.
        metric: The metric; less is better.
        before: A's mean over the paired rows.
        after: B's.
        difference: B less A, paired.
    """

    where: str
    metric: str
    before: float
    after: float
    difference: Estimate

    @property
    def verdict(self) -> str:
        """`WORSE` or `BETTER` if the interval says so; else `OPEN`."""
        found = self.difference
        if math.isnan(found.low) or found.low <= 0 <= found.high:
            return OPEN
        return WORSE if found.value > 0 else BETTER


@dataclass(frozen=True, eq=False)
class Comparison:
    """What changes if B takes the place of A.

    Attributes:
        old: A.
        new: B.
        origins: Number of paired rows.
        scenes: Scenes they are from.
        changes: Every change, regressions first.
        before: How A stands to its acceptance criteria.
        after: How B stands to the same.
    """

    old: Evaluated
    new: Evaluated
    origins: int
    scenes: int
    changes: list[Change]
    before: tuple[Outcome, ...]
    after: tuple[Outcome, ...]

    @classmethod
    def of(cls, old: Evaluated, new: Evaluated) -> Comparison:
        """Compares two evaluations; raises `ForecastError` if they are not of the same windows."""
        pairs = paired(old, new)
        return cls(
            old=old,
            new=new,
            origins=len(pairs[0]),
            scenes=len(np.unique(old.columns["scene_id"])),
            changes=compare(old, new, pairs),
            before=_outcomes(old.acceptance, old, pairs[0]),
            after=_outcomes(old.acceptance, new, pairs[1]),
        )

    @property
    def broken(self) -> list[str]:
        """The criteria that A meets and B fails, or says nothing of any more."""
        return [
            one.criterion.id
            for one, two in zip(self.before, self.after, strict=True)
            if one.verdict == PASS and (two.verdict == FAIL or two.found.n < one.found.n)
        ]

    def of_verdict(self, verdict: str) -> list[Change]:
        """The changes of one verdict, in their order."""
        return [change for change in self.changes if change.verdict == verdict]


Render = Callable[[Comparison], Mapping[str, str]]
"""Makes the texts of the page, by the name of their file."""


def run(a: Path, b: Path, *, out: Path | None = None, render: Render) -> Comparison:
    """Compares B with A, prints what changed and writes it as a page.

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


def read_evaluation(folder: Path) -> Evaluated:
    """Reads what ``forecast evaluate`` wrote; raises `ForecastError` if it is not there."""
    try:
        sections = json.loads((folder / DOCUMENT_FILE).read_text(encoding="utf-8"))["sections"]
        name = sections["verdict"]["data"]["predictor"]
        rows = pq.read_table(folder / ROWS_FILE, filters=[("predictor", "=", name)])
        source = sections["triggering"]["data"]
        known = {field.name for field in fields(Criterion)}
        criteria = [
            Criterion(**{name: value for name, value in each.items() if name in known})
            for each in source["criteria"]
        ]
        return Evaluated(
            path=folder,
            name=name,
            setting=sections["protocol"]["data"]["setting"],
            acceptance=Acceptance(criteria, source["minimum_rows"], source["minimum_scenes"]),
            columns={name: _column(rows[name]) for name in rows.column_names},
            command=sections["provenance"]["data"]["command"],
            model=sections["provenance"]["data"]["model"],
        )
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise ForecastError(
            f"{folder}: not a whole evaluation ({type(error).__name__}); run forecast evaluate "
            "--out there again"
        ) from error


def _column(column: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_dictionary(column.type):
        return np.array(column.cast(pa.string()).to_pylist(), np.str_)
    return column.to_numpy()


def paired(old: Evaluated, new: Evaluated) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of A and of B that are of the same pedestrian at the same time.

    Raises:
        ForecastError: The two were not scored on the same windows.
    """
    for name in _SAME:
        if old.setting[name] != new.setting[name]:
            raise ForecastError(
                f"{new.path}: {name} is {new.setting[name]}, that of {old.path} is "
                f"{old.setting[name]}; evaluate both on the same windows"
            )
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


Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


def compare(old: Evaluated, new: Evaluated, pairs: Pairs) -> list[Change]:
    """Every change, regressions first, the largest share of A's mean first among them.

    All metrics for everybody and for movers; the metrics of `_sliced` in every slice.
    """
    before = {name: column[pairs[0]] for name, column in old.columns.items()}
    after = {name: column[pairs[1]] for name, column in new.columns.items()}
    common = [name for name in old.metrics if name in new.metrics]
    everyone = np.ones(len(pairs[0]), bool)
    changes = _changes("all", everyone, common, before, after)
    changes += _changes("movers", before["mover"].astype(bool), common, before, after)
    for name in SLICINGS:
        labels = before[_SLICE + name]
        for label in np.unique(labels[labels != UNKNOWN]).tolist():
            inside = labels == label
            if inside.sum() >= MIN_ROWS:
                where = f"{name}: {label}"
                changes += _changes(where, inside, _sliced(common), before, after)
    rank = {WORSE: 0, OPEN: 1, BETTER: 2}
    return sorted(changes, key=lambda change: (rank[change.verdict], -_share(change)))


def _sliced(metrics: list[str]) -> list[str]:
    wanted = ("top1_fde_m", "min_fde_", "miss_rate_final_2m", "energy_score_m", "conflict_missed")
    return [name for name in metrics if name.startswith(wanted)]


def _share(change: Change) -> float:
    return change.difference.value / max(abs(change.before), 1e-9)


def _changes(
    where: str,
    inside: NDArray[np.bool_],
    metrics: list[str],
    before: Mapping[str, NDArray[Any]],
    after: Mapping[str, NDArray[Any]],
) -> list[Change]:
    pairs = {name: after[name] - before[name] for name in metrics}
    found = scene_means(pairs, before["scene_id"], inside)
    changes = []
    for name, difference in found.items():
        known = inside & ~np.isnan(pairs[name])
        if difference.n:
            means = [float(each[name][known].mean()) for each in (before, after)]
            changes.append(Change(where, name, means[0], means[1], difference))
    return changes


def _outcomes(
    acceptance: Acceptance, each: Evaluated, rows: NDArray[np.int64]
) -> tuple[Outcome, ...]:
    columns = {name: column[rows] for name, column in each.columns.items()}
    labels = {name: columns[_SLICE + name] for name in SLICINGS}
    return judge(acceptance, columns["scene_id"], labels, columns)


def _summary(found: Comparison) -> str:
    old, new = found.old, found.new
    return (
        f"B {new.name} ({new.path}) less A {old.name} ({old.path}): {found.origins} paired origins "
        f"in {found.scenes} scenes; less is better, 95 % intervals over scenes"
    )


def table(found: Comparison) -> str:
    """What is surely worse, then what is surely better; the undecided are counted."""
    lines = []
    for verdict in (WORSE, BETTER):
        shown = found.of_verdict(verdict)
        lines.append(f"\n{verdict} ({len(shown)})")
        lines += [
            f"  {change.where:<32} {change.metric:<24} {number(change.before):>8} -> "
            f"{number(change.after):>8}  {signed(change.difference.value)} "
            f"({interval(change.difference, signed=True)}), n = {change.difference.n}"
            for change in shown
        ]
    undecided = len(found.of_verdict(OPEN))
    return "\n".join([*lines, f"\n{OPEN} ({undecided}): the interval holds 0, or too few scenes"])


def _criteria(found: Comparison) -> str:
    """Criteria whose verdict changed."""
    lines = [
        f"  {one.criterion.id}: {one.verdict} -> {two.verdict} ({one.criterion.demand}; "
        f"{number(one.found.value)} -> {number(two.found.value)}, n = {one.found.n})"
        for one, two in zip(found.before, found.after, strict=True)
        if one.verdict != two.verdict
    ]
    head = f"\nacceptance criteria of A: {len(found.before)}, {len(lines)} changed"
    return "\n".join([head, *lines])
