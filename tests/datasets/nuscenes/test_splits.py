import json

import pytest

from forecast.datasets.nuscenes.splits import read_splits
from forecast.errors import ForecastError

SCENES = ["scene-0103", "scene-0061", "my-scene"]


def test_official_splits_are_restricted_to_the_scenes_there_are(tmp_path):
    assert read_splits(tmp_path, SCENES) == {
        "train": ["scene-0061"],
        "val": ["scene-0103"],
        "mini_train": ["scene-0061"],
        "mini_val": ["scene-0103"],
        "train_detect": ["scene-0061"],
    }
    assert read_splits(tmp_path, ["my-scene"]) == {}


def write(folder, splits):
    (folder / "splits.json").write_text(json.dumps(splits))


def test_custom_splits_take_part(tmp_path):
    write(tmp_path, {"mine": ["my-scene", "scene-0103"], "theirs": ["absent"]})
    splits = read_splits(tmp_path, SCENES)
    assert splits["mine"] == ["my-scene", "scene-0103"]
    assert "theirs" not in splits
    assert splits["val"] == ["scene-0103"]


def test_a_dataset_without_official_scenes_may_use_official_names(tmp_path):
    write(tmp_path, {"train": ["a", "b"], "val": ["c"]})
    assert read_splits(tmp_path, ["a", "b", "c"]) == {"train": ["a", "b"], "val": ["c"]}


def test_an_official_split_cannot_be_changed(tmp_path):
    write(tmp_path, {"val": ["scene-0103", "my-scene"]})
    with pytest.raises(ForecastError, match=r"splits\.json: split 'val' has other scenes than the"):
        read_splits(tmp_path, SCENES)


def test_splits_that_are_no_lists_are_refused(tmp_path):
    write(tmp_path, {"val": "scene-0103"})
    with pytest.raises(ForecastError, match=r"splits\.json: Expected `array`, got `str`"):
        read_splits(tmp_path, SCENES)
