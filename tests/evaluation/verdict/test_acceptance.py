from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forecast import ForecastError
from forecast.evaluation.run.merging import definitions
from forecast.evaluation.verdict.acceptance import (
    EXAMPLE,
    FAIL,
    NOT_DECIDED,
    PASS,
    Acceptance,
    Criterion,
    DecisionRule,
    Estimate,
    Missing,
    judge,
    read_acceptance,
)

METRICS = definitions()
HEAD = "minimum_rows: 10\nminimum_scenes: 5\ncriteria:\n"
GOOD = "  - {id: a, condition: any, metric: top1_fde_m, at_most: 1}\n"


def read(tmp_path: Path, text: str) -> Acceptance:
    file = tmp_path / "ours.yaml"
    file.write_text(text)
    return read_acceptance(file, METRICS)


def test_the_packaged_example_is_in_order():
    example = read_acceptance(EXAMPLE, METRICS)
    assert len(example.criteria) > 10
    assert {tag for each in example.criteria for tag in each.euro_ncap} == {
        *("CPFA", "CPNA", "CPNCO", "CPLA", "CPTA")
    }


def test_reads_what_is_written(tmp_path):
    text = HEAD + GOOD + "  - {id: b, condition: c, metric: coverage_90, at_least: 0.8, "
    text += "where: {light: night}, euro_ncap: [CPFA]}\n"
    read_in = read(tmp_path, text)
    assert (read_in.minimum_rows, read_in.minimum_scenes) == (10, 5)
    assert [each.demand for each in read_in.criteria] == [
        "top1_fde_m at most 1",
        "coverage_90 at least 0.8",
    ]
    assert read_in.criteria[1].where == {"light": "night"}


def test_a_horizon_is_for_all_criteria_or_one(tmp_path):
    other = "  - {id: b, condition: any, metric: top1_fde_m, at_most: 1, horizon_s: 3}\n"
    found = read(tmp_path, "horizon_s: 6\n" + HEAD + GOOD + other).criteria
    assert [each.horizon_s for each in found] == [6, 3]
    assert read(tmp_path, HEAD + GOOD).criteria[0].horizon_s is None


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ("metric: ade, at_most: 1", "criterion 'a': metric 'ade' is unknown"),
        ("metric: top1_fde_m, at_most: 1, horizon_s: 0", "horizon_s is 0.0; a number of seconds"),
        ("metric: top1_fde_m, at_most: 1, horizon_s: -2", "horizon_s is -2.0; a number of seconds"),
        ("metric: top1_fde_m", "exactly one of at_most and at_least is needed"),
        ("metric: top1_fde_m, at_most: 1, at_least: 0", "exactly one of at_most and at_least"),
        ("metric: top1_fde_m, at_most: 1, where: {moon: full}", "slicing 'moon' is unknown"),
        (
            "metric: top1_fde_m, at_most: 1, where: {light: dusk}",
            "light has no label 'dusk'; one of night, day is needed",
        ),
        ("metric: top1_fde_m, at_most: 1, euro_ncap: [AEB]", "euro_ncap 'AEB' is unknown"),
        ("metric: top1_fde_m, at_most: .nan", "the limit is nan; a finite number is needed"),
        ("metric: top1_fde_m, at_most: much", "Expected `float | null`, got `str`"),
        ("metric: top1_fde_m, atmost: 1", "unknown field `atmost`"),
    ],
)
def test_says_what_is_wrong(tmp_path, criterion, message):
    with pytest.raises(ForecastError) as error:
        read(tmp_path, HEAD + f"  - {{id: a, condition: any, {criterion}}}\n")
    assert message in str(error.value)
    assert str(error.value).startswith(f"{tmp_path}/ours.yaml: ")
    assert "\n" not in str(error.value)


def test_says_which_file_it_was(tmp_path):
    one, two = (read(tmp_path, HEAD + GOOD + end) for end in ("", "# another\n"))
    assert len(one.sha256) == 64
    assert one.sha256 != two.sha256


def test_minima_are_counts(tmp_path):
    with pytest.raises(ForecastError, match="minimum_rows is -3; 0 or more"):
        read(tmp_path, "minimum_rows: -3\nminimum_scenes: 1\ncriteria: []\n")


def test_an_id_names_one_criterion(tmp_path):
    with pytest.raises(ForecastError, match="criterion 'a': the id is there twice"):
        read(tmp_path, HEAD + GOOD + GOOD)


@pytest.mark.parametrize("text", ["criteria: [", "", "minimum_rows: 3\n", "[" * 10_000])
def test_a_broken_file_is_one_line(tmp_path, text):
    with pytest.raises(ForecastError) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text_is_one_line(tmp_path):
    (tmp_path / "criteria.yaml").write_bytes(b"criteria: \xff")
    with pytest.raises(ForecastError, match=r"criteria\.yaml: .*; see acceptance.yaml") as error:
        read_acceptance(tmp_path / "criteria.yaml", METRICS)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(ForecastError, match=r"no\.yaml: No such file"):
        read_acceptance(tmp_path / "no.yaml", METRICS)


