"""The ego's pose at each keyframe: that of a key frame of one sensor channel.

Only the poses of sensor data are in the tables. Any channel can give them: official nuScenes sets
have ``LIDAR_TOP``, others have several lidars, another lidar, or cameras alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from forecast.datasets.nuscenes import rotations
from forecast.datasets.nuscenes.links import index_of, lost_link, rows_of
from forecast.datasets.nuscenes.rows import as_array, read_rows, read_table
from forecast.errors import ForecastError

_USUAL = ("LIDAR_TOP", "LIDAR_CONCAT")
"""Channels whose time is that of the sample: nuScenes and Lyft Level 5; T4."""

_NAMED = 6
"""Number of channels that a message names."""


class _Sensor(msgspec.Struct, gc=False):
    token: str
    channel: str
    modality: str | None = ""


class _CalibratedSensor(msgspec.Struct, gc=False):
    token: str
    sensor_token: str


class _SampleData(msgspec.Struct, gc=False):
    sample_token: str
    calibrated_sensor_token: str
    ego_pose_token: str | None = ""
    is_key_frame: bool | int = True


class _EgoPose(msgspec.Struct, gc=False):
    token: str
    translation: tuple[float, float, float | None]
    rotation: rotations.Quaternion | None = None


@dataclass(frozen=True, eq=False)
class EgoPoses:
    """The ego's poses at N keyframes.

    Attributes:
        channel: The channel that they belong to.
        others: The other channels of the dataset.
        positions_m: World positions ``[N, 2]``; 0 where unknown.
        headings_rad: Headings ``[N]``; 0 where the pose is unknown, NaN where it has no rotation.
        known: Where the pose is known ``[N]``.
        normalised: Where its rotation was nearly, but not quite a unit quaternion ``[N]``.
        faults: What is wrong at a keyframe, by its row.
    """

    channel: str
    others: list[str]
    positions_m: NDArray[np.float64]
    headings_rad: NDArray[np.float32]
    known: NDArray[np.bool_]
    normalised: NDArray[np.bool_]
    faults: dict[int, str]


def read_ego_poses(folder: Path, samples: Sequence[str], wanted: str | None) -> EgoPoses:
    """Reads the ego's poses.

    Args:
        folder: The version folder.
        samples: Sample tokens of the keyframes ``[N]``.
        wanted: The channel to use; None: ``LIDAR_TOP``, or else the only lidar, or else the lidar
            (or any channel, if there is no lidar) with the most key frames.

    Raises:
        ForecastError: A table is broken, or the channel or its key frames do not exist.
    """
    channels = _Channels.read(folder)
    channel, frames = _key_frames(folder / "sample_data.json", channels, wanted)
    keyframe, frames = _of_samples(folder / "sample_data.json", frames, samples)
    poses = _read_poses(folder, {frame.ego_pose_token for frame in frames})
    row = rows_of([frame.ego_pose_token for frame in frames], poses.index)
    several = np.flatnonzero(np.bincount(keyframe, minlength=len(samples)) > 1)
    keyframe, row = keyframe[row >= 0], row[row >= 0]
    broken = np.flatnonzero(rotations.broken(poses.norms[row]))
    placed = EgoPoses(
        channel=channel,
        others=sorted(set(channels.of_calibration.values()) - {channel}),
        positions_m=np.zeros((len(samples), 2)),
        headings_rad=np.zeros(len(samples), np.float32),
        known=np.zeros(len(samples), bool),
        normalised=np.zeros(len(samples), bool),
        faults={
            **{int(keyframe[at]): poses.refusal(int(row[at])) for at in broken},
            **{int(at): _several(folder, samples[at], channel) for at in several},
        },
    )
    placed.positions_m[keyframe] = poses.positions_m[row]
    placed.headings_rad[keyframe] = poses.headings_rad[row]
    placed.normalised[keyframe] = rotations.mended(poses.norms[row])
    placed.known[keyframe] = True
    return placed


def _of_samples(
    path: Path, frames: list[_SampleData], samples: Sequence[str]
) -> tuple[NDArray[np.int32], list[_SampleData]]:
    """Returns the key frames that belong to samples, and the row of the sample of each."""
    index = {token: row for row, token in enumerate(samples)}
    rows = rows_of([frame.sample_token for frame in frames], index)
    if (rows < 0).all():
        lost = lost_link(path, "sample_token", frames[0].sample_token, "sample")
        raise ForecastError(f"{lost}; the tables do not belong together: download them again")
    # Sensor data of a sample that does not exist belongs to no keyframe, so nothing is lost.
    return rows[rows >= 0], [frame for frame, row in zip(frames, rows, strict=True) if row >= 0]


def _several(folder: Path, sample: str, channel: str) -> str:
    return (
        f"{folder / 'sample_data.json'}: sample '{sample}' has several key frames of {channel}; "
        "one is needed: set is_key_frame to false in the others"
    )


@dataclass(frozen=True)
class _Channels:
    """The sensor channels of a dataset.

    Attributes:
        of_calibration: Channel of each calibrated sensor, by token.
        lidars: The channels that are lidars.
    """

    of_calibration: dict[str, str]
    lidars: frozenset[str]

    @classmethod
    def read(cls, folder: Path) -> _Channels:
        sensors = read_table(folder / "sensor.json", _Sensor)
        channel = {sensor.token: sensor.channel for sensor in sensors}
        calibrated = read_table(folder / "calibrated_sensor.json", _CalibratedSensor)
        return cls(
            {c.token: channel[c.sensor_token] for c in calibrated if c.sensor_token in channel},
            frozenset(sensor.channel for sensor in sensors if _is_lidar(sensor)),
        )

    def usual(self) -> str | None:
        """Returns the channel that needs no look at the sensor data; None if there is none."""
        there = sorted(set(self.of_calibration.values()))
        lidars = [channel for channel in there if channel in self.lidars]
        for choice in ([c for c in _USUAL if c in there], lidars, there):
            if len(choice) == 1 or choice[:1] == [_USUAL[0]]:
                return choice[0]
        return None


def _is_lidar(sensor: _Sensor) -> bool:
    return "lidar" in (sensor.modality or "", sensor.channel.split("_")[0].lower())


def _key_frames(
    path: Path, channels: _Channels, wanted: str | None
) -> tuple[str, list[_SampleData]]:
    """Returns the channel that gives the ego's poses, and its key frames, at least one."""
    there = sorted(set(channels.of_calibration.values()))
    if wanted is not None and wanted not in there:
        raise ForecastError(
            f"{path.with_name('sensor.json')}: no channel '{wanted}' with a calibrated sensor; "
            f"--ego-channel needs one of {', '.join(there)}"
        )
    channel = wanted or channels.usual()
    frames = [] if channel is None else _key_frames_of(path, channels, channel)
    if channel is not None and frames:
        return channel, frames
    counts = _key_frame_counts(path, channels)
    if not counts or wanted is not None:
        raise ForecastError(
            f"{path}: no key frame of {wanted or 'any channel'}; the ego's poses are read there: "
            f"{'--ego-channel needs one of ' + ', '.join(sorted(counts)) if counts else 'add them'}"
        )
    # `max` keeps the first of equal ones.
    channel = max(sorted(counts), key=lambda name: (name in channels.lidars, counts[name]))
    return channel, _key_frames_of(path, channels, channel)


