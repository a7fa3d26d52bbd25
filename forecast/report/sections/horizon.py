"""How the error grows with time."""

from __future__ import annotations

from markupsafe import Markup
from matplotlib.axes import Axes

from forecast.evaluation.output.numbers import interval, number
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.statistics import Estimate, scene_means
from forecast.report.section import Cell, Figure, Section, Table
from forecast.report.style import draw_series, svg
from forecast.report.times import shown_steps

_OFF_THE_CHART = "stationary"
"""Not drawn, because its error is much larger than all others; the table holds it."""


_FIGURES = (
    (
        "top1",
        "Error of the single best guess against time",
        "Mean error of the predictor's single best guess (top-1) against time, movers. Good is "
        "below every baseline at every time; meeting constant velocity at the end means that "
        "nothing was learnt about where people are going.",
    ),
    (
        "best",
        "Distance of the nearest sample against time",
        "Mean distance from the truth to the nearest of all samples, at each time on its own, "
        "movers. Low is good, but more and wider samples lower it too: read it with the "
        "calibration.",
    ),
)


_TABLES = {
    "top1": "the predictor's single best guess",
    "mean": "the samples' mean",
    "best": "the nearest sample, at each time on its own",
}


def horizon(result: EvaluationResult) -> Section:
    """Error against time, of the single best guess and of the nearest sample."""
    figures = tuple(
        Figure(caption, _figure(result, key, label)) for key, label, caption in _FIGURES
    )
    tables = [_table(result, key, words) for key, words in _TABLES.items()]
    return Section("horizon", "Error against time", (*figures, *tables), _data(result))


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


def _table(result: EvaluationResult, key: str, words: str) -> Table:
    """Errors at each whole second and at the end."""
    _, times = shown_steps(result.times_s)
    rows = tuple(
        (Cell(name), *(Cell(number(each.value), interval(each)) for each in _at(scores, key)))
        for name, scores in result.table.items()
    )
    caption = f"Mean error in metres of {words}, all prediction times. Low is good."
    return Table(caption, ("all prediction times", *times), rows)


def _at(scores: EvaluationResult, key: str) -> list[Estimate]:
    """Mean errors of all rows at the shown steps."""
    steps, times = shown_steps(scores.times_s)
    columns = dict(zip(times, scores.errors_m[key][:, steps].T, strict=True))
    return list(scene_means(columns, scores.rows.scene_ids).values())


def _data(result: EvaluationResult) -> dict[str, object]:
    """Errors by predictor, kind and time."""
    _, times = shown_steps(result.times_s)
    return {
        name: {key: dict(zip(times, _at(scores, key), strict=True)) for key in _TABLES}
        for name, scores in result.table.items()
    }
