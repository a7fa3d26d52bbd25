"""The districts of the town."""

from __future__ import annotations

from typing import Any

import numpy as np

from forecast.simulator.map.district import Layout

# The devkit's NuScenesMap opens only the four places of nuScenes, so the town borrows their names.
# The maps behind them are the town's own; nothing in them is Boston or Singapore.
# One signalled grid with traffic on the right; three irregular districts with traffic on the left.
_SHAPES: dict[str, dict[str, Any]] = {
    "boston-seaport": {
        "signalled": ((0, 0), (1, 0), (1, 1), (2, 1), (1, 2)),
        "one_way": frozenset({((0, 0), (0, 1)), ((2, 2), (2, 1))}),
    },
    "singapore-onenorth": {
        "closed": frozenset({((1, 1), (1, 2)), ((2, -1), (2, 0))}),
        "moved_m": (((1, 0), (0.0, 10.0)), ((1, 1), (8.0, -10.0))),
        "signalled": ((1, 1),),
        "left_hand": True,
    },
    "singapore-queenstown": {
        "closed": frozenset({((0, 1), (1, 1)), ((-1, 2), (0, 2))}),
        "moved_m": (((0, 1), (-10.0, 6.0)), ((1, 0), (0.0, -9.0))),
        "signalled": ((1, 1), (1, 2)),
        "left_hand": True,
    },
    "singapore-hollandvillage": {
        "closed": frozenset({((0, 0), (0, 1)), ((1, 1), (2, 1))}),
        "one_way": frozenset({((1, 0), (1, 1)), ((2, 2), (2, 1))}),
        "moved_m": (((1, 1), (10.0, 8.0)),),
        "signalled": ((2, 0), (0, 2)),
        "left_hand": True,
    },
}
"""What sets the districts apart; see `Layout`."""

_SIZES = {"singapore-onenorth": (3, 2), "singapore-queenstown": (2, 3)}
"""Numbers of streets that run north and east, 3 each elsewhere."""

LOCATIONS = tuple(_SHAPES)
_BORDER_M = 200.0


def layout(location: str, seed: int) -> Layout:
    """The parameters of a place; the seed sets the sizes of its blocks.

    Args:
        location: One of `LOCATIONS`.
        seed: Seed of the dataset.
    """
    columns, rows = _SIZES.get(location, (3, 3))
    rng = np.random.default_rng([seed, 7_000 + LOCATIONS.index(location)])
    x = _BORDER_M + np.cumsum(rng.uniform(75.0, 115.0, columns))
    y = _BORDER_M + np.cumsum(rng.uniform(75.0, 115.0, rows))
    return Layout(location, tuple(x.tolist()), tuple(y.tolist()), **_SHAPES[location])
