"""Small made-up scenes that several tests use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from forecast.planning import EgoState
from forecast.scene import AgentKind, LaneMap, Polylines, Scene
from forecast.scene.agents import Decision
from forecast.scene.lanes import Polygons

KINDS = [
    AgentKind.PEDESTRIAN,
    AgentKind.PEDESTRIAN,
    AgentKind.PEDESTRIAN,
    AgentKind.CYCLIST,
    AgentKind.VEHICLE,
    AgentKind.EGO,
    AgentKind.STATIC,
]


def street_scene(seed: int = 0, steps: int = 24, dt_s: float = 0.5) -> Scene:
    """People, a cyclist, a car, the ego and a cone on a two-lane street; tracks have gaps."""
    rng = np.random.default_rng(seed)
    agents = len(KINDS)
    speed = np.array([1.3, 1.0, 0.0, 3.0, 6.0, 5.0, 0.0])
    heading = np.array([1.2, -0.4, 0.3, 0.0, np.pi, 0.0, 0.0])
    start = rng.uniform(-6, 6, (agents, 1, 2))
    turning = 0.05 * rng.standard_normal((agents, steps)).cumsum(1)
    headings = heading[:, None] + turning
    direction = np.stack([np.cos(headings), np.sin(headings)], -1)
    positions = start + (speed[:, None, None] * dt_s * direction).cumsum(1)
    valid = np.ones((agents, steps), bool)
    valid[1, :5] = False
    valid[0, 3] = False
    valid[3, -4:] = False
    lines = [np.array([[-40.0, y], [0.0, y], [40.0, y]]) for y in (-2.0, 2.0)]
    crossing = np.array([[3.0, -4.0], [6.0, -4.0], [6.0, 4.0], [3.0, 4.0]])
    pavement = np.array([[-40.0, 4.0], [40.0, 4.0], [40.0, 7.0], [-40.0, 7.0]])
    road = np.array([[-40.0, -4.0], [-40.0, 4.0], [40.0, 4.0], [40.0, -4.0]])
    lanes = LaneMap(
        np.array(["east", "west"]),
        Polylines.of([lines[0], lines[1][::-1]]),
        crosswalks=Polygons.of([[crossing]]),
        walkways=Polygons.of([[pavement]]),
        drivable_area=Polygons.of([[road]]),
        signalled=np.array([True]),
    )
    return Scene.from_arrays(
        positions, KINDS, dt_s, valid=valid, headings_rad=headings, lane_map=lanes, id="street"
    )


def moved(scene: Scene, angle_rad: float, shift_m: tuple[float, float]) -> Scene:
    """The scene turned about its origin and shifted."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    tracks = scene.tracks
    return _changed(
        scene,
        lambda points: (points @ np.array([[cos, sin], [-sin, cos]]) + shift_m).astype(np.float32),
        tracks.headings_rad + np.float32(angle_rad),
    )


def mirrored(scene: Scene) -> Scene:
    """The scene with left and right exchanged."""
    across = np.array([1, -1], np.float32)
    return _changed(scene, lambda points: points * across, -scene.tracks.headings_rad)


def _changed(
    scene: Scene, change: Callable[[np.ndarray], np.ndarray], headings_rad: np.ndarray
) -> Scene:
    tracks, lanes = scene.tracks, scene.lane_map
    assert lanes is not None

    def lines(old: Polylines) -> Polylines:
        return Polylines(change(old.points_m), old.offsets)

    def areas(old: Polygons) -> Polygons:
        return Polygons(lines(old.rings), old.offsets)

    return replace(
        scene,
        tracks=replace(tracks, positions_m=change(tracks.positions_m), headings_rad=headings_rad),
        lane_map=replace(
            lanes,
            centerlines=lines(lanes.centerlines),
            crosswalks=areas(lanes.crosswalks),
            walkways=areas(lanes.walkways),
            drivable_area=areas(lanes.drivable_area),
        ),
    )


def drive(scene: Scene, at: int, steps: int, bend_radps: float = 0.0) -> np.ndarray:
    """A plan ``[steps, 3]`` in which the ego keeps its speed, straight on or along an arc."""
    ego = EgoState.of(scene, at)
    headings = ego.heading_rad + bend_radps * scene.dt_s * np.arange(steps + 1)
    middle = (headings[1:] + headings[:-1]) / 2
    way = ego.speed_mps * scene.dt_s * np.stack([np.cos(middle), np.sin(middle)], -1)
    return np.column_stack([ego.pose[:2] + way.cumsum(0), headings[1:]])


class StreetSource:
    """A source of made-up streets."""

    name, protocol, dt_s = "streets", "nuscenes-ped-v1", 0.5

    def fingerprint(self) -> str:
        return "streets"

    def scene_names(self) -> list[str]:
        return [f"street-{i}" for i in range(3)]

    def splits(self) -> dict[str, list[str]]:
        return {"train": self.scene_names()[:2], "val": self.scene_names()[2:]}

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        return replace(street_scene(seed=int(name[-1])), id=name), {}


class PlannedStreets(StreetSource):
    """Made-up streets whose ego drives straight east at a share of 5 m/s from step 4 on.

    The next steps of the people depend on that share, too. They decide by their number and the
    step. Person 0 stands at a place relative to the ego at step 4 if one is given.

    Args:
        pace: The share.
        person_from_ego_m: Place of person 0.
        ego_at_m: Place of the ego at step 4.
        ego_seen_until: The ego's last step.
        people_from: The first step of all people.
    """

    def __init__(
        self,
        pace: float,
        person_from_ego_m: tuple[float, float] | None = None,
        ego_at_m: tuple[float, float] = (0.0, 0.0),
        ego_seen_until: int = 23,
        people_from: int = 0,
    ) -> None:
        self.pace, self.person, self.ego = pace, person_from_ego_m, np.asarray(ego_at_m)
        self.seen_until, self.people_from = ego_seen_until, people_from

    def fingerprint(self) -> str:
        return f"streets at {self.pace}"

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        scene, dropped = super().read(name)
        tracks, steps = scene.tracks, np.arange(scene.steps)
        paces = np.where(steps < 4, 1.0, self.pace)
        way = 2.5 * np.insert(paces.cumsum()[:-1], 0, 0)
        tracks.positions_m[5] = self.ego + np.stack([way - way[4], 0 * way], -1)
        tracks.headings_rad[5] = 0
        tracks.valid[5, self.seen_until + 1 :] = False
        tracks.valid[:3, : self.people_from] = False
        tracks.positions_m[:3, 6:, 1] += 1 - self.pace
        if self.person is not None:
            tracks.positions_m[0] = self.ego + np.asarray(self.person)
        decisions = np.full(tracks.valid.shape, Decision.UNKNOWN, np.int8)
        decisions[:3] = (steps + np.arange(3)[:, None]) % 5
        return replace(scene, tracks=replace(tracks, decisions=decisions)), dropped
