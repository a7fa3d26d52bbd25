"""The districts of the town."""

from __future__ import annotations

import numpy as np

from forecast.datasets.town.streets import Layout, Node

# The devkit's NuScenesMap opens only the four places of nuScenes, so the town borrows their names.
# The maps behind them are the town's own; nothing in them is Boston or Singapore.
_SHAPES: dict[str, tuple[int, int, frozenset[tuple[Node, Node]], bool]] = {
    "boston-seaport": (3, 3, frozenset(), False),
    "singapore-onenorth": (3, 2, frozenset({((1, 1), (1, 2)), ((2, -1), (2, 0))}), True),
    "singapore-queenstown": (2, 3, frozenset({((0, 1), (1, 1)), ((-1, 2), (0, 2))}), True),
    "singapore-hollandvillage": (3, 3, frozenset({((0, 0), (0, 1)), ((1, 1), (2, 1))}), True),
}
"""Numbers of streets that run north and east, streets left out, and whether traffic keeps left."""

LOCATIONS = tuple(_SHAPES)
_BORDER_M = 200.0


def layout(location: str, seed: int) -> Layout:
    """The parameters of a place; the seed sets the sizes of its blocks.

    Args:
        location: One of `LOCATIONS`.
        seed: Seed of the dataset.
    """
    columns, rows, closed, left_hand = _SHAPES[location]
    rng = np.random.default_rng([seed, 7_000 + LOCATIONS.index(location)])
    x = _BORDER_M + np.cumsum(rng.uniform(75.0, 115.0, columns))
    y = _BORDER_M + np.cumsum(rng.uniform(75.0, 115.0, rows))
    return Layout(location, tuple(x.tolist()), tuple(y.tolist()), closed, left_hand)
