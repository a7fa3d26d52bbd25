"""How the error grows with time."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from forecast.evaluation.numbers import number
from forecast.evaluation.result import EvaluationResult
from forecast.report.section import Cell, Figure, Section, Table
from forecast.report.style import draw_series, svg
from forecast.report.times import shown_steps

Floats = NDArray[np.float64]

_OFF_THE_CHART = "stationary"
"""Its error dwarfs all others; the table holds it."""


_FIGURES = (
    (
        "top1",
        "Error of the single best guess against time",
        "Mean error of the predictor's single best guess (top-1) against time, movers. Good is "
        "below every floor at every time; joining constant velocity at the end means that nothing "
        "was learnt about where people are going.",
    ),
    (
        "best",
        "Distance of the nearest sample against time",
        "Mean distance from the truth to the nearest of all samples, at each time on its own, "
        "movers. Low is good, but more and wider samples lower it too: read it with the "
        "calibration.",
    ),
)


def horizon(result: EvaluationResult) -> Section:
    """Error against time, of the single best guess and of the nearest sample."""
    figures = tuple(
        Figure(caption, _figure(result, key, label)) for key, label, caption in _FIGURES
    )
    return Section("horizon", "Error against time", (*figures, _table(result)))


def _figure(result: EvaluationResult, key: str, label: str) -> Markup:
    times = result.times_s
    movers = result.rows.movers if result.rows.movers.any() else slice(None)
    errors = {
        name: scores.errors_m[key][movers].mean(axis=0)
        for name, scores in result.table.items()
        if name == result.predictor or name != _OFF_THE_CHART
    }

    def draw(axes: Axes) -> None:
        draw_series(axes, times, errors, result.table)
        axes.set(xlabel="seconds ahead", ylabel="error in m", xlim=(0, times[-1]), ylim=(0, None))

    return svg(draw, width_in=4.6, height_in=3.2, label=label)


def _table(result: EvaluationResult) -> Table:
    """Error of the single best guess at each whole second and at the end."""
    steps, times = shown_steps(result.times_s)
    rows = tuple(
        (Cell(name), *(Cell(number(float(error))) for error in _at(scores, steps)))
        for name, scores in result.table.items()
    )
    caption = (
        "Mean error in metres of the predictor's single best guess, all origins. Lower is better."
    )
    return Table(caption, ("all origins", *times), rows)


def _at(scores: EvaluationResult, steps: NDArray[np.int64]) -> Floats:
    return scores.errors_m["top1"][:, steps].mean(axis=0, dtype=np.float64)
