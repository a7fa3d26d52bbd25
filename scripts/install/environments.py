"""Environments of their own, made and removed by uv."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from forecast.errors import ForecastError

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
WHEELS = ("--only-binary", ":all:")
"""Nothing is built from source: what needs a compiler is no version to offer to users."""


def direct_dependencies() -> dict[str, Requirement]:
    """Requirements of the package, its extras and its tools included, by normalized name."""
    found = map(Requirement, metadata.requires("forecast") or [])
    named = {canonicalize_name(each.name): each for each in found}
    return {name: each for name, each in sorted(named.items()) if name != "forecast"}


def uv(*words: str) -> str:
    """What a command of uv prints.

    Raises:
        ForecastError: It failed; the message has its last words.
    """
    command = [sys.executable, "-m", "uv", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        why = " ".join(done.stderr.split())[-400:]
        raise ForecastError(f"uv {' '.join(words[:2])} failed: {why}")
    return done.stdout


@contextmanager
def environment(work: Path, python: str, *words: str) -> Iterator[Path]:
    """An environment with what `uv pip install` installs by these words; removed at the end.

    Args:
        work: Folder that gets the environment for as long.
        python: Version of Python.
        words: Packages, and options of uv.

    Raises:
        ForecastError: There is no such Python, or something cannot be installed.
    """
    with tempfile.TemporaryDirectory(prefix=f"python-{python}-", dir=work) as name:
        folder = Path(name) / "environment"
        uv("venv", "--quiet", "--python", python, str(folder))
        uv("pip", "install", "--quiet", "--python", str(folder), *words)
        yield folder


def installed(folder: Path) -> dict[str, str]:
    """Versions of the packages in an environment, by normalized name."""
    listed = json.loads(uv("pip", "list", "--format", "json", "--python", str(folder)))
    return {canonicalize_name(each["name"]): each["version"] for each in listed}
