import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forecast import ForecastError
from forecast.cli import main
from forecast.evaluation.comparison.changes import (
    BETTER,
    LOST,
    NEW,
    OPEN,
    WORSE,
    compare,
    paired,
)
from forecast.evaluation.comparison.comparison import Comparison, headline_table, table
from forecast.evaluation.comparison.words import change_words
from forecast.evaluation.output.saved import read_evaluation
from forecast.evaluation.scoring.statistics import Estimate
from forecast.evaluation.verdict.acceptance import NOT_DECIDED, PASS, Acceptance

pytestmark = pytest.mark.slow


def test_a_regression_comes_first_and_fails(folders, capsys):
    assert main(["compare", str(folders / "good"), str(folders / "bad")]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(
        f"error: {folders}/bad compared with {folders}/good: B is worse: energy score of everybody "
        "+4.216 m, +"
    )
    assert said.err.endswith("; and 2 more; fails criteria that A meets: reach\n")
    lines = said.out.splitlines()
    assert lines[0].startswith(f"B bad ({folders}/bad) minus A off ({folders}/good): ")
    assert lines[2].startswith("headline errors of everybody (72)")
    assert [line[2:25].strip() for line in lines[3:6]] == ["top-1 ADE", "top-1 FDE", "energy score"]
    assert re.fullmatch(
        r"  top-1 FDE +0\.041 +4\.240   worse +\+4\.199 m \(\+4\.\d+ to \+4\.\d+\), "
        r"\+103\d\d % \(\+\d+ to \+\d+\)",
        lines[4],
    )
    assert lines[7].startswith("headline errors of movers (30)")
    start = next(number for number, line in enumerate(lines) if line.startswith("lost (0)"))
    assert lines[start + 2].startswith("worse (")
    assert "all " in lines[start + 3] or "movers " in lines[start + 3]
    assert any("all" in line and "top1_fde_m" in line for line in lines)
    assert "  reach: pass -> fail (top1_fde_m at most 1; " in said.out


def test_a_metric_that_is_no_longer_there_breaks_what_it_had_met(folders):
    good = read_evaluation(folders / "good")
    same = Comparison.of(good, good)
    met, *others = same.before
    assert (met.criterion.id, met.verdict, same.broken) == ("reach", PASS, [])
    undefined = replace(met, found=Estimate(np.nan, np.nan, np.nan, 0, 0), verdict=NOT_DECIDED)
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
    said = capsys.readouterr()
    assert "\nworse (0)\n" in said.out
    sentence = "B is no worse: every headline error is better or the same, and no safety metric is "
    assert f"\n{sentence}shown to be worse\n" in said.out
    assert said.err == ""


def test_the_same_in_every_row_is_no_worse(folders, capsys):
    assert main(["compare", str(folders / "good"), str(folders / "good")]) == 0
    said = capsys.readouterr().out
    assert "  same       +0.000 m (+0.000 to +0.000), +0.0 % (+0.0 to +0.0)\n" in said
    assert "\nworse (0)\n" in said
    assert "\nundecided (0)" in said
    assert "\nbetter (0)\n" in said
    assert "2, 0 changed" in said


def made(each, **columns):
    """An evaluation with other values in some columns."""
    count = len(each.columns["at_us"])
    values = {name: np.broadcast_to(np.float64(v), count) for name, v in columns.items()}
    return replace(each, columns={**each.columns, **values})


def few_scenes(each):
    """An evaluation of its first two scenes, too few for intervals."""
    inside = np.isin(each.columns["scene_id"], ["street-1", "street-2"])
    return replace(each, columns={name: column[inside] for name, column in each.columns.items()})


def shifted(each, share: float, noise: float = 0.0):
    """An evaluation whose errors are larger by a share of their mean, by more in some scenes."""
    scenes = np.unique(each.columns["scene_id"], return_inverse=True)[1]
    names = ("top1_ade_m", "top1_fde_m", "energy_score_m")
    columns = {
        name: each.columns[name] + each.columns[name].mean() * (share + noise * (scenes % 2 - 0.5))
        for name in names
    }
    return replace(each, columns={**each.columns, **columns})


def test_a_large_change_is_sized_where_it_is_undecided(folders):
    good = few_scenes(read_evaluation(folders / "good"))
    found = Comparison.of(good, shifted(good, 0.71))
    assert found.answer == OPEN
    assert found.of_verdict(WORSE) == []
    mean = good.columns["top1_fde_m"].mean()
    (line,) = (x for x in headline_table(found).splitlines()[:5] if "top-1 FDE" in x)
    assert line.endswith(
        f"undecided  +{0.71 * mean:.3f} m (no interval: 2 scenes, 5 are needed), +71 %"
    )
    assert "top-1 FDE of everybody +" in found.sentence
    assert "\nworse (0)\n" in table(found)
    assert re.search(r"\nundecided \(\d+: [1-9]\d* toward worse, 0 toward better\): ", table(found))
    assert ", +71 % (no interval), n = " in table(found)


@pytest.mark.parametrize(
    ("share", "noise", "margin", "answer"),
    [
        (0.02, 0.0, 0.0, WORSE),
        (0.02, 0.0, 0.05, BETTER),  # worse, by less than the margin
        (0.02, 0.2, 0.0, OPEN),
        (0.02, 0.2, 0.01, OPEN),
        (0.02, 0.2, 0.5, BETTER),  # the whole interval is within the margin
        (0.5, 0.0, 0.05, WORSE),
        (-0.5, 0.1, 0.0, BETTER),
    ],
)
def test_the_answer_follows_the_intervals_and_the_margin(folders, share, noise, margin, answer):
    good = replace(read_evaluation(folders / "good"), acceptance=NO_CRITERIA)
    found = Comparison.of(good, shifted(good, share, noise), margin)
    assert found.answer == answer
    if answer == BETTER:
        return
    allowed = f" (allowed: at most {100 * margin:g} % worse)" if margin else ""
    assert found.sentence.endswith(allowed)


NO_CRITERIA = Acceptance([], 0, 0)


def test_undecided_is_code_4_and_a_margin_is_taken(folders, monkeypatch, capsys):
    good = replace(read_evaluation(folders / "good"), acceptance=NO_CRITERIA)
    known = {Path("good"): good, Path("bad"): shifted(good, 0.02, 0.2)}
    module = "forecast.evaluation.comparison.comparison.read_evaluation"
    monkeypatch.setattr(module, known.__getitem__)
    assert main(["compare", "good", "bad"]) == 4
    said = capsys.readouterr()
    assert said.err.startswith("undecided: bad compared with good: undecided whether B is worse: ")
    assert said.err.count("\n") == 1
    assert main(["compare", "good", "bad", "--margin", "50"]) == 0
    assert "is better, the same or at most 50 % worse, and no safety" in capsys.readouterr().out
    assert main(["compare", "good", "bad", "--margin", "-1"]) == 1
    assert "error: margin is -1 %; 0 or more per cent is needed" in capsys.readouterr().err


def test_a_headline_error_that_b_lacks_is_worse(folders):
    good = replace(read_evaluation(folders / "good"), acceptance=NO_CRITERIA)
    found = Comparison.of(made(good, energy_score_m=0.5), made(good, energy_score_m=np.nan))
    assert found.answer == WORSE
    assert found.sentence == (
        "B is worse: energy score of everybody not in B; energy score of movers not in B"
    )
    assert Comparison.of(found.new, found.old).answer == BETTER


def test_a_headline_error_that_b_has_for_fewer_rows_is_worse_however_small(folders):
    """B leaves out half of the rows and is 2 % better in the others."""
    good = replace(read_evaluation(folders / "good"), acceptance=NO_CRITERIA)
    half = np.arange(72) % 2 == 0
    found = Comparison.of(
        made(good, energy_score_m=0.5), made(good, energy_score_m=np.where(half, 0.49, np.nan))
    )
    (everybody, movers) = found.headlines["energy score"]
    assert (everybody.before, everybody.after) == pytest.approx((0.5, 0.49))
    assert (everybody.verdict, found.answer) == (LOST, WORSE)
    assert set(found.sentence.removeprefix("B is worse: ").split("; ")) == {
        "energy score of everybody in B for only 36 of A's 72 prediction times",
        f"energy score of movers in B for only {movers.counts[1]} of A's 30 prediction times",
    }
    lines = [line for line in headline_table(found).splitlines() if "energy score" in line]
    assert lines[0].endswith("-2.0 % (-2.0 to -2.0), n = 36 of A's 72")
    more = Comparison.of(found.new, made(good, energy_score_m=0.48))
    assert more.answer == BETTER


@pytest.mark.parametrize(
    ("tubes", "words"), [(0.5, "+0.400 from 0.9"), (np.nan, "not in B")], ids=["narrow", "none"]
)
def test_tubes_are_a_headline(folders, tubes, words):
    good = replace(read_evaluation(folders / "good"), acceptance=NO_CRITERIA)
    found = Comparison.of(made(good, tube_coverage_90=0.9), made(good, tube_coverage_90=tubes))
    assert found.answer == WORSE
    assert f"coverage of the 90 % tubes of everybody {words}" in found.sentence


@pytest.mark.parametrize("metric", ["conflict_missed", "collision_rate_ego", "plan_regret_m"])
def test_a_safety_metric_that_is_worse_makes_b_worse(folders, metric):
    good = replace(read_evaluation(folders / "good"), acceptance=NO_CRITERIA)
    known = made(good, **{"recorded.collision_rate_ego": 0.2})
    found = Comparison.of(made(known, **{metric: 0.2}), made(known, **{metric: 0.5}))
    assert found.answer == WORSE
    assert found.sentence.startswith(
        f"B is worse: safety metrics are worse: {metric} of everybody "
    )
    assert Comparison.of(found.new, found.old).answer == BETTER


def test_a_metric_that_only_a_has_leaves_it_undecided(folders):
    good = replace(read_evaluation(folders / "good"), acceptance=NO_CRITERIA)
    old = made(good, conflict_missed=0.2, tube_area_90_m2=2.0)
    some = np.where(np.arange(72) < 71, 0.2, np.nan)
    for missed in (np.nan, some):
        found = Comparison.of(old, made(old, conflict_missed=missed))
        assert (found.answer, found.lost) == (OPEN, ["conflict_missed"])
        assert found.sentence.endswith("for fewer prediction times: conflict_missed")
    assert Comparison.of(old, made(old, tube_area_90_m2=np.nan)).answer == BETTER  # has no aim


def test_a_criterion_that_is_no_longer_sure_is_undecided(folders):
    good = read_evaluation(folders / "good")
    same = Comparison.of(good, good)
    met, *others = same.before
    unsure = replace(met, verdict=NOT_DECIDED)
    found = replace(same, after=(unsure, *others))
    assert (found.answer, found.broken, found.unsure) == (OPEN, [], ["reach"])
    assert found.sentence.endswith("worse: no longer surely meets criteria that A meets: reach")


def test_only_guarantees_that_are_required_make_it_worse(folders):
    good = read_evaluation(folders / "good")
    for lost, answer in (("future", WORSE), ("frame", BETTER)):
        held = replace(good, guarantees={**good.guarantees, lost: True})
        found = Comparison.of(held, replace(held, guarantees={**good.guarantees, lost: False}))
        assert found.answer == answer
    assert found.lost_guarantees == ["frame"]


def test_what_is_not_known_of_b_leaves_it_undecided(folders):
    good = read_evaluation(folders / "good")
    held = replace(good, guarantees={**good.guarantees, "future": True, "frame": True})
    assert good.learnt == ()
    for changes, reason in (
        ({"learnt": ("a", "b")}, "B was trained on 2 of the scored scenes"),
        ({"guarantees": {"frame": True}}, "guarantees that A gives were not tried: future"),
    ):
        found = Comparison.of(held, replace(held, **changes))
        assert found.answer == OPEN
        assert reason in found.sentence
    wished = replace(held, guarantees={**held.guarantees, "frame": None})
    assert Comparison.of(held, wished).answer == BETTER
    assert Comparison.of(replace(held, learnt=("a",)), held).answer == BETTER


def test_a_margin_of_coverage_is_a_share_of_its_distance_from_the_level(folders):
    good = replace(read_evaluation(folders / "good"), acceptance=NO_CRITERIA)
    columns = dict(good.columns)
    rows = len(columns["coverage_90"])
    columns["coverage_90"] = np.full(rows, 0.88)
    less = {**columns, "coverage_90": np.full(rows, 0.86)}
    before, after = replace(good, columns=columns), replace(good, columns=less)
    assert Comparison.of(before, after, 0.1).answer == WORSE
    assert Comparison.of(before, after, 1.1).answer == BETTER


def test_the_best_of_the_most_futures_is_a_headline(folders):
    good = read_evaluation(folders / "good")
    ten = made(good, min_ade_10_m=0.2, min_fde_10_m=0.3, min_ade_5_m=0.3, coverage_90=0.7)
    found = Comparison.of(ten, made(ten, coverage_90=0.8))
    assert list(found.headlines) == [
        *("top-1 ADE", "top-1 FDE", "minADE of 10", "minFDE of 10", "energy score"),
        "coverage of the 90 % regions",
    ]
    (everybody, movers) = found.headlines["coverage of the 90 % regions"]
    assert (everybody.where, movers.where) == ("all", "movers")
    assert change_words(everybody) == "-0.100 from 0.9 (-0.100 to -0.100)"


def own(aim: dict, sha256: str = "1" * 64) -> dict:
    """What a saved evaluation says of a metric of one's own."""
    known = {"source": "mine:late", "sha256": sha256, "target": None, "higher_is_better": False}
    return {"late": {**known, **aim}}


@pytest.mark.parametrize(
    ("aim", "verdict", "words"),
    [
        ({}, WORSE, "+0.200, +50 % (+0.200 to +0.200), n = 72"),
        (
            {"higher_is_better": True},
            BETTER,
            "+0.200 (higher is better), +50 % (+0.200 to +0.200), n = 72",
        ),
        ({"target": 0.9}, BETTER, "-0.200 from 0.9 (-0.200 to -0.200), n = 72"),
    ],
)
def test_metrics_of_ones_own_are_compared_by_their_direction(folders, aim, verdict, words):
    good = replace(read_evaluation(folders / "good"), own_metrics=own(aim))
    found = Comparison.of(made(good, late=0.4), made(good, late=0.6))
    (change,) = (c for c in found.changes if (c.metric, c.where) == ("late", "all"))
    assert change.verdict == verdict
    assert any("late  " in line and words in line for line in table(found).splitlines())


def test_the_same_metric_from_another_file_is_refused(folders):
    good = read_evaluation(folders / "good")
    old, new = (replace(made(good, late=1.0), own_metrics=own({}, each * 64)) for each in "12")
    with pytest.raises(ForecastError, match=r"metric late is mine:late of SHA-256 2222.*the same"):
        Comparison.of(old, new)


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
