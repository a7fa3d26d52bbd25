import sys

from forecast.datasets.progress import with_progress


def test_progress_is_about_ten_plain_lines_where_there_is_no_terminal(capsys):
    assert list(with_progress(range(35), 35, "evaluate kalman")) == list(range(35))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "evaluate kalman: 4 of 35 scenes"
    assert lines[-1] == "evaluate kalman: 35 of 35 scenes"


def test_other_things_than_scenes_are_counted(capsys):
    assert list(with_progress("ab", 2, "export", unit="program")) == ["a", "b"]
    assert capsys.readouterr().err.splitlines()[-1] == "export: 2 of 2 programs"


def test_progress_is_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(with_progress(["a", "b"], 2, "kalman")) == ["a", "b"]
    shown = capsys.readouterr().err
    assert "kalman: 100%" in shown
    assert "2/2" in shown
