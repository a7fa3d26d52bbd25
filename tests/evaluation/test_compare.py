import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from forecast import ForecastError
from forecast.cli import main
from forecast.evaluation.acceptance import PASS, TOO_FEW
from forecast.evaluation.compare import (
    BETTER,
    WORSE,
    Comparison,
    compare,
    paired,
    read_evaluation,
)
from forecast.evaluation.statistics import Estimate


def test_a_regression_comes_first_and_fails(folders, capsys):
    assert main(["compare", str(folders / "good"), str(folders / "bad")]) == 1
    said = capsys.readouterr()
    assert said.err == (f"error: {folders}/bad: fails criteria that {folders}/good meets: reach\n")
    lines = said.out.splitlines()
    assert lines[0].startswith(f"B bad ({folders}/bad) less A off ({folders}/good): ")
    assert lines[2].startswith("worse (")
    assert any("all" in line and "top1_fde_m" in line for line in lines)
    assert "  reach: pass -> fail (top1_fde_m at most 1; " in said.out


def test_a_metric_that_is_no_longer_there_breaks_what_it_had_met(folders):
    good = read_evaluation(folders / "good")
    same = Comparison.of(good, good)
    met, *others = same.before
    assert (met.criterion.id, met.verdict, same.broken) == ("reach", PASS, [])
    silent = replace(met, found=Estimate(np.nan, np.nan, np.nan, 0, 0), verdict=TOO_FEW)
    assert replace(same, after=(silent, *others)).broken == ["reach"]


def test_the_page_is_written_where_it_is_wanted_even_if_a_criterion_breaks(folders, tmp_path):
    words = [
        "compare",
        str(folders / "good"),
        str(folders / "bad"),
        "--out",
        str(tmp_path / "o"),
    ]
    assert main(words) == 1
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [
        "compare.html",
        "compare.json",
    ]


def test_an_evaluation_is_not_overwritten_by_a_page(folders, capsys):
    words = [
        "compare",
        str(folders / "good"),
        str(folders / "bad"),
        "--out",
        str(folders / "bad"),
    ]
    assert main(words) == 1
    assert "holds 'metrics.json', which is no part of a comparison" in capsys.readouterr().err
    assert (folders / "bad" / "metrics.json").is_file()


def test_an_improvement_passes(folders, capsys):
    assert main(["compare", str(folders / "bad"), str(folders / "good")]) == 0
    assert "\nworse (0)\n" in capsys.readouterr().out


def test_the_same_is_undecided(folders, capsys):
    assert main(["compare", str(folders / "good"), str(folders / "good")]) == 0
    said = capsys.readouterr().out
    assert "\nworse (0)\n\nbetter (0)\n" in said
    assert "2, 0 changed" in said


def test_what_is_not_better_when_it_is_less_is_not_compared(folders):
    old = read_evaluation(folders / "good")
    for name in ("tube_area_90_m2", "on_road_share"):
        assert name in old.columns
        assert name not in old.metrics


def test_changes_are_paired_means(folders):
    old, new = (read_evaluation(folders / name) for name in ("good", "bad"))
    changes = compare(old, new, paired(old, new))
    (found,) = (c for c in changes if (c.where, c.metric) == ("all", "top1_fde_m"))
    means = [each.columns["top1_fde_m"].mean() for each in (old, new)]
    assert (found.before, found.after) == pytest.approx(tuple(means))
    assert found.difference.value == pytest.approx(means[1] - means[0])
    assert found.verdict == WORSE
    back = compare(new, old, paired(new, old))
    (found,) = (c for c in back if (c.where, c.metric) == ("all", "top1_fde_m"))
    assert found.verdict == BETTER
    assert any(change.where.startswith("speed: ") for change in changes)
    verdicts = [change.verdict for change in changes]
    assert verdicts == sorted(verdicts, key=["worse", "undecided", "better"].index)


def test_the_order_of_rows_does_not_matter(folders, tmp_path):
    shutil.copytree(folders / "bad", tmp_path / "shuffled")
    rows = pq.read_table(tmp_path / "shuffled" / "rows.parquet")
    order = np.random.default_rng(0).permutation(len(rows))
    pq.write_table(rows.take(order), tmp_path / "shuffled" / "rows.parquet")
    old = read_evaluation(folders / "good")
    one, two = (
        compare(old, each, paired(old, each))
        for each in map(read_evaluation, (folders / "bad", tmp_path / "shuffled"))
    )
    assert [(c.where, c.metric) for c in one] == [(c.where, c.metric) for c in two]
    assert one[0].difference == pytest.approx(two[0].difference)


class TestRefuses:
    def changed(self, folders, tmp_path, change):
        shutil.copytree(folders / "bad", tmp_path / "other")
        path = tmp_path / "other" / "report.json"
        document = json.loads(path.read_text())
        change(document["sections"]["protocol"]["data"]["setting"])
        path.write_text(json.dumps(document))
        return read_evaluation(tmp_path / "other")

    @pytest.mark.parametrize("name", ["fingerprint", "horizon_s", "history_s"])
    def test_other_settings(self, folders, tmp_path, name):
        other = self.changed(folders, tmp_path, lambda setting: setting.update({name: 9}))
        with pytest.raises(ForecastError, match=f"{name} is 9, that of"):
            paired(read_evaluation(folders / "good"), other)

    def test_other_windows(self, folders):
        old, new = (read_evaluation(folders / name) for name in ("good", "bad"))
        fewer = replace(new, columns={name: c[1:] for name, c in new.columns.items()})
        with pytest.raises(ForecastError, match="scored on other windows than"):
            paired(old, fewer)

    def test_what_is_no_evaluation(self, folders, tmp_path, capsys):
        assert main(["compare", str(folders / "good"), str(tmp_path)]) == 1
        assert "not a whole evaluation (FileNotFoundError)" in capsys.readouterr().err
