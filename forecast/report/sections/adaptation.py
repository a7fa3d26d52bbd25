"""What a model learnt from a stream of scenes, from the ledger of ``forecast adapt``."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from forecast.adaptation.gate import Change
from forecast.adaptation.ledger import (
    HELD_OUT,
    LEARNT,
    REFUSED,
    ROLLED_BACK,
    Entry,
    Ledger,
    Undone,
)
from forecast.adaptation.testing import LEVEL, Tested
from forecast.evaluation.output.numbers import UNDEFINED, counted
from forecast.report.section import Block, Cell, Facts, Figure, FoldedTables, Section, Table, Text
from forecast.report.style import SERIES, svg
from forecast.visualization.birds_eye import LIGHT

_DONE = (LEARNT, HELD_OUT, ROLLED_BACK, REFUSED)

_MOST_GROUPS = 8
"""Rows of the table: scenes are grouped into at most so many."""

_SMOOTHED = 8
"""A line is the mean of at most so many of the latest scenes."""

_NOISE = 2.0
"""Standard errors that a difference has to exceed to be called sure."""


def adaptation(ledger: Ledger) -> Section:
    """Accuracy and coverage against scenes seen, old data, time, and what was rolled back.

    Args:
        ledger: What the adaptation did; scenes that were undone are only counted.
    """
    entries = ledger.entries
    blocks: list[Block] = [_overall(entries), *_old_data(ledger), _facts(ledger)]
    if _tests(entries):
        blocks += [_accuracy(entries), *_coverage(entries)]
    if any(entry.since_start for entry in entries):
        blocks.append(_backward_transfer(ledger))
    if entries:
        blocks += [_time(entries), _by_group(entries)]
    blocks += _not_learnt(entries)
    data = {"entries": [msgspec.to_builtins(entry) for entry in entries], "undone": _undone(ledger)}
    return Section("adaptation", "Adaptation", tuple(blocks), data)


def _tests(entries: Sequence[Entry]) -> list[Tested]:
    """The scores of the scenes that were scored."""
    return [entry.test for entry in entries if entry.test is not None]


def _overall(entries: Sequence[Entry]) -> Text:
    """Whether scenes were predicted better than without adapting, before they were learnt from."""
    tests = _tests(entries)
    change = Change.of([each.loss_at_start for each in tests], [each.loss for each in tests])
    if change is None:
        few = f"{counted(len(tests), 'scene')} scored: too few to say whether adapting helps."
        return Text(few, "open", overall=True)
    difference = change.after - change.before
    sure = abs(difference) > _NOISE * change.error
    sentence = (
        f"{change.scenes} scenes before each was learnt from: mean loss {change.after:.4f}, with "
        f"the weights of the start {change.before:.4f} ({_percent(change)})"
    )
    tone = ("good" if difference < 0 else "bad") if sure else "open"
    return Text(f"{sentence}{'.' if sure else ', which may be noise.'}", tone, overall=True)


def _old_data(ledger: Ledger) -> list[Text]:
    """What became of the old data."""
    kept = [entry.since_start for entry in ledger.entries if entry.done == LEARNT]
    if not kept or kept[-1] is None:
        return []
    last = kept[-1]
    sentence = (
        f"{last.scenes} held-out scenes of the old data: loss {last.before:.4f} at the start, "
        f"{last.after:.4f} now ({_percent(last)}). What is beyond {_forgotten(ledger):+.1%} and "
        "beyond its noise is rolled back."
    )
    return [Text(sentence, "good" if last.after <= last.before else "plain")]


def _forgotten(ledger: Ledger) -> float:
    """The share by which the loss on the old data may rise."""
    return float(ledger.header.config["forgotten"])


def _percent(change: Change) -> str:
    return f"{change.after / change.before - 1:+.1%}"


def _undone(ledger: Ledger) -> list[int]:
    """The scenes that were gone back to, in order."""
    return [line.undone_to for line in ledger.lines if isinstance(line, Undone)]


def _facts(ledger: Ledger) -> Facts:
    entries = ledger.entries
    counts = Counter(entry.done for entry in entries)
    facts = [
        ("Scenes", str(len(entries))),
        *((each.capitalize(), str(counts[each])) for each in _DONE),
        ("Times gone back to an earlier scene", str(len(_undone(ledger)))),
        ("Weights of the start (SHA-256)", ledger.header.weights_sha256),
    ]
    if entries:
        took, fitted = [entry.seconds for entry in entries], entries[-1].calibrated_on
        words = f"{statistics.median(took):.1f} s (median), {max(took):.1f} s (longest)"
        facts += [
            ("Weights now (SHA-256)", entries[-1].after_sha256),
            ("Tubes fitted on", counted(fitted, "scene") if fitted else "none of these scenes"),
            ("Processor time of a scene", words),
        ]
    return Facts(tuple(facts))


def _accuracy(entries: Sequence[Entry]) -> Figure:
    """The loss beside that of the weights of the start, because some scenes are harder."""
    scored = [(entry.number, entry.test) for entry in entries if entry.test is not None]
    numbers = [number for number, _ in scored]
    changes = [test.loss - test.loss_at_start for _, test in scored]

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=LIGHT.muted, linewidth=1)
        _draw(axes, numbers, changes)
        axes.set(ylabel="loss minus that of the start")

    caption = (
        "Accuracy against scenes seen: how much the loss on each scene, before it was learnt from, "
        "differed from that of the weights of the start (points), and the mean of the latest "
        f"{_SMOOTHED} scenes (line). Good: below 0, and falling."
    )
    return _figure(caption, draw, "Loss against scenes seen")


def _coverage(entries: Sequence[Entry]) -> list[Block]:
    known = [
        (entry.number, entry.test.coverage_90, entry.test.truths)
        for entry in entries
        if entry.test is not None and entry.test.coverage_90 is not None
    ]
    if not known:
        return [Text("There were no tubes yet when the scenes were scored: no coverage is known.")]
    numbers, shares, truths = zip(*known, strict=True)

    def draw(axes: Axes) -> None:
        axes.axhline(LEVEL, color=LIGHT.muted, linewidth=1)
        _draw(axes, numbers, shares, truths)
        axes.set(ylabel="share of truths inside", ylim=(0, 1.03))

    caption = (
        f"Coverage against scenes seen: the share of truths inside the {LEVEL:.0%} tubes of each "
        f"scene before it was learnt from (points), and that of the latest {_SMOOTHED} scenes "
        "together (line). Good: the line comes to the thin one and stays there."
    )
    return [_figure(caption, draw, "Coverage against scenes seen")]


def _backward_transfer(ledger: Ledger) -> Figure:
    """The loss on the old data after each step, with those that were rolled back."""
    changes = {
        done: [
            (entry.number, 100 * (entry.since_start.after / entry.since_start.before - 1))
            for entry in ledger.entries
            if entry.done == done and entry.since_start is not None
        ]
        for done in (LEARNT, ROLLED_BACK)
    }
    limit = 100 * _forgotten(ledger)

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=LIGHT.muted, linewidth=1)
        axes.axhline(limit, color=LIGHT.mode, linewidth=1, label="kept whatever its noise")
        for (done, points), mark in zip(changes.items(), ("o-", "x"), strict=True):
            if not points:
                continue
            colour = SERIES[0][0] if done == LEARNT else LIGHT.mode
            axes.plot(*zip(*points, strict=True), mark, color=colour, markersize=4, label=done)
        axes.set(ylabel="loss on old data, change in %")
        axes.legend(fontsize=8)

    caption = (
        "Backward transfer: how much the loss on held-out scenes of the old data had changed since "
        "the start. Crosses are steps that were rolled back, because of the old data or of the "
        "stream. Good: 0 or below."
    )
    return _figure(caption, draw, "Loss on the old data against scenes seen")


def _time(entries: Sequence[Entry]) -> Figure:
    def draw(axes: Axes) -> None:
        _draw(axes, [entry.number for entry in entries], [entry.seconds for entry in entries])
        axes.set(ylabel="processor seconds", ylim=(0, None))

    caption = (
        f"Processor time of each scene (points), and the mean of the latest {_SMOOTHED} (line). "
        "Good: flat, since what is replayed is bounded."
    )
    return _figure(caption, draw, "Time of each scene")


def _figure(caption: str, draw: Callable[[Axes], None], label: str) -> Figure:
    """A figure over the numbers of the scenes."""

    def over_scenes(axes: Axes) -> None:
        draw(axes)
        axes.set(xlabel="scene")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    return Figure(caption, svg(over_scenes, width_in=4.6, height_in=3.2, label=label))


def _draw(
    axes: Axes,
    numbers: Sequence[int],
    values: Sequence[float],
    weights: Sequence[float] | None = None,
) -> None:
    """Draws a value of each scene as a point, and the mean of the latest as a line."""
    colour = SERIES[0][0]
    axes.plot(numbers, values, "o", color=colour, markersize=3, alpha=0.45)
    axes.plot(numbers, latest_mean(values, weights), color=colour, linewidth=2.2)


def latest_mean(
    values: Sequence[float], weights: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """The weighted mean of each value ``[N]`` and the seven before it, or as many as there are."""
    each, count = np.array(values, float), np.ones(len(values))
    count = count if weights is None else np.maximum(np.array(weights, float), 1e-9)
    means = [
        np.average(
            each[max(0, last - _SMOOTHED) : last], weights=count[max(0, last - _SMOOTHED) : last]
        )
        for last in range(1, len(each) + 1)
    ]
    return np.array(means)


def _by_group(entries: Sequence[Entry]) -> Table:
    """The numbers of the figures, for groups of scenes that follow one another."""
    size = -(-len(entries) // _MOST_GROUPS)
    groups = [entries[start : start + size] for start in range(0, len(entries), size)]
    header = ("scenes", "loss", "at the start", "inside tubes", *_DONE, "old data", "time")
    caption = (
        "The same in numbers. Loss: as adapted by then, and with the weights of the start; inside "
        f"tubes: share of truths inside the {LEVEL:.0%} tubes; old data: change of their loss "
        "since the start; time: median processor seconds. Good: the first loss is lower, the share "
        f"near {LEVEL:g}, the change at or below 0."
    )
    return Table(caption, header, tuple(map(_row, groups)))


def _row(group: Sequence[Entry]) -> tuple[Cell, ...]:
    tests, counts = _tests(group), Counter(entry.done for entry in group)
    known = [each for each in tests if each.coverage_90 is not None and each.truths]
    inside = sum(each.truths * (each.coverage_90 or 0) for each in known)
    kept = [e.since_start for e in group if e.done == LEARNT and e.since_start is not None]
    span = f"{group[0].number}" if len(group) == 1 else f"{group[0].number} to {group[-1].number}"
    return (
        Cell(span),
        *(
            Cell(f"{statistics.mean(losses):.4f}" if losses else UNDEFINED)
            for losses in ([t.loss for t in tests], [t.loss_at_start for t in tests])
        ),
        Cell(f"{inside / sum(each.truths for each in known):.3f}" if known else UNDEFINED),
        *(Cell(str(counts[done])) for done in _DONE),
        Cell(_percent(kept[-1]) if kept else UNDEFINED),
        Cell(f"{statistics.median(entry.seconds for entry in group):.1f}"),
    )


def _not_learnt(entries: Sequence[Entry]) -> list[Block]:
    """The scenes that were rolled back or refused, with the reasons."""
    rows = tuple(
        (Cell(f"{e.number}: {e.scene}"), Cell(e.done), Cell(e.why)) for e in entries if e.why
    )
    if not rows:
        return [Text("Nothing was rolled back or refused.")]
    caption = (
        "Scenes that changed nothing, and why. Good: few, and each for a reason that is right."
    )
    title = f"Rolled back or refused: {counted(len(rows), 'scene')}"
    return [FoldedTables(title, (Table(caption, ("scene", "what was done", "why"), rows),))]
