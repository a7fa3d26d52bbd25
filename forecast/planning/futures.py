"""`Futures`: the joint futures that plans are measured against."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.errors import require
from forecast.planning.risk import weights_of
from forecast.scene import AgentKind, Prediction, Scene

_ROUND = (AgentKind.PEDESTRIAN,)
_MOVED_M = 0.2
"""A shorter step does not change the heading: imagined positions of parked vehicles are noisy."""


@dataclass(frozen=True, eq=False)
class Futures:
    """Joint futures and shapes of all agents but the ego.

    Attributes:
        positions_m: ``[K, A, T, 2]`` shared by all plans, or ``[P, K, A, T, 2]`` if agents react
            to each plan. Step 0 is one ``dt_s`` after now.
        agent_ids: Names of the agents ``[A]``.
        now_m: Positions now ``[A, 2]``.
        headings_rad: Headings now ``[A]``; later ones follow the motion.
        sizes_m: Length and width ``[A, 2]``.
        disc: Whether the agent is a disc of its mean size; else it is an oriented box ``[A]``.
        weights: Probability of each sample ``[K]``, summing to 1.
        dt_s: Step length.
    """

    positions_m: NDArray[np.float32]
    agent_ids: NDArray[np.str_]
    now_m: NDArray[np.float32]
    headings_rad: NDArray[np.float32]
    sizes_m: NDArray[np.float32]
    disc: NDArray[np.bool_]
    weights: NDArray[np.float64]
    dt_s: float

    def __post_init__(self) -> None:
        """Checks shapes and finiteness; raises `ForecastError`."""
        shape = self.positions_m.shape
        good = len(shape) in (4, 5) and shape[-1] == 2 and shape[-2] >= 1
        require(good, "shape of positions_m", list(shape), "[K, A, T, 2] or [P, K, A, T, 2]")
        samples, agents = shape[-4:-2]
        expected = {
            "agent_ids": (agents,),
            "now_m": (agents, 2),
            "headings_rad": (agents,),
            "sizes_m": (agents, 2),
            "disc": (agents,),
            "weights": (samples,),
        }
        for name, wanted in expected.items():
            given = getattr(self, name).shape
            require(given == wanted, f"shape of {name}", list(given), str(list(wanted)))
        for name in ("positions_m", "now_m", "headings_rad", "sizes_m"):
            finite = bool(np.isfinite(getattr(self, name)).all())
            require(finite, f"a value of {name}", "not finite", "a finite number")
        require(self.dt_s > 0, "dt_s", self.dt_s, "a positive step")
        total = float(self.weights.sum())
        require(abs(total - 1) < 1e-4, "sum of weights", round(total, 6), "1")

    @classmethod
    def of(cls, prediction: Prediction, scene: Scene) -> Futures:
        """The predicted agents of a scene without the ego; pedestrians are discs, others boxes.

        All is in the scene's frame, also if the prediction is in another one.

        Raises:
            ForecastError: The prediction was not made in this scene.
        """
        tracks = scene.tracks
        at = np.flatnonzero(scene.timestamps_us == prediction.at_us)
        require(len(at) == 1, "prediction.at_us", prediction.at_us, f"a time of scene {scene.id}")
        rows = {name: row for row, name in enumerate(tracks.agent_ids.tolist())}
        names = prediction.agent_ids.tolist()
        unknown = [name for name in names if name not in rows]
        require(not unknown, "agents that the scene lacks", unknown[:3], "a prediction of it")
        agents = np.array([rows[name] for name in names], np.int64)
        kept = prediction.valid & (tracks.kinds[agents] != AgentKind.EGO)
        agents, off_m = agents[kept], prediction.origin_m - scene.origin_m
        positions = prediction.positions_m[:, kept]
        return cls(
            positions_m=(positions + off_m).astype(np.float32) if off_m.any() else positions,
            agent_ids=prediction.agent_ids[kept],
            now_m=tracks.positions_m[agents, at[0]],
            headings_rad=tracks.headings_rad[agents, at[0]],
            sizes_m=tracks.sizes_m[agents, :2],
            disc=np.isin(tracks.kinds[agents], _ROUND),
            weights=prediction.weights,
            dt_s=prediction.dt_s,
        )

    @property
    def reactive(self) -> bool:
        """Whether agents react to each plan, so that every plan has its own futures."""
        return self.positions_m.ndim == 5

    @property
    def samples(self) -> int:
        """Number of joint futures K."""
        return int(self.positions_m.shape[-4])

    @property
    def steps(self) -> int:
        """Number of predicted steps T."""
        return int(self.positions_m.shape[-2])

    def select(self, agents: NDArray[np.bool_]) -> Futures:
        """The futures of some agents, by mask ``[A]``."""
        return replace(
            self,
            positions_m=self.positions_m[..., agents, :, :],
            agent_ids=self.agent_ids[agents],
            now_m=self.now_m[agents],
            headings_rad=self.headings_rad[agents],
            sizes_m=self.sizes_m[agents],
            disc=self.disc[agents],
        )

    def part(self, samples: slice) -> Futures:
        """Some of the samples; their weights sum to 1 again."""
        positions = self.positions_m[..., samples, :, :, :]
        return replace(self, positions_m=positions, weights=weights_of(self.weights, samples))

    def met_by(self, plans: slice) -> Futures:
        """The futures of some of the plans."""
        return replace(self, positions_m=self.positions_m[plans]) if self.reactive else self

    def from_now_m(self) -> NDArray[np.float32]:
        """Positions from the present one on ``[..., K, A, T + 1, 2]``."""
        now = np.broadcast_to(self.now_m[:, None], (*self.positions_m.shape[:-2], 1, 2))
        return np.concatenate([now, self.positions_m], axis=-2)

    def step_headings_rad(self) -> NDArray[np.float32]:
        """Heading ``[..., K, A, T]`` during each step: its direction, or the last one if still."""
        return geometry.step_headings(self.from_now_m(), self.headings_rad, _MOVED_M)
