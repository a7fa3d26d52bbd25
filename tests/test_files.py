import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forecast import ForecastError, files
from forecast.files import clear_leftovers, completed
from tests.full_disk import full_disk


def make(path: Path, content: str) -> None:
    """A folder with one file."""
    with completed(path) as new:
        new.mkdir()
        (new / content).write_text(content)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def run(script: str, *arguments: Path) -> subprocess.Popen[str]:
    """Starts a process in which `completed` is imported."""
    head = "import os, signal, sys, time; from pathlib import Path\n"
    head += "from forecast.files import completed\n"
    command = [sys.executable, "-c", head + script, *map(str, arguments)]
    return subprocess.Popen(command, env=os.environ)


HALF = (
    "with completed(Path(sys.argv[1])) as path:\n"
    "    path.mkdir(); (path / 'half').write_text('x' * 100); Path(sys.argv[2]).touch()\n"
    "    time.sleep(60)"
)


def killed_half(out: Path, mark: Path) -> None:
    """A process is killed while it writes a folder."""
    process = run(HALF, out, mark)
    while not mark.exists():
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_a_file_or_folder_replaces_what_was_there(tmp_path):
    for content in ("first", "second"):
        with completed(tmp_path / "file") as path:
            path.write_text(content)
        make(tmp_path / "folder", content)
    assert (tmp_path / "file").read_text() == "second"
    assert names(tmp_path) == ["file", "folder", "folder/second"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_is_replaced_also_where_the_system_has_no_exchange(
    tmp_path, monkeypatch, exchanges
):
    if not exchanges:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    make(tmp_path / "folder", "first")
    make(tmp_path / "folder", "second")
    assert names(tmp_path) == ["folder", "folder/second"]


def test_the_old_folder_is_there_until_the_new_one_is(tmp_path):
    """A reader that looks again and again always finds one of the two, whole."""
    make(tmp_path / "folder", "first")
    script = (
        "out = Path(sys.argv[1])\n"
        "for number in range(300):\n"
        "    with completed(out) as path:\n"
        "        path.mkdir(); (path / 'first').write_text(str(number))"
    )
    process = run(script, tmp_path / "folder")
    while process.poll() is None:
        (tmp_path / "folder" / "first").stat()
    assert process.returncode == 0


def test_after_an_error_all_is_as_before(tmp_path):
    make(tmp_path / "folder", "old")

    def fail() -> None:
        with completed(tmp_path / "folder") as path:
            path.mkdir()
            (path / "new").touch()
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        fail()
    assert names(tmp_path) == ["folder", "folder/old"]


def test_a_killed_process_leaves_nothing_under_the_name_and_the_next_run_clears(tmp_path):
    mark = tmp_path / "mark"
    (tmp_path / "runs").mkdir()
    killed_half(tmp_path / "runs" / "out", mark)
    assert not (tmp_path / "runs" / "out").exists()
    assert any(name.endswith("out/half") for name in names(tmp_path / "runs"))
    make(tmp_path / "runs" / "other", "whole")
    assert names(tmp_path / "runs") == ["other", "other/whole"]


def test_what_a_living_process_writes_is_kept(tmp_path):
    mark = tmp_path / "mark"
    process = run(HALF.replace("60", "1"), tmp_path / "out", mark)
    while not mark.exists():
        time.sleep(0.01)
    make(tmp_path / "other", "whole")
    assert process.wait() == 0
    assert (tmp_path / "out" / "half").read_text() == "x" * 100


def test_a_folder_that_a_killed_run_had_moved_away_comes_back(tmp_path):
    old = tmp_path / ".out.abcdefgh.forecast-part" / "old" / "out"
    old.mkdir(parents=True)
    (old / "content").touch()
    clear_leftovers(tmp_path)
    assert names(tmp_path) == ["out", "out/content"]


def test_the_folder_of_somebody_else_is_kept(tmp_path):
    for name in (".a.b.part", ".thesis.forecast-part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "chapter").touch()
    before = names(tmp_path)
    clear_leftovers(tmp_path)
    assert names(tmp_path) == before


def test_everything_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(
        os, "fsync", lambda file: synced.append(Path(f"/proc/self/fd/{file}").readlink())
    )
    make(tmp_path / "out", "content")
    assert [path.name for path in synced] == ["content", "out", tmp_path.name]
    assert not synced[0].is_relative_to(tmp_path / "out")  # it had not its final name yet


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (
            "file/out",
            "file: is a file, and a folder is needed; check the path, its",
        ),
        ("folder", "folder: Is a directory; check the path"),
        ("dangling", "dangling: is a link to nowhere, which is not there; make that, or remove it"),
        ("n" * 300, "n: File name too long; check the path"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, place, words):
    (tmp_path / "file").touch()
    make(tmp_path / "folder", "content")
    (tmp_path / "dangling").symlink_to("nowhere")
    before = names(tmp_path)

    def write() -> None:
        with completed(tmp_path / place) as path:
            path.write_text("new")

    with pytest.raises(ForecastError) as error:
        write()
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == before


def test_a_link_is_followed(tmp_path):
    make(tmp_path / "disk", "old")
    (tmp_path / "out").symlink_to("disk")
    make(tmp_path / "out", "new")
    assert (tmp_path / "out").is_symlink()
    assert names(tmp_path) == ["disk", "disk/new", "out"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    def write() -> None:
        with completed(tmp_path / "out") as path:
            path.write_bytes(bytes(100_000))

    with full_disk(), pytest.raises(ForecastError, match="out: File too large; check the path"):
        write()
    assert names(tmp_path) == []


WHOLE = (
    "for turn in range(20):\n"
    "    with completed(Path(sys.argv[1])) as path:\n"
    "        path.mkdir()\n"
    "        for part in range(5): (path / f'{part}').write_text(sys.argv[2])"
)


def test_runs_that_write_the_same_folder_leave_it_whole_and_of_one_run(tmp_path):
    out = tmp_path / "out"
    runs = [run(WHOLE, out, Path(word)) for word in ("one", "two", "three")]
    assert [process.wait() for process in runs] == [0, 0, 0]
    assert names(tmp_path) == ["out", *(f"out/{part}" for part in range(5))]
    assert len({(out / f"{part}").read_text() for part in range(5)}) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_that_is_ended_by_a_signal_leaves_nothing_under_the_name(tmp_path, number):
    out, mark = tmp_path / "out", tmp_path / "mark"
    heed = "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    heed += "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # below nohup it is ignored
    process = run(heed + HALF, out, mark)
    while not mark.exists():
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait() != 0
    assert not out.exists()
    clear_leftovers(tmp_path)
    assert names(tmp_path) == ["mark"]
