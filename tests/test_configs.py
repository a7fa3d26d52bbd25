"""The configurations that ship build the model they describe, before any data is there."""

from pathlib import Path

import pytest

from forecast.errors import ForecastError
from forecast.training.cli import main

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


def test_the_documented_configurations_are_there() -> None:
    assert [path.stem for path in CONFIGS] == [
        "eth_ucy",
        "nuscenes",
        "nuscenes_mini",
        "town",
        "transfer",
        "without_lanes",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_without_its_store_a_run_stops_with_one_line_that_names_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [f"--config={path}", "--trainer.accelerator=cpu", "--trainer.devices=1"]
    with pytest.raises(ForecastError, match="stores/") as error:
        main("fit", words)
    assert "\n" not in str(error.value)
