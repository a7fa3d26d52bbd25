"""`Painter`: pictures of a film as arrays of pixels.

A picture takes some 20 ms. The map is cut from an image (`forecast.visualization.film.ground`), and
so is everything that does not change; only what moves is drawn, with matplotlib's Agg.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import NDArray

from forecast import geometry
from forecast.errors import require
from forecast.scene import AgentKind, Prediction, Scene
from forecast.scene.between_steps import between_steps
from forecast.visualization.birds_eye import (
    LIGHT,
    Palette,
    View,
    draw_dots,
    draw_lines,
    draw_predicted,
    draw_scale,
    draw_truth,
    futures_of,
)
from forecast.visualization.film.film import Film, Panel
from forecast.visualization.film.ground import Ground, drawing_on
from forecast.visualization.film.legend import LINES, meaning, subtitles, used
from forecast.visualization.film.moments import AgentMotion, Camera, current, shown_now
from forecast.visualization.film.regions import regions, ribbons

_DPI = 100
_TEXT_PX = 13.0
_HEADER_PX, _ROW_PX, _GAP_PX, _PAD_PX = 44, 24, 4, 14
_SWATCH_PX, _SPACE_PX = 22, 8
_CLOCK_PX = 130
"""Room for the time in the upper right corner."""

_BORDER = 200
"""Grey level of the line between two panels."""

_HISTORY_S = 2.0
_FOOT_RADIUS_M = 0.35
"""Radius of the disc that stands for a person."""

_REGION_M = 5.0
"""Regions hardly go farther beyond the samples."""

_SHARE_PX, _LEAST_SHARE = 11.0, 0.1
"""Height of the probabilities of modes, and the least one that is written."""

_LEAST_PX, _MOST_PX = 320, 4096


@dataclass(frozen=True)
class PictureFormat:
    """Size and rate of a film's pictures.

    Attributes:
        width_px: Width, even.
        fps: Pictures a second.
        hold_s: How long the first and the last picture of imagined futures stand still.
    """

    width_px: int = 1280
    fps: int = 20
    hold_s: float = 1.0

    def __post_init__(self) -> None:
        """Checks the numbers; raises `ForecastError`."""
        width = self.width_px
        good = _LEAST_PX <= width <= _MOST_PX and width % 2 == 0
        require(good, "width", f"{width} px", f"an even number from {_LEAST_PX} to {_MOST_PX}")
        require(1 <= self.fps <= 60, "fps", self.fps, "1 to 60 pictures a second")

    @property
    def height_px(self) -> int:
        """Height: nine sixteenths of the width, even."""
        return self.width_px * 9 // 32 * 2

    def times_us(self, film: Film) -> NDArray[np.int64]:
        """The time that each picture of a film shows ``[F]``."""
        count = max(round(film.duration_s * self.fps), 1) + 1
        times = film.start_us + np.arange(count) * 1_000_000 // self.fps
        times = np.minimum(times, film.stop_us)
        held = round(self.hold_s * self.fps) if film.is_imagined else 0
        return np.pad(times, held, mode="edge")


@dataclass(frozen=True, eq=False)
class _Backdrop:
    """An image of the ground and of what stays for some pictures.

    Attributes:
        at_us: Time of the prediction that it shows.
        left: Column of its first pixel on the ground.
        top: Row of its first pixel.
        image: ``[height, width, 4]``.
    """

    at_us: int
    left: int
    top: int
    image: NDArray[np.uint8]

    def cut(self, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        """A rectangle of it, by pixels on the ground ``[height, width, 4]``."""
        down, right = top - self.top, left - self.left
        return self.image[down : down + height, right : right + width]


class Painter:
    """Draws the pictures of a film one after the other.

    Args:
        film: The film.
        form: Size and rate.
        palette: Colours.
    """

    def __init__(self, film: Film, form: PictureFormat, palette: Palette = LIGHT) -> None:
        self.film, self.form, self._palette = film, form, palette
        self.times_us = form.times_us(film)
        self._figure = Figure(
            figsize=(form.width_px / _DPI, form.height_px / _DPI), dpi=_DPI, facecolor="white"
        )
        self._canvas: Any = FigureCanvasAgg(self._figure)  # its methods have no types
        rows = self._legend_rows()
        footer = len(rows) * _ROW_PX + 8
        count = len(film.panels)
        self._size = (
            (form.width_px - (count - 1) * _GAP_PX) // count,
            form.height_px - _HEADER_PX - footer,
        )
        self._camera = Camera.of(film, self.times_us, self._size[0] / self._size[1])
        self._scale = self._size[0] / self._camera.width_m
        self._ground = Ground(film.scene.lane_map, self._scale, palette)
        self._motions = [AgentMotion.of(panel.scene, self.times_us) for panel in film.panels]
        self._truth = AgentMotion.of(film.scene, self.times_us)
        self._current = [
            [current(panel, at_us) for at_us in self.times_us.tolist()] for panel in film.panels
        ]
        self._backdrops: list[_Backdrop | None] = [None] * count
        self._draw_frame(rows)
        self._axes = [self._panel_axes(i) for i in range(count)]
        self._titles = [
            self._text(
                i * (self._size[0] + _GAP_PX) + _PAD_PX,
                _HEADER_PX + 22,
                panel.title,
                size=17,
                weight="bold",
                bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 5},
            )
            for i, panel in enumerate(film.panels)
            if panel.title
        ]
        self._clock = self._text(form.width_px - _PAD_PX, _HEADER_PX / 2, "", size=18, ha="right")
        self._clock.set_fontfamily("monospace")

    def __len__(self) -> int:
        """Number of pictures F."""
        return len(self.times_us)

    def picture(self, index: int) -> NDArray[np.uint8]:
        """One picture, red, green, blue and opacity ``[height, width, 4]``."""
        renderer = self._canvas.get_renderer()
        pixels = np.asarray(renderer.buffer_rgba())
        pixels[...] = self._frame
        for number, axes in enumerate(self._axes):
            self._draw_panel(axes, number, index, pixels)
            axes.draw(renderer)
            for drawn in [*axes.collections, *axes.texts]:
                drawn.remove()
        self._clock.set_text(self._time(index))
        for text in (*self._titles, self._clock):
            text.draw(renderer)
        return pixels.copy()

    def _time(self, index: int) -> str:
        at_us = int(self.times_us[index])
        if self.film.is_imagined:
            return f"+{(at_us - self.film.start_us) / 1e6:.1f} s"
        return f"{(at_us - self.film.scene.start_us) / 1e6:.1f} s"

    # What does not change.

    def _draw_frame(self, rows: list[list[str]]) -> None:
        """Draws title and legend, and keeps them as an image."""
        self._draw_title()
        top = self.form.height_px - len(rows) * _ROW_PX - 4
        for number, row in enumerate(rows):
            x = float(_PAD_PX)
            for name in row:
                x = self._draw_entry(name, x, top + (number + 0.5) * _ROW_PX)
        self._canvas.draw()
        self._frame = np.array(self._canvas.buffer_rgba())
        rows_of_panels = slice(_HEADER_PX, _HEADER_PX + self._size[1])
        self._frame[rows_of_panels, self._size[0] :: self._size[0] + _GAP_PX, :3] = _BORDER
        self._figure.clear()

    def _draw_title(self) -> None:
        film = self.film
        title = self._text(_PAD_PX, _HEADER_PX / 2, film.scene.id, size=17, weight="bold")
        free = self.form.width_px - _PAD_PX - _CLOCK_PX
        while self._width(title) > free and len(title.get_text()) > 2:
            title.set_text(f"{title.get_text()[:-2]}…")
        left = _PAD_PX + self._width(title) + 14
        room = self.form.width_px - left - _CLOCK_PX
        for words in subtitles(film):
            text = self._text(left, _HEADER_PX / 2 + 1, words, color=self._palette.muted)
            if self._width(text) <= room:
                return
            text.remove()

    def _legend_rows(self) -> list[list[str]]:
        """Names of the colours in use, in as many rows as they need."""
        rows: list[list[str]] = [[]]
        x = float(_PAD_PX)
        for name in used(self.film):
            text = self._text(0, 0, meaning(self.film, name))
            width = _SWATCH_PX + _SPACE_PX + self._width(text) + 2 * _SPACE_PX
            text.remove()
            if rows[-1] and x + width > self.form.width_px:
                rows.append([])
                x = float(_PAD_PX)
            rows[-1].append(name)
            x += width
        return rows

    def _draw_entry(self, name: str, x: float, y: float) -> float:
        """Draws one entry of the legend and returns where the next one starts."""
        height, colour = 12, getattr(self._palette, name)
        if name in LINES:
            height = 4
        wide, high = self.form.width_px, self.form.height_px
        box = (x / wide, 1 - (y + height / 2) / high)
        swatch = Rectangle(box, _SWATCH_PX / wide, height / high, color=colour, linewidth=0)
        self._figure.add_artist(swatch)
        text = self._text(x + _SWATCH_PX + _SPACE_PX, y, meaning(self.film, name))
        return x + _SWATCH_PX + 3 * _SPACE_PX + self._width(text)

    def _text(
        self, x_px: float, y_px: float, words: str, size: float = _TEXT_PX, **how: Any
    ) -> Text:
        """A text at a place in pixels from the upper left corner, of a height in pixels."""
        style: dict[str, Any] = {"color": self._palette.ink, "va": "center", **how}
        points = size * 72 / _DPI
        wide, high = self.form.width_px, self.form.height_px
        place = x_px / wide, 1 - y_px / high
        return self._figure.text(*place, words, fontsize=points, parse_math=False, **style)

    def _width(self, text: Text) -> float:
        return float(text.get_window_extent(self._canvas.get_renderer()).width)

    def _panel_axes(self, number: int) -> Axes:
        wide, high = self.form.width_px, self.form.height_px
        width, height = self._size
        left = number * (width + _GAP_PX)
        lower = 1 - (_HEADER_PX + height) / high
        axes = self._figure.add_axes((left / wide, lower, width / wide, height / high))
        axes.set_axis_off()
        return axes

    # What changes.

    def _draw_panel(self, axes: Axes, number: int, index: int, pixels: NDArray[np.uint8]) -> None:
        panel, motion, at_us = self.film.panels[number], self._motions[number], self.times_us[index]
        width, height = self._size
        x = number * (width + _GAP_PX)
        left, top = self._corner(index)
        prediction = self._current[number][index]
        behind = self._backdrop(number, prediction).cut(left, top, width, height)
        pixels[_HEADER_PX : _HEADER_PX + height, x : x + width] = behind
        xlim = np.array([left, left + width]) / self._scale
        ylim = -np.array([top + height, top]) / self._scale
        axes.set(xlim=xlim, ylim=ylim)
        self._draw_bodies(axes, panel.scene, motion, index)
        if self.film.is_imagined:
            self._draw_imagined(axes, panel, prediction, index)
        else:
            self._draw_history(axes, panel.scene, int(at_us), motion, index)
            self._draw_ahead(axes, prediction, index)
        if self.film.modes is not None:
            self._draw_shares(axes, prediction)
        half = min(width, height) / self._scale / 2
        wide, high = 0.06 * half + 5 + 6 / self._scale, 0.08 * half + 22 / self._scale
        behind_scale = np.array([[0, 0], [wide, 0], [wide, high], [0, high]])
        _draw_areas(axes, [behind_scale + np.array([xlim[0], ylim[0]])], "white", 3.9, 0.7)
        draw_scale(axes, View(xlim[0] + half, ylim[0] + half, half), self._palette)

    def _corner(self, index: int) -> tuple[int, int]:
        """The upper left pixel of a picture on the ground."""
        x, y = self._camera.centres_m[index] * (self._scale, -self._scale)
        return round(x - self._size[0] / 2), round(y - self._size[1] / 2)

    def _backdrop(self, number: int, prediction: Prediction) -> _Backdrop:
        """What stays as long as a prediction is the current one, as an image."""
        known = self._backdrops[number]
        if known is None or known.at_us != prediction.at_us:
            owners = enumerate(self._current[number])
            places = np.array([self._corner(i) for i, each in owners if each is prediction])
            left, top = places.min(axis=0).tolist()
            width, height = (np.ptp(places, axis=0) + self._size).tolist()
            image = self._ground.cut(left, top, width, height)
            with drawing_on(image, left, top, self._scale) as axes:
                self._draw_constant(axes, self.film.panels[number], prediction)
            known = _Backdrop(prediction.at_us, left, top, image)
            self._backdrops[number] = known
        return known

    def _draw_constant(self, axes: Axes, panel: Panel, prediction: Prediction) -> None:
        """Draws what stays as long as a prediction is the current one."""
        scene, palette = self.film.scene, self._palette
        agents, _, now = shown_now(self.film.scene, prediction)
        inside = _touches(axes, now, futures_of(prediction, agents, self.film.modes)[0])
        agents, now = agents[inside], now[inside]
        if self.film.is_imagined:
            self._draw_past(axes, prediction)
            for chosen, style in self._styles(prediction, agents):
                futures, shares = futures_of(prediction, agents[chosen], self.film.modes)
                whole = _paths(now[chosen], futures)
                lines = whole.reshape(-1, *whole.shape[2:])
                width = self._widths(0.8, shares)
                draw_lines(axes, lines, width=width, alpha=0.15, zorder=2, **style)
            mode = _paths(now, prediction.most_probable()[agents][None])[0]
            draw_lines(axes, mode, palette.mode, 1.2, alpha=0.5, zorder=2.5)
        else:
            _draw_areas(axes, ribbons(prediction, now, agents), palette.tube, 1.5, 0.45)
            draw_predicted(axes, now[:, None], prediction, agents, palette, self.film.modes)
        if panel.plan is not None:
            ego = scene.tracks.kinds == AgentKind.EGO
            start = scene.tracks.positions_m[ego, self._step(prediction)]
            path = np.concatenate([start, panel.plan[:, :2]])
            draw_lines(axes, [path], palette.plan, 2.4, zorder=1.6)
            draw_dots(axes, path[1:], palette.plan, 12, 1.6)

    def _draw_shares(self, axes: Axes, prediction: Prediction) -> None:
        """Writes the probabilities of modes at their ends, the largest first, if there is room."""
        agents, _, now = shown_now(self.film.scene, prediction)
        futures, shares = futures_of(prediction, agents, self.film.modes)
        inside = _touches(axes, now, futures)
        futures, shares = futures[:, inside], shares[:, inside]
        ends, shares = futures[:, :, -1].reshape(-1, 2), shares.ravel()
        taken = np.zeros((0, 2))
        room = np.array([_SHARE_PX * 2.4, _SHARE_PX * 1.2]) / self._scale
        for end, share in sorted(zip(ends, shares, strict=True), key=lambda each: -each[1]):
            if share < _LEAST_SHARE or (np.abs(taken - end) < room).all(axis=1).any():
                continue
            taken = np.append(taken, end[None], axis=0)
            style: dict[str, Any] = {"color": self._palette.ink, "ha": "center", "clip_on": True}
            style["fontsize"] = _SHARE_PX * 72 / _DPI
            style["bbox"] = {"facecolor": "white", "alpha": 0.6, "linewidth": 0, "pad": 0.6}
            axes.text(
                end[0],
                end[1] + 4 / self._scale,
                f"{share:.0%}",
                zorder=3.5,
                parse_math=False,
                **style,
            )

    def _widths(self, widest: float, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Widths ``[M N]`` of lines: those of modes follow from their probabilities ``[M, N]``."""
        if self.film.modes is None:
            return np.full(shares.size, widest)
        return widest * (0.5 + 2 * shares / shares.max(axis=0)).ravel()

    def _step(self, prediction: Prediction) -> int:
        """The recorded step of a prediction."""
        return int(np.searchsorted(self.film.scene.timestamps_us, prediction.at_us))

    def _draw_bodies(self, axes: Axes, scene: Scene, motion: AgentMotion, index: int) -> None:
        """Draws agents as boxes with their headings, and people as discs."""
        kinds, seen = scene.tracks.kinds, motion.valid[:, index]
        places, turned = motion.positions_m[:, index], motion.headings_rad[:, index]
        palette, sizes = self._palette, scene.tracks.sizes_m
        of_kind = {AgentKind.STATIC: palette.lane, AgentKind.EGO: palette.ego}
        others = np.flatnonzero((kinds != AgentKind.PEDESTRIAN) & seen)
        boxes = corners(places[others], turned[others], sizes[others, :2])
        colours = [of_kind.get(kind, palette.body) for kind in kinds[others].tolist()]
        _draw_areas(axes, list(boxes), colours, 1.1)
        driven = others[kinds[others] != AgentKind.STATIC]
        front = _ahead(places[driven], turned[driven], sizes[driven, 0] / 2)
        ticks = np.stack([(places[driven] + front) / 2, front], axis=1)
        draw_lines(axes, ticks, "white", 2.0, zorder=1.2)
        people = np.flatnonzero((kinds == AgentKind.PEDESTRIAN) & seen)
        walks = palette.mode if self._goes_on(index) else palette.history
        circle = _circle(_FOOT_RADIUS_M)
        _draw_areas(axes, [circle + place for place in places[people]], walks, 3.1)
        facing = people[motion.facing[people, index]]
        front = _ahead(places[facing], turned[facing], np.full(len(facing), 2.2 * _FOOT_RADIUS_M))
        draw_lines(axes, np.stack([places[facing], front], axis=1), walks, 1.8, zorder=3.1)

    def _goes_on(self, index: int) -> bool:
        """Whether the people of a picture are where they are imagined to be."""
        return self.film.is_imagined and bool(self.times_us[index] > self.film.start_us)

    def _draw_history(
        self, axes: Axes, scene: Scene, at_us: int, motion: AgentMotion, index: int
    ) -> None:
        """Draws where people were in the last seconds."""
        stamps = scene.timestamps_us
        past = (stamps <= at_us) & (stamps >= at_us - _HISTORY_S * 1e6)
        people = np.flatnonzero(
            (scene.tracks.kinds == AgentKind.PEDESTRIAN) & motion.valid[:, index]
        )
        lines = []
        for row in people:
            known = past & scene.tracks.valid[row]
            here = motion.positions_m[row, index]
            lines.append(np.concatenate([scene.tracks.positions_m[row, known], here[None]]))
        draw_lines(axes, lines, self._palette.history, 1.6, zorder=3)

    def _draw_past(self, axes: Axes, prediction: Prediction) -> None:
        """Draws where people were in the last seconds before a prediction."""
        tracks, stamps = self.film.scene.tracks, self.film.scene.timestamps_us
        past = (stamps <= prediction.at_us) & (stamps >= prediction.at_us - _HISTORY_S * 1e6)
        _, rows, _ = shown_now(self.film.scene, prediction)
        lines = [tracks.positions_m[row, past & tracks.valid[row]] for row in rows]
        draw_lines(axes, lines, self._palette.history, 1.6, zorder=3)

    def _draw_ahead(self, axes: Axes, prediction: Prediction, index: int) -> None:
        """Draws the recorded futures up to the end of the predicted ones."""
        _, rows, _ = shown_now(self.film.scene, prediction)
        until = prediction.at_us + round(prediction.steps * prediction.dt_s * 1e6)
        stamps = self.film.scene.timestamps_us
        later = (stamps > self.times_us[index]) & (stamps <= until)
        self._draw_truth(axes, rows, later, index)

    def _draw_imagined(self, axes: Axes, panel: Panel, prediction: Prediction, index: int) -> None:
        """Draws the ways of all samples up to now, and where people really went."""
        palette = self._palette
        agents, rows, now = shown_now(self.film.scene, prediction)
        steps = (int(self.times_us[index]) - prediction.at_us) / 1e6 / prediction.dt_s
        for chosen, style in self._styles(prediction, agents):
            futures, shares = futures_of(prediction, agents[chosen], self.film.modes)
            places = places_after(futures, now[chosen], steps)
            walked = _up_to(_paths(now[chosen], futures), places, steps)
            width = self._widths(1.0, shares)
            draw_lines(axes, walked, width=width, alpha=0.55, zorder=2.1, **style)
            draw_dots(axes, places, style["colour"], 9, 2.2)
        if prediction.tubes is not None and steps > 0:
            rings = regions(prediction, now, agents, steps)
            _draw_areas(axes, rings, palette.tube, 1.5, 0.4)
        if panel.is_true:
            stamps = self.film.scene.timestamps_us
            past = (stamps >= prediction.at_us) & (stamps <= self.times_us[index])
            self._draw_truth(axes, rows, past, index)

    def _styles(
        self, prediction: Prediction, agents: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.bool_], dict[str, str]]]:
        """Which agents have own samples and those of a fallback ``[N]``, and how they look."""
        if self.film.modes is None and prediction.samples == 1:
            return
        fallback = np.zeros(len(agents), bool)
        if prediction.fallback is not None:
            fallback = prediction.fallback[agents]
        if not fallback.all():
            yield ~fallback, {"colour": self._palette.sample, "linestyle": "solid"}
        if fallback.any():
            yield fallback, {"colour": self._palette.fallback, "linestyle": "dashed"}

    def _draw_truth(
        self, axes: Axes, rows: NDArray[np.int64], steps: NDArray[np.bool_], index: int
    ) -> None:
        """Draws the recorded ways of agents over some steps ``[T]`` that begin or end now."""
        tracks, stamps = self.film.scene.tracks, self.film.scene.timestamps_us
        ahead = bool(steps.any()) and bool(stamps[steps][-1] > self.times_us[index])
        paths = []
        for row in rows[self._truth.valid[rows, index]]:
            known = tracks.positions_m[row, steps & tracks.valid[row]]
            here = self._truth.positions_m[row, index][None]
            paths.append(np.concatenate([here, known] if ahead else [known, here]))
        draw_truth(axes, [path for path in paths if len(path) > 1], self._palette)


