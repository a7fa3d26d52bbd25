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
        "The largest errors of the single best guess, each pedestrian once. Good: at least one "
        "sample saw it coming."
    ),
}


def gallery(result: EvaluationResult) -> Section:
    """Bird's-eye pictures: map, history (dark), truth (green), samples (blue), best guess (red)."""
    blocks = tuple(
        Gallery(caption, tuple(_figure(result, p) for p in result.pictures if p.why == why))
        for why, caption in _GROUPS.items()
        if any(picture.why == why for picture in result.pictures)
    )
    return Section("gallery", "Pictures", blocks)


def _figure(result: EvaluationResult, picture: Picture) -> Figure:
    window, rows, row = picture.window, result.rows, picture.row

    def draw(axes: Axes) -> None:
        draw_window(axes, window, picture.prediction, focus=picture.agent)

    error = result.values["top1_fde_m"][row]
    caption = (
        f"{error:.2f} m off after {result.setting.horizon_s:g} s. {window.scene_id}, step "
        f"{window.at}, {window.at_us} us, {rows.agent_ids[row]} ({rows.categories[row]})"
    )
    label = f"{picture.why} window: {window.scene_id} step {window.at}"
    return Figure(caption, svg(draw, width_in=3.2, height_in=3.2, label=label))
