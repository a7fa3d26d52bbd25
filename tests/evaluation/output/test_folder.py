import pytest

from forecast import ForecastError
from forecast.evaluation.output.folder import whole_folder


def names(path):
    return sorted(p.name for p in path.iterdir())


def fail_in(out):
    with whole_folder(out) as folder:
        (folder / "metrics.json").write_text("half")
        raise KeyError


def enter(out):
    with whole_folder(out):
        pytest.fail("must not be entered")


def test_the_folder_is_there_only_after_the_block(tmp_path):
    out = tmp_path / "runs" / "first"
    with whole_folder(out) as folder:
        (folder / "metrics.json").write_text("1")
        assert not out.exists()
    assert names(out) == ["metrics.json"]
    assert names(out.parent) == ["first"]


def test_replaces_an_evaluation(tmp_path):
    out = tmp_path / "out"
    for text in ("old", "new"):
        with whole_folder(out) as folder:
            (folder / "metrics.json").write_text(text)
    assert (out / "metrics.json").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_a_failure_leaves_everything_as_it_was(tmp_path):
    out = tmp_path / "out"
    with whole_folder(out) as folder:
        (folder / "metrics.json").write_text("old")
    with pytest.raises(KeyError):
        fail_in(out)
    assert (out / "metrics.json").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_refuses_a_folder_that_holds_something_else(tmp_path):
    (tmp_path / "metrics.json").touch()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ForecastError) as error:
        enter(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: holds 'thesis.tex', which is no part of an evaluation; "
        "give a new or empty folder"
    )
    assert names(tmp_path) == ["metrics.json", "thesis.tex"]


def test_refuses_a_file(tmp_path):
    out = tmp_path / "out"
    out.touch()
    with pytest.raises(ForecastError, match="is a file; give a folder for an evaluation"):
        enter(out)


def test_says_what_the_disk_says(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ForecastError, match="file: is a file, and a folder is needed; check"):
        enter(tmp_path / "file" / "out")
