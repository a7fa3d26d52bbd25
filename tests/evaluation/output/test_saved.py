import pytest

from forecast import ForecastError
from forecast.cli import main
from forecast.evaluation.output.saved import read_evaluation


def test_an_evaluation_is_read_back_with_its_rows_and_numbers(folders):
    found = read_evaluation(folders / "bad")
    assert (found.path, found.name) == (folders / "bad", "bad")
    assert found.setting["split"] == "val"
    assert [each.id for each in found.acceptance.criteria] == ["reach", "never"]
    assert [each.horizon_s for each in found.acceptance.criteria] == [2, None]
    assert len(found.columns["top1_fde_m"]) == len(found.columns["agent_id"]) > 0
    assert {"latency_median_s", "coverage_90_final"} <= set(found.summary)
    assert found.guarantees["future"] is True
    assert found.model is None


def test_an_incomplete_evaluation_is_refused_in_one_line(folders, tmp_path, capsys):
    with pytest.raises(ForecastError, match=r"not a whole evaluation \(FileNotFoundError\)"):
        read_evaluation(tmp_path)
    assert main(["compare", str(folders / "good"), str(tmp_path)]) == 1
    assert "not a whole evaluation (FileNotFoundError)" in capsys.readouterr().err
