import pickle

import numpy as np
import pytest

from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.nuscenes.tables import OPTIONAL_TABLE_NAMES, TABLE_NAMES
from forecast.datasets.store import prepare
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
    tables = (*TABLE_NAMES, *OPTIONAL_TABLE_NAMES, "map")
    fingerprints = [source_of(tiny).fingerprint(), source_of(tiny, with_map=False).fingerprint()]
    for table in tables:
        path = tiny.path(table)
        content = path.read_bytes() if path.exists() else b"[]"  # of the simulated city alone
        path.write_bytes(content + b"\n")
        fingerprints.append(source_of(tiny).fingerprint())
    tiny.path("splits").write_text("{}")
    fingerprints.append(source_of(tiny).fingerprint())
    for options in ({"ego_channel": "CAM_FRONT"}, {"categories": tiny.root / "categories.yaml"}):
        (tiny.root / "categories.yaml").write_text("animal: ignore")
        fingerprints.append(source_of(tiny, **options).fingerprint())
    fingerprints.append(source_of(tiny).fingerprint())
    assert len(set(fingerprints)) == len(tables) + 5
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
    tiny.edit("instance", lambda rows: rows[1].update(category_token="robot"))
    assert refusal(tiny).startswith("category 'robot.delivery' is unknown; a line for --categories")
    (tiny.root / "categories.yaml").write_text("robot: ignore\nrobt: static")
    source = source_of(tiny, categories=tiny.root / "categories.yaml")
    scene, counts = source.read("scene-0061")
    assert list(scene.tracks.agent_ids) == ["ego", "ped"]
    assert counts["ignored_category"] == 3
    assert source.notes[1:] == [f"{tiny.root / 'categories.yaml'}: no such category: robt"]


def test_a_dataset_without_pedestrians_is_refused(tiny):
    def only_cars(rows):
        for row in rows:
            row["name"] = "vehicle.car"

    tiny.edit("category", only_cars)
    expected = "no pedestrian is annotated; the categories are vehicle.car: if one of them is of"
    assert expected in refusal(tiny)
    (tiny.root / "categories.yaml").write_text("vehicle.car: pedestrian")
    scene, _ = source_of(tiny, categories=tiny.root / "categories.yaml").read("scene-0103")
    assert scene.tracks.kinds.tolist() == [3, 0, 0]


def test_annotations_without_any_instance_are_refused(tiny):
    tiny.edit("instance", lambda rows: rows.clear())
    assert "no pedestrian is annotated; the categories are unknown" in refusal(tiny)


# --- the ego's channel


def test_the_ego_s_channel_is_said(tiny):
    expected = "ego:     pose at the key frames of LIDAR_TOP (--ego-channel for another: CAM_FRONT)"
    assert source_of(tiny).notes == [expected]
    source = source_of(tiny, ego_channel="CAM_FRONT")
    assert source.read("scene-0061")[0].origin_m.tolist() == [-1, 500]


# --- locations


@pytest.mark.parametrize("log", ["empty token", "lost token", "empty table", "no table", "null"])
def test_without_a_map_nobody_needs_a_location(tiny, log):
    if log == "no table":
        tiny.path("log").unlink()
    elif log == "empty table":
        tiny.edit("log", lambda rows: rows.clear())
    elif log == "null":
        tiny.edit("log", lambda rows: rows[0].update(location=None))
    else:
        token = "lost" if log == "lost token" else ""
        tiny.edit("scene", lambda rows: [row.update(log_token=token) for row in rows])
    scene, _ = source_of(tiny, with_map=False).read("scene-0061")
    assert scene.location == ""
    expected = f"{tiny.path('scene')}: no location (its log_token leads to none in log.json)"
    assert refusal(tiny).startswith(expected)
    assert refusal(tiny).endswith("give the location or pass --no-map")


def test_one_scene_without_a_location_is_left_out(tiny, tmp_path):
    tiny.edit("scene", lambda rows: rows[0].update(log_token=""))
    store = prepare(source_of(tiny), tmp_path / "store")
    assert list(store) == ["scene-0103"]
    assert "no location" in store.failed["scene-0061"]


