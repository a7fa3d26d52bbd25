"""A film as a recording for Rerun: the messages of `recording`, as Rerun's own archetypes.

The package rerun-sdk is bounded to 0.22, the last one that runs with numpy 1 (nuscenes-devkit rules
numpy 2 out). It brings its viewer: ``rerun FILE.rrd`` opens the file. Rerun 0.23 reads it, too.
Rerun 0.41 refuses it, but reads what ``rerun rrd migrate FILE.rrd`` of 0.23 makes of it.

Entities are named as the topics of `recording`, with the shape at the end: ``futures/lines``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from forecast.visualization.extras import package
from forecast.visualization.film.film import Film
from forecast.visualization.film.recording import LOOP, Entry, Message, entries

_TIMELINE = "time"


def write_rerun(path: Path, film: Film) -> None:
    """Writes a film as ``.rrd``.

    Args:
        path: The file; its ending does not matter.
        film: The film. Its first panel says which people are shown.

    Raises:
        ForecastError: The package rerun-sdk is not installed.
    """
    rerun = package("rerun", "rerun")
    # Recordings of one name would be merged in the viewer.
    stream = rerun.new_recording("forecast", recording_id=f"{film.scene.id} {uuid4().hex[:8]}")
    stream.save(path)
    seen: set[str] = set()
    for entry in entries(film):
        stream.set_time_nanos(_TIMELINE, 1000 * entry.at_us)
        if entry.schema == "foxglove.SceneUpdate":
            _log_shapes(rerun, stream, entry, seen)
        else:
            _log_frame(rerun, stream, entry.message)
    stream.flush()


def _log_shapes(rerun: Any, stream: Any, entry: Entry, seen: set[str]) -> None:
    """Logs the shapes of an update, each kind as one entity; those that are gone are cleared."""
    made: dict[str, Callable[..., Any]] = {"cubes": _boxes, "cylinders": _people, "lines": _lines}
    for shape, archetype in made.items():
        found = [
            (entity["id"], primitive)
            for entity in entry.message["entities"]
            for primitive in entity[shape]
        ]
        name = f"{entry.topic.strip('/')}/{shape}"
        if not found and name not in seen:
            continue
        seen.add(name)
        names, primitives = [name for name, _ in found], [primitive for _, primitive in found]
        values = archetype(rerun, primitives, names)
        stream.log(name, values, static=entry.topic == "/map")


def _boxes(rerun: Any, cubes: list[Message], names: list[str]) -> Any:
    return rerun.Boxes3D(
        centers=[_vector(each["pose"]["position"]) for each in cubes],
        sizes=[_vector(each["size"]) for each in cubes],
        quaternions=[_quaternion(each["pose"]["orientation"]) for each in cubes],
        colors=[_colour(each) for each in cubes],
        labels=names,
        show_labels=False,
        fill_mode="solid",
    )


def _people(rerun: Any, cylinders: list[Message], names: list[str]) -> Any:
    """People as capsules, which stand on the ground."""
    sizes = np.array([_vector(each["size"]) for each in cylinders]).reshape(-1, 3)
    radii = sizes[:, :2].max(axis=1, initial=0.0) / 2
    places = [_vector(each["pose"]["position"])[:2] for each in cylinders]
    return rerun.Capsules3D(
        translations=[[*place, radius] for place, radius in zip(places, radii, strict=True)],
        lengths=np.maximum(sizes[:, 2] - 2 * radii, 0.0),
        radii=radii,
        colors=[_colour(each) for each in cylinders],
        labels=names,
        show_labels=False,
    )


def _lines(rerun: Any, lines: list[Message], names: list[str]) -> Any:
    strips = []
    for line in lines:
        points = [_vector(point) for point in line["points"]]
        strips.append(points + points[:1] if line["type"] == LOOP else points)
    return rerun.LineStrips3D(
        strips,
        radii=[line["thickness"] / 2 for line in lines],
        colors=[_colour(line) for line in lines],
        labels=names,
        show_labels=False,
    )


def _log_frame(rerun: Any, stream: Any, message: Message) -> None:
    moved, turned = _vector(message["translation"]), _quaternion(message["rotation"])
    frame = rerun.Transform3D(translation=moved, quaternion=turned)
    stream.log(message["child_frame_id"], frame)


def _vector(value: Message) -> list[float]:
    return [value[axis] for axis in "xyz"]


def _quaternion(value: Message) -> list[float]:
    return [value[axis] for axis in "xyzw"]


def _colour(primitive: Message) -> list[int]:
    return [round(255 * primitive["color"][part]) for part in "rgba"]
