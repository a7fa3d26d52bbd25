import pickle

import numpy as np
import pytest

from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.nuscenes.tables import TABLE_NAMES
from forecast.errors import ForecastError

VERSION = "v1.0-tiny"


def source_of(tiny, **options) -> NuScenesSource:
    return NuScenesSource(tiny.root, VERSION, **options)


def refusal(tiny, version=VERSION) -> str:
    with pytest.raises(ForecastError) as caught:
        NuScenesSource(tiny.root, version)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_scene(tiny):
    source = source_of(tiny)
    assert source.scene_names() == ["scene-0061", "scene-0103"]
    scene, dropped = source.read("scene-0061")
    assert (scene.id, scene.location, scene.description) == ("scene-0061", "boston-seaport", "Rain")
    assert scene.dt_s == source.dt_s == 0.5
    assert list(scene.origin_m) == [1000, 500]
    assert scene.origin_m.dtype == np.float64
    assert list(scene.frame_ids) == [f"sample-a{i}" for i in range(5)]
    assert list(scene.timestamps_us) == [1_532_000_000_000_000 + 500_000 * i for i in range(5)]
    assert dropped == {
        "keyframe_without_ego_pose": 0,
        "lane_without_path": 1,
        "lane_link_to_no_lane": 1,
    }
    assert list(source.read("scene-0103")[0].tracks.agent_ids) == ["ego", "walker", "cone"]


def test_the_map_reaches_120_m_beyond_the_ego_s_path(tiny):
    lane_map = source_of(tiny).read("scene-0061")[0].lane_map
    ground = lane_map.drivable_area[0][0]
    np.testing.assert_allclose(ground.min(axis=0), [0.25 - 120, -120])
    np.testing.assert_allclose(ground.max(axis=0), [8.25 + 120, 120])


def test_a_keyframe_without_ego_pose_is_counted(tiny):
    tiny.edit("sample_data", lambda rows: rows[3].update(is_key_frame=False))
    assert source_of(tiny).read("scene-0061")[1]["keyframe_without_ego_pose"] == 1


def test_a_missing_keyframe_is_a_gap(tiny):
    """The third of 5 keyframes is gone: the chain leads past it, time does not."""

    def skip(rows):
        for row in [row for row in rows if "a2" in row["token"] or row["token"] == "ped-2"]:
            rows.remove(row)
        for row in rows:
            row["next"] = {"sample-a2": "sample-a3", "ped-2": "ped-3"}.get(row["next"], row["next"])
            row["prev"] = {"sample-a2": "sample-a1", "ped-2": "ped-1"}.get(row["prev"], row["prev"])

    def skip_car(rows):
        skip(rows)
        rows[:] = [row for row in rows if row["instance_token"] != "car"]

    tiny.edit("sample", skip)
    tiny.edit("sample_annotation", skip_car)
    tiny.edit("sample_data", lambda rows: rows.__delitem__(slice(6, 9)))
    scene, _ = source_of(tiny).read("scene-0061")
    assert list(scene.frame_ids) == ["sample-a0", "sample-a1", "", "sample-a3", "sample-a4"]
    assert scene.tracks.valid.tolist() == [[True, True, False, True, True]] * 2
    np.testing.assert_array_equal(scene.tracks.positions_m[1, 3], [1.5, 5])
    np.testing.assert_array_equal(scene.tracks.positions_m[:, 2], 0)
    assert scene.timestamps_us[2] - scene.timestamps_us[0] == 1_000_000


