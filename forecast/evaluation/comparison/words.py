"""Changes as text, for the console and the page."""

from __future__ import annotations

import math

from forecast.evaluation.comparison.changes import LESS, LOST, MORE, NEITHER, Change
from forecast.evaluation.output.numbers import counted, interval, signed
from forecast.evaluation.scoring.statistics import MIN_SCENES
from forecast.models.metrics.registry import unit_of


def change_words(change: Change) -> str:
    """A change with its intervals: ``+0.361 m (+0.102 to +0.620), +71 % (+20 to +121)``."""
    found, (ends, shares) = change.difference, span(change)
    if math.isnan(found.value):
        return size(change)
    why = f"no interval: {counted(found.scenes, 'scene')}, {MIN_SCENES} are needed"
    share = percent_words(change)
    words = f"{signed(found.value)}{unit_words(change)}{target_words(change)} ({ends or why})"
    rows = f", n = {rows_of(change)}" if change.verdict == LOST else ""
    return f"{words}{f', {share}' if share else ''}{f' ({shares})' if shares else ''}{rows}"


def reason(change: Change) -> str:
    """What a change says against B: its size, or how many of A's rows B has the metric for."""
    if change.verdict == LOST and change.difference.n:
        return f"in B for only {rows_of(change)} prediction times"
    return size(change)


def size(change: Change) -> str:
    """The size of a change: ``+0.361 m, +71 %``."""
    value, share = change.difference.value, percent_words(change)
    if math.isnan(value):
        return "not in B" if change.verdict == LOST else "not in A"
    words = f"{signed(value)}{unit_words(change)}{target_words(change)}"
    return f"{words}, {share}" if share else words


def span(change: Change) -> tuple[str, str]:
    """The interval in the metric's unit and in per cent of A's mean, without the units.

    Both are "" without an interval, the second also where per cent say nothing.
    """
    ends = interval(change.difference, signed=True)
    low, high = (percent(change, end) for end in (change.difference.low, change.difference.high))
    return ends, "" if math.isnan(low) else f"{_rounded(low)} to {_rounded(high)}"


def percent_words(change: Change) -> str:
    """The change in per cent of A's mean; "" where that says nothing."""
    share = percent(change, change.difference.value)
    return "" if math.isnan(share) else f"{_rounded(share)} %"


def _rounded(share: float) -> str:
    """Per cent with a sign, and with one decimal below 10."""
    return f"{share:+.0f}" if abs(share) >= 10 else f"{share:+.1f}"


def target_words(change: Change) -> str:
    """What the change is the distance from, ``from 0.9``, or that higher is better; else ""."""
    if change.aim == MORE:
        return " (higher is better)"
    return "" if change.aim in (LESS, NEITHER) else f" from {change.aim}"


def unit_words(change: Change) -> str:
    """Unit of a metric with a blank before it; "" for shares and counts."""
    unit = unit_of(change.metric)
    return "" if unit == "1" else f" {unit}"


def percent(change: Change, value: float) -> float:
    """A value in the metric's unit as per cent of A's mean.

    NaN where that says nothing: for metrics with a target, log-densities, and a mean of 0.
    """
    if change.aim not in (LESS, MORE) or change.metric.endswith("_nats") or not change.before:
        return math.nan
    return 100 * value / abs(change.before)


def rows_of(change: Change) -> str:
    """The number of rows that both have, and A's own number if it is larger."""
    n, before = change.difference.n, change.counts[0]
    return str(n) if n >= before else f"{n} of A's {before}"
