"""`Grid`: square cells on the ground, and how probable it is that they are occupied."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.scene.arguments import real_number, whole_number

_MOST_CELLS = 2_000_000_000
"""A grid takes as many bytes."""


@dataclass(frozen=True)
class Grid:
    """A grid of square cells in the frame of a prediction.

    Attributes:
        x_m: Left edge.
        y_m: Lower edge.
        cell_m: Edge length of a cell.
        columns: Cells along x.
        rows: Cells along y.
    """

    x_m: float
    y_m: float
    cell_m: float
    columns: int
    rows: int

    def __post_init__(self) -> None:
        """Checks the sizes; raises `ForecastError`."""
        for name in ("columns", "rows"):
            whole_number(f"grid: {name}", getattr(self, name), least=1)
        for name in ("x_m", "y_m", "cell_m"):
            value = real_number(f"grid: {name}", getattr(self, name), "a length in metres")
            require(math.isfinite(value), f"grid: {name}", value, "a finite length in metres")
        require(self.cell_m > 0, "grid: cell_m", self.cell_m, "a length above 0")


def occupancy(
    positions_m: NDArray[Any], weights: NDArray[np.float64], grid: Grid
) -> NDArray[np.float64]:
    """Probability that at least one agent's centre is in a cell.

    Args:
        positions_m: Joint futures ``[K, A, T, 2]`` in the frame of the grid.
        weights: Probability of each sample ``[K]``.
        grid: The cells.

    Returns:
        Probabilities ``[T, rows, columns]``.
    """
    samples, _, steps, _ = positions_m.shape
    cells = samples * steps * grid.rows * grid.columns
    need = f"at most {_MOST_CELLS} over all samples and steps"
    require(cells <= _MOST_CELLS, "grid: number of cells", cells, need)
    edge = np.array([grid.x_m, grid.y_m])
    cell = np.floor((positions_m - edge) / grid.cell_m).astype(np.int64)
    inside = ((cell >= 0) & (cell < [grid.columns, grid.rows])).all(-1)  # [K, A, T]
    sample, _, step = np.nonzero(inside)
    column, row = cell[inside].T
    hit = np.zeros((samples, steps, grid.rows, grid.columns), bool)
    hit[sample, step, row, column] = True
    return np.tensordot(weights, hit, axes=1)
