import numpy as np
import pytest

from forecast.datasets.nuscenes.ego_poses import read_ego_poses
from forecast.errors import ForecastError

SAMPLES = [f"sample-{scene}{i}" for scene in "ab" for i in range(5)]


def poses_of(tiny, channel=None):
    return read_ego_poses(tiny.path("scene").parent, SAMPLES, channel)


def refusal(tiny, channel=None) -> str:
    with pytest.raises(ForecastError) as caught:
        poses_of(tiny, channel)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rename(tiny, **channels: str) -> None:
    """Gives the sensors ``lidar`` and ``camera`` other channels."""

    def change(rows):
        for row in rows:
            row["channel"] = channels.get(row["token"], row["channel"])

    tiny.edit("sensor", change)


def add_sensor(tiny, token: str, channel: str, **values: str) -> None:
    tiny.edit("sensor", lambda rows: rows.append({"token": token, "channel": channel, **values}))
    calibrated = {"token": f"calibrated-{token}", "sensor_token": token}
    tiny.edit("calibrated_sensor", lambda rows: rows.append(calibrated))


def add_key_frames(tiny, sensor: str, count: int) -> None:
    """Gives the first samples key frames of another sensor, with the lidar's poses."""

    def change(rows):
        for row in [row for row in rows if row["calibrated_sensor_token"] == "calibrated-lidar"]:
            if row["is_key_frame"] and row["sample_token"] in SAMPLES[:count]:
                rows.append({**row, "calibrated_sensor_token": f"calibrated-{sensor}"})

    tiny.edit("sample_data", change)


def test_lidar_top_gives_the_poses(tiny):
    poses = poses_of(tiny)
    assert (poses.channel, poses.others) == ("LIDAR_TOP", ["CAM_FRONT"])
    np.testing.assert_array_equal(poses.positions_m[:, 0], 1000.25 + 2 * np.tile(np.arange(5), 2))
    assert poses.known.all()
    assert poses.faults == {}


@pytest.mark.parametrize("channel", ["LIDAR_CONCAT", "LIDAR_LEFT", "VELODYNE"])
def test_the_only_lidar_gives_the_poses(tiny, channel):
    rename(tiny, lidar=channel)
    tiny.edit("sensor", lambda rows: rows[0].update(modality="lidar"))
    assert poses_of(tiny).channel == channel
    assert poses_of(tiny).known.all()


def test_the_lidar_with_the_most_key_frames_gives_the_poses(tiny):
    rename(tiny, lidar="LIDAR_RIGHT")
    add_sensor(tiny, "left", "LIDAR_LEFT")
    assert poses_of(tiny).channel == "LIDAR_RIGHT"  # the camera has as many, the left one has none
    add_key_frames(tiny, "left", 9)
    assert poses_of(tiny).channel == "LIDAR_RIGHT"
    tiny.edit("sample_data", lambda rows: rows[0].update(is_key_frame=False))
    add_sensor(tiny, "front", "LIDAR_FRONT")
    add_key_frames(tiny, "front", 10)
    assert poses_of(tiny).channel == "LIDAR_FRONT"  # of equal ones the first by name
    assert poses_of(tiny).others == ["CAM_FRONT", "LIDAR_LEFT", "LIDAR_RIGHT"]


def test_cameras_give_the_poses_where_there_is_no_lidar(tiny):
    tiny.edit("sensor", lambda rows: rows.pop(0))
    poses = poses_of(tiny)
    assert poses.channel == "CAM_FRONT"
    np.testing.assert_array_equal(poses.positions_m[:, 0], -1)


def test_a_lidar_top_without_key_frames_is_not_used(tiny):
    rename(tiny, lidar="LIDAR_TOP_FRONT")
    add_sensor(tiny, "top", "LIDAR_TOP")
    assert poses_of(tiny).channel == "LIDAR_TOP_FRONT"


def test_the_wanted_channel_gives_the_poses(tiny):
    assert poses_of(tiny, "CAM_FRONT").channel == "CAM_FRONT"
    np.testing.assert_array_equal(poses_of(tiny, "CAM_FRONT").positions_m[:, 0], -1)


def test_a_channel_that_does_not_exist_is_refused_with_those_that_do(tiny):
    expected = "no channel 'LIDAR' with a calibrated sensor; --ego-channel needs one of CAM_FRONT, "
    assert refusal(tiny, "LIDAR") == f"{tiny.path('sensor')}: {expected}LIDAR_TOP"


def test_a_channel_without_key_frames_is_refused_with_those_that_have_some(tiny):
    add_sensor(tiny, "radar", "RADAR_FRONT", modality="radar")
    expected = "no key frame of RADAR_FRONT; the ego's poses are read there: --ego-channel needs "
    assert f"{expected}one of CAM_FRONT, LIDAR_TOP" in refusal(tiny, "RADAR_FRONT")


def test_tables_without_any_key_frame_are_refused(tiny):
    path = tiny.edit("sample_data", lambda rows: rows.clear())
    expected = f"{path}: no key frame of any channel; the ego's poses are read there: add them"
    assert refusal(tiny) == expected


@pytest.mark.parametrize("flag", [1, None])
def test_key_frames_may_be_marked_by_1_or_not_at_all(tiny, flag):
    """T4: every record belongs to a key frame."""

    def change(rows):
        rows[:] = [row for row in rows if row["is_key_frame"]]
        for row in rows:
            del row["is_key_frame"]
            if flag is not None:
                row["is_key_frame"] = flag

    tiny.edit("sample_data", change)
    assert poses_of(tiny).known.all()


def test_a_pose_that_does_not_exist_is_unknown(tiny):
    tiny.edit("sample_data", lambda rows: rows[0].update(ego_pose_token="lost"))
    tiny.edit("sample_data", lambda rows: rows[3].update(ego_pose_token=None))
    assert list(np.flatnonzero(~poses_of(tiny).known)) == [0, 1]


def test_sensor_data_of_a_sample_that_does_not_exist_does_not_matter(tiny):
    tiny.edit("sample_data", lambda rows: rows[0].update(sample_token="lost"))
    assert list(np.flatnonzero(~poses_of(tiny).known)) == [0]


def test_several_records_may_share_a_pose(tiny):
    def change(rows):
        rows[3]["ego_pose_token"] = rows[0]["ego_pose_token"]

    tiny.edit("sample_data", change)
    np.testing.assert_array_equal(poses_of(tiny).positions_m[:3, 0], [1000.25, 1000.25, 1004.25])
