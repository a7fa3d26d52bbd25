"""CommonRoad: set-based occupancies, the area that each agent's body may occupy at each step.

`occupancies` needs no other package. `set_based_predictions` converts them to objects of CommonRoad
and needs ``commonroad-io``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from forecast.errors import ForecastError, require
from forecast.scene import AgentKind, Prediction, Scene

Rings = list[NDArray[np.float64]]
"""Outer rings ``[P, 2]`` of the parts of an occupied area, in world coordinates."""


def occupancies(
    prediction: Prediction, scene: Scene, level: float = 0.95
) -> dict[str, list[Rings]]:
    """Occupied areas of the predicted agents except the ego, by name and step.

    An area is the region of the agent's centre at the level (`Prediction.where`), widened by half
    the diagonal of its body. So it contains the body at any heading. The level is a probability,
    not the guarantee of a reachable set. It applies at the steps, not between them. Holes are
    filled.

    Args:
        prediction: The prediction.
        scene: The scene of the prediction, for kinds and sizes.
        level: Probability of the region of the centre.

    Returns:
        For each agent T lists of outer rings; the first list is one step after now.

    Raises:
        ForecastError: The scene lacks an agent, or the level is out of range.
    """
    tracks = scene.tracks
    rows = {name: row for row, name in enumerate(tracks.agent_ids.tolist())}
    found = {}
    for name in prediction.agent_ids[prediction.valid].tolist():
        require(name in rows, "agent", f"'{name}'", f"an agent of scene {scene.id}")
        if tracks.kinds[rows[name]] != AgentKind.EGO:
            margin = float(np.hypot(*tracks.sizes_m[rows[name], :2])) / 2
            found[name] = _areas(prediction, name, level, margin)
    return found


def _areas(prediction: Prediction, name: str, level: float, margin_m: float) -> list[Rings]:
    times = (np.arange(prediction.steps) + 1) * prediction.dt_s
    shapes = [prediction.where(name, at_s, level).polygon.buffer(margin_m) for at_s in times]
    return [
        [shapely.get_coordinates(part.exterior) + prediction.origin_m for part in parts]
        for parts in map(shapely.get_parts, shapes)
    ]


def set_based_predictions(
    prediction: Prediction, scene: Scene, level: float = 0.95
) -> dict[str, Any]:
    """The occupancies as ``commonroad.prediction.prediction.SetBasedPrediction``, by agent name.

    Time step 1 is one ``dt_s`` of the prediction after now. The ``dt`` of the CommonRoad scenario
    must be the same.

    Args:
        prediction: The prediction.
        scene: The scene of the prediction, for kinds and sizes.
        level: Probability of the region of the centre.

    Raises:
        ForecastError: ``commonroad-io`` is not installed, or as for `occupancies`.
    """
    try:
        from commonroad.prediction.prediction import SetBasedPrediction
    except ImportError as error:
        raise ForecastError(
            f"commonroad is not importable ({error}); pip install commonroad-io"
        ) from None
    found = occupancies(prediction, scene, level)
    return {name: SetBasedPrediction(1, _occupancies(areas)) for name, areas in found.items()}


def _occupancies(areas: list[Rings]) -> Any:
    """Areas as the installed version needs them: a dict by step since 2026, a list before."""
    try:
        from commonroad.geometry.occupancy.occupancy_group import OccupancyGroup
        from commonroad.geometry.occupancy.polygon_occupancy import PolygonOccupancy
    except ImportError:
        from commonroad.geometry.shape import Polygon, ShapeGroup
        from commonroad.prediction.prediction import Occupancy

        groups = [ShapeGroup([Polygon(ring) for ring in rings]) for rings in areas]
        return [Occupancy(step, group) for step, group in enumerate(groups, start=1)]
    return {
        step: OccupancyGroup(tuple(PolygonOccupancy(shapely.Polygon(ring)) for ring in rings))
        for step, rings in enumerate(areas, start=1)
    }
