from dataclasses import replace

import numpy as np
import pytest

from forecast.datasets.windows import WindowSpec
from forecast.evaluation import evaluate
from forecast.evaluation.audit.guarantees import CHECKS, Finding
from forecast.evaluation.scoring.statistics import Estimate
from forecast.evaluation.verdict.acceptance import FAIL, NOT_DECIDED, PASS, Criterion, Outcome
from forecast.evaluation.verdict.verdict import BAD, GOOD, UNDECIDED, verdict_of
from forecast.models.baselines import Kalman

SPEC = WindowSpec(history_steps=5, horizon_steps=4)
GUARANTEES = [guarantee for guarantee, _ in CHECKS]
COVERAGE, PEOPLE, EGO = "coverage_90", "collision_rate_pedestrians", "collision_rate_ego"


def outcome(verdict):
    criterion = Criterion("any", "any", "top1_fde_m", at_most=1.0)
    return Outcome(criterion, Estimate(0.5, 0.4, 0.6, 120, 12), verdict)


def findings(broken=(), untried=()):
    return tuple(
        Finding(
            guarantee=each,
            held=False if each.id in broken else None if each.id in untried else True,
            windows=6,
            worst_m=0.0,
        )
        for each in GUARANTEES
    )


def behaving(result, coverage=0.9, people=0.0, ego=0.0):
    """The same rows with another mean coverage and other rates beyond the recorded world's."""
    count = len(result.rows)
    values = {
        COVERAGE: np.full(count, coverage),
        PEOPLE: result.ground_truth[PEOPLE] + people,
        EGO: np.zeros(count) + ego,
    }
    recorded = {**result.ground_truth, EGO: np.zeros(count)}
    return replace(result, values={**result.values, **values}, ground_truth=recorded)


@pytest.fixture(scope="module")
def fine(store):
    """An evaluation that nothing speaks against, as if it were of 12 scenes."""
    found = evaluate(Kalman(), store, store.splits["val"], SPEC, samples=20, seed=0)
    names = np.array([f"scene-{row % 12}" for row in range(len(found.rows))])
    found = replace(found, rows=replace(found.rows, scene_ids=names), acceptance="ours.yaml")
    return behaving(replace(found, outcomes=(outcome(PASS),), findings=findings()))


def part(result, name):
    (found,) = (each for each in verdict_of(result).parts if each.name == name)
    return found


def test_what_nothing_speaks_against_is_acceptable(fine):
    found = verdict_of(fine)
    assert (found.tone, found.sentence) == (GOOD, "Acceptable.")
    assert {each.tone for each in found.parts} == {GOOD}


@pytest.mark.parametrize(
    ("verdicts", "tone", "words"),
    [
        ((PASS, PASS), GOOD, "2 passed, 0 failed"),
        ((PASS, NOT_DECIDED), UNDECIDED, "1 passed, 0 failed, 1 could not be decided"),
        ((PASS, NOT_DECIDED, FAIL), BAD, "1 passed, 1 failed, 1 could not be decided"),
        ((), UNDECIDED, "0 passed, 0 failed"),
    ],
)
def test_criteria(fine, verdicts, tone, words):
    judged = replace(fine, outcomes=tuple(map(outcome, verdicts)))
    found = part(judged, "acceptance criteria")
    assert (found.tone, found.words) == (tone, words)
    assert verdict_of(judged).tone == tone
    whose = part(replace(judged, acceptance=""), "acceptance criteria").words
    assert whose == f"{words} (the package's example)"


@pytest.mark.parametrize(
    ("coverage", "tone"), [(0.9, GOOD), (0.86, GOOD), (0.84, BAD), (0.96, BAD), (np.nan, UNDECIDED)]
)
def test_calibration(fine, coverage, tone):
    found = verdict_of(behaving(fine, coverage=coverage))
    assert found.tone == tone
    assert ("calibration" in found.sentence) == (tone != GOOD)


def test_coverage_of_some_prediction_times_says_so_and_is_undecided(fine):
    count = len(fine.rows)
    known = np.arange(count) >= 2
    few = replace(fine, values={**fine.values, COVERAGE: np.where(known, 0.9, np.nan)})
    found = part(few, "calibration")
    assert found.tone == UNDECIDED
    assert found.words.endswith(f", stated at {count - 2} of {count} prediction times")
    worse = replace(fine, values={**fine.values, COVERAGE: np.where(known, 0.5, np.nan)})
    assert part(worse, "calibration").tone == BAD, "the rest is bad enough"
    assert "stated at" not in part(fine, "calibration").words


def test_coverage_that_may_be_chance_is_undecided(fine):
    noise = np.random.default_rng(0).normal(0.85, 0.3, len(fine.rows))
    shaky = replace(fine, values={**fine.values, COVERAGE: noise})
    assert part(shaky, "calibration").tone == UNDECIDED


@pytest.mark.parametrize("who", ["people", "ego"])
@pytest.mark.parametrize(("excess", "tone"), [(0.005, GOOD), (0.03, BAD), (-0.2, GOOD)])
def test_collisions(fine, who, excess, tone):
    found = verdict_of(behaving(fine, **{who: excess}))
    assert (found.tone, "collisions" in found.sentence) == (tone, tone != GOOD)


def test_a_broken_guarantee_is_said(fine):
    required = next(each for each in GUARANTEES if each.required)
    wished = next(each for each in GUARANTEES if not each.required)
    found = verdict_of(replace(fine, findings=findings(broken=(required.id,))))
    assert found.sentence == "Not acceptable: audit."
    words = part(replace(fine, findings=findings(broken=(required.id, wished.id))), "audit").words
    assert f"BROKEN (required): {required.words}" in words
    assert f"BROKEN (wished): {wished.words}" in words
    assert verdict_of(replace(fine, findings=findings(broken=(wished.id,)))).tone == GOOD
    untried = replace(fine, findings=findings(untried=(required.id,)))
    assert verdict_of(untried).sentence == "Not decided: audit."
    assert verdict_of(replace(fine, findings=())).sentence == "Not decided: audit."


def test_few_scenes_decide_nothing(fine):
    names = np.array([f"scene-{row % 2}" for row in range(len(fine.rows))])
    few = replace(fine, rows=replace(fine.rows, scene_ids=names))
    assert verdict_of(few).sentence == "Not decided: calibration, collisions."


def test_train_test_leakage_is_named_and_leaves_the_verdict_open(fine):
    known = replace(fine, scenes_learnt_from=("street-3",))
    assert verdict_of(known).sentence == "Not decided: validity."
    assert "has learnt from 1 of the" in part(known, "validity").words
