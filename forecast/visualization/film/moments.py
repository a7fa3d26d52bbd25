"""Where agents are at the times of a film's pictures, and which part of the ground is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.scene import AgentKind, Prediction, Scene
from forecast.scene.resampling import Resampling
from forecast.visualization.film.film import Film, Panel, shown

_NEAR_EGO_M = 30.0
"""People this near to the ego are to be in the picture."""

_SMOOTHED_S = 3.0
"""The camera moves with the mean of this time."""

_TO_PEOPLE = 0.5
"""The camera looks this share of the way from the ego to the people near it."""

_FOLLOWED_M = 70.0
"""Width of the picture around an ego."""

_MARGIN_M, _NARROWEST_M, _WIDEST_M = 5.0, 30.0, 90.0


@dataclass(frozen=True, eq=False)
class AgentMotion:
    """Agents at some times, interpolated between the steps of a scene.

    Attributes:
        positions_m: ``[A, F, 2]``.
        headings_rad: ``[A, F]``.
        facing: Where the heading is known ``[A, F]``.
        valid: Where the agent is observed ``[A, F]``.
    """

    positions_m: NDArray[np.float32]
    headings_rad: NDArray[np.float32]
    facing: NDArray[np.bool_]
    valid: NDArray[np.bool_]

    @classmethod
    def of(cls, scene: Scene, times_us: NDArray[np.int64]) -> AgentMotion:
        """The agents of a scene at some times ``[F]``."""
        tracks = scene.tracks
        step_us = float(np.diff(scene.timestamps_us).max(initial=1))
        way = Resampling.at(times_us, scene.timestamps_us, tracks.valid, step_us)
        _, moves = geometry.motion_headings(tracks.positions_m, tracks.valid)
        moves |= (tracks.kinds != AgentKind.PEDESTRIAN)[:, None]
        return cls(
            way.values(tracks.positions_m),
            way.angles(tracks.headings_rad),
            way.valid & np.take_along_axis(moves, way.first, axis=1),
            way.valid,
        )


def current(panel: Panel, at_us: int) -> Prediction:
    """The latest prediction up to a time, or the first one."""
    times_us = [each.at_us for each in panel.predictions]
    return panel.predictions[max(int(np.searchsorted(times_us, at_us, side="right")) - 1, 0)]


def shown_now(
    scene: Scene, prediction: Prediction
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The agents whose futures are shown, and where they are at the time of a prediction.

    Args:
        scene: The recorded scene.
        prediction: A prediction at one of its steps.

    Returns:
        Their rows in the prediction and in the scene ``[N]``, and their positions ``[N, 2]``.
    """
    agents = np.flatnonzero(shown(scene, prediction))
    row_of = {name: row for row, name in enumerate(scene.tracks.agent_ids.tolist())}
    rows = np.array([row_of[name] for name in prediction.agent_ids[agents].tolist()], np.int64)
    step = int(np.searchsorted(scene.timestamps_us, prediction.at_us))
    return agents, rows, scene.tracks.positions_m[rows, step]


@dataclass(frozen=True, eq=False)
class Camera:
    """The shown part of the ground at each of F times.

    Attributes:
        centres_m: ``[F, 2]``.
        width_m: Width of a panel.
    """

    centres_m: NDArray[np.float64]
    width_m: float

    @classmethod
    def of(cls, film: Film, times_us: NDArray[np.int64], aspect: float) -> Camera:
        """A camera that follows the ego, or stands where nobody has to be followed.

        An ego that nobody is ever near is not followed: the film is about the people.

        Args:
            film: The film; its panels have one camera.
            times_us: Times of the pictures ``[F]``.
            aspect: Width of a panel divided by its height.
        """
        motion, kinds = AgentMotion.of(film.scene, times_us), film.scene.tracks.kinds
        ego = kinds == AgentKind.EGO
        if film.is_imagined:
            return cls._around(_imagined_points(film), len(times_us), aspect)
        people = kinds == AgentKind.PEDESTRIAN
        seen = motion.positions_m[people][motion.valid[people]]
        followed = ego.any() and motion.valid[ego].all()
        if followed and len(seen):
            followed = _near_ego(motion, kinds)[1].any()
        if not followed:
            return cls._around(seen, len(times_us), aspect)
        rate = (len(times_us) - 1) / max(film.duration_s, 1e-9)
        centres = _toward_people(motion, kinds)
        return cls(_smooth(centres, round(_SMOOTHED_S * rate)), _FOLLOWED_M)

    @classmethod
    def _around(cls, points_m: NDArray[np.float32], count: int, aspect: float) -> Camera:
        """A camera that stands and shows points ``[N, 2]``."""
        points = points_m if len(points_m) else np.zeros((1, 2), np.float32)
        low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
        across = (high - low) + 2 * _MARGIN_M
        width = float(np.clip(max(across[0], aspect * across[1]), _NARROWEST_M, _WIDEST_M))
        return cls(np.tile((low + high) / 2, (count, 1)), width)


def _imagined_points(film: Film) -> NDArray[np.float32]:
    """Positions that a film of imagined futures shows: the ego's ways and the people near them."""
    points = []
    for panel in film.panels:
        scene, made = panel.scene, panel.predictions[0]
        now = scene.steps - made.steps - 1
        paths, kinds = scene.tracks.positions_m[:, now:], scene.tracks.kinds
        seen = scene.tracks.valid[:, now]
        ego = paths[(kinds == AgentKind.EGO) & seen].reshape(-1, 2)
        people = paths[(kinds == AgentKind.PEDESTRIAN) & seen]
        if len(ego) and len(people):
            apart = geometry.distances(people.reshape(-1, 2), ego).min(axis=1)
            near = apart.reshape(people.shape[:2]).min(axis=1) < _NEAR_EGO_M / 2
            people = people[near] if near.any() else people
        points += [ego, people.reshape(-1, 2)]
    return np.concatenate(points)


def _near_ego(
    motion: AgentMotion, kinds: NDArray[np.int8]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Places of pedestrians relative to the ego ``[N, F, 2]``, and who is near it ``[N, F]``."""
    ego = motion.positions_m[kinds == AgentKind.EGO][0].astype(np.float64)
    people = kinds == AgentKind.PEDESTRIAN
    offset = motion.positions_m[people] - ego
    return offset, motion.valid[people] & (np.linalg.norm(offset, axis=-1) < _NEAR_EGO_M)


def _toward_people(motion: AgentMotion, kinds: NDArray[np.int8]) -> NDArray[np.float64]:
    """Points ``[F, 2]`` between the ego and the people near it."""
    ego = motion.positions_m[kinds == AgentKind.EGO][0].astype(np.float64)
    offset, near = _near_ego(motion, kinds)
    mean = (
        np.where(near[..., None], offset, 0).sum(axis=0) / np.maximum(near.sum(axis=0), 1)[:, None]
    )
    return ego + _TO_PEOPLE * mean


def _smooth(points_m: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The mean ``[F, 2]`` over some times around each."""
    half = max(width // 2, 0)
    if not half:
        return points_m
    padded = np.pad(points_m, ((half, half), (0, 0)), mode="reflect", reflect_type="odd")
    kernel = np.full(2 * half + 1, 1 / (2 * half + 1))
    return np.stack([np.convolve(padded[:, i], kernel, "valid") for i in range(2)], axis=1)
