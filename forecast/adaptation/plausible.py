"""Whether a recording is physically possible: a gate before anything is learnt from it.

Swapped labels and frames make agents jump or turn back at every step. A unit that is too large puts
all agents at one place. Both leave many histories in distribution where few people are, so the OOD
detector alone does not see them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecast.scene import AgentKind, Scene, Tracks
from forecast.scene.agents import HARDEST_MPS2, HARDEST_ON_FOOT_MPS2
from forecast.scene.continuity import jumps

_MOVING_MPS = 0.5
"""Accelerations count where an agent is faster than this before or after."""

_MOST_MOTION = 0.1
"""Share of impossible motion that a scene may have. Recorded scenes (nuScenes teaser, ETH/UCY, the
city) have at most 3 %."""

_FEWEST = 3
"""Fewer impossible steps may be errors of the annotation."""

_LEAST_STEP_S = 0.4
"""Over shorter steps, noise looks like acceleration."""

_SAME_PLACE_M = 0.25
"""Centres of two bodies are not nearer."""

_MOST_AT_ONE_PLACE = 0.5
"""Share of observations at the place of another agent. Recorded scenes have at most 0.5 %."""


def implausible(scene: Scene) -> str:
    """Why a scene cannot have happened as recorded; "" if it can.

    Pedestrians and cyclists are judged apart from vehicles, so that many sound tracks of the one do
    not hide broken ones of the other. Objects of kind STATIC are left out. Position noise of a
    tracker is taken for motion from a standard deviation of about 0.35 m on, at steps of 0.5 s.

    Args:
        scene: The scene.
    """
    tracks = scene.tracks.select(scene.tracks.kinds != AgentKind.STATIC)
    driven = np.isin(tracks.kinds, (AgentKind.VEHICLE, AgentKind.EGO))
    groups = (
        ("pedestrians and cyclists", ~driven, HARDEST_ON_FOOT_MPS2),
        ("vehicles", driven, HARDEST_MPS2),
    )
    for name, chosen, hardest in groups:
        why = _motion(name, tracks.select(chosen), scene.timestamps_us, hardest)
        if why:
            return why
    share = _at_one_place(tracks)
    if share > _MOST_AT_ONE_PLACE:
        return (
            f"{share:.0%} of its observations are less than {_SAME_PLACE_M:g} m from another "
            "agent: positions in another unit than metres?"
        )
    return ""


def _motion(name: str, tracks: Tracks, times_us: NDArray[np.int64], hardest_mps2: float) -> str:
    """Why the motion of some agents is impossible; "" if it is possible."""
    seen_before = tracks.valid & (tracks.valid.cumsum(axis=1) > 1)
    far = jumps(tracks.positions_m, tracks.valid, times_us, tracks.kinds)
    if _too_many(far, seen_before):
        share = _share(far, seen_before)
        return f"{share:.0%} of the steps of its {name} are jumps: labels of others, another unit?"
    hard, known = _accelerations(tracks, times_us, hardest_mps2)
    if _too_many(hard, known):
        return (
            f"{_share(hard, known):.0%} of the accelerations of its moving {name} are above "
            f"{hardest_mps2:g} m/s^2: labels or frames in another order?"
        )
    return ""


def _accelerations(
    tracks: Tracks, times_us: NDArray[np.int64], hardest_mps2: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where accelerations are too hard, and where those of moving agents are known ``[A, N]``.

    They are measured over steps of at least `_LEAST_STEP_S`.
    """
    step_s = float(np.median(np.diff(times_us))) / 1e6 if len(times_us) > 1 else _LEAST_STEP_S
    thin = slice(None, None, max(math.ceil(_LEAST_STEP_S / step_s - 1e-3), 1))
    elapsed_s, positions = np.diff(times_us[thin]) / 1e6, tracks.positions_m[:, thin]
    velocity = np.diff(positions.astype(np.float64), axis=1) / elapsed_s[:, None]
    change = np.diff(velocity, axis=1) / ((elapsed_s[1:] + elapsed_s[:-1]) / 2)[:, None]
    moves = np.linalg.norm(velocity, axis=-1) > _MOVING_MPS
    valid = tracks.valid[:, thin]
    known = valid[:, 2:] & valid[:, 1:-1] & valid[:, :-2] & (moves[:, 1:] | moves[:, :-1])
    return known & (np.linalg.norm(change, axis=-1) > hardest_mps2), known


def _at_one_place(tracks: Tracks) -> float:
    """Share of the observations of agents among others that are at the place of one of them."""
    near = seen = 0
    for step in range(tracks.steps):
        places = tracks.positions_m[tracks.valid[:, step], step].astype(np.float64)
        if len(places) > 1:
            apart = np.linalg.norm(places[:, None] - places, axis=-1)
            np.fill_diagonal(apart, np.inf)
            near += int((apart.min(axis=1) < _SAME_PLACE_M).sum())
            seen += len(places)
    return near / max(seen, 1)


def _too_many(bad: NDArray[np.bool_], known: NDArray[np.bool_]) -> bool:
    return bool(bad.sum() >= _FEWEST and _share(bad, known) > _MOST_MOTION)


def _share(bad: NDArray[np.bool_], known: NDArray[np.bool_]) -> float:
    return float(bad.sum() / max(known.sum(), 1))
