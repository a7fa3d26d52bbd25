import pytest

from forecast import ForecastError
from forecast.datasets.crowds.recordings import ALL, find_recordings


def write(root, files):
    """Writes files; those without a content of their own hold their path."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content or f"# {name}\n0 1 2 3\n")


def names_and_splits(root, *files, **contents):
    write(root, dict.fromkeys(files, ""))
    recordings, splits = find_recordings(root)
    return {name: str(path.relative_to(root)) for name, path in recordings.items()}, splits


def test_a_plain_folder_with_any_names_and_folders(tmp_path):
    recordings, splits = names_and_splits(
        tmp_path, "a plaza.txt", "Gate.CSV", "day 2/gate_0", "README.txt", "map.png", ".x/y.txt"
    )
    assert recordings == {
        "Gate": "Gate.CSV",
        "a plaza": "a plaza.txt",
        "gate_0": "day 2/gate_0",
    }
    assert splits == {ALL: ["Gate", "a plaza", "gate_0"]}


def test_one_file(tmp_path):
    write(tmp_path, {"plaza.txt": "", "other.txt": ""})
    recordings, splits = find_recordings(tmp_path / "plaza.txt")
    assert recordings == {"plaza": tmp_path / "plaza.txt"}
    assert splits == {ALL: ["plaza"]}


def test_folders_train_val_test_are_splits(tmp_path):
    recordings, splits = names_and_splits(tmp_path, "train/a.txt", "validation/b.txt", "Test/c.txt")
    assert recordings == {"a": "train/a.txt", "b": "validation/b.txt", "c": "Test/c.txt"}
    assert splits == {"train": ["a"], "val": ["b"], "test": ["c"]}


def test_parts_of_one_name_have_the_names_of_their_folders(tmp_path):
    recordings, splits = names_and_splits(tmp_path, "train/plaza.txt", "val/plaza.txt")
    assert list(recordings) == ["train/plaza", "val/plaza"]
    assert splits == {"train": ["train/plaza"], "val": ["val/plaza"]}


def test_two_endings_of_one_name_stay_apart(tmp_path):
    recordings, _ = names_and_splits(tmp_path, "plaza.txt", "plaza.csv")
    assert recordings == {"plaza.csv": "plaza.csv", "plaza.txt": "plaza.txt"}


def test_the_folds_of_social_gan_share_their_recordings(tmp_path):
    eth, hotel = "0 1 2 3\n", "0 1 4 5\n"
    write(
        tmp_path,
        {
            "eth/train/biwi_hotel_train.txt": hotel,
            "eth/test/biwi_eth.txt": eth,
            "hotel/train/biwi_eth_train.txt": eth,
            "hotel/test/biwi_hotel.txt": hotel,
            "zara1/train/biwi_hotel_train.txt": hotel,
            "zara1/train/biwi_eth_train.txt": eth,
        },
    )
    recordings, splits = find_recordings(tmp_path)
    assert set(recordings) == {"biwi_eth", "biwi_eth_train", "biwi_hotel", "biwi_hotel_train"}
    assert splits == {
        "eth_test": ["biwi_eth"],
        "eth_train": ["biwi_hotel_train"],
        "hotel_test": ["biwi_hotel"],
        "hotel_train": ["biwi_eth_train"],
        "zara1_train": ["biwi_eth_train", "biwi_hotel_train"],
    }


def test_trajnet_has_its_splits_above_the_folders(tmp_path):
    recordings, splits = names_and_splits(
        tmp_path, "train/real_data/cff_06.ndjson", "test/real_data/biwi_eth.ndjson"
    )
    assert splits == {"test": ["biwi_eth"], "train": ["cff_06"]}
    assert recordings["cff_06"] == "train/real_data/cff_06.ndjson"


def test_opentraj_recordings_are_named_after_their_folders(tmp_path):
    recordings, splits = names_and_splits(
        tmp_path,
        "ETH/seq_eth/obsmat.txt",
        "ETH/seq_eth/H.txt",
        "ETH/seq_eth/destinations.txt",
        "UCY/zara01/obsmat.txt",
        "UCY/zara01/annotation.vsp",
    )
    assert recordings == {"seq_eth": "ETH/seq_eth/obsmat.txt", "zara01": "UCY/zara01/obsmat.txt"}
    assert splits == {ALL: ["seq_eth", "zara01"]}


def test_a_folder_without_rows_is_refused(tmp_path):
    (tmp_path / "video.mp4").touch()
    with pytest.raises(ForecastError, match=r"no recording such as plaza\.txt; give a folder of"):
        find_recordings(tmp_path)
    (tmp_path / "crowds_zara01.vsp").touch()
    with pytest.raises(ForecastError, match=r"plaza\.txt: \.vsp files hold splines in pixels; "):
        find_recordings(tmp_path)
