"""`Prediction`: possible futures of a scene, and the protocol of everything that predicts."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecast import geometry
from forecast.errors import ForecastError, require
from forecast.scene.arguments import real_number
from forecast.scene.between_steps import between_steps
from forecast.scene.grid import Grid, occupancy
from forecast.scene.modes import ModeSet
from forecast.scene.parsing import parse_origin
from forecast.scene.representatives import representatives
from forecast.scene.scene import Scene
from forecast.scene.tubes import Tubes

if TYPE_CHECKING:
    import shapely

    from forecast.scene.chances import Chances, FirstTimes
    from forecast.scene.questions import Area, Region

# `chances`, `questions` and `prediction_rows` are imported when they are used: they load scipy,
# shapely and pyarrow, which `import forecast` and the command line do without.

_WEIGHT_TOLERANCE = 1e-4
_TIME_TOLERANCE_S = 1e-6


@dataclass(frozen=True, eq=False)
class Prediction:
    """Weighted joint futures of the agents of a scene.

    Sample k is one joint future of all agents. Step 0 is one ``dt_s`` after ``at_us``.

    Attributes:
        positions_m: Futures ``[K, A, T, 2]`` relative to ``origin_m``.
        weights: Probability of each sample ``[K]``, summing to 1.
        agent_ids: Names of the agents ``[A]``.
        valid: Which agents are predicted ``[A]``; the rows of the others are undefined.
        at_us: Prediction time: the time of the last observed step.
        dt_s: Step length.
        origin_m: World position ``[2]`` of the frame; axes are the world's.
        mode_m: The predictor's single best guess ``[A, T, 2]`` if it gives one that is not among
            the samples (for example its mean, or its rollout without noise); else None. It need
            not be where the predicted density is highest.
        spread_m: Standard deviation per agent and step ``[A, T]`` if the predictor gives it.
        tubes: Calibrated regions of each agent and step, if the predictor was calibrated.
        fallback: Agents whose futures are constant velocity instead of the predictor's own
            ``[A]``, because their past is out of distribution; None without an OOD detector.
        scene_id: Name of the scene; "" if the predictor does not say.
        mode_sets: Sets of a few futures of each agent on its own, each set with another number of
            modes; none if the predictor gives none. See `modes`.
        now_m: Where the agents are at ``at_us`` ``[A, 2]``, relative to ``origin_m``. Without it
            nothing is known of the way to the first step.
    """

    positions_m: NDArray[np.float32]
    weights: NDArray[np.float64]
    agent_ids: NDArray[np.str_]
    valid: NDArray[np.bool_]
    at_us: int
    dt_s: float
    origin_m: NDArray[np.float64]
    mode_m: NDArray[np.float32] | None = None
    spread_m: NDArray[np.float32] | None = None
    tubes: Tubes | None = None
    fallback: NDArray[np.bool_] | None = None
    scene_id: str = ""
    mode_sets: tuple[ModeSet, ...] = ()
    now_m: NDArray[np.float32] | None = None

    def __repr__(self) -> str:
        until_s = self.steps * self.dt_s
        agents = f"{int(self.valid.sum())} of {len(self.valid)} agents"
        return (
            f"Prediction({self.scene_id!r} at {self.at_us / 1e6:.3f} s: {self.samples} samples, "
            f"{agents}, {self.steps} steps of {self.dt_s:g} s up to {until_s:g} s)"
        )

    def __post_init__(self) -> None:
        """Checks shapes, finiteness, step and weights; raises `ForecastError`."""
        if self.positions_m.ndim != 4 or self.positions_m.shape[-1] != 2:
            raise ForecastError(
                f"positions_m has shape {list(self.positions_m.shape)}; [K, A, T, 2] is needed"
            )
        samples, agents, steps = self.positions_m.shape[:3]
        expected = {
            "weights": (samples,),
            "agent_ids": (agents,),
            "valid": (agents,),
            "origin_m": (2,),
            "mode_m": (agents, steps, 2),
            "spread_m": (agents, steps),
            "fallback": (agents,),
            "now_m": (agents, 2),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            is_array = value is None or isinstance(value, np.ndarray)
            require(is_array, name, f"a {type(value).__name__}", f"a numpy array {list(shape)}")
            if value is not None and value.shape != shape:
                raise ForecastError(
                    f"{name} has shape {list(value.shape)}; {list(shape)} is needed"
                )
        if self.tubes is not None:
            found = list(self.tubes.centre_m.shape)
            needed = [agents, steps, 2]
            require(found == needed, "tubes.centre_m's shape", found, f"{needed}")
        for each in self.mode_sets:
            found, needed = list(each.positions_m.shape), [agents, each.count, steps, 2]
            require(found == needed, "mode_sets: positions_m's shape", found, f"{needed}")
        counts = [each.count for each in self.mode_sets]
        rising = counts == sorted(set(counts))
        require(rising, "mode_sets: numbers of modes", counts, "rising numbers")
        self._check_values()

    def _check_values(self) -> None:
        finite = np.isfinite(self.positions_m).all(axis=(0, 2, 3))
        for each in self.mode_sets:
            finite &= np.isfinite(each.positions_m).all(axis=(1, 2, 3))
        if self.mode_m is not None:
            finite &= np.isfinite(self.mode_m).all(axis=(1, 2))
        bad = self.valid & ~finite
        if bad.any():
            raise ForecastError(
                f"agent '{self.agent_ids[bad][0]}': a predicted position is not finite"
            )
        if self.now_m is not None:
            unknown = self.agent_ids[self.valid & ~np.isfinite(self.now_m).all(axis=1)]
            require(not len(unknown), "now_m of agents", unknown[:3].tolist(), "a finite position")
        parse_origin("prediction", self.origin_m)
        dt_s = real_number("dt_s", self.dt_s, "a step in seconds")
        require(0 < dt_s < np.inf, "dt_s", dt_s, "a finite step above 0")
        total, needed = float(self.weights.sum()), "non-negative weights summing to 1 are needed"
        if (self.weights < 0).any():
            raise ForecastError(f"a weight is {self.weights.min():g}; {needed}")
        if not abs(total - 1) <= _WEIGHT_TOLERANCE:
            raise ForecastError(f"weights sum to {total:.6f}; {needed}")

    @property
    def samples(self) -> int:
        """Number of joint futures K."""
        return int(self.positions_m.shape[0])

    @property
    def steps(self) -> int:
        """Number of predicted steps T."""
        return int(self.positions_m.shape[2])

    def most_probable(self) -> NDArray[np.float32]:
        """The predictor's single best guess ``[A, T, 2]``, which top-1 metrics score.

        ``mode_m`` if the predictor gives one; else the sample of the highest weight, and among
        equal weights the first.
        """
        if self.mode_m is not None:
            return self.mode_m
        best: NDArray[np.float32] = self.positions_m[int(np.argmax(self.weights))]
        return best

    @property
    def modes_m(self) -> NDArray[np.float32] | None:
        """The modes of the largest set ``[A, M, T, 2]`` relative to ``origin_m``; None without."""
        return self.mode_sets[-1].positions_m if self.mode_sets else None

    @property
    def mode_probabilities(self) -> NDArray[np.float32] | None:
        """The probabilities of `modes_m` ``[A, M]``, falling; None without modes."""
        return self.mode_sets[-1].probabilities if self.mode_sets else None

    def modes(self, count: int) -> ModeSet:
        """The set with a number of modes.

        Args:
            count: Number of modes of each agent: one of the sizes that the predictor gives.

        Raises:
            ForecastError: The predictor gives no modes, or no set of that size.
        """
        found = {each.count: each for each in self.mode_sets}
        sizes = " or ".join(map(str, found)) or "a predictor with modes, such as the network,"
        require(count in found, "number of modes", count, sizes)
        return found[count]

    def representatives(self, k: int) -> Prediction:
        """The k joint futures, with weights, that represent all samples best.

        See `forecast.scene.representatives`.

        Args:
            k: Number of futures, 1 to the number of samples; a tenth of it works well.

        Returns:
            The chosen futures by falling weight; everything else unchanged.

        Raises:
            ForecastError: k is out of range.
        """
        chosen, weights = representatives(self._paths_m(), self.weights, k)
        return replace(self, positions_m=self.positions_m[chosen], weights=weights)

    def resampled(self, dt_s: float, steps: int, now_m: NDArray[Any]) -> Prediction:
        """The prediction at other times, interpolated between its steps.

        Between two steps, regions are interpolated too. Their level is exact at the steps only.

        Args:
            dt_s: The new step length.
            steps: The new number of steps.
            now_m: Positions of the agents at ``at_us`` ``[A, 2]``, relative to ``origin_m``.

        Raises:
            ForecastError: The last new time is after the last step.
        """
        if abs(dt_s - self.dt_s) < _TIME_TOLERANCE_S and steps == self.steps:
            return self
        at = dt_s * np.arange(1, steps + 1) / self.dt_s  # in steps of this prediction
        until = f"at most {self.dt_s * self.steps:g} s"
        require(at[-1] <= self.steps + _TIME_TOLERANCE_S, "the last time", dt_s * steps, until)
        spread, mode = self.spread_m, self.mode_m
        return replace(
            self,
            dt_s=dt_s,
            positions_m=between_steps(self.positions_m, now_m, at, axis=2),
            mode_m=None if mode is None else between_steps(mode, now_m, at, axis=1),
            spread_m=None if spread is None else between_steps(spread, 0.0, at, axis=1),
            tubes=None if self.tubes is None else self.tubes.resampled(at, now_m),
            mode_sets=tuple(each.resampled(at, now_m) for each in self.mode_sets),
            now_m=now_m.astype(np.float32),
        )

    def mean(self) -> NDArray[np.float64]:
        """The weighted mean of the samples ``[A, T, 2]``."""
        return np.einsum("k,katd->atd", self.weights, self.positions_m)

    def world_positions_m(self) -> NDArray[np.float64]:
        """The futures in world coordinates ``[K, A, T, 2]``."""
        return self.positions_m + self.origin_m

    def region(self, agent_id: str, at_s: float, level: float) -> NDArray[np.float64]:
        """The calibrated region that contains an agent at a time with a stated probability.

        Args:
            agent_id: Name of the agent.
            at_s: Time after ``at_us``, that of a predicted step.
            level: One of the levels of `Tubes`.

        Returns:
            Corners of a polygon ``[P, 2]`` relative to ``origin_m``; see `Tubes.polygon`.

        Raises:
            ForecastError: There are no tubes, or none of that agent, time or level.
        """
        if self.tubes is None:
            raise ForecastError(
                "the prediction has no tubes; calibrate the weights ('forecast calibrate')"
            )
        agent = np.flatnonzero(self.agent_ids == agent_id)
        known = len(agent) == 1 and bool(self.tubes.valid[agent[0]])
        require(known, "agent", f"'{agent_id}'", "a pedestrian who is predicted")
        at_s = real_number("at_s", at_s, "a time in seconds")
        step = round(at_s / self.dt_s) if np.isfinite(at_s) else 0
        is_step = 1 <= step <= self.steps and abs(at_s - step * self.dt_s) < _TIME_TOLERANCE_S
        last_s = self.steps * self.dt_s
        require(is_step, "at_s", at_s, f"a multiple of {self.dt_s} s up to {last_s:g} s")
        return self.tubes.polygon(int(agent[0]), step - 1, level)

    def save(self, path: Path | str) -> None:
        """Writes the prediction as a ``.parquet`` file; see `save_predictions`.

        Raises:
            ForecastError: As in `save_predictions`, or no agent is predicted.
        """
        require(bool(self.valid.any()), "number of predicted agents", 0, "at least 1")
        save_predictions(path, [self])

    @classmethod
    def load(cls, path: Path | str, *, dt_s: float | None = None) -> Prediction:
        """Reads the only prediction of a file; see `load_predictions`.

        Args:
            path: The file.
            dt_s: As in `load_predictions`.

        Raises:
            ForecastError: As in `load_predictions`, or the file holds several predictions.
        """
        found = load_predictions(path, dt_s=dt_s)
        needed = "exactly 1 (load_predictions reads several)"
        require(len(found) == 1, f"{path}: its number of predictions", len(found), needed)
        return found[0]

    def to_frame(self, world_from_ego: NDArray[Any]) -> NDArray[np.float64]:
        """The futures seen from another frame.

        Args:
            world_from_ego: World pose ``(x_m, y_m, heading_rad)`` of that frame.

        Returns:
            Positions ``[K, A, T, 2]``, x forward.
        """
        pose = np.asarray(world_from_ego, np.float64)
        if pose.shape != (3,):
            raise ForecastError(f"world_from_ego has shape {list(pose.shape)}; [3] is needed")
        return geometry.to_frame(self.world_positions_m(), pose[:2], pose[2])

    def to_nuscenes(self, sample_token: str) -> list[dict[str, Any]]:
        """One record per predicted agent, in the form of the devkit's ``Prediction.serialize``.

        Args:
            sample_token: The keyframe the prediction was made at (`Scene.frame_ids`).
        """
        world = self.world_positions_m()
        return [
            {
                "instance": str(self.agent_ids[agent]),
                "sample": sample_token,
                "prediction": world[:, agent].tolist(),
                "probabilities": self.weights.tolist(),
            }
            for agent in np.flatnonzero(self.valid)
        ]

    def occupancy(self, grid: Grid, without: Collection[str] = ()) -> NDArray[np.float64]:
        """Probability that at least one agent's centre is in a cell.

        Args:
            grid: Cells in the frame of this prediction.
            without: Names of agents that do not count, such as one's own car, which is an agent
                like the others.

        Returns:
            Probabilities ``[T, rows, columns]``.

        Raises:
            ForecastError: An agent is unknown, or the grid is in world coordinates.
        """
        require(isinstance(grid, Grid), "grid", repr(grid), "a forecast.Grid")
        unknown = sorted(set(without) - set(self.agent_ids.tolist()))
        require(not unknown, "without: unknown agents", unknown[:3], "names of agent_ids")
        from forecast.scene import questions

        self._require_local("grid", questions.box(grid))
        counted = self.valid & ~np.isin(self.agent_ids, list(without))
        return occupancy(self.positions_m[:, counted], self.weights, grid)

    def where(self, agent: str, at_s: float = 3.0, level: float = 0.9) -> Region:
        """The region of an agent at a time: the cells of highest density that contain ``level``.

        See `forecast.scene.questions.Region`.

        Args:
            agent: Name of the agent.
            at_s: Seconds after the prediction time, without ``now_m`` from the first step on;
                positions between two steps are interpolated.
            level: Probability that the region contains, between 0 and 1.

        Raises:
            ForecastError: The agent is not predicted, or the time or the level is out of range.
        """
        from forecast.scene import questions
        from forecast.scene.chances import agent_row

        agent_row(self.agent_ids[self.valid], agent)
        row = agent_row(self.agent_ids, agent)
        paths_m = self.positions_m[:, row].astype(np.float64)
        now_m = None if self.now_m is None else self.now_m[row]
        points_m = questions.positions_at(paths_m, self.dt_s, at_s, now_m)
        return questions.highest_density_region(points_m, self.weights, level)

    def enters(self, area: Area, within_s: float, level: float = 0.95) -> Chances:
        """Probability of each agent to be in an area by a time, with intervals of a level.

        Without ``now_m``, what happens before the first step is not considered.

        Args:
            area: A shapely polygon or its ring ``[P, 2]`` in the frame of this prediction; for a
                lane `forecast.scene.questions.lane_area`.
            within_s: Seconds after the prediction time, from 0 (without ``now_m`` from the first
                step) to the last predicted step.
            level: Coverage of the intervals.

        Raises:
            ForecastError: The area is no polygon, or the time or the level is out of range.
        """
        return self.time_to_entry(area).within(within_s, level)

    def time_to_entry(self, area: Area) -> FirstTimes:
        """When each agent is first in an area; see `forecast.scene.questions.first_entry`.

        Whoever is inside already enters at 0 s, without ``now_m`` at the first step.

        Args:
            area: As in `enters`.
        """
        from forecast.scene import questions

        self._require_local("area", questions.polygon(area))
        return self._first_times(questions.first_entry(self._paths_m(), area))

    def crosses(self, line_m: ArrayLike, within_s: float, level: float = 0.95) -> Chances:
        """Probability of each agent to cross a line by a time, with intervals of a level.

        As in `enters`, without ``now_m`` what happens before the first step is not considered.

        Args:
            line_m: Points ``[P, 2]`` in the frame of this prediction.
            within_s: As in `enters`.
            level: As in `enters`.

        Raises:
            ForecastError: The line has another shape, or the time or the level is out of range.
        """
        from forecast.scene import questions

        self._require_local("line", questions.line(line_m))
        first = self._first_times(questions.first_crossing(self._paths_m(), line_m))
        return first.within(within_s, level)

    def _require_local(self, item: str, shape: shapely.Geometry) -> None:
        """Refuses a shape that is near the agents only if it is in world coordinates."""
        from forecast.scene import questions

        paths = self.positions_m[:, self.valid]
        if paths.size:
            questions.require_local(item, shape, paths.reshape(-1, 2), self.origin_m)

    def _paths_m(self) -> NDArray[np.float64]:
        """Paths of the predicted agents ``[K, A, T, 2]``; with ``now_m`` they begin there."""
        paths = self.positions_m[:, self.valid].astype(np.float64)
        if self.now_m is None:
            return paths
        now = np.broadcast_to(self.now_m[self.valid, None], (*paths.shape[:2], 1, 2))
        return np.concatenate([now, paths], axis=2)

    def _first_times(self, steps: NDArray[np.float64]) -> FirstTimes:
        """Times of events at steps ``[K, A]`` of `_paths_m`."""
        from forecast.scene.chances import FirstTimes

        start_s = self.dt_s if self.now_m is None else 0.0
        span_s = (start_s, self.steps * self.dt_s)
        first_s = start_s + steps * self.dt_s
        return FirstTimes(self.agent_ids[self.valid], first_s, self.weights, span_s)


def save_predictions(path: Path | str, predictions: Iterable[Prediction]) -> None:
    """Writes predictions as one ``.parquet`` file, which ``forecast evaluate --predictor`` reads.

    Positions are written in the world's frame. Agents that are not predicted are left out, and so
    are predictions of nobody. An iterator is written one prediction after the other, so not all
    need to be in memory.

    Args:
        path: The file; it is there only when it is complete.
        predictions: Predictions at different times or of different scenes, each with the name of
            its scene.

    Raises:
        ForecastError: The path has another ending, ``predictions`` is no list of them, a prediction
            has no name of its scene or two agents of one name, or two predictions are of the same
            scene and time.
    """
    from forecast.scene import prediction_rows

    prediction_rows.write_predictions(Path(path), predictions)


def load_predictions(path: Path | str, *, dt_s: float | None = None) -> list[Prediction]:
    """Reads the predictions of a ``.parquet`` file, in its order.

    Those of `save_predictions` are the same as before, without agents that were not predicted;
    positions differ by less than 1e-6 m. Files of other programs need the columns of
    `forecast.scene.prediction_rows`; so do those that ``forecast evaluate`` writes.

    Args:
        path: The file.
        dt_s: Step length, for files without a column ``dt_s``.

    Raises:
        ForecastError: The file cannot be read, or its rows are no joint futures.
    """
    from forecast.scene import prediction_rows

    rows = prediction_rows.read_predictions(Path(path), dt_s)
    return [Prediction(**fields) for fields in rows]


@runtime_checkable
class Predictor(Protocol):
    """Anything that predicts: the model, a baseline, or a user's own.

    Only `predict` is needed. Tables list a predictor under its attribute ``name``, a text, or under
    the name of its class if it has none.
    """

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
        """Predicts what follows step ``at`` from the steps up to and including it.

        Args:
            scene: The recording; steps after ``at`` must not be used.
            at: Index of the current step.
            horizon_s: How far to predict; ``round(horizon_s / scene.dt_s)`` steps.
            samples: Number of joint futures K.
            seed: Same seed, same machine: same bits.
            ego_plan: The ego's intended poses ``[T, 3]`` (x_m, y_m, heading_rad) in the scene's
                frame. A predictor may use a pose only from its step on.

        Returns:
            Futures of the agents ``scene.present(at)``, in that order.
        """
        ...
