"""Made-up crowds on a street, shared by the benchmark scripts."""

from __future__ import annotations

import numpy as np

from forecast.scene import AgentKind, LaneMap, Polygons, Polylines, Scene

STEPS, DT_S = 8, 0.5
AREA_PER_PERSON_M2 = 60.0


def street(length_m: float) -> LaneMap:
    """Two lanes of a straight street with pavements and crosswalks."""
    ends = np.array([0.0, length_m])
    lanes = [np.stack([ends, [y, y]], -1) for y in (-1.8, 1.8)]
    across = [[x, -3.6, x + 4, 3.6] for x in np.arange(20.0, length_m, 40.0)]
    beside = [[0, 3.6, length_m, 8], [0, -8, length_m, -3.6]]

    def areas(boxes: list[list[float]]) -> Polygons:
        return Polygons.of([[np.array([[a, b], [c, b], [c, d], [a, d]])] for a, b, c, d in boxes])

    return LaneMap(
        np.array(["east", "west"]),
        Polylines.of([lanes[0], lanes[1][::-1]]),
        crosswalks=areas(across),
        walkways=areas(beside),
        drivable_area=areas([[0, -3.6, length_m, 3.6]]),
    )


def crowd(people: int, steps: int = STEPS) -> Scene:
    """People who walk about a street, and the ego on it; larger crowds have longer streets."""
    rng = np.random.default_rng(0)
    length_m = max(people * AREA_PER_PERSON_M2 / 16, 60.0)
    start = rng.uniform([0, -8], [length_m, 8], (people, 2))
    heading = rng.uniform(-np.pi, np.pi, people)
    pace = rng.uniform(0.0, 1.7, people)
    velocity = np.stack([np.cos(heading), np.sin(heading)], -1) * pace[:, None]
    velocity = np.concatenate([velocity, [[6.0, 0.0]]])
    start = np.concatenate([start, [[length_m / 4, -1.8]]])
    positions = start[:, None] + velocity[:, None] * (np.arange(steps) * DT_S)[:, None]
    kinds = [AgentKind.PEDESTRIAN] * people + [AgentKind.EGO]
    return Scene.from_arrays(
        positions,
        kinds,
        DT_S,
        headings_rad=np.repeat(np.append(heading, 0.0)[:, None], steps, 1),
        lane_map=street(length_m),
    )
