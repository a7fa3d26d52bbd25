"""What it looks like: typical and worst windows from above."""

from __future__ import annotations

from matplotlib.axes import Axes

from forecast.drawing import draw_window
from forecast.evaluation.result import EvaluationResult, Picture
from forecast.report.section import Figure, Gallery, Section
from forecast.report.style import svg

_GROUPS = {
    "typical": (
        "Typical movers, their error nearest to the median. Good: the truth (green) runs inside "
        "the samples (blue), and the single best guess (red) lies on it."
    ),
    "worst": (
        "The largest errors of the single best guess, each pedestrian once; under each the scene, "
        "the time and the tokens to find it by. Good: at least one sample saw it coming."
    ),
}


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
    """Where to find what a picture shows."""
    rows, row = result.rows, picture.row
    return {
        "why": picture.why,
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
    return Figure(caption, svg(draw, width_in=3.2, height_in=3.2, label=label))
