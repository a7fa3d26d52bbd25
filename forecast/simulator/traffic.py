"""`Traffic`: a simulated scene in closed loop, in which somebody else drives the ego.

People and vehicles react to where the ego is. So it shows what comes of a planner's decisions,
which a recording cannot show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from forecast import geometry
from forecast.datasets.nuscenes.categories import Categories
from forecast.datasets.nuscenes.maps import CityMap
from forecast.errors import require
from forecast.scene import AgentKind, LaneMap
from forecast.scene.parsing import parse_array
from forecast.simulator import routes
from forecast.simulator.export.recording import record
from forecast.simulator.map import surfaces
from forecast.simulator.map.district import District
from forecast.simulator.map.places import build_place, location_of
from forecast.simulator.simulate import DT_S, draw_scenario, step

_LANE_SPACING_M = 1.0
_FASTEST_MPS = 70.0


@dataclass(frozen=True, eq=False)
class Observed:
    """The agents that the ego observes at one time, without the ego itself.

    Attributes:
        agent_ids: Names ``[A]``.
        kinds: `AgentKind` values ``[A]``.
        positions_m: ``[A, 2]``, relative to the traffic's ``origin_m``.
        headings_rad: ``[A]``.
        sizes_m: Length, width, height ``[A, 3]``.
        gaps_m: Distance between the bodies of each agent and the ego, 0 on contact ``[A]``. Bodies
            of pedestrians are discs of their mean size.
    """

    agent_ids: NDArray[np.str_]
    kinds: NDArray[np.int8]
    positions_m: NDArray[np.float64]
    headings_rad: NDArray[np.float64]
    sizes_m: NDArray[np.float64]
    gaps_m: NDArray[np.float64]


class Traffic:
    """A scene of the simulated city, step by step, with another driver of the ego.

    An agent is observed while it is within 65 m of the ego, from the first time on at which it is
    visible. Positions are exact. Traffic lights are not observed.

    Args:
        seed: Seed of the city.
        scene: Number of the scene.
        district: Kind of district, "street" or "shared_space". The latter has no lanes.

    Attributes:
        dt_s: Length of a step.
        origin_m: World position ``[2]`` of the ego at the start.
        lane_map: The map of the district, relative to ``origin_m``.
        route_m: The ego's route from its start ``[N, 2]``, relative to ``origin_m``.
        ego_size_m: Length, width, height of the ego ``[3]``.
    """

    dt_s = DT_S

    def __init__(self, seed: int, scene: int, district: str = "street") -> None:
        require(seed >= 0 and scene >= 0, "seed and scene", (seed, scene), "numbers of at least 0")
        place, self._walls = build_place(location_of(scene, district), seed)
        self._scenario, self._state = draw_scenario(place, seed, scene)
        self._seen: NDArray[Any] = np.array(False)
        fleet, vehicles = self._scenario.fleet, self._state.vehicles
        self.origin_m = vehicles.poses[0, :2].copy()
        self.lane_map = lane_map(place, self.origin_m)
        along = np.arange(fleet.routes.shape[1]) * routes.SPACING_M
        ahead = (along >= vehicles.along_m[0]) & (along <= fleet.lengths_m[0])
        self.route_m = fleet.routes[0, ahead, :2] - self.origin_m
        self.ego_size_m = fleet.sizes_m[0]

    @property
    def ego_pose(self) -> NDArray[np.float64]:
        """The ego now: x in m, y in m, heading in rad ``[3]``, relative to ``origin_m``."""
        return self._state.vehicles.poses[0] - np.append(self.origin_m, 0.0)

    @property
    def ego_speed_mps(self) -> float:
        """The ego's speed now."""
        return float(self._state.vehicles.speeds_mps[0])

    def step(self, ego_pose: ArrayLike | None = None) -> None:
        """Goes on by one step of `dt_s`, at the end of which the ego has a pose.

        Args:
            ego_pose: x in m, y in m, heading in rad ``[3]``, relative to ``origin_m``; None: the
                city drives the ego.

        Raises:
            ForecastError: The pose is not finite, or too far away for a vehicle.
        """
        if ego_pose is None:
            self._state = step(self._scenario, self._state)
            return
        pose = parse_array("traffic", "ego_pose", ego_pose, (3,), np.float64)
        speed = float(np.hypot(*(pose - self.ego_pose)[:2])) / DT_S
        wanted = f"at most {_FASTEST_MPS:g} m/s"
        require(speed <= _FASTEST_MPS, "ego_pose: speed", f"{speed:.0f} m/s", wanted)
        moved = pose + np.append(self.origin_m, 0.0)
        self._state = step(self._scenario, self._state, moved)

    def observe(self) -> Observed:
        """The agents that the ego observes now."""
        now = record(self._scenario, [self._state], self._walls)
        self._seen = (self._seen | now.seen[:, 0]) & now.present[:, 0]
        kinds = Categories().kinds_of(now.categories, np.arange(len(now.categories)))
        names = [f"{AgentKind(kind).name.lower()}-{row}" for row, kind in enumerate(kinds.tolist())]
        poses = now.poses[self._seen, 0] - np.append(self.origin_m, 0.0)
        sizes, kinds = now.sizes_m[self._seen], kinds[self._seen]
        gaps = _gaps_m(self.ego_pose, self.ego_size_m, poses, sizes, kinds)
        ids = np.array(names, np.str_)[self._seen]
        return Observed(ids, kinds, poses[:, :2], poses[:, 2], sizes, gaps)


