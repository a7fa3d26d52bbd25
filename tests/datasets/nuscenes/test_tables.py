import numpy as np
import pytest

from forecast.datasets.nuscenes.tables import TABLE_NAMES, read_tables
from forecast.errors import ForecastError
from forecast.parallel import Workers


def refusal(tiny) -> str:
    with pytest.raises(ForecastError) as caught:
        read_tables(tiny.path("scene").parent)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_columns_are_sorted_by_scene_instance_and_time(tiny):
    tables = read_tables(tiny.path("scene").parent)
    keyframes, boxes = tables.keyframes, tables.annotations
    assert tables.scene_names == ["scene-0061", "scene-0103"]
    assert tables.descriptions == ["Rain", "Night"]
    assert tables.locations == ["boston-seaport"] * 2
    assert list(keyframes.tokens[:6]) == [*(f"sample-a{i}" for i in range(5)), "sample-b0"]
    assert (np.diff(keyframes.timestamps_us[:5]) == 500_000).all()
    assert list(keyframes.offsets) == [0, 5, 10]
    assert list(boxes.offsets) == [0, 8, 18]
    names = tables.instance_tokens[boxes.instances]
    assert list(names) == ["ped"] * 5 + ["car"] * 3 + ["walker"] * 5 + ["cone"] * 5
    assert list(boxes.keyframes[:8]) == [0, 1, 2, 3, 4, 1, 2, 3]
    assert list(tables.instance_categories[[0, 3]]) == [
        "human.pedestrian.adult",
        "movable_object.trafficcone",
    ]


def test_two_processes_read_the_same_tables(tiny):
    folder = tiny.path("scene").parent
    one, two = read_tables(folder), read_tables(folder, Workers(2))
    for half in ("keyframes", "annotations"):
        for name, values in vars(getattr(one, half)).items():
            np.testing.assert_array_equal(vars(getattr(two, half))[name], values)


@pytest.mark.parametrize("table", ["ego_pose", "sample_annotation"])
def test_two_processes_refuse_a_broken_table_as_one_does(tiny, table):
    tiny.path(table).write_bytes(b"[{")
    said = refusal(tiny)
    with pytest.raises(ForecastError) as caught:
        read_tables(tiny.path("scene").parent, Workers(2))
    assert str(caught.value) == said


def test_values_of_a_box_and_of_the_ego(tiny):
    tables = read_tables(tiny.path("scene").parent)
    boxes, keyframes = tables.annotations, tables.keyframes
    np.testing.assert_array_equal(boxes.positions_m[1], [1000.5, 505])
    np.testing.assert_allclose(boxes.sizes_m[0], [0.8, 0.6, 1.7])  # nuScenes: 0.6 wide, 0.8 long
    np.testing.assert_allclose(boxes.headings_rad, np.pi / 2)
    assert list(boxes.visibility[[0, 5, 8, 13]]) == [0, 1, 2, 3]
    np.testing.assert_array_equal(keyframes.ego_m[:5, 0], 1000.25 + 2 * np.arange(5))
    np.testing.assert_array_equal(keyframes.ego_m[5:, 0], 1000.25 + 2 * np.arange(5))
    assert keyframes.has_ego.all()


def test_yaw_ignores_pitch_and_roll(tiny):
    yaw, pitch = 2.0, 0.3
    w, x, y, z = (
        np.cos(yaw / 2) * np.cos(pitch / 2),
        -np.sin(yaw / 2) * np.sin(pitch / 2),
        np.cos(yaw / 2) * np.sin(pitch / 2),
        np.sin(yaw / 2) * np.cos(pitch / 2),
    )
    tiny.edit("sample_annotation", lambda rows: rows[0].update(rotation=[w, x, y, z]))
    boxes = read_tables(tiny.path("scene").parent).annotations
    np.testing.assert_allclose(boxes.headings_rad[0], yaw, rtol=1e-6)


def test_a_keyframe_without_lidar_has_no_ego_pose(tiny):
    tiny.edit("sample_data", lambda rows: rows[3].update(is_key_frame=False))
    known = read_tables(tiny.path("scene").parent).keyframes.has_ego
    assert list(np.flatnonzero(~known)) == [1]


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_a_missing_table_is_refused(tiny, table):
    path = tiny.path(table)
    path.unlink()
    assert refusal(tiny).startswith(f"{path}: No such file or directory; the file is needed")


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_a_truncated_table_is_refused(tiny, table):
    path = tiny.path(table)
    size = path.stat().st_size - 3
    path.write_bytes(path.read_bytes()[:size])
    assert f"{path}: the JSON ends early, at byte {size}; the file is truncated" in refusal(tiny)


@pytest.mark.parametrize(
    "table", ["scene", "log", "sample", "ego_pose", "category", "instance", "sample_annotation"]
)
def test_a_repeated_token_is_refused(tiny, table):
    path = tiny.edit(table, lambda rows: rows.append({**rows[0], "name": "another"}))
    token = tiny.path(table).read_text().split('"token": "')[1].split('"')[0]
    assert f"{path}: token '{token}' appears more than once; remove the repeats" in refusal(tiny)


