"""The notebooks run from top to bottom, on a town made on the spot."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@pytest.mark.slow
def test_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORECAST_NUSCENES", raising=False)
    notebook = nbformat.read(NOTEBOOKS / "quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    assert "constant_velocity" in text
    assert "of 100 drives" in text  # plans were ranked
    car_m, others_m = map(float, re.findall(r"car: (.*) m; anybody else: (.*) m at most", text)[0])
    assert car_m > 1  # the car of a braking fork is elsewhere
    assert others_m >= 0
    assert "agents; largest change" in text  # a stream has predicted twice
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert (tmp_path / "quickstart" / "results" / "report.html").is_file()


def test_stored_outputs_are_small_and_name_no_machine() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        assert path.stat().st_size < 300_000
        content = path.read_text()
        assert "/home/" not in content
        assert "/tmp/" not in content
