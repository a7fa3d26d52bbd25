"""The package as a user installs it: wheel and sdist, an empty environment, a small demo."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from zipfile import ZipFile

from forecast.errors import ForecastError, require

from .environments import CONSTRAINTS, ROOT, WHEELS, environment, installed, uv

_DEMO = """
import sys
from pathlib import Path
import forecast
from forecast.demo import run_demo
assert Path(sys.prefix) in Path(forecast.__file__).parents, forecast.__file__
short = ["--trainer.max_epochs=1", "--data.windows_per_epoch=16", "--data.batch_size=8"]
quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
run_demo(Path("demo"), scenes=2, training=[*short, *quiet])
"""


def measure(python: str) -> str:
    """Builds, installs and runs the package; says in Markdown what came of it.

    Raises:
        ForecastError: It cannot be built or installed, lacks a file, or a command fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        uv("build", "--quiet", "--out-dir", name)  # the wheel is built from the sdist
        (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
        require(not (absent := lacking(wheel)), f"what {wheel.name} lacks", absent, "nothing")
        sizes = [f"- `{path.name}`: {path.stat().st_size / 1e6:.2f} MB" for path in (wheel, sdist)]
        limits = ("--constraint", str(CONSTRAINTS), *WHEELS)
        with environment(folder, python, *limits, str(wheel)) as own:
            packages = len(installed(own))
            said = _run([str(own / "bin" / "python"), "-c", _DEMO], folder)
            words = ["--store", "demo/store", "--split", "town_val", "--out", "again"]
            _run([str(own / "bin" / "forecast"), "evaluate", *words, "--predictor", "town"], folder)
            report = (folder / "again" / "report.html").stat().st_size
    best = next(line for line in said.splitlines() if "plans drives" in line)
    lines = [f"- Python {python}, {packages} packages", f"- the demo ends with: {best}"]
    return "\n".join([*sizes, *lines, f"- `forecast evaluate` then: a report of {report:,} bytes"])


def lacking(wheel: Path) -> list[str]:
    """Files of the package in the checkout, pages apart, that are not in a wheel."""
    listed = subprocess.run(
        ["git", "ls-files", "forecast"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with ZipFile(wheel) as archive:
        held = set(archive.namelist())
    return [name for name in listed.stdout.split() if name not in held and name[-3:] != ".md"]


def _run(command: list[str], folder: Path) -> str:
    """What a command prints that is run in a folder."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ForecastError(f"{' '.join(command[1:3])} ended with code {done.returncode}: {why}")
    return done.stdout
