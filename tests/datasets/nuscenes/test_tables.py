import json

import numpy as np
import pytest

from forecast.datasets.nuscenes.tables import OPTIONAL_TABLE_NAMES, TABLE_NAMES, read_tables
from forecast.errors import ForecastError
from forecast.parallel import Workers


def tables_of(tiny):
    return read_tables(tiny.path("scene").parent)


def refusal(tiny) -> str:
    with pytest.raises(ForecastError) as caught:
        tables_of(tiny)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fault(tiny, scene=0) -> str:
    """The fault of one scene; the other has none."""
    faults = tables_of(tiny).faults
    assert list(faults) == [scene]
    assert "\n" not in faults[scene]
    return faults[scene]


def counts(tiny) -> dict[str, list[int]]:
    found = tables_of(tiny).counts
    return {why: values.tolist() for why, values in found.items() if values.any()}


def by_token(token, **values):
    def change(rows):
        next(row for row in rows if row["token"] == token).update(values)

    return change


def test_columns_are_sorted_by_scene_instance_and_time(tiny):
    tables = tables_of(tiny)
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
    tables = tables_of(tiny)
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
    boxes = tables_of(tiny).annotations
    np.testing.assert_allclose(boxes.headings_rad[0], yaw, rtol=1e-6)


def test_a_keyframe_without_lidar_has_no_ego_pose(tiny):
    tiny.edit("sample_data", lambda rows: rows[3].update(is_key_frame=False))
    known = tables_of(tiny).keyframes.has_ego
    assert list(np.flatnonzero(~known)) == [1]


# --- refused: what is wrong in the whole dataset


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_a_missing_table_is_refused(tiny, table):
    path = tiny.path(table)
    path.unlink()
    assert refusal(tiny).startswith(f"{path}: No such file or directory; the file is needed")


@pytest.mark.parametrize("table", [*TABLE_NAMES, *OPTIONAL_TABLE_NAMES])
def test_a_truncated_table_is_refused(tiny, table):
    path = tiny.path(table)
    if not path.exists():  # of the simulated city alone
        path.write_text('[{"instance_token": "walker", "decisions": []}]')
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


@pytest.mark.parametrize(
    ("table", "column", "target"),
    [("sample", "scene_token", "scene"), ("instance", "category_token", "category")],
)
def test_an_undefined_token_is_refused(tiny, table, column, target):
    path = tiny.edit(table, lambda rows: rows[0].update({column: "lost"}))
    expected = f"{path}: {column} 'lost' is not in {target}.json; the tables do not belong together"
    assert expected in refusal(tiny)


