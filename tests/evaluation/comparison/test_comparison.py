from dataclasses import replace

import numpy as np
import pytest

from forecast.cli import main
from forecast.evaluation.comparison.changes import (
    LOST,
    NEW,
    compare,
    paired,
)
from forecast.evaluation.comparison.comparison import Comparison, table
from forecast.evaluation.output.saved import read_evaluation
from forecast.evaluation.scoring.statistics import Estimate
from forecast.evaluation.verdict.acceptance import PASS, TOO_FEW

pytestmark = pytest.mark.slow


def test_a_regression_comes_first_and_fails(folders, capsys):
    assert main(["compare", str(folders / "good"), str(folders / "bad")]) == 1
    said = capsys.readouterr()
    assert said.err == (f"error: {folders}/bad: fails criteria that {folders}/good meets: reach\n")
    lines = said.out.splitlines()
    assert lines[0].startswith(f"B bad ({folders}/bad) minus A off ({folders}/good): ")
    assert lines[2].startswith("lost (0)")
    assert lines[4].startswith("worse (")
    assert "all " in lines[5] or "movers " in lines[5]
    assert any("all" in line and "top1_fde_m" in line for line in lines)
    assert "  reach: pass -> fail (top1_fde_m at most 1; " in said.out


def test_a_metric_that_is_no_longer_there_breaks_what_it_had_met(folders):
    good = read_evaluation(folders / "good")
    same = Comparison.of(good, good)
    met, *others = same.before
    assert (met.criterion.id, met.verdict, same.broken) == ("reach", PASS, [])
    undefined = replace(met, found=Estimate(np.nan, np.nan, np.nan, 0, 0), verdict=TOO_FEW)
    assert replace(same, after=(undefined, *others)).broken == ["reach"]


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
    assert "\nworse (0)\n" in said
    assert "\nbetter (0)\n" in said
    assert "2, 0 changed" in said


def made(each, **columns):
    """An evaluation with other values in some columns."""
    count = len(each.columns["at_us"])
    values = {name: np.broadcast_to(np.float64(v), count) for name, v in columns.items()}
    return replace(each, columns={**each.columns, **values})


def test_a_metric_that_b_lost_is_named(folders):
    good = read_evaluation(folders / "good")
    old, new = made(good, energy_score_m=0.5), made(good, energy_score_m=np.nan)
    found = Comparison.of(old, new)
    assert [c.metric for c in found.of_verdict(LOST)] == ["energy_score_m"] * 2
    assert found.changes[0].verdict == LOST
    assert "energy_score_m                0.500 ->        –" in table(found)  # noqa: RUF001
    assert {c.metric for c in compare(new, old, paired(new, old)) if c.verdict == NEW} == {
        "energy_score_m"
    }


def test_a_column_that_b_lacks_is_lost_and_breaks_its_criterion(folders):
    good = read_evaluation(folders / "good")
    rest = {name: c for name, c in good.columns.items() if name != "top1_fde_m"}
    found = Comparison.of(good, replace(good, columns=rest))
    assert {c.metric for c in found.of_verdict(LOST)} == {"top1_fde_m"}
    assert found.broken == ["reach"]


def test_rows_that_b_no_longer_scores_are_counted(folders):
    good = read_evaluation(folders / "good")
    count = len(good.columns["at_us"])
    some = np.where(np.arange(count) < count // 2, 0.4, np.nan)
    partly = replace(good, columns={**good.columns, "energy_score_m": some})
    found = Comparison.of(made(good, energy_score_m=0.5), partly)
    lines = [line for line in table(found).splitlines() if "energy_score_m" in line]
    (line,) = (line for line in lines if " all " in line)
    assert line.endswith(f"n = {count // 2} of A's {count}")


def test_the_largest_undecided_changes_are_listed(folders):
    good = read_evaluation(folders / "good")
    count = len(good.columns["at_us"])
    noise = np.random.default_rng(0).normal(0, 1, count) * np.where(np.arange(count) % 2, 1, -1)
    shaky = good.columns["top1_fde_m"] + noise - noise.mean()
    found = Comparison.of(good, replace(good, columns={**good.columns, "top1_fde_m": shaky}))
    (change,) = (c for c in found.largest_open if (c.where, c.metric) == ("all", "top1_fde_m"))
    assert change.difference.low < 0 < change.difference.high
    ends = f"({change.difference.low:+.3f} to {change.difference.high:+.3f}), n = {count}"
    assert any("top1_fde_m" in line and ends in line for line in table(found).splitlines())


def test_a_guarantee_that_b_breaks_is_named(folders, capsys):
    good = read_evaluation(folders / "good")
    (held, *_) = (name for name, kept in good.guarantees.items() if kept)
    leaky = replace(good, guarantees={**good.guarantees, held: False})
    assert Comparison.of(good, leaky).lost_guarantees == [held]
    assert Comparison.of(leaky, good).lost_guarantees == []


def test_slices_of_few_rows_are_named(folders):
    good = read_evaluation(folders / "good")
    labels = np.full(len(good.columns["at_us"]), "day", "<U5")
    labels[:3] = "night"
    dark = replace(good, columns={**good.columns, "slice.light": labels})
    found = Comparison.of(dark, dark)
    assert found.small["light: night"] == 3
    assert not any(change.where == "light: night" for change in found.changes)
    assert "fewer than 30 prediction times: " in table(found)
