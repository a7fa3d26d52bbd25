"""The situation of the scored pedestrians of one window: what they did, and where.

Slices and the quantities of rows are computed from it. It uses the whole recording, the future
included, because it describes in what situation a prediction was made. No predictor sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.evaluation.scoring.sample import EvaluationSample
from forecast.models.metrics.criticality import time_to_collision
from forecast.models.metrics.map_compliance import inside
from forecast.scene import AgentKind, LaneMap

Floats = NDArray[np.float64]

_CORRIDOR_MARGIN_M = 1.0
"""The ego's corridor is this much wider than the ego on either side."""

CROWD_RADIUS_M = 3.0
"""Pedestrians nearer than this count as a crowd."""

LANE_REACH_M = 15.0
"""The direction of a lane farther away is not used."""


@dataclass(frozen=True, eq=False)
class Situation:
    """The N scored pedestrians of a window; properties are ``[N, …]`` unless said otherwise."""

    sample: EvaluationSample

    def __len__(self) -> int:
        """Number of scored pedestrians N."""
        return int(self.sample.window.scored.sum())

    @cached_property
    def agents(self) -> NDArray[np.int64]:
        """Their indices in the scene."""
        return self.sample.scene.present(self.sample.window.at)[self.sample.window.scored]

    @cached_property
    def now_m(self) -> Floats:
        """Positions at the prediction time ``[N, 2]``."""
        window = self.sample.window
        return window.positions_m[window.scored, window.history_steps - 1].astype(np.float64)

    @cached_property
    def future_m(self) -> Floats:
        """Positions from the prediction time on ``[N, 1 + T, 2]``."""
        return np.concatenate([self.now_m[:, None], self.sample.truth_m], axis=1).astype(np.float64)

    @cached_property
    def past_valid(self) -> NDArray[np.bool_]:
        """Which observed steps are known ``[N, H]``."""
        window = self.sample.window
        return window.valid[window.scored, : window.history_steps]

    @cached_property
    def past_steps(self) -> NDArray[np.int64]:
        """Consecutive observed steps up to the prediction time, the current one included."""
        unbroken = np.logical_and.accumulate(self.past_valid[:, ::-1], axis=1)
        return unbroken.sum(axis=1)

    @cached_property
    def velocity_mps(self) -> Floats:
        """Backward difference at the prediction time ``[N, 2]``; 0 without a step before."""
        window = self.sample.window
        if window.history_steps < 2:
            return np.zeros((len(self), 2))
        before = window.positions_m[window.scored, window.history_steps - 2]
        return np.where(self.past_valid[:, -2:-1], self.now_m - before, 0.0) / window.dt_s

    @cached_property
    def speed_mps(self) -> Floats:
        """Length of `velocity_mps`."""
        return np.hypot(*self.velocity_mps.T)

    @cached_property
    def travelled_m(self) -> Floats:
        """Displacement over the horizon."""
        return np.hypot(*(self.future_m[:, -1] - self.now_m).T)

    @cached_property
    def end_speed_mps(self) -> Floats:
        """Speed over the last second of the horizon."""
        steps = min(max(1, round(1 / self.sample.window.dt_s)), self.future_m.shape[1] - 1)
        last = self.future_m[:, -1] - self.future_m[:, -1 - steps]
        return np.hypot(*last.T) / (steps * self.sample.window.dt_s)

    @cached_property
    def turn_rad(self) -> Floats:
        """Angle between the velocity now and the displacement over the horizon."""
        (vx, vy), (dx, dy) = self.velocity_mps.T, (self.future_m[:, -1] - self.now_m).T
        return np.abs(np.arctan2(vx * dy - vy * dx, vx * dx + vy * dy))

    @cached_property
    def _ego(self) -> int | None:
        egos = np.flatnonzero(self.sample.window.kinds == AgentKind.EGO)
        return int(egos[0]) if len(egos) else None

    @cached_property
    def ego_distance_m(self) -> Floats:
        """Distance of centres at the prediction time; NaN without ego."""
        if self._ego is None:
            return np.full(len(self), np.nan)
        window = self.sample.window
        return np.hypot(*(self.now_m - window.positions_m[self._ego, window.history_steps - 1]).T)

    @cached_property
    def ego_motion(self) -> tuple[float, float] | None:
        """Metres the ego really drives within the horizon, and radians it turns by.

        None unless the ego is seen at every step.
        """
        if self.sample.ego is None or self._ego is None:
            return None
        poses = self.sample.ego[0].astype(np.float64)
        now = self.sample.window.history_steps - 1
        here = self.sample.window.positions_m[self._ego, now]
        path = np.vstack([here, poses[:, :2]])
        heading = float(self.sample.window.headings_rad[self._ego, now])
        turn = geometry.wrap_angle(poses[-1, 2] - heading)
        return float(np.hypot(*np.diff(path, axis=0).T).sum()), float(turn)

    @cached_property
    def in_corridor(self) -> NDArray[np.bool_] | None:
        """Who is in the ego's corridor at each step from the prediction time on ``[N, 1 + T]``.

        The corridor is the area that the ego's box covers on its real path over the horizon,
        widened by `_CORRIDOR_MARGIN_M` on either side. None unless the ego is seen at every step.
        """
        if self.sample.ego is None or self._ego is None:
            return None
        poses, (length, width) = self.sample.ego
        window = self.sample.window
        now = window.history_steps - 1
        here = [*window.positions_m[self._ego, now], window.headings_rad[self._ego, now]]
        path = _dense(np.vstack([here, poses]).astype(np.float64))  # [S, 3]
        local = geometry.to_frame(self.future_m[:, :, None], path[:, :2], path[:, 2])
        reach = np.array([length / 2, width / 2 + _CORRIDOR_MARGIN_M])
        return (np.abs(local) <= reach).all(-1).any(-1)

    @cached_property
    def time_to_collision_s(self) -> Floats:
        """See `forecast.models.metrics.criticality.time_to_collision`; inf: no collision course."""
        if self._ego is None:
            return np.full(len(self), np.nan)
        window, now = self.sample.window, self.sample.window.history_steps - 1
        if now < 1 or not window.valid[self._ego, now - 1]:
            return np.full(len(self), np.nan)
        here, before = window.positions_m[self._ego, [now, now - 1]].astype(np.float64)
        return time_to_collision(
            self.now_m - here,
            self.velocity_mps - (here - before) / window.dt_s,
            float(window.headings_rad[self._ego, now]),
            (float(window.sizes_m[self._ego, 0]), float(window.sizes_m[self._ego, 1])),
        )

    @cached_property
    def crowd(self) -> NDArray[np.int64]:
        """Other pedestrians within `CROWD_RADIUS_M` at the prediction time."""
        window = self.sample.window
        people = window.positions_m[window.kinds == AgentKind.PEDESTRIAN, window.history_steps - 1]
        gaps = np.hypot(*np.moveaxis(self.now_m[:, None] - people, -1, 0))
        return (gaps < CROWD_RADIUS_M).sum(axis=1) - 1

    @cached_property
    def visibility(self) -> NDArray[np.int8]:
        """Bin 1 to 4 of nuScenes' visibility at the prediction time; 0 where unknown."""
        bins = self.sample.scene.tracks.visibility
        if bins is None:
            return np.zeros(len(self), np.int8)
        return bins[self.agents, self.sample.window.at]

    @property
    def lane_map(self) -> LaneMap | None:
        """The map."""
        return self.sample.scene.lane_map

    def on(self, part: str) -> NDArray[np.bool_] | None:
        """Who is on a part of the map at each step from the prediction time on ``[N, 1 + T]``.

        Args:
            part: A field of `LaneMap` that holds polygons.

        Returns:
            None where the map has no such part.
        """
        if self.lane_map is None or len(getattr(self.lane_map, part)) == 0:
            return None
        return inside(self.future_m, self.lane_map, part)

    @cached_property
    def angle_to_lane_rad(self) -> Floats:
        """Angle, 0 to pi/2, of the displacement over the horizon to the nearest lane's direction.

        NaN where no lane is within `LANE_REACH_M` of the middle of the displacement.
        """
        nearest, angle = _nearest_lane(self.lane_map, (self.now_m + self.future_m[:, -1]) / 2)
        dx, dy = (self.future_m[:, -1] - self.now_m).T
        off = np.abs(geometry.wrap_angle(np.arctan2(dy, dx) - angle))
        return np.where(nearest <= LANE_REACH_M, np.minimum(off, np.pi - off), np.nan)


