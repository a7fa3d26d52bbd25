"""Whether the truth falls where it is said to fall, as often as it is said to."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from forecast.drawing import LIGHT
from forecast.evaluation.result import CALIBRATION_LEVELS, EvaluationResult
from forecast.report.numbers import number
from forecast.report.section import Cell, Figure, Section, Table, Text
from forecast.report.style import draw_series, svg

_SHOWN = [CALIBRATION_LEVELS.index(level) for level in (0.5, 0.8, 0.9, 0.95)]


def calibration(result: EvaluationResult) -> Section:
    """Reliability over all steps, and the predictor's coverage second by second."""
    blocks: list[Text | Figure | Table] = []
    stated = {
        name: np.nanmean(scores.coverage, axis=(0, 1))
        for name, scores in result.table.items()
        if not np.isnan(scores.coverage).all()
    }
    if stated:
        blocks.append(_reliability(stated, result))
    if result.predictor in stated:
        blocks.append(_by_second(result))
    else:
        blocks.append(
            Text(f"{result.predictor} gives no spread of futures, so nothing can be said of it.")
        )
    return Section("calibration", "Calibration", tuple(blocks))


def _reliability(stated: dict[str, NDArray[np.float32]], result: EvaluationResult) -> Figure:
    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=LIGHT.muted, linewidth=1)
        draw_series(axes, np.array(CALIBRATION_LEVELS), stated, result.table)
        axes.set(xlabel="stated probability", ylabel="share of truths inside", aspect="equal")
        axes.set(xlim=(0, 1), ylim=(0, 1))

    caption = (
        "How often the truth lies inside the region said to hold it with a given probability, all "
        "origins and steps. Good is on the diagonal; below it the predictor is too sure of itself, "
        "above it too vague."
    )
    return Figure(caption, svg(draw, width_in=4.2, height_in=4.0, label="Reliability"))


def _by_second(result: EvaluationResult) -> Table:
    steps = result.coverage.shape[1]
    times = result.setting.dt_s * np.arange(1, steps + 1)
    whole = np.flatnonzero(np.abs(times - np.round(times)) < 1e-6)
    rows = tuple(
        (
            Cell(f"{CALIBRATION_LEVELS[level]:.0%}"),
            *(Cell(_share(result.coverage[:, step, level])) for step in whole),
        )
        for level in _SHOWN
    )
    header = ("stated", *(f"{times[step]:g} s" for step in whole))
    caption = (
        f"Share of truths inside the region of {result.predictor} at each second, all origins. "
        "Good is the number at the start of the row."
    )
    return Table(caption, header, rows)


def _share(covered: NDArray[np.float32]) -> str:
    return number(float("nan") if np.isnan(covered).all() else float(np.nanmean(covered)))
