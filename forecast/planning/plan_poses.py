"""Plans of the ego as a user passes them, as poses at the model's steps.

A plan in another frame, in degrees or of another step length is no plan of this ego. So a plan that
no car can drive from the ego's present motion is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecast import geometry
from forecast.errors import ForecastError, require
from forecast.planning.ego import EgoState
from forecast.scene import AgentKind
from forecast.scene.agents import FASTEST_MPS
from forecast.scene.between_steps import steps_and_shares
from forecast.scene.parsing import FARTHEST_M, LARGEST_HEADING_RAD

Floats = NDArray[np.float64]

_HARD_MPS2 = 8.0
"""Acceleration of an emergency stop on a dry road."""

_MORE_MPS2 = 4.0
"""How much more than that, or than the ego's known acceleration, a plan may have: sideways, and
because positions and times are not exact. Recorded paths of the ego have up to 12 m/s^2."""

_UNEVEN = 0.15
"""The mean speed of an observed step is uncertain by this share, because frames come early or late.
Steps of 0.45 to 0.55 s are common in tables of 0.5 s."""

_MOVES_M = 0.5
"""A shorter step does not determine the direction of motion."""

_SLIP_RAD = math.radians(45)
"""Largest angle between the heading and the direction of motion."""

_REVERSE_MPS = 5.0
"""Highest speed of reverse driving."""

_TOLERANCE = 1e-6
"""For rounding of times and accelerations."""


@dataclass(frozen=True, eq=False)
class EgoMotion:
    """Where the ego is now, and the velocities that it may have.

    A speed between two observed positions is that of the middle of the step, not that of now. So
    the present velocity is not known exactly. It is on one of M line segments.

    Attributes:
        pose: x in m, y in m, heading in rad ``[3]``.
        velocities_mps: Both ends of each segment ``[M, 2, 2]``. M is 0 if nothing is known.
        acceleration_mps2: Size of the present acceleration, if it is known; else 0.
    """

    pose: Floats
    velocities_mps: Floats
    acceleration_mps2: float = 0.0

    @classmethod
    def of_state(cls, ego: EgoState) -> EgoMotion:
        """The motion of an ego whose speed and acceleration are known."""
        velocity = ego.speed_mps * _ahead(ego.heading_rad)
        return cls(ego.pose, np.stack([[velocity, velocity]]), abs(ego.acceleration_mps2))

    @classmethod
    def of_history(
        cls, positions_m: NDArray[Any], valid: NDArray[np.bool_], heading_rad: float, dt_s: float
    ) -> EgoMotion:
        """The motion of an ego that was observed.

        Args:
            positions_m: Positions ``[H, 2]``; the last one is that of now.
            valid: Which positions are known ``[H]``; the last one is.
            heading_rad: Heading now.
            dt_s: Step length.
        """
        seen = np.flatnonzero(valid)[-3:]
        points, elapsed_s = positions_m[seen].astype(np.float64), np.diff(seen) * dt_s
        pose = np.append(points[-1], float(heading_rad))
        if len(seen) < 2:
            return cls(pose, np.zeros((0, 2, 2)))
        velocities = np.diff(points, axis=0) / elapsed_s[:, None]
        # Mean velocities are those of the middles of their steps.
        change = (velocities[-1] - velocities[0]) / elapsed_s.mean()
        return cls.of_velocity(pose, velocities[-1], change * elapsed_s[-1] / 2)

    @classmethod
    def of_velocity(cls, pose: Floats, velocity_mps: Floats, gain_mps: Floats) -> EgoMotion:
        """The motion after a step of known mean velocity.

        Two segments have the direction of that step, and the direction that follows if the ego goes
        on turning. Their speeds include both the mean speed of the step and the speed that follows
        if the ego goes on accelerating. The third is the velocity of `EgoState.of`, from which
        `candidates` begin.

        Args:
            pose: Pose now ``[3]``.
            velocity_mps: Mean velocity of the last step ``[2]``.
            gain_mps: Its change since then with the acceleration observed last ``[2]``.
        """
        both = np.stack([velocity_mps, velocity_mps + gain_mps])
        speeds = np.linalg.norm(both, axis=1)
        low = (1 - _UNEVEN) * speeds.min() if both[0] @ both[1] > 0 else 0.0
        high = (1 + _UNEVEN) * speeds.max()
        directions = both / np.maximum(speeds, 1e-9)[:, None]
        segments = [np.stack([low * way, high * way]) for way in directions]
        ahead = _ahead(float(pose[2]))
        straight = max(float(velocity_mps @ ahead), 0.0) * ahead
        return cls(pose, np.stack([*segments, np.stack([straight, straight])]))

    def nearest_velocity(self, velocities_mps: Floats) -> Floats:
        """The possible present velocity nearest to each of some velocities ``[P, 2]``."""
        if len(self.velocities_mps) == 0:
            return velocities_mps
        start, way = self.velocities_mps[:, 0], np.diff(self.velocities_mps, axis=1)[:, 0]
        along = ((velocities_mps[:, None] - start) * way).sum(-1)
        share = np.clip(along / np.maximum(np.square(way).sum(-1), 1e-12), 0, 1)
        points = start + share[..., None] * way  # [P, M, 2]
        nearest = np.linalg.norm(velocities_mps[:, None] - points, axis=-1).argmin(1)
        return points[np.arange(len(points)), nearest]


def _ahead(heading_rad: float) -> Floats:
    return np.array([math.cos(heading_rad), math.sin(heading_rad)])


def plan_steps(
    plans: ArrayLike,
    *,
    dt_s: float,
    plan_dt_s: float | None = None,
    item: str = "plans",
    longest_s: float = math.inf,
) -> int:
    """Number of the model's steps in the duration of plans.

    Args:
        plans: As in `plan_poses`.
        dt_s: As in `plan_poses`.
        plan_dt_s: As in `plan_poses`.
        item: As in `plan_poses`.
        longest_s: The longest horizon.

    Raises:
        ForecastError: The plans are not finite or of another shape, or their duration is not a
            whole number of steps or too long.
    """
    poses, every_s = _checked(plans, item), _step_of_plans(plan_dt_s, dt_s)
    duration_s = poses.shape[1] * every_s
    if duration_s > longest_s + _TOLERANCE:
        raise ForecastError(_too_long(poses, every_s, longest_s, item))
    steps = round(duration_s / dt_s)
    if steps < 1 or abs(steps * dt_s - duration_s) > _TOLERANCE:
        raise ForecastError(
            f"{_amount(poses, every_s, item)}; a whole number of steps of {dt_s:g} s is needed"
        )
    return steps


def plan_poses(
    plans: ArrayLike,
    ego: EgoMotion,
    *,
    dt_s: float,
    steps: int,
    plan_dt_s: float | None = None,
    item: str = "ego_plan",
    kind: AgentKind = AgentKind.EGO,
) -> Floats:
    """Poses of the ego at the model's steps, from plans with a step of their own.

    Pose t of a plan is that at ``(t + 1) * plan_dt_s``. Positions between two poses are
    interpolated linearly, headings along the shorter arc. Before the first pose, this starts from
    the ego's pose now. Poses that have the model's step already are returned unchanged.

    Args:
        plans: A plan ``[T', 3]``, or plans ``[P, T', 3]`` if ``item`` is "plans": x in m, y in m,
            heading in rad, in the frame of the ego's pose.
        ego: The ego now.
        dt_s: The model's step.
        steps: Number of the model's steps T.
        plan_dt_s: Time between poses; default: the model's step.
        item: Name of the plans in messages.
        kind: Whose plans they are. Those of the ego must be such that a car can drive them; for
            others, only speeds and headings are checked.

    Returns:
        Poses ``[T, 3]`` or ``[P, T, 3]``.

    Raises:
        ForecastError: The plans are not finite or of another shape, are shorter or longer than
            ``steps``, or the ego cannot drive a step of a plan.
    """
    poses, every_s = _checked(plans, item), _step_of_plans(plan_dt_s, dt_s)
    _check_duration(poses, every_s, steps * dt_s, item)
    now = np.broadcast_to(ego.pose, (len(poses), 1, 3))
    given = np.concatenate([now, poses], axis=1)
    found = _resampled(given, every_s, dt_s, steps)
    # Velocities jump where interpolated lines meet, so of the two steps the longer one is checked.
    checked = given if every_s > dt_s else np.concatenate([now, found], axis=1)
    if kind == AgentKind.EGO:
        _check_motion(checked, max(every_s, dt_s), ego, every_s, item)
    else:
        _check_reach(checked, max(every_s, dt_s), kind, item)
    return found if item == "plans" else found[0]


def require_places(plans: NDArray[np.float64]) -> None:
    """Raises `ForecastError` unless the poses of plans ``[P, T, 3]`` are finite and on Earth."""
    good = plans.ndim == 3 and plans.shape[-1] == 3
    require(good, "shape of plans", list(plans.shape), "[P, T, 3]")
    near = bool((np.abs(plans) <= FARTHEST_M).all())  # False for NaN
    words = "not finite" if not np.isfinite(plans).all() else f"{np.abs(plans).max():g}"
    require(near, "a pose of plans", words, f"numbers up to {FARTHEST_M:g}")


def _checked(plans: ArrayLike, item: str) -> Floats:
    """Plans as finite poses ``[P, T', 3]``; raises `ForecastError`."""
    try:
        poses = np.asarray(plans, np.float64)
    except (TypeError, ValueError):
        raise ForecastError(f"{item}: not an array of numbers; poses are needed") from None
    several = item == "plans"
    good = poses.ndim == 2 + several and poses.shape[-1] == 3 and 0 not in poses.shape
    shape = "[P, T, 3]" if several else "[T, 3]"
    require(good, f"shape of {item}", list(poses.shape), shape)
    poses = poses if several else poses[None]
    bad = np.argwhere(~np.isfinite(poses).all(-1))
    for plan, step in bad[:1].tolist():
        pose = poses[plan, step].tolist()
        require(
            False, f"{_place(item, plan, step + 1)}: the pose", pose, "a pose of finite numbers"
        )
    return poses


def _step_of_plans(plan_dt_s: float | None, dt_s: float) -> float:
    """The time between poses; raises `ForecastError`."""
    if plan_dt_s is None:
        return dt_s
    good = isinstance(plan_dt_s, Real) and math.isfinite(plan_dt_s) and plan_dt_s > 0
    require(good, "plan_dt_s", plan_dt_s, "a time above 0 s")
    return float(plan_dt_s)


def _check_duration(poses: Floats, every_s: float, horizon_s: float, item: str) -> None:
    """Checks that plans end at the horizon, or less than one of their steps later."""
    count = poses.shape[1]
    needed = math.ceil(horizon_s / every_s - _TOLERANCE)
    if count == needed:
        return
    if count > needed:
        raise ForecastError(_too_long(poses, every_s, horizon_s, item))
    amount = f"{_amount(poses, every_s, item)}; the horizon is {horizon_s:g} s"
    raise ForecastError(f"{amount}: {needed} poses are needed")


def _too_long(poses: Floats, every_s: float, horizon_s: float, item: str) -> str:
    """The message about plans that are longer than a horizon."""
    rate_hz = poses.shape[1] / horizon_s
    guess = f" ({1 / rate_hz:g}?)" if abs(rate_hz - round(rate_hz)) < _TOLERANCE else ""
    return (
        f"{_amount(poses, every_s, item)}; the horizon is {horizon_s:g} s: give plan_dt_s{guess} "
        f"or the first {math.ceil(horizon_s / every_s - _TOLERANCE)} poses"
    )


def _amount(poses: Floats, every_s: float, item: str) -> str:
    """How much plans hold, in words."""
    count = poses.shape[1]
    hold = {"plans": "each hold", "poses": "hold"}.get(item, "holds")
    return f"{item} {hold} {count} poses every {every_s:g} s, {count * every_s:g} s in all"


def _place(item: str, plan: int, step: int) -> str:
    return f"{f'plan {plan}' if item == 'plans' else item}, step {step}"


def _resampled(given: Floats, every_s: float, dt_s: float, steps: int) -> Floats:
    """Poses ``[P, T, 3]`` at the model's steps, interpolated.

    Args:
        given: Poses ``[P, 1 + T', 3]``, first that of now.
        every_s: Time between them.
        dt_s: The model's step.
        steps: Number of the model's steps T.
    """
    before, share = steps_and_shares(np.arange(1, steps + 1) * dt_s / every_s)
    start: Floats = given[:, before]
    if not share.any():
        return start
    way = given[:, np.minimum(before + 1, given.shape[1] - 1)] - start
    way[..., 2] = geometry.wrap_angle(way[..., 2])
    return start + share[:, None] * way


class _Steps(NamedTuple):
    """Motion in each step of plans; arrays ``[P, T]``, or numbers for one step.

    Attributes:
        distance_m: Length of the step.
        speed_mps: Mean speed.
        before_mps: Mean speed of the step before; in the first step the present speed.
        acceleration_mps2: Change of the velocity from then to the middle of the step, by time.
        heading_rad: Heading at the end of the step.
        direction_rad: Direction of motion.
        slip_rad: Angle between the direction of motion and the heading, the smaller one of the mean
            heading of the step and that at its end; 0 for a step without a direction.
    """

    distance_m: Any
    speed_mps: Any
    before_mps: Any
    acceleration_mps2: Any
    heading_rad: Any
    direction_rad: Any
    slip_rad: Any

    @classmethod
    def of(cls, poses: Floats, dt_s: float, ego: EgoMotion) -> _Steps:
        """The steps of plans ``[P, 1 + T, 3]``, which begin with the pose of now."""
        way = np.diff(poses[..., :2], axis=1)
        velocity, distance = way / dt_s, np.linalg.norm(way, axis=-1)
        before = np.concatenate(
            [ego.nearest_velocity(velocity[:, 0])[:, None], velocity[:, :-1]], 1
        )
        acceleration = np.linalg.norm(velocity - before, axis=-1) / dt_s
        # The first velocity is that of the middle of the first step, only half a step after now.
        acceleration[:, 0] *= 2
        heading, direction = poses[..., 2], np.arctan2(way[..., 1], way[..., 0])
        mean = heading[:, :-1] + geometry.wrap_angle(np.diff(heading, axis=1)) / 2
        slip = [np.abs(geometry.wrap_angle(direction - each)) for each in (mean, heading[:, 1:])]
        slip_rad = np.where(distance > _MOVES_M, np.minimum(*slip), 0.0)
        speed, past = distance / dt_s, np.linalg.norm(before, axis=-1)
        return cls(distance, speed, past, acceleration, heading[:, 1:], direction, slip_rad)

    def reasons(self, first: bool, dt_s: float, every_s: float, most_mps2: float) -> list[str]:
        """Why one step cannot be driven, in words: by speed, acceleration, size of heading, slip.

        Args:
            first: Whether it is the first step.
            dt_s: Its length.
            every_s: Time between the poses that the user gave.
            most_mps2: Highest acceleration.
        """
        far = (
            f"lies {self.distance_m:.1f} m from the ego, which cannot drive that in {dt_s:g} s; "
            "poses relative to the scene's origin_m are needed"
        )
        fastest = FASTEST_MPS[AgentKind.EGO]
        fast = f"its speed is {self.speed_mps:.1f} m/s; at most {fastest:g} m/s is needed"
        hard = (
            f"from {self.before_mps:.1f} {'m/s now ' if first else ''}to {self.speed_mps:.1f} m/s "
            f"is an acceleration of {self.acceleration_mps2:.1f} m/s^2; at most {most_mps2:g} "
            f"m/s^2 is needed: are the poses in the scene's frame, {every_s:g} s (plan_dt_s) apart?"
        )
        heading = f"heading_rad is {self.heading_rad:g}"
        fits = geometry.wrap_angle(self.direction_rad - np.radians(self.heading_rad))
        guess = "degrees? " if abs(float(fits)) <= _SLIP_RAD else ""
        slip = (
            f"{heading}, {np.degrees(self.slip_rad):.0f} degrees off its direction of motion; "
            f"{guess}radians at most {np.degrees(_SLIP_RAD):g} degrees off, or reverse driving at "
            f"up to {_REVERSE_MPS:g} m/s, are needed"
        )
        return [far if first else fast, hard, f"{heading}; degrees? radians are needed", slip]


def _check_motion(poses: Floats, dt_s: float, ego: EgoMotion, every_s: float, item: str) -> None:
    """Checks that a car can drive plans.

    Args:
        poses: The pose of now, then those of plans ``[P, 1 + T, 3]``.
        dt_s: Their step length.
        ego: The ego now.
        every_s: Time between the poses that the user gave.
        item: Name of the plans.

    Raises:
        ForecastError: Names the first step that cannot be driven of the first such plan.
    """
    steps = _Steps.of(poses, dt_s, ego)
    most_mps2 = max(_HARD_MPS2, ego.acceleration_mps2) + _MORE_MPS2
    reverse = (steps.slip_rad > np.pi - _SLIP_RAD) & (steps.speed_mps <= _REVERSE_MPS)
    wrong = [
        steps.speed_mps > FASTEST_MPS[AgentKind.EGO],
        steps.acceleration_mps2 > most_mps2 + _TOLERANCE,
        np.abs(steps.heading_rad) > LARGEST_HEADING_RAD,
        (steps.slip_rad > _SLIP_RAD) & ~reverse,
    ]
    for plan, step in np.argwhere(np.any(wrong, axis=0))[:1].tolist():
        one = _Steps(*(float(values[plan, step]) for values in steps))
        number = math.ceil((step + 1) * dt_s / every_s - _TOLERANCE)
        rule = [bool(found[plan, step]) for found in wrong].index(True)
        reasons = one.reasons(step == 0, dt_s, every_s, most_mps2)
        raise ForecastError(f"{_place(item, plan, number)}: {reasons[rule]}")


def _check_reach(poses: Floats, dt_s: float, kind: AgentKind, item: str) -> None:
    """Checks speeds and headings of poses ``[P, 1 + T, 3]`` of another agent than the ego.

    The first pose may be anywhere: an agent may be put elsewhere.

    Raises:
        ForecastError: Names the first step that is too fast for its kind, or in degrees.
    """
    speeds = np.linalg.norm(np.diff(poses[:, 1:, :2], axis=1), axis=-1) / dt_s
    fastest = FASTEST_MPS[kind]
    for plan, step in np.argwhere(speeds > fastest)[:1].tolist():
        item = f"{_place(item, plan, step + 2)}: speed of a {kind.name.lower()}"
        require(False, item, f"{speeds[plan, step]:.1f} m/s", f"at most {fastest:g} m/s")
    large = np.abs(poses[:, 1:, 2]) > LARGEST_HEADING_RAD
    for plan, step in np.argwhere(large)[:1].tolist():
        item = f"{_place(item, plan, step + 1)}: heading_rad"
        require(False, item, poses[plan, step + 1, 2], "an angle in radians (not in degrees)")
