"""The map of a scene as an image, drawn once and cut out for each picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from forecast.scene import LaneMap
from forecast.visualization.birds_eye import Palette, View, draw_map

_TILE_PX = 512
_MARGIN_M = 1.0
"""Tiles are drawn with this much around them, so that lines do not end at their edges."""

_DPI = 100


class Ground:
    """The map as an image in tiles, each drawn when it is first needed.

    Pixel columns grow with x, rows grow against y. Both may be negative.

    Args:
        lane_map: The map, or None.
        pixels_per_m: Scale.
        palette: Colours.
    """

    def __init__(self, lane_map: LaneMap | None, pixels_per_m: float, palette: Palette) -> None:
        self._map, self._scale, self._palette = lane_map, pixels_per_m, palette
        self._tiles: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def cut(self, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        """A rectangle of the image ``[height, width, 4]``.

        Args:
            left: Its first column.
            top: Its first row.
            width: Number of columns.
            height: Number of rows.
        """
        image = np.empty((height, width, 4), np.uint8)
        for row in range(top // _TILE_PX, (top + height - 1) // _TILE_PX + 1):
            for column in range(left // _TILE_PX, (left + width - 1) // _TILE_PX + 1):
                tile = self._tile(column, row)
                down, right = row * _TILE_PX - top, column * _TILE_PX - left
                rows, columns = (
                    slice(max(start, 0), min(start + _TILE_PX, end))
                    for start, end in ((down, height), (right, width))
                )
                image[rows, columns] = tile[
                    rows.start - down : rows.stop - down,
                    columns.start - right : columns.stop - right,
                ]
        return image

    def _tile(self, column: int, row: int) -> NDArray[np.uint8]:
        if (column, row) not in self._tiles:
            self._tiles[column, row] = self._drawn(column, row)
        return self._tiles[column, row]

    def _drawn(self, column: int, row: int) -> NDArray[np.uint8]:
        image = np.full((_TILE_PX, _TILE_PX, 4), 255, np.uint8)
        if self._map is not None:
            reach_m = _TILE_PX / self._scale / 2
            x, y = (2 * column + 1) * reach_m, -(2 * row + 1) * reach_m
            with drawing_on(image, column * _TILE_PX, row * _TILE_PX, self._scale) as axes:
                draw_map(axes, self._map, View(x, y, reach_m + _MARGIN_M), self._palette)
        return image


@contextmanager
def drawing_on(
    image: NDArray[np.uint8], left: int, top: int, pixels_per_m: float
) -> Iterator[Axes]:
    """Axes in metres; what was drawn in them is on the image at the end.

    Args:
        image: Red, green, blue and opacity ``[height, width, 4]``; it is changed.
        left: Column of its first pixel on the ground; see `Ground`.
        top: Row of its first pixel.
        pixels_per_m: Scale.

    Yields:
        The axes.
    """
    height, width = image.shape[:2]
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    xlim, ylim = np.array([left, left + width]), -np.array([top + height, top])
    axes.set(xlim=xlim / pixels_per_m, ylim=ylim / pixels_per_m)
    yield axes
    renderer = canvas.get_renderer()
    pixels = np.asarray(renderer.buffer_rgba())
    pixels[...] = image
    axes.draw(renderer)
    image[...] = pixels
