"""A film as an MCAP recording: messages in Foxglove's own schemas, as JSON.

Foxglove draws the messages ``foxglove.SceneUpdate`` and ``foxglove.FrameTransform`` without any
set-up. They are written with the package mcap alone: the SDK of Foxglove brings tens of megabytes.
Rerun (0.41) reads the file, but shows scene updates as text only; `rerun_file` writes one for it.

| topic | what | when |
|---|---|---|
| ``/map`` | areas and lanes as lines | once |
| ``/agents`` | boxes, and people as cylinders | 10 times a second |
| ``/tf`` | the frame ``ego`` in the frame ``map`` | 10 times a second |
| ``/futures`` | samples or modes, best guess and regions of each person | at each prediction |
| ``/truth`` | recorded futures | at each prediction |
| ``/plan`` | the ego's plan | at the prediction |

Where there are several plans, topics and the frame of the ego begin with the title of the plan.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgba
from numpy.typing import NDArray

from forecast.scene import AgentKind, LaneMap, Prediction, Scene
from forecast.visualization.birds_eye import LIGHT, futures_of
from forecast.visualization.extras import package
from forecast.visualization.film.film import Film, Panel
from forecast.visualization.film.moments import AgentMotion, shown_now
from forecast.visualization.film.regions import rings

_RATE_HZ = 10
_STRIP, LOOP = 0, 1
"""Types of a line primitive."""

_ALWAYS = {"sec": 0, "nsec": 0}
"""A lifetime without end."""

_THICK_M, _THIN_M = 0.12, 0.04
_ABOVE_M = 0.05
"""Futures are drawn this high above the map."""

_SHAPES = ("arrows", "cubes", "spheres", "cylinders", "lines", "triangles", "texts", "models")
_LISTS = ("metadata", *_SHAPES)
"""The lists of an entity."""

Message = dict[str, Any]


class Entry(NamedTuple):
    """One message.

    Attributes:
        at_us: Its time.
        topic: Its topic.
        schema: Name of its schema, one of `SCHEMAS`.
        message: The message.
    """

    at_us: int
    topic: str
    schema: str
    message: Message


def _object(**properties: Message) -> Message:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Message) -> Message:
    return {"type": "array", "items": items}


_NUMBER, _WORD, _TRUTH = {"type": "number"}, {"type": "string"}, {"type": "boolean"}
_WHOLE = {"type": "integer"}
_TIME = _object(sec=_WHOLE, nsec=_WHOLE)
_VECTOR = _object(x=_NUMBER, y=_NUMBER, z=_NUMBER)
_QUATERNION = _object(x=_NUMBER, y=_NUMBER, z=_NUMBER, w=_NUMBER)
_POSE = _object(position=_VECTOR, orientation=_QUATERNION)
_COLOR = _object(r=_NUMBER, g=_NUMBER, b=_NUMBER, a=_NUMBER)
_CUBE = _object(pose=_POSE, size=_VECTOR, color=_COLOR)
_CYLINDER = _object(pose=_POSE, size=_VECTOR, bottom_scale=_NUMBER, top_scale=_NUMBER, color=_COLOR)
_LINE = _object(
    type=_WHOLE,
    pose=_POSE,
    thickness=_NUMBER,
    scale_invariant=_TRUTH,
    points=_list(_VECTOR),
    color=_COLOR,
    colors=_list(_COLOR),
    indices=_list(_WHOLE),
)
_ENTITY = _object(
    timestamp=_TIME,
    frame_id=_WORD,
    id=_WORD,
    lifetime=_TIME,
    frame_locked=_TRUTH,
    **{name: _list({"type": "object"}) for name in _LISTS}
    | {
        "metadata": _list(_object(key=_WORD, value=_WORD)),
        "cubes": _list(_CUBE),
        "cylinders": _list(_CYLINDER),
        "lines": _list(_LINE),
    },
)
_DELETION = _object(timestamp=_TIME, type=_WHOLE, id=_WORD)

SCHEMAS: dict[str, Message] = {
    "foxglove.SceneUpdate": _object(deletions=_list(_DELETION), entities=_list(_ENTITY)),
    "foxglove.FrameTransform": _object(
        timestamp=_TIME,
        parent_frame_id=_WORD,
        child_frame_id=_WORD,
        translation=_VECTOR,
        rotation=_QUATERNION,
    ),
}
"""JSON schemas of the messages: the names and types of Foxglove's, of the parts that are used."""


