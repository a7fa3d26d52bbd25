"""Encounters: moments at which the plan of the ego may matter to somebody on foot.

They are found by what can be seen and what people intend, never by what happens later. So a set of
encounters also has those in which nobody is moved.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.simulator import routes
from forecast.simulator.dynamics import pedestrian_motion
from forecast.simulator.simulate import (
    EGO_PLANS,
    FRAME_STEPS,
    Scenario,
    SimulationState,
    simulate_frames,
    with_ego_plan,
)

HISTORY_FRAMES, FUTURE_FRAMES = 5, 12
"""Keyframes of a moment: those up to the moment itself, and those after it."""
AS_IT_WENT = "went"
PLANS = (AS_IT_WENT, *EGO_PLANS)
"""The plans of the ego of a moment. The first is that of the simulation."""

_SOON_S = 7.0
"""The ego reaches a place within this time."""
_START_MPS = 3.0
"""A slower ego is taken to drive off at this speed."""
_NEAR_M = 10.0
"""Largest distance of a pedestrian from the kerb that it crosses at, or on the road."""
_BESIDE_M = 4.0
"""Largest distance of a pedestrian from the way of the ego, where there is no kerb."""
_APART_FRAMES = 4
"""Moments of one scene are at least this many keyframes apart."""


def find_moments(scenario: Scenario, states: list[SimulationState]) -> list[int]:
    """Finds the keyframes of a scene at which an encounter begins.

    Args:
        scenario: What stays the same.
        states: The state at every step, from the first keyframe on.

    Returns:
        Indices of keyframes with a whole history and future, in ascending order.
    """
    frames = (len(states) - 1) // FRAME_STEPS
    found: list[int] = []
    for frame in range(HISTORY_FRAMES - 1, frames - FUTURE_FRAMES + 1):
        early = bool(found) and frame - found[-1] < _APART_FRAMES
        if not early and meets(scenario, states[frame * FRAME_STEPS]).any():
            found.append(frame)
    return found


def meets(scenario: Scenario, state: SimulationState) -> NDArray[np.bool_]:
    """Which pedestrians may meet the ego soon ``[A]``.

    They are near a crossing on their way that the ego reaches soon. A crossing is a crosswalk or
    any other place where somebody crosses the road. In shared space they are near the ego's way.

    Args:
        scenario: What stays the same.
        state: The state at that moment.
    """
    ego, conflicts = 0, scenario.conflict_points
    if not state.vehicles.active[ego]:
        return np.zeros(len(scenario.crowd.keys), bool)
    reach_m = _SOON_S * max(float(state.vehicles.speeds_mps[ego]), _START_MPS)
    if scenario.traits is not None:
        return _on_the_way(scenario, state, reach_m)
    ahead_m = conflicts.along_m - state.vehicles.along_m[ego]
    reached = conflicts.crossing[(conflicts.vehicle == ego) & (ahead_m > 0) & (ahead_m < reach_m)]
    anywhere = np.ones(len(scenario.crossings.marked), bool)
    intent = pedestrian_motion.crossing_intents(
        scenario.crowd, scenario.crossings, state.pedestrians, anywhere
    )
    near: NDArray[np.bool_] = np.isin(intent.crossing, reached)
    return near & (np.abs(intent.distance_m) < _NEAR_M)


def _on_the_way(scenario: Scenario, state: SimulationState, reach_m: float) -> NDArray[np.bool_]:
    """Which pedestrians are near the way that the ego drives next ``[A]``; without any kerb."""
    ahead = np.arange(0.0, reach_m, 1.0)
    way = routes.at(scenario.fleet.routes[:1], state.vehicles.along_m[:1, None] + ahead)[0, :, :2]
    apart = geometry.distances(state.pedestrians.positions_m, way).min(axis=1)
    stands = np.isinf(scenario.crowd.stands_s)
    near: NDArray[np.bool_] = (apart < _BESIDE_M) & ~stands
    return near


def branches(
    scenario: Scenario, states: list[SimulationState], frame: int
) -> dict[str, list[SimulationState]]:
    """The states of a moment under every plan of the ego, history included.

    All branches begin with the same states and have the same random numbers.

    Args:
        scenario: What stays the same.
        states: The state at every step of the scene as it went.
        frame: Keyframe of the moment.
    """
    first = (frame - HISTORY_FRAMES + 1) * FRAME_STEPS
    now, last = frame * FRAME_STEPS, (frame + FUTURE_FRAMES) * FRAME_STEPS
    history = states[first:now]
    after = {AS_IT_WENT: states[now : last + 1]}
    for plan in EGO_PLANS:
        other = with_ego_plan(scenario, plan)
        after[plan] = simulate_frames(other, states[now], FUTURE_FRAMES + 1)
    return {plan: history + rest for plan, rest in after.items()}
