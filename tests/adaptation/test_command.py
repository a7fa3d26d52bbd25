"""The command on stores on disk, with the real (small) network."""

import json

import pytest

from forecast import load
from forecast.cli import main
from tests.adaptation.conftest import QUICK


@pytest.fixture
def words(start, city, stream, tmp_path, monkeypatch):
    """The words of a command; settings are those of a tiny network."""
    monkeypatch.setattr("forecast.adaptation.AdaptConfig", lambda seed: QUICK)
    start.save(tmp_path / "start.safetensors")
    (tmp_path / "first.txt").write_text("\n".join(stream.scene_names[:2]) + "\n")

    def made(out: str, *more: str, split: str = str(tmp_path / "first.txt")) -> list[str]:
        named = ["--weights", str(tmp_path / "start.safetensors"), "--store", str(stream.path)]
        named += ["--old", str(city.path), "--out", str(tmp_path / out), "--split", split]
        return ["adapt", *named, *more]

    return made


def test_from_stores_to_weights_and_on(words, learnt, tmp_path, capsys):
    assert main(words("w.safetensors")) == 0
    assert "2 scenes: 2 learnt" in capsys.readouterr().out
    folder = tmp_path / "w.adaptation"
    assert "2 scenes before each was learnt from" in (folder / "report.html").read_text()
    first = load(tmp_path / "w.safetensors").provenance()["weights_sha256"]
    assert first == learnt.entries[1].after_sha256
    ledger = str(folder / "ledger.jsonl")
    assert main(words("again.safetensors", "--replay", ledger)) == 0
    assert main(words("w.safetensors", "--undo-to", "1")) == 0
    back = load(tmp_path / "w.safetensors").provenance()["weights_sha256"]
    assert back == learnt.entries[0].after_sha256


def test_a_replay_of_something_else_stops_at_the_first_scene_that_differs(words, tmp_path, capsys):
    assert main(words("w.safetensors")) == 0
    path = tmp_path / "w.adaptation" / "ledger.jsonl"
    header, one, other = path.read_text().splitlines()
    changed = {**json.loads(other), "after_sha256": "0"}
    path.write_text("\n".join([header, one, json.dumps(changed)]) + "\n")
    assert main(words("again.safetensors", "--replay", str(path))) == 1
    assert "scene 2 (street-21): " in (said := capsys.readouterr().err)
    assert "differs in after_sha256" in said
    assert not (tmp_path / "again.safetensors").exists()


def test_another_stream_is_refused(words, stream, tmp_path, capsys):
    assert main(words("w.safetensors")) == 0
    (tmp_path / "other.txt").write_text("\n".join(stream.scene_names[1:4]) + "\n")
    assert main(words("w.safetensors", split=str(tmp_path / "other.txt"))) == 1
    assert "scene 1 was street-20, and that of the stream is street-21" in capsys.readouterr().err


def test_weights_have_a_name_of_weights(words, capsys):
    assert main(words("w.ckpt")) == 1
    assert "--out is" in capsys.readouterr().err


def test_each_store_needs_its_split(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words("w.safetensors", "--split", "train"))
    assert stop.value.code == 2
    assert "--split is needed once for each --store" in capsys.readouterr().err
