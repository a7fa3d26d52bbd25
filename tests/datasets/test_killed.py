"""A `prepare` or a worker of it that is killed, at any moment."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from forecast.datasets.store import prepare
from tests.any_scene import assert_equal
from tests.datasets.line_source import LineSource

KILLED_WHILE_READING = """
class Killed(LineSource):
    def read(self, name):
        while name == "scene-2":
            if (out / "scenes" / "scene-1.arrow").exists():
                os._exit(9)
        return super().read(name)
"""
KILLED_WHILE_WRITING = """
Killed = LineSource
write = Path.write_bytes

def dying_write(path, content):
    if "scene-2" in path.name:
        write(path, bytes(content)[:100])
        os._exit(9)
    return write(path, content)

Path.write_bytes = dying_write
"""


SLOW = """
import time

class Killed(LineSource):
    def read(self, name):
        (out.parent / "begun" / f"{name}.{os.getpid()}").touch()
        time.sleep(0.1)
        return super().read(name)
"""


def preparing(out: Path, killed: str, workers: int, names: str = "") -> subprocess.Popen[str]:
    """A process that prepares the source ``Killed``."""
    script = [
        "import os; from pathlib import Path",
        "from forecast.datasets.store import prepare",
        "from forecast.parallel import Workers",
        "from tests.datasets.line_source import LineSource",
        f"out = Path({str(out)!r})",
        killed,
        f"prepare(Killed({names}), out, strict=True, workers=Workers({workers}))",
    ]
    return subprocess.Popen(
        [sys.executable, "-c", "\n".join(script)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("killed", "workers", "code"),
    [
        (KILLED_WHILE_READING, 1, 9),
        (KILLED_WHILE_READING, 2, 1),
        (KILLED_WHILE_WRITING, 1, 9),
        (KILLED_WHILE_WRITING, 2, 1),
    ],
)
def test_a_killed_prepare_leaves_no_half_scene_and_resumes(tmp_path, killed, workers, code):
    out = tmp_path / "store"
    process = preparing(out, killed, workers)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == code, errors
    assert ("scene-2 (its worker was killed 3 times" in errors) == (workers > 1)
    assert (out / "store.json").exists() == (workers > 1)  # without them the others are lost
    finished = {path.name for path in out.glob("scenes/*.arrow")}
    assert "scene-1.arrow" in finished
    assert "scene-2.arrow" not in finished
    source = LineSource()
    store = prepare(source, out)
    assert "scene-1" not in source.reads
    assert_equal(store["scene-1"], source.read("scene-1")[0])
    assert not list(out.rglob(".*.forecast-part"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_prepare_killed_from_outside_loses_only_the_scenes_in_work(tmp_path, workers):
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc to see which processes are alive")
    out, begun = tmp_path / "store", tmp_path / "begun"
    begun.mkdir()
    names = [f"scene-{number}" for number in range(30)]
    process = preparing(out, SLOW, workers, repr(names))
    try:
        wait_until(lambda: len(list(out.glob("scenes/*.arrow"))) >= 3)
    finally:
        process.kill()
        process.communicate(timeout=60)  # workers that live on keep its pipe open
    workers_ids = {int(path.suffix[1:]) for path in begun.iterdir()}
    wait_until(lambda: not any(map(is_alive, workers_ids)))
    kept = {path.stem for path in out.glob("scenes/*.arrow")}
    assert len({path.stem for path in begun.iterdir()} - kept) <= workers
    source = LineSource(names)
    assert prepare(source, out).scene_names == names
    assert source.reads == [name for name in names if name not in kept]