def corners(
    centres_m: NDArray[np.float32], headings_rad: NDArray[np.float32], sizes_m: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Corners ``[N, 4, 2]`` of boxes of length and width ``[N, 2]``."""
    unit = np.array([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]], np.float32)
    local = unit * sizes_m[:, None]
    return geometry.from_frame(local, centres_m[:, None], headings_rad[:, None])


def _ahead(
    places_m: NDArray[np.float32], headings_rad: NDArray[np.float32], by_m: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Points ``[N, 2]`` some metres ahead."""
    way = np.stack([np.cos(headings_rad), np.sin(headings_rad)], axis=-1)
    return places_m + by_m[:, None] * way


def _touches(
    axes: Axes, now_m: NDArray[np.float32], samples_m: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Whose futures ``[K, N, T, 2]`` reach the shown part of the ground ``[N]``."""
    low, high = samples_m.min(axis=(0, 2)), samples_m.max(axis=(0, 2))
    low, high = np.minimum(low, now_m) - _REGION_M, np.maximum(high, now_m) + _REGION_M
    (left, right), (lower, upper) = axes.get_xlim(), axes.get_ylim()
    beside = (high < [left, lower]) | (low > [right, upper])
    return np.asarray(~beside.any(axis=1))


def _circle(radius_m: float) -> NDArray[np.float64]:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return radius_m * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _draw_areas(
    axes: Axes,
    rings: list[NDArray[Any]],
    colour: str | list[str],
    order: float,
    alpha: float = 1.0,
) -> None:
    if rings:
        areas = PolyCollection(rings, facecolor=colour, alpha=alpha, linewidth=0, zorder=order)
        axes.add_collection(areas, autolim=False)


def places_after(
    samples_m: NDArray[np.float32], now_m: NDArray[np.float32], steps: float
) -> NDArray[np.float32]:
    """Positions ``[K, N, 2]`` on samples ``[K, N, T, 2]`` some steps after now."""
    if steps <= 0:
        return np.broadcast_to(now_m, (samples_m.shape[0], *now_m.shape))
    at = np.array([min(steps, samples_m.shape[2])], np.float64)
    return between_steps(samples_m, now_m, at, axis=2)[:, :, 0]


def _paths(now_m: NDArray[np.float32], samples_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """Paths ``[K, N, 1 + T, 2]`` from the positions ``[N, 2]`` on."""
    start = np.broadcast_to(now_m[:, None], (*samples_m.shape[:2], 1, 2))
    return np.concatenate([start, samples_m], axis=2)


def _up_to(
    paths_m: NDArray[np.float32], places_m: NDArray[np.float32], steps: float
) -> NDArray[np.float32]:
    """The parts ``[K N, S, 2]`` of paths up to a time in steps, at which they are at places."""
    count = min(int(steps + 1e-6) + 1, paths_m.shape[2])
    walked = np.concatenate([paths_m[:, :, :count], places_m[:, :, None]], axis=2)
    return walked.reshape(-1, *walked.shape[2:])
