"""Reads the nuScenes tables into columns: only what scenes need, one read per table.

Schema: https://www.nuscenes.org/nuscenes#data-format. The files of the sensors are not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from forecast.datasets.nuscenes.links import as_bytes, find, index_of, refuse_repeats, time_order
from forecast.datasets.nuscenes.rows import read_rows, read_table
from forecast.errors import ForecastError
from forecast.parallel import Workers

TABLE_NAMES = (
    "scene",
    "log",
    "sample",
    "sample_data",
    "calibrated_sensor",
    "sensor",
    "ego_pose",
    "category",
    "instance",
    "sample_annotation",
)
"""The tables that are read."""

_QUATERNION_TOLERANCE = 1e-3
_VISIBILITY = {"": 0, "0": 0, "1": 1, "2": 2, "3": 3, "4": 4}


class _Scene(msgspec.Struct, gc=False):
    token: str
    name: str
    log_token: str
    description: str = ""


class _Log(msgspec.Struct, gc=False):
    token: str
    location: str


class _Sample(msgspec.Struct, gc=False):
    token: str
    timestamp: int
    scene_token: str
    prev: str
    next: str


class _Instance(msgspec.Struct, gc=False):
    token: str
    category_token: str


class _Category(msgspec.Struct, gc=False):
    token: str
    name: str


class _Annotation(msgspec.Struct, gc=False):
    token: str
    sample_token: str
    instance_token: str
    translation: tuple[float, float, float]
    size: tuple[float, float, float]
    rotation: tuple[float, float, float, float]
    prev: str
    next: str
    visibility_token: str = ""


class _SampleData(msgspec.Struct, gc=False):
    sample_token: str
    ego_pose_token: str
    calibrated_sensor_token: str
    is_key_frame: bool


class _EgoPose(msgspec.Struct, gc=False):
    token: str
    translation: tuple[float, float, float]
    rotation: tuple[float, float, float, float]


class _CalibratedSensor(msgspec.Struct, gc=False):
    token: str
    sensor_token: str


class _Sensor(msgspec.Struct, gc=False):
    token: str
    channel: str


@dataclass(frozen=True, eq=False)
class Keyframes:
    """The keyframes of all scenes with the ego's poses, sorted by scene, then time.

    Attributes:
        tokens: Sample tokens ``[N]``.
        timestamps_us: Times ``[N]``.
        ego_m: World positions of the ego ``[N, 2]`` at its LIDAR_TOP sweep; 0 where unknown.
        ego_headings_rad: Headings ``[N]``; 0 where unknown.
        has_ego: Where the ego's pose is known ``[N]``.
        offsets: Scene s owns the rows ``offsets[s]:offsets[s + 1]``; ``[S + 1]``.
    """

    tokens: NDArray[np.str_]
    timestamps_us: NDArray[np.int64]
    ego_m: NDArray[np.float64]
    ego_headings_rad: NDArray[np.float32]
    has_ego: NDArray[np.bool_]
    offsets: NDArray[np.int64]

    def of(self, scene: int) -> slice:
        """The rows of one scene."""
        return slice(int(self.offsets[scene]), int(self.offsets[scene + 1]))


@dataclass(frozen=True, eq=False)
class Annotations:
    """The annotated boxes of all scenes, sorted by scene, instance, then time.

    Attributes:
        keyframes: Row of `Keyframes` ``[M]``.
        instances: Row of the instance table ``[M]``.
        positions_m: World positions of the centres ``[M, 2]``.
        headings_rad: Headings ``[M]``.
        sizes_m: Length, width, height ``[M, 3]``.
        visibility: Visibility bin 1 to 4 ``[M]``, 0 where unknown.
        offsets: Scene s owns the rows ``offsets[s]:offsets[s + 1]``; ``[S + 1]``.
    """

    keyframes: NDArray[np.int32]
    instances: NDArray[np.int32]
    positions_m: NDArray[np.float64]
    headings_rad: NDArray[np.float32]
    sizes_m: NDArray[np.float32]
    visibility: NDArray[np.int8]
    offsets: NDArray[np.int64]

    def of(self, scene: int) -> slice:
        """The rows of one scene."""
        return slice(int(self.offsets[scene]), int(self.offsets[scene + 1]))


@dataclass(frozen=True, eq=False)
class Tables:
    """The columns of a nuScenes dataset that scenes need.

    Attributes:
        scene_names: Names ``[S]``, in the table's order.
        locations: City of each scene.
        descriptions: Free text of each scene.
        keyframes: Keyframes and ego poses.
        instance_tokens: Instance tokens ``[I]``, in the table's order.
        instance_categories: Category names ``[I]``.
        annotations: Annotated boxes.
    """

    scene_names: list[str]
    locations: list[str]
    descriptions: list[str]
    keyframes: Keyframes
    instance_tokens: NDArray[np.str_]
    instance_categories: NDArray[np.str_]
    annotations: Annotations


def read_tables(folder: Path, workers: Workers = Workers()) -> Tables:  # noqa: B008 (frozen)
    """Reads and checks the tables of a version folder.

    Args:
        folder: Such as ``nuscenes/v1.0-mini``.
        workers: With two local processes, one reads the ego's poses and one the annotations.

    Raises:
        ForecastError: A table is missing, truncated or malformed; a token is repeated or not
            defined; a prev/next chain is broken; a position is not finite; a rotation is not a unit
            quaternion; a scene has no keyframe or no ego pose.
    """
    scenes = read_table(folder / "scene.json", _Scene)
    if not scenes:
        raise ForecastError(f"{folder / 'scene.json'}: no scene; at least one is needed")
    index_of(folder / "scene.json", [scene.name for scene in scenes], "name")
    keyframes = _read_keyframes(folder, scenes)
    tokens, categories = _read_instances(folder)
    halves: list[Callable[[], Any]] = [
        partial(_read_ego, folder, keyframes.tokens),
        partial(_read_annotations, folder, keyframes, tokens),
    ]
    (positions, headings, known), annotations = workers.each(halves)
    keyframes = replace(keyframes, ego_m=positions, ego_headings_rad=headings, has_ego=known)
    _refuse_lost_egos(folder, keyframes, scenes)
    return Tables(
        scene_names=[scene.name for scene in scenes],
        locations=_read_locations(folder, scenes),
        descriptions=[scene.description for scene in scenes],
        keyframes=keyframes,
        instance_tokens=np.array(tokens, np.str_),
        instance_categories=categories,
        annotations=annotations,
    )


def _read_locations(folder: Path, scenes: list[_Scene]) -> list[str]:
    path = folder / "log.json"
    logs = read_table(path, _Log)
    index = index_of(path, [log.token for log in logs])
    tokens = [scene.log_token for scene in scenes]
    rows = find(folder / "scene.json", "log_token", tokens, index, "log")
    return [logs[row].location for row in rows]


def _read_instances(folder: Path) -> tuple[list[str], NDArray[np.str_]]:
    """Returns the tokens and category names of the instances ``[I]``."""
    path = folder / "category.json"
    categories = read_table(path, _Category)
    index = index_of(path, [category.token for category in categories])
    path = folder / "instance.json"
    tokens, category_tokens = [], []
    for batch in read_rows(path, _Instance):
        tokens += [instance.token for instance in batch]
        category_tokens += [instance.category_token for instance in batch]
    index_of(path, tokens)
    rows = find(path, "category_token", category_tokens, index, "category")
    return tokens, np.array([category.name for category in categories], np.str_)[rows]


def _read_keyframes(folder: Path, scenes: list[_Scene]) -> Keyframes:
    path = folder / "sample.json"
    samples = read_table(path, _Sample)
    scene_index = index_of(folder / "scene.json", [scene.token for scene in scenes])
    scene = find(path, "scene_token", [s.scene_token for s in samples], scene_index, "scene")
    times = np.array([sample.timestamp for sample in samples], np.int64)
    links = {
        "token": as_bytes(sample.token for sample in samples),
        "prev": as_bytes(sample.prev for sample in samples),
        "next": as_bytes(sample.next for sample in samples),
    }
    order = time_order(path, "scene", links, scene, times)
    counts = np.bincount(scene, minlength=len(scenes))
    if not counts.all():
        empty = scenes[int(np.argmin(counts))].name
        raise ForecastError(f"{path}: {empty} has no sample; remove the scene or add its samples")
    count = len(samples)
    return Keyframes(
        np.array([samples[row].token for row in order], np.str_),
        times[order],
        ego_m=np.zeros((count, 2)),
        ego_headings_rad=np.zeros(count, np.float32),
        has_ego=np.zeros(count, bool),
        offsets=np.append(0, np.cumsum(counts)),
    )


def _refuse_lost_egos(folder: Path, keyframes: Keyframes, scenes: list[_Scene]) -> None:
    without = [s.name for i, s in enumerate(scenes) if not keyframes.has_ego[keyframes.of(i)].any()]
    if without:
        raise ForecastError(
            f"{folder / 'sample_data.json'}: {without[0]} has no LIDAR_TOP key frame; the ego's "
            "pose is read there: add them or remove the scene"
        )


def _read_ego(
    folder: Path, tokens: NDArray[np.str_]
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.bool_]]:
    """Returns the ego's position ``[N, 2]`` and heading ``[N]`` by keyframe, and where known."""
    keyframe, pose_tokens = _read_lidar_keyframes(folder, _rows_of(tokens))
    path = folder / "ego_pose.json"
    wanted = set(pose_tokens)
    poses = [p for batch in read_rows(path, _EgoPose) for p in batch if p.token in wanted]
    index = index_of(path, [pose.token for pose in poses])
    row = find(folder / "sample_data.json", "ego_pose_token", pose_tokens, index, "ego_pose")
    positions, headings = np.zeros((len(tokens), 2)), np.zeros(len(tokens), np.float32)
    known = np.zeros(len(tokens), bool)
    positions[keyframe] = np.array([pose.translation for pose in poses]).reshape(-1, 3)[row, :2]
    headings[keyframe] = _headings(path, poses)[row]
    known[keyframe] = True
    return positions, headings, known


