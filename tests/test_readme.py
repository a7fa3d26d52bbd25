"""What the README shows runs as it stands; it is short; links of all pages lead to files."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import forecast
from tests.test_contract import ROOT

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "forecast").rglob("*.md")),
    *sorted((ROOT / "scripts" / "results").glob("*.md")),
]


README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_examples_run_as_they_stand(tmp_path, monkeypatch):
    """One after the other in an empty folder, with nothing that the README does not show."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names = {"__name__": "readme"}
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 3
    assert names["futures"].positions_m.shape == (20, 2, 12, 2)
    assert len(names["ranking"].plans) == 1000
    assert names["live"].agent_ids.tolist() == names["futures"].agent_ids.tolist() == ["0", "1"]
    assert len(names["message"]["objects"]) == 1
    assert (tmp_path / "futures.png").stat().st_size > 10_000


def test_the_lines_that_show_nothing_answer_what_they_say(tmp_path, monkeypatch):
    """The walker comes from the left of the car and steps into its lane."""
    monkeypatch.chdir(tmp_path)
    _, first, second = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(first, names)
    asked = [line for line in second.splitlines() if line.startswith("futures.")]
    (entered, crossed), (region, occupied) = (eval(line, names) for line in asked)
    assert entered.of("0")[0] > 0.5
    assert crossed.of("0")[0] > 0.5
    assert region.polygon.area > 0
    assert occupied.shape == (12, 40, 80)


def test_the_metric_is_the_error_of_the_last_second():
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[0], names)
    mode = torch.tensor([[[9.0, 9.0], [0.0, 0.0], [3.0, 4.0]]])
    scored = SimpleNamespace(mode_m=mode, truth_m=torch.zeros(1, 3, 2))
    assert names["late_error_m"](scored).tolist() == [2.5]


def test_the_names_of_the_package_are_there():
    named = set(re.findall(r"forecast\.([A-Za-z_]+)(?=[(\[])", README))
    assert {"load", "plot", "Grid", "Frame"} <= named
    assert [name for name in named if not hasattr(forecast, name)] == []


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200
    blocks = re.findall(r"```[a-z]*\n(.*?)```", README, flags=re.DOTALL)
    assert all(len(block.splitlines()) <= 10 for block in blocks)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_to_files(page: Path):
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (page.parent / path).exists(), path
