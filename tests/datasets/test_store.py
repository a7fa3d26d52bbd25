import json
import os
import pickle
import time
from pathlib import Path

import pytest

from forecast import ForecastError
from forecast.datasets.scene_file import SCHEMA_VERSION
from forecast.datasets.store import SceneStore, prepare
from forecast.parallel import Workers
from tests.any_scene import assert_equal
from tests.datasets.line_source import LineSource


@pytest.fixture
def store(tmp_path):
    return prepare(LineSource(), tmp_path / "store")


def scene_file(store: SceneStore, name: str) -> Path:
    return store.path / "scenes" / f"{name}.arrow"


def files_of(path: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()
    }


# --- reading


def test_every_scene_comes_back(store):
    source = LineSource()
    assert store.scene_names == list(store) == source.names
    assert len(store) == 3
    assert "scene-1" in store
    assert "scene-9" not in store
    for name in store:
        assert_equal(store[name], source.read(name)[0])


def test_the_manifest_holds_the_description_of_the_source(store):
    assert (store.source, store.protocol, store.dt_s) == ("lines", "nuscenes-ped-v1", 0.5)
    assert store.fingerprint == "lines 1"
    assert store.splits == {"train": ["scene-1", "scene-2"], "val": ["scène/3"]}
    assert store.dropped == {"too short": 7 + 7 + 7, "no box": 3}
    assert store.counts == {
        "steps": 15,
        "lanes": 6,
        "agents": 21,
        "pedestrian": 21,
        "cyclist": 0,
        "vehicle": 0,
        "ego": 0,
        "static": 0,
    }


def test_a_scene_is_read_once_and_mapped(store):
    scene = store["scene-1"]
    assert store["scene-1"] is scene
    assert not scene.tracks.positions_m.flags.owndata


def test_no_file_handle_stays_open(store):
    handles = Path("/proc/self/fd")
    if not handles.is_dir():
        pytest.skip("needs /proc to count open files")
    before = len(list(handles.iterdir()))
    kept = [store[name] for name in store]
    assert len(list(handles.iterdir())) == before
    assert len(kept) == 3


def test_a_pickled_store_reads_the_same_scenes(store):
    again = pickle.loads(pickle.dumps(store))
    assert_equal(again["scene-1"], store["scene-1"])


def test_scenes_can_be_read_in_forked_workers_before_and_after_the_fork(store):
    import multiprocessing

    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    opened = store["scene-1"].tracks.positions_m.sum()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        sums = pool.starmap(_sum, [(store, name) for name in ("scene-1", "scene-2")] * 4)
    assert sums == [opened, store["scene-2"].tracks.positions_m.sum()] * 4


def _sum(store, name):
    return store[name].tracks.positions_m.sum()


def test_opening_and_reading_are_quick(store):
    opened, read = [], []
    for _ in range(5):
        start = time.perf_counter()
        again = SceneStore.open(store.path)
        opened.append(time.perf_counter() - start)
        assert again["scene-2"].id == "scene-2"
        read.append(time.perf_counter() - start - opened[-1])
    assert min(opened) < 0.05
    assert min(read) < 0.01


# --- splits


def test_scenes_of_a_split_of_all_and_of_a_file(store, tmp_path):
    listed = tmp_path / "mine.txt"
    listed.write_text("scène/3\n\n  scene-1\nscène/3\n", encoding="utf-8")
    assert store.scenes_of("val") == ["scène/3"]
    assert store.scenes_of("all") == store.scene_names
    assert store.scenes_of(str(listed)) == ["scène/3", "scene-1"]


def test_an_unknown_split_names_the_known_ones(store):
    with pytest.raises(
        ForecastError, match=r"split 'dev' is unknown; one of train, val, all or a file"
    ):
        store.scenes_of("dev")


def test_an_unknown_name_in_a_file_of_names_is_named_by_line(store, tmp_path):
    listed = tmp_path / "mine.txt"
    listed.write_text("scene-1\nscene-7\n")
    with pytest.raises(ForecastError, match=r"mine.txt: line 2: no scene 'scene-7'"):
        store.scenes_of(str(listed))


