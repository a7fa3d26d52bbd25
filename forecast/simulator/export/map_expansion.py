"""Writes a district as a nuScenes map expansion (v1.3), as the devkit's NuScenesMap reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from forecast.simulator.export.tokens import token
from forecast.simulator.map import surfaces
from forecast.simulator.map.district import District
from forecast.simulator.map.lanes import Lane, Piece

_MARGIN_M = 100.0
_STRAIGHT_RADIUS_M = 999.999
"""The radius of a straight path in the files of nuScenes."""


def map_expansion(district: District, seed: int) -> dict[str, Any]:
    """Returns the map of a district as one JSON object.

    Args:
        district: The place.
        seed: Seed of the dataset. It is part of the tokens.
    """
    writer = _GeometryWriter(token("map", seed, district.layout.location))
    names = [token(writer.root, lane.name) for lane in district.lanes]
    areas = [writer.polygon(area) for area in surfaces.drivable_area(district)]
    layers = {
        "drivable_area": [{"token": token(writer.root, "drivable"), "polygon_tokens": areas}],
        "lane": _lanes(district, names, writer),
        "lane_connector": [
            {"token": name, "polygon_token": writer.polygon(_lane_area(district, lane))}
            for name, lane in zip(names, district.lanes, strict=True)
            if lane.connector
        ],
        "ped_crossing": [
            {**record, "road_segment_token": ""}
            for record in writer.records("crosswalk", surfaces.crosswalk_areas(district))
        ],
        "walkway": writer.records("walkway", surfaces.walkways(district)),
        "carpark_area": [
            {**record, "orientation": 0.0, "road_block_token": ""}
            for record in writer.records("carpark", surfaces.car_parks(district))
        ],
        **_lights(district, writer),
        "road_divider": [
            {
                "token": token(writer.root, "divider", i),
                "line_token": writer.line(line),
                "road_segment_token": "",
            }
            for i, line in enumerate(surfaces.dividers(district))
        ],
    }
    empty = ("road_segment", "road_block", "lane_divider")
    return {
        "version": "1.3",
        "canvas_edge": _canvas(district),
        "arcline_path_3": {
            name: [_arcline(piece) for piece in lane.path]
            for name, lane in zip(names, district.lanes, strict=True)
        },
        "connectivity": _connectivity(district, names),
        "polygon": writer.polygons,
        "line": writer.lines,
        "node": writer.nodes,
        **layers,
        **{layer: [] for layer in empty},
    }


class _GeometryWriter:
    """Collects the nodes, lines and polygons of the layers."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.nodes: list[dict[str, Any]] = []
        self.lines: list[dict[str, Any]] = []
        self.polygons: list[dict[str, Any]] = []

    def _add_nodes(self, points_m: NDArray[Any]) -> list[str]:
        first = len(self.nodes)
        rows = np.round(points_m, 4).tolist()
        self.nodes += [
            {"token": token(self.root, "node", first + i), "x": x, "y": y}
            for i, (x, y) in enumerate(rows)
        ]
        return [node["token"] for node in self.nodes[first:]]

    def polygon(self, area: Any) -> str:
        """Adds a shapely polygon and returns its token."""
        name = token(self.root, "polygon", len(self.polygons))
        rings = [np.array(ring.coords)[:-1] for ring in (area.exterior, *area.interiors)]
        outer, *holes = [self._add_nodes(ring) for ring in rings]
        self.polygons.append({
            "token": name,
            "exterior_node_tokens": outer,
            "holes": [{"node_tokens": hole} for hole in holes],
        })  # fmt: skip
        return name

    def line(self, points_m: NDArray[Any]) -> str:
        """Adds a polyline ``[P, 2]`` and returns its token."""
        name = token(self.root, "line", len(self.lines))
        self.lines.append({"token": name, "node_tokens": self._add_nodes(points_m)})
        return name

    def records(self, layer: str, areas: list[Any]) -> list[dict[str, Any]]:
        """Adds polygons and returns the records of their layer."""
        return [
            {"token": token(self.root, layer, i), "polygon_token": self.polygon(area)}
            for i, area in enumerate(areas)
        ]


def _lane_area(district: District, lane: Lane) -> Any:
    middle = shapely.LineString(lane.poses(1.0)[:, :2])
    return middle.buffer(district.layout.lane_width_m / 2, cap_style="flat")


def _lanes(district: District, names: list[str], writer: _GeometryWriter) -> list[dict[str, Any]]:
    return [
        {
            "token": name,
            "polygon_token": writer.polygon(_lane_area(district, lane)),
            "lane_type": "CAR",
            "from_edge_line_token": "",
            "to_edge_line_token": "",
            "left_lane_divider_segments": [],
            "right_lane_divider_segments": [],
        }
        for name, lane in zip(names, district.lanes, strict=True)
        if not lane.connector
    ]


def _lights(district: District, writer: _GeometryWriter) -> dict[str, list[dict[str, Any]]]:
    """Returns a traffic light and a stop line at the end of every lane to a signalled junction."""
    ends = {lane.successors[0]: lane for lane in district.lanes if lane.successors}
    signalled = np.flatnonzero(district.lane_signals[:, 0] >= 0).tolist()
    stops = [ends[i].poses(1.0)[-1].tolist() for i in signalled if i in ends]
    lights, lines = [], []
    for i, (x, y, heading) in enumerate(stops):
        half = district.layout.lane_width_m / 2
        across = half * np.array([-np.sin(heading), np.cos(heading)])
        bar = shapely.LineString(np.add([x, y], [-across, across]))
        name = token(writer.root, "light", i)
        lights.append({
            "token": name,
            "line_token": writer.line(np.array(bar.coords)),
            "traffic_light_type": "VERTICAL",
            "from_road_block_token": "",
            "items": [],
            "pose": {"tx": x, "ty": y, "tz": 3.0, "rx": 0.0, "ry": 0.0, "rz": heading},
        })  # fmt: skip
        lines.append({
            "token": token(writer.root, "stop", i),
            "polygon_token": writer.polygon(bar.buffer(0.2, cap_style="flat")),
            "stop_line_type": "TRAFFIC_LIGHT",
            "ped_crossing_tokens": [],
            "traffic_light_tokens": [name],
            "road_block_token": "",
        })  # fmt: skip
    return {"traffic_light": lights, "stop_line": lines}


def _arcline(piece: Piece) -> dict[str, Any]:
    """Returns a piece as a Dubins path: an arc is its first part, a straight line its second."""
    end = piece.at(np.array([piece.length_m]))[0]
    straight = piece.curvature_per_m == 0
    return {
        "start_pose": list(piece.start),
        "end_pose": end.tolist(),
        "shape": "LSL" if piece.curvature_per_m >= 0 else "RSR",
        "radius": _STRAIGHT_RADIUS_M if straight else 1 / abs(piece.curvature_per_m),
        "segment_length": [0.0, piece.length_m, 0.0] if straight else [piece.length_m, 0.0, 0.0],
    }


def _connectivity(district: District, names: list[str]) -> dict[str, dict[str, list[str]]]:
    links: dict[str, dict[str, list[str]]] = {
        name: {"incoming": [], "outgoing": []} for name in names
    }
    for i, lane in enumerate(district.lanes):
        for j in lane.successors:
            links[names[i]]["outgoing"].append(names[j])
            links[names[j]]["incoming"].append(names[i])
    return links


def _canvas(district: District) -> list[float]:
    """Returns the width and height of the canvas. Coordinates start at 0."""
    highest: list[float] = np.round(surfaces.extent_m(district) + _MARGIN_M, 1).tolist()
    return highest
