import shutil
from pathlib import Path

import numpy as np
import pytest

from forecast import AgentKind, ForecastError
from forecast.datasets.crowds.eth_ucy import FOLDS, RECORDINGS, EthUcySource
from forecast.datasets.store import prepare
from forecast.datasets.windows import WindowSpec, prediction_times
from tests.datasets.source_contract import assert_keeps_contract

ROWS = """\
780 1 0.5 -1.25
790 1.0 0.5 -0.75

810.0 1 0.5 0.25
810 7 3 4
"""
"""Person 1 walks along y and is missing at 800, when nobody is annotated; person 7 is seen once."""


@pytest.fixture
def root(tmp_path) -> Path:
    for folder, suffix in (("all", ""), ("train", "_train"), ("val", "_val")):
        (tmp_path / folder).mkdir()
        for recording in RECORDINGS:
            (tmp_path / folder / f"{recording}{suffix}.txt").write_text(ROWS)
    return tmp_path


def read_with(root: Path, rows: str):
    (root / "all" / "biwi_eth.txt").write_text(rows)
    return EthUcySource(root).read("biwi_eth")


def test_keeps_the_source_contract(root):
    assert_keeps_contract(EthUcySource(root))


def test_frames_become_steps_and_gaps_stay_gaps(root):
    scene, dropped = EthUcySource(root).read("biwi_eth")
    tracks = scene.tracks
    assert dropped == {}
    assert (scene.id, scene.location, scene.dt_s, scene.lane_map) == ("biwi_eth", "eth", 0.4, None)
    assert tracks.agent_ids.tolist() == ["1", "7"]
    assert tracks.kinds.tolist() == [AgentKind.PEDESTRIAN] * 2
    assert tracks.valid.tolist() == [[True, True, False, True], [False, False, False, True]]
    expected = [[[0.5, -1.25], [0.5, -0.75], [0, 0], [0.5, 0.25]], [[0, 0]] * 3 + [[3, 4]]]
    np.testing.assert_array_equal(tracks.positions_m, expected)
    np.testing.assert_allclose(tracks.headings_rad[0], [0, np.pi / 2, 0, np.pi / 2])
    assert scene.frame_ids.tolist() == ["780", "790", "", "810"]
    assert scene.start_us == 780 * 40_000
    assert np.diff(scene.timestamps_us).tolist() == [400_000] * 3


def test_a_fold_leaves_its_recordings_out_of_training(root):
    splits = EthUcySource(root).splits()
    assert len(splits) == 3 * len(FOLDS) + 1
    assert splits["univ_test"] == ["students001", "students003"]
    assert splits["univ_train"] == [
        "biwi_eth_train",
        "biwi_hotel_train",
        "crowds_zara01_train",
        "crowds_zara02_train",
        "crowds_zara03_train",
        "uni_examples_train",
    ]
    assert splits["zara1_val"] == [
        "biwi_eth_val",
        "biwi_hotel_val",
        "crowds_zara02_val",
        "crowds_zara03_val",
        "students001_val",
        "students003_val",
        "uni_examples_val",
    ]
    assert splits["all_recordings"] == list(RECORDINGS)


def test_fit_scenes_never_overlap_the_scored_scenes(root, tmp_path_factory):
    store = prepare(EthUcySource(root), tmp_path_factory.mktemp("out") / "store")
    assert store.scenes_of("all") == list(RECORDINGS)
    assert store.fit_scenes("eth_test") == store.splits["eth_train"]
    assert store.fit_scenes("eth_val") == store.splits["eth_train"]
    assert store.fit_scenes("eth_train") == ["biwi_eth"]
    assert store.fit_scenes("all") == []


def test_the_fingerprint_follows_every_file(root):
    before = EthUcySource(root).fingerprint()
    assert EthUcySource(root).fingerprint() == before
    (root / "val" / "students003_val.txt").write_text(ROWS + "820 7 3 4\n")
    assert EthUcySource(root).fingerprint() != before


@pytest.mark.parametrize("gone", ["all", "val", "train/uni_examples_train.txt"])
def test_a_missing_folder_or_file_is_named(root, gone):
    shutil.rmtree(root / gone) if (root / gone).is_dir() else (root / gone).unlink()
    with pytest.raises(ForecastError, match=rf"{gone}.*: no such file; give a folder with all/"):
        EthUcySource(root)


def test_a_wrong_row_is_named_by_file_and_line(root):
    with pytest.raises(ForecastError, match=r"all/biwi_eth.txt: line 2 is '10 1 2'; 4 columns"):
        read_with(root, "0 1 2 3\n10 1 2\n")