def test_fit_scenes_are_the_training_split_or_what_is_not_scored(store, tmp_path):
    assert store.fit_scenes("val") == ["scene-1", "scene-2"]
    assert store.fit_scenes("train") == ["scène/3"]
    assert store.fit_scenes("all") == []
    listed = tmp_path / "mine.txt"
    listed.write_text("scene-1\n")
    assert store.fit_scenes(str(listed)) == ["scene-2", "scène/3"]


def test_fit_scenes_never_hold_a_scored_scene(tmp_path):
    splits = {"mini_train": ["scene-1", "scene-2"], "mini_val": ["scene-2"]}
    store = prepare(LineSource(given_splits=splits), tmp_path / "store")
    assert store.fit_scenes("mini_val") == ["scene-1"]


def test_a_recording_and_its_parts_count_as_one_recording(tmp_path):
    names = ["a", "b", "c", "a_train", "a_val", "b_train", "b_val", "lonely_val"]
    splits = {"f_val": ["b_val"], "f_train": ["b_train"], "f_test": ["a"], "some": ["c", "a_val"]}
    store = prepare(LineSource(names, given_splits=splits), tmp_path / "store")
    assert store.scenes_of("all") == ["a", "b", "c", "lonely_val"]
    assert store.fit_scenes("f_val") == store.fit_scenes("f_test") == ["b_train"]
    assert store.fit_scenes("some") == ["b", "lonely_val"]


# --- preparing again


def test_preparing_again_reads_nothing_and_changes_nothing(store):
    before, again = files_of(store.path), LineSource()
    prepare(again, store.path)
    assert again.reads == []
    assert files_of(store.path) == before


def test_a_changed_source_is_read_again(store):
    source = LineSource(version="2")
    assert prepare(source, store.path).fingerprint == "lines 2"
    assert source.reads == source.names


def test_scenes_that_no_longer_belong_are_removed(store):
    again = prepare(LineSource(["scene-2"]), store.path)
    assert again.scene_names == ["scene-2"]
    assert sorted(files_of(store.path)) == ["scenes/scene-2.arrow", "store.json"]


def test_only_a_damaged_scene_is_written_again(store):
    scene_file(store, "scene-2").write_bytes(b"damaged")
    source = LineSource()
    prepare(source, store.path)
    assert source.reads == ["scene-2"]
    assert_equal(SceneStore.open(store.path)["scene-2"], source.read("scene-2")[0])


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 0.999])
def test_a_flipped_bit_is_not_certified_where_the_manifest_is_missing(store, place):
    file = scene_file(store, "scene-2")
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 4
    file.write_bytes(content)
    (store.path / "store.json").unlink()
    source = LineSource()
    prepare(source, store.path)
    assert source.reads == ["scene-2"]
    assert_equal(SceneStore.open(store.path)["scene-2"], source.read("scene-2")[0])


def test_the_number_of_workers_changes_nothing(store, tmp_path):
    parallel = prepare(LineSource(), tmp_path / "parallel", workers=Workers(2))
    assert files_of(parallel.path) == files_of(store.path)


@pytest.mark.slow
def test_ray_changes_nothing(store, tmp_path, ray_workers):
    parallel = prepare(LineSource(), tmp_path / "parallel", workers=ray_workers)
    assert files_of(parallel.path) == files_of(store.path)


def test_plain_lines_show_the_progress(tmp_path, capfd):
    prepare(LineSource(), tmp_path / "store")
    assert "prepare: 3 of 3 scenes" in capfd.readouterr().err.splitlines()


# --- interrupted


def test_an_interrupted_prepare_leaves_a_half_store_that_resumes(tmp_path):
    out = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt):
        prepare(LineSource(interrupt_at="scène/3"), out)
    assert sorted(files_of(out)) == ["scenes/scene-1.arrow", "scenes/scene-2.arrow"]
    with pytest.raises(ForecastError, match="prepare did not finish; run it again to resume"):
        SceneStore.open(out)
    source = LineSource()
    store = prepare(source, out)
    assert source.reads == ["scène/3"]
    assert store.dropped == {"too short": 21, "no box": 3}


