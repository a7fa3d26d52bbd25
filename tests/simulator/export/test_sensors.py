import numpy as np
import pytest
from nuscenes import NuScenes

from forecast.datasets.nuscenes import NuScenesSource
from forecast.simulator import write_town
from forecast.simulator.export import sensors
from tests.simulator.conftest import SEED


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    out = tmp_path_factory.mktemp("full") / "town"
    write_town(out, scenes=1, seed=SEED, full_rate=True)
    return out


def test_all_sensors_record_at_their_rates_and_the_devkit_opens_it(full):
    nusc = NuScenes("v1.0-town", str(full), verbose=False)
    assert len(nusc.sensor) == 12
    assert len(nusc.sample_data) == len(nusc.ego_pose) == 401 + 6 * 241 + 5 * 261
    for sample in nusc.sample:
        assert set(sample["data"]) == {s.channel for s in sensors.FULL_RATE}
        for token in sample["data"].values():
            record = nusc.get("sample_data", token)
            assert abs(record["timestamp"] - sample["timestamp"]) < 40_000
            assert (
                nusc.get("ego_pose", record["ego_pose_token"])["timestamp"] == (record["timestamp"])
            )


def test_each_channel_is_one_chain_in_time(full):
    nusc = NuScenes("v1.0-town", str(full), verbose=False)
    for channel in ("LIDAR_TOP", "CAM_BACK", "RADAR_FRONT"):
        rows = [row for row in nusc.sample_data if row["channel"] == channel]
        assert (np.diff([row["timestamp"] for row in rows]) > 0).all()
        assert [row["next"] for row in rows] == [*(row["token"] for row in rows[1:]), ""]
        assert [row["prev"] for row in rows] == ["", *(row["token"] for row in rows[:-1])]
        assert sum(row["is_key_frame"] for row in rows) == 41


def test_the_scenes_are_those_of_the_small_town(full, town):
    first, second = (NuScenesSource(root, "v1.0-town").read("town-0001")[0]
                     for root in (full, town))  # fmt: skip
    assert np.array_equal(first.tracks.positions_m, second.tracks.positions_m)
    assert np.array_equal(first.timestamps_us, second.timestamps_us)


def test_ego_poses_between_the_steps_are_interpolated():
    track = np.array([[0.0, 0.0, 3.1], [1.0, 2.0, -3.1]])
    sensor = sensors.Sensor("RADAR_FRONT", "radar", 8.0, "pcd")
    data, poses = sensors.recorded_rows(sensor, "r", "town-0001", ["a", "b"], 1000, track)
    assert [row["sample_token"] for row in data] == ["a", "b", "b", "b", "b"]
    assert [row["is_key_frame"] for row in data] == [True, False, False, False, True]
    assert [row["timestamp"] for row in data] == [1000, 126000, 251000, 376000, 501000]
    assert poses[1]["translation"] == pytest.approx([0.25, 0.5, 0.0])
    turn = 2 * np.arctan2(poses[2]["rotation"][3], poses[2]["rotation"][0])
    assert abs(turn) == pytest.approx(np.pi)
