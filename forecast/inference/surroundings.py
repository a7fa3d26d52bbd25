"""Who and what can be near whom, for a world that moves on without a horizon."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from forecast.graphs.hetero import standing_ranges, ways_ahead
from forecast.graphs.pieces import MapPieces, cut_map
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.state import Context, EncodedMap
from forecast.scene import LaneMap

_SLACK_M = 1e-3
"""Candidates may lie this much too far: the network looks at the distances again."""


class Surroundings:
    """A map, encoded once and whole, and the search for neighbours.

    Args:
        model: The network.
        lane_map: The map or None.
    """

    def __init__(self, model: PedestrianForecaster, lane_map: LaneMap | None) -> None:
        self._model, self._config = model, model.config.graph
        self.device = next(model.parameters()).device
        self._cut = MapPieces.none(self._config.piece_points)
        if lane_map is not None and self._config.map_radius_m:
            self._cut = cut_map(lane_map, self._config.piece_m, self._config.piece_points)

    @cached_property
    def map(self) -> EncodedMap:
        """The map as the network sees it."""
        arrays = (self._cut.points_m, self._cut.kinds, self._cut.follows)
        with torch.inference_mode():
            return self._model.encode(*(self._tensor(array) for array in arrays))

    @cached_property
    def _pieces(self) -> cKDTree | None:
        middle = self._cut.points_m.mean(axis=1)
        return cKDTree(middle) if len(middle) else None

    def context(
        self,
        kinds: NDArray[np.int8],
        sizes_m: NDArray[np.float32],
        dt_s: float,
        positions_m: NDArray[np.float32],
        reach_m: NDArray[np.float32],
        speeds_mps: NDArray[np.float32],
    ) -> Context:
        """What agents can see until they have moved by their reach; linear in their number.

        Args:
            kinds: `AgentKind` values ``[A]``.
            sizes_m: Length, width, height ``[A, 3]``.
            dt_s: Step length.
            positions_m: ``[A, 2]``.
            reach_m: How far each may be from there ``[A]``.
            speeds_mps: How fast each may be until then ``[A]``.
        """
        ahead = ways_ahead(kinds, speeds_mps, self._config)
        pairs, radius = self._agent_pairs(kinds, positions_m, reach_m, ahead)
        return Context(
            self._tensor(kinds.astype(np.int64)),
            self._tensor(sizes_m),
            torch.full((len(kinds),), dt_s, device=self.device),
            self._tensor(pairs),
            self._tensor(radius),
            self.map,
            self._tensor(self._map_pairs(positions_m, reach_m)),
        )

    def _agent_pairs(
        self,
        kinds: NDArray[np.int8],
        at: NDArray[np.float32],
        reach: NDArray[np.float32],
        ahead: NDArray[np.float32],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        config = self._config
        widest = max(config.agent_radius_m, config.vehicle_radius_m)
        if len(at) < 2:
            return np.zeros((2, 0), np.int64), np.zeros(0, np.float32)
        farthest = widest + float(ahead.max()) + 2 * float(reach.max()) + _SLACK_M
        one, other = cKDTree(at).query_pairs(farthest, output_type="ndarray").T
        limit = standing_ranges(kinds[one], kinds[other], config)
        largest = limit + np.maximum(ahead[one], ahead[other])
        apart = np.linalg.norm(at[one] - at[other], axis=-1)
        near = apart < largest + reach[one] + reach[other] + _SLACK_M
        both = np.concatenate([[one[near], other[near]], [other[near], one[near]]], axis=1)
        order = np.lexsort(both)  # by target
        return both[:, order].astype(np.int64), np.tile(limit[near], 2)[order]

    def _map_pairs(self, at: NDArray[np.float32], reach: NDArray[np.float32]) -> NDArray[np.int64]:
        if self._pieces is None or not len(at):
            return np.zeros((2, 0), np.int64)
        found = self._pieces.query_ball_point(at, self._config.map_radius_m + reach + _SLACK_M)
        agent = np.repeat(np.arange(len(at)), [len(pieces) for pieces in found])
        piece = np.concatenate([np.asarray(pieces, np.int64) for pieces in found])
        order = np.lexsort((piece, agent))
        return np.stack([piece[order], agent[order]])

    def _tensor(self, values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)