def _key_frames_of(path: Path, channels: _Channels, channel: str) -> list[_SampleData]:
    calibrations = {token for token, name in channels.of_calibration.items() if name == channel}
    return [
        row
        for batch in read_rows(path, _SampleData)
        for row in batch
        if row.is_key_frame and row.calibrated_sensor_token in calibrations
    ]


def _key_frame_counts(path: Path, channels: _Channels) -> Counter[str]:
    """Returns the number of key frames of each channel that has one."""
    counts = Counter(
        row.calibrated_sensor_token
        for batch in read_rows(path, _SampleData)
        for row in batch
        if row.is_key_frame
    )
    by_channel = Counter[str]()
    for token, count in counts.items():
        if token in channels.of_calibration:
            by_channel[channels.of_calibration[token]] += count
    return by_channel


@dataclass(frozen=True, eq=False)
class _Poses:
    """Rows of the table of poses."""

    path: Path
    index: dict[str, int]
    positions_m: NDArray[np.float64]
    headings_rad: NDArray[np.float32]
    norms: NDArray[np.float32]

    def refusal(self, row: int) -> str:
        """Returns the words for a rotation that is none."""
        return rotations.refusal(self.path, list(self.index)[row], self.norms[row])


def _read_poses(folder: Path, wanted: set[str | None]) -> _Poses:
    path = folder / "ego_pose.json"
    poses = [pose for batch in read_rows(path, _EgoPose) for pose in batch if pose.token in wanted]
    positions = as_array([pose.translation for pose in poses], 3)[:, :2]
    turned = rotations.headings([pose.rotation for pose in poses])
    index = index_of(path, [pose.token for pose in poses])
    return _Poses(path, index, positions, turned[:, 0], turned[:, 1])
