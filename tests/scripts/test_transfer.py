"""The page on transfer says what `forecast evaluate` says now."""

import json
import re
from pathlib import Path

import pytest

from forecast.cli import main
from scripts.tables import RESULTS

COLUMNS = ("top1_{}_m", "min_{}_20_m", "modes_min_{}_20_m")
LAST_DIGIT = 0.0011
"""Three decimals; another processor may round the last one otherwise."""


def row(name: str) -> list[float]:
    """The numbers of mini_val in a row of the table that the script writes."""
    text = (RESULTS / "transfer.md").read_text(encoding="utf-8")
    block = text.partition("<!-- streets:begin -->")[2].partition("<!-- streets:end -->")[0]
    (line,) = (line for line in block.splitlines() if line.startswith(f"| {name} |"))
    cells = line.split("|")[2 : 2 + len(COLUMNS)]
    return [float(number) for cell in cells for number in re.findall(r"\d+\.\d+", cell)]


@pytest.mark.slow
def test_the_packaged_weights_have_the_figures_of_the_page(nuscenes_root: Path, tmp_path: Path):
    store = ["--store", str(tmp_path / "store")]
    words = ["--source", "nuscenes", "--dataroot", str(nuscenes_root), "--version", "v1.0-mini"]
    assert main(["prepare", *words, "--out", str(tmp_path / "store")]) == 0
    out = tmp_path / "town"
    words = [*store, "--split", "mini_val", "--predictor", "town", "--out", str(out)]
    assert main(["evaluate", *words]) == 0
    scores = json.loads((out / "metrics.json").read_text())
    names = [column.format(what) for column in COLUMNS for what in ("ade", "fde")]
    assert row("town") == pytest.approx([scores["movers"][name] for name in names], abs=LAST_DIGIT)
    floor = scores["floors"]["constant_velocity"]["movers"]
    theirs = [floor["top1_ade_m"], floor["top1_fde_m"]]
    assert row("constant_velocity") == pytest.approx(theirs, abs=LAST_DIGIT)
