"""Bird's-eye pictures of windows and their predictions, with matplotlib."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.collections import CircleCollection, LineCollection, PatchCollection
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from numpy.typing import NDArray

from forecast.datasets.windows import Window
from forecast.scene import AgentKind, LaneMap, Polygons, Polylines, Prediction

_MARGIN_M = 3.0
_LEAST_REACH_M = 8.0


@dataclass(frozen=True)
class Palette:
    """Colours of a picture, as ``#rrggbb``; no two are the same.

    Attributes:
        ink: Text and frames.
        muted: Grid lines and secondary text.
        road: Drivable area.
        walkway: Walkways.
        crosswalk: Crosswalks.
        lane: Lane centre lines.
        divider: Lane and road dividers.
        body: Vehicles and cyclists.
        ego: The ego vehicle.
        history: Observed tracks.
        truth: Ground truth.
        sample: Predicted samples.
        mode: The most probable prediction.
        fallback: Predicted samples of a fallback, `Prediction.fallback`.
        tube: Calibrated regions, `Prediction.tubes`.
        plan: The ego's plan.
    """

    ink: str = "#1b1f24"
    muted: str = "#6b7280"
    road: str = "#eceff3"
    walkway: str = "#e3eadf"
    crosswalk: str = "#d9d2ea"
    lane: str = "#c4cad3"
    divider: str = "#dcd3b8"
    body: str = "#9aa3af"
    ego: str = "#55606e"
    history: str = "#2b2f36"
    truth: str = "#1a8f5a"
    sample: str = "#4f8fd9"
    mode: str = "#d1495b"
    fallback: str = "#b0700a"
    tube: str = "#a8cdf5"
    plan: str = "#8a3ffc"


LIGHT = Palette()

MEANINGS = {
    "history": "observed",
    "truth": "ground truth",
    "mode": "best guess",
    "sample": "samples",
    "fallback": "FALLBACK: constant velocity (dashed, rings)",
    "tube": "region of 90 %",
    "plan": "plan of the ego",
    "ego": "ego",
    "body": "vehicles and cyclists",
    "road": "carriageway",
    "walkway": "walkway",
    "crosswalk": "crosswalk",
}
"""What the colours of a `Palette` mean in a picture, for all legends."""


@dataclass(frozen=True)
class View:
    """A square part of the ground.

    Attributes:
        x_m: Centre.
        y_m: Centre.
        reach_m: Half of the edge length.
    """

    x_m: float
    y_m: float
    reach_m: float

    @classmethod
    def around(cls, points_m: NDArray[Any]) -> View:
        """The view that contains points ``[..., 2]``, of at least `_LEAST_REACH_M`."""
        low, high = (edge(points_m.reshape(-1, 2), axis=0) for edge in (np.min, np.max))
        centre = (low + high) / 2
        reach = max(_LEAST_REACH_M, float((high - low).max()) / 2 + _MARGIN_M)
        return cls(float(centre[0]), float(centre[1]), reach)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, lower, right and upper edge in metres."""
        x, y, reach = self.x_m, self.y_m, self.reach_m
        return x - reach, y - reach, x + reach, y + reach


