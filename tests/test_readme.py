"""What the README shows a planner's author runs as it stands."""

from __future__ import annotations

import re

import numpy as np

from forecast.scene import AgentKind, Grid
from tests.scenes import street_scene
from tests.test_contract import ROOT


def tick(step: int) -> dict[str, object]:
    """What a vehicle's tracker says twice a second."""
    return {
        "at_us": 500_000 * step,
        "agent_ids": ["ada", "ego"],
        "kinds": [AgentKind.PEDESTRIAN, AgentKind.EGO],
        "positions_m": [[0.6 * step, 5.0], [0.0, 0.0]],
        "headings_rad": [0.0, 0.0],
    }


def test_the_examples_run():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    scene = street_scene(steps=8)
    tracks, seen = scene.tracks, scene.tracks.kinds != AgentKind.STATIC
    names = {
        "positions_m": tracks.positions_m[seen],
        "headings_rad": tracks.headings_rad[seen],
        "kinds": tracks.kinds[seen],
        "plan": np.zeros((12, 3)),
        "grid": Grid(-20, -20, 1.0, 40, 40),
        "ticks": [tick(step) for step in range(3)],
    }
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 4
    assert names["after"].shape == names["instead"].shape == (64, seen.sum(), 2)
    assert len(names["ranking"].plans) == 1000
