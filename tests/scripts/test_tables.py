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


def test_a_predictor_without_samples_has_a_dash() -> None:
    scores = {"top1_ade_m": 0.25, "top1_fde_m": 0.5, "min_ade_20_m": None}
    assert tables.pair(scores, "top1_{}_m") == "0.250/0.500"
    assert tables.pair(scores, "min_{}_20_m") == "-"
