"""Traffic lights: which axis of a junction has green, and which crosswalks show "walk".

A signalled junction alternates between its two axes. Pedestrians cross an arm while the other axis,
which is parallel to their way, has green. They do not start in the last seconds of that phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from forecast.simulator.map.district import District

AMBER_S, ALL_RED_S = 3.0, 2.0
_CLEAR_S = 6.0
"""Nobody starts to cross in these last seconds of a green phase."""


@dataclass(frozen=True, eq=False)
class TrafficLights:
    """The traffic lights of a scene. Junction -1 means no light.

    Attributes:
        lane_junctions: Junction of each lane of the district ``[L]``.
        lane_axes: Axis (0 or 1) along which each lane enters its junction ``[L]``.
        crossing_junctions: Junction of each crossing ``[X]``.
        crossing_axes: Axis of the street that each crossing crosses ``[X]``.
        green_s: Length of the green phases of each junction ``[J]``.
        offsets_s: Time since the first axis last turned green, at time 0 ``[J]``.
    """

    lane_junctions: NDArray[np.int64]
    lane_axes: NDArray[np.int64]
    crossing_junctions: NDArray[np.int64]
    crossing_axes: NDArray[np.int64]
    green_s: NDArray[np.float64]
    offsets_s: NDArray[np.float64]


def draw_traffic_lights(district: District, crossings: int, rng: Generator) -> TrafficLights:
    """Draws the timing of a district's traffic lights.

    Args:
        district: The place.
        crossings: Number of crossings X of the scene. Those after the crosswalks have no light.
        rng: Random generator.
    """
    beyond = np.full(crossings - len(district.crosswalk_signals), -1)
    junctions, axes = district.crosswalk_signals.T
    count = len(district.layout.signalled)
    green = rng.uniform(10.0, 18.0, count)
    return TrafficLights(
        lane_junctions=district.lane_signals[:, 0],
        lane_axes=district.lane_signals[:, 1],
        crossing_junctions=np.concatenate([junctions, beyond]),
        crossing_axes=np.concatenate([axes, np.zeros(len(beyond), np.int64)]),
        green_s=green,
        offsets_s=rng.uniform(0.0, 1.0, count) * 2 * (green + AMBER_S + ALL_RED_S),
    )


def may_drive(lights: TrafficLights, lanes: NDArray[Any], time_s: float) -> NDArray[np.bool_]:
    """Returns whether a vehicle may enter the junction on each of some lanes ``[V]``."""
    junction = lights.lane_junctions[lanes]
    left_s = _green_left(lights, junction, lights.lane_axes[lanes], time_s)
    return (junction < 0) | (left_s > 0)


def may_walk(lights: TrafficLights, time_s: float) -> NDArray[np.bool_]:
    """Returns whether pedestrians may start to cross at each crossing ``[X]``."""
    junction = lights.crossing_junctions
    left_s = _green_left(lights, junction, 1 - lights.crossing_axes, time_s)
    return (junction < 0) | (left_s > _CLEAR_S)


def _green_left(
    lights: TrafficLights, junction: NDArray[Any], axis: NDArray[Any], time_s: float
) -> NDArray[np.float64]:
    """Returns the seconds of green left on axes of junctions; 0 or less at amber and red."""
    if not len(lights.green_s):
        return np.zeros(len(junction))
    green = lights.green_s[junction]
    half = green + AMBER_S + ALL_RED_S
    phase: NDArray[np.float64] = (time_s + lights.offsets_s[junction] - axis * half) % (2 * half)
    return green - phase
