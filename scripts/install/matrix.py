"""The fast tests on each Python, with the lowest and with the newest allowed versions."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from forecast.errors import ForecastError

from .environments import ROOT, WHEELS, direct_dependencies, environment, installed

PYTHONS = ("3.10", "3.11", "3.12")
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
TESTS = ("tests/scene", "tests/datasets", "tests/models", "tests/inference")


def measure(python: str, versions: str, work: Path) -> None:
    """Runs the tests in an environment of its own, and keeps the result in the folder `work`.

    Raises:
        ForecastError: There is no such Python, or no such set of versions, or pytest did not run.
    """
    words = [*WHEELS, "--resolution", RESOLUTIONS[versions], "--editable", f"{ROOT}[dev]"]
    with environment(work, python, *words) as folder:
        report = folder / "report.xml"
        words = ["-m", "pytest", "-m", "not slow", f"--junitxml={report}", *TESTS]
        subprocess.run([folder / "bin" / "python", *words], cwd=ROOT, check=False)
        if not report.is_file():
            raise ForecastError(f"pytest wrote no result on Python {python}, {versions} versions")
        found = {"installed": installed(folder), **counted(report)}
    (work / f"{python}, {versions}.json").write_text(json.dumps(found), encoding="utf-8")


def counted(report: Path) -> dict[str, Any]:
    """What pytest's JUnit report says: how many tests passed and were skipped, which failed."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    kinds = [{child.tag for child in case} for case in cases]
    failed = [
        f"{case.get('classname')}.{case.get('name')}"
        for case, found in zip(cases, kinds, strict=True)
        if {"failure", "error"} & found
    ]
    skipped = sum("skipped" in found for found in kinds)
    return {"passed": len(cases) - skipped - len(failed), "skipped": skipped, "failed": failed}


def results(work: Path) -> dict[str, dict[str, Any]]:
    """The results that are kept in a folder, by Python and versions."""
    files = sorted(work.glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


def table(found: dict[str, dict[str, Any]]) -> str:
    """Two Markdown tables: what passed, and the versions with which."""
    lines = ["| Python, versions | passed | skipped | failed |", "|---" * 4 + "|"]
    for name, each in found.items():
        lines.append(f"| {name} | {each['passed']:,} | {each['skipped']} | {len(each['failed'])} |")
    lines += ["", f"| | allowed | {' | '.join(found)} |", "|---" * (2 + len(found)) + "|"]
    for name, requirement in direct_dependencies().items():
        allowed = ", ".join(sorted(str(requirement.specifier).split(","), reverse=True))
        cells = [each["installed"].get(name, "-") for each in found.values()]
        lines.append(f"| {name} | {allowed} | {' | '.join(cells)} |")
    return "\n".join(lines)
