import numpy as np
import pytest

from forecast import ForecastError
from forecast.adaptation.ledger import Undone, read_ledger


def test_a_ledger_is_read_as_it_was_written(learnt):
    header, lines = read_ledger(learnt.ledger.folder / "ledger.jsonl")
    assert header.weights_sha256 == learnt.entries[0].before_sha256
    assert lines == learnt.entries


def test_undone_scenes_stay_in_the_file_and_count_no_more(adapter, stream):
    adapter.observe(stream[stream.scene_names[0]], stream)
    adapter.undo(0)
    lines = read_ledger(adapter.ledger.folder / "ledger.jsonl")[1]
    assert [type(line).__name__ for line in lines] == ["Entry", "Undone"]
    assert lines[-1] == Undone(undone_to=0)
    assert adapter.entries == []


def test_scenes_and_rows_are_kept_whole(learnt, stream):
    scene = learnt.ledger.read_scene(2)
    assert np.array_equal(scene.tracks.positions_m, stream[scene.id].tracks.positions_m)
    rows, kept = learnt.ledger.read_rows(2), learnt._rows[2]
    assert np.array_equal(rows.scores.distance, kept.scores.distance, equal_nan=True)
    assert np.array_equal(rows.features, kept.features)


@pytest.mark.parametrize("content", [b"", b"{}\n", b"not json\n"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "ledger.jsonl").write_bytes(content)
    with pytest.raises(ForecastError, match=r"ledger.jsonl: not a ledger of 'forecast adapt'"):
        read_ledger(tmp_path / "ledger.jsonl")


def test_a_missing_state_is_one_line(learnt):
    with pytest.raises(ForecastError, match=r"00099.pt: cannot be read, so the adaptation cannot"):
        learnt.ledger.read_state(99)