def _rows_of(tokens: Iterable[str]) -> dict[str, int]:
    return {str(token): row for row, token in enumerate(tokens)}


def _read_lidar_keyframes(
    folder: Path, keyframe_index: Mapping[str, int]
) -> tuple[NDArray[np.int32], list[str]]:
    """Returns the keyframe and the ego pose token of each LIDAR_TOP key frame ``[N]``."""
    path = folder / "sample_data.json"
    lidar = _lidar_calibrations(folder)
    data = [
        row
        for batch in read_rows(path, _SampleData)
        for row in batch
        if row.is_key_frame and row.calibrated_sensor_token in lidar
    ]
    samples = [row.sample_token for row in data]
    refuse_repeats(path, "sample_token of LIDAR_TOP key frames", as_bytes(samples))
    keyframe = find(path, "sample_token", samples, keyframe_index, "sample")
    return keyframe, [row.ego_pose_token for row in data]


def _lidar_calibrations(folder: Path) -> set[str]:
    """Returns the tokens of the calibrated sensors whose channel is LIDAR_TOP."""
    sensors = read_table(folder / "sensor.json", _Sensor)
    lidar = {sensor.token for sensor in sensors if sensor.channel == "LIDAR_TOP"}
    calibrated = read_table(folder / "calibrated_sensor.json", _CalibratedSensor)
    return {sensor.token for sensor in calibrated if sensor.sensor_token in lidar}