# --- one bad scene


def without_key_frames(tiny):
    tiny.edit("sample_data", lambda rows: rows.__delitem__(slice(0, 15)))


def without_samples(tiny):
    tiny.edit("sample", lambda rows: rows.__delitem__(slice(5, None)))


def without_agents(tiny):
    tiny.edit("sample_annotation", lambda rows: rows.__delitem__(slice(0, 8)))


def times_in(unit):
    def change(tiny):
        tiny.edit(
            "sample",
            lambda rows: [row.update(timestamp=unit * row["timestamp"]) for row in rows[5:]],
        )

    return change


def at_1_hz(tiny):
    def change(rows):
        for row in rows[5:]:
            row["timestamp"] += 500_000 * int(row["token"][-1])

    tiny.edit("sample", change)


def a_box_twice(tiny):
    tiny.edit("sample_annotation", lambda rows: rows[1].update(sample_token="sample-a0"))


def a_box_far_away(tiny):
    tiny.edit("sample_annotation", lambda rows: rows[1].update(translation=[1e20, 0, 0]))


def an_ego_far_away(tiny):
    tiny.edit("ego_pose", lambda rows: [row.update(translation=[1e20, 0, 0]) for row in rows[:5]])


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (a_box_far_away, "lies 100000000000000000000 m from origin_m"),
        (an_ego_far_away, "m from origin_m"),
        (without_key_frames, "no key frame of LIDAR_TOP with a pose in ego_pose.json"),
        (without_samples, "no sample of the scene"),
        (without_agents, "scene-0061: no agent at any step"),
        (times_in(1000), "nanoseconds? microseconds are needed"),
        (at_1_hz, "scene-0061: a record every 1 s was measured; 0.5 s or less is needed"),
        (a_box_twice, "records 'ped-0' and 'ped-1' of one instance are in the same sample"),
    ],
)
def test_one_bad_scene_is_left_out_with_its_reason(tiny, tmp_path, damage, why):
    whole = source_of(tiny).read("scene-0103")[0]
    damage(tiny)
    store = prepare(source_of(tiny), tmp_path / "store")
    assert list(store) == ["scene-0103"]
    assert list(store.failed) == ["scene-0061"]
    assert why in store.failed["scene-0061"]
    assert store.splits["mini_train"] == []
    np.testing.assert_array_equal(store["scene-0103"].tracks.positions_m, whole.tracks.positions_m)
    with pytest.raises(ForecastError, match="1 of 2 scenes could not be prepared: scene-0061"):
        prepare(source_of(tiny), tmp_path / "store", strict=True)


def test_a_location_leads_to_no_file_outside_the_folder_of_maps(tiny):
    outside = tiny.root / "outside.json"
    outside.write_bytes(tiny.path("map").read_bytes())
    tiny.edit("log", lambda rows: [row.update(location="../../outside") for row in rows])
    with pytest.raises(ForecastError, match=r"a location of the log table is '\.\./\.\./outside'"):
        source_of(tiny)


def test_a_broken_map_leaves_out_its_scenes_and_is_read_once(tiny, tmp_path):
    location = {"token": "elsewhere", "location": "elsewhere"}
    tiny.edit("log", lambda rows: rows.append(location))
    tiny.edit("scene", lambda rows: rows[0].update(log_token="elsewhere"))
    (tiny.path("map").parent / "elsewhere.json").write_text("{")
    source = source_of(tiny)
    store = prepare(source, tmp_path / "store")
    assert list(store) == ["scene-0103"]
    assert "elsewhere.json: the JSON ends early" in store.failed["scene-0061"]
    (tiny.path("map").parent / "elsewhere.json").unlink()
    with pytest.raises(ForecastError, match=r"elsewhere\.json: the JSON ends early"):
        source.read("scene-0061")


# --- sets that are like nuScenes


