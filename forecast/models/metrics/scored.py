"""`Scored`: one prediction and its outcome, the input of every metric."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.errors import ForecastError
from forecast.models.metrics.criticality import post_encroachment_time
from forecast.models.metrics.distribution import credibility
from forecast.scene import LaneMap, Prediction, Tubes


@dataclass(frozen=True, eq=False)
class Scored:
    """The prediction for the scored agents of one window, and the ground truth.

    Everything is in one frame, that of the map.

    Attributes:
        samples_m: Joint futures ``[K, N, T, 2]``.
        weights: Probability of each sample ``[K]``, summing to 1.
        mode_m: The predictor's single best guess ``[N, T, 2]``.
        truth_m: Ground truth ``[N, T, 2]``; scored agents have a complete future.
        dt_s: Step length.
        ego: Poses of the ego vehicle's centre ``[T, 3]`` (x_m, y_m, heading_rad), or None.
        ego_size_m: Its length and width; needed with ``ego``.
        lane_map: The map, or None.
        tubes: The agents' calibrated tubes, or None.
        headings_rad: True headings ``[N, T]``, or None.
        speed_mps: True speeds at prediction time ``[N]``, or None.
    """

    samples_m: Tensor
    weights: Tensor
    mode_m: Tensor
    truth_m: Tensor
    dt_s: float
    ego: Tensor | None = None
    ego_size_m: tuple[float, float] | None = None
    lane_map: LaneMap | None = None
    tubes: Tubes | None = None
    headings_rad: Tensor | None = None
    speed_mps: Tensor | None = None

    def __post_init__(self) -> None:
        """Checks shapes and the completeness of the truth; raises `ForecastError`."""
        if self.samples_m.ndim != 4 or self.samples_m.shape[-1] != 2:
            shape = list(self.samples_m.shape)
            raise ForecastError(f"samples_m has shape {shape}; [K, N, T, 2] is needed")
        samples, agents, steps = self.samples_m.shape[:3]
        expected = {
            "weights": (samples,),
            "mode_m": (agents, steps, 2),
            "truth_m": (agents, steps, 2),
            "ego": (steps, 3),
            "headings_rad": (agents, steps),
            "speed_mps": (agents,),
        }
        for name, needed in expected.items():
            value = getattr(self, name)
            if value is not None and tuple(value.shape) != needed:
                raise ForecastError(
                    f"{name} has shape {list(value.shape)}; {list(needed)} is needed"
                )
        self._check_values()

    def _check_values(self) -> None:
        if min(self.samples_m.shape[0], self.samples_m.shape[2]) == 0:
            raise ForecastError("samples_m is empty; at least 1 sample and 1 step are needed")
        for name in ("samples_m", "mode_m"):
            if not getattr(self, name).isfinite().all():
                raise ForecastError(
                    f"{name} holds values that are not finite; predict every scored agent"
                )
        incomplete = ~self.truth_m.isfinite().all(-1).all(-1)
        if incomplete.any():
            raise ForecastError(
                f"truth_m of agent {int(incomplete.nonzero()[0])} is not finite; "
                "score only agents whose future is complete"
            )
        if self.tubes is not None and self.tubes.centre_m.shape != tuple(self.truth_m.shape):
            raise ForecastError(
                f"tubes have shape {list(self.tubes.centre_m.shape)}; "
                f"{list(self.truth_m.shape)} is needed"
            )
        if self.ego is not None and self.ego_size_m is None:
            raise ForecastError("ego has no ego_size_m; give its length and width in metres")

    @classmethod
    def of(
        cls,
        prediction: Prediction,
        agents: NDArray[Any],
        truth_m: NDArray[Any],
        *,
        ego: NDArray[Any] | None = None,
        ego_size_m: tuple[float, float] | None = None,
        lane_map: LaneMap | None = None,
        headings_rad: NDArray[Any] | None = None,
        speed_mps: NDArray[Any] | None = None,
    ) -> Scored:
        """Picks the scored agents out of a prediction, in float64.

        Args:
            prediction: Any predictor's.
            agents: Indices or mask of the scored agents in the prediction.
            truth_m: Their futures ``[N, T, 2]`` relative to the prediction's origin.
            ego: Poses ``[T, 3]`` of the ego vehicle's centre in the same frame.
            ego_size_m: Its length and width.
            lane_map: The map in the same frame.
            headings_rad: True headings ``[N, T]``.
            speed_mps: True speeds at prediction time ``[N]``.
        """

        def optional(values: NDArray[Any] | None) -> Tensor | None:
            return None if values is None else torch.as_tensor(values, dtype=torch.float64)

        weights = torch.as_tensor(prediction.weights, dtype=torch.float64)
        return cls(
            samples_m=torch.as_tensor(prediction.positions_m[:, agents], dtype=torch.float64),
            weights=weights / weights.sum(),
            mode_m=torch.as_tensor(prediction.most_probable()[agents], dtype=torch.float64),
            truth_m=torch.as_tensor(truth_m, dtype=torch.float64),
            dt_s=prediction.dt_s,
            ego=optional(ego),
            ego_size_m=ego_size_m,
            lane_map=lane_map,
            tubes=None if prediction.tubes is None else prediction.tubes.select(agents),
            headings_rad=optional(headings_rad),
            speed_mps=optional(speed_mps),
        )

    @cached_property
    def credibility(self) -> Tensor:
        """`distribution.credibility` of the truth ``[N, T]``, computed once for all levels."""
        return credibility(self.samples_m, self.truth_m, self.weights)

    @cached_property
    def encroachment_s(self) -> Tensor:
        """`criticality.post_encroachment_time` of each sample ``[K, N]``; needs an ego."""
        return self._encroachment_s(self.samples_m)

    @cached_property
    def true_encroachment_s(self) -> Tensor:
        """That of the recorded world ``[N]``; needs an ego."""
        return self._encroachment_s(self.truth_m[None])[0]

    def _encroachment_s(self, positions_m: Tensor) -> Tensor:
        if self.ego is None or self.ego_size_m is None:
            return torch.full_like(positions_m[..., 0, 0], torch.nan)
        return post_encroachment_time(positions_m, self.ego, self.ego_size_m, self.dt_s)
