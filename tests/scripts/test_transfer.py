"""The page on transfer says what `forecast evaluate` says now."""

import json
import re
from pathlib import Path

import pytest

from forecast.cli import main
from scripts.tables import RESULTS

COLUMNS = ("top1_fde_m", "min_fde_20_m", "selected_min_fde_20_m")
LAST_DIGIT = 0.0011
"""Three decimals; another processor may round the last one otherwise."""


def row(name: str) -> list[float]:
    """The numbers of a row of the table that the script writes."""
    text = (RESULTS / "transfer.md").read_text(encoding="utf-8")
    block = text.partition("<!-- transfer:begin -->")[2].partition("<!-- transfer:end -->")[0]
    (line,) = (line for line in block.splitlines() if line.startswith(f"| {name} |"))
    return [float(cell) for cell in re.findall(r"\d+\.\d+", line)]


@pytest.mark.slow
def test_the_packaged_weights_have_the_figures_of_the_page(nuscenes_root: Path, tmp_path: Path):
    store = ["--store", str(tmp_path / "store")]
    words = ["--source", "nuscenes", "--dataroot", str(nuscenes_root), "--version", "v1.0-mini"]
    assert main(["prepare", *words, "--out", str(tmp_path / "store")]) == 0
    out = tmp_path / "town"
    words = [*store, "--split", "mini_val", "--predictor", "town", "--out", str(out)]
    assert main(["evaluate", *words]) == 0
    scores = json.loads((out / "metrics.json").read_text())
    groups = ("movers", "all")
    ours = [scores[group][column] for group in groups for column in COLUMNS]
    assert row("town, no real data") == pytest.approx(ours, abs=LAST_DIGIT)
    floor = scores["floors"]["constant_velocity"]
    theirs = [floor[group]["top1_fde_m"] for group in groups]
    assert row("constant velocity") == pytest.approx(theirs, abs=LAST_DIGIT)
