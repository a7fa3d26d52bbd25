"""A `Comparison` as one self-contained HTML page, and as JSON of the same content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np
from matplotlib.axes import Axes

from forecast.evaluation.comparison.changes import (
    BETTER,
    LOST,
    NEW,
    OPEN,
    SAME,
    STATED,
    WHOLE,
    WORSE,
    Change,
)
from forecast.evaluation.comparison.comparison import WHOM, Comparison, leanings
from forecast.evaluation.comparison.correction import CORRECTED
from forecast.evaluation.comparison.words import (
    percent_words,
    rows_of,
    span,
    target_words,
    unit_words,
)
from forecast.evaluation.output.folder import COMPARISON_DOCUMENT_FILE, COMPARISON_FILE
from forecast.evaluation.output.numbers import UNDEFINED, counted, interval, number, signed
from forecast.evaluation.output.saved import SavedEvaluation
from forecast.evaluation.scoring.statistics import MIN_ROWS, MIN_SCENES
from forecast.evaluation.verdict.acceptance import FAIL, PASS, Outcome
from forecast.report.document import COMPARISON_FORMAT, document
from forecast.report.page import page
from forecast.report.section import Block, Cell, Facts, Figure, Folded, Section, Table, Text
from forecast.report.style import svg
from forecast.visualization.birds_eye import LIGHT

_TONES = {LOST: "fail", WORSE: "fail", OPEN: "undecided", BETTER: "pass"}
_TONES |= dict.fromkeys((SAME, NEW, STATED), "")
_MARKS = {WORSE: ("^", LIGHT.mode), OPEN: ("o", LIGHT.muted), BETTER: ("v", LIGHT.truth)}
_ANSWER_TONES = {WORSE: "bad", OPEN: "open", BETTER: "good"}
_LEAST = 1e-3
_DRAWN = (
    *("top1_fde_m", "mean_fde_m", "min_fde_", "modes_min_fde_", "joint_fde_m", "energy_score_m"),
    *("miss_rate_final_2m", "conflict_missed", "plan_regret_m"),
)


def render_comparison(found: Comparison) -> dict[str, str]:
    """The files of the comparison: ``compare.html`` and ``compare.json``, by name."""
    sections = [
        _verdict(found),
        _headline(found),
        _criteria(found),
        _overall(found),
        _slices(found),
        _provenance(found),
    ]
    title = f"{found.new.name} in place of {found.old.name}"
    return {
        COMPARISON_FILE: page(title, sections),
        COMPARISON_DOCUMENT_FILE: document(title, sections, COMPARISON_FORMAT),
    }


def _verdict(found: Comparison) -> Section:
    """Whether B may replace A, on one screen."""
    setting = found.old.setting
    facts = (
        ("A, the old", found.old.name),
        ("B, the new", found.new.name),
        ("Data", f"{setting['source']}, {setting['split']}: {counted(found.scenes, 'scene')}"),
        (
            "Paired",
            f"{counted(found.paired_rows, 'prediction time')}, {setting['horizon_s']:g} s ahead",
        ),
    )
    counts = {verdict: len(found.of_verdict(verdict)) for verdict in _TONES}
    overall = Text(_sentence(found), _ANSWER_TONES[found.answer], overall=True)
    words: list[Block] = [overall, Facts(facts), _gate(found), *_losses(found)]
    if found.scenes < MIN_SCENES:
        few = f"Too few for intervals ({counted(found.scenes, 'scene')}): no mean is decided."
        words.append(Text(few, "open"))
    for verdict, tone in ((WORSE, "bad"), (BETTER, "good")):
        if counts[verdict]:
            judged = sum(counts[each] for each in (WORSE, OPEN, BETTER))
            many = f"{counts[verdict]} of {judged} means"
            words.append(Text(f"B is {verdict} in {many}.", tone))
    if counts[OPEN]:
        many = f"{counts[OPEN]} means are undecided"
        words.append(Text(f"{many}: {leanings(found.of_verdict(OPEN))}.", "open"))
    words.append(Text(f"{CORRECTED}."))
    data = {
        "answer": found.answer,
        "margin": found.margin,
        "a": found.old.name,
        "b": found.new.name,
        "counts": counts,
        "broken": found.broken,
        "forsaken": found.lost_guarantees,
    }
    return Section("verdict", "Verdict", tuple(words), data)


def _sentence(found: Comparison) -> str:
    return f"{found.sentence[0].upper()}{found.sentence[1:]}."


def _headline(found: Comparison) -> Section:
    """The headline errors with the size of each change, also where it is undecided."""
    changes = [(title, one) for title, row in found.headlines.items() for one in row]
    rows = tuple(
        (
            Cell(title, f"{WHOM[one.where]}, n = {rows_of(one)}"),
            Cell(one.verdict, tone=_TONES[one.verdict]),
            Cell(number(one.before)),
            Cell(number(one.after)),
            *_sizes(one),
        )
        for title, one in changes
    )
    caption = (
        "The headline errors of A and B, and B minus A in metres and in per cent of A's mean. "
        "Coverage: how much farther from its level. Small print: 95 % intervals from a bootstrap "
        "over scenes. Good: the whole interval is below 0. Undecided: it holds 0, or there are "
        f"fewer than {MIN_SCENES} scenes and no interval. Lost: B lacks it in rows in which A has "
        "it, and A and B are means of the rows that both have. The size says how large the change "
        "is on these scenes, also where it is undecided."
    )
    header = ("error", "verdict", "A", "B", "change", "% of A")
    named = zip(changes, _data([one for _, one in changes]), strict=True)
    data = {"changes": [{"title": title, **facts} for (title, _), facts in named]}
    return Section("headline", "Headline errors", (Table(caption, header, rows, cards=True),), data)


def _sizes(change: Change) -> tuple[Cell, Cell]:
    """The change in the metric's unit and in per cent, each with its interval."""
    ends, shares = span(change)
    size = f"{signed(change.difference.value)}{unit_words(change)}{target_words(change)}"
    percent = percent_words(change)
    return Cell(size, ends), Cell(percent or UNDEFINED, f"{shares} %" if shares else "")


