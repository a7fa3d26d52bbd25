"""Contexts of scenes without a fixed horizon: streams and interactive worlds."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.graphs.candidates import Reach, agent_candidates, map_candidates
from forecast.graphs.pieces import MapPieces, cut_map
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.rollout import SceneContext
from forecast.models.types import Agents, EncodedMap
from forecast.scene import LaneMap


class ContextSource:
    """Encodes a whole map once, and makes contexts of agents on it.

    Args:
        model: The network.
        lane_map: The map or None.
    """

    def __init__(self, model: PedestrianForecaster, lane_map: LaneMap | None) -> None:
        self._model, self._config = model, model.config.graph
        self.device = next(model.parameters()).device
        self._pieces = MapPieces.none(self._config.piece_points)
        if lane_map is not None and self._config.map_radius_m:
            self._pieces = cut_map(lane_map, self._config.piece_m, self._config.piece_points)

    @cached_property
    def map(self) -> EncodedMap:
        """The encoded map."""
        pieces = self._pieces
        arrays = (pieces.points_m, pieces.kinds, pieces.follows, pieces.conflicts)
        with torch.inference_mode():
            return self._model.encode(*(self._tensor(array) for array in arrays))

    def context(
        self,
        kinds: NDArray[np.int8],
        sizes_m: NDArray[np.float32],
        dt_s: float,
        positions_m: NDArray[np.float32],
        within: Reach,
    ) -> SceneContext:
        """A context that is valid until an agent leaves the bounds of its motion.

        Args:
            kinds: `AgentKind` values ``[A]``.
            sizes_m: Length, width, height ``[A, 3]``.
            dt_s: Step length.
            positions_m: Present positions ``[A, 2]``.
            within: Bounds of the agents' motion.
        """
        pairs, radius = agent_candidates(kinds, positions_m, within, self._config)
        seen = map_candidates(self._pieces, positions_m, within, self._config)
        agents = Agents(
            self._tensor(kinds.astype(np.int64)),
            self._tensor(sizes_m),
            torch.full((len(kinds),), dt_s, device=self.device),
        )
        both = self._tensor(pairs), self._tensor(radius)
        return SceneContext.of(self._model.world, agents, both, self.map, self._tensor(seen))

    def _tensor(self, values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)
