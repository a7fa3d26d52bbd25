"""Rotates scenes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.scene.lanes import LaneMap, Polygons, Polylines
from forecast.scene.scene import Scene


def turned(scene: Scene, angle_rad: float) -> Scene:
    """The scene, its map included, rotated about its origin."""
    angle = np.asarray(angle_rad)
    positions = geometry.rotate(scene.tracks.positions_m.astype(np.float64), angle)
    tracks = replace(
        scene.tracks,
        positions_m=positions.astype(np.float32),
        headings_rad=scene.tracks.headings_rad + np.float32(angle_rad),
    )
    lanes = scene.lane_map
    return replace(scene, tracks=tracks, lane_map=lanes and _turned_map(lanes, angle))


def _turned_map(lanes: LaneMap, angle: NDArray[np.float64]) -> LaneMap:
    def lines(part: Polylines) -> Polylines:
        points = geometry.rotate(part.points_m.astype(np.float64), angle)
        return Polylines(points.astype(np.float32), part.offsets)

    def areas(part: Polygons) -> Polygons:
        return Polygons(lines(part.rings), part.offsets)

    return replace(
        lanes,
        centerlines=lines(lanes.centerlines),
        dividers=lines(lanes.dividers),
        crosswalks=areas(lanes.crosswalks),
        walkways=areas(lanes.walkways),
        drivable_area=areas(lanes.drivable_area),
    )
