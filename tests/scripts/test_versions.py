"""What scripts/versions does with each environment, and the versions that the checkout names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from forecast.errors import ForecastError
from scripts.install import built, environments, matrix

ROOT = environments.ROOT


def pins(python: str) -> dict[str, str]:
    """The version of each package in .ci/constraints.txt on one Python, on Linux."""
    machine = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "platform_machine": "x86_64",
        "sys_platform": "linux",
    }
    lines = environments.CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    here = [each for each in found if each.marker is None or each.marker.evaluate(machine)]
    assert len({each.name for each in here}) == len(here)
    return {canonicalize_name(each.name): next(iter(each.specifier)).version for each in here}


@pytest.mark.parametrize("python", matrix.PYTHONS)
def test_the_constraints_have_an_allowed_version_of_every_direct_dependency(python: str) -> None:
    """If this fails, run scripts/versions constraints."""
    found = pins(python)
    direct = environments.direct_dependencies()
    assert {"torch", "pytest", "ray", "uv"} <= set(direct)
    wrong = [name for name, each in direct.items() if found.get(name, "") not in each.specifier]
    assert wrong == []


def test_every_dependency_has_both_bounds() -> None:
    for name, requirement in environments.direct_dependencies().items():
        assert {each.operator for each in requirement.specifier} >= {">=", "<"}, name


def test_citation_and_changes_are_of_this_version() -> None:
    version = metadata.version("forecast")
    citation = (ROOT / "forecast" / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "forecast" / "CHANGES.md").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in citation
    assert re.findall(r"^## (\S+)", changes, re.MULTILINE)[0] == version


def test_the_results_of_an_environment_are_counted(tmp_path: Path) -> None:
    source = """
import pytest
def test_holds(): pass
@pytest.mark.parametrize("n", range(2))
def test_fails(n): assert n
def test_skips(): pytest.skip("why")
@pytest.fixture
def broken(): raise ValueError
def test_has_no_fixture(broken): pass
"""
    (tmp_path / "test_some.py").write_text(source)
    words = ["-m", "pytest", "-p", "no:cacheprovider", "--junitxml=report.xml", "test_some.py"]
    subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, check=False)
    assert matrix.counted(tmp_path / "report.xml") == {
        "passed": 2,
        "skipped": 1,
        "failed": ["test_some.test_fails[0]", "test_some.test_has_no_fixture"],
    }


def test_the_table_has_a_column_for_each_environment(tmp_path: Path) -> None:
    found = {"installed": {"torch": "2.10.0"}, "passed": 1234, "skipped": 5, "failed": ["a.b"]}
    (tmp_path / "3.10, lowest.json").write_text(json.dumps(found))
    (tmp_path / "3.11, newest.json").write_text(json.dumps({**found, "failed": []}))
    lines = matrix.table(matrix.results(tmp_path)).splitlines()
    assert "| 3.10, lowest | 1,234 | 5 | 1 |" in lines
    assert "| 3.11, newest | 1,234 | 5 | 0 |" in lines
    assert "| | allowed | 3.10, lowest | 3.11, newest |" in lines
    torch = next(line for line in lines if line.startswith("| torch |"))
    assert torch.endswith("| 2.10.0 | 2.10.0 |")
    assert torch.startswith("| torch | >=2.10, <")


def test_what_uv_cannot_do_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ForecastError, match=r"^uv venv --quiet failed: [^\n]+$"):
        environments.uv("venv", "--quiet", "--python", "2.0", str(tmp_path / "none"))


def test_a_wheel_that_lacks_a_file_is_noticed(tmp_path: Path) -> None:
    listed = ["git", "ls-files", "forecast"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    kept = [name for name in names.split() if name != "forecast/py.typed"]
    with ZipFile(tmp_path / "some.whl", "w") as archive:
        for name in kept:
            archive.writestr(name, "")
    assert built.lacking(tmp_path / "some.whl") == ["forecast/py.typed"]
