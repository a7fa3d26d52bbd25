"""Pictures of typical and worst windows from above."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from forecast.evaluation.output.cases import case_words
from forecast.evaluation.result import EvaluationResult, Picture
from forecast.report.section import Figure, Gallery, Section
from forecast.report.style import svg
from forecast.visualization.birds_eye import MEANINGS, draw_window

_UNDER_EACH = (
    "Under each: the way that was gone and the guessed one, a fallback if there was one, the "
    "distance to the ego, the slices that less than half of all prediction times are in with their "
    "share, the rarest first, and the scene, the time and the tokens to find it by."
)

_GROUPS = {
    "typical": (
        "Typical movers, their error nearest to the median. Good: the truth (green) runs inside "
        "the samples (blue), and the single best guess (red) lies on it."
    ),
    "worst": (
        "The largest errors of the single best guess, each pedestrian once. "
        f"{_UNDER_EACH} Good: at least one sample is close to the truth."
    ),
    "slice": (
        "The largest error of the single best guess in each slice that was asked for, and of "
        f"fallbacks, where it is not among those above. {_UNDER_EACH} Good: at least one sample is "
        "close to the truth."
    ),
}


_KEY = ("history", "truth", "mode", "ego", "body")
_MAP = ("road", "walkway", "crosswalk")
"""Colours of the palette in every picture, and in those with a map."""


def gallery(result: EvaluationResult) -> Section:
    """Bird's-eye pictures: map, history (dark), truth (green), samples (blue), best guess (red)."""
    blocks = tuple(
        Gallery(caption, tuple(_figure(result, p) for p in result.pictures if p.why == why))
        for why, caption in _GROUPS.items()
        if any(picture.why == why for picture in result.pictures)
    )
    data = {"pictures": [_data(result, picture) for picture in result.pictures]}
    return Section("gallery", "Pictures", blocks, data)


def _data(result: EvaluationResult, picture: Picture) -> dict[str, object]:
    """Scene, time and pedestrian of a picture."""
    rows, row = result.rows, picture.row
    return {
        "why": picture.why,
        "anchor": anchor(result, picture),
        "scene_id": rows.scene_ids[row],
        "sample_token": rows.frame_ids[row],
        "agent_id": rows.agent_ids[row],
        "at": rows.at[row],
        "at_us": rows.at_us[row],
        "top1_fde_m": result.values["top1_fde_m"][row],
        "fallback": result.fallback[row],
        "ego_distance_m": rows.quantities["ego_distance_m"][row],
        "slices": {name: column[row] for name, column in rows.labels.items()},
    }


def _figure(result: EvaluationResult, picture: Picture) -> Figure:
    window = picture.window

    def draw(axes: Axes) -> None:
        draw_window(axes, window, picture.prediction, focus=picture.agent)

    caption = case_words(result, picture)
    label = f"{picture.why} window: {window.scene_id} step {window.at}"
    drawing = svg(draw, width_in=3.2, height_in=3.2, label=label)
    return Figure(caption, drawing, anchor(result, picture), _key(picture))


def _key(picture: Picture) -> tuple[tuple[str, str], ...]:
    """The meaning of the colours that occur in a picture."""
    samples = ("sample",) if picture.prediction.samples > 1 else ()
    fallback = picture.prediction.fallback
    if fallback is not None and fallback[picture.agent]:
        samples = ("fallback",)
    names = _KEY[:2] + samples + _KEY[2:] + (() if picture.window.lane_map is None else _MAP)
    return tuple((name, MEANINGS[name]) for name in names)


def anchor(result: EvaluationResult, picture: Picture) -> str:
    """The name of a picture to link to: scene, token, time and pedestrian."""
    rows, row = result.rows, picture.row
    parts = (rows.scene_ids, rows.frame_ids, rows.at_us, rows.agent_ids)
    words = "-".join(str(part[row]) for part in parts)
    return re.sub(r"[^\w.-]+", "-", f"{picture.why}-{words}")


def worst_picture(result: EvaluationResult, inside: NDArray[np.bool_]) -> str:
    """The anchor of the worst picture of some rows (a mask ``[N]``); "" if none is shown."""
    error = result.values["top1_fde_m"]
    shown = [each for each in result.pictures if each.why != "typical" and inside[each.row]]
    return anchor(result, max(shown, key=lambda each: error[each.row])) if shown else ""
