import socket
import sys

import pytest

from forecast import ForecastError
from forecast.cli import main
from forecast.simulator import write_town
from forecast.visualization.viewer.command import _address, open_scenes
from tests.streets import street_store


def error(capsys, *words: str) -> str:
    assert main(["view", *words]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: ")
    return lines[-1]


def test_without_the_extra_it_says_what_to_install(capsys, monkeypatch, store):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    said = error(capsys, "--store", str(store.path))
    assert said == "error: uvicorn is not installed; pip install 'forecast[viewer]'"


def test_an_unknown_scene_predictor_or_store_is_refused(capsys, store, tmp_path):
    path = str(store.path)
    assert "scene is 'x'; one of street-0, " in error(capsys, "--store", path, "--scene", "x")
    assert "predictor 'x' is unknown" in error(capsys, "--store", path, "--predictor", "x")
    assert "error: " in error(capsys, "--store", str(tmp_path / "none"))


def test_a_port_in_use_is_named(capsys, store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ["--predictor", "stationary", "--port", str(port)]
        assert f"127.0.0.1:{port}: " in error(capsys, "--store", str(store.path), *words)
    assert "give another --port" in error(
        capsys, "--store", str(store.path), "--predictor", "stationary", "--port", "99999"
    )


def test_a_town_is_prepared_on_the_way_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_town(tmp_path / "town", scenes=1, seed=3)
    opened = open_scenes(tmp_path / "town", None)
    assert len(opened) == 1
    assert opened.path.is_relative_to(tmp_path / "cache" / "forecast" / "stores")
    assert open_scenes(tmp_path / "town", None).fingerprint == opened.fingerprint
    assert not list((tmp_path / "town").glob("**/*.arrow"))


def test_of_several_versions_one_has_to_be_named(tmp_path):
    for version in ("v1.0-mini", "v1.0-town"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "scene.json").write_text("[]")
    with pytest.raises(ForecastError, match="--version with one of them"):
        open_scenes(tmp_path, None)


def test_a_store_is_opened_as_it_is(tmp_path):
    street_store(tmp_path / "streets")
    assert open_scenes(tmp_path / "streets", None).path == tmp_path / "streets"


def test_the_printed_address_holds_token_and_scene():
    assert _address("::1", 8700, None, None) == "http://[::1]:8700/"
    assert _address("10.0.0.5", 1, "abc", "a b") == "http://10.0.0.5:1/?token=abc#scene=a%20b"
    assert _address("0.0.0.0", 1, "abc", None) == f"http://{socket.gethostname()}:1/?token=abc"