@pytest.mark.parametrize("table", ["sample_data", "sample_annotation"])
def test_tables_of_another_dataset_are_refused(tiny, table):
    def lose(rows):
        for row in rows:
            row["sample_token"] = f"lost {row['sample_token']}"

    path = tiny.edit(table, lose)
    assert refusal(tiny).startswith(f"{path}: sample_token 'lost sample-a0' is not in sample.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), None])
@pytest.mark.parametrize(
    ("table", "column"),
    [("ego_pose", "translation"), ("ego_pose", "rotation"), ("sample_annotation", "rotation")],
)
def test_a_number_that_is_not_finite_is_refused(tiny, table, value, column):
    path = tiny.edit(table, lambda rows: rows[4].update({column: [value, 0.0, 0.0, 0.0][:3]}))
    assert refusal(tiny).startswith(f"{path}: Expected `")
    assert "in record 4 " + column in refusal(tiny)


def test_a_dataset_without_scenes_or_annotations_is_refused(tiny):
    path = tiny.edit("sample_annotation", lambda rows: rows.clear())
    assert f"{path}: no annotation; pedestrians are needed (the official test set" in refusal(tiny)
    path = tiny.edit("scene", lambda rows: rows.clear())
    assert f"{path}: no scene; at least one is needed" in refusal(tiny)


# --- faults: what is wrong in one scene


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_position_that_is_not_finite_is_a_fault(tiny, value):
    path = tiny.edit("sample_annotation", lambda rows: rows[4].update(translation=[value, 0, 0]))
    assert fault(tiny).startswith(f"{path}: record '")
    assert "translation is not finite" in fault(tiny)


def test_two_key_frames_of_a_sample_are_a_fault(tiny):
    path = tiny.edit("sample_data", lambda rows: rows[1].update(is_key_frame=True))
    expected = f"{path}: sample 'sample-a0' has several key frames of LIDAR_TOP; one is needed"
    assert fault(tiny).startswith(expected)


def test_an_annotation_of_an_undefined_instance_is_a_fault(tiny):
    path = tiny.edit("sample_annotation", by_token("walker-2", instance_token="lost"))
    assert fault(tiny, 1) == f"{path}: instance_token 'lost' is not in instance.json"


def test_two_boxes_of_an_instance_in_one_frame_are_a_fault(tiny):
    path = tiny.edit("sample_annotation", by_token("ped-2", sample_token="sample-a1"))
    expected = f"{path}: records 'ped-1' and 'ped-2' of one instance are in the same sample; remove"
    assert fault(tiny).startswith(expected)


def test_two_samples_at_one_time_are_a_fault(tiny):
    at_us = int(tables_of(tiny).keyframes.timestamps_us[0])
    path = tiny.edit("sample", by_token("sample-a1", timestamp=at_us))
    expected = f"{path}: samples 'sample-a1' and 'sample-a0' have the same time; remove one"
    assert fault(tiny) == expected


@pytest.mark.parametrize("table", ["sample_annotation", "ego_pose"])
@pytest.mark.parametrize("rotation", [[0, 0, 0, 0], [1, 0, 0, 1], [0.94, 0, 0, 0], [1.06, 0, 0, 0]])
def test_a_quaternion_that_is_no_rotation_is_a_fault(tiny, table, rotation):
    path = tiny.edit(table, lambda rows: rows[0].update(rotation=rotation))
    assert fault(tiny).startswith(f"{path}: record '")
    norm = np.linalg.norm(rotation)
    assert f"rotation has norm {norm:.4g}; a unit quaternion (w, x, y, z) is needed" in fault(tiny)


def test_a_scene_without_samples_has_a_fault(tiny):
    scene = {"token": "scene-c", "name": "scene-0916", "log_token": "log"}
    tiny.edit("scene", lambda rows: rows.insert(1, scene))
    assert fault(tiny, 1).startswith(f"{tiny.path('sample')}: no sample of the scene; add them")
    assert tables_of(tiny).scene_names == ["scene-0061", "scene-0916", "scene-0103"]
    assert list(tables_of(tiny).keyframes.offsets) == [0, 5, 5, 10]
    assert list(tables_of(tiny).annotations.offsets) == [0, 8, 8, 18]


def test_a_scene_without_ego_poses_has_a_fault(tiny):
    path = tiny.edit("sample_data", lambda rows: rows.__delitem__(slice(15, None)))
    assert fault(tiny, 1).startswith(f"{path}: no key frame of LIDAR_TOP with a pose in ego_pose")


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        (1e3, "500 s between records: nanoseconds? microseconds are needed"),
        (1e-3, "0.0005 s between records: milliseconds? microseconds are needed"),
        (1e-6, "5e-07 s between records: seconds? microseconds are needed"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_times_in_other_units_are_a_fault(tiny, unit, words, whole):
    def change(rows):
        for row in rows:
            if row["scene_token"] == "scene-a":
                time = row["timestamp"] * unit
                row["timestamp"] = int(time) if whole else time

    path = tiny.edit("sample", change)
    assert fault(tiny) == f"{path}: {words}"


# --- mended and left out


def test_prev_and_next_do_not_matter(tiny):
    before = tables_of(tiny)

    def change(rows):
        for number, row in enumerate(rows):
            row["prev"] = ["", None, "lost", row["token"]][number % 4]
            del row["next"]

    tiny.edit("sample", change)
    tiny.edit("sample_annotation", change)
    after = tables_of(tiny)
    assert after.faults == {}
    assert counts(tiny) == {}
    for half in ("keyframes", "annotations"):
        for name, values in vars(getattr(before, half)).items():
            np.testing.assert_array_equal(vars(getattr(after, half))[name], values)


def test_float_times_are_rounded(tiny):
    before = tables_of(tiny).keyframes.timestamps_us

    def change(rows):
        for row in rows:
            row["timestamp"] += 0.25

    tiny.edit("sample", change)
    np.testing.assert_array_equal(tables_of(tiny).keyframes.timestamps_us, before)


@pytest.mark.parametrize("time", [10**400, -(10**20), 1e300, None, "1532000000000000"])
def test_a_time_that_is_none_is_refused(tiny, time):
    path = tiny.edit("sample", lambda rows: rows[3].update(timestamp=time))
    assert refusal(tiny).startswith(f"{path}: ")
    assert "in record 3 timestamp; the file is not in nuScenes format" in refusal(tiny)


@pytest.mark.parametrize("scale", [0.96, 1.04])
def test_quaternions_of_few_digits_keep_their_yaw(tiny, scale):
    def change(rows):
        rows[0]["rotation"] = [scale * value for value in rows[0]["rotation"]]

    before = tables_of(tiny)
    tiny.edit("sample_annotation", change)
    tiny.edit("ego_pose", change)
    after = tables_of(tiny)
    np.testing.assert_allclose(after.annotations.headings_rad, before.annotations.headings_rad)
    assert counts(tiny) == {"rotation_normalised": [2, 0]}


def test_missing_rotations_are_counted(tiny):
    tiny.edit("sample_annotation", lambda rows: rows[9].pop("rotation"))
    tiny.edit("ego_pose", lambda rows: rows[0].update(rotation=None))
    tables = tables_of(tiny)
    assert list(np.flatnonzero(np.isnan(tables.annotations.headings_rad))) == [9]
    assert list(np.flatnonzero(np.isnan(tables.keyframes.ego_headings_rad))) == [0]
    assert counts(tiny) == {"heading_from_motion": [1, 1]}


def test_what_nobody_reads_may_be_anything(tiny):
    def change(rows):
        rows[0].update(velocity=[float("nan")] * 3, num_lidar_pts=None, more={"a": [float("inf")]})
        rows[1]["translation"][2] = float("nan")

    tiny.edit("sample_annotation", change)
    tiny.edit("ego_pose", change)
    tiny.edit("scene", lambda rows: rows[0].update(description=None))
    assert tables_of(tiny).descriptions == ["", "Night"]


def test_an_annotation_without_its_sample_is_left_out_and_counted(tiny):
    """The third sample of the first scene is gone, but not what belongs to it."""
    tiny.edit(
        "sample", lambda rows: rows.remove(next(r for r in rows if r["token"] == "sample-a2"))
    )
    tables = tables_of(tiny)
    assert tables.faults == {}
    assert counts(tiny) == {"annotation_without_sample": [2, 0]}
    assert list(tables.annotations.offsets) == [0, 6, 16]
    assert list(tables.keyframes.tokens[:4]) == ["sample-a0", "sample-a1", "sample-a3", "sample-a4"]
    np.testing.assert_array_equal(
        tables.keyframes.ego_m[:4, 0], [1000.25, 1002.25, 1006.25, 1008.25]
    )


# --- visibility


def levels_of(tiny, tokens, table=None):
    def change(rows):
        for row, token in zip(rows, tokens, strict=False):
            row["visibility_token"] = token

    tiny.edit("sample_annotation", change)
    if table is None:
        tiny.path("visibility").unlink()
    else:
        tiny.path("visibility").write_text(json.dumps(table))
    return tables_of(tiny).annotations.visibility[: len(tokens)].tolist()


def test_visibility_of_nuscenes(tiny):
    table = json.loads(tiny.path("visibility").read_text())
    tokens = ["1", "2", "3", "4", "", None, 3, 4.0]
    assert levels_of(tiny, tokens, table) == [1, 2, 3, 4, 0, 0, 3, 4]


@pytest.mark.parametrize("tokens", [["abc", "def", "0123", "x y"], ["1", "2", "3", "4"]])
def test_visibility_of_t4_is_that_of_its_table(tiny, tokens):
    names = ["full", "most", "partial", "none"]
    table = [{"token": t, "level": name} for t, name in zip(tokens, names, strict=True)]
    assert levels_of(tiny, tokens, table) == [4, 3, 2, 1]


def test_visibility_without_a_table_is_nuscenes_own(tiny):
    assert levels_of(tiny, ["1", "2", "3", "4"]) == [1, 2, 3, 4]
    assert counts(tiny) == {}
    assert levels_of(tiny, ["1", "2", "3", "4"], []) == [1, 2, 3, 4]


def test_visibility_that_nothing_explains_is_unknown_and_counted(tiny):
    table = [{"token": "a", "level": "hardly"}, {"token": "b", "level": None}, {"token": "c"}]
    assert levels_of(tiny, ["a", "b", "c", "lost", "4"], table) == [0, 0, 0, 0, 0]
    assert tables_of(tiny).counts["visibility_unknown"].tolist() == [2 + 3, 10]