class TestJudge:
    """20 scenes of 10 rows; scene means spread by 0.1 around 1."""

    scenes = np.repeat(np.arange(20), 10).astype(str)
    values = 1 + 0.1 * np.random.default_rng(0).standard_normal(20).repeat(10)
    light = np.where(np.arange(200) < 100, "night", "day")

    def verdict(self, minimum_rows=10, minimum_scenes=5, where=None, **limit) -> str:
        criterion = Criterion("a", "any", "x", where=where or {}, **limit)
        acceptance = Acceptance([criterion], minimum_rows, minimum_scenes)
        (outcome,) = judge(acceptance, self.scenes, {"light": self.light}, {"x": self.values}, 6.0)
        assert outcome.criterion is criterion
        return outcome.verdict

    @pytest.mark.parametrize(
        ("limit", "verdict"),
        [
            ({"at_most": 1.2}, PASS),
            ({"at_most": 0.9}, FAIL),
            ({"at_least": 0.8}, PASS),
            ({"at_least": 1.1}, FAIL),
        ],
    )
    def test_clear_cases(self, limit, verdict):
        assert self.verdict(**limit) == verdict

    def test_an_interval_across_the_limit_decides_nothing(self):
        mean = self.values.mean()
        assert self.verdict(at_most=mean + 1e-3) == NOT_DECIDED
        assert self.verdict(at_least=mean - 1e-3) == NOT_DECIDED

    def test_too_few_rows_or_scenes_decide_nothing(self):
        assert self.verdict(at_most=9, minimum_rows=201) == NOT_DECIDED
        assert self.verdict(at_most=9, minimum_scenes=21) == NOT_DECIDED
        night = {"light": "night"}
        assert self.verdict(at_most=9, minimum_scenes=10, where=night) == PASS
        assert self.verdict(at_most=9, minimum_scenes=11, where=night) == NOT_DECIDED
        assert self.verdict(at_most=9, where={"light": "dusk"}) == NOT_DECIDED

    def test_the_minimum_in_the_text_is_the_one_that_decides(self):
        few = np.isin(self.scenes, ["0", "1", "2", "3"])
        criterion = Criterion("a", "any", "x", at_most=9)
        for scenes in (0, 4, 5, 10):
            rule = DecisionRule(10, scenes)
            acceptance = Acceptance([criterion], 10, scenes)
            for count in range(1, 12):
                inside = np.isin(self.scenes, np.arange(count).astype(str))
                (outcome,) = judge(
                    acceptance, self.scenes[inside], {}, {"x": self.values[inside]}, 6.0
                )
                assert (outcome.verdict == NOT_DECIDED) == (count < rule.scenes)
            assert f"fewer than 10 prediction times or {rule.scenes} scenes" in rule.words
        assert "or 5 scenes, which an interval needs;" in DecisionRule(10, 1).words
        assert few.sum() == 40


class TestNoEvent:
    """A rate that is 0 in every row passes only where the scenes are many enough to say so."""

    def outcome(self, scenes: int, value=0.0, metric="miss_rate_final_2m", **limit):
        criterion = Criterion("a", "any", metric, **(limit or {"at_most": 0.1}))
        names = np.repeat(np.arange(scenes), 10).astype(str)
        values = {metric: np.full(len(names), value)}
        return judge(Acceptance([criterion], 10, 5), names, {}, values, 6.0)[0]

    def test_few_scenes_decide_nothing(self):
        few = self.outcome(10)
        assert (few.verdict, few.missing) == (NOT_DECIDED, Missing(26, 0, "interval"))
        assert few.found.high == pytest.approx(1 - 0.025**0.1)
        assert self.outcome(35).verdict == NOT_DECIDED
        assert self.outcome(36).verdict == PASS

    def test_fewer_than_an_interval_needs_ask_for_as_many(self):
        assert self.outcome(3).missing == Missing(33, 0, "interval")

    def test_a_limit_from_below(self):
        assert self.outcome(19, 1.0, "coverage_90", at_least=0.8).verdict == PASS
        assert self.outcome(10, 1.0, "coverage_90", at_least=0.8).verdict == NOT_DECIDED

    def test_distances_are_no_rates(self):
        assert self.outcome(10, 0.0, "min_fde_20_m").verdict == PASS
        assert self.outcome(10, 1.0, "min_fde_20_m", at_most=1.1).verdict == PASS

    def test_every_row_an_event_fails(self):
        assert self.outcome(10, 1.0).verdict == FAIL


