"""The constraints file, and what an advisory database says of its versions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

from forecast.errors import ForecastError

from .environments import CONSTRAINTS, ROOT, uv

_HEADER = """\
# The newest versions that pyproject.toml allows together; scripts/setup installs them.
# Made by `scripts/versions constraints`.
"""


def pin() -> int:
    """Writes .ci/constraints.txt; returns its number of versions."""
    words = ["--quiet", "--no-hashes", "--no-header", "--no-annotate", "--no-emit-project"]
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ):
        os.environ.pop("UV_FIND_LINKS", None)  # builds at hand have versions that others cannot get
        shutil.copy(ROOT / "pyproject.toml", folder)  # uv leaves a lock file beside it
        found = uv("export", *words, "--extra", "dev", "--no-build", "--project", folder)
    CONSTRAINTS.write_text(_HEADER + found, encoding="utf-8")
    return len(found.splitlines())


def audit() -> str:
    """A Markdown table of the advisories about versions in .ci/constraints.txt.

    Raises:
        ForecastError: No database could be asked about some version.
    """
    words = ["--strict", "--no-deps", "--disable-pip", "--format", "json", "-r", str(CONSTRAINTS)]
    command = [sys.executable, "-m", "uv", "tool", "run", "--quiet", "pip-audit", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        why = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ForecastError(f"pip-audit could not ask its database: {why}") from None
    lines = ["| package | version | advisory | mended in |", "|---" * 4 + "|"]
    for each in packages:
        for found in each["vulns"]:
            mended = ", ".join(found["fix_versions"]) or "-"
            lines.append(f"| {each['name']} | {each['version']} | {found['id']} | {mended} |")
    nothing = f"No advisory about any of {len(packages)} versions."
    return "\n".join(lines) if len(lines) > 2 else nothing