def as_t4(tiny):
    """One lidar under another name, short categories, hashes for visibility, traffic lights."""
    tiny.edit("sensor", lambda rows: rows[0].update(channel="LIDAR_CONCAT"))
    names = {"human.pedestrian.adult": "pedestrian", "vehicle.car": "car"}

    def change(rows):
        for row in rows:
            row["name"] = names.get(row["name"], "stroller" if "child" in row["name"] else "animal")
        rows.append({"token": "light", "name": "red_pedestrian", "has_orientation": False})

    tiny.edit("category", change)
    light = {"token": "light", "category_token": "light", "instance_name": "::1"}
    tiny.edit("instance", lambda rows: rows.append(light))
    tiny.path("visibility").write_text('[{"token": "f00", "level": "most"}]')
    tiny.edit("sample_annotation", lambda rows: [r.update(visibility_token="f00") for r in rows])
    tiny.edit("log", lambda rows: rows[0].update(location=""))


def as_truckscenes(tiny):
    """No logs, six lidars, the truck's own trailer, positions in UTM."""
    tiny.path("log").unlink()
    tiny.edit("scene", lambda rows: [row.update(log_token="") for row in rows])
    tiny.edit("sensor", lambda rows: rows[0].update(channel="LIDAR_LEFT", modality="lidar"))
    right = {"token": "right", "channel": "LIDAR_RIGHT", "modality": "lidar"}
    tiny.edit("sensor", lambda rows: rows.append(right))
    tiny.edit("category", lambda rows: rows[1].update(name="vehicle.ego_trailer"))

    def move(rows):
        for row in rows:
            row["translation"][0] += 690_000.125
            row["translation"][1] += 5_330_000.5

    tiny.edit("sample_annotation", move)
    tiny.edit("ego_pose", move)


def as_lyft(tiny):
    """Times with fractions, no visibility, 5 Hz."""
    tiny.path("visibility").unlink()
    tiny.edit("sample_annotation", lambda rows: [row.pop("visibility_token") for row in rows])

    def change(rows):
        for row in rows:
            row["timestamp"] += 0.5 - 300_000 * int(row["token"][-1])

    tiny.edit("sample", change)


def to_the_ego(tracks):
    """Where agents are relative to the ego, at the steps at which they were observed."""
    return (tracks.positions_m - tracks.positions_m[:1])[tracks.valid]


@pytest.mark.parametrize(("change", "visibility"), [(as_t4, 3), (as_truckscenes, 0)])
def test_sets_like_nuscenes_get_in_as_they_are(tiny, tmp_path, change, visibility):
    before = source_of(tiny).read("scene-0061")[0].tracks
    change(tiny)
    store = prepare(source_of(tiny, with_map=False), tmp_path / "store", strict=True)
    tracks = store["scene-0061"].tracks
    np.testing.assert_array_equal(tracks.kinds, before.kinds)
    np.testing.assert_array_equal(tracks.valid, before.valid)
    np.testing.assert_array_equal(to_the_ego(tracks), to_the_ego(before))
    assert (tracks.visibility[1] == visibility).all()
    assert (store.dropped, store.mended) == ({"keyframe_without_ego_pose": 0}, {})


def test_lyft_gets_in_as_it_is(tiny, tmp_path):
    """Keyframes every 0.2 s: the second step lies between those at 0.4 and 0.6 s."""
    as_lyft(tiny)
    store = prepare(source_of(tiny, with_map=False), tmp_path / "store", strict=True)
    scene = store["scene-0061"]
    assert scene.interpolated.tolist() == [False, True]
    assert scene.tracks.positions_m[1, :, 0].tolist() == [0, 1.25]
    assert (store.dropped, store.mended) == ({"keyframe_without_ego_pose": 0}, {})


def test_tables_of_other_tasks_and_columns_do_not_matter(tiny):
    before = source_of(tiny).read("scene-0061")[0]
    for name in ("lidarseg", "panoptic", "can_bus", "object_ann", "map"):
        (tiny.path("scene").parent / f"{name}.json").write_text("{")
    tiny.edit("category", lambda rows: [row.update(index=i) for i, row in enumerate(rows)])
    noise = {"token": "noise", "name": "noise", "index": 0}
    tiny.edit("category", lambda rows: rows.append(noise))
    after = source_of(tiny).read("scene-0061")[0]
    np.testing.assert_array_equal(after.tracks.positions_m, before.tracks.positions_m)
