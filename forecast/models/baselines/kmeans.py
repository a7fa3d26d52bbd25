"""The k-means baseline: the most frequent departures from constant velocity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from forecast import geometry
from forecast.errors import ForecastError
from forecast.models.baselines.past import Floats, Past, keep_going, last_step, motion_frame
from forecast.scene import AgentKind, Prediction, Scene


@dataclass(frozen=True, eq=False)
class KMeansResiduals:
    """The most frequent departures of pedestrians from the constant-velocity path.

    Residuals from constant velocity are clustered with k-means, each in its agent's frame: x along
    the last step, or the world's axes if the agent is almost still. Every cluster centre is one
    future, and its weight is the cluster's share. Joint future k gives centre k to every
    pedestrian; other agents keep their velocity.

    Attributes:
        centres_m: Residuals in the agent's frame ``[K, T, 2]``.
        weights: Shares of the clusters ``[K]``, summing to 1.
        dt_s: Step length of the tracks it was fitted on.
    """

    centres_m: Floats
    weights: Floats
    dt_s: float

    @property
    def name(self) -> str:
        """``kmeans_K``, K being the number of futures."""
        return f"kmeans_{len(self.weights)}"

    @classmethod
    def fit(
        cls,
        positions_m: NDArray[Any],
        valid: NDArray[np.bool_],
        *,
        history_steps: int,
        dt_s: float,
        k: int,
        seed: int = 0,
    ) -> KMeansResiduals:
        """Clusters the residuals of windows with a complete future and a last step.

        Args:
            positions_m: Windows ``[N, H + T, 2]``.
            valid: Which positions exist ``[N, H + T]``.
            history_steps: H, at least 2.
            dt_s: Step length.
            k: Number of clusters K.
            seed: Seed of the initial cluster centres.

        Raises:
            ForecastError: ``history_steps`` is too small, or fewer than ``k`` complete windows.
        """
        if history_steps < 2:
            raise ForecastError(
                f"kmeans: history_steps is {history_steps}; at least 2 are needed, for a last step"
            )
        whole = positions_m[valid[:, history_steps - 2 :].all(axis=1)].astype(np.float64)
        if len(whole) < k:
            raise ForecastError(
                f"kmeans: {len(whole)} whole windows for k = {k}; give more data or a smaller k"
            )
        now, step = whole[:, history_steps - 1], last_step(whole[:, :history_steps])
        horizon = whole.shape[1] - history_steps
        residuals = whole[:, history_steps:] - keep_going(now, step, horizon)
        local = geometry.rotate(residuals, -motion_frame(step, dt_s)[:, None])
        clusters = KMeans(k, n_init=10, random_state=seed).fit(local.reshape(len(local), -1))
        shares = np.bincount(clusters.labels_, minlength=k) / len(local)
        order = np.argsort(-shares, kind="stable")
        return cls(clusters.cluster_centers_.reshape(k, horizon, 2)[order], shares[order], dt_s)

    def predict(
        self,
        scene: Scene,
        at: int,
        *,
        horizon_s: float = 6.0,
        samples: int = 20,
        seed: int = 0,
        ego_plan: NDArray[Any] | None = None,
    ) -> Prediction:
        """K weighted futures for any ``samples``, the largest cluster first."""
        past = Past.of(scene, at, horizon_s, samples, seed)
        fitted = self.centres_m.shape[1]
        if past.steps > fitted or abs(past.dt_s - self.dt_s) > 1e-6:
            raise ForecastError(
                f"{self.name}: {past.steps} steps of {past.dt_s} s asked, "
                f"{fitted} of {self.dt_s} s fitted; fit it for this horizon and step length"
            )
        heading = motion_frame(past.last_step(), past.dt_s)
        residuals = geometry.rotate(self.centres_m[:, None, : past.steps], heading[:, None])
        walks = past.scene.tracks.kinds[past.agents] == AgentKind.PEDESTRIAN
        futures = past.constant_velocity() + np.where(walks[:, None, None], residuals, 0.0)
        return past.prediction(futures, ego_plan, weights=self.weights)
