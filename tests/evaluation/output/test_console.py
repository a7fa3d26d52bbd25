from dataclasses import replace

import numpy as np
import pytest

from forecast.datasets.windows import WindowSpec
from forecast.evaluation import EvaluationConfig, evaluate, run_evaluation
from forecast.evaluation.output.console import slice_lines, table
from forecast.evaluation.output.numbers import UNDEFINED
from forecast.evaluation.scoring.statistics import Estimate
from forecast.evaluation.verdict.acceptance import NOT_DECIDED, Criterion, Missing, Outcome
from forecast.models.baselines import ConstantVelocity, Kalman

SPEC = WindowSpec(history_steps=5, horizon_steps=4)


@pytest.fixture(scope="module")
def result(store):
    scenes = store.splits["val"]
    kalman, constant = (
        evaluate(baseline, store, scenes, SPEC, samples=20, seed=0, split="val")
        for baseline in (Kalman(), ConstantVelocity())
    )
    return replace(
        kalman,
        baselines={"constant_velocity": constant, "kalman": kalman},
        left_out={"kmeans_20": "nothing to fit it on"},
    )


def test_table_is_aligned_and_fits_120_columns(result):
    lines = table(result).splitlines()
    assert max(map(len, lines)) <= 120
    header, units, ours, baseline = lines[2:6]
    assert [header.split()[0], units.split()[0]] == ["all", "ADE/FDE"]
    ends = [ours.index("/", 20 + 12 * i) for i in range(5)]  # a baseline has no modes
    assert ends == [ends[0] + 12 * i for i in range(5)]
    assert len(header) == len(units) == len(ours)
    assert baseline.startswith("  constant_velocity")


def test_table_says_the_numbers_and_marks_what_is_not_defined(result):
    ours, baseline = (line.split() for line in table(result).splitlines()[4:6])
    means = result.means()
    assert ours[:2] == ["▸", "kalman"]
    assert ours[2] == f"{means['top1_ade_m'].value:.3f}/{means['top1_fde_m'].value:.3f}"
    assert ours[-1] == f"{means['coverage_90'].value:.3f}"
    assert baseline[3:7] == [UNDEFINED] * 4
    assert baseline[-1] == UNDEFINED


def test_table_names_drops_and_baselines_left_out(result):
    text = table(result)
    dropped = result.dropped
    assert f"{dropped['history_too_short']} history_too_short" in text
    assert f"movers ({int(result.rows.movers.sum())})" in text
    assert "left out: kmeans_20: nothing to fit it on" in text


def test_long_names_are_cut(result):
    long = replace(result, predictor="epoch=12-step=34567-last", baselines={})
    line = table(long).splitlines()[4]
    assert line.startswith("▸ epoch=12-step=34… ")
    assert len(line) <= 120


@pytest.fixture(scope="module")
def asked(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("asked")
    config = EvaluationConfig(store.path, "val", "kalman", samples=5, horizon_s=2.0)
    return run_evaluation(config, folder, render=lambda result: {}, slices="change,speed")


class TestSlices:
    """``--slices``: the worst night crossing and its cause, from the console alone."""

    def test_every_combination_has_a_line_and_a_worst_case(self, asked):
        lines = slice_lines(asked)
        assert max(map(len, lines)) <= 120
        change, speed = asked.rows.labels["change"], asked.rows.labels["speed"]
        pairs = set(zip(change.tolist(), speed.tolist(), strict=True))
        text = " ".join(" ".join(lines).split())
        error = asked.values["top1_fde_m"]
        for one, other in pairs:
            inside = (change == one) & (speed == other)
            row = int(np.where(inside, error, -1).argmax())
            name = f"change: {one}, speed: {other}"
            (line,) = (line for line in lines if line.startswith(f"  {name} "))
            assert line.split()[-1] == f"{error[row]:.3f}"
            found = f"worst of {name}: {error[row]:.2f} m off after 2 s: went "
            assert found in text
            words = text[text.index(found) :]
            assert str(asked.rows.agent_ids[row]) in words
            assert f"{asked.rows.scene_ids[row]}, step {asked.rows.at[row]}, " in words
        words = f"nobody is in {20 - len(pairs)} of 20 combinations; a label is unknown for 0 "
        assert any(line.startswith(words) for line in lines)

    def test_the_worst_combination_comes_first_and_few_are_not_scored(self, asked):
        lines = [line for line in slice_lines(asked) if line.startswith("  change: ")]
        worst = [float(line.split()[-1]) for line in lines]
        assert worst == sorted(worst, reverse=True)
        for line in lines:
            assert ("too few" in line) == (int(line[65:76]) < 30)

    def test_nothing_is_said_unasked(self, result):
        assert slice_lines(result) == []


def test_says_what_would_decide_the_criteria(result):
    criterion = Criterion("here", "any", "top1_fde_m", at_most=1.0)
    found = Estimate(0.5, float("nan"), float("nan"), 60, 2)
    missing = Missing(8, 40, "minimum")
    one = Outcome(criterion, found, NOT_DECIDED, missing)
    other = Outcome(replace(criterion, id="there"), found, NOT_DECIDED, missing)
    text = table(replace(result, outcomes=(one, other)))
    words = "would decide it: here, there: 8 more scenes with 40 prediction times"
    assert text.splitlines()[-1] == words


def test_says_how_many_got_a_fallback(result):
    assert "fallback" not in table(result)
    fallback = np.arange(len(result.rows)) < 3
    count = len(result.rows)
    words = f"fallback: 3 of {count} prediction times got constant velocity, because the past is "
    assert words in table(replace(result, fallback=fallback))