def lane_map(district: District, origin_m: NDArray[np.float64]) -> LaneMap:
    """The map of a district, as `forecast.datasets.nuscenes` reads it from the city's files.

    Args:
        district: The place.
        origin_m: World position ``[2]`` that it is relative to.
    """
    lanes = district.lanes
    lines = [shapely.LineString(lane.poses(_LANE_SPACING_M)[:, :2]) for lane in lanes]
    links = [(row, after) for row, lane in enumerate(lanes) for after in lane.successors]
    city = CityMap(
        lane_ids=np.array([lane.name for lane in lanes], np.str_),
        lanes=_objects(lines),
        successors=np.array(links, np.int64).reshape(-1, 2),
        dead_links=np.zeros(len(lanes), np.int64),
        lanes_without_path=_objects([]),
        crosswalks=_objects(surfaces.crosswalk_areas(district)),
        walkways=_objects(surfaces.walkways(district)),
        dividers=_objects([shapely.LineString(line) for line in surfaces.dividers(district)]),
        drivable_area=_objects(surfaces.drivable_area(district)),
        signalled=district.crosswalk_signals[:, 0] >= 0,
    )
    everywhere = shapely.total_bounds(
        np.concatenate([city.drivable_area, city.walkways, city.lanes])
    )
    return city.crop(tuple(everywhere), origin_m)[0]


def _objects(shapes: list[Any]) -> NDArray[np.object_]:
    found = np.empty(len(shapes), object)
    found[:] = shapes
    return found


def _gaps_m(
    ego_pose: NDArray[np.float64],
    ego_size_m: NDArray[np.float64],
    poses: NDArray[np.float64],
    sizes_m: NDArray[np.float64],
    kinds: NDArray[np.int8],
) -> NDArray[np.float64]:
    """Distances ``[A]`` of the bodies of agents from that of the ego; see `Observed`."""
    disc = kinds == AgentKind.PEDESTRIAN
    own = _box(ego_pose, ego_size_m)
    bodies = [
        shapely.Point(pose[:2]) if is_disc else _box(pose, size)
        for pose, size, is_disc in zip(poses, sizes_m, disc.tolist(), strict=True)
    ]
    radii = np.where(disc, sizes_m[:, :2].mean(axis=1) / 2, 0.0)
    return np.maximum(shapely.distance(_objects(bodies), own) - radii, 0.0)


def _box(pose: NDArray[np.float64], size_m: NDArray[np.float64]) -> Any:
    corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * size_m[:2] / 2
    return shapely.Polygon(geometry.from_frame(corners, pose[:2], pose[2]))
