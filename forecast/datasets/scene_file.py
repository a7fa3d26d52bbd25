"""One `Scene` as one Arrow IPC file that can be read without copying.

The file holds one record batch of one row. Each array is a flat list in its column, so that numpy
arrays can be views of the mapped file. The map columns are null where a scene has no map.

After the Arrow file follows its checksum: `_MARK` and a SHA-256. It is compared before anything is
parsed, because Arrow may end the whole process over a flipped bit.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.scene import LaneMap, Polygons, Polylines, Scene, Tracks

SCHEMA_VERSION = 4
"""Increased whenever the columns or their meaning change."""

_NONE = np.zeros(0, bool)
_MARK = b"forecast sha256:"
_DIGEST_BYTES = hashlib.sha256().digest_size
_CHECKSUM_BYTES = len(_MARK) + _DIGEST_BYTES
_ARROW = b"ARROW1"
"""First bytes of an Arrow file."""


@dataclass(frozen=True)
class SceneFile:
    """Contents of a scene file.

    Attributes:
        scene: The scene. After `decode` its numeric arrays are read-only views of the file.
        fingerprint: Fingerprint of the source.
        dropped: Records that the source dropped or mended, by reason.
    """

    scene: Scene
    fingerprint: str
    dropped: dict[str, int]


def encode(file: SceneFile) -> pa.Buffer:
    """Writes a scene file into memory."""
    scene = file.scene
    columns = {
        "id": pa.array([scene.id]),
        "location": pa.array([scene.location]),
        "description": pa.array([scene.description]),
        "dt_s": pa.array([scene.dt_s], pa.float64()),
        "timestamps_us": _flat_list(scene.timestamps_us, np.int64),
        "origin_m": _flat_list(scene.origin_m, np.float64),
        "frame_ids": _strings(scene.frame_ids),
        "headings_recorded": pa.array([scene.headings_recorded]),
        "interpolated": _flat_list(scene.interpolated, np.uint8),
        **_track_columns(scene.tracks),
        **_map_columns(scene.lane_map),
    }
    metadata = {
        "schema_version": str(SCHEMA_VERSION),
        "fingerprint": file.fingerprint,
        "dropped": json.dumps(file.dropped),
    }
    batch = pa.record_batch(list(columns.values()), names=list(columns))
    batch = batch.replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    content = sink.getvalue()
    return pa.py_buffer(b"".join([content, _MARK, hashlib.sha256(content).digest()]))


def decode(buffer: pa.Buffer, *, compared: bool = False) -> SceneFile:
    """Reads a scene file from memory.

    Args:
        buffer: Its bytes.
        compared: Whether the bytes were compared with a hash already, such as that of the store's
            manifest. Then the checksum is not needed; files of older versions have none.

    Raises:
        ForecastError: The bytes are not a scene file, were changed, or it has another schema
            version.
    """
    content = buffer if compared else _intact(buffer)
    try:
        reader = pa.ipc.open_file(pa.BufferReader(_without_checksum(content)))
        metadata = {k.decode(): v.decode() for k, v in (reader.schema.metadata or {}).items()}
        version = metadata["schema_version"]
        if version != str(SCHEMA_VERSION):
            raise ForecastError(
                f"the scene file has schema version {version}; {SCHEMA_VERSION} is needed"
            )
        batch = reader.get_batch(0)
        batch.validate(full=True)
        row = dict(zip(batch.schema.names, batch.columns, strict=True))
        return SceneFile(_scene(row), metadata["fingerprint"], json.loads(metadata["dropped"]))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise ForecastError(f"not a scene file: {str(error).splitlines()[0]}") from error


def _without_checksum(buffer: pa.Buffer) -> pa.Buffer:
    """The Arrow file in a scene file."""
    start = buffer.size - _CHECKSUM_BYTES
    has_checksum = start >= 0 and buffer.slice(start, len(_MARK)).to_pybytes() == _MARK
    return buffer.slice(0, start) if has_checksum else buffer


def _intact(buffer: pa.Buffer) -> pa.Buffer:
    """The bytes, compared with their checksum."""
    content = _without_checksum(buffer)
    if content.size == buffer.size:
        is_arrow = memoryview(buffer)[: len(_ARROW)] == _ARROW
        why = "it has no checksum: cut off, or of an older version" if is_arrow else "other content"
        raise ForecastError(f"not a scene file: {why}")
    if hashlib.sha256(content).digest() != buffer.slice(buffer.size - _DIGEST_BYTES).to_pybytes():
        raise ForecastError("the scene file was changed: its checksum is another one")
    return buffer


def _track_columns(tracks: Tracks) -> dict[str, pa.Array]:
    return {
        "agent_ids": _strings(tracks.agent_ids),
        "kinds": _flat_list(tracks.kinds, np.int8),
        "categories": _strings(tracks.categories),
        "positions_m": _flat_list(tracks.positions_m, np.float32),
        "headings_rad": _flat_list(tracks.headings_rad, np.float32),
        "sizes_m": _flat_list(tracks.sizes_m, np.float32),
        # Arrow packs booleans into bits and numpy does not, so they are stored as bytes.
        "valid": _flat_list(tracks.valid, np.uint8),
        "visibility": _flat_list(tracks.visibility, np.int8),
        "decisions": _flat_list(tracks.decisions, np.int8),
    }


def _map_columns(lane_map: LaneMap | None) -> dict[str, pa.Array]:
    parts = LaneMap() if lane_map is None else lane_map
    columns = {
        "lane_ids": _strings(parts.lane_ids),
        **_line_columns("centerlines", parts.centerlines),
        "successors": _flat_list(parts.successors, np.int64),
        **_polygon_columns("crosswalks", parts.crosswalks),
        **_polygon_columns("walkways", parts.walkways),
        **_line_columns("dividers", parts.dividers),
        **_polygon_columns("drivable_area", parts.drivable_area),
        "signalled": _flat_list(parts.signalled, np.uint8),
    }
    if lane_map is None:
        return {name: pa.nulls(1, column.type) for name, column in columns.items()}
    return columns


def _line_columns(name: str, lines: Polylines) -> dict[str, pa.Array]:
    return {
        f"{name}.points_m": _flat_list(lines.points_m, np.float32),
        f"{name}.offsets": _flat_list(lines.offsets, np.int64),
    }


def _polygon_columns(name: str, polygons: Polygons) -> dict[str, pa.Array]:
    return {
        **_line_columns(f"{name}.rings", polygons.rings),
        f"{name}.offsets": _flat_list(polygons.offsets, np.int64),
    }


def _flat_list(values: NDArray[Any] | None, dtype: type[np.generic]) -> pa.Array:
    """Returns a column of one row: the values in C order, or null."""
    if values is None:
        return pa.nulls(1, pa.list_(pa.from_numpy_dtype(dtype)))
    flat = pa.array(np.ascontiguousarray(values, dtype).reshape(-1))
    return pa.ListArray.from_arrays(pa.array([0, len(flat)], pa.int32()), flat)


def _strings(values: NDArray[np.str_]) -> pa.Array:
    return pa.array([values.tolist()], pa.list_(pa.string()))


def _scene(row: dict[str, pa.Array]) -> Scene:
    stamps, agents = _numbers(row["timestamps_us"]), _text(row["agent_ids"])
    grid = (len(agents), len(stamps))
    between = row["interpolated"]
    tracks = Tracks(
        agent_ids=agents,
        kinds=_numbers(row["kinds"]),
        categories=_text(row["categories"]),
        positions_m=_numbers(row["positions_m"]).reshape(*grid, 2),
        headings_rad=_numbers(row["headings_rad"]).reshape(grid),
        sizes_m=_numbers(row["sizes_m"]).reshape(-1, 3),
        valid=_numbers(row["valid"]).view(np.bool_).reshape(grid),
        visibility=_grid(row["visibility"], grid),
        decisions=_grid(row["decisions"], grid),
    )
    return Scene(
        id=row["id"][0].as_py(),
        location=row["location"][0].as_py(),
        description=row["description"][0].as_py(),
        dt_s=row["dt_s"][0].as_py(),
        timestamps_us=stamps,
        tracks=tracks,
        lane_map=None if row["lane_ids"].null_count else _lane_map(row),
        origin_m=_numbers(row["origin_m"]),
        frame_ids=_text(row["frame_ids"]),
        headings_recorded=row["headings_recorded"][0].as_py(),
        interpolated=None if between.null_count else _numbers(between).view(np.bool_),
    )


def _lane_map(row: dict[str, pa.Array]) -> LaneMap:
    return LaneMap(
        lane_ids=_text(row["lane_ids"]),
        centerlines=_lines(row, "centerlines"),
        successors=_numbers(row["successors"]).reshape(-1, 2),
        crosswalks=_polygons(row, "crosswalks"),
        walkways=_polygons(row, "walkways"),
        dividers=_lines(row, "dividers"),
        drivable_area=_polygons(row, "drivable_area"),
        # Files of before 2026-11-30 do not say which crosswalks have lights.
        signalled=_numbers(row["signalled"]).view(np.bool_) if "signalled" in row else _NONE,
    )


def _lines(row: dict[str, pa.Array], name: str) -> Polylines:
    return Polylines(
        _numbers(row[f"{name}.points_m"]).reshape(-1, 2), _numbers(row[f"{name}.offsets"])
    )


def _polygons(row: dict[str, pa.Array], name: str) -> Polygons:
    return Polygons(_lines(row, f"{name}.rings"), _numbers(row[f"{name}.offsets"]))


def _grid(column: pa.Array, shape: tuple[int, int]) -> NDArray[Any] | None:
    return None if column.null_count else _numbers(column).reshape(shape)


def _numbers(column: pa.Array) -> NDArray[Any]:
    return column.flatten().to_numpy(zero_copy_only=True)


def _text(column: pa.Array) -> NDArray[np.str_]:
    return np.array(column.flatten().to_pylist(), np.str_)
