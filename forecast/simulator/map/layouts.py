"""Layouts of districts: the parameters, and those of the four places of the town."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError

Node = tuple[int, int]
"""Column and row of a junction. -1 and the number of streets are ends outside the district."""


@dataclass(frozen=True)
class Layout:
    """Parameters of a district.

    Attributes:
        location: Name of the place and of its map file.
        columns_m: x of the streets that run north.
        rows_m: y of the streets that run east.
        closed: Pairs of neighbouring nodes without a street between them.
        moved_m: Junctions that are off the grid, with their offsets (x, y).
        one_way: Streets with one lane only, as (from, to).
        signalled: Junctions with traffic lights.
        left_hand_traffic: Whether traffic keeps left.
        lane_width_m: Width of a lane.
        parking_width_m: Width of the parking strip beside it.
        walkway_width_m: Width of a walkway.
        crosswalk_width_m: Width of a crosswalk, along the street.
        corner_radius_m: Radius of the kerb at a street corner. With half the width of a walkway,
            pedestrians who walk straight on come to the next crosswalk.
        arm_m: Length of the streets that lead out of the district.
    """

    location: str
    columns_m: tuple[float, ...]
    rows_m: tuple[float, ...]
    closed: frozenset[tuple[Node, Node]] = frozenset()
    moved_m: tuple[tuple[Node, tuple[float, float]], ...] = ()
    one_way: frozenset[tuple[Node, Node]] = frozenset()
    signalled: tuple[Node, ...] = ()
    left_hand_traffic: bool = False
    lane_width_m: float = 3.5
    parking_width_m: float = 2.4
    walkway_width_m: float = 4.0
    crosswalk_width_m: float = 4.0
    corner_radius_m: float = 2.0
    arm_m: float = 90.0

    def __post_init__(self) -> None:
        """Checks the distances between junctions.

        Raises:
            ForecastError: Streets are too close, or a junction is moved too far.
        """
        least = 4 * self.setback_m
        for name in ("columns_m", "rows_m"):
            gaps = np.diff(getattr(self, name))
            if len(gaps) and gaps.min() < least:
                raise ForecastError(
                    f"{self.location}: {name} has streets {gaps.min():.1f} m apart; "
                    f"increasing values at least {least:.1f} m apart are needed"
                )
        for node, shift in self.moved_m:
            if max(map(abs, shift)) > least / 4:
                raise ForecastError(
                    f"{self.location}: moved_m moves node {node} by {shift} m; "
                    f"at most {least / 4:.1f} m each way is possible"
                )

    def node_m(self, node: Node) -> NDArray[np.float64]:
        """Returns the position of a junction, or of a street's end outside the district ``[2]``."""
        column = min(max(node[0], 0), len(self.columns_m) - 1)
        row = min(max(node[1], 0), len(self.rows_m) - 1)
        shift = dict(self.moved_m).get((column, row), (0.0, 0.0))
        out = self.arm_m * (np.array(node) - (column, row))
        place: NDArray[np.float64] = np.array([self.columns_m[column], self.rows_m[row]])
        return place + shift + out

    @property
    def half_road_m(self) -> float:
        """Distance from the middle of a street to its kerb."""
        return self.lane_width_m + self.parking_width_m

    @property
    def crossing_m(self) -> float:
        """Distance from the middle of a junction to the centre line of its crosswalks."""
        return self.half_road_m + self.corner_radius_m

    @property
    def setback_m(self) -> float:
        """Distance from the middle of a junction to the ends of its lanes, before crosswalks."""
        return self.crossing_m + self.crosswalk_width_m / 2 + 1.0


# The devkit's NuScenesMap opens only the four places of nuScenes, so the town uses their names. Its
# maps are its own and do not show Boston or Singapore. The first is a grid with traffic lights and
# traffic on the right. The other three are irregular, with traffic on the left.
_SHAPES: dict[str, dict[str, Any]] = {
    "boston-seaport": {
        "signalled": ((0, 0), (1, 0), (1, 1), (2, 1), (1, 2)),
        "one_way": frozenset({((0, 0), (0, 1)), ((2, 2), (2, 1))}),
    },
    "singapore-onenorth": {
        "closed": frozenset({((1, 1), (1, 2)), ((2, -1), (2, 0))}),
        "moved_m": (((1, 0), (0.0, 10.0)), ((1, 1), (8.0, -10.0))),
        "signalled": ((1, 1),),
        "left_hand_traffic": True,
    },
    "singapore-queenstown": {
        "closed": frozenset({((0, 1), (1, 1)), ((-1, 2), (0, 2))}),
        "moved_m": (((0, 1), (-10.0, 6.0)), ((1, 0), (0.0, -9.0))),
        "signalled": ((1, 1), (1, 2)),
        "left_hand_traffic": True,
    },
    "singapore-hollandvillage": {
        "closed": frozenset({((0, 0), (0, 1)), ((1, 1), (2, 1))}),
        "one_way": frozenset({((1, 0), (1, 1)), ((2, 2), (2, 1))}),
        "moved_m": (((1, 1), (10.0, 8.0)),),
        "signalled": ((2, 0), (0, 2)),
        "left_hand_traffic": True,
    },
}
"""The parameters in which the districts differ; see `Layout`."""

_SIZES = {"singapore-onenorth": (3, 2), "singapore-queenstown": (2, 3)}
"""Numbers of streets that run north and east. Other districts have 3 of each."""

LOCATIONS = tuple(_SHAPES)
_BORDER_M = 200.0


def layout_of(location: str, seed: int) -> Layout:
    """Returns the layout of a place. The seed sets the sizes of its blocks.

    Args:
        location: One of `LOCATIONS`.
        seed: Seed of the dataset.
    """
    columns, rows = _SIZES.get(location, (3, 3))
    rng = np.random.default_rng([seed, 7_000 + LOCATIONS.index(location)])
    x = _BORDER_M + np.cumsum(rng.uniform(75.0, 115.0, columns))
    y = _BORDER_M + np.cumsum(rng.uniform(75.0, 115.0, rows))
    return Layout(location, tuple(x.tolist()), tuple(y.tolist()), **_SHAPES[location])
