"""Pictures of typical and worst windows from above."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from forecast.evaluation.result import EvaluationResult, Picture
from forecast.report.section import Figure, Gallery, Section
from forecast.report.style import svg
from forecast.visualization.birds_eye import draw_window

_GROUPS = {
    "typical": (
        "Typical movers, their error nearest to the median. Good: the truth (green) runs inside "
        "the samples (blue), and the single best guess (red) lies on it."
    ),
    "worst": (
        "The largest errors of the single best guess, each pedestrian once; under each the scene, "
        "the time and the tokens to find it by. Good: at least one sample is close to the truth."
    ),
}


_KEY = (
    ("history", "seen before"),
    ("truth", "truth"),
    ("mode", "best guess"),
    ("ego", "ego"),
    ("body", "others' vehicles"),
)
_SAMPLES = (("sample", "samples"),)
_MAP = (("road", "carriageway"), ("walkway", "walkway"), ("crosswalk", "crosswalk"))
"""Colours of the palette and what they mean in a picture."""


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
    }


def _figure(result: EvaluationResult, picture: Picture) -> Figure:
    window, rows, row = picture.window, result.rows, picture.row

    def draw(axes: Axes) -> None:
        draw_window(axes, window, picture.prediction, focus=picture.agent)

    error = result.values["top1_fde_m"][row]
    sample = f", sample {rows.frame_ids[row]}" if rows.frame_ids[row] else ""
    caption = (
        f"{error:.2f} m off after {result.setting.horizon_s:g} s. {window.scene_id}, step "
        f"{window.at}, {window.at_us} us{sample}, {rows.agent_ids[row]} ({rows.categories[row]})"
    )
    label = f"{picture.why} window: {window.scene_id} step {window.at}"
    drawing = svg(draw, width_in=3.2, height_in=3.2, label=label)
    return Figure(caption, drawing, anchor(result, picture), _key(picture))


def _key(picture: Picture) -> tuple[tuple[str, str], ...]:
    """The meaning of the colours that occur in a picture."""
    samples = _SAMPLES if picture.prediction.samples > 1 else ()
    return _KEY[:2] + samples + _KEY[2:] + (() if picture.window.lane_map is None else _MAP)


def anchor(result: EvaluationResult, picture: Picture) -> str:
    """The name of a picture to link to: scene, token, time and pedestrian."""
    rows, row = result.rows, picture.row
    parts = (rows.scene_ids, rows.frame_ids, rows.at_us, rows.agent_ids)
    words = "-".join(str(part[row]) for part in parts)
    return re.sub(r"[^\w.-]+", "-", f"{picture.why}-{words}")


def worst_picture(result: EvaluationResult, inside: NDArray[np.bool_]) -> str:
    """The anchor of the worst picture of some rows (a mask ``[N]``); "" if none is shown."""
    shown = (each for each in result.pictures if each.why == "worst" and inside[each.row])
    return next((anchor(result, each) for each in shown), "")
