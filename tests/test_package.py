import subprocess
import sys
from pathlib import Path

import pytest

import forecast
from forecast import inference, planning
from forecast.datasets.store import SceneStore
from forecast.inference import Forecaster, load
from forecast.visualization.plot import plot
from tests.streets import street_store


def test_the_public_names_are_there() -> None:
    assert all(hasattr(forecast, name) for name in forecast.__all__)
    assert (forecast.Forecaster, forecast.SceneStore, forecast.load, forecast.plot) == (
        Forecaster,
        SceneStore,
        load,
        plot,
    )
    for part in (inference, planning):
        shared = set(part.__all__) & set(forecast.__all__)
        assert all(getattr(forecast, name) is getattr(part, name) for name in shared)
    assert not hasattr(forecast, "absent")


def test_dir_names_also_what_is_imported_later() -> None:
    script = "import sys, forecast; print(*dir(forecast)); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names, has_torch = run.stdout.splitlines()
    assert set(forecast.__all__) <= set(names.split())
    assert {"TYPE_CHECKING", "Any", "annotations"}.isdisjoint(names.split())
    assert has_torch == "False"


def test_a_store_is_opened_by_its_path(tmp_path) -> None:
    street_store(tmp_path / "store")
    store = forecast.open_store(str(tmp_path / "store"))
    assert store["street-3"].id == "street-3"
    assert repr(store).endswith("store': 5 scenes of streets)")
    with pytest.raises(forecast.ForecastError, match="not a store"):
        forecast.open_store(tmp_path)


def test_every_file_of_the_package_is_installed() -> None:
    """Pages, templates and weights, too: an installation has no checkout beside it."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    root = Path(forecast.__file__).parent
    settings = tomllib.loads((root.parent / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["forecast"]
    installed = {path for pattern in patterns for path in root.glob(pattern)}
    assert all(any(root.glob(pattern)) for pattern in patterns), patterns
    files = {path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    files = {path for path in files if path.suffix not in {".py", ".md"}}
    assert files - installed == set()
