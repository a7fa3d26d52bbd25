"""The devkit cannot be installed here: these classes have the fields and arguments of its own."""

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from forecast import AgentKind, ForecastError, LaneMap
from forecast.adapters.nuplan import (
    NuPlanConfig,
    NuPlanPredictor,
    nuplan_predictor,
    read_scene,
)
from forecast.models.baselines.simple import ConstantVelocity

WORLD = np.array([664_430.0, 3_997_650.0])
NOW_US = 1_600_000_010_000_000


@dataclass
class StateSE2:
    x: float
    y: float
    heading: float


@dataclass
class StateVector2D:
    x: float
    y: float


@dataclass
class TimePoint:
    time_us: int


@dataclass
class OrientedBox:
    center: StateSE2
    length: float
    width: float
    height: float


@dataclass
class Waypoint:
    time_point: TimePoint
    oriented_box: OrientedBox
    velocity: StateVector2D | None = None


@dataclass
class PredictedTrajectory:
    probability: float
    waypoints: list[Waypoint]


@dataclass
class Agent:
    track_token: str | None
    tracked_object_type: Any
    box: OrientedBox
    predictions: list[PredictedTrajectory] = field(default_factory=list)

    @property
    def center(self) -> StateSE2:
        return self.box.center


class TrackedObjects(list):
    def get_agents(self):
        return [a for a in self if a.tracked_object_type.name in ("PEDESTRIAN", "VEHICLE")]


@dataclass
class DetectionsTracks:
    tracked_objects: TrackedObjects


class AbstractPredictor(ABC):
    @abstractmethod
    def name(self): ...
    @abstractmethod
    def initialize(self, initialization): ...
    @abstractmethod
    def observation_type(self): ...
    @abstractmethod
    def compute_predicted_trajectories(self, current_input): ...

    def compute_predictions(self, current_input):
        return self.compute_predicted_trajectories(current_input)


@pytest.fixture
def devkit(monkeypatch):
    """A stand-in for the parts of nuPlan's package that are imported."""
    places = {
        "nuplan.common.actor_state.oriented_box": [OrientedBox],
        "nuplan.common.actor_state.state_representation": [StateSE2, StateVector2D, TimePoint],
        "nuplan.common.actor_state.waypoint": [Waypoint],
        "nuplan.planning.simulation.trajectory.predicted_trajectory": [PredictedTrajectory],
        "nuplan.planning.simulation.observation.observation_type": [DetectionsTracks],
        "nuplan.planning.simulation.predictor.abstract_predictor": [AbstractPredictor],
    }
    for path, classes in places.items():
        parts = path.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if name not in sys.modules:
                monkeypatch.setitem(sys.modules, name, ModuleType(name))
        for one in classes:
            setattr(sys.modules[path], one.__name__, one)


def seen(token, kind, x, y, heading=0.0, size=(0.7, 0.7, 1.7)):
    box = OrientedBox(StateSE2(WORLD[0] + x, WORLD[1] + y, heading), *size)
    return Agent(token, SimpleNamespace(name=kind), box)


def history(frames=21, step_s=0.1):
    """Two seconds at 10 Hz: an ego at 5 m/s, one who crosses, a parked car, a cone, a late one."""
    states, observations = [], []
    for i in range(frames):
        ago_s = (frames - 1 - i) * step_s
        center = StateSE2(WORLD[0] - 5 * ago_s, WORLD[1], 0.0)
        foot = OrientedBox(center, 5.2, 2.3, 1.8)
        time = TimePoint(NOW_US - round(ago_s * 1e6))
        states.append(SimpleNamespace(center=center, car_footprint=foot, time_point=time))
        objects = [
            seen("walks", "PEDESTRIAN", 20, -3 - 1.2 * ago_s, np.pi / 2),
            seen("parked", "VEHICLE", 10, 4, 0.1, (4.5, 1.9, 1.6)),
            seen("cone", "TRAFFIC_CONE", 3, 3),
        ]
        if ago_s < 0.05:
            objects.append(seen("late", "PEDESTRIAN", 8, -8))
        observations.append(DetectionsTracks(TrackedObjects(objects)))
    return SimpleNamespace(ego_states=states, observations=observations)


