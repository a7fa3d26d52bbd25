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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said", "made"),
    [
        (
            "report_data",
            [r"town +\d\.\d\d m over 459", r"[<>=]+ .* m/s +[+-]\d\.\d\d m", r"after 6 s: \d+%"],
            "results/rows.parquet",
        ),
        ("planner", [r"\d+ m in 8 s", r"the car brakes: the car drives \d+ m in 3 s; child"], ""),
        ("own_tracks", [r"8 pedestrian, 1 ego", r"constant_velocity"], "film.html"),
    ],
)
def test_notebook(name: str, said: list[str], made: str, tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    for pattern in said:
        assert re.search(pattern, text), pattern
    assert any("image/png" in output.get("data", {}) for output in outputs)
    if made:
        assert (tmp_path / name / made).is_file()


def test_every_notebook_is_executed() -> None:
    tested = {"quickstart", "report_data", "planner", "own_tracks"}
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == tested


def test_stored_outputs_are_small_and_name_no_machine() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        assert path.stat().st_size < 300_000
        content = path.read_text()
        assert "/home/" not in content
        assert "/tmp/" not in content
