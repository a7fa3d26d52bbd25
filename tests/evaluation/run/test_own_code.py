import hashlib
import sys
from pathlib import Path

import pytest

from forecast import ForecastError
from forecast.evaluation.run.own_code import imported, is_importable


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, which is not on the path of modules yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_modules_of_the_current_folder_are_found_with_their_hash(folder):
    (folder / "theirs_a.py").write_text("answer = 42\n")
    found, code = imported("predictor", "theirs_a:answer")
    assert found == 42
    assert (code.source, code.name, code.file) == ("theirs_a:answer", "answer", "theirs_a.py")
    assert code.sha256 == hashlib.sha256(b"answer = 42\n").hexdigest()
    assert sys.path[-1] == str(folder)  # last, so that it hides no installed module


def test_a_module_without_a_file_has_no_hash(folder):
    assert str(imported("metric", "sys:path")[1]) == "sys:path, no file, SHA-256 not known"


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("no_such_module:f", None, "run in the folder that holds it, or set PYTHONPATH to that"),
        ("theirs_b:f", "import not_there", "No module named 'not_there'; repair the module"),
        ("theirs_c:f", "raise SystemExit(0)", "SystemExit: 0; repair the module"),
        ("theirs_d:walkr", "def walker(): ...", "did you mean 'theirs_d:walker'?"),
        ("json:f", "", "an installed module has the name of json.py; rename the file"),
    ],
)
def test_what_cannot_be_imported_is_one_line(folder, source, code, words):
    if code is not None:
        (folder / f"{source.partition(':')[0]}.py").write_text(code)
    with pytest.raises(ForecastError) as error:
        imported("metric", source)
    assert str(error.value).startswith(f"metric '{source}' cannot be imported: ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_which_words_name_code():
    assert is_importable("mine:Walker")
    assert is_importable("mine.models:Walker")
    assert not any(map(is_importable, ("mine", "mine.py:Walker", "a/b:c", "1a:b", "a:", ":b")))
