"""Whether the stated probabilities hold: how often the truth is inside the predicted regions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from forecast.evaluation.output.numbers import number
from forecast.evaluation.output.writers import per_step
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.scores import CALIBRATION_LEVELS, TUBE_LEVELS
from forecast.report.section import Cell, Figure, Section, Table, Text
from forecast.report.style import draw_series, svg
from forecast.report.times import shown_steps
from forecast.visualization.birds_eye import LIGHT

_SHOWN = [CALIBRATION_LEVELS.index(level) for level in TUBE_LEVELS]


def calibration(result: EvaluationResult) -> Section:
    """Reliability over all steps, sharpness, coverage by the second, and the calibrated tubes."""
    stating = {
        name: scores for name, scores in result.table.items() if not np.isnan(scores.coverage).all()
    }
    blocks: list[Text | Figure | Table] = []
    data = {name: per_step(scores) for name, scores in result.table.items()}
    if stating:
        blocks += [_reliability(stating, result), _sharpness(result, stating, data)]
        blocks += [_by_second(stating, result.times_s), _spread_and_error(result, stating, data)]
    if not np.isnan(result.tube_coverage).all():
        blocks.append(_tubes(result))
    if result.predictor not in stating:
        blocks.append(
            Text(f"{result.predictor} gives no spread of futures, so nothing can be said of it.")
        )
    return Section("calibration", "Calibration", tuple(blocks), data)


def _reliability(stating: dict[str, EvaluationResult], result: EvaluationResult) -> Figure:
    shares = {name: np.nanmean(scores.coverage, axis=(0, 1)) for name, scores in stating.items()}

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=LIGHT.muted, linewidth=1)
        draw_series(axes, np.array(CALIBRATION_LEVELS), shares, result.table)
        axes.set(xlabel="stated probability", ylabel="share of truths inside", aspect="equal")
        axes.set(xlim=(0, 1), ylim=(0, 1))

    caption = (
        "How often the truth lies inside the region said to hold it with a given probability, all "
        "prediction times and steps. Good is on the diagonal; below it the predictor is too "
        "confident, above it too vague."
    )
    return Figure(caption, svg(draw, width_in=4.2, height_in=4.0, label="Reliability"))


def _sharpness(result: EvaluationResult, stating: Iterable[str], data: Mapping[str, Any]) -> Figure:
    """Spread against time, beside the error that the predictor's spread should match."""
    kinds = {name: data[name]["all"] for name in stating}
    spreads = {name: np.array(kind["spread_rms_m"], float) for name, kind in kinds.items()}

    def draw(axes: Axes) -> None:
        if result.predictor in kinds:
            error = np.array(kinds[result.predictor]["mean_error_rms_m"], float)
            label = f"error of {result.predictor}'s mean"
            axes.plot(result.times_s, error, color=LIGHT.ink, linewidth=1, label=label)
        draw_series(axes, result.times_s, spreads, result.table)
        axes.set(xlabel="seconds ahead", ylabel="spread in m")
        axes.set(xlim=(0, result.times_s[-1]), ylim=(0, None))

    caption = (
        "Sharpness: root mean square distance of the samples from their mean, all prediction "
        "times. Low is good as long as it is no lower than the error of that mean (thin line); "
        "below it the samples are too confident."
    )
    return Figure(caption, svg(draw, width_in=4.6, height_in=4.0, label="Sharpness"))


def _spread_and_error(
    result: EvaluationResult, stating: Iterable[str], data: Mapping[str, Any]
) -> Table:
    """Spread and error of the mean at each second."""
    steps, times = shown_steps(result.times_s)
    words = {"spread_rms_m": "spread", "mean_error_rms_m": "error of the mean"}
    rows = tuple(
        (Cell(f"{name}, {what}"), *(Cell(number(data[name]["all"][key][step])) for step in steps))
        for name in stating
        for key, what in words.items()
    )
    caption = (
        "Spread of the samples about their mean and error of that mean, in metres, root mean "
        "square, at each second, all prediction times. Good: both low, and the spread no smaller "
        "than the error."
    )
    return Table(caption, ("", *times), rows)


def _by_second(stating: dict[str, EvaluationResult], times_s: NDArray[np.float64]) -> Table:
    steps, times = shown_steps(times_s)
    rows = tuple(
        (
            Cell(f"{CALIBRATION_LEVELS[level]:.0%} {name}"),
            *(Cell(_share(scores.coverage[:, step, level])) for step in steps),
        )
        for level in _SHOWN
        for name, scores in stating.items()
    )
    caption = (
        "Share of truths inside the region that each predictor says holds them with the stated "
        "probability, at each second, all prediction times. Good is the number at the start of the "
        "row."
    )
    return Table(caption, ("stated", *times), rows)


def _tubes(result: EvaluationResult) -> Table:
    """Coverage and size of the calibrated tubes, beside the coverage of the raw samples."""
    steps, times = shown_steps(result.times_s)

    def row(name: str, values: NDArray[np.float32]) -> tuple[Cell, ...]:
        return Cell(name), *(Cell(_share(values[:, step])) for step in steps)

    rows: list[tuple[Cell, ...]] = []
    for place, level in enumerate(TUBE_LEVELS):
        raw = result.coverage[..., _SHOWN[place]]
        rows += [
            row(f"{level:.0%} tubes", result.tube_coverage[..., place]),
            row(f"{level:.0%} samples' regions", raw),
            row(f"{level:.0%} tubes, mean area m²", result.tube_area_m2[..., place]),
        ]
    caption = (
        f"The calibrated tubes of {result.predictor}: the share of truths inside at each second, "
        "all prediction times, beside that of the regions which its samples alone state, and the "
        "mean area of the tubes. Good is the stated share, with tubes as small as possible."
    )
    return Table(caption, ("stated", *times), tuple(rows))


def _share(covered: NDArray[np.float32]) -> str:
    return number(float("nan") if np.isnan(covered).all() else float(np.nanmean(covered)))