def draw_window(
    axes: Axes,
    window: Window,
    prediction: Prediction,
    *,
    focus: int | None = None,
    palette: Palette = LIGHT,
) -> None:
    """Draws the map, all histories, and the true and predicted futures of scored pedestrians.

    Args:
        axes: Axes to draw in; they get equal scales in metres and no ticks.
        window: Observed tracks and ground truth.
        prediction: Futures of the window's agents, in its order and frame.
        focus: Index of the agent to show; default: all scored ones.
        palette: Colours.
    """
    view = _view(window, prediction, focus)
    left, lower, right, upper = view.bounds
    axes.set(xlim=(left, right), ylim=(lower, upper), aspect="equal", xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(palette.lane)
    if window.lane_map is not None:
        draw_map(axes, window.lane_map, view, palette)
    _draw_bodies(axes, window, view, palette)
    shown = np.flatnonzero(window.scored) if focus is None else np.array([focus])
    _draw_history(axes, window, view, palette)
    _draw_futures(axes, window, prediction, shown, palette)
    draw_scale(axes, view, palette)


def _view(window: Window, prediction: Prediction, focus: int | None) -> View:
    shown = window.scored if focus is None else np.arange(len(window.scored)) == focus
    if not shown.any():
        shown = window.kinds == AgentKind.PEDESTRIAN
    known = window.positions_m[shown][window.valid[shown]]
    predicted = prediction.most_probable()[shown].reshape(-1, 2)
    points = np.concatenate([known, predicted])
    return View.around(points if len(points) else np.zeros((1, 2)))


def draw_map(axes: Axes, lane_map: LaneMap, view: View, palette: Palette) -> None:
    """Draws the parts of a map that are inside a view."""
    for polygons, colour, order in (
        (lane_map.drivable_area, palette.road, 0.1),
        (lane_map.walkways, palette.walkway, 0.2),
        (lane_map.crosswalks, palette.crosswalk, 0.3),
    ):
        patches = [PathPatch(path) for path in _clipped(polygons, view)]
        axes.add_collection(
            PatchCollection(patches, facecolor=colour, linewidth=0, zorder=order), autolim=False
        )
    for lines, colour, style in (
        (lane_map.dividers, palette.divider, "solid"),
        (lane_map.centerlines, palette.lane, "dashed"),
    ):
        draw_lines(axes, _nearby(lines, view), colour, 0.8, linestyle=style, zorder=0.4)


def _clipped(polygons: Polygons, view: View) -> Iterable[Path]:
    """The parts of polygons inside the view, as paths with holes."""
    frame = shapely.box(*view.bounds)
    for rings in polygons:
        if not touches(rings[0], view):
            continue
        shape = shapely.make_valid(shapely.Polygon(rings[0], rings[1:])).intersection(frame)
        for part in shapely.get_parts(shape):
            if part.geom_type == "Polygon" and not part.is_empty:
                part = shapely.geometry.polygon.orient(part)
                yield Path.make_compound_path(
                    *(Path(np.asarray(ring.coords), closed=True) for ring in _rings(part))
                )


def _rings(polygon: Any) -> list[Any]:
    return [polygon.exterior, *polygon.interiors]


def _nearby(lines: Polylines, view: View) -> list[NDArray[np.float32]]:
    return [line for line in lines if touches(line, view)]


def touches(points_m: NDArray[Any], view: View) -> bool:
    """Whether the rectangle around points ``[P, 2]`` overlaps a view."""
    left, lower, right, upper = view.bounds
    low, high = points_m.min(axis=0), points_m.max(axis=0)
    return bool(low[0] <= right and high[0] >= left and low[1] <= upper and high[1] >= lower)


def _draw_bodies(axes: Axes, window: Window, view: View, palette: Palette) -> None:
    """Draws vehicles, cyclists and the ego as boxes at their present poses."""
    now = window.history_steps - 1
    for agent in np.flatnonzero(window.kinds != AgentKind.PEDESTRIAN):
        length, width = window.sizes_m[agent, :2]
        x, y = window.positions_m[agent, now]
        if max(abs(x - view.x_m), abs(y - view.y_m)) > view.reach_m + max(length, width):
            continue
        ego = window.kinds[agent] == AgentKind.EGO
        box = Rectangle(
            (x - length / 2, y - width / 2),
            length,
            width,
            angle=float(np.degrees(window.headings_rad[agent, now])),
            rotation_point="center",
            facecolor=palette.ego if ego else palette.body,
            linewidth=0,
            zorder=1,
        )
        axes.add_patch(box)


def _draw_history(axes: Axes, window: Window, view: View, palette: Palette) -> None:
    """Draws the observed tracks of pedestrians and their present positions."""
    walks = window.kinds == AgentKind.PEDESTRIAN
    past = slice(None, window.history_steps)
    seen = window.valid[walks, past]
    positions = window.positions_m[walks, past]
    lines = [track[valid] for track, valid in zip(positions, seen, strict=True)]
    lines = [line for line in lines if len(line) and touches(line, view)]
    draw_lines(axes, lines, palette.history, 1.6, zorder=3)
    draw_dots(axes, [line[-1] for line in lines], palette.history, 14, 3.1)


def _draw_futures(
    axes: Axes,
    window: Window,
    prediction: Prediction,
    agents: NDArray[np.int64],
    palette: Palette,
) -> None:
    """Draws what is predicted of some agents of a window, and the truth."""
    now = window.positions_m[agents, window.history_steps - 1][:, None]  # [A, 1, 2]
    draw_predicted(axes, now, prediction, agents, palette)
    known = np.concatenate([np.ones((len(agents), 1), bool), window.future_valid[agents]], axis=1)
    truth = np.concatenate([now, window.future_m[agents]], axis=1)
    draw_truth(axes, [track[valid] for track, valid in zip(truth, known, strict=True)], palette)


def draw_predicted(
    axes: Axes,
    now_m: NDArray[Any],
    prediction: Prediction,
    agents: NDArray[np.int64],
    palette: Palette,
    modes: int | None = None,
) -> None:
    """Draws samples or modes, and the best guess; those of a fallback are dashed and end in rings.

    The rings are larger than the end of the best guess: all samples of a fallback may be equal to
    it, and would not be seen.

    Args:
        axes: Axes to draw in.
        now_m: Positions of the agents at the time of the prediction ``[N, 1, 2]``.
        prediction: Futures in the same frame.
        agents: Indices ``[N]`` of the agents in the prediction.
        palette: Colours.
        modes: As in `futures_of`.
    """
    futures, shares = futures_of(prediction, agents, modes)
    fallback = np.zeros(len(agents), bool)
    if prediction.fallback is not None:
        fallback = prediction.fallback[agents]
    if len(futures) > 1:
        for chosen, colour in ((~fallback, palette.sample), (fallback, palette.fallback)):
            paths = _from_now(now_m[chosen], futures[:, chosen])
            rings = colour == palette.fallback
            _draw_samples(axes, paths, shares[:, chosen], colour, rings=rings)
    mode = np.concatenate([now_m, prediction.most_probable()[agents]], axis=1)
    for chosen, style in ((~fallback, "solid"), (fallback, "dashed")):
        draw_lines(axes, mode[chosen], palette.mode, 1.6, linestyle=style, zorder=2.5)
    draw_dots(axes, mode[:, -1], palette.mode, 16, 2.5)


def futures_of(
    prediction: Prediction, agents: NDArray[np.int64], modes: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The futures of some agents that are drawn, and how probable each is.

    Args:
        prediction: The prediction.
        agents: Indices ``[N]`` of the agents in it.
        modes: Number of modes of each agent, see `Prediction.modes`; None: the samples.

    Returns:
        Futures ``[M, N, T, 2]`` and their probabilities ``[M, N]``, which sum to 1 for each agent.

    Raises:
        ForecastError: There is no set of so many modes.
    """
    if modes is None:
        shares = np.repeat(prediction.weights[:, None], len(agents), axis=1)
        return prediction.positions_m[:, agents], shares
    found = prediction.modes(modes).select(agents)
    return found.positions_m.swapaxes(0, 1), found.probabilities.T.astype(np.float64)


def draw_truth(axes: Axes, paths_m: Iterable[NDArray[Any]], palette: Palette) -> None:
    """Draws recorded futures ``[P, 2]`` and their ends."""
    lines = list(paths_m)
    draw_lines(axes, lines, palette.truth, 2.0, zorder=2.8)
    draw_dots(axes, [line[-1] for line in lines], palette.truth, 18, 2.8)


def _from_now(now_m: NDArray[Any], samples_m: NDArray[Any]) -> NDArray[Any]:
    """Paths ``[K, A, 1 + T, 2]`` from the present positions ``[A, 1, 2]`` on."""
    start = np.broadcast_to(now_m, (*samples_m.shape[:2], 1, 2))
    return np.concatenate([start, samples_m], axis=2)


def _draw_samples(
    axes: Axes, paths_m: NDArray[Any], shares: NDArray[Any], colour: str, *, rings: bool
) -> None:
    """Draws futures ``[K, A, 1 + T, 2]`` of probabilities ``[K, A]``, the more probable wider."""
    samples, agents, points = paths_m.shape[:3]
    lines = paths_m.reshape(samples * agents, points, 2)
    share = (shares / shares.max(axis=0)).ravel()
    style = "dashed" if rings else "solid"
    width = 0.4 + 1.2 * share
    draw_lines(axes, lines, colour, width, linestyle=style, alpha=0.6, zorder=2)
    if rings:
        x, y = lines[:, -1].T
        axes.scatter(x, y, s=40, facecolors="none", edgecolors=colour, linewidths=0.8, zorder=2.6)
    else:
        draw_dots(axes, lines[:, -1], colour, 6 * share, 2)


def draw_scale(axes: Axes, view: View, palette: Palette) -> None:
    """Draws a bar of 5 m in the lower left corner."""
    left, lower, *_ = view.bounds
    x, y = left + 0.06 * view.reach_m, lower + 0.08 * view.reach_m
    draw_lines(axes, [np.array([[x, y], [x + 5, y]])], palette.ink, 1.5, zorder=4)
    style: dict[str, Any] = {"color": palette.ink, "fontsize": 8, "zorder": 4}
    axes.annotate("5 m", (x, y), xytext=(0, 4), textcoords="offset points", **style)


def draw_lines(
    axes: Axes, lines: Iterable[NDArray[Any]], colour: str, width: Any, **style: Any
) -> None:
    """Draws lines ``[P, 2]`` of one colour."""
    shown = LineCollection(list(lines), colors=colour, linewidths=width, **style)
    if shown.get_paths():
        axes.add_collection(shown, autolim=False)


def draw_dots(axes: Axes, points: Any, colour: str, size: Any, zorder: float) -> None:
    """Draws points ``[P, 2]`` as dots, whose diameters are the roots of sizes in points."""
    area = np.pi / 4 * np.atleast_1d(size)
    dots = CircleCollection(
        area, offsets=np.reshape(points, (-1, 2)), offset_transform=axes.transData
    )
    dots.set(facecolor=colour, linewidth=0, zorder=zorder)
    axes.add_collection(dots, autolim=False)
