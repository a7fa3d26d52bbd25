import os
import signal
import subprocess
import sys

import pytest

from forecast.files import completed


def test_a_file_or_folder_replaces_what_was_there(tmp_path):
    for content in ("first", "second"):
        with completed(tmp_path / "file") as path:
            path.write_text(content)
        with completed(tmp_path / "folder") as path:
            path.mkdir()
            (path / content).touch()
    assert (tmp_path / "file").read_text() == "second"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["second"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_after_an_error_all_is_as_before(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()

    def fail() -> None:
        with completed(tmp_path / "folder") as path:
            path.mkdir()
            (path / "new").touch()
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        fail()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == [
        "folder",
        "folder/old",
    ]


def test_a_killed_process_leaves_nothing_under_the_name(tmp_path):
    script = (
        "import os, signal, sys; from pathlib import Path; from forecast.files import completed\n"
        "with completed(Path(sys.argv[1])) as path:\n"
        "    path.mkdir(); (path / 'half').touch(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "out")], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
