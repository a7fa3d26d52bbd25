"""Windows of a scene (history and future), and which pedestrians an evaluation protocol scores."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.errors import ForecastError
from forecast.scene import AgentKind, LaneMap, Scene, Tracks
from forecast.scene.agents import Decision
from forecast.scene.arguments import whole_steps
from forecast.scene.continuity import continuous, jumps


@dataclass(frozen=True)
class EvaluationProtocol:
    """The rules of a named evaluation.

    Attributes:
        min_history_steps: Consecutive observed steps that a pedestrian needs, the prediction time
            included; None: the whole history.
        history_s: Time from the first observed step to the current one.
        horizons_s: The official prediction horizons. Each has its own set of prediction times.
    """

    min_history_steps: int | None
    history_s: float
    horizons_s: tuple[float, ...]

    @property
    def horizon_s(self) -> float:
        """The longest official prediction horizon."""
        return max(self.horizons_s)


PROTOCOLS = {
    "nuscenes-ped-v1": EvaluationProtocol(2, history_s=2.0, horizons_s=(3.0, 6.0)),
    "eth-ucy-v1": EvaluationProtocol(None, history_s=2.8, horizons_s=(4.8,)),
}
"""The evaluation protocols by name."""


def protocol_of(name: str) -> EvaluationProtocol:
    """Returns the protocol with a name.

    Raises:
        ForecastError: No protocol has that name.
    """
    if name not in PROTOCOLS:
        raise ForecastError(
            f"protocol '{name}' is unknown; one of {', '.join(PROTOCOLS)} is needed"
        )
    return PROTOCOLS[name]


def min_history_steps(protocol: str, history_steps: int) -> int:
    """Returns how many consecutive observed steps a scored pedestrian needs.

    Args:
        protocol: A key of `PROTOCOLS`.
        history_steps: Observed steps H of the windows, the current one included.
    """
    return min(protocol_of(protocol).min_history_steps or history_steps, history_steps)


@dataclass(frozen=True)
class WindowSpec:
    """Lengths of a window, and which pedestrians are scored in it.

    Attributes:
        history_steps: Observed steps H, the current one included.
        horizon_steps: Future steps T.
        min_history_steps: Consecutive observed steps a scored pedestrian needs.
        full_future: Whether a scored pedestrian needs every future step, or only the first.
    """

    history_steps: int
    horizon_steps: int
    min_history_steps: int = 2
    full_future: bool = True

    def __post_init__(self) -> None:
        """Checks the lengths.

        Raises:
            ForecastError: A length is out of range.
        """
        if not 1 <= self.min_history_steps <= self.history_steps:
            raise ForecastError(
                f"min_history_steps is {self.min_history_steps}; "
                f"1 to history_steps ({self.history_steps}) is needed"
            )
        if self.horizon_steps < 1:
            raise ForecastError(f"horizon_steps is {self.horizon_steps}; at least 1 is needed")

    @classmethod
    def of_protocol(
        cls,
        protocol: str,
        dt_s: float,
        history_s: float | None = None,
        horizon_s: float | None = None,
    ) -> WindowSpec:
        """Returns the windows of a named evaluation protocol.

        Args:
            protocol: A key of `PROTOCOLS`.
            dt_s: Step length of the data.
            history_s: Time from the first observed step to the current one; None: the protocol's.
            horizon_s: Time from the current step to the last predicted one; None: the protocol's.

        Raises:
            ForecastError: The protocol is unknown, or a length is out of range or not a multiple of
                the step.
        """
        rules = protocol_of(protocol)
        past = rules.history_s if history_s is None else history_s
        ahead = rules.horizon_s if horizon_s is None else horizon_s
        history = whole_steps("history_s", past, dt_s) + 1 if past else 1
        horizon = whole_steps("horizon_s", ahead, dt_s)
        return cls(history, horizon, min_history_steps(protocol, history))

    def is_official(self, protocol: str, dt_s: float) -> bool:
        """Whether scores of these windows may be reported under the name of a protocol."""
        horizons = protocol_of(protocol).horizons_s
        return self in [self.of_protocol(protocol, dt_s, horizon_s=each) for each in horizons]


@dataclass(frozen=True, eq=False)
class PredictionTimes:
    """Which pedestrians are scored at which steps of a scene.

    Attributes:
        scored: Whether agent a is scored with step t as the prediction time ``[A, T]``.
        dropped: Observed pedestrian steps that are not scored, counted by reason.
    """

    scored: NDArray[np.bool_]
    dropped: dict[str, int]

    @property
    def steps(self) -> NDArray[np.int64]:
        """Steps with at least one scored pedestrian."""
        return np.flatnonzero(self.scored.any(axis=0))


def prediction_times(scene: Scene, spec: WindowSpec) -> PredictionTimes:
    """Finds the scored pedestrians of every step, and counts the dropped ones by reason.

    Args:
        scene: Any scene.
        spec: Lengths of the windows, and what a scored pedestrian needs.
    """
    tracks, steps = scene.tracks, spec.horizon_steps if spec.full_future else 1
    valid = tracks.valid
    seen = valid & (tracks.kinds == AgentKind.PEDESTRIAN)[:, None]
    history = _all_of(valid, -spec.min_history_steps + 1, 1)
    future = _all_of(valid, 1, 1 + steps)
    whole = ~jumps(tracks.positions_m, valid, scene.timestamps_us, tracks.kinds)
    unbroken = _all_of(whole, -spec.min_history_steps + 2, 1 + steps)
    recorded = np.ones(scene.steps, bool) if scene.interpolated is None else ~scene.interpolated
    complete = seen & history & future
    dropped = {
        "history_too_short": int((seen & ~history).sum()),
        "future_incomplete": int((seen & history & ~future).sum()),
    }
    rare = {
        "track_jumps": int((complete & ~unbroken).sum()),
        "between_records": int((complete & unbroken & ~recorded).sum()),
    }
    dropped |= {why: count for why, count in rare.items() if count}
    return PredictionTimes(scored=complete & unbroken & recorded, dropped=dropped)


def _all_of(valid: NDArray[np.bool_], start: int, stop: int) -> NDArray[np.bool_]:
    """Whether all of the steps ``t + start <= s < t + stop`` are valid, for every t ``[A, T]``.

    Steps outside the scene count as not valid.
    """
    steps = valid.shape[1]
    padded = np.pad(valid, ((0, 0), (max(-start, 0), max(stop, 0))))
    shifts = [padded[:, i : i + steps] for i in range(max(start, 0), stop - min(start, 0))]
    return np.logical_and.reduce(shifts)


@dataclass(frozen=True, eq=False)
class Window:
    """History and future of the agents observed at one step.

    Steps ``[:history_steps]`` are history; the last of them is the current one. The other steps are
    future. Values are 0 where ``valid`` is false.

    Attributes:
        scene_id: Name of the scene.
        at: Index of the current step in the scene.
        at_us: Time of the current step.
        dt_s: Step length.
        history_steps: Observed steps H, the current one included.
        agent_ids: Names ``[A]``.
        kinds: `AgentKind` values ``[A]``.
        sizes_m: Length, width, height ``[A, 3]``.
        positions_m: ``[A, H + T, 2]`` in the scene's frame.
        headings_rad: ``[A, H + T]``. Those of pedestrians follow from their movement in the window.
            So do all where the scene has no recorded ones.
        heading_known: Whether the heading is known at the current step ``[A]``. That of a
            pedestrian is unknown until it moves.
        headings_recorded: Whether headings of others than pedestrians are recorded; else they
            follow from the movement, too.
        valid: ``[A, H + T]``.
        scored: Pedestrians that the protocol scores ``[A]``.
        decisions: What each has decided at every step, as `Decision` values ``[A, H + T]``.
        lane_map: The scene's map or None.
    """

    scene_id: str
    at: int
    at_us: int
    dt_s: float
    history_steps: int
    agent_ids: NDArray[np.str_]
    kinds: NDArray[np.int8]
    sizes_m: NDArray[np.float32]
    positions_m: NDArray[np.float32]
    headings_rad: NDArray[np.float32]
    heading_known: NDArray[np.bool_]
    headings_recorded: bool
    valid: NDArray[np.bool_]
    scored: NDArray[np.bool_]
    decisions: NDArray[np.int8]
    lane_map: LaneMap | None

    @property
    def future_m(self) -> NDArray[np.float32]:
        """Future positions ``[A, T, 2]``."""
        return self.positions_m[:, self.history_steps :]

    @property
    def future_valid(self) -> NDArray[np.bool_]:
        """Which future positions are known ``[A, T]``."""
        return self.valid[:, self.history_steps :]

    def select(self, agents: NDArray[Any]) -> Window:
        """Returns the window with some of the agents only.

        Args:
            agents: Indices or a mask of agents.
        """
        return replace(
            self,
            agent_ids=self.agent_ids[agents],
            kinds=self.kinds[agents],
            sizes_m=self.sizes_m[agents],
            positions_m=self.positions_m[agents],
            headings_rad=self.headings_rad[agents],
            heading_known=self.heading_known[agents],
            valid=self.valid[agents],
            scored=self.scored[agents],
            decisions=self.decisions[agents],
        )


def window(
    scene: Scene, at: int, spec: WindowSpec, scored: NDArray[np.bool_] | None = None
) -> Window:
    """Cuts the window around step ``at`` out of a scene.

    Args:
        scene: Any scene.
        at: Index of the current step; below 0 it is counted from the end.
        spec: Lengths of the window. Steps outside the scene are not valid.
        scored: Column ``at`` of `PredictionTimes.scored` ``[A]``; None: it is computed here.

    Raises:
        ForecastError: ``at`` is not a step of the scene, or lies between two records.
    """
    at = scene.prediction_step(at)
    if scored is None:
        scored = prediction_times(scene, spec).scored[:, at]
    tracks, agents = scene.tracks, scene.present(at)
    steps = np.arange(at - spec.history_steps + 1, at + 1 + spec.horizon_steps)
    inside = (steps >= 0) & (steps < scene.steps)
    take = np.ix_(agents, np.clip(steps, 0, scene.steps - 1))
    kinds, now = tracks.kinds[agents], spec.history_steps - 1
    # Before and after a jump the track is that of somebody else.
    times_us = scene.timestamps_us[take[1][0]]
    jumped = jumps(tracks.positions_m[take], tracks.valid[take] & inside, times_us, kinds)
    valid = continuous(tracks.valid[take] & inside, jumped, now)
    positions = _zero_unless(valid[..., None], tracks.positions_m[take])
    recorded = tracks.headings_rad[take] if scene.headings_recorded else None
    headings, known = _headings(recorded, kinds, positions, valid, spec.history_steps)
    return Window(
        scene_id=scene.id,
        at=at,
        at_us=int(scene.timestamps_us[at]),
        dt_s=scene.dt_s,
        history_steps=spec.history_steps,
        agent_ids=tracks.agent_ids[agents],
        kinds=kinds,
        sizes_m=tracks.sizes_m[agents],
        positions_m=positions,
        headings_rad=_zero_unless(valid, headings),
        heading_known=known[:, now],
        headings_recorded=scene.headings_recorded,
        valid=valid,
        scored=scored[agents],
        decisions=np.where(valid, _decisions(tracks)[take], np.int8(Decision.UNKNOWN)),
        lane_map=scene.lane_map,
    )


def with_headings_of_motion(changed: Window) -> Window:
    """The window with headings that follow from its positions, as `window` derives them.

    For windows whose positions or valid steps have changed since: what an agent does in hidden
    steps must not show in its heading. Recorded headings of agents that are no pedestrians stay.

    Args:
        changed: The window.
    """
    recorded = changed.headings_rad if changed.headings_recorded else None
    observed = changed.kinds, changed.positions_m, changed.valid, changed.history_steps
    headings, known = _headings(recorded, *observed)
    return replace(
        changed,
        headings_rad=_zero_unless(changed.valid, headings),
        heading_known=known[:, changed.history_steps - 1],
    )


def _decisions(tracks: Tracks) -> NDArray[np.int8]:
    if tracks.decisions is None:
        return np.full(tracks.valid.shape, Decision.UNKNOWN, np.int8)
    return tracks.decisions


def _headings(
    recorded: NDArray[np.float32] | None,
    kinds: NDArray[np.int8],
    positions_m: NDArray[np.float32],
    valid: NDArray[np.bool_],
    history_steps: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Headings of a window ``[A, H + T]``, and where they are known.

    Derived headings follow from the steps of this window alone, not from earlier ones. Agents with
    an unknown heading get that of the ego. The network needs some direction, and this one turns
    with the scene.
    """
    moved, known = geometry.motion_headings(positions_m, valid, observed=history_steps)
    derived = kinds == AgentKind.PEDESTRIAN
    if recorded is None:
        derived, recorded = np.ones(len(kinds), bool), moved
    egos = np.flatnonzero(kinds == AgentKind.EGO)
    ahead = np.float32(0)
    if len(egos):
        ahead = (moved if derived[egos[0]] else recorded)[egos[0], history_steps - 1]
    headings = np.where(derived[:, None], np.where(known, moved, ahead), recorded)
    return headings, known | ~derived[:, None]


def _zero_unless(valid: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.float32]:
    return np.where(valid, values, np.float32(0))


def window_seed(seed: int, scene_id: str, at: int) -> int:
    """Returns the seed of one window, 0 to 2^32 - 1.

    It depends on the arguments alone, not on the order of windows, on shards or on the process.
    """
    digest = hashlib.blake2b(f"{seed}/{scene_id}/{at}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