def _gate(found: Comparison) -> Text:
    if found.broken:
        return Text(f"B fails criteria that A meets: {', '.join(found.broken)}.", "bad")
    met = sum(outcome.verdict == PASS for outcome in found.before)
    if not met:
        return Text("A meets none of its acceptance criteria, so B can break none.", "open")
    return Text(f"B fails none of the {met} acceptance criteria that A meets.", "good")


def _losses(found: Comparison) -> list[Text]:
    """Metrics and guarantees that A has and B lacks."""
    texts = []
    if found.lost_guarantees:
        texts.append(
            Text(f"Guarantees that A gives and B breaks: {_list(found.lost_guarantees)}.", "bad")
        )
    lost = dict.fromkeys(change.metric for change in found.of_verdict(LOST))
    if lost:
        words = "Metrics that B lacks in rows in which A has them"
        texts.append(Text(f"{words}: {_list(lost)}.", "bad"))
    return texts


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _criteria(found: Comparison) -> Section:
    """The criteria of A, those that B breaks first."""
    pairs = list(zip(found.before, found.after, strict=True))
    pairs.sort(key=lambda pair: (pair[0].criterion.id not in found.broken, pair[1].verdict != FAIL))
    rows = tuple(
        (
            Cell(before.criterion.id, before.criterion.condition),
            *(_verdict_cell(outcome) for outcome in (before, after)),
            *(_found_cell(outcome) for outcome in (before, after)),
            Cell(before.criterion.demand),
            Cell(str(before.found.n)),
        )
        for before, after in pairs
    )
    caption = (
        "A's acceptance criteria, decided for both on the paired prediction times. Good: nothing "
        "that A passes is failed by B."
    )
    header = ("criterion", "A's verdict", "B's verdict", "A", "B", "demand", "prediction times")
    data = {
        before.criterion.id: {
            "a": {"found": before.found, "verdict": before.verdict},
            "b": {"found": after.found, "verdict": after.verdict},
        }
        for before, after in pairs
    }
    table = Table(caption, header, rows, cards=True)
    return Section("criteria", "Acceptance criteria", (table,), data)


def _verdict_cell(outcome: Outcome) -> Cell:
    return Cell(outcome.verdict, tone=outcome.verdict)


def _found_cell(outcome: Outcome) -> Cell:
    return Cell(number(outcome.found.value), interval(outcome.found))


def _overall(found: Comparison) -> Section:
    """All metrics over all rows and over movers."""
    whole = [change for change in found.changes if change.where in WHOLE]
    drawn = [change for change in whole if _is_drawn(change)]
    blocks: tuple[Block, ...] = (_table(whole, "All metrics, of everybody and of movers."),)
    if drawn:
        blocks = (_figure(drawn), *blocks)
    return Section("overall", "Everybody and movers", blocks, {"changes": _data(whole)})


def _is_drawn(change: Change) -> bool:
    """Whether a change is in the figure, which shows it relative to A's value."""
    main = change.where == "movers" and change.metric.startswith(_DRAWN)
    return main and change.verdict in _MARKS and abs(change.before) > _LEAST