@pytest.mark.parametrize(("first", "spacing"), [(780, 6), (1, 10), (0, 12), (21, 10)])
def test_original_frame_numbers_give_the_same_steps(root, first, spacing):
    rows = [(0, 1, 0.5), (1, 1, 1.0), (3, 1, 2.0), (3, 7, 3.0), (4, 7, 3.5), (5, 7, 4.0)]
    text = "".join(f"{first + spacing * t}\t{person}\t{x}\t0\n" for t, person, x in rows)
    scene, _ = read_with(root, text)
    assert scene.tracks.valid.astype(int).tolist() == [[1, 1, 0, 1, 0, 0], [0, 0, 0, 1, 1, 1]]
    assert scene.tracks.positions_m[0, :, 0].tolist() == [0.5, 1, 0, 2, 0, 0]
    assert scene.frame_ids[0] == str(first)
    assert np.diff(scene.timestamps_us).tolist() == [400_000] * 5


def test_a_fold_of_social_gan_is_read_as_it_is(tmp_path):
    for name in ("train/biwi_hotel_train", "val/biwi_hotel_val", "test/biwi_eth"):
        path = tmp_path / "eth" / f"{name}.txt"
        path.parent.mkdir(parents=True)
        path.write_text(f"{ROWS}820 7 3 4.{len(name)}\n")
    for folder, prefix in ((tmp_path, "eth_"), (tmp_path / "eth", "")):
        source = EthUcySource(folder)
        assert source.splits() == {
            f"{prefix}test": ["biwi_eth"],
            f"{prefix}train": ["biwi_hotel_train"],
            f"{prefix}val": ["biwi_hotel_val"],
        }
        assert source.read("biwi_hotel_val")[0].location == "hotel"


def test_own_recordings_are_read(tmp_path):
    (tmp_path / "my_plaza.txt").write_text(ROWS)
    source = EthUcySource(tmp_path)
    assert source.splits() == {"all_recordings": ["my_plaza"]}
    assert source.read("my_plaza")[0].tracks.agent_ids.tolist() == ["1", "7"]


def test_an_unknown_scene_lists_the_known_ones(root):
    with pytest.raises(ForecastError, match="scene 'zurich' is unknown; one of biwi_eth, "):
        EthUcySource(root).read("zurich")


@pytest.mark.parametrize(
    ("fold", "count", "ade_m", "fde_m"),
    [
        ("eth", 364, 1.075, 2.282),
        ("hotel", 1197, 0.319, 0.614),
        ("univ", 24334, 0.524, 1.165),
        ("zara1", 2356, 0.427, 0.952),
        ("zara2", 5910, 0.324, 0.724),
    ],
)
def test_constant_velocity_on_the_real_recordings(eth_ucy_root, fold, count, ade_m, fde_m):
    """The count of test trajectories and the known errors of constant velocity."""
    source = EthUcySource(eth_ucy_root)
    spec = WindowSpec.of_protocol("eth-ucy-v1", source.dt_s, history_s=2.8, horizon_s=4.8)
    errors = np.concatenate(
        [_cv_errors(source.read(name)[0], spec) for name in source.splits()[f"{fold}_test"]]
    )
    assert len(errors) == count
    assert errors.mean() == pytest.approx(ade_m, abs=6e-4)
    assert errors[:, -1].mean() == pytest.approx(fde_m, abs=6e-4)


@pytest.mark.parametrize(("fold", "first", "spacing"), [("eth", 780, 6), ("hotel", 1, 10)])
def test_original_frame_numbers_change_no_position(eth_ucy_root, tmp_path, fold, first, spacing):
    (recording,) = FOLDS[fold]
    whole = eth_ucy_root / "all" / f"{recording}.txt"
    rows = np.loadtxt(whole)
    rows[:, 0] = first + (rows[:, 0] - rows[0, 0]) / 10 * spacing
    lines = [f"{frame:e} {person} {x} 0 {y} 0 0 0\n" for frame, person, x, y in rows.tolist()]
    (tmp_path / "obsmat.txt").write_text("".join(lines))
    ours = EthUcySource(tmp_path).read(tmp_path.name)[0].tracks
    theirs = EthUcySource(eth_ucy_root).read(recording)[0].tracks
    assert ours.agent_ids.tolist() == theirs.agent_ids.tolist()
    np.testing.assert_array_equal(ours.positions_m, theirs.positions_m)
    np.testing.assert_array_equal(ours.valid, theirs.valid)


def _cv_errors(scene, spec):
    """Errors of every scored trajectory ``[N, T]``."""
    agent, at = np.nonzero(prediction_times(scene, spec).scored)
    positions = scene.tracks.positions_m.astype(np.float64)
    now, ahead = positions[agent, at], np.arange(1, spec.horizon_steps + 1)
    velocity = now - positions[agent, at - 1]
    predicted = now[:, None] + velocity[:, None] * ahead[:, None]
    return np.linalg.norm(predicted - positions[agent[:, None], at[:, None] + ahead], axis=-1)
