"""nuPlan: any `Predictor` with the interface of the devkit's ``AbstractPredictor``.

`NuPlanPredictor` has the methods of that class, and imports nuPlan only when they are called.
`nuplan_predictor` makes one that is also a subclass, for planners that check the type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.adapters.paths import Paths
from forecast.errors import ForecastError, require
from forecast.scene import AgentKind, LaneMap, Predictor, Scene

_KINDS = {
    "PEDESTRIAN": AgentKind.PEDESTRIAN,
    "BICYCLE": AgentKind.CYCLIST,
    "VEHICLE": AgentKind.VEHICLE,
}
_EGO = "ego"
_LATE = 0.25
"""A recorded frame is used for a step if it is within this share of the step length."""


@dataclass(frozen=True)
class NuPlanConfig:
    """Settings of history and prediction.

    Attributes:
        dt_s: Step length of the scene; nuPlan records at 10 or 20 Hz.
        history_s: Length of the history, at most that of nuPlan's buffer.
        horizon_s: Length of the prediction.
        samples: Number of joint futures.
        modes: Highest number of paths per agent for nuPlan.
        seed: Seed of the noise.
    """

    dt_s: float = 0.5
    history_s: float = 2.0
    horizon_s: float = 6.0
    samples: int = 50
    modes: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the numbers; raises `ForecastError`."""
        for name in ("dt_s", "horizon_s", "samples", "modes"):
            require(getattr(self, name) > 0, name, getattr(self, name), "a number above 0")
        require(self.history_s >= 0, "history_s", self.history_s, "at least 0")
        require(self.modes <= self.samples, "modes", self.modes, f"at most {self.samples} samples")


class NuPlanPredictor:
    """Predicts nuPlan's tracked agents; see the module.

    Args:
        predictor: The predictor.
        config: Default `NuPlanConfig`.
        lane_map: Lanes around ``origin_m``; nuPlan's own map is not read.
        origin_m: World position ``[2]`` of the scenes' frame; default: the ego's.

    Raises:
        ForecastError: There is a ``lane_map`` but no ``origin_m``.
    """

    requires_scenario = False

    def __init__(
        self,
        predictor: Predictor,
        config: NuPlanConfig | None = None,
        lane_map: LaneMap | None = None,
        origin_m: NDArray[np.float64] | None = None,
    ) -> None:
        given = lane_map is None or origin_m is not None
        require(given, "origin_m", "absent", "the world position the lane_map is around")
        self._predictor, self._config = predictor, config or NuPlanConfig()
        self._lane_map, self._origin_m = lane_map, origin_m

    def name(self) -> str:
        """The predictor's ``name``, or else the name of its class."""
        return str(getattr(self._predictor, "name", type(self._predictor).__name__))

    def initialize(self, initialization: Any) -> None:
        """Does nothing: the map is given to the constructor."""

    def observation_type(self) -> Any:
        """NuPlan's ``DetectionsTracks``."""
        from nuplan.planning.simulation.observation.observation_type import DetectionsTracks

        return DetectionsTracks

    def compute_predicted_trajectories(self, current_input: Any) -> Any:
        """The latest detections, with the paths of predicted agents as their ``predictions``.

        Args:
            current_input: nuPlan's ``PredictorInput``.

        Raises:
            ForecastError: The history is empty or an object in it has no track token.
        """
        history, config = current_input.history, self._config
        scene = read_scene(
            history.ego_states, history.observations, config, self._lane_map, self._origin_m
        )
        prediction = self._predictor.predict(
            scene,
            scene.steps - 1,
            horizon_s=config.horizon_s,
            samples=config.samples,
            seed=config.seed,
        )
        found = Paths.of(prediction, scene, config.modes)
        rows = {str(name): row for row, name in enumerate(found.agent_ids)}
        detections = history.observations[-1]
        for agent in detections.tracked_objects.get_agents():
            row = rows.get(str(agent.track_token))
            start_us = history.ego_states[-1].time_point.time_us
            agent.predictions = [] if row is None else _trajectories(found, row, agent, start_us)
        return detections


def nuplan_predictor(*args: Any, **kwargs: Any) -> Any:
    """A `NuPlanPredictor` that is also an ``AbstractPredictor``.

    Args:
        *args: Arguments of `NuPlanPredictor`.
        **kwargs: Arguments of `NuPlanPredictor`.

    Raises:
        ForecastError: The nuPlan devkit is not installed.
    """
    try:
        from nuplan.planning.simulation.predictor.abstract_predictor import AbstractPredictor
    except ImportError as error:
        raise ForecastError(
            f"nuplan is not importable ({error}); install the nuPlan devkit"
        ) from None
    return type("ForecastPredictor", (NuPlanPredictor, AbstractPredictor), {})(*args, **kwargs)