def test_a_store_interrupted_while_it_is_renewed_is_no_longer_a_store(store):
    with pytest.raises(KeyboardInterrupt):
        prepare(LineSource(version="2", interrupt_at="scene-2"), store.path)
    with pytest.raises(ForecastError, match="prepare did not finish"):
        SceneStore.open(store.path)
    source = LineSource(version="2")
    prepare(source, store.path)
    assert source.reads == ["scene-2", "scène/3"]


# --- scenes that cannot be read


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_scene_is_named_and_the_others_are_written(tmp_path, workers):
    out = tmp_path / "store"
    message = (
        r"1 of 3 scenes could not be prepared: scene-2 \(scene-2: cannot be read\); repair them"
    )
    store = prepare(LineSource(stop_at="scene-2"), out, workers=Workers(workers))
    assert store.scene_names == ["scene-1", "scène/3"]
    assert store.splits == {"train": ["scene-1"], "val": ["scène/3"]}
    assert store.scenes_of("train") == ["scene-1"]
    assert store.failed == store.failed_of("train") == {"scene-2": "scene-2: cannot be read"}
    assert store.failed_of("all") == store.failed
    assert store.failed_of("val") == {}
    with pytest.raises(ForecastError, match=message):
        prepare(LineSource(stop_at="scene-2"), out, strict=True, workers=Workers(workers))
    assert SceneStore.open(out).failed == store.failed
    source = LineSource()
    repaired = prepare(source, out, strict=True)
    assert source.reads == ["scene-2"]
    assert repaired.failed == {}
    assert repaired.splits["train"] == ["scene-1", "scene-2"]


def test_a_bad_scene_of_a_renewed_store_does_not_stay_as_it_was(store):
    renewed = prepare(LineSource(version="2", stop_at="scene-2"), store.path)
    assert "scene-2" not in renewed
    assert not scene_file(store, "scene-2").exists()


def test_without_a_single_good_scene_there_is_no_store(tmp_path):
    with pytest.raises(
        ForecastError, match="1 of 1 scenes could not be prepared: scene-1"
    ) as found:
        prepare(LineSource(["scene-1"], stop_at="scene-1"), tmp_path / "store")
    assert str(found.value).endswith("repair them and run prepare again")
    with pytest.raises(ForecastError, match="prepare did not finish"):
        SceneStore.open(tmp_path / "store")


# --- hostile files and names


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"schema_version": 4, "source": "\xff"}', "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"schema_version": 1e400}', "cannot be read"),
        (b"\x00", "cannot be read"),
    ],
    ids=["utf-8", "deep", "number", "zero"],
)
def test_a_manifest_that_is_none_is_one_line(store, content, words):
    (store.path / "store.json").write_bytes(content)
    with pytest.raises(ForecastError, match=f"store.json: {words}.*; run prepare again") as error:
        SceneStore.open(store.path)
    assert "\n" not in str(error.value)


def test_a_manifest_leads_to_no_file_outside_its_store(store, tmp_path):
    file = store.path / "store.json"
    outside = tmp_path / "outside.arrow"
    outside.write_bytes(scene_file(store, "scene-1").read_bytes())
    named = os.path.relpath(outside, store.path / "scenes")
    file.write_text(file.read_text().replace("scene-1.arrow", named))
    with pytest.raises(ForecastError, match=r"the file of scene 'scene-1' is '\.\./.*run prepare"):
        SceneStore.open(store.path)


@pytest.mark.parametrize("name", ["../../evil", "n" * 300, "街" * 90, "a/b\x01c", ".", ".."])
def test_any_name_of_a_scene_makes_a_file_in_the_store(tmp_path, name):
    source = LineSource([name, name + "2"])
    store = prepare(source, tmp_path / "store")
    assert_equal(store[name], source.read(name)[0])
    assert store[name + "2"].id == name + "2"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert len(list((tmp_path / "store" / "scenes").iterdir())) == 2


def test_a_file_of_scene_names_that_is_no_text_is_one_line(store, tmp_path):
    (tmp_path / "names").write_bytes(b"scene-1\n\xff\n")
    with pytest.raises(ForecastError, match="a text file of scene names in UTF-8 is needed"):
        store.scenes_of(str(tmp_path / "names"))