def _dense(poses: Floats, parts: int = 5) -> Floats:
    """Poses ``[(T - 1) * parts + 1, 3]`` interpolated linearly between poses ``[T, 3]``."""
    unwrapped = poses.copy()
    unwrapped[:, 2] = np.unwrap(poses[:, 2])
    at = np.linspace(0, len(poses) - 1, (len(poses) - 1) * parts + 1)
    return np.stack([np.interp(at, np.arange(len(poses)), column) for column in unwrapped.T], -1)


def _nearest_lane(lane_map: LaneMap | None, points_m: Floats) -> tuple[Floats, Floats]:
    """Distance to the nearest segment of a centre line and its direction, both ``[N]``."""
    nothing = np.full(len(points_m), np.inf), np.zeros(len(points_m))
    if lane_map is None or len(lane_map) == 0:
        return nothing
    lines = lane_map.centerlines
    ends: NDArray[Any] = np.delete(np.arange(len(lines.points_m)), lines.offsets[1:] - 1)
    start, step = lines.points_m[ends].astype(np.float64), lines.points_m[ends + 1]
    step = step - start  # [S, 2]
    share = ((points_m[:, None] - start) * step).sum(-1) / np.maximum((step**2).sum(-1), 1e-9)
    foot = start + np.clip(share, 0, 1)[..., None] * step  # [N, S, 2]
    distance = np.hypot(*np.moveaxis(points_m[:, None] - foot, -1, 0))
    best = distance.argmin(axis=1)
    return distance.min(axis=1), np.arctan2(step[best, 1], step[best, 0])
