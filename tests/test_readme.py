"""What the README shows runs as it stands; it is short; links of all pages lead to files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from forecast.scene import AgentKind
from tests.scenes import drive, street_scene
from tests.test_contract import ROOT

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "forecast").rglob("*.md")),
    *sorted((ROOT / "scripts" / "results").glob("*.md")),
]


def test_the_examples_run():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    scene = street_scene(steps=8)
    tracks, seen = scene.tracks, scene.tracks.kinds != AgentKind.STATIC
    names = {
        "positions_m": tracks.positions_m[seen],
        "headings_rad": tracks.headings_rad[seen],
        "kinds": tracks.kinds[seen],
        "plan": drive(scene, 7, 12),
    }
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 1
    assert names["futures"].positions_m.shape == (20, seen.sum(), 12, 2)
    assert len(names["ranking"].plans) == 1000


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, flags=re.DOTALL)
    assert all(len(block.splitlines()) <= 10 for block in blocks if "forecast/\n" not in block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_to_files(page: Path):
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (page.parent / path).exists(), path