# --- leftovers


def test_what_a_killed_write_left_behind_is_removed(store):
    leftover = store.path / "scenes" / ".scene-2.arrow.123.tmp"
    leftover.write_bytes(b"half")
    prepare(LineSource(), store.path)
    assert not leftover.exists()


# --- errors


def test_an_unknown_scene_names_the_closest(store):
    with pytest.raises(
        ForecastError, match=r"no scene 'scene-12'; the closest name is 'scene-[12]"
    ):
        store["scene-12"]


@pytest.mark.parametrize("kind", ["missing", "empty folder", "file"])
def test_what_is_not_a_store_is_refused(tmp_path, kind):
    path = tmp_path / "here"
    if kind == "empty folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("x")
    with pytest.raises(ForecastError, match=r"not a store \(store.json is missing\)"):
        SceneStore.open(path)


def test_another_schema_version_is_refused(store):
    manifest = json.loads((store.path / "store.json").read_text())
    (store.path / "store.json").write_text(json.dumps(manifest | {"schema_version": 0}))
    words = f"schema version 0, this package reads {SCHEMA_VERSION}; prepare it"
    with pytest.raises(ForecastError, match=words):
        SceneStore.open(store.path)


@pytest.mark.parametrize("content", ["{", "[]", f'{{"schema_version": {SCHEMA_VERSION}}}', ""])
def test_a_damaged_manifest_is_refused_and_can_be_repaired(store, content):
    (store.path / "store.json").write_text(content)
    with pytest.raises(ForecastError, match=r"store.json: cannot be read \(.*run prepare again"):
        SceneStore.open(store.path)
    source = LineSource()
    assert_equal(prepare(source, store.path)["scene-1"], LineSource().read("scene-1")[0])
    assert source.reads == []


def test_a_single_wrong_byte_in_a_scene_is_refused(store):
    content = bytearray(scene_file(store, "scene-1").read_bytes())
    content[len(content) // 2] ^= 1
    scene_file(store, "scene-1").write_bytes(content)
    with pytest.raises(
        ForecastError, match=r"scene-1.arrow: the file was changed after prepare; run"
    ):
        store["scene-1"]


@pytest.mark.parametrize("content", [None, b""])
def test_a_missing_or_empty_scene_file_is_refused(store, content):
    scene_file(store, "scene-1").unlink()
    if content is not None:
        scene_file(store, "scene-1").write_bytes(content)
    with pytest.raises(ForecastError, match=r"scene-1.arrow: .*run prepare again"):
        store["scene-1"]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ForecastError, match=r"holds 'thesis.tex' and is not a store; give a new"):
        prepare(LineSource(), tmp_path)
    assert list(files_of(tmp_path)) == ["thesis.tex"]


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ForecastError, match=r"file/store.*: Not a directory; check the path"):
        prepare(LineSource(), tmp_path / "file" / "store")


def test_a_split_of_an_unknown_scene_is_refused_before_anything_is_written(tmp_path):
    source = LineSource(given_splits={"train": ["scene-9"]})
    with pytest.raises(ForecastError, match=r"split 'train' names scene 'scene-9'"):
        prepare(source, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_source_that_returns_another_scene_is_refused(tmp_path):
    class Wrong(LineSource):
        def read(self, name):
            return super().read("scene-1")

    with pytest.raises(ForecastError, match=r"'scene-2' was read as 'scene-1' with dt_s 0.5"):
        prepare(Wrong(), tmp_path / "store", strict=True)


# --- counts


def test_mended_records_are_counted_apart_from_dropped_ones(tmp_path):
    class Mending(LineSource):
        def read(self, name):
            scene, dropped = super().read(name)
            return scene, {**dropped, "typical_size": 2, "rotation_normalised": 1}

    store = prepare(Mending(), tmp_path / "store")
    assert store.dropped == {"too short": 21, "no box": 3}
    assert store.mended == {"typical_size": 6, "rotation_normalised": 3}
    assert store.records_of(store.scene_names) == {**store.dropped, **store.mended}
    (one, *_) = store.scene_names
    assert store.records_of([one])["typical_size"] == 2
    assert store.records_of([]) == {}