def read_scene(
    ego_states: list[Any],
    observations: list[Any],
    config: NuPlanConfig,
    lane_map: LaneMap | None = None,
    origin_m: NDArray[np.float64] | None = None,
) -> Scene:
    """The scene of a nuPlan history, on a grid of ``dt_s`` that ends now.

    Args:
        ego_states: nuPlan's ``EgoState`` of each recorded frame, the latest last.
        observations: Its ``DetectionsTracks`` at the same times.
        config: Step length and length of the history.
        lane_map: Lanes around ``origin_m``.
        origin_m: World position ``[2]`` of the scene's frame; default: the ego's.

    Raises:
        ForecastError: There is no frame, or an object has no track token.
    """
    require(len(ego_states) > 0, "frames in the history", 0, "at least 1")
    times_us = np.array([state.time_point.time_us for state in ego_states], np.int64)
    steps = _steps(times_us, config)
    boxes: dict[str, dict[int, tuple[float, ...]]] = {}
    kinds = {_EGO: AgentKind.EGO}
    for step, frame in enumerate(steps):
        if frame is None:
            continue
        state = ego_states[frame]
        boxes.setdefault(_EGO, {})[step] = _box(state.center, state.car_footprint)
        for item in observations[frame].tracked_objects:
            token = item.track_token
            require(token is not None, "track_token", token, "a token for every tracked object")
            kinds[str(token)] = _KINDS.get(item.tracked_object_type.name, AgentKind.STATIC)
            boxes.setdefault(str(token), {})[step] = _box(item.center, item.box)
    values = np.full((len(boxes), len(steps), 6), np.nan)
    for row, seen in enumerate(boxes.values()):
        values[row, list(seen)] = list(seen.values())
    valid = ~np.isnan(values[..., 0])
    last = valid.shape[1] - 1 - valid[:, ::-1].argmax(axis=1)
    return Scene.from_arrays(
        positions_m=values[..., :2],
        kinds=[kinds[name] for name in boxes],
        dt_s=config.dt_s,
        valid=valid,
        headings_rad=np.where(valid, values[..., 2], 0),
        sizes_m=values[np.arange(len(values)), last, 3:],
        agent_ids=list(boxes),
        lane_map=lane_map,
        origin_m=values[0, -1, :2] if origin_m is None else origin_m,
        start_us=int(times_us[-1] - round((len(steps) - 1) * config.dt_s * 1e6)),
        id="nuplan",
    )


def _steps(times_us: NDArray[np.int64], config: NuPlanConfig) -> list[int | None]:
    """Index of the recorded frame of each step, None if no frame is near; the last step is now."""
    reach_s = min(config.history_s, (times_us[-1] - times_us[0]) / 1e6 + _LATE * config.dt_s)
    back_s = np.arange(int(reach_s / config.dt_s + 1e-6), -1, -1) * config.dt_s
    away_s = np.abs((times_us[-1] - times_us) / 1e6 - back_s[:, None])
    nearest = away_s.argmin(axis=1)
    near = away_s.min(axis=1) <= _LATE * config.dt_s
    return [int(frame) if good else None for frame, good in zip(nearest, near, strict=True)]


def _box(center: Any, box: Any) -> tuple[float, ...]:
    return (center.x, center.y, center.heading, box.length, box.width, box.height)


def _trajectories(found: Paths, row: int, agent: Any, start_us: int) -> list[Any]:
    """NuPlan's ``PredictedTrajectory`` of each path; their probabilities sum to 1."""
    from nuplan.common.actor_state.oriented_box import OrientedBox
    from nuplan.common.actor_state.state_representation import (
        StateSE2,
        StateVector2D,
        TimePoint,
    )
    from nuplan.common.actor_state.waypoint import Waypoint
    from nuplan.planning.simulation.trajectory.predicted_trajectory import PredictedTrajectory

    poses, weights = found.of_agent(row)
    step_us = round(found.dt_s * 1e6)
    velocity = np.diff(poses[..., :2], axis=1) / found.dt_s
    now = np.broadcast_to(found.velocity_mps[row], (len(poses), 1, 2))
    velocity = np.concatenate([now, velocity], axis=1)

    def waypoint(path: int, step: int) -> Any:
        pose = StateSE2(*map(float, poses[path, step]))
        box = OrientedBox(pose, agent.box.length, agent.box.width, agent.box.height)
        moving = StateVector2D(*map(float, velocity[path, step]))
        return Waypoint(TimePoint(start_us + step * step_us), box, moving)

    return [
        PredictedTrajectory(float(weight), [waypoint(path, k) for k in range(poses.shape[1])])
        for path, weight in enumerate(weights)
    ]