def _read_annotations(folder: Path, keyframes: Keyframes, instances: Sequence[str]) -> Annotations:
    path = folder / "sample_annotation.json"
    keyframe_index, instance_index = _rows_of(keyframes.tokens), _rows_of(instances)
    parts = [
        _annotation_columns(path, batch, keyframe_index, instance_index)
        for batch in read_rows(path, _Annotation)
    ]
    if not parts:
        raise ForecastError(
            f"{path}: no annotation; pedestrians are needed (the official test set has none: "
            "use v1.0-trainval or v1.0-mini)"
        )
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    del parts
    times = keyframes.timestamps_us[columns["keyframe"]]
    order = time_order(path, "instance", columns, columns["instance"], times)
    scene = np.searchsorted(keyframes.offsets, columns["keyframe"][order], side="right") - 1
    by_scene = np.argsort(scene, kind="stable")
    order = order[by_scene]
    return Annotations(
        keyframes=columns["keyframe"][order],
        instances=columns["instance"][order],
        positions_m=columns["position"][order],
        headings_rad=columns["heading"][order],
        sizes_m=columns["size"][order],
        visibility=columns["visibility"][order],
        offsets=np.searchsorted(scene[by_scene], np.arange(len(keyframes.offsets))),
    )


def _annotation_columns(
    path: Path,
    batch: list[_Annotation],
    keyframe_index: Mapping[str, int],
    instance_index: Mapping[str, int],
) -> dict[str, NDArray[Any]]:
    samples = (row.sample_token for row in batch)
    instances = (row.instance_token for row in batch)
    visibility = (row.visibility_token for row in batch)
    sizes = np.array([row.size for row in batch], np.float32)
    return {
        "token": as_bytes(row.token for row in batch),
        "prev": as_bytes(row.prev for row in batch),
        "next": as_bytes(row.next for row in batch),
        "keyframe": find(path, "sample_token", samples, keyframe_index, "sample"),
        "instance": find(path, "instance_token", instances, instance_index, "instance"),
        "position": np.array([row.translation for row in batch])[:, :2],
        "heading": _headings(path, batch),
        "size": sizes[:, [1, 0, 2]],  # nuScenes gives width, length, height
        "visibility": find(path, "visibility_token", visibility, _VISIBILITY, "visibility").astype(
            np.int8
        ),
    }


def _headings(path: Path, rows: Sequence[_Annotation | _EgoPose]) -> NDArray[np.float32]:
    """Returns the yaw ``[N]`` of the rows' rotations (w, x, y, z). Refuses other quaternions."""
    rotation = np.array([row.rotation for row in rows]).reshape(-1, 4)
    norm = np.linalg.norm(rotation, axis=1)
    bad = np.flatnonzero(np.abs(norm - 1) > _QUATERNION_TOLERANCE)
    if len(bad):
        raise ForecastError(
            f"{path}: record '{rows[bad[0]].token}': rotation has norm {norm[bad[0]]:.4g}; "
            "a unit quaternion (w, x, y, z) is needed: normalise it"
        )
    w, x, y, z = rotation.T
    return np.arctan2(2 * (w * z + x * y), w**2 + x**2 - y**2 - z**2).astype(np.float32)