def _slices(found: Comparison) -> Section:
    """The decided changes in slices, and the largest undecided ones."""
    inside = [change for change in found.changes if change.where not in WHOLE]
    decided = [change for change in inside if change.verdict in (WORSE, BETTER)]
    undecided = sum(change.verdict == OPEN for change in inside)
    largest = [change for change in found.largest_open if change.where not in WHOLE]
    blocks: list[Block] = []
    if decided:
        blocks.append(_table(decided, "The slices in which B is worse or better."))
    if largest:
        blocks.append(_table(largest, "The largest of the undecided changes in slices."))
    blocks.append(Text(f"Undecided in slices: {undecided}; compare.json holds them all."))
    if found.small:
        few = _list(f"{where} ({count})" for where, count in found.small.items())
        blocks.append(Text(f"Not compared, fewer than {MIN_ROWS} prediction times: {few}."))
    return Section("slices", "Slices", tuple(blocks), {"changes": _data(inside)})


def _table(changes: Sequence[Change], whom: str) -> Table:
    rows = tuple(
        (
            Cell(change.metric, change.where),
            Cell(change.verdict, tone=_TONES[change.verdict]),
            Cell(number(change.before)),
            Cell(number(change.after)),
            Cell(
                signed(change.difference.value),
                target_words(change).strip() or percent_words(change),
            ),
            Cell(interval(change.difference, signed=True) or UNDEFINED),
            Cell(rows_of(change) if change.sampled else UNDEFINED),
        )
        for change in changes
    )
    caption = (
        f"{whom} Metrics that B lacks and regressions come first. The change is B minus A, paired "
        "by prediction time, with 95 % intervals from a bootstrap over scenes; lower is better. "
        "For metrics with a target (coverage its level, collisions and the way on the road the "
        "recorded world's values), the change is how much farther B is from it. Good: the whole "
        f"interval is below 0. {CORRECTED}. Stated: two numbers without rows, or neither direction "
        "is better."
    )
    header = ("metric", "verdict", "A", "B", "change", "95 %", "prediction times")
    return Table(caption, header, rows, cards=True)


def _figure(changes: Sequence[Change]) -> Figure:
    """Differences in per cent of A's mean, with their intervals."""

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=LIGHT.muted, linewidth=1)
        for place, change in enumerate(changes):
            found, unit = change.difference, 100 / abs(change.before)
            mark, colour = _MARKS[change.verdict]
            axes.plot(found.value * unit, place, mark, color=colour, markersize=6)
            ends = np.array([found.low, found.high]) * unit
            axes.plot(ends, [place, place], color=colour, linewidth=1.6)
        axes.set_yticks(range(len(changes)), [change.metric for change in changes])
        axes.set(xlabel="B minus A, % of A", ylim=(len(changes) - 0.5, -0.5))

    caption = (
        "How much B differs from A on movers, in per cent of A's mean, with 95 % intervals. Good: "
        "the whole interval is left of the line (triangles that point down); right of it B is "
        "worse. Circles: undecided."
    )
    height = 0.9 + 0.26 * len(changes)
    return Figure(caption, svg(draw, width_in=5.2, height_in=height, label="B minus A on movers"))


def _data(changes: Sequence[Change]) -> list[dict[str, object]]:
    return [
        {
            "where": change.where,
            "metric": change.metric,
            "aim": change.aim,
            "a": change.before,
            "b": change.after,
            "counts": change.counts,
            "difference": change.difference,
            "verdict": change.verdict,
        }
        for change in changes
    ]


def _provenance(found: Comparison) -> Section:
    """The evaluations and weights of both."""
    blocks = [block for name, each in _named(found) for block in _of(name, each)]
    data = {name: {"setting": each.setting, "model": each.model} for name, each in _named(found)}
    criteria = [asdict(criterion) for criterion in found.old.acceptance.criteria]
    return Section("provenance", "Provenance", tuple(blocks), {**data, "criteria": criteria})


def _named(found: Comparison) -> tuple[tuple[str, SavedEvaluation], ...]:
    return ("a", found.old), ("b", found.new)


def _of(name: str, each: SavedEvaluation) -> tuple[Block, ...]:
    weights = each.model["weights_sha256"] if each.model else "none"
    facts = (
        (f"{name.upper()}: evaluation", str(each.path)),
        ("Store", f"{each.setting['source']}, {each.setting['fingerprint']}"),
        ("Weights (SHA-256)", str(weights)),
    )
    return Facts(facts), Folded(f"Command of {name.upper()}", each.command)