class TestMissing:
    """What an undecided criterion still needs."""

    criterion = Criterion("a", "any", "x", at_most=1.0)

    def missing(self, found: Estimate, spread=np.nan, rows=100, scenes=10) -> Missing:
        return DecisionRule(rows, scenes).missing(self.criterion, found, spread)

    def test_the_minimum_of_scenes(self):
        found = Estimate(0.5, np.nan, np.nan, 300, 2)
        assert self.missing(found) == Missing(8, 0, "minimum")
        assert self.missing(found).words == "8 more scenes"

    def test_the_minimum_of_prediction_times_at_so_many_a_scene(self):
        found = Estimate(0.5, 0.4, 0.6, 24, 12)  # 2 a scene, 76 are missing
        assert self.missing(found) == Missing(38, 76, "minimum")
        assert self.missing(found).words == "38 more scenes with 76 prediction times"

    def test_nothing_there(self):
        found = Estimate(np.nan, np.nan, np.nan, 0, 0)
        assert self.missing(found) == Missing(10, 100, "minimum")

    def test_a_mean_that_does_not_meet_the_limit_needs_the_minimum_alone(self):
        found = Estimate(1.5, np.nan, np.nan, 300, 4)
        assert self.missing(found, spread=9.0) == Missing(6, 0, "minimum")

    def test_an_interval_across_the_limit_by_the_spread(self):
        found = Estimate(0.9, 0.7, 1.1, 300, 12)
        # half width 0.1 with a spread of 0.3: t / sqrt(S) <= 1/3, from 38 scenes on
        assert self.missing(found, spread=0.3) == Missing(26, 0, "interval")
        assert self.missing(found, spread=1e-9) == Missing(1, 0, "interval")

    def test_a_mean_at_the_limit_may_never_be_decided(self):
        found = Estimate(1.0 - 1e-9, 0.7, 1.1, 300, 12)
        assert self.missing(found, spread=0.3).words == "more than 10000 scenes"

    def test_as_many_scenes_again_decide_it(self):
        generator = np.random.default_rng(3)
        values = generator.normal(0.9, 0.3, 12)
        values += 0.9 - values.mean()
        rows = np.repeat(values, 20), np.repeat(np.arange(12), 20).astype(str)
        acceptance = Acceptance([self.criterion], 100, 10)
        (outcome,) = judge(acceptance, rows[1], {}, {"x": rows[0]}, 6.0)
        assert outcome.verdict == NOT_DECIDED
        total = 12 + outcome.missing.scenes
        more = np.resize(values, total // 12 * 12 + 12)
        names = np.repeat(np.arange(len(more)), 20).astype(str)
        (later,) = judge(acceptance, names, {}, {"x": np.repeat(more, 20)}, 6.0)
        assert later.verdict == PASS

    def test_rows_without_a_value_leave_a_criterion_open(self):
        """Otherwise who leaves out samples where they would be wrong passes."""
        values, names = np.full(40, 0.3), np.repeat(np.arange(20), 2).astype(str)
        criterion = replace(self.criterion, metric="min_fde_20_m")
        acceptance = Acceptance([criterion], 10, 5)
        (outcome,) = judge(acceptance, names, {}, {"min_fde_20_m": values}, 6.0)
        assert outcome.verdict == PASS
        values[::4] = np.nan
        (outcome,) = judge(acceptance, names, {}, {"min_fde_20_m": values}, 6.0)
        assert (outcome.verdict, outcome.missing) == (NOT_DECIDED, Missing(0, 10, "partly"))
        assert outcome.missing.words == "values at the 10 prediction times that have none"
        (failed,) = judge(acceptance, names, {}, {"min_fde_20_m": 20 * values}, 6.0)
        assert failed.verdict == FAIL, "the rest is bad enough"
        (other,) = judge(Acceptance([self.criterion], 10, 5), names, {}, {"x": values}, 6.0)
        assert other.verdict == PASS, "others may be undefined by their nature"

    def test_predictions_of_another_horizon_decide_nothing(self):
        values, names = {"x": np.full(40, 0.3)}, np.repeat(np.arange(20), 2).astype(str)
        acceptance = Acceptance([replace(self.criterion, horizon_s=6.0)], 10, 5)
        (outcome,) = judge(acceptance, names, {}, values, 6.0)
        assert outcome.verdict == PASS
        for wrong in ({"x": np.full(40, 0.3)}, {"x": np.full(40, 30.0)}):
            (outcome,) = judge(acceptance, names, {}, wrong, 1.0)
            assert (outcome.verdict, outcome.missing.why) == (NOT_DECIDED, "horizon")
            assert outcome.missing.words == "predictions of 6 s"

    def test_a_metric_without_values_is_said(self):
        values = {"x": np.full(20, np.nan)}
        names = np.arange(20).astype(str)
        (outcome,) = judge(Acceptance([self.criterion], 10, 5), names, {}, values, 6.0)
        assert outcome.missing.why == "undefined"
        assert "for which the metric is defined" in outcome.missing.words
