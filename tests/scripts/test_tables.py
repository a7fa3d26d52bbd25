import math
import re
from pathlib import Path

import pytest

from forecast.errors import ForecastError
from scripts import tables


def test_a_text_is_put_between_its_markers_again_and_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- city:begin -->\nold\n<!-- city:end -->\nb\n")
    tables.write(page, "city", "new")
    tables.write(page, "city", "newer")
    assert page.read_text() == "a\n<!-- city:begin -->\nnewer\n<!-- city:end -->\nb\n"
    with pytest.raises(ForecastError, match="<!-- town:begin -->"):
        tables.write(page, "town", "x")


def written_tables() -> list[tuple[str, str, str]]:
    """Script, page and marker of every table that a script writes."""
    found = []
    for script in sorted((tables.ROOT / "scripts").iterdir()):
        calls = re.findall(
            r'write\((RESULTS|ROOT)((?: / "[^"]+")+), "(\w+)"',
            script.read_text() if script.is_file() else "",
        )
        for base, parts, marker in calls:
            folder = getattr(tables, base).relative_to(tables.ROOT)
            found.append((script.name, "/".join([*folder.parts, *parts.split('"')[1::2]]), marker))
    return found


def test_every_script_writes_its_table_into_a_page_of_its_own() -> None:
    assert [page for _, page, _ in written_tables()] == [
        "scripts/results/scale.md",
        *["scripts/results/adaptation.md"] * 4,
        "scripts/results/planner.md",
        "scripts/results/reactions.md",
        "scripts/results/eth_ucy.md",
        "scripts/results/reactions.md",
        "scripts/results/planner.md",
        "scripts/results/nuscenes.md",
        "scripts/results/planner.md",
        "scripts/results/transfer.md",
        "scripts/results/transfer.md",
        *["forecast/simulator/README.md"] * 3,
        "scripts/results/planner.md",
        "scripts/results/learning_curve.md",
        *["scripts/results/reliability.md"] * 6,
        "scripts/results/robustness.md",
        *["scripts/results/reliability.md"] * 3,
    ]


@pytest.mark.parametrize(("script", "page", "marker"), written_tables())
def test_the_page_of_a_table_has_its_markers_and_names_its_script(
    script: str, page: str, marker: str
) -> None:
    text = (tables.ROOT / page).read_text(encoding="utf-8")
    assert text.count(f"<!-- {marker}:begin -->") == text.count(f"<!-- {marker}:end -->") == 1
    assert f"scripts/{script}" in text


def test_a_predictor_without_samples_has_a_dash() -> None:
    scores = {"top1_ade_m": 0.25, "top1_fde_m": 0.5, "min_ade_20_m": None}
    assert tables.pair(scores, "top1_{}_m") == "0.250/0.500"
    assert tables.pair(scores, "min_{}_20_m") == "-"


def test_a_training_that_ended_is_not_done_again(tmp_path: Path) -> None:
    (tmp_path / "minutes.txt").write_text("1.5\n")
    weights = f"{tmp_path}/checkpoints/last.ckpt"
    assert tables.fit("no such file.yaml", str(tmp_path)) == (weights, 1.5)


@pytest.mark.slow
def test_jobs_side_by_side_come_back_in_their_order() -> None:
    assert tables.side_by_side(math.gcd, [(4, 6), (9, 6), (5, 7)]) == [2, 3, 1]