def test_future_frames_do_not_change_past_steps(tiny):
    before = source_of(tiny).read("scene-0061")[0]

    def change(rows):
        for row in rows:
            if row["sample_token"] in ("sample-a3", "sample-a4"):
                row.update(translation=[7.0, 7.0, 7.0], size=[9, 9, 9], rotation=[0, 0, 0, 1])
                row["visibility_token"] = "4"

    tiny.edit("sample_annotation", change)
    after = source_of(tiny).read("scene-0061")[0]
    assert not np.array_equal(before.tracks.positions_m, after.tracks.positions_m)
    past, same = before.between(0, 3), after.between(0, 3)
    for name in ("positions_m", "headings_rad", "sizes_m", "valid", "visibility", "agent_ids"):
        np.testing.assert_array_equal(getattr(past.tracks, name), getattr(same.tracks, name))
    np.testing.assert_array_equal(past.origin_m, same.origin_m)
    np.testing.assert_array_equal(
        past.lane_map.drivable_area.rings.points_m, same.lane_map.drivable_area.rings.points_m
    )


def test_without_a_map(tiny, recwarn):
    tiny.path("map").unlink()
    scene, dropped = source_of(tiny, with_map=False).read("scene-0061")
    assert scene.lane_map is None
    assert dropped == {"keyframe_without_ego_pose": 0}
    assert not recwarn.list
    assert "no map of location 'boston-seaport'; download 'Map expansion pack" in refusal(tiny)


def test_a_pickled_source_reads_the_same(tiny):
    source = source_of(tiny)
    scene, _ = source.read("scene-0103")
    copy = pickle.loads(pickle.dumps(source))
    again, _ = copy.read("scene-0103")
    np.testing.assert_array_equal(scene.tracks.positions_m, again.tracks.positions_m)
    np.testing.assert_array_equal(
        scene.lane_map.centerlines.points_m, again.lane_map.centerlines.points_m
    )
    assert copy.fingerprint() == source.fingerprint()


def test_the_fingerprint_covers_every_file(tiny):
    fingerprints = [source_of(tiny).fingerprint(), source_of(tiny, with_map=False).fingerprint()]
    for table in (*TABLE_NAMES, "map"):
        path = tiny.path(table)
        path.write_bytes(path.read_bytes() + b"\n")
        fingerprints.append(source_of(tiny).fingerprint())
    tiny.path("splits").write_text("{}")
    fingerprints.append(source_of(tiny).fingerprint())
    assert len(set(fingerprints)) == len(TABLE_NAMES) + 4
    assert all(len(f) == 64 and int(f, 16) >= 0 for f in fingerprints)
    assert fingerprints[-1] == source_of(tiny).fingerprint()


def test_splits_of_the_version_folder(tiny):
    tiny.path("splits").write_text('{"mine": ["scene-0103", "elsewhere"]}')
    splits = source_of(tiny).splits()
    assert splits["mine"] == splits["mini_val"] == ["scene-0103"]
    assert splits["mini_train"] == ["scene-0061"]


def test_a_version_that_is_not_there_lists_those_that_are(tiny):
    expected = f"{tiny.root}: version 'v1.0-trainval' is not there; found v1.0-tiny: give one of"
    assert expected in refusal(tiny, "v1.0-trainval")
    assert "version '' is not there" in refusal(tiny, "")
    with pytest.raises(ForecastError, match="no such folder; give the nuScenes folder as"):
        NuScenesSource(tiny.root / "nowhere", VERSION)


def test_an_unknown_scene_is_refused(tiny):
    with pytest.raises(
        ForecastError, match=r"scene 'scene-9' is not in .*; it holds 2 scenes, such"
    ):
        source_of(tiny).read("scene-9")


def test_an_unknown_category_in_use_is_refused(tiny):
    robot = {"token": "robot", "name": "robot.delivery"}
    tiny.edit("category", lambda rows: rows.append(robot))
    source_of(tiny)  # lidarseg's extra categories annotate no box
    tiny.edit("instance", lambda rows: rows[3].update(category_token="robot"))
    assert "category 'robot.delivery' is unknown; it must start with one of human.ped" in refusal(
        tiny
    )


def test_a_dataset_without_pedestrians_is_refused(tiny):
    def only_cars(rows):
        for row in rows:
            row["name"] = "vehicle.car"

    tiny.edit("category", only_cars)
    assert "no pedestrian is annotated; at least one instance of a category human." in refusal(tiny)
