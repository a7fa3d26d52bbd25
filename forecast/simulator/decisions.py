"""What pedestrians have decided about the crossing on their way: to go, to yield, to step back.

These are the simulator's own decisions. A recorded dataset has nothing of the kind.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.scene.agents import Decision
from forecast.simulator.dynamics import pedestrian_motion, shared_space
from forecast.simulator.simulate import Scenario, SimulationState, gaps_in_traffic

_HURRIES, _SLOWS_DOWN = 1.05, 0.8
"""Factors of the own pace in shared space."""


class Decisions(NamedTuple):
    """The decisions of A pedestrians.

    Attributes:
        made: `Decision` values ``[A]``.
        crossing: Index of the crossing that each comes to or is on; -1: none ``[A]``.
    """

    made: NDArray[np.int8]
    crossing: NDArray[np.int64]


def decisions(scenario: Scenario, state: SimulationState) -> Decisions:
    """What each pedestrian has decided at a moment.

    Args:
        scenario: What stays the same.
        state: The state at that moment.
    """
    if scenario.traits is not None:
        return _in_shared_space(scenario, scenario.traits, state)
    intent, gaps, _ = gaps_in_traffic(scenario, state)
    has = intent.crossing >= 0
    on_road = has & (intent.distance_m < 0)
    held = has & intent.close & ~intent.decided
    endangered = np.isfinite(gaps.danger_m) & (gaps.danger_m >= pedestrian_motion.STOPS_BEFORE_M)
    made = np.full(len(has), Decision.FREE, np.int8)
    made[has & intent.close & intent.decided] = Decision.GO
    made[on_road] = Decision.GO
    made[on_road & endangered] = Decision.YIELD
    made[held & (intent.distance_m > -pedestrian_motion.STEP_BACK_M)] = Decision.UNDECIDED
    made[(made == Decision.UNDECIDED) & ~gaps.clear] = Decision.YIELD
    made[held & on_road & (intent.distance_m > -pedestrian_motion.STEP_BACK_M)] = Decision.STEP_BACK
    return Decisions(made, intent.crossing)


def _in_shared_space(
    scenario: Scenario, traits: shared_space.Traits, state: SimulationState
) -> Decisions:
    """What each pedestrian does because of vehicles where there are no crossings."""
    pedestrians, vehicles = state.pedestrians, state.vehicles
    crowd, fleet = scenario.crowd, scenario.fleet
    pace = shared_space.negotiate(crowd, traits, pedestrians, fleet, vehicles).pace
    made = np.full(len(pace), Decision.FREE, np.int8)
    made[pace > _HURRIES] = Decision.GO
    made[pace < _SLOWS_DOWN] = Decision.YIELD
    return Decisions(made, np.full(len(pace), -1))
