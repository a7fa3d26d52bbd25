"""Reads the nuScenes tables into columns: only what scenes need, one read per table.

Schema: https://www.nuscenes.org/nuscenes#data-format. The files of the sensors are not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from forecast.datasets.nuscenes import rotations
from forecast.datasets.nuscenes.ego_poses import EgoPoses, read_ego_poses
from forecast.datasets.nuscenes.links import (
    as_bytes,
    find,
    index_of,
    lost_link,
    refuse_repeats,
    rows_of,
)
from forecast.datasets.nuscenes.rows import as_array, read_rows, read_table
from forecast.datasets.time_grid import require_microseconds
from forecast.errors import ForecastError
from forecast.parallel import Workers
from forecast.scene.agents import Decision

TABLE_NAMES = (
    "scene",
    "sample",
    "sample_data",
    "calibrated_sensor",
    "sensor",
    "ego_pose",
    "category",
    "instance",
    "sample_annotation",
)
"""The tables that are needed."""

OPTIONAL_TABLE_NAMES = ("log", "visibility", "decision")
"""The tables that are read if they are there. Only maps need ``log.json``. The simulated city has
``decision.json``, which nuScenes does not have: what each pedestrian has decided."""

_LEVELS = {
    "v0-40": 1,
    "v40-60": 2,
    "v60-80": 3,
    "v80-100": 4,
    # T4's words, which its devkit takes for the same bins
    "none": 1,
    "partial": 2,
    "most": 3,
    "full": 4,
    **{str(level): level for level in (1, 2, 3, 4)},
}
"""Visibility bins by the name of their level."""

_UNKNOWN_SIZE = (np.nan, np.nan, np.nan)

_INT64 = msgspec.Meta(ge=-(2**62), le=2**62)
_DECISION = msgspec.Meta(ge=int(min(Decision)), le=int(max(Decision)))
_Size = tuple[float | None, float | None, float | None]
_Token = str | int | float | None
"""A token of visibility. Some writers make numbers of "1" to "4"."""


class _Scene(msgspec.Struct, gc=False):
    token: str
    name: str
    log_token: str | None = ""
    description: str | None = ""


class _Log(msgspec.Struct, gc=False):
    token: str
    location: str | None = ""


class _Sample(msgspec.Struct, gc=False):
    token: str
    timestamp: Annotated[int, _INT64] | Annotated[float, _INT64]
    scene_token: str


class _Instance(msgspec.Struct, gc=False):
    token: str
    category_token: str


class _Category(msgspec.Struct, gc=False):
    token: str
    name: str


class _Visibility(msgspec.Struct, gc=False):
    token: _Token
    level: _Token = None


class _Annotation(msgspec.Struct, gc=False):
    token: str
    sample_token: str
    instance_token: str
    translation: tuple[float | None, float | None, float | None]
    size: _Size | None = None
    rotation: rotations.Quaternion | None = None
    visibility_token: _Token = None


class _Decision(msgspec.Struct, gc=False):
    instance_token: str
    decisions: list[Annotated[int, _DECISION]]


@dataclass(frozen=True, eq=False)
class Keyframes:
    """The keyframes of all scenes with the ego's poses, sorted by scene, then time.

    Attributes:
        tokens: Sample tokens ``[N]``.
        timestamps_us: Times ``[N]``.
        ego_m: World positions of the ego ``[N, 2]``; 0 where unknown.
        ego_headings_rad: Headings ``[N]``; 0 where the pose is unknown, NaN without a rotation.
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

    def scene_of(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """The scenes of some rows ``[R]``; -1 for row -1."""
        return np.searchsorted(self.offsets, rows, side="right") - 1


@dataclass(frozen=True, eq=False)
class Annotations:
    """The annotated boxes of all scenes, sorted by scene, instance, then time.

    Attributes:
        keyframes: Row of `Keyframes` ``[M]``.
        instances: Row of the instance table ``[M]``.
        positions_m: World positions of the centres ``[M, 2]``.
        headings_rad: Headings ``[M]``, NaN where there is no rotation.
        sizes_m: Length, width, height ``[M, 3]``, as written.
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
        locations: City of each scene, "" where unknown.
        descriptions: Free text of each scene.
        keyframes: Keyframes and ego poses.
        instance_tokens: Instance tokens ``[I]``, in the table's order.
        instance_categories: Category names ``[I]``.
        annotations: Annotated boxes.
        ego_channel: Channel of the ego's poses.
        other_channels: The other channels.
        faults: Why a scene cannot be used, by its row.
        counts: Number of dropped and mended records of each scene ``[S]``, by reason.
        decisions: `Decision` values of a pedestrian at the keyframes of its scene, by the instance
            token.
    """

    scene_names: list[str]
    locations: list[str]
    descriptions: list[str]
    keyframes: Keyframes
    instance_tokens: NDArray[np.str_]
    instance_categories: NDArray[np.str_]
    annotations: Annotations
    ego_channel: str
    other_channels: list[str]
    faults: dict[int, str]
    counts: dict[str, NDArray[np.int64]]
    decisions: dict[str, list[int]]


def read_tables(
    folder: Path,
    workers: Workers = Workers(),  # noqa: B008 (frozen)
    ego_channel: str | None = None,
) -> Tables:
    """Reads and checks the tables of a version folder.

    What is wrong in one scene alone is a fault of that scene. Anything else is refused.

    Args:
        folder: Such as ``nuscenes/v1.0-mini``.
        workers: With two local processes, one reads the ego's poses and one the annotations.
        ego_channel: Channel of the ego's poses; see `read_ego_poses`.

    Raises:
        ForecastError: A table is missing, truncated or malformed; a token is repeated or not
            defined; a position is not finite; there is no key frame of the ego's channel.
    """
    path = folder / "scene.json"
    scenes = read_table(path, _Scene)
    if not scenes:
        raise ForecastError(f"{path}: no scene; at least one is needed")
    index_of(path, [scene.name for scene in scenes], "name")
    keyframes, faults = _read_keyframes(folder, scenes)
    tokens, categories = _read_instances(folder)
    halves: list[Callable[[], Any]] = [
        partial(read_ego_poses, folder, keyframes.tokens.tolist(), ego_channel),
        partial(_read_annotations, folder, keyframes, tokens),
    ]
    ego, (annotations, more_faults, counts) = workers.each(halves)
    counts["rotation_normalised"] += _per_scene(keyframes, ego.normalised)
    counts["heading_from_motion"] += _per_scene(keyframes, np.isnan(ego.headings_rad))
    return Tables(
        scene_names=[scene.name for scene in scenes],
        locations=_read_locations(folder, scenes),
        descriptions=[scene.description or "" for scene in scenes],
        keyframes=replace(
            keyframes, ego_m=ego.positions_m, ego_headings_rad=ego.headings_rad, has_ego=ego.known
        ),
        instance_tokens=np.array(tokens, np.str_),
        instance_categories=categories,
        annotations=annotations,
        ego_channel=ego.channel,
        other_channels=ego.others,
        faults={**more_faults, **_ego_faults(folder, keyframes, ego), **faults},
        counts=counts,
        decisions=_read_decisions(folder),
    )


def _ego_faults(folder: Path, keyframes: Keyframes, ego: EgoPoses) -> dict[int, str]:
    scenes = keyframes.scene_of(np.array(sorted(ego.faults), np.int64))
    # Reversed, so that the first fault of a scene is the one that stays.
    broken = dict(zip(scenes[::-1].tolist(), sorted(ego.faults)[::-1], strict=True))
    faults = {scene: ego.faults[keyframe] for scene, keyframe in broken.items()}
    for scene in range(len(keyframes.offsets) - 1):
        if not ego.known[keyframes.of(scene)].any():
            faults[scene] = (
                f"{folder / 'sample_data.json'}: no key frame of {ego.channel} with a pose in "
                "ego_pose.json; the ego's pose is needed: add them"
            )
    return faults


def _read_locations(folder: Path, scenes: list[_Scene]) -> list[str]:
    """Returns the city of each scene, "" where it is unknown: T4 and TruckScenes have none."""
    path = folder / "log.json"
    logs = read_table(path, _Log) if path.exists() else []
    index = index_of(path, [log.token for log in logs])
    rows = rows_of([scene.log_token for scene in scenes], index)
    return [(logs[row].location or "") if row >= 0 else "" for row in rows]


def _read_decisions(folder: Path) -> dict[str, list[int]]:
    """Returns what the pedestrians of a simulator decided at each keyframe, by instance token."""
    path = folder / "decision.json"
    rows = read_rows(path, _Decision) if path.exists() else []
    return {row.instance_token: row.decisions for batch in rows for row in batch}


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


def _read_keyframes(folder: Path, scenes: list[_Scene]) -> tuple[Keyframes, dict[int, str]]:
    """Returns the keyframes without ego poses, and the faults of scenes. Time alone orders them."""
    path = folder / "sample.json"
    samples = read_table(path, _Sample)
    scene_index = index_of(folder / "scene.json", [scene.token for scene in scenes])
    scene = find(path, "scene_token", [s.scene_token for s in samples], scene_index, "scene")
    index_of(path, [sample.token for sample in samples])
    times = np.array([sample.timestamp for sample in samples], np.float64)
    order = np.lexsort((times, scene))
    times, count = times[order], len(samples)
    counts = np.bincount(scene, minlength=len(scenes))
    keyframes = Keyframes(
        np.array([samples[row].token for row in order], np.str_),
        np.round(times).astype(np.int64),
        ego_m=np.zeros((count, 2)),
        ego_headings_rad=np.zeros(count, np.float32),
        has_ego=np.zeros(count, bool),
        offsets=np.append(0, np.cumsum(counts)),
    )
    return keyframes, dict(_time_faults(path, keyframes, times))


def _time_faults(
    path: Path, keyframes: Keyframes, times_us: NDArray[np.float64]
) -> Iterator[tuple[int, str]]:
    """Yields scenes without keyframes, in other units, or with two keyframes at one time."""
    for scene in range(len(keyframes.offsets) - 1):
        rows = keyframes.of(scene)
        if rows.start == rows.stop:
            yield scene, f"{path}: no sample of the scene; add them or remove the scene"
            continue
        intervals = np.diff(times_us[rows])
        usual = np.median(intervals) if len(intervals) else 0.0
        if len(intervals) and intervals.any():
            # Rounded to whole seconds, most intervals are 0; their mean still tells the unit.
            try:
                require_microseconds(str(path), float(usual or intervals.mean()) / 1e6)
            except ForecastError as error:
                yield scene, str(error)
                continue
        tie = np.flatnonzero(np.diff(keyframes.timestamps_us[rows]) == 0)
        if len(tie):
            one, two = keyframes.tokens[rows][tie[0] : tie[0] + 2]
            yield scene, f"{path}: samples '{one}' and '{two}' have the same time; remove one"


def _per_scene(keyframes: Keyframes, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns how many keyframes of each scene are chosen ``[S]``."""
    scenes = keyframes.scene_of(np.flatnonzero(chosen))
    return np.bincount(scenes, minlength=len(keyframes.offsets) - 1)


def _read_annotations(
    folder: Path, keyframes: Keyframes, instances: Sequence[str]
) -> tuple[Annotations, dict[int, str], dict[str, NDArray[np.int64]]]:
    """Returns the boxes, the faults of scenes, and counts of dropped and mended records."""
    path = folder / "sample_annotation.json"
    columns, lost = _annotation_columns(folder, keyframes, instances)
    refuse_repeats(path, "token", columns["token"])
    scene = _scenes_of_annotations(columns, lost, keyframes, len(instances))
    scenes = len(keyframes.offsets) - 1
    counted = {
        "annotation_without_sample": columns["keyframe"] < 0,
        "rotation_normalised": rotations.mended(columns["norm"]),
        "heading_from_motion": np.isnan(columns["norm"]),
        "visibility_unknown": columns["visibility"] < 0,
    }
    counts = {why: np.bincount(scene[rows], minlength=scenes) for why, rows in counted.items()}
    kept = np.flatnonzero(columns["keyframe"] >= 0)
    order = kept[np.lexsort((columns["keyframe"][kept], columns["instance"][kept], scene[kept]))]
    columns, scene = {name: values[order] for name, values in columns.items()}, scene[order]
    boxes = Annotations(
        keyframes=columns["keyframe"],
        instances=columns["instance"],
        positions_m=columns["position"],
        headings_rad=columns["heading"],
        sizes_m=columns["size"],
        visibility=np.maximum(columns["visibility"], 0),
        offsets=np.searchsorted(scene, np.arange(scenes + 1)),
    )
    faults = _annotation_faults(path, columns, lost)
    return boxes, {int(scene[row]): words for row, words in faults}, counts


def _annotation_columns(
    folder: Path, keyframes: Keyframes, instances: Sequence[str]
) -> tuple[dict[str, NDArray[Any]], dict[bytes, str]]:
    """Returns columns ``[M]``, and the words for links to records that do not exist, by token.

    Such a link is -1 in the columns.
    """
    path = folder / "sample_annotation.json"
    index = {
        "sample": {token: row for row, token in enumerate(keyframes.tokens.tolist())},
        "instance": {token: row for row, token in enumerate(instances)},
    }
    levels = _visibility_levels(folder)
    parts, lost = [], dict[bytes, str]()
    for batch in read_rows(path, _Annotation):
        part = _batch_columns(batch, index, levels)
        parts.append(part)
        for row in np.flatnonzero((part["keyframe"] < 0) | (part["instance"] < 0)):
            table = "sample" if part["keyframe"][row] < 0 else "instance"
            link = f"{table}_token"
            words = lost_link(path, link, getattr(batch[row], link), table)
            lost[bytes(part["token"][row])] = words
    if not parts:
        raise ForecastError(
            f"{path}: no annotation; pedestrians are needed (the official test set has none: "
            "use v1.0-trainval or v1.0-mini)"
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, lost


def _batch_columns(
    batch: list[_Annotation],
    index: Mapping[str, Mapping[str, int]],
    levels: Mapping[_Token, int],
) -> dict[str, NDArray[Any]]:
    turned = rotations.headings([row.rotation for row in batch])
    sizes = as_array([row.size or _UNKNOWN_SIZE for row in batch], 3).astype(np.float32)
    visibility = (levels.get(row.visibility_token, -1) for row in batch)
    return {
        "token": as_bytes(row.token for row in batch),
        "keyframe": rows_of([row.sample_token for row in batch], index["sample"]),
        "instance": rows_of([row.instance_token for row in batch], index["instance"]),
        "position": as_array([row.translation for row in batch], 3)[:, :2],
        "heading": turned[:, 0],
        "norm": turned[:, 1],
        "size": sizes[:, [1, 0, 2]],  # nuScenes gives width, length, height
        "visibility": np.fromiter(visibility, np.int8, len(batch)),
    }


def _visibility_levels(folder: Path) -> dict[_Token, int]:
    """Returns the visibility bin of each token, 0 for levels that say nothing."""
    path = folder / "visibility.json"
    rows = read_table(path, _Visibility) if path.exists() else []
    levels: dict[_Token, int] = {
        row.token: 0 if row.level is None else _LEVELS.get(str(row.level).lower(), 0)
        for row in rows
    }
    if not levels:
        levels = {str(level): level for level in (1, 2, 3, 4)}  # nuScenes' own tokens
    for token, level in list(levels.items()):  # "1" and 1 are the same
        levels[int(token) if isinstance(token, str) and token.isdecimal() else str(token)] = level
    return {**levels, None: 0, "": 0, "0": 0}


def _scenes_of_annotations(
    columns: dict[str, NDArray[Any]],
    lost: Mapping[bytes, str],
    keyframes: Keyframes,
    instances: int,
) -> NDArray[np.int64]:
    """Returns the scene of each annotation ``[M]``; through its instance if it has no sample."""
    scene, instance = keyframes.scene_of(columns["keyframe"]), columns["instance"]
    orphan = columns["keyframe"] < 0
    if orphan.any():
        of_instance = np.full(instances + 1, -1)  # the last one is for instance -1
        placed = ~orphan & (instance >= 0)
        of_instance[instance[placed]] = scene[placed]
        scene[orphan] = of_instance[instance[orphan]]
        if len(empty := np.flatnonzero(np.diff(keyframes.offsets) == 0)):
            scene[scene < 0] = empty[0]  # they are those of a scene whose samples are missing
        nowhere = np.flatnonzero(scene < 0)
        if len(nowhere):
            words = lost[bytes(columns["token"][nowhere[0]])]
            raise ForecastError(f"{words}; the tables do not belong together: download them again")
    return scene


def _annotation_faults(
    path: Path, columns: Mapping[str, NDArray[Any]], lost: Mapping[bytes, str]
) -> Iterator[tuple[int, str]]:
    """Yields rows of the sorted columns that are wrong, and what is wrong there."""
    token, instance, keyframe = (columns[name] for name in ("token", "instance", "keyframe"))
    for row in np.flatnonzero(~np.isfinite(columns["position"]).all(axis=1)):
        yield (
            row,
            f"{path}: record '{token[row].decode()}': translation is not finite; three numbers are "
            "needed: repair the record",
        )
    for row in np.flatnonzero(rotations.broken(columns["norm"])):
        yield row, rotations.refusal(path, token[row].decode(), columns["norm"][row])
    for row in np.flatnonzero((np.diff(instance) == 0) & (np.diff(keyframe) == 0)):
        yield (
            row,
            f"{path}: records '{token[row].decode()}' and '{token[row + 1].decode()}' of one "
            "instance are in the same sample; remove one",
        )
    for row in np.flatnonzero(instance < 0):
        yield row, lost[bytes(token[row])]