def test_a_history_at_10_hz_becomes_a_scene_at_2_hz():
    past = history()
    scene = read_scene(past.ego_states, past.observations, NuPlanConfig())
    tracks = scene.tracks
    assert scene.dt_s == 0.5
    assert scene.timestamps_us[-1] == NOW_US
    assert tracks.agent_ids.tolist() == ["ego", "walks", "parked", "cone", "late"]
    assert tracks.kinds.tolist() == [
        AgentKind.EGO,
        AgentKind.PEDESTRIAN,
        AgentKind.VEHICLE,
        AgentKind.STATIC,
        AgentKind.PEDESTRIAN,
    ]
    assert tracks.valid.sum(axis=1).tolist() == [5, 5, 5, 5, 1]
    np.testing.assert_allclose(tracks.positions_m[0, :, 0], [-10, -7.5, -5, -2.5, 0], atol=1e-3)
    np.testing.assert_allclose(scene.origin_m, WORLD)
    np.testing.assert_allclose(tracks.sizes_m[0], [5.2, 2.3, 1.8])


def test_a_history_with_a_hole_has_a_step_without_anybody():
    past = history()
    kept = [i for i in range(21) if not 8 <= i <= 12]
    scene = read_scene(
        [past.ego_states[i] for i in kept], [past.observations[i] for i in kept], NuPlanConfig()
    )
    assert scene.tracks.valid[0].tolist() == [True, True, False, True, True]


def test_headings_in_degrees_are_refused():
    past = history()
    for state in past.ego_states:
        state.center.heading = 45.0
    with pytest.raises(ForecastError, match=r"nuplan: headings_rad of agent 'ego' is 45: degrees"):
        read_scene(past.ego_states, past.observations, NuPlanConfig())


def test_one_frame_is_a_history():
    past = history(frames=1)
    scene = read_scene(past.ego_states, past.observations, NuPlanConfig())
    assert scene.steps == 1


def test_agents_carry_their_predictions(devkit):
    past = history()
    predictor = nuplan_predictor(ConstantVelocity(), NuPlanConfig(samples=1, modes=1))
    assert isinstance(predictor, AbstractPredictor)
    predictor.initialize(None)
    assert predictor.observation_type() is DetectionsTracks
    found = predictor.compute_predictions(SimpleNamespace(history=past))
    walks, parked, cone, late = found.tracked_objects
    (trajectory,) = walks.predictions
    assert trajectory.probability == pytest.approx(1)
    assert len(trajectory.waypoints) == 13
    start, end = trajectory.waypoints[0], trajectory.waypoints[-1]
    assert start.time_point.time_us == NOW_US
    assert end.time_point.time_us == NOW_US + 6_000_000
    there = end.oriented_box.center
    assert (there.x - WORLD[0], there.y - WORLD[1]) == pytest.approx((20, -3 + 7.2), abs=1e-2)
    assert there.heading == pytest.approx(np.pi / 2, abs=1e-3)
    assert end.velocity.y == pytest.approx(1.2, abs=1e-2)
    assert parked.predictions
    assert late.predictions
    assert cone.predictions == []


def test_it_works_without_being_a_subclass(devkit):
    predictor = NuPlanPredictor(ConstantVelocity(), NuPlanConfig(samples=1, modes=1))
    found = predictor.compute_predicted_trajectories(SimpleNamespace(history=history()))
    assert len(found.tracked_objects[0].predictions) == 1
    assert predictor.name() == "constant_velocity"


def test_what_is_missing_is_said():
    with pytest.raises(ForecastError, match=r"nuplan is not importable .*install the nuPlan"):
        nuplan_predictor(ConstantVelocity())


def test_an_object_without_a_name_is_refused():
    past = history()
    past.observations[-1].tracked_objects[0].track_token = None
    with pytest.raises(ForecastError, match="track_token is None; a token for every tracked"):
        read_scene(past.ego_states, past.observations, NuPlanConfig())


def test_an_empty_history_is_refused():
    with pytest.raises(ForecastError, match="frames in the history is 0; at least 1 is needed"):
        read_scene([], [], NuPlanConfig())


def test_a_map_needs_its_place():
    with pytest.raises(ForecastError, match="origin_m is absent; the world position the lane_map"):
        NuPlanPredictor(ConstantVelocity(), lane_map=LaneMap())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dt_s": 0}, "dt_s is 0; a number above 0"),
        ({"modes": 60}, "modes is 60; at most 50 samples is needed"),
        ({"history_s": -1}, "history_s is -1; at least 0 is needed"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ForecastError, match=message):
        NuPlanConfig(**change)