def test_a_repeated_scene_name_is_refused(tiny):
    path = tiny.edit("scene", lambda rows: rows[1].update(name="scene-0061"))
    assert f"{path}: name 'scene-0061' appears more than once" in refusal(tiny)


def test_two_lidar_key_frames_of_a_sample_are_refused(tiny):
    path = tiny.edit("sample_data", lambda rows: rows[1].update(is_key_frame=True))
    assert f"{path}: sample_token of LIDAR_TOP key frames 'sample-a0' appears more" in refusal(tiny)


@pytest.mark.parametrize(
    ("table", "column", "target"),
    [
        ("scene", "log_token", "log"),
        ("sample", "scene_token", "scene"),
        ("sample_data", "sample_token", "sample"),
        ("sample_data", "ego_pose_token", "ego_pose"),
        ("instance", "category_token", "category"),
        ("sample_annotation", "sample_token", "sample"),
        ("sample_annotation", "instance_token", "instance"),
        ("sample_annotation", "visibility_token", "visibility"),
    ],
)
def test_an_undefined_token_is_refused(tiny, table, column, target):
    path = tiny.edit(table, lambda rows: rows[0].update({column: "lost"}))
    expected = f"{path}: {column} 'lost' is not in {target}.json; the tables do not belong together"
    assert expected in refusal(tiny)


def by_token(token, **values):
    def change(rows):
        next(row for row in rows if row["token"] == token).update(values)

    return change


@pytest.mark.parametrize(
    ("table", "token", "owner"),
    [("sample", "sample-a2", "scene"), ("sample_annotation", "ped-2", "instance")],
)
@pytest.mark.parametrize("link", ["prev", "next"])
@pytest.mark.parametrize("value", ["", "lost", "sample-a0", "walker-3"])
def test_a_broken_chain_is_refused(tiny, table, token, owner, link, value):
    path = tiny.edit(table, by_token(token, **{link: value}))
    neighbour = f"{token[:-1]}{1 if link == 'prev' else 3}"
    assert (
        f"{path}: record '{token}': {link} is '{value}', but its neighbour in time of the same "
        f"{owner} is '{neighbour}'; the prev/next chain is broken" in refusal(tiny)
    )


def test_an_annotation_cut_out_of_its_chain_is_refused(tiny):
    tiny.edit("sample_annotation", lambda rows: rows.pop(2))
    assert "record 'ped-1': next is 'ped-2', but its neighbour" in refusal(tiny)


def test_two_boxes_of_an_instance_in_one_frame_are_refused(tiny):
    tiny.edit("sample_annotation", by_token("ped-2", sample_token="sample-a1"))
    assert "records 'ped-1' and 'ped-2' of the same instance have the same time" in refusal(tiny)


def test_two_samples_of_a_scene_at_one_time_are_refused(tiny):
    at_us = read_tables(tiny.path("scene").parent).keyframes.timestamps_us[0]
    tiny.edit("sample", by_token("sample-a1", timestamp=int(at_us)))
    assert "of the same scene have the same time; remove one" in refusal(tiny)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("table", ["sample_annotation", "ego_pose"])
def test_a_position_that_is_not_finite_is_refused(tiny, table, value):
    path = tiny.edit(table, lambda rows: rows[4].update(translation=[value, 0.0, 0.0]))
    at = max(path.read_text().find("NaN"), path.read_text().find("Infinity"))
    assert refusal(tiny).startswith(f"{path}: byte {at}: NaN or Infinity; finite numbers")


@pytest.mark.parametrize("table", ["sample_annotation", "ego_pose"])
@pytest.mark.parametrize("rotation", [[0, 0, 0, 0], [1, 0, 0, 1], [0.99, 0, 0, 0]])
def test_a_quaternion_that_is_no_rotation_is_refused(tiny, table, rotation):
    path = tiny.edit(table, lambda rows: rows[0].update(rotation=rotation))
    norm = np.linalg.norm(rotation)
    assert f"rotation has norm {norm:.4g}; a unit quaternion (w, x, y, z)" in refusal(tiny)
    assert refusal(tiny).startswith(f"{path}: record '")


def test_an_empty_scene_is_refused(tiny):
    scene = {"token": "scene-c", "name": "scene-0916", "log_token": "log"}
    tiny.edit("scene", lambda rows: rows.insert(1, scene))
    expected = f"{tiny.path('sample')}: scene-0916 has no sample; remove the scene or add"
    assert expected in refusal(tiny)


def test_a_scene_without_ego_poses_is_refused(tiny):
    path = tiny.edit("sample_data", lambda rows: rows.__delitem__(slice(15, None)))
    assert f"{path}: scene-0103 has no LIDAR_TOP key frame" in refusal(tiny)


def test_a_dataset_without_scenes_or_annotations_is_refused(tiny):
    path = tiny.edit("sample_annotation", lambda rows: rows.clear())
    assert f"{path}: no annotation; pedestrians are needed (the official test set" in refusal(tiny)
    path = tiny.edit("scene", lambda rows: rows.clear())
    assert f"{path}: no scene; at least one is needed" in refusal(tiny)
