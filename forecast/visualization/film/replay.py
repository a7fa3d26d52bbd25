"""A film as one page that draws by itself: all numbers and the player in one HTML file."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from forecast import geometry
from forecast.scene import AgentKind, LaneMap, Polygons, Prediction, Scene
from forecast.visualization.birds_eye import LIGHT, futures_of
from forecast.visualization.film.film import Film, Panel
from forecast.visualization.film.legend import LINES, meaning, subtitles, used
from forecast.visualization.film.moments import Camera, shown_now
from forecast.visualization.film.regions import CORNERS, ribbons, rings

_ASPECT = 2.0
_CAMERA_S = 0.25
_DIGITS = 2
"""Positions that are written as text have centimetres."""


def write_replay(path: Path, film: Film) -> None:
    """Writes a film as one HTML file that needs nothing else, not even a network.

    Args:
        path: The file; its ending does not matter.
        film: The film.
    """
    loader = PackageLoader("forecast.visualization", "film")
    room = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    # "<" cannot end the element that holds the numbers.
    numbers = json.dumps(replay_data(film), separators=(",", ":")).replace("<", "\\u003c")
    page = room.get_template("replay.html.j2").render(
        title=film.scene.id,
        about=subtitles(film)[0],
        palette=LIGHT,
        film=numbers,
        script=Path(__file__).with_name("replay.js").read_text(encoding="utf-8"),
    )
    path.write_text(page, encoding="utf-8")


def replay_data(film: Film) -> dict[str, Any]:
    """What the page shows, as plain values; times are in seconds of the scene."""
    scene = film.scene
    count = max(round(film.duration_s / _CAMERA_S), 1) + 1
    times = np.linspace(film.start_us, film.stop_us, count).round().astype(np.int64)
    camera = Camera.of(film, times, _ASPECT)
    return {
        "start": _seconds(scene, film.start_us),
        "stop": _seconds(scene, film.stop_us),
        "isImagined": film.is_imagined,
        "hasModes": film.modes is not None,
        "palette": asdict(LIGHT),
        "legend": [
            {"name": name, "words": meaning(film, name), "isLine": name in LINES}
            for name in used(film)
        ],
        "camera": {
            "times": [_seconds(scene, at_us) for at_us in times.tolist()],
            "x": camera.centres_m[:, 0].round(_DIGITS).tolist(),
            "y": camera.centres_m[:, 1].round(_DIGITS).tolist(),
            "width": camera.width_m,
            "height": camera.width_m / _ASPECT,
        },
        "map": None if scene.lane_map is None else _map(scene.lane_map),
        "agents": _agents(scene),
        "truth": _tracks(scene, scene),
        "corners": CORNERS,
        "panels": [_panel(film, panel) for panel in film.panels],
    }


def _seconds(scene: Scene, at_us: int) -> float:
    return round((int(at_us) - scene.start_us) / 1e6, 6)


def _map(lane_map: LaneMap) -> dict[str, Any]:
    return {
        "road": _areas(lane_map.drivable_area),
        "walkway": _areas(lane_map.walkways),
        "crosswalk": _areas(lane_map.crosswalks),
        "dividers": [_flat(line) for line in lane_map.dividers],
        "lanes": [_flat(line) for line in lane_map.centerlines],
    }


def _areas(polygons: Polygons) -> list[list[list[float]]]:
    return [[_flat(ring) for ring in rings] for rings in polygons]


def _flat(points_m: NDArray[Any]) -> list[float]:
    """Points ``[P, 2]`` as one list: x and y of the first, then of the next."""
    values: list[float] = points_m.astype(np.float64).round(_DIGITS).ravel().tolist()
    return values


def _packed(values: NDArray[Any]) -> str:
    """Numbers as text that the page unpacks to float32."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _agents(scene: Scene) -> list[dict[str, Any]]:
    tracks = scene.tracks
    _, moves = geometry.motion_headings(tracks.positions_m, tracks.valid)
    faces = (tracks.kinds != AgentKind.PEDESTRIAN) | moves.any(axis=1)
    columns = tracks.agent_ids, tracks.kinds, tracks.sizes_m[:, :2].round(_DIGITS), faces
    return [
        {"id": name, "kind": kind, "size": size, "faces": face}
        for name, kind, size, face in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _tracks(film_scene: Scene, scene: Scene) -> dict[str, Any]:
    """Positions and headings of all agents; NaN where they are not observed."""
    tracks = scene.tracks
    places = scene.positions_m
    return {
        "times": [_seconds(film_scene, at_us) for at_us in scene.timestamps_us.tolist()],
        "x": _packed(places[..., 0]),
        "y": _packed(places[..., 1]),
        "heading": _packed(tracks.headings_rad),
    }


def _panel(film: Film, panel: Panel) -> dict[str, Any]:
    plan = None
    if panel.plan is not None:
        ego = film.scene.tracks.kinds == AgentKind.EGO
        at = int(np.searchsorted(film.scene.timestamps_us, panel.predictions[0].at_us))
        start = film.scene.tracks.positions_m[ego, at]
        plan = _flat(np.concatenate([start, panel.plan[:, :2]]))
    return {
        "title": panel.title,
        "isTrue": panel.is_true,
        "plan": plan,
        "tracks": _tracks(film.scene, panel.scene),
        "predictions": [_prediction(film, each) for each in panel.predictions],
    }


def _prediction(film: Film, prediction: Prediction) -> dict[str, Any]:
    agents, rows, now = shown_now(film.scene, prediction)
    futures, shares = futures_of(prediction, agents, film.modes)
    fallback = np.zeros(len(agents), bool)
    if prediction.fallback is not None:
        fallback = prediction.fallback[agents]
    tubed: list[int] = []
    if prediction.tubes is not None:
        tubed = np.flatnonzero(prediction.tubes.valid[agents]).tolist()
    # A recording shows all steps of a region at once, imagined futures one after the other.
    outlines = [] if film.is_imagined else ribbons(prediction, now, agents)
    each_step = rings(prediction, agents) if film.is_imagined else np.zeros(0)
    return {
        "at": _seconds(film.scene, prediction.at_us),
        "dt": prediction.dt_s,
        "steps": prediction.steps,
        "agents": rows.tolist(),
        "now": _flat(now),
        "count": len(futures),
        "shares": _packed(shares),
        "samples": _packed(futures),
        "mode": _packed(prediction.most_probable()[agents]),
        "fallback": fallback.tolist(),
        "tubed": tubed if film.is_imagined else [],
        "ribbons": [_flat(outline) for outline in outlines],
        "rings": _packed(each_step),
    }