def write_recording(path: Path, film: Film) -> None:
    """Writes a film as MCAP.

    Args:
        path: The file; its ending does not matter.
        film: The film. Its first panel says which people are shown.

    Raises:
        ForecastError: The package mcap is not installed.
    """
    module = package("mcap.writer", "mcap")
    compression = module.CompressionType
    is_there = importlib.util.find_spec("zstandard") is not None
    kind = compression.ZSTD if is_there else compression.NONE
    with path.open("wb") as file:
        writer = module.Writer(file, compression=kind)
        writer.start(profile="", library="forecast")
        channels: dict[str, int] = {}
        schemas = {name: _register(writer, name) for name in SCHEMAS}
        for number, (at_us, topic, schema, message) in enumerate(entries(film)):
            if topic not in channels:
                channels[topic] = writer.register_channel(topic, "json", schemas[schema])
            data = json.dumps(message, separators=(",", ":")).encode()
            at_ns = 1000 * at_us
            writer.add_message(channels[topic], at_ns, data, at_ns, number)
        writer.finish()


def _register(writer: Any, name: str) -> int:
    data = json.dumps({"title": name, **SCHEMAS[name]}).encode()
    number: int = writer.register_schema(name, "jsonschema", data)
    return number


def entries(film: Film) -> list[Entry]:
    """The messages of a film by ascending time."""
    return sorted(_entries(film), key=lambda entry: entry.at_us)


def _entries(film: Film) -> Iterator[Entry]:
    if film.scene.lane_map is not None:
        lines = list(_map_lines(film.scene.lane_map))
        yield _update(film.start_us, "/map", [_entity(film.start_us, "map", lines=lines)])
    for panel in film.panels:
        words = re.sub(r"[^a-z0-9]+", "_", panel.title.lower()).strip("_")
        prefix = f"/{words}" if words else ""
        yield from _agents(film, panel, prefix)
        for prediction in panel.predictions:
            at_us = max(prediction.at_us, film.start_us)
            yield _futures(film, prediction, at_us, f"{prefix}/futures")
            if panel.is_true:
                yield _truth(film.scene, prediction, at_us, f"{prefix}/truth")
        if panel.plan is not None:
            line = _line(panel.plan[:, :2], LIGHT.plan, _THICK_M)
            entity = _entity(film.start_us, "plan", lines=[line])
            yield _update(film.start_us, f"{prefix}/plan", [entity])


def _map_lines(lane_map: LaneMap) -> Iterator[Message]:
    for polygons, colour in (
        (lane_map.drivable_area, LIGHT.lane),
        (lane_map.walkways, LIGHT.walkway),
        (lane_map.crosswalks, LIGHT.crosswalk),
    ):
        for outlines in polygons:
            for ring in outlines:
                yield _line(ring, colour, _THICK_M, kind=LOOP, height_m=0.0)
    for points in lane_map.centerlines:
        yield _line(points, LIGHT.muted, _THIN_M, height_m=0.0)


