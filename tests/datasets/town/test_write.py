import json
from pathlib import Path

import pytest

from forecast.datasets.town import write, write_town
from forecast.errors import ForecastError
from tests.datasets.town.conftest import SCENES, SEED

TABLES = {
    "attribute", "calibrated_sensor", "category", "ego_pose", "instance", "log", "map", "sample",
    "sample_annotation", "sample_data", "scene", "sensor", "visibility", "splits",
}  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_all_tables_and_maps_are_written(town):
    assert {p.stem for p in (town / "v1.0-town").iterdir()} == TABLES
    assert len(list((town / "maps" / "expansion").iterdir())) == SCENES
    assert not list(town.parent.glob(".*partial"))


def test_the_same_seed_gives_the_same_bytes_and_a_scene_does_not_depend_on_the_others(
    town, tmp_path
):
    write_town(tmp_path / "one", scenes=1, seed=SEED)
    write_town(tmp_path / "again", scenes=1, seed=SEED)
    assert contents(tmp_path / "one") == contents(tmp_path / "again")

    def annotations(folder):
        return json.loads((folder / "v1.0-town" / "sample_annotation.json").read_bytes())

    alone = annotations(tmp_path / "one")
    assert alone == annotations(town)[: len(alone)]


def test_another_seed_gives_another_town(town, tmp_path):
    write_town(tmp_path / "other", scenes=1, seed=SEED + 1)
    other, this = contents(tmp_path / "other"), contents(town)
    expansion = "maps/expansion/boston-seaport.json"
    assert other[expansion] != this[expansion]


def test_an_earlier_town_is_replaced(tmp_path):
    out = tmp_path / "town"
    (out / "v1.0-town").mkdir(parents=True)
    (out / "v1.0-town" / "old.json").write_text("[]")
    write_town(out, scenes=1)
    assert not (out / "v1.0-town" / "old.json").exists()


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ForecastError, match=r"holds 'thesis\.tex', which is no part of a town"):
        write_town(tmp_path, scenes=1)
    (tmp_path / "v1.0-town").mkdir()
    with pytest.raises(ForecastError, match=r"thesis\.tex"):
        write_town(tmp_path, scenes=1)
    with pytest.raises(ForecastError, match="is a file"):
        write_town(tmp_path / "thesis.tex", scenes=1)


def test_a_folder_with_only_maps_is_not_taken_for_a_town(tmp_path):
    (tmp_path / "maps").mkdir()
    with pytest.raises(ForecastError, match="holds 'maps'"):
        write_town(tmp_path, scenes=1)


@pytest.mark.parametrize(("scenes", "seed"), [(0, 0), (1, -1)])
def test_senseless_numbers_are_refused(tmp_path, scenes, seed):
    with pytest.raises(ForecastError, match="is needed"):
        write_town(tmp_path / "town", scenes=scenes, seed=seed)
    assert not (tmp_path / "town").exists()


def test_nothing_is_left_behind_when_the_work_fails(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("disk is full")

    monkeypatch.setattr(write, "_write_tables", fail)
    with pytest.raises(RuntimeError):
        write_town(tmp_path / "town", scenes=1)
    assert list(tmp_path.iterdir()) == []
