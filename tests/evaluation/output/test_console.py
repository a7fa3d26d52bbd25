from dataclasses import replace

import pytest

from forecast.datasets.windows import WindowSpec
from forecast.evaluation import evaluate
from forecast.evaluation.output.console import table
from forecast.evaluation.output.numbers import UNDEFINED
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
    ends = [ours.index("/", 20 + 12 * i) for i in range(6)]
    assert ends == [ends[0] + 12 * i for i in range(6)]
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