def _agents(film: Film, panel: Panel, prefix: str) -> Iterator[Entry]:
    """Boxes of all agents, and the frame of the ego, at every tenth of a second."""
    count = round(film.duration_s * _RATE_HZ) + 1
    times = film.start_us + np.arange(count) * (1_000_000 // _RATE_HZ)
    motion, tracks = AgentMotion.of(panel.scene, times), panel.scene.tracks
    for index, at_us in enumerate(times.tolist()):
        entities = []
        for row in np.flatnonzero(motion.valid[:, index]).tolist():
            place = motion.positions_m[row, index].tolist()
            turn = float(motion.headings_rad[row, index])
            name, kind = str(tracks.agent_ids[row]), AgentKind(int(tracks.kinds[row]))
            body = _body(kind, place, turn, tracks.sizes_m[row].tolist())
            entities.append(_entity(at_us, name, kind=kind.name.lower(), **body))
            if kind == AgentKind.EGO:
                frame = f"{prefix}/ego".lstrip("/")
                yield _transform(at_us, f"{prefix}/tf", frame, place, turn)
        yield _update(at_us, f"{prefix}/agents", entities, replaces=True)


def _body(kind: AgentKind, place: list[float], turn: float, size: list[float]) -> Message:
    """An agent as a box, or a person as a cylinder."""
    colours = {
        AgentKind.PEDESTRIAN: LIGHT.history,
        AgentKind.EGO: LIGHT.ego,
        AgentKind.STATIC: LIGHT.lane,
    }
    solid: Message = {
        "pose": _pose(place, turn, size[2] / 2),
        "size": dict(zip("xyz", size, strict=True)),
        "color": _colour(colours.get(kind, LIGHT.body)),
    }
    if kind == AgentKind.PEDESTRIAN:
        return {"cylinders": [solid | {"bottom_scale": 1.0, "top_scale": 1.0}]}
    return {"cubes": [solid]}


def _futures(film: Film, prediction: Prediction, at_us: int, topic: str) -> Entry:
    """Samples or modes, best guess and the last region of each person."""
    agents, _, now = shown_now(film.scene, prediction)
    paths, shares = futures_of(prediction, agents, film.modes)
    regions = dict(zip(_with_tubes(prediction, agents), rings(prediction, agents), strict=True))
    best = prediction.most_probable()
    entities = []
    for row, agent in enumerate(agents.tolist()):
        place, share = now[row], shares[:, row]
        fallback = prediction.fallback is not None and bool(prediction.fallback[agent])
        colour = LIGHT.fallback if fallback else LIGHT.sample
        lines = [
            _line(_from(place, path), colour, _THIN_M, alpha=0.2 + 0.4 * each)
            for path, each in zip(paths[:, row], share / share.max(), strict=True)
        ]
        lines.append(_line(_from(place, best[agent]), LIGHT.mode, _THICK_M))
        if agent in regions:
            lines.append(_line(regions[agent][-1], LIGHT.tube, _THIN_M, kind=LOOP))
        words = {"fallback": str(fallback).lower()}
        if film.modes is not None:
            words["probabilities"] = " ".join(f"{each:.3f}" for each in share)
        entities.append(_entity(at_us, str(prediction.agent_ids[agent]), **words, lines=lines))
    return _update(at_us, topic, entities, replaces=True)


def _with_tubes(prediction: Prediction, agents: NDArray[np.int64]) -> list[int]:
    tubes = prediction.tubes
    return [] if tubes is None else [agent for agent in agents.tolist() if tubes.valid[agent]]


def _truth(scene: Scene, prediction: Prediction, at_us: int, topic: str) -> Entry:
    """The recorded futures up to the end of the predicted ones."""
    _, rows, now = shown_now(scene, prediction)
    until = prediction.at_us + round(prediction.steps * prediction.dt_s * 1e6)
    later = (scene.timestamps_us > prediction.at_us) & (scene.timestamps_us <= until)
    entities = []
    for place, row in zip(now, rows.tolist(), strict=True):
        path = _from(place, scene.tracks.positions_m[row, later & scene.tracks.valid[row]])
        line = _line(path, LIGHT.truth, _THICK_M)
        entities.append(_entity(at_us, str(scene.tracks.agent_ids[row]), lines=[line]))
    return _update(at_us, topic, entities, replaces=True)


def _from(place_m: NDArray[Any], path_m: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([place_m[None], path_m])


def _update(at_us: int, topic: str, entities: list[Message], *, replaces: bool = False) -> Entry:
    """A scene update; one that replaces removes what was there before."""
    gone = [{"timestamp": _time(at_us), "type": 1, "id": ""}] if replaces else []
    message = {"deletions": gone, "entities": entities}
    return Entry(at_us, topic, "foxglove.SceneUpdate", message)


def _transform(at_us: int, topic: str, frame: str, place: list[float], turn: float) -> Entry:
    pose = _pose(place, turn, 0.0)
    message = {
        "timestamp": _time(at_us),
        "parent_frame_id": "map",
        "child_frame_id": frame,
        "translation": pose["position"],
        "rotation": pose["orientation"],
    }
    return Entry(at_us, topic, "foxglove.FrameTransform", message)


def _entity(at_us: int, name: str, **parts: Any) -> Message:
    """An entity; a part that is a word is its metadata."""
    words = [{"key": key, "value": value} for key, value in parts.items() if isinstance(value, str)]
    found = {key: value for key, value in parts.items() if not isinstance(value, str)}
    lists: Message = {key: [] for key in _LISTS}
    return {
        "timestamp": _time(at_us),
        "frame_id": "map",
        "id": name,
        "lifetime": _ALWAYS,
        "frame_locked": True,
        **lists,
        **found,
        "metadata": words,
    }


def _line(
    points_m: NDArray[Any],
    colour: str,
    thickness_m: float,
    *,
    kind: int = _STRIP,
    alpha: float = 1.0,
    height_m: float = _ABOVE_M,
) -> Message:
    return {
        "type": kind,
        "pose": _pose([0.0, 0.0], 0.0, 0.0),
        "thickness": thickness_m,
        "scale_invariant": False,
        "points": [
            {"x": round(x, 3), "y": round(y, 3), "z": height_m} for x, y in points_m.tolist()
        ],
        "color": _colour(colour, alpha),
        "colors": [],
        "indices": [],
    }


def _pose(place: list[float], turn_rad: float, height_m: float) -> Message:
    return {
        "position": {"x": place[0], "y": place[1], "z": height_m},
        "orientation": {
            "x": 0.0,
            "y": 0.0,
            "z": math.sin(turn_rad / 2),
            "w": math.cos(turn_rad / 2),
        },
    }


def _colour(colour: str, alpha: float = 1.0) -> Message:
    return dict(zip("rgba", to_rgba(colour, alpha), strict=True))


def _time(at_us: int) -> dict[str, int]:
    return {"sec": at_us // 1_000_000, "nsec": at_us % 1_000_000 * 1000}
