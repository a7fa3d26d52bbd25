"""A few weighted paths per agent, for formats without joint futures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from forecast import geometry
from forecast.errors import require
from forecast.models.selection import cluster_centres
from forecast.scene import AgentKind, Prediction, Scene


@dataclass(frozen=True, eq=False)
class Paths:
    """Marginal paths of the predicted agents except the ego, in world coordinates.

    Attributes:
        agent_ids: Names ``[A]``.
        kinds: `AgentKind` values ``[A]``.
        sizes_m: Length, width, height ``[A, 3]``.
        poses: x in m, y in m, heading in rad ``[k, A, T + 1, 3]``; the first is the present pose.
        velocity_mps: Velocity of the last observed step ``[A, 2]``; 0 if there is none.
        weights: Probability of each path ``[k, A]``, from the most to the least probable.
        at_us: Time of the first pose in microseconds.
        dt_s: Step length.
    """

    agent_ids: NDArray[np.str_]
    kinds: NDArray[np.int8]
    sizes_m: NDArray[np.float32]
    poses: NDArray[np.float64]
    velocity_mps: NDArray[np.float64]
    weights: NDArray[np.float64]
    at_us: int
    dt_s: float

    def of_agent(self, agent: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Poses ``[k, T + 1, 3]`` and weights ``[k]`` of one agent, without paths of weight 0."""
        likely = self.weights[:, agent] > 0
        weights = self.weights[likely, agent]
        return self.poses[likely, agent], weights / weights.sum()

    @classmethod
    def of(cls, prediction: Prediction, scene: Scene, count: int) -> Paths:
        """The mode set of that size, or else cluster centres of the samples.

        A predictor without modes, or with a plan of the ego, gives samples only.

        Args:
            prediction: With a mode set of that size, or equally weighted samples.
            scene: The scene of the prediction.
            count: Number of paths per agent; without such a mode set, at most the number of
                samples.

        Raises:
            ForecastError: The prediction is of another scene, its weights differ, or ``count`` is
                out of range.
        """
        step = np.flatnonzero(scene.timestamps_us == prediction.at_us)
        require(len(step) == 1, "prediction.at_us", prediction.at_us, f"a time of scene {scene.id}")
        at, tracks = int(step[0]), scene.tracks
        order = {name: row for row, name in enumerate(tracks.agent_ids.tolist())}
        unknown = [name for name in prediction.agent_ids.tolist() if name not in order]
        require(not unknown, "agents that the scene lacks", unknown[:3], "a prediction of it")
        rows = np.array([order[name] for name in prediction.agent_ids.tolist()], np.int64)
        kept = prediction.valid & (tracks.kinds[rows] != AgentKind.EGO)
        rows = rows[kept]
        centres, weights = _likely(prediction, kept, count)
        here = np.broadcast_to(tracks.positions_m[rows, at][:, None], (*centres.shape[:2], 1, 2))
        off_m = (prediction.origin_m - scene.origin_m).astype(np.float32)
        positions = np.concatenate([here, centres + off_m], axis=2)
        now_rad = np.broadcast_to(tracks.headings_rad[rows, at], centres.shape[:2])
        turned = geometry.step_headings(positions, now_rad)
        headings = np.concatenate([now_rad[..., None], turned], axis=-1)
        world = positions.astype(np.float64) + scene.origin_m
        poses = np.concatenate([world, headings[..., None]], axis=-1)
        velocity, _ = geometry.backward_velocity(
            tracks.positions_m[rows, : at + 1], tracks.valid[rows, : at + 1], scene.dt_s
        )
        return cls(
            agent_ids=tracks.agent_ids[rows],
            kinds=tracks.kinds[rows],
            sizes_m=tracks.sizes_m[rows],
            poses=poses,
            velocity_mps=velocity[:, -1].astype(np.float64),
            weights=weights.astype(np.float64),
            at_us=prediction.at_us,
            dt_s=prediction.dt_s,
        )


def _likely(
    prediction: Prediction, kept: NDArray[np.bool_], count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Positions ``[k, A, T, 2]`` and probabilities ``[k, A]`` of the paths."""
    if count in (each.count for each in prediction.mode_sets):
        modes = prediction.modes(count).select(kept)
        return modes.positions_m.swapaxes(0, 1), modes.probabilities.T
    even = np.allclose(prediction.weights, 1 / prediction.samples)
    require(even, "weights", "uneven", "a prediction of equally weighted samples")
    centres, weights = cluster_centres(torch.from_numpy(prediction.positions_m[:, kept]), count)
    return centres.numpy(), weights.numpy()
