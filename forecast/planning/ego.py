"""`EgoState`: position, speed and size of the ego vehicle."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecast.errors import require
from forecast.geometry import motion_headings
from forecast.scene import AgentKind, Scene, Tracks
from forecast.scene.agents import FASTEST_MPS, HARDEST_MPS2, TYPICAL_SIZE_M
from forecast.scene.arguments import real_number
from forecast.scene.parsing import (
    FARTHEST_M,
    LARGEST_HEADING_RAD,
    LARGEST_VEHICLE_M,
    within_reach,
)

_LENGTH_M, _WIDTH_M, _HEIGHT_M = TYPICAL_SIZE_M[AgentKind.EGO]

_PAST_S = 5.0
"""How long an ego without a recorded past has driven straight on; longer than any history."""

ONE_EGO = "exactly 1 (EgoState(…).joined(scene, at) adds one)"
"""What is needed where a scene has no agent of kind EGO, in words."""


@dataclass(frozen=True)
class EgoState:
    """The ego's state now, in the frame of the scene.

    Attributes:
        x_m: Centre of the body.
        y_m: Centre of the body.
        heading_rad: Heading.
        speed_mps: Speed along the heading.
        acceleration_mps2: Acceleration along the heading.
        length_m: Length of the body.
        width_m: Width of the body.
    """

    x_m: float
    y_m: float
    heading_rad: float
    speed_mps: float
    acceleration_mps2: float = 0.0
    length_m: float = _LENGTH_M
    width_m: float = _WIDTH_M

    def __post_init__(self) -> None:
        """Checks the numbers; raises `ForecastError`."""
        for field in fields(self):
            real_number(f"ego {field.name}", getattr(self, field.name), "a number")
        values = (self.x_m, self.y_m, self.heading_rad, self.acceleration_mps2)
        require(all(map(math.isfinite, values)), "ego state", values, "finite numbers")
        place, far = (self.x_m, self.y_m), f"at most {FARTHEST_M:g} m"
        require(max(map(abs, place)) <= FARTHEST_M, "ego x_m and y_m", place, far)
        turned = abs(self.heading_rad) <= LARGEST_HEADING_RAD
        require(turned, "ego heading_rad", self.heading_rad, "an angle in radians (not in degrees)")
        good = math.isfinite(self.speed_mps) and self.speed_mps >= 0
        require(good, "ego speed_mps", self.speed_mps, "a finite speed of at least 0")
        fastest = FASTEST_MPS[AgentKind.EGO]
        slow = f"at most {fastest:g} m/s (not km/h)"
        require(self.speed_mps <= fastest, "ego speed_mps", self.speed_mps, slow)
        soft = abs(self.acceleration_mps2) <= HARDEST_MPS2
        need = f"at most {HARDEST_MPS2:g} m/s^2"
        require(soft, "ego acceleration_mps2", self.acceleration_mps2, need)
        size = (self.length_m, self.width_m)
        require(min(size) > 0 and math.isfinite(sum(size)), "ego size", size, "a size above 0")
        small = max(size) <= LARGEST_VEHICLE_M
        require(small, "ego size", size, "a size in metres (not in centimetres)")

    @property
    def pose(self) -> NDArray[np.float64]:
        """``(x_m, y_m, heading_rad)``."""
        return np.array([self.x_m, self.y_m, self.heading_rad])

    def after(self, poses: ArrayLike, dt_s: float) -> EgoState:
        """The ego at the last of some poses that it drives from here.

        Speed and acceleration at the end of the last step follow from its mean speed and that of
        the step before, as if the acceleration were constant.

        Args:
            poses: x in m, y in m, heading in rad ``[T, 3]``, such as the first poses of a plan.
            dt_s: Time between the poses; the first is as long after now.

        Raises:
            ForecastError: The poses are of another shape or not finite, or ``dt_s`` is not above 0.
        """
        require(0 < dt_s < math.inf, "dt_s", dt_s, "a time above 0 s")
        driven = np.asarray(poses, np.float64)
        good = driven.ndim == 2 and driven.shape[1] == 3 and len(driven) > 0
        require(good, "shape of poses", list(driven.shape), "[T, 3]")
        x, y, heading = driven[-1].tolist()
        places = np.concatenate([self.pose[None, :2], driven[:, :2]])[-3:]
        ahead = np.array([math.cos(heading), math.sin(heading)])
        speeds = (np.diff(places, axis=0) / dt_s) @ ahead
        if len(speeds) == 1:
            gained = 2 * (float(speeds[0]) - self.speed_mps)
        else:
            gained = float(speeds[1] - speeds[0])
        speed = float(speeds[-1]) + gained / 2
        return replace(
            self,
            x_m=x,
            y_m=y,
            heading_rad=heading,
            speed_mps=max(speed, 0.0),
            acceleration_mps2=gained / dt_s if speed > 0 else 0.0,
        )

    def joined(self, scene: Scene, at: int) -> Scene:
        """A scene with this ego in it, for a planner whose perception leaves its own car out.

        Its past is unknown, so it has driven straight on at its present speed for some seconds.

        Args:
            scene: The scene; an agent of kind EGO in it is left out.
            at: Index of the step at which the ego is in this state; below 0 it is counted from the
                end.

        Returns:
            The scene, with an agent of kind EGO and a name that no other agent has.

        Raises:
            ForecastError: There is no such step, or the ego is too far from the scene's origin.
        """
        at, tracks = scene.step(at), scene.tracks.select(scene.tracks.kinds != AgentKind.EGO)
        ago_s = (scene.timestamps_us[at] - scene.timestamps_us) / 1e6
        seen = (ago_s >= 0) & (ago_s <= _PAST_S)
        way = self.speed_mps * np.array([math.cos(self.heading_rad), math.sin(self.heading_rad)])
        path = np.where(seen[:, None], self.pose[:2] - ago_s[:, None] * way, 0.0)
        name = "ego"
        while name in tracks.agent_ids:
            name += "_"
        places = within_reach("ego", path[None], np.array([name]), "metres in the scene's frame")
        headings = np.where(seen, self.heading_rad, 0.0)[None].astype(np.float32)
        size = np.array([[self.length_m, self.width_m, _HEIGHT_M]], np.float32)
        ego = Tracks(
            agent_ids=np.append(tracks.agent_ids, name),
            kinds=np.append(tracks.kinds, np.int8(AgentKind.EGO)),
            categories=np.append(tracks.categories, "ego"),
            positions_m=np.concatenate([tracks.positions_m, places]),
            headings_rad=np.concatenate([tracks.headings_rad, headings]),
            sizes_m=np.concatenate([tracks.sizes_m, size]),
            valid=np.concatenate([tracks.valid, seen[None]]),
        )
        return replace(scene, tracks=ego)

    @classmethod
    def of(cls, scene: Scene, at: int) -> EgoState:
        """The ego of a scene at step ``at``; its speed is the mean of its last step.

        So it lags behind, and the acceleration counts as 0. In a closed loop, take the state from
        the car's odometry or from `after`.

        Args:
            scene: The scene.
            at: Index of the step; below 0 it is counted from the end.

        Raises:
            ForecastError: There is no such step, or the scene has no agent of kind EGO that is
                observed then and once before and has a heading: a recorded one, or a movement.
        """
        at, tracks = scene.step(at), scene.tracks
        egos = np.flatnonzero((tracks.kinds == AgentKind.EGO) & tracks.valid[:, at])
        require(len(egos) == 1, f"{scene.id}: number of egos at step {at}", len(egos), ONE_EGO)
        seen = np.flatnonzero(tracks.valid[egos[0], : at + 1])[-2:]
        need = "at least 2, to know its speed; or give EgoState(…, speed_mps=…)"
        require(len(seen) == 2, f"{scene.id}: steps with the ego up to {at}", len(seen), need)
        past = tracks.positions_m[egos, : at + 1], tracks.valid[egos, : at + 1]
        known = scene.headings_recorded or motion_headings(*past, observed=at + 1)[1][0, at]
        need = "a heading (give headings_rad), or a movement; or give EgoState(…, heading_rad=…)"
        require(known, f"{scene.id}: heading of the ego", "unknown", need)
        x, y = tracks.positions_m[egos[0], at]
        heading = float(tracks.headings_rad[egos[0], at])
        step = np.diff(tracks.positions_m[egos[0], seen], axis=0).sum(axis=0)
        forward = float(step @ [math.cos(heading), math.sin(heading)])
        elapsed_s = int(seen[1] - seen[0]) * scene.dt_s
        length, width, _ = map(float, tracks.sizes_m[egos[0]])
        speed = max(forward / elapsed_s, 0.0)
        return cls(float(x), float(y), heading, speed, 0.0, length, width)
